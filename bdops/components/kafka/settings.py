"""What the inventory may say of Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role
from bdops.core.model import SecretRef

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sasl:
    """How a client says who it is."""

    __pydantic_config__: ClassVar = _STRICT

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str = ""
    password: SecretRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How the listener that bdops connects to is secured.

    `ca` is a PEM file with the authorities to trust (default: the system's), `cert` and `key` the client's own
    PEM files for mutual TLS. `verify: false` accepts any certificate and any host name.
    """

    __pydantic_config__: ClassVar = _STRICT

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl: Sasl = Sasl()
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: SecretRef | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRestartRules(RestartRules):
    """How patient a job is, and what it asks of a server before and after its restart.

    max_behind_ms: a server that reached the end of the metadata log longer ago than this does not follow it, and as
        a voter does not count for the majority.
    move_leaders: leaderships are moved away before a broker is stopped; else its controlled shutdown does that.
    """

    max_behind_ms: float = 5000.0
    move_leaders: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server's settings. `node_id` is Kafka's `node.id`: with it an instance is known whatever its listeners say.

    `controller_security` is that of the controllers' listener, where it differs from the brokers'.
    snapshot_dir: the folder, on the machine that bdops runs on, of the backups of the cluster's metadata; null means
        one below bdops' own state folder. A folder that other machines have too is better.
    snapshot_max_age_h: how old the newest good one may be, where there is a `snapshot_dir`.
    backup_proved_max_age_d: how many days old the last drill that proved one may be; null means that none is asked for.
    kafka_home: an unpacked Kafka on that machine, whose jars a drill runs; null means the lab's jars.
    """

    __pydantic_config__: ClassVar = _STRICT

    node_id: int | None = None
    port: int = 9092
    controller_port: int = 9093
    security: Security = Security()
    controller_security: Security | None = None
    data_dirs: tuple[str, ...] = ()
    log_dir: str | None = None
    snapshot_dir: str | None = None
    snapshot_max_age_h: float = 26.0
    backup_proved_max_age_d: float | None = None
    kafka_home: str | None = None
    restart: KafkaRestartRules = KafkaRestartRules()


SETTINGS = ComponentSettings(
    type=Settings,
    roles=(Role(name="controller", ports=("controller_port",)), Role(name="broker", ports=("port",))),
    shared_process=True,
)
