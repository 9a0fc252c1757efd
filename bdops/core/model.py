"""What an operator runs where: clusters, hosts, components and instances, frozen.

The inventory builds these from YAML; everything else only reads them. An instance is one server process of
a component on a host. Its name is `cluster/component/host`, with `/process` after it where a component
runs several processes on one host (`prod/hdfs/node1/namenode`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

WORK_DIR = "/var/tmp/bdops"
"""Where bdops keeps what it must on a host. Not /tmp, which a reboot empties: an act outlives one."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is to be had; its value is read at use by `bdops.hosts.secrets.reveal`, never kept.

    Exactly one of the fields is set. One newline at the end is no part of the secret.
    """

    file: str | None = None
    """A file with the secret; refused when others may read it."""
    env: str | None = None
    """The name of an environment variable."""
    keyring: str | None = None
    """`service/user` in the desktop's or system's keyring."""
    command: tuple[str, ...] | None = None
    """A program and its arguments, which prints the secret within 30 s."""

    def __str__(self) -> str:
        if self.command is not None:
            return f"command {self.command[0]}"
        for kind in ("file", "env", "keyring"):
            value = getattr(self, kind)
            if value is not None:
                return f"{kind} {value}"
        return "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How a host is reached."""

    user: str | None = None
    """The user on the host; null is the one who runs bdops."""
    port: int = 22
    """The port of the host's sshd."""
    keys: tuple[str, ...] = ()
    """Files of private keys, in the order in which they are tried; none named: the usual ones of ~/.ssh."""
    password: SecretRef | None = None
    """The user's password, tried after the keys. A key with a passphrase comes from an agent alone."""
    jump: str | None = None
    """The way there: `user@host:port`, or the name of another host of the cluster."""
    known_hosts: str = "~/.ssh/known_hosts"
    """The file of the host keys that are trusted. Unknown and changed keys are refused."""
    agent: bool = True
    """Whether the keys of a running ssh agent are offered too."""
    connect_timeout_s: float = 5.0
    """For each phase of a connection: connect, banner, key exchange, authentication."""
    config: str | None = None
    """An ssh_config file, for what the inventory itself does not say; null: none is read."""


ServiceManagerName = Literal["systemd", "supervisord", "commands"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service manager's handle of one instance."""

    manager: ServiceManagerName = "systemd"
    """What starts and stops the process."""
    unit: str | None = None
    """The systemd unit or the supervisord program: `kafka@{host}`."""
    config: str | None = None
    """supervisord's configuration file on the host."""
    supervisorctl: str = "supervisorctl"
    """supervisord's own program on the host: a path, or a name that is looked up there."""
    start: tuple[str, ...] = ()
    """With `manager: commands`: the program and its arguments that start the process."""
    stop: tuple[str, ...] = ()
    """With `manager: commands`: what stops it."""
    status: tuple[str, ...] = ()
    """With `manager: commands`: what exits 0 while it runs."""
    pid: tuple[str, ...] = ()
    """With `manager: commands`: what prints the main process's id; without it a restarted process cannot be told from
    the old one."""
    files: tuple[str, ...] = ()
    """Files on the host whose change makes a running process stale: configurations, jars."""
    sudo: bool = False
    """Whether the service manager is called by `sudo -n`, which must ask for no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine. `address` is what clients and ssh connect to; `rack` and `update_domain` are failure domains.

    `work_dir` is where bdops keeps its detached acts and its lease on that host; it is made when it is needed.
    """

    name: str
    address: str
    rack: str | None = None
    update_domain: str | None = None
    ssh: Ssh = Ssh()
    work_dir: str = WORK_DIR
    vars: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One server process. `settings` is the component's own settings type, all levels of inheritance merged."""

    cluster: str
    component: str
    host: Host
    roles: frozenset[str]
    settings: Any
    process: str | None = None
    service: Service | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        path = f"{self.cluster}/{self.component}/{self.host.name}"
        return f"{path}/{self.process}" if self.process else path


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOverride:
    """What the inventory says of one check: `limits` maps a threshold's name to (warning, critical).

    `units` has the unit that a limit was written in ("%", "s" or "bytes"), where it was written with one:
    `5s` is 5000 to a threshold in ms, and a bare 5 is 5.
    """

    enabled: bool = True
    limits: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Silences findings until a date. `check` and `object` are shell-style patterns; `reason` is printed."""

    check: str
    reason: str
    until: datetime
    object: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One component as it runs in one cluster. `settings` are those of the component's level."""

    cluster: str
    component: str
    instances: tuple[Instance, ...]
    settings: Any
    checks: Mapping[str, CheckOverride] = field(default_factory=dict)
    mutes: tuple[Mute, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.cluster}/{self.component}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Hosts and what runs on them. `checks` and `mutes` are those of the cluster's level (host checks use them)."""

    name: str
    hosts: tuple[Host, ...]
    deployments: tuple[Deployment, ...]
    checks: Mapping[str, CheckOverride] = field(default_factory=dict)
    mutes: tuple[Mute, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that one inventory describes. `source` is the file or folder that it was read from."""

    clusters: tuple[Cluster, ...]
    source: str
