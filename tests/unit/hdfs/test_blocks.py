"""Blocks: how a file's are judged, and that a walk holds a page of each folder on its way and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs.blocks import BUILT_IN_POLICIES, EcPolicy, block_state, striped_width, walk
from bdops.components.hdfs.namenode import FileEntry
from bdops.components.hdfs.proto import hdfs_pb2 as pb

MIB = 1 << 20


def located(states: list[int], *, corrupt: bool = False, policy_id: int | None = None, size: int = 10) -> tuple:  # type: ignore[type-arg]
    block = pb.LocatedBlockProto(corrupt=corrupt, offset=0)
    block.b.poolId, block.b.blockId, block.b.generationStamp, block.b.numBytes = "BP", (1 << 64) - 16, 7, size
    for number, admin in enumerate(states):
        node = block.locs.add(adminState=admin)  # type: ignore[arg-type]
        node.id.ipAddr, node.id.xferPort = f"10.0.0.{number}", 9866
    blocks = pb.LocatedBlocksProto(fileLength=size, underConstruction=False, isLastBlockComplete=True)
    if policy_id is not None:
        blocks.ecPolicy.id = policy_id
    return blocks, block


@pytest.mark.parametrize(
    ("states", "corrupt", "word"),
    [
        ([0, 0, 0], False, (3, 0, False, False)),
        ([0, 0], False, (2, 0, True, False)),
        ([0, 0, 1], False, (2, 1, True, False)),  # one is being decommissioned
        ([2], False, (0, 1, True, False)),  # the last copy is on one that leaves: not missing
        ([], False, (0, 0, True, True)),
        ([0], True, (0, 0, True, True)),  # the location that is given is that of a corrupt copy
    ],
)
def test_a_replicated_block(states: list[int], corrupt: bool, word: tuple[int, int, bool, bool]) -> None:
    blocks, block = located(states, corrupt=corrupt)
    b = block_state("/f", 3, blocks, block)
    assert (b.live, b.leaving, b.under_replicated, b.missing) == word
    assert b.block == "blk_-16_7"


@pytest.mark.parametrize(
    ("states", "size", "wanted", "missing"),
    [
        ([0] * 9, 6 * MIB, 9, False),
        ([0] * 6, 6 * MIB, 9, False),  # three may go
        ([0] * 5, 6 * MIB, 9, True),
        ([0] * 4, MIB, 4, False),  # one cell of data, three of parity
        ([0] * 1, MIB, 4, False),
    ],
)
def test_an_erasure_coded_group_of_rs_6_3(states: list[int], size: int, wanted: int, missing: bool) -> None:
    blocks, block = located(states, policy_id=1, size=size)
    b = block_state("/f", 1, blocks, block)
    assert (b.striped, b.wanted, b.missing) == (True, wanted, missing)


def test_a_policy_of_ones_own_is_sent_whole() -> None:
    blocks, block = located([0] * 4, policy_id=64, size=10 * MIB)
    blocks.ecPolicy.cellSize = 4 * MIB
    blocks.ecPolicy.schema.codecName, blocks.ecPolicy.schema.dataUnits, blocks.ecPolicy.schema.parityUnits = "rs", 4, 1
    assert block_state("/f", 1, blocks, block).wanted == 4  # three cells of data, one of parity


@given(st.integers(1, 10**9), st.sampled_from(sorted(BUILT_IN_POLICIES)))
def test_a_group_is_never_narrower_than_parity_and_one_nor_wider_than_its_policy(length: int, policy_id: int) -> None:
    policy: EcPolicy = BUILT_IN_POLICIES[policy_id]
    width = striped_width(length, policy)
    assert policy.parity_units < width <= policy.data_units + policy.parity_units


def entry(name: str, kind: str) -> FileEntry:
    return FileEntry(name=name, kind=kind, length_bytes=0, replication=1)  # type: ignore[arg-type]


TREE = st.recursive(st.none(), lambda t: st.dictionaries(st.text("abc", min_size=1, max_size=3), t, max_size=4))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), TREE, max_size=4))
def test_a_walk_finds_every_file_once_by_its_full_path(tree: dict[str, object]) -> None:
    def place(path: str) -> dict[str, object]:
        node: object = tree
        for part in path.split("/"):
            if part:
                assert isinstance(node, dict)
                node = node[part]
        assert isinstance(node, dict)
        return node

    def listing(path: str) -> Iterator[FileEntry]:
        for name, node in place(path).items():
            yield entry(name, "dir" if isinstance(node, dict) else "file")

    def files(node: dict[str, object], prefix: str) -> set[str]:
        found: set[str] = set()
        for name, below in node.items():
            found |= files(below, f"{prefix}/{name}") if isinstance(below, dict) else {f"{prefix}/{name}"}
        return found

    paths = [path for path, _ in walk(listing, "/")]
    assert len(paths) == len(set(paths))
    assert set(paths) == files(tree, "")


def test_a_walk_of_one_file_names_it_itself() -> None:
    assert [p for p, _ in walk(lambda _: iter([entry("", "file")]), "/data/x")] == ["/data/x"]


def test_a_walk_asks_for_no_page_before_it_is_needed() -> None:
    asked = 0

    def listing(_: str) -> Iterator[FileEntry]:
        nonlocal asked
        while True:
            asked += 1
            yield entry(f"f{asked}", "file")

    found = walk(listing, "/")
    assert [next(found)[0] for _ in range(3)] == ["/f1", "/f2", "/f3"]
    assert asked == 3
