"""The state of a cluster's hosts: what one command by SSH told of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from bdops.hosts.services import ServiceState

FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedHost:
    """A host as the inventory has it. `data_dirs` and `services` (instance names) are what is looked at there."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    name: str
    address: str
    rack: str | None = None
    data_dirs: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDir:
    """A data directory and the filesystem that it is on.

    exists: false when there is none, or the SSH user cannot see it. mount: the filesystem's mount point.
    Sizes in bytes; `available` is what is left to ordinary users, so used + available may be less than size.
    A number that the host did not tell is None.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    path: str
    exists: bool
    mount: str | None = None
    size_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    inodes: int | None = None
    inodes_used: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostService:
    """An instance as its service manager sees it."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    instance: str
    state: ServiceState
    detail: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedHost:
    """One host. `error` says why it could not be asked, `error_code` is the stable code of that.

    clock_offset_s: the host's clock less this machine's, give or take `clock_error_s` (half the round trip).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    name: str
    error: str | None = None
    error_code: str | None = None
    hint: str | None = None
    clock_offset_s: float | None = None
    clock_error_s: float | None = None
    data_dirs: tuple[DataDir, ...] | None = None
    services: tuple[HostService, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """All hosts of a cluster at one moment (UTC).

    `serving` is what the components' own APIs say of each instance; whoever has read the components fills it
    in (`dataclasses.replace`) before the checks run. `unread` maps `hosts/NAME` to the reason.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    component: Literal["host"] = "host"
    version: Literal[1] = 1
    cluster: str
    taken_at: datetime
    unread: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[ExpectedHost, ...] | None = None
    hosts: tuple[ObservedHost, ...] | None = None
    serving: Mapping[str, bool | None] | None = None
