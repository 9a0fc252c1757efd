"""The state of a ZooKeeper ensemble: what was observed of every server, and what the inventory expects.

Everything that a check judges is here, and nothing else. A value that was not read is None: unknown, never
zero. Zxids are written as ZooKeeper prints them, `0x1000000a2`: epoch in the high 32 bits, counter in the low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from bdops.components.backup_standing import Backups

Role = Literal["participant", "observer"]
Mode = Literal["leader", "follower", "observer", "standalone", "read-only"]

FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedServer:
    """A server as the inventory has it. `name` is the instance's, `prod/zk/node1`."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    name: str
    host: str
    address: str
    client_port: int = 2181
    myid: int | None = None
    role: Role = "participant"
    rack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A server as the ensemble's configuration has it.

    `address` is `host:peer_port:election_port` (several separated by `|`), `client` the client address.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    id: int
    role: Role = "participant"
    address: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What was observed of one server of the inventory. `name` is the instance's.

    serving: whether it serves clients; None when bdops could not tell, and `error` says why, `error_code` in a
        word: ZK_REFUSED (no process listens), ZK_NOT_SERVING (it has no quorum, or joins it), ZK_SILENT (it
        accepts and does not answer), ...
    admin_error, words_error: why the AdminServer or a four-letter word did not answer; None when it did.
    zxid: the last transaction applied. Of a server that seemed to be behind the leader it was read again,
        after the leader's: what is missing then is missing, not an effect of the order of reading.
    members: the ensemble's configuration as this server has it, `config_version` the zxid that set it (hex);
        `observers_known` is false when only the voters could be read (AdminServer without `conf`).
    weighted: whether that configuration has groups or weights (hierarchical quorums), so that votes are no
        plain majority.
    synced_followers, synced_observers, pending_syncs: known by the leader alone.
    latencies: of requests, in ms, since the start or the last reset; p99 of the recent ones.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    name: str
    serving: bool | None = None
    error: str | None = None
    error_code: str | None = None
    admin_error: str | None = None
    words_error: str | None = None
    mode: Mode | None = None
    peer_state: str | None = None
    read_only: bool | None = None
    version: str | None = None
    uptime_s: float | None = None
    myid: int | None = None
    leader_id: int | None = None
    zxid: str | None = None
    members: tuple[Member, ...] | None = None
    observers_known: bool = True
    config_version: str | None = None
    weighted: bool | None = None
    synced_followers: int | None = None
    synced_observers: int | None = None
    pending_syncs: int | None = None
    requests_received: int | None = None
    outstanding_requests: int | None = None
    connections: int | None = None
    latency_avg_ms: float | None = None
    latency_max_ms: float | None = None
    read_latency_p99_ms: float | None = None
    update_latency_p99_ms: float | None = None
    open_files: int | None = None
    max_open_files: int | None = None
    znodes: int | None = None
    ephemerals: int | None = None
    watches: int | None = None
    data_size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkState:
    """An ensemble at one moment (UTC). `unread` maps `servers/HOST` or `servers/HOST/FIELD` to the reason."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID

    component: Literal["zk"] = "zk"
    version: Literal[1] = 1
    cluster: str
    taken_at: datetime
    unread: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[ExpectedServer, ...] | None = None
    servers: tuple[Server, ...] | None = None
    backups: Backups | None = None


@dataclass(frozen=True, slots=True, order=True)
class Zxid:
    """A transaction id: the epoch of the leader that issued it, and its place in that epoch."""

    epoch: int
    counter: int

    @classmethod
    def of(cls, text: str) -> Zxid:
        """Of `0x1000000a2`, with or without the 0x. Raises ValueError otherwise."""
        number = int(text, 16)
        return cls(number >> 32, number & 0xFFFFFFFF)

    def behind(self, leader: Zxid) -> int:
        """How many of the leader's transactions are missing here, at least; 0 when none.

        Counters start over with each epoch: of a server that is still in an older one only the leader's
        transactions in its own epoch can be counted, and there may be none yet. A follower in step with a
        new leader that has not written is in that state, rightly.
        """
        if self >= leader:
            return 0
        return leader.counter - (self.counter if self.epoch == leader.epoch else 0)
