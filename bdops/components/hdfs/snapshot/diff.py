"""What changed between two snapshots, as it comes from the NameNode: any number of changes in little memory.

What is kept is one number for each renamed entry until its other end has come, and a few pages of directory listings
to take sizes from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.rpc import RemoteError
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.calls import Entry, Summary

Kind = Literal["added", "removed", "renamed", "modified"]
PAGES = 8
"""Of the pages of listings read last so many are kept: changes come directory by directory."""

Page = Callable[[str, bytes], tuple[dict[bytes, Entry], bool]]
"""A page of a directory behind a name, as calls.page_after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change; paths are relative to the directory, the directory itself is "".

    `size_bytes` and `files`: of what was added or removed, with all that is in it, or of a file that was modified as
    it is now; None when nobody asked, or it is not there any more to ask about.
    """

    kind: Kind
    path: str
    target: str | None = None
    what: str | None = None
    size_bytes: int | None = None
    files: int | None = None


@dataclass
class Totals:
    """What has been counted so far, by kind of change. `unsized`: so many of which it is not known how big they are."""

    changes: dict[str, int] = field(default_factory=dict)
    size_bytes: dict[str, int] = field(default_factory=dict)
    unsized: dict[str, int] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        self.changes[change.kind] = self.changes.get(change.kind, 0) + 1
        if change.size_bytes is not None:
            self.size_bytes[change.kind] = self.size_bytes.get(change.kind, 0) + change.size_bytes
        elif change.kind in ("added", "removed"):
            self.unsized[change.kind] = self.unsized.get(change.kind, 0) + 1


def changes(pages: Iterable[pb.SnapshotDiffReportListingProto]) -> Iterator[Change]:
    """The changes of a report from an older to a later snapshot, in its order.

    A renamed entry is reported twice: as deleted, with where it went, and as created in its new place. An entry that
    came from outside of the directory is created only. Which of the two is known when all has come, so those come last.
    """
    arrived: dict[int, str] = {}
    left: set[int] = set()
    for page in pages:
        for entry in page.modifiedEntries:
            yield Change(kind="modified", path=_text(entry.fullpath))
        for entry in page.createdEntries:
            if not entry.isReference:
                yield Change(kind="added", path=_text(entry.fullpath))
            elif entry.fileId in left:
                left.discard(entry.fileId)
            else:
                arrived[entry.fileId] = _text(entry.fullpath)
        for entry in page.deletedEntries:
            if not entry.isReference:
                yield Change(kind="removed", path=_text(entry.fullpath))
                continue
            if arrived.pop(entry.fileId, None) is None:
                left.add(entry.fileId)
            yield Change(kind="renamed", path=_text(entry.fullpath), target=_text(entry.targetPath))
    for path in arrived.values():
        yield Change(kind="added", path=path)


@dataclass
class Sizes:
    """Looks up how much there is at the paths of changes. `older` and `newer` are the roots of both states."""

    older: str
    newer: str
    page: Page
    alone: Callable[[str], Entry | None]
    summary: Callable[[str], Summary | None]
    _pages: OrderedDict[str, tuple[bytes, bytes | None, dict[bytes, Entry]]] = field(default_factory=OrderedDict)

    def of(self, change: Change) -> Change:
        """The change with what it is and how big; one that is renamed takes no room."""
        if change.kind == "renamed":
            return change
        root = self.older if change.kind == "removed" else self.newer
        if not change.path:
            return replace(change, what="dir")
        found = self._entry(f"{root}/{change.path}")
        if found is None:
            return change
        if found.kind != "dir":
            return replace(change, what=found.kind, size_bytes=found.size_bytes, files=1)
        if change.kind == "modified":
            return replace(change, what="dir")
        inside = self.summary(f"{root}/{change.path}")
        if inside is None:
            return replace(change, what="dir")
        return replace(change, what="dir", size_bytes=inside.size_bytes, files=inside.files)

    def _entry(self, path: str) -> Entry | None:
        """By a listing of its directory: the next thousand entries are asked for with the same call."""
        folder, _, text = path.rpartition("/")
        name = text.encode()
        first, last, found = self._pages.get(folder, (b"", b"", {}))
        if not found or name <= first or (last is not None and name > last):
            # A name without its last byte is right before it in the order of listings, or nearly.
            first = name[:-1]
            found, more = self.page(folder, first)
            last = max(found) if more and found else None
            self._pages[folder] = (first, last, found)
        self._pages.move_to_end(folder)
        while len(self._pages) > PAGES:
            self._pages.popitem(last=False)
        if name not in found and last is not None and name > last:
            return self.alone(path)
        return found.get(name)


def sizes(namenode: NameNode, root: str, older: str, newer: str) -> Sizes:
    """Lookups on a NameNode. `newer` is a snapshot, or "" for what is there now."""

    def summary(path: str) -> Summary | None:
        try:
            return calls.summary_of(namenode, path)
        except RemoteError as e:
            if e.exception.endswith(calls.NO_SUCH_FILE):
                return None
            raise

    return Sizes(
        older=calls.snapshot_path(root, older),
        newer=calls.snapshot_path(root, newer) if newer else root.rstrip("/"),
        alone=lambda path: calls.entry_of(namenode, path),
        page=lambda folder, after: calls.page_after(namenode, folder, after),
        summary=summary,
    )


def snapshot_changes(service: Nameservice, root: str, older: str, newer: str, *, sized: bool) -> Iterator[Change]:
    """The changes between two snapshots of a directory, by one NameNode from the first page to the last.

    Raises RemoteError when a snapshot goes, or a failover comes, meanwhile: then it is to be asked for again.
    """
    namenode = service.namenodes[service.active()]
    found = changes(calls.diff_pages(namenode, root, older, newer))
    return map(sizes(namenode, root, older, newer).of, found) if sized else found


def _text(path: bytes) -> str:
    return path.decode("utf-8", errors="replace")
