"""Moves between log directories: against all assignments on small brokers, close to the bound on large ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner.assembly import LogDirRow
from bdops.components.kafka.planner.disks import DisksPlan, propose_disks, subset
from bdops.components.kafka.planner.model import Layout, Request
from bdops.errors import StateUnknown
from tests.unit.kafka.planner.layouts import layout


def one_broker(sizes: list[int], at: list[int], dirs: int, **fields: object) -> Layout:
    """Broker 1 with some directories, and a replica of a size in each place."""
    return layout(
        {"t": [[1]] * len(sizes)},
        sizes={"t": sizes},
        log_dirs=[LogDirRow(broker=1, path=f"/d{n}", **fields) for n in range(dirs)],  # type: ignore[arg-type]
        dirs={"t": [[n] for n in at]},
    )


def least_bytes(found: Layout, tolerance: float) -> int | None:
    """The fewest bytes moved by any assignment of replicas to directories that is in band; None when none is."""
    assert found.dirs is not None
    assert found.log_dirs is not None
    sizes, home = found.size_bytes.tolist(), found.dirs[:, 0].tolist()
    count = len(found.log_dirs)
    share = sum(sizes) / count
    low, high = max(0, int(np.floor((1 - tolerance) * share))), int(np.ceil((1 + tolerance) * share))
    best = None
    for target in product(range(count), repeat=len(sizes)):
        loads = [sum(s for s, t in zip(sizes, target, strict=True) if t == d) for d in range(count)]
        if all(low <= load <= high for load in loads):
            moved = sum(s for s, t, h in zip(sizes, target, home, strict=True) if t != h)
            best = moved if best is None else min(best, moved)
    return best


def replayed(plan: DisksPlan) -> list[int]:
    """The bytes of every directory after the moves, each of which must start where the replica is."""
    found = plan.layout
    assert found.dirs is not None
    assert found.log_dirs is not None
    at = found.dirs.copy()
    for move in plan.moves:
        places = np.flatnonzero(at[move.row] == move.source)
        assert len(places) == 1
        assert found.log_dirs.broker[move.source] == found.log_dirs.broker[move.target]
        at[move.row, places[0]] = move.target
    return [int((found.size_bytes[:, None] * (at == d)).sum()) for d in range(len(found.log_dirs))]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), dirs=st.integers(2, 3), tolerance=st.sampled_from([0.0, 0.05, 0.2, 0.5]))
def test_a_small_broker_moves_the_least_that_is_possible(data: st.DataObject, dirs: int, tolerance: float) -> None:
    sizes = data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=7))
    at = [data.draw(st.integers(0, dirs - 1)) for _ in sizes]
    found = one_broker(sizes, at, dirs)
    plan = propose_disks(found, Request(tolerance={"bytes": tolerance}))
    best = least_bytes(found, tolerance)
    assert replayed(plan) == plan.after.tolist()
    if best is None:
        assert plan.residual
    else:
        assert not plan.residual
        assert plan.moved_bytes == best
        assert plan.optimal
        assert plan.bound_bytes <= best


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), dirs=st.integers(2, 8))
def test_a_large_broker_is_in_band_and_close_to_the_bound(seed: int, dirs: int) -> None:
    random = np.random.default_rng(seed)
    sizes = (random.pareto(1.5, 600) * 1e9).clip(max=3e10).astype(int).tolist()
    at = random.choice(dirs, 600, p=random.dirichlet(np.ones(dirs))).tolist()
    plan = propose_disks(one_broker(sizes, at, dirs), Request(tolerance={"bytes": 0.05}))
    assert not plan.residual
    assert replayed(plan) == plan.after.tolist()
    assert plan.gap is not None
    assert plan.gap <= 0.005
    again = one_broker(sizes, _after(plan), dirs)
    assert not propose_disks(again, Request(tolerance={"bytes": 0.05})).moves


def _after(plan: DisksPlan) -> list[int]:
    assert plan.layout.dirs is not None
    at = plan.layout.dirs[:, 0].tolist()
    for move in plan.moves:
        at[move.row] = move.target
    return at


def test_an_offline_directory_neither_gives_nor_takes() -> None:
    found = layout(
        {"t": [[1]] * 4},
        sizes={"t": [10, 10, 10, 10]},
        log_dirs=[LogDirRow(broker=1, path=f"/d{n}", offline=n == 2) for n in range(3)],
        dirs={"t": [[0], [0], [2], [2]]},
    )
    plan = propose_disks(found, Request())
    assert plan.after.tolist() == [10, 10, 20]
    assert any("offline" in text for text in plan.residual)


def test_a_directory_takes_no_more_than_the_watermark_allows() -> None:
    found = layout(
        {"t": [[1]] * 6},
        sizes={"t": [10] * 6},
        log_dirs=[
            LogDirRow(broker=1, path="/a", total_bytes=1000, usable_bytes=900),
            LogDirRow(broker=1, path="/b", total_bytes=1000, usable_bytes=165),
        ],
        dirs={"t": [[0]] * 6},
    )
    plan = propose_disks(found, Request(watermark=0.85))
    assert plan.after.tolist() == [50, 10]  # room for 15 more
    assert any("/b ends with 10 B" in text for text in plan.residual)


def test_shares_follow_the_sizes_of_the_volumes_and_pinned_partitions_stay() -> None:
    found = layout(
        {"a": [[1]] * 6, "b": [[1]] * 6},
        sizes={"a": [10] * 6, "b": [10] * 6},
        log_dirs=[
            LogDirRow(broker=1, path="/a", total_bytes=10_000, usable_bytes=9_000),
            LogDirRow(broker=1, path="/b", total_bytes=30_000, usable_bytes=29_000),
        ],
        dirs={"a": [[0]] * 6, "b": [[0]] * 6},
    )
    assert propose_disks(found, Request()).after.tolist() == [30, 90]
    pinned = np.array([True] * 6 + [False] * 6)
    assert propose_disks(found, Request(pinned=pinned)).after.tolist() == [60, 60]


def test_a_layout_without_directories_is_refused() -> None:
    with pytest.raises(StateUnknown, match="log directory"):
        propose_disks(layout({"t": [[1]]}), Request())


@settings(max_examples=300, deadline=None)
@given(sizes=st.lists(st.integers(1, 50), max_size=12), least=st.integers(1, 200), slack=st.integers(0, 60))
def test_a_subset_keeps_to_its_limits(sizes: list[int], least: int, slack: int) -> None:
    chosen = subset(np.array(sizes, dtype=np.int64), least, least + slack)
    assert len(set(chosen.tolist())) == len(chosen)
    assert sum(sizes[n] for n in chosen) <= least + slack
