"""What the inventory may say of ZooKeeper. The defaults are those of ZooKeeper 3.9's own zoo.cfg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role
from bdops.core.model import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS of the client port, and of the AdminServer where `admin_tls` is set. Paths are on this machine.

    `verify`: the server's certificate must be signed by `ca` (default: the system's authorities) and name
    the host's address.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: SecretRef | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkRestartRules(RestartRules):
    """How patient a job is, and what it asks of a server before and after its restart.

    max_behind: transactions that a server may be behind the leader and still counts as caught up.
    verify_write: create, read and delete a znode on each restarted server, below `probe_under`, which must be
        a znode that the inventory's `user` may create children of.
    """

    max_behind: int = 1000
    verify_write: bool = True
    probe_under: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server. Port numbers are as in zoo.cfg; `myid` is the server's id in the ensemble.

    admin_port: the AdminServer's; null where it is off. admin_path: its `admin.commandURL`.
    four_letter_words: false where none are whitelisted, and bdops is not to miss them.
    user, password: a digest identity, used by commands that read or write znodes, and by snapshots.
    snapshot_dir: the folder, on the machine that bdops runs on, of the ensemble's snapshots; null means one below
        bdops' own state folder.
    snapshot_max_age_h: how old the newest good one may be, where there is a `snapshot_dir`.
    backup_proved_max_age_d: how many days old the last drill that proved one may be; null means that none is asked for.
    zookeeper_home: an unpacked ZooKeeper on that machine, whose jars a drill runs; null means the lab's jars.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    client_port: int = 2181
    admin_port: int | None = 8080
    admin_path: str = "/commands"
    admin_tls: bool = False
    four_letter_words: bool = True
    peer_port: int = 2888
    election_port: int = 3888
    myid: int | None = None
    tls: Tls | None = None
    user: str | None = None
    password: SecretRef | None = None
    data_dirs: tuple[str, ...] = ()
    log_dir: str | None = None
    snapshot_dir: str | None = None
    snapshot_max_age_h: float = 26.0
    backup_proved_max_age_d: float | None = None
    zookeeper_home: str | None = None
    restart: ZkRestartRules = ZkRestartRules()


PORTS = ("client_port", "admin_port", "peer_port", "election_port")

SETTINGS = ComponentSettings(
    type=Settings,
    roles=(Role(name="participant", ports=PORTS), Role(name="observer", ports=PORTS, by_default=False)),
    shared_process=True,
)
