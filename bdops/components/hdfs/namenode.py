"""The NameNode's calls: HAServiceProtocol and ClientProtocol, typed; and a client of whichever is active."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.rpc import Connection, Protocol, RemoteError
from bdops.errors import BdopsError, StateUnknown, Unreachable

T = TypeVar("T")

HA_SERVICE = Protocol("org.apache.hadoop.ha.HAServiceProtocol")
CLIENT = Protocol("org.apache.hadoop.hdfs.protocol.ClientProtocol")

HaState = Literal["initializing", "active", "standby", "observer"]
HA_STATES: tuple[HaState, ...] = ("initializing", "active", "standby", "observer")
AdminState = Literal["normal", "decommissioning", "decommissioned", "entering_maintenance", "in_maintenance"]
ADMIN_STATES: tuple[AdminState, ...] = (
    "normal", "decommissioning", "decommissioned", "entering_maintenance", "in_maintenance",
)  # fmt: skip
ReportType = Literal["all", "live", "dead", "decommissioning", "entering_maintenance", "in_maintenance"]
ROOT_START = b""
"""`startAfter` of the first page of a listing."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Who the NameNode says it is, and why it could not become active, if so."""

    state: HaState
    ready: bool
    not_ready_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStats:
    """Counts of replicated blocks. `corrupt`: with a corrupt replica; `missing`: with no good one left."""

    low_redundancy: int
    corrupt: int
    missing: int
    missing_rf1: int = 0
    pending_deletion: int = 0
    highest_priority: int | None = None
    badly_distributed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNodeReport:
    """What a NameNode says of one DataNode. Times are the NameNode's clock, in ms since 1970; 0 is never."""

    address: str
    hostname: str
    uuid: str
    data_port: int
    ipc_port: int
    http_port: int
    rack: str
    admin_state: AdminState
    capacity_bytes: int
    used_bytes: int
    remaining_bytes: int
    non_dfs_used_bytes: int
    blocks: int
    last_contact_ms: int
    last_block_report_ms: int
    version: str
    volumes: tuple[VolumeReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeReport:
    """One storage of a DataNode as the NameNode knows it."""

    uuid: str
    failed: bool
    capacity_bytes: int
    used_bytes: int
    remaining_bytes: int
    mount: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """An entry of a directory listing. `name` is relative to the directory, "" for a file listed itself.

    `access`: whose it is, and who may what: `etl:users 640`.
    """

    name: str
    kind: Literal["dir", "file", "symlink"]
    length_bytes: int
    replication: int
    located: pb.LocatedBlocksProto | None = None
    access: str = ""


@dataclass
class NameNode:
    """One NameNode over one connection. Calls raise Unreachable, NotAuthorised or RemoteError."""

    connection: Connection

    def close(self) -> None:
        self.connection.close()

    def service_status(self) -> ServiceStatus:
        """Its state; a NameNode without a standby is always the active one, and says so by an error."""
        try:
            answer = self.connection.call(
                HA_SERVICE, "getServiceStatus", pb.GetServiceStatusRequestProto(), pb.GetServiceStatusResponseProto
            )
        except RemoteError as e:
            if e.exception.endswith(".ServiceFailedException") and "HA for namenode is not enabled" in e.text:
                return ServiceStatus("active", ready=True)
            raise
        return ServiceStatus(HA_STATES[answer.state], answer.readyToBecomeActive, answer.notReadyReason or None)

    def in_safe_mode(self) -> bool:
        return self._safe_mode(pb.SAFEMODE_GET)

    def enter_safe_mode(self) -> bool:
        return self._safe_mode(pb.SAFEMODE_ENTER)

    def leave_safe_mode(self) -> bool:
        return self._safe_mode(pb.SAFEMODE_LEAVE)

    def _safe_mode(self, action: pb.SafeModeActionProto) -> bool:
        request = pb.SetSafeModeRequestProto(action=action, checked=False)
        return self.connection.call(CLIENT, "setSafeMode", request, pb.SetSafeModeResponseProto).result

    def replicated_blocks(self) -> BlockStats:
        a = self.connection.call(
            CLIENT,
            "getFsReplicatedBlockStats",
            pb.GetFsReplicatedBlockStatsRequestProto(),
            pb.GetFsReplicatedBlockStatsResponseProto,
        )
        return BlockStats(
            low_redundancy=a.low_redundancy,
            corrupt=a.corrupt_blocks,
            missing=a.missing_blocks,
            missing_rf1=a.missing_repl_one_blocks,
            pending_deletion=a.pending_deletion_blocks,
            highest_priority=a.highest_prio_low_redundancy_blocks,
            badly_distributed=a.badly_distributed_blocks,
        )

    def ec_block_groups(self) -> BlockStats:
        a = self.connection.call(
            CLIENT,
            "getFsECBlockGroupStats",
            pb.GetFsECBlockGroupStatsRequestProto(),
            pb.GetFsECBlockGroupStatsResponseProto,
        )
        return BlockStats(
            low_redundancy=a.low_redundancy,
            corrupt=a.corrupt_blocks,
            missing=a.missing_blocks,
            pending_deletion=a.pending_deletion_blocks,
            highest_priority=a.highest_prio_low_redundancy_blocks,
            badly_distributed=a.badly_distributed_blocks,
        )

    def datanode_reports(self, kind: ReportType = "all") -> tuple[DataNodeReport, ...]:
        """The DataNodes of a kind, with their volumes."""
        request = pb.GetDatanodeStorageReportRequestProto(type=pb.DatanodeReportTypeProto.Value(kind.upper()))
        answer = self.connection.call(
            CLIENT, "getDatanodeStorageReport", request, pb.GetDatanodeStorageReportResponseProto
        )
        return tuple(_report(r) for r in answer.datanodeStorageReports)

    def corrupt_files(self, path: str = "/") -> Iterator[str]:
        """Paths of the files with a block that has no good replica left, a page (100 by default) a call.

        A file with several such blocks comes several times.
        """
        cookie: str | None = None
        while True:
            request = pb.ListCorruptFileBlocksRequestProto(path=path, cookie=cookie)
            page = self.connection.call(
                CLIENT, "listCorruptFileBlocks", request, pb.ListCorruptFileBlocksResponseProto
            ).corrupt
            if not page.files:
                return
            yield from page.files
            if page.cookie == cookie:
                return
            cookie = page.cookie

    def open_files(self, path: str = "/") -> Iterator[str]:
        """Paths of the files under a path that are being written.

        A page (`dfs.namenode.list.openfiles.num.responses`) a call: HDFS-10480. Needs superuser rights, as the counts
        of DataNodes do.
        """
        previous = 0
        while True:
            request = pb.ListOpenFilesRequestProto(id=previous, types=[pb.ALL_OPEN_FILES], path=path)
            answer = self.connection.call(CLIENT, "listOpenFiles", request, pb.ListOpenFilesResponseProto)
            for entry in answer.entries:
                yield entry.path
            if not answer.hasMore or not answer.entries:
                return
            previous = answer.entries[-1].id

    def listing(self, path: str, *, with_blocks: bool = False) -> Iterator[FileEntry]:
        """A directory's entries (or the file itself), a page (`dfs.ls.limit`, 1000) a call; none if it is not there."""
        start = ROOT_START
        while True:
            request = pb.GetListingRequestProto(src=path, startAfter=start, needLocation=with_blocks)
            answer = self.connection.call(CLIENT, "getListing", request, pb.GetListingResponseProto)
            if not answer.HasField("dirList"):
                return
            page = answer.dirList
            for entry in page.partialListing:
                yield _entry(entry)
            if page.remainingEntries == 0 or not page.partialListing:
                return
            start = page.partialListing[-1].path

    def exists(self, path: str) -> bool:
        answer = self.connection.call(
            CLIENT, "getFileInfo", pb.GetFileInfoRequestProto(src=path), pb.GetFileInfoResponseProto
        )
        return answer.HasField("fs")

    def block_locations(self, path: str) -> pb.LocatedBlocksProto | None:
        """A file's blocks and where they are; None when there is no such file."""
        request = pb.GetBlockLocationsRequestProto(src=path, offset=0, length=2**63 - 1)
        answer = self.connection.call(CLIENT, "getBlockLocations", request, pb.GetBlockLocationsResponseProto)
        return answer.locations if answer.HasField("locations") else None

    def set_replication(self, path: str, replication: int) -> bool:
        request = pb.SetReplicationRequestProto(src=path, replication=replication)
        return self.connection.call(CLIENT, "setReplication", request, pb.SetReplicationResponseProto).result

    def save_namespace(self, *, timeout_s: float) -> None:
        """Write a checkpoint; the NameNode must be in safe mode."""
        self.connection.call(
            CLIENT, "saveNamespace", pb.SaveNamespaceRequestProto(), pb.SaveNamespaceResponseProto, timeout_s=timeout_s
        )

    def roll_edits(self) -> int:
        """Begin a new edit log segment, in which lagging JournalNodes take part again; its first transaction id."""
        answer = self.connection.call(CLIENT, "rollEdits", pb.RollEditsRequestProto(), pb.RollEditsResponseProto)
        return answer.newSegmentTxId

    def refresh_nodes(self) -> None:
        """Read the include and exclude files again."""
        self.connection.call(CLIENT, "refreshNodes", pb.RefreshNodesRequestProto(), pb.RefreshNodesResponseProto)

    def rolling_upgrade(self) -> pb.RollingUpgradeInfoProto | None:
        """The rolling upgrade that is under way; None when there is none."""
        request = pb.RollingUpgradeRequestProto(action=pb.RollingUpgradeActionProto.QUERY)
        answer = self.connection.call(CLIENT, "rollingUpgrade", request, pb.RollingUpgradeResponseProto)
        return answer.rollingUpgradeInfo if answer.HasField("rollingUpgradeInfo") else None

    def enable_ec_policy(self, name: str) -> None:
        request = pb.EnableErasureCodingPolicyRequestProto(ecPolicyName=name)
        self.connection.call(CLIENT, "enableErasureCodingPolicy", request, pb.EnableErasureCodingPolicyResponseProto)

    def set_ec_policy(self, path: str, name: str) -> None:
        request = pb.SetErasureCodingPolicyRequestProto(src=path, ecPolicyName=name)
        self.connection.call(CLIENT, "setErasureCodingPolicy", request, pb.SetErasureCodingPolicyResponseProto)


@dataclass
class Nameservice:
    """The NameNodes of one nameservice by id; `on_active` makes a call on whichever is active.

    Which one that is is asked once and again when the server says that it is so no longer.
    """

    namenodes: Mapping[str, NameNode]
    _active: str | None = field(default=None, init=False)

    def close(self) -> None:
        for server in self.namenodes.values():
            server.close()

    def active(self) -> str:
        """The id of the active NameNode. Raises StateUnknown when there is none, with what each one said."""
        said: dict[str, str] = {}
        for name, server in self.namenodes.items():
            try:
                said[name] = server.service_status().state
            except BdopsError as e:
                said[name] = e.message
                continue
            if said[name] == "active":
                self._active = name
                return name
        words = "; ".join(f"{name}: {what}" for name, what in said.items())
        raise StateUnknown(f"no NameNode is active ({words})", code="HDFS_NO_ACTIVE")

    def on_active(self, call: Callable[[NameNode], T]) -> T:
        """Make a call on the active NameNode; once more on the other one after a failover in between."""
        name = self._active or self.active()
        try:
            return call(self.namenodes[name])
        except RemoteError as e:
            if not e.is_standby:
                raise
        except Unreachable:
            pass
        return call(self.namenodes[self.active()])


def _report(r: pb.DatanodeStorageReportProto) -> DataNodeReport:
    d = r.datanodeInfo
    return DataNodeReport(
        address=d.id.ipAddr,
        hostname=d.id.hostName,
        uuid=d.id.datanodeUuid,
        data_port=d.id.xferPort,
        ipc_port=d.id.ipcPort,
        http_port=d.id.infoPort,
        rack=d.location,
        admin_state=ADMIN_STATES[d.adminState],
        capacity_bytes=d.capacity,
        used_bytes=d.dfsUsed,
        remaining_bytes=d.remaining,
        non_dfs_used_bytes=d.nonDfsUsed,
        blocks=d.numBlocks,
        last_contact_ms=d.lastUpdate,
        last_block_report_ms=d.lastBlockReportTime,
        version=d.softwareVersion,
        volumes=tuple(
            VolumeReport(
                uuid=s.storageUuid,
                failed=s.failed,
                capacity_bytes=s.capacity,
                used_bytes=s.dfsUsed,
                remaining_bytes=s.remaining,
                mount=s.mount,
            )
            for s in r.storageReports
        ),
    )


_KINDS: dict[int, Literal["dir", "file", "symlink"]] = {1: "dir", 2: "file", 3: "symlink"}


def _entry(entry: pb.HdfsFileStatusProto) -> FileEntry:
    return FileEntry(
        name=entry.path.decode("utf-8", errors="replace"),
        kind=_KINDS[entry.fileType],
        length_bytes=entry.length,
        replication=entry.block_replication,
        located=entry.locations if entry.HasField("locations") else None,
        access=f"{entry.owner}:{entry.group} {entry.permission.perm & 0o7777:o}",
    )
