"""The walk through all files: what has one copy, how few copies there are, and that it ends."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs.blocks import Scanned
from bdops.components.hdfs.state import BlockState, Survey
from bdops.components.hdfs.survey import NAMED_FILES, survey

NEVER = float("inf")


def block(file: str, wanted: int, live: int, *, needed: int = 1, striped: bool = False) -> BlockState:
    return BlockState(
        file=file,
        block=f"blk_{file}",
        length_bytes=1,
        wanted=wanted,
        live=live,
        needed=needed,
        striped=striped,
        locations=tuple(f"10.0.0.{n}:9866" for n in range(live)),
    )


def files_of(blocks: list[BlockState], scanned: Scanned) -> Iterator[BlockState]:
    for one in blocks:
        scanned.files += 1
        yield one


def surveyed(blocks: list[BlockState], *, named: int = 10, files: int = 1000, until: float = NEVER) -> Survey:
    scanned = Scanned()
    return survey(files_of(blocks, scanned), scanned, named_blocks=named, files_limit=files, until=until)


def test_single_copies_are_counted_by_datanode_and_named_up_to_a_limit() -> None:
    found = surveyed([block(f"/f{n}", 1, 1) for n in range(NAMED_FILES + 50)])
    (single,) = found.single
    assert (single.address, single.blocks, len(single.files)) == ("10.0.0.0:9866", NAMED_FILES + 50, NAMED_FILES)


def test_the_fewest_copies_and_the_least_parity_are_found() -> None:
    found = surveyed(
        [block("/a", 3, 3), block("/b", 2, 2), block("/c", 1, 1), block("/e", 9, 9, needed=6, striped=True)]
    )
    assert (found.lowest_copies, found.lowest_parity) == (2, 3)


def test_degraded_blocks_are_kept_up_to_a_limit_and_it_says_so() -> None:
    found = surveyed([block(f"/f{n}", 3, 2) for n in range(5)], named=3)
    assert (len(found.degraded), found.degraded_complete, found.complete) == (3, False, True)


def test_it_ends_at_its_limits_incomplete() -> None:
    blocks = [block(f"/f{n}", 3, 3) for n in range(100)]
    found = surveyed(blocks, files=10)
    assert (found.scanned_files, found.complete) == (10, False)
    late = surveyed(blocks, until=0.0)
    assert (late.scanned_files, late.complete) == (1, False)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), max_size=30))
def test_every_block_is_counted_where_it_belongs(found: list[tuple[int, int]]) -> None:
    blocks = [block(f"/f{n}", wanted, min(wanted, live)) for n, (wanted, live) in enumerate(found)]
    result = surveyed(blocks, named=100)
    assert len(result.degraded) == sum(1 for wanted, live in found if live < wanted)
    singles = sum(s.blocks for s in result.single)
    assert singles == sum(1 for wanted, live in found if wanted == 1 and live >= 1)
