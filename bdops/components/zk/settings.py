"""What the inventory may say of ZooKeeper. The defaults are those of ZooKeeper 3.9's own zoo.cfg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role
from bdops.core.model import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS of the client port, and of the AdminServer where `admin_tls` is set. Paths are on this machine."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    ca: str | None = None
    """A PEM file with the authorities to trust; null: the system's."""
    cert: str | None = None
    """The client's own certificate (PEM), where the servers ask for one."""
    key: str | None = None
    """The private key of `cert` (PEM)."""
    key_password: SecretRef | None = None
    """The passphrase of `key`."""
    verify: bool = True
    """The server's certificate must be signed by `ca` and name the host's address; false accepts any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkRestartRules(RestartRules):
    """How patient a job is, and what it asks of a server before and after its restart."""

    max_behind: int = 1000
    """So much may a server be behind the leader and still count as caught up."""
    verify_write: bool = True
    """Whether a znode is created, read and deleted on each restarted server, below `probe_under`."""
    probe_under: str = "/"
    """A znode that the inventory's `user` may create children of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server. Port numbers are as in zoo.cfg."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    client_port: int = 2181
    """`clientPort`, or `secureClientPort` where there is `tls`."""
    admin_port: int | None = 8080
    """The AdminServer's port (`admin.serverPort`); null where it is off."""
    admin_path: str = "/commands"
    """The AdminServer's `admin.commandURL`."""
    admin_tls: bool = False
    """Whether the AdminServer speaks TLS, as `tls` says."""
    four_letter_words: bool = True
    """false where none are whitelisted, and bdops is not to miss them."""
    peer_port: int = 2888
    """The port at which followers reach the leader."""
    election_port: int = 3888
    """The port of the leader's election."""
    myid: int | None = None
    """The server's id in the ensemble."""
    tls: Tls | None = None
    """TLS of the client port; null: it has none."""
    user: str | None = None
    """The user of a digest identity, for commands that read or write znodes, and for snapshots."""
    password: SecretRef | None = None
    """The password of that identity."""
    data_dirs: tuple[str, ...] = ()
    """`dataDir` and `dataLogDir` on the host: whose disks are checked."""
    log_dir: str | None = None
    """The folder on the host with the server's own log files: its disk is checked, and `bdops host look` brings
    their ends."""
    snapshot_dir: str | None = None
    """The folder, on the machine that bdops runs on, of the ensemble's snapshots; null: one below bdops' own state
    folder."""
    snapshot_max_age_h: float = 26.0
    """How old the newest good snapshot may be, where there is a `snapshot_dir`; critical at twice the age."""
    backup_proved_max_age_d: float | None = None
    """How old the last drill that proved a snapshot may be; null: none is asked for."""
    zookeeper_home: str | None = None
    """An unpacked ZooKeeper on the machine that bdops runs on, whose jars a drill runs; null: the lab's jars."""
    restart: ZkRestartRules = ZkRestartRules()
    """How patient a restart is, and what it asks for."""


PORTS = ("client_port", "admin_port", "peer_port", "election_port")

SETTINGS = ComponentSettings(
    type=Settings,
    roles=(Role(name="participant", ports=PORTS), Role(name="observer", ports=PORTS, by_default=False)),
    shared_process=True,
)
