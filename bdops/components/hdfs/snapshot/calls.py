"""The NameNode's calls about snapshots, and the few about directories and their attributes that the catalogue needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bdops.components.hdfs.namenode import CLIENT, NameNode
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.rpc import RemoteError

CREATE_OR_REPLACE = 3
"""XAttrSetFlagProto: XATTR_CREATE and XATTR_REPLACE together."""
NO_SUCH_FILE = ".FileNotFoundException"
SUMMARY_TIMEOUT_S = 60.0
"""A summary of a directory of millions of files takes its time; the NameNode lets others in between."""
SLOW_S = 120.0
"""The deletion of a snapshot with much in it takes longer than other calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRoot:
    """A directory of which snapshots may be made. `limit`: how many there may be, `inode` its id in the namespace."""

    path: str
    inode: int
    snapshots: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot of a directory. `id` is unique in the namespace and stays when the snapshot is renamed."""

    name: str
    id: int
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """What is under a path."""

    size_bytes: int
    files: int
    directories: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or directory. `inode` is the same in a snapshot and outside of it."""

    kind: str
    inode: int
    size_bytes: int
    modified_ms: int
    block_bytes: int
    replication: int


def snapshot_path(root: str, name: str) -> str:
    """Where the snapshot of a directory is; `root` may be / and may be a URI."""
    return f"{root.rstrip('/')}/.snapshot/{name}"


def snapshot_roots(namenode: NameNode) -> tuple[SnapshotRoot, ...]:
    """Every directory of which snapshots may be made (that this user may see), by path."""
    answer = namenode.connection.call(
        CLIENT,
        "getSnapshottableDirListing",
        pb.GetSnapshottableDirListingRequestProto(),
        pb.GetSnapshottableDirListingResponseProto,
    )
    return tuple(
        sorted(
            (
                SnapshotRoot(
                    path=_joined(d.parent_fullpath, d.dirStatus.path),
                    inode=d.dirStatus.fileId,
                    snapshots=d.snapshot_number,
                    limit=d.snapshot_quota,
                )
                for d in answer.snapshottableDirList.snapshottableDirListing
            ),
            key=lambda r: r.path,
        )
    )


def snapshots_of(namenode: NameNode, root: str) -> tuple[Snapshot, ...]:
    """The snapshots of a directory, those that are marked as deleted left out. Needs Hadoop 3.3 (HDFS-15273)."""
    answer = namenode.connection.call(
        CLIENT,
        "getSnapshotListing",
        pb.GetSnapshotListingRequestProto(snapshotRoot=root),
        pb.GetSnapshotListingResponseProto,
    )
    return tuple(
        Snapshot(
            name=s.dirStatus.path.decode("utf-8", errors="replace"),
            id=s.snapshotID,
            taken_at=datetime.fromtimestamp(s.dirStatus.modification_time / 1000, UTC),
        )
        for s in answer.snapshotList.snapshotListing
        if not s.isDeleted
    )


def allow_snapshots(namenode: NameNode, root: str) -> None:
    namenode.connection.call(
        CLIENT, "allowSnapshot", pb.AllowSnapshotRequestProto(snapshotRoot=root), pb.AllowSnapshotResponseProto
    )


def disallow_snapshots(namenode: NameNode, root: str) -> None:
    """Raises RemoteError while the directory has snapshots."""
    namenode.connection.call(
        CLIENT, "disallowSnapshot", pb.DisallowSnapshotRequestProto(snapshotRoot=root), pb.DisallowSnapshotResponseProto
    )


def create_snapshot(namenode: NameNode, root: str, name: str) -> None:
    request = pb.CreateSnapshotRequestProto(snapshotRoot=root, snapshotName=name)
    namenode.connection.call(CLIENT, "createSnapshot", request, pb.CreateSnapshotResponseProto)


def delete_snapshot(namenode: NameNode, root: str, name: str) -> None:
    request = pb.DeleteSnapshotRequestProto(snapshotRoot=root, snapshotName=name)
    namenode.connection.call(CLIENT, "deleteSnapshot", request, pb.DeleteSnapshotResponseProto, timeout_s=SLOW_S)


def rename_snapshot(namenode: NameNode, root: str, old: str, new: str) -> None:
    request = pb.RenameSnapshotRequestProto(snapshotRoot=root, snapshotOldName=old, snapshotNewName=new)
    namenode.connection.call(CLIENT, "renameSnapshot", request, pb.RenameSnapshotResponseProto)


def diff_pages(namenode: NameNode, root: str, older: str, newer: str) -> Iterator[pb.SnapshotDiffReportListingProto]:
    """What changed from one snapshot to a later one ("": to what is there now), a page (1000 by default) a call.

    HDFS-12594. The cursor of the last page has no path and the index -1.
    """
    cursor = pb.SnapshotDiffReportCursorProto(startPath=b"", index=-1)
    while True:
        request = pb.GetSnapshotDiffReportListingRequestProto(
            snapshotRoot=root, fromSnapshot=older, toSnapshot=newer, cursor=cursor
        )
        page = namenode.connection.call(
            CLIENT,
            "getSnapshotDiffReportListing",
            request,
            pb.GetSnapshotDiffReportListingResponseProto,
            timeout_s=SLOW_S,
        ).diffReport
        yield page
        if not page.HasField("cursor") or (not page.cursor.startPath and page.cursor.index == -1):
            return
        cursor = page.cursor


def summary_of(namenode: NameNode, path: str) -> Summary:
    """How much is under a path. Raises RemoteError when it is not there."""
    answer = namenode.connection.call(
        CLIENT,
        "getContentSummary",
        pb.GetContentSummaryRequestProto(path=path),
        pb.GetContentSummaryResponseProto,
        timeout_s=SUMMARY_TIMEOUT_S,
    ).summary
    return Summary(answer.length, answer.fileCount, answer.directoryCount)


def entry_of(namenode: NameNode, path: str) -> Entry | None:
    """The file or directory at a path; None when there is none."""
    answer = namenode.connection.call(
        CLIENT, "getFileInfo", pb.GetFileInfoRequestProto(src=path), pb.GetFileInfoResponseProto
    )
    return entry(answer.fs) if answer.HasField("fs") else None


def entry(status: pb.HdfsFileStatusProto) -> Entry:
    return Entry(
        kind={1: "dir", 2: "file", 3: "symlink"}[status.fileType],
        inode=status.fileId,
        size_bytes=status.length,
        modified_ms=status.modification_time,
        block_bytes=status.blocksize,
        replication=status.block_replication,
    )


def page_after(namenode: NameNode, folder: str, after: bytes) -> tuple[dict[bytes, Entry], bool]:
    """A page of a directory's entries by name, those behind `after` in byte order, and whether there are more."""
    request = pb.GetListingRequestProto(src=folder, startAfter=after, needLocation=False)
    answer = namenode.connection.call(CLIENT, "getListing", request, pb.GetListingResponseProto)
    if not answer.HasField("dirList"):
        return {}, False
    found = {e.path: entry(e) for e in answer.dirList.partialListing}
    return found, bool(answer.dirList.remainingEntries and found)


def make_directory(namenode: NameNode, path: str, *, mode: int) -> None:
    """Make a directory and those above it; one that is there is left as it is."""
    request = pb.MkdirsRequestProto(src=path, masked=pb.FsPermissionProto(perm=mode), createParent=True)
    namenode.connection.call(CLIENT, "mkdirs", request, pb.MkdirsResponseProto)


def delete_path(namenode: NameNode, path: str, *, recursive: bool = True) -> bool:
    """Delete a file or directory with all in it, past the trash; False when it was not there.

    Raises RemoteError for a directory with something in it that is not to be deleted with it.
    """
    request = pb.DeleteRequestProto(src=path, recursive=recursive)
    return namenode.connection.call(CLIENT, "delete", request, pb.DeleteResponseProto, timeout_s=SLOW_S).result


def rename_path(namenode: NameNode, source: str, target: str, *, overwrite: bool = False) -> None:
    """Rename a file or directory, in one step. Raises RemoteError when the target is there, unless a file is to be
    overwritten."""
    request = pb.Rename2RequestProto(src=source, dst=target, overwriteDest=overwrite)
    namenode.connection.call(CLIENT, "rename2", request, pb.Rename2ResponseProto)


def entries_of(namenode: NameNode, folder: str) -> Iterator[tuple[bytes, Entry]]:
    """A directory's entries in the byte order of their names, page by page; none when it is not there."""
    after, more = b"", True
    while more:
        page, more = page_after(namenode, folder, after)
        yield from page.items()
        after = next(reversed(page), after)


def set_attribute(namenode: NameNode, path: str, name: str, value: bytes) -> None:
    """Set an extended attribute of the namespace `user`."""
    attribute = pb.XAttrProto(namespace=pb.XAttrProto.USER, name=name, value=value)
    request = pb.SetXAttrRequestProto(src=path, xAttr=attribute, flag=CREATE_OR_REPLACE)
    namenode.connection.call(CLIENT, "setXAttr", request, pb.SetXAttrResponseProto)


def attributes_of(namenode: NameNode, path: str) -> Mapping[str, bytes]:
    """The extended attributes of the namespace `user` by name; none when the path is not there."""
    try:
        answer = namenode.connection.call(
            CLIENT, "getXAttrs", pb.GetXAttrsRequestProto(src=path), pb.GetXAttrsResponseProto
        )
    except RemoteError as e:
        if e.exception.endswith(NO_SUCH_FILE):
            return {}
        raise
    return {x.name: x.value for x in answer.xAttrs if x.namespace == pb.XAttrProto.USER}


def _joined(parent: bytes, name: bytes) -> str:
    return f"/{(parent + b'/' + name).decode('utf-8', errors='replace').strip('/')}"
