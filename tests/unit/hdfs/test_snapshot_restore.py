"""Restores that the cluster carries out: what is missing, the commands, and the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs.snapshot import missing as module
from bdops.components.hdfs.snapshot.calls import Entry
from bdops.components.hdfs.snapshot.copying import ACTS, BATCH_ITEMS, Item, batches, copy_argv, copy_targets
from bdops.components.hdfs.snapshot.missing import Entries, missing
from bdops.errors import UsageError

Tree = dict[str, Any]
"""A directory: names with their sizes (files) or with what is in them."""
NAMES = st.sampled_from(["a", "b", "ab", "A", "\u00e9", "z" * 3])
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(0, 3), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.integers(0, 3), inner), max_size=4),
    max_leaves=12,
)


def entry(kind: str, size: int = 0) -> Entry:
    return Entry(kind=kind, inode=1, size_bytes=size, modified_ms=7, block_bytes=0, replication=3)


def listing(tree: Tree) -> Entries:
    def entries(folder: str) -> Iterator[tuple[bytes, Entry]]:
        here: Any = tree
        for part in filter(None, folder.split("/")):
            here = here.get(part, {}) if isinstance(here, dict) else {}
        for name in sorted(here, key=str.encode):
            one = here[name]
            yield name.encode(), entry("dir") if isinstance(one, dict) else entry("file", one)

    return entries


def expected(ours: Tree, theirs: Tree, above: str = "") -> tuple[set[str], set[str]]:
    """By recursion over both in memory: the topmost paths that are lost, and those that differ."""
    lost, differ = set[str](), set[str]()
    for name, one in ours.items():
        path = f"{above}/{name}".lstrip("/")
        if name not in theirs:
            lost.add(path)
        elif isinstance(one, dict) and isinstance(theirs[name], dict):
            more = expected(one, theirs[name], path)
            lost, differ = lost | more[0], differ | more[1]
        elif one != theirs[name]:
            differ.add(path)
    return lost, differ


@given(TREES, TREES)
def test_what_is_missing_and_what_differs_is_as_by_recursion(ours: Tree, theirs: Tree) -> None:
    found = missing(listing(ours), listing(theirs))
    lost, differ = expected(ours, theirs)
    assert {p for p, _ in found.lost} == lost
    assert set(found.named) == differ
    assert found.differing == len(differ)


def test_a_file_that_differs_is_found_where_it_is_named_and_a_directory_is_not() -> None:
    found = missing(listing({"a": 1, "b": 1, "d": {}}), listing({"a": 2, "b": 2, "d": 1}), frozenset({"a", "d"}))
    assert set(found.wanted) == {"a"}
    assert found.named == ["b", "d"]


def test_too_much_is_not_brought_back_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MISSING", 3)
    with pytest.raises(UsageError, match="missing"):
        missing(listing({str(n): 1 for n in range(4)}), listing({}))
    assert len(missing(listing({str(n): 1 for n in range(3)}), listing({})).lost) == 3


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.text("xyz", min_size=1, max_size=9)), max_size=500))
def test_batches_lose_nothing_and_are_no_longer_than_a_command_line(wanted: list[tuple[str, str]]) -> None:
    items = [(folder, Item(source=f"/s{folder}/{name}", name=name)) for folder, name in wanted]
    found = batches(items)
    assert sorted((b.folder, i.name) for b in found for i in b.items) == sorted(wanted)
    assert all(1 <= len(b.items) <= BATCH_ITEMS for b in found)
    long = [("/a", Item(source="/" + "x" * 20_000, name=str(n))) for n in range(5)]
    assert [len(b.items) for b in batches(long)] == [2, 2, 1]


def test_the_command_has_paths_as_they_are_and_much_is_copied_by_many() -> None:
    one = copy_argv("/opt/hadoop", "hdfs", "prod", ["/d/.snapshot/s/a[1]*"], "/d/stage", size_bytes=5)
    assert one == (
        "env", "HADOOP_USER_NAME=hdfs", "/opt/hadoop", "fs", "-cp", "-p", r"hdfs://prod/d/.snapshot/s/a\[1\]\*",
        "hdfs://prod/d/stage",
    )  # fmt: skip
    large = copy_argv("hadoop", "hdfs", "prod", ["/a[1]"], "/b[2]", size_bytes=10**12)
    assert large[3] == "distcp"
    assert large[-2:] == (r"hdfs://prod/a\[1\]", "hdfs://prod/b[2]"), "distcp takes its target as it is"


def test_each_batch_is_a_step_with_a_folder_of_its_own() -> None:
    found = batches([("/a", Item(source="/s/x", name="x")), ("/b", Item(source="/s/y", name="y", overwrite=True))])
    args = {"id": "one", "stamp": "T", "program": "hadoop", "host": "node4"}
    targets = copy_targets(found, args, [1, 2], [None, "/b"])
    assert [t.acts for t in targets] == [ACTS, ACTS]
    assert len({t.name for t in targets}) == len({t.args["stage"] for t in targets}) == 2
    assert targets[1].args["items"] == [{"source": "/s/y", "name": "y", "overwrite": True}]
    assert "/s/y -> /b/y" in targets[1].note
    assert targets[1].args["made"] == "/b"
