"""What the HDFS checks, lists and planners work on: plain, frozen data, as read or as written by hand.

Every reading may be absent (None); `unread` then says why. Of servers that did not answer there is a record
with an `error`. Sizes are bytes, ages and intervals seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from bdops.components.backup_standing import Backups

HaState = Literal["initializing", "active", "standby", "observer"]
AdminState = Literal["normal", "decommissioning", "decommissioned", "entering_maintenance", "in_maintenance"]
RoleName = Literal["namenode", "zkfc", "journalnode", "datanode"]
ErrorKind = Literal["not_running", "answered", "silent"]
"""Why a server has an error: nothing listens on its port, it answered with an error, or it says nothing in time."""

FORBID_EXTRA: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedInstance:
    """An instance of the inventory. `name` is `prod/hdfs/node1/zkfc`, `port` its RPC port or a DataNode's data port."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    name: str
    role: RoleName
    host: str
    address: str
    port: int
    rack: str | None = None
    nn_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameNodeState:
    """One NameNode. `error`: its RPC did not answer; `http_error`: its /jmx did not, so what comes from there is None.

    `last_txid` is the last transaction written (active) or applied (standby). `failed_name_dirs` are the
    directories for image and edits that it has given up. Of the DataNodes that *this* NameNode holds for live
    (`live_datanodes`) `reported_datanodes` have told it of all their blocks.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    instance: str
    error: str | None = None
    error_kind: ErrorKind | None = None
    http_error: str | None = None
    state: HaState | None = None
    ready: bool | None = None
    not_ready_reason: str | None = None
    safe_mode: bool | None = None
    safe_mode_reason: str | None = None
    heap_used_bytes: int | None = None
    heap_max_bytes: int | None = None
    last_txid: int | None = None
    checkpoint_txid: int | None = None
    checkpoint_at: datetime | None = None
    failed_name_dirs: tuple[str, ...] | None = None
    started_at: datetime | None = None
    version: str | None = None
    cluster_id: str | None = None
    live_datanodes: int | None = None
    reported_datanodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkfcState:
    """One failover controller: that it answers, or why not."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    instance: str
    error: str | None = None
    error_kind: ErrorKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalNodeState:
    """One JournalNode as it sees itself. What comes over HTTP goes through a metrics cache of up to ten seconds.

    `txns_written` counts since its process started: 0 is one that takes part in no edit log segment yet.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    instance: str
    error: str | None = None
    error_kind: ErrorKind | None = None
    http_error: str | None = None
    promised_epoch: int | None = None
    last_txid: int | None = None
    txns_written: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStream:
    """How far the *active* NameNode has got with writing to one JournalNode (`address` is host:port).

    `out_of_sync`: the NameNode has stopped writing to it until the next edit log segment begins.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    address: str
    written_txid: int
    behind_txns: int = 0
    behind_s: float = 0.0
    out_of_sync: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """One data directory of a DataNode as the NameNode knows it."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    uuid: str
    capacity_bytes: int
    used_bytes: int
    remaining_bytes: int
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNodeState:
    """One DataNode as the active NameNode knows it.

    `remaining_bytes` is what HDFS may still use. `contact_age_s` is the age of the last heartbeat,
    `block_report_age_s` of the last full block report (None: never came). `failed_volumes` are paths.
    `probe` is what the DataNode itself said when it was asked because it is not live.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    hostname: str
    address: str
    port: int
    live: bool
    uuid: str | None = None
    rack: str | None = None
    admin_state: AdminState = "normal"
    contact_age_s: float | None = None
    block_report_age_s: float | None = None
    capacity_bytes: int = 0
    used_bytes: int = 0
    remaining_bytes: int = 0
    blocks: int = 0
    volumes: tuple[VolumeState, ...] = ()
    failed_volumes: tuple[str, ...] = ()
    failed_volume_count: int = 0
    probe: str | None = None
    version: str | None = None

    @property
    def name(self) -> str:
        return f"{self.hostname}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNodeProbe:
    """What a DataNode itself said when it was asked: that it runs and since when, or nothing, and why."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    instance: str
    error: str | None = None
    error_kind: ErrorKind | None = None
    uptime_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounts:
    """Blocks by trouble. `low_redundancy`: fewer good copies than wanted; `highest_priority`: of these, none to spare.

    `corrupt`: with a corrupt copy; `missing`: with no good copy left (of these `missing_rf1` never had a second).
    `total`: all there are, in trouble or not.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    low_redundancy: int
    missing: int
    corrupt: int
    missing_rf1: int = 0
    highest_priority: int = 0
    badly_distributed: int = 0
    pending_deletion: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Work that the NameNode has before it. `reconstruction`: copies being made now; `total_blocks`: all there are."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    reconstruction: int
    deletion: int = 0
    total_blocks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptFiles:
    """Files with a block that has no good copy. `complete`: these are all; otherwise the first of more."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    paths: tuple[str, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockState:
    """A block (or erasure-coded group) of a file: copies wanted and good, and where copies are (host:port).

    `corrupt`: no copy is good; `corrupt_on`: where copies are known to be corrupt. `needed`: without so many copies
    (units, of a group) it cannot be read.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    file: str
    block: str
    length_bytes: int
    wanted: int
    live: int
    leaving: int = 0
    corrupt: bool = False
    striped: bool = False
    needed: int = 1
    locations: tuple[str, ...] = ()
    corrupt_on: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        """No good copy, or (erasure-coded) too few of them to compute the rest."""
        return self.corrupt or (self.live + self.leaving == 0 and self.wanted > 0)

    @property
    def under_replicated(self) -> bool:
        return self.live < self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedBlocks:
    """Under-replicated and missing blocks by name. `scanned_files` were looked at; `complete`: that is all files."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    blocks: tuple[BlockState, ...]
    scanned_files: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBlocks:
    """The blocks that are being written, one of each open file. `complete`: these are all of them.

    Read only while some block has a corrupt copy: a copy that a DataNode missed while it was down counts as that until
    its file is closed.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    blocks: tuple[BlockState, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleCopies:
    """Blocks of files that want one copy alone, all on one DataNode (`address` is host:port). `files` are the first."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    address: str
    blocks: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a walk through all files told of redundancy. `complete`: these were all files.

    `lowest_copies`: the fewest copies that any file wants, those of one copy aside; `lowest_parity`: the fewest units
    that any erasure-coded group can lose; None where there is no such file. `single` are the blocks that want one
    copy, `degraded` those with less than they want (`degraded_complete`: all of them).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    scanned_files: int
    complete: bool
    lowest_copies: int | None = None
    lowest_parity: int | None = None
    single: tuple[SingleCopies, ...] = ()
    degraded: tuple[BlockState, ...] = ()
    degraded_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingUpgrade:
    """Whether a rolling upgrade is under way, and whether its image to roll back to has been made."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    under_way: bool
    rollback_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPolicy:
    """What the inventory asks of snapshots: of which directories, how old they may be, and the last proof of one."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    directories: tuple[str, ...] = ()
    max_age_h: float = 26.0
    proved_max_age_d: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryBackups:
    """The snapshots of one directory; `limit`: so many it may have, None: none may be made of it.

    Only of directories that the inventory asks for the rest is known. `gone` are those that were noted and that
    somebody else has deleted.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    path: str
    snapshots: int = 0
    limit: int | None = None
    newest: str | None = None
    newest_at: datetime | None = None
    proved_at: datetime | None = None
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HdfsState:
    """One nameservice, observed at `taken_at`. `expected` are the inventory's instances."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    component: Literal["hdfs"] = "hdfs"
    version: Literal[1] = 1
    cluster: str
    taken_at: datetime
    nameservice: str = "hdfs"
    unread: dict[str, str] = field(default_factory=dict)
    expected: tuple[ExpectedInstance, ...] | None = None
    namenodes: tuple[NameNodeState, ...] | None = None
    zkfcs: tuple[ZkfcState, ...] | None = None
    journalnodes: tuple[JournalNodeState, ...] | None = None
    journal_streams: tuple[JournalStream, ...] | None = None
    datanodes: tuple[DataNodeState, ...] | None = None
    replicated_blocks: BlockCounts | None = None
    ec_groups: BlockCounts | None = None
    pending: Pending | None = None
    corrupt_files: CorruptFiles | None = None
    degraded_blocks: DegradedBlocks | None = None
    open_blocks: OpenBlocks | None = None
    datanode_probes: tuple[DataNodeProbe, ...] | None = None
    survey: Survey | None = None
    rolling_upgrade: RollingUpgrade | None = None
    backup_policy: BackupPolicy | None = None
    backups: tuple[DirectoryBackups, ...] | None = None
    images: Backups | None = None
    """Of the NameNode, in the inventory's `image_dir`."""

    def expected_of(self, role: RoleName) -> tuple[ExpectedInstance, ...]:
        return tuple(e for e in self.expected or () if e.role == role)


Places = Mapping[tuple[RoleName, str, int], ExpectedInstance]
_last: tuple[object, Places] = (None, {})
"""The index of the instances that were asked for last: checks ask for thousands of servers, one after the other."""


def _places(expected: tuple[ExpectedInstance, ...] | None) -> Places:
    global _last
    if _last[0] is not expected:
        places = {(e.role, e.host.lower(), e.port): e for e in reversed(expected or ())}
        places |= {(e.role, e.address.lower(), e.port): e for e in reversed(expected or ())}
        _last = (expected, places)
    return _last[1]


def instance_at(state: HdfsState, host: str, port: int | str, role: RoleName = "datanode") -> ExpectedInstance | None:
    """The inventory's instance at a host (its address or its name, with a domain or without) and port."""
    if isinstance(port, str) and not port.isdigit():
        return None
    places, host = _places(state.expected), host.lower()
    return places.get((role, host, int(port))) or places.get((role, host.partition(".")[0], int(port)))


def instance_of(state: HdfsState, datanode: DataNodeState) -> ExpectedInstance | None:
    """The inventory's instance of a DataNode; None when it is unknown to the inventory."""
    port = datanode.port
    return instance_at(state, datanode.address, port) or instance_at(state, datanode.hostname, port)


def datanode_at(state: HdfsState, address: str) -> str | None:
    """The name of the inventory's DataNode at host:port; None when it has none there."""
    host, _, port = address.rpartition(":")
    found = instance_at(state, host, port)
    return found.name if found else None
