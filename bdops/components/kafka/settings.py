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
    """`sasl.mechanism` of the client."""
    user: str = ""
    """The user's name."""
    password: SecretRef | None = None
    """The user's password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How the listener that bdops connects to is secured."""

    __pydantic_config__: ClassVar = _STRICT

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """`security.protocol` of the listener."""
    sasl: Sasl = Sasl()
    """Who bdops says it is, with the two protocols of SASL."""
    ca: str | None = None
    """A PEM file with the authorities to trust; null: the system's."""
    cert: str | None = None
    """The client's own certificate (PEM), for mutual TLS."""
    key: str | None = None
    """The private key of `cert` (PEM)."""
    key_password: SecretRef | None = None
    """The passphrase of `key`."""
    verify: bool = True
    """false accepts any certificate and any host name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRestartRules(RestartRules):
    """How patient a job is, and what it asks of a server before and after its restart."""

    max_behind_ms: float = 5000.0
    """A server that reached the end of the metadata log longer ago than this does not follow it, and as a voter does
    not count for the majority."""
    move_leaders: bool = True
    """Whether leaderships are moved away before a broker is stopped; else its controlled shutdown does that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server's settings."""

    __pydantic_config__: ClassVar = _STRICT

    node_id: int | None = None
    """Kafka's `node.id`; with it an instance is known whatever its listeners say."""
    port: int = 9092
    """The brokers' listener that bdops connects to."""
    controller_port: int = 9093
    """The controllers' listener."""
    security: Security = Security()
    """How the brokers' listener is secured."""
    controller_security: Security | None = None
    """How the controllers' listener is secured; null: as the brokers'."""
    data_dirs: tuple[str, ...] = ()
    """Kafka's `log.dirs` on the host: whose disks are checked."""
    log_dir: str | None = None
    """The folder on the host with the server's own log files: its disk is checked, and `bdops host look` brings
    their ends."""
    snapshot_dir: str | None = None
    """The folder, on the machine that bdops runs on, of the backups of the cluster's metadata; null: one below bdops'
    own state folder. A folder that other machines have too is better."""
    snapshot_max_age_h: float = 26.0
    """How old the newest good backup may be, where there is a `snapshot_dir`; critical at twice the age."""
    backup_proved_max_age_d: float | None = None
    """How old the last drill that proved a backup may be; null: none is asked for."""
    kafka_home: str | None = None
    """An unpacked Kafka on the machine that bdops runs on, whose jars a drill runs; null: the lab's jars."""
    restart: KafkaRestartRules = KafkaRestartRules()
    """How patient a restart is, and what it asks for."""


SETTINGS = ComponentSettings(
    type=Settings,
    roles=(Role(name="controller", ports=("controller_port",)), Role(name="broker", ports=("port",))),
    shared_process=True,
)
