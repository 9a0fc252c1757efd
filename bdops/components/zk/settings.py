"""What the inventory may say of ZooKeeper. The defaults are those of ZooKeeper 3.9's own zoo.cfg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
class Settings:
    """One server. Port numbers are as in zoo.cfg; `myid` is the server's id in the ensemble.

    admin_port: the AdminServer's; null where it is off. admin_path: its `admin.commandURL`.
    four_letter_words: false where none are whitelisted, and bdops is not to miss them.
    user, password: a digest identity, used by commands that read or write znodes.
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


PORTS = ("client_port", "admin_port", "peer_port", "election_port")

SETTINGS = ComponentSettings(
    type=Settings,
    roles=(Role(name="participant", ports=PORTS), Role(name="observer", ports=PORTS, by_default=False)),
    shared_process=True,
)
