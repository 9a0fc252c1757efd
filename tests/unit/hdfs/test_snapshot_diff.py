"""Changes between snapshots: renames found in any order of pages, sizes looked up, little kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.snapshot.calls import Entry, Summary
from bdops.components.hdfs.snapshot.diff import Change, Sizes, Totals, changes


def entry(path: str, inode: int = 0, target: str | None = None, *, reference: bool = False) -> Any:
    return pb.SnapshotDiffReportListingEntryProto(
        fullpath=path.encode(),
        dirId=1,
        isReference=reference or target is not None,
        fileId=inode,
        targetPath=(target or "").encode(),
    )


def page(
    modified: Sequence[Any] = (), created: Sequence[Any] = (), deleted: Sequence[Any] = ()
) -> pb.SnapshotDiffReportListingProto:
    return pb.SnapshotDiffReportListingProto(
        modifiedEntries=modified, createdEntries=created, deletedEntries=deleted, isFromEarlier=True
    )


def test_each_kind_of_change() -> None:
    found = list(
        changes(
            [
                page([entry("")], [entry("new", 5)], [entry("old", 6)]),
                page([], [entry("b/moved", 7, reference=True)], [entry("a/was", 7, "b/moved")]),
            ]
        )
    )
    assert found == [
        Change(kind="modified", path=""),
        Change(kind="added", path="new"),
        Change(kind="removed", path="old"),
        Change(kind="renamed", path="a/was", target="b/moved"),
    ]


def test_what_came_from_outside_is_added_though_it_is_a_reference() -> None:
    assert list(changes([page(created=[entry("in", 9, reference=True)])])) == [Change(kind="added", path="in")]


@given(
    renames=st.lists(st.integers(1, 10_000), unique=True, max_size=30),
    arrivals=st.lists(st.integers(20_000, 30_000), unique=True, max_size=10),
    data=st.data(),
)
def test_a_rename_is_one_change_in_whatever_order_its_ends_come(
    renames: list[int], arrivals: list[int], data: st.DataObject
) -> None:
    ends = [("created", n) for n in renames + arrivals] + [("deleted", n) for n in renames]
    pages = []
    for kind, n in data.draw(st.permutations(ends)):
        if kind == "created":
            pages.append(page(created=[entry(f"to/{n}", n, reference=True)]))
        else:
            pages.append(page(deleted=[entry(f"from/{n}", n, f"to/{n}")]))
    found = list(changes(pages))
    assert sorted(c.path for c in found if c.kind == "renamed") == sorted(f"from/{n}" for n in renames)
    assert sorted(c.path for c in found if c.kind == "added") == sorted(f"to/{n}" for n in arrivals)
    assert len(found) == len(renames) + len(arrivals)


def file(size: int) -> Entry:
    return Entry(kind="file", inode=1, size_bytes=size, modified_ms=0, block_bytes=1, replication=1)


class Tree:
    """Directories as the NameNode lists them: in pages, in the order of bytes."""

    def __init__(self, folders: dict[str, dict[bytes, Entry]], page_size: int) -> None:
        self.folders, self.page_size, self.calls = folders, page_size, 0

    def page(self, folder: str, after: bytes) -> tuple[dict[bytes, Entry], bool]:
        self.calls += 1
        names = sorted(self.folders.get(folder, {}))
        first = bisect_right(names, after)
        chosen = names[first : first + self.page_size]
        return {n: self.folders[folder][n] for n in chosen}, first + self.page_size < len(names)

    def alone(self, path: str) -> Entry | None:
        self.calls += 1
        folder, _, name = path.rpartition("/")
        return self.folders.get(folder, {}).get(name.encode())

    def sizes(self) -> Sizes:
        return Sizes(
            older="/r/.snapshot/a",
            newer="/r",
            page=self.page,
            alone=self.alone,
            summary=lambda path: Summary(1000, 3, 1) if path == "/r/folder" else None,
        )


@given(
    names=st.lists(st.text("abé0/"[:4], min_size=1, max_size=4), unique=True, min_size=1, max_size=60),
    page_size=st.integers(1, 7),
    data=st.data(),
)
def test_sizes_are_those_of_the_files_whatever_the_pages(names: list[str], page_size: int, data: st.DataObject) -> None:
    entries = {n.encode(): file(i) for i, n in enumerate(names)}
    sizes = Tree({"/r": entries}, page_size).sizes()
    for name in data.draw(st.lists(st.sampled_from(names), max_size=40)):
        assert sizes.of(Change(kind="added", path=name)).size_bytes == entries[name.encode()].size_bytes
    assert sizes.of(Change(kind="added", path="nowhere")).size_bytes is None


def test_a_thousand_files_in_order_take_few_calls() -> None:
    entries = {f"part-{n:05}".encode(): file(n) for n in range(1000)}
    tree = Tree({"/r": entries}, 100)
    sizes = tree.sizes()
    found = [sizes.of(Change(kind="added", path=f"part-{n:05}")).size_bytes for n in range(1000)]
    assert found == list(range(1000))
    assert tree.calls < 30


def test_what_was_removed_is_looked_up_in_the_older_state_and_a_directory_with_all_in_it() -> None:
    directory = Entry(kind="dir", inode=1, size_bytes=0, modified_ms=0, block_bytes=0, replication=0)
    sizes = Tree({"/r/.snapshot/a": {b"x": file(7)}, "/r": {b"x": file(9), b"folder": directory}}, 10).sizes()
    assert sizes.of(Change(kind="removed", path="x")).size_bytes == 7
    assert sizes.of(Change(kind="modified", path="x")).size_bytes == 9
    inside = sizes.of(Change(kind="added", path="folder"))
    assert (inside.what, inside.size_bytes, inside.files) == ("dir", 1000, 3)
    assert sizes.of(Change(kind="modified", path="folder")).size_bytes is None


def test_totals_by_kind() -> None:
    totals = Totals()
    for change in (
        Change(kind="added", path="a", size_bytes=5),
        Change(kind="added", path="b"),
        Change(kind="renamed", path="c", target="d"),
    ):
        totals.add(change)
    assert totals.changes == {"added": 2, "renamed": 1}
    assert totals.size_bytes == {"added": 5}
    assert totals.unsized == {"added": 1}
