"""Plans by bytes on small clusters: what always holds, and the floor against every plan there is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bdops.components.kafka.planner.approximate import propose_bytes
from bdops.components.kafka.planner.domains import domains, even_shares, rack_cap, wanted_factors
from bdops.components.kafka.planner.model import Brokers, Layout, Proposal, Request
from tests.unit.kafka.planner import brute


def make(
    racks: list[int],
    rows: list[list[int]],
    sizes: list[int],
    *,
    topics: int = 1,
    update: list[int] | None = None,
    live: list[bool] | None = None,
    total_bytes: list[int] | None = None,
    rates: list[float] | None = None,
) -> Layout:
    """A layout of rows of broker indexes; -1 as a rack for none. Free disk is what the rows leave of `total_bytes`."""
    count, width = len(racks), max(len(row) for row in rows)
    replicas = np.full((len(rows), width), -1, dtype=np.int16)
    used = np.zeros(count, dtype=np.int64)
    for number, row in enumerate(rows):
        replicas[number, : len(row)] = row
        used[row] += sizes[number]
    total = np.array(total_bytes or [0] * count, dtype=np.int64)
    return Layout(
        brokers=Brokers(
            ids=np.arange(count, dtype=np.int32) + 1,
            live=np.array(live or [True] * count),
            rack=np.array(racks, dtype=np.int16),
            update_domain=np.array(update or [-1] * count, dtype=np.int16),
            total_bytes=total,
            usable_bytes=np.maximum(total - used, 0),
            racks=tuple(f"r{number}" for number in range(max(racks) + 1)),
            update_domains=tuple(f"u{number}" for number in range(max(update or [-1]) + 1)),
        ),
        topics=tuple(f"t{number}" for number in range(topics)),
        first=np.linspace(0, len(rows), topics + 1).astype(np.int64),
        numbers=np.arange(len(rows), dtype=np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=np.array(sizes, dtype=np.int64),
        bytes_in=None if rates is None else np.array(rates),
    )


@st.composite
def clusters(draw: st.DrawFn, most_rows: int = 40) -> tuple[Layout, Request]:
    """Any small cluster, with drains, exclusions, dead brokers, pins and new factors that can all be had."""
    count = draw(st.integers(3, 8))
    racks = draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    update = draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    number = draw(st.integers(1, most_rows))
    rows = [draw(st.permutations(range(count)))[: draw(st.integers(1, min(3, count)))] for _ in range(number)]
    sizes = draw(st.lists(st.integers(0, 1000), min_size=number, max_size=number))
    live = [True] * count
    if draw(st.booleans()):
        live[draw(st.integers(0, count - 1))] = False
    topics = draw(st.integers(1, 3))
    layout = make(racks, rows, sizes, topics=topics, update=update, live=live)
    spare = draw(st.integers(0, max(0, sum(live) - 4)))
    drained = draw(st.permutations([index for index in range(count) if live[index]]))[:spare]
    excluded = draw(st.sets(st.integers(0, count - 1), max_size=1)) - set(drained)
    room = sum(live[index] and index not in drained and index not in excluded for index in range(count))
    factors = {}
    if draw(st.booleans()):
        factors[draw(st.integers(0, topics - 1))] = draw(st.integers(1, max(1, min(3, room))))
    pinned = np.array(draw(st.lists(st.booleans(), min_size=number, max_size=number))) & draw(st.booleans())
    balance = draw(st.sampled_from([("bytes",), ("bytes", "count"), ("count",), ()]))
    request = Request(
        balance=balance,
        tolerance={measure: draw(st.sampled_from([0.05, 0.2, 0.5])) for measure in balance},
        drain=frozenset(drained),
        exclude=frozenset(excluded),
        factors=factors,
        pinned=pinned if pinned.any() else None,
    )
    return layout, request


def as_sets(replicas: NDArray[np.int16]) -> list[set[int]]:
    return [{int(broker) for broker in row if broker >= 0} for row in replicas]


def bytes_moved(layout: Layout, replicas: NDArray[np.int16]) -> int:
    pairs = zip(as_sets(layout.replicas), as_sets(replicas), layout.size_bytes.tolist(), strict=True)
    return sum(len(after - before) * size for before, after, size in pairs)


def applied(layout: Layout, proposal: Proposal) -> Layout:
    return replace(layout, replicas=proposal.replicas, leader=proposal.replicas[:, 0].copy())


def excess(layout: Layout, request: Request, row: set[int], factor: int) -> int:
    """Replicas of a row beyond the cap of their racks."""
    where = domains(layout, request)
    cap = rack_cap(factor, where.rack_sizes)
    held = np.bincount([where.rack[broker] for broker in row], minlength=1)
    return int(np.maximum(held - cap, 0).sum())


def out_of_band(layout: Layout, request: Request, rows: list[set[int]]) -> float:
    """By how much brokers are out of their bands of bytes, in bytes."""
    where = domains(layout, request)
    share = even_shares(layout, request, where, layout.size_bytes)
    load = np.zeros(len(share))
    for row, size in zip(rows, layout.size_bytes.tolist(), strict=True):
        load[list(row)] += size
    part = request.tolerance["bytes"]
    low, high = np.floor((1 - part) * share + 1e-6), np.ceil((1 + part) * share - 1e-6)
    out = np.maximum(np.maximum(low - load, load - high), 0.0)
    return float(out[where.receivers].sum())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters())
def test_the_hard_rules_hold_whatever_is_asked(case: tuple[Layout, Request]) -> None:
    layout, request = case
    proposal = propose_bytes(layout, request)
    where = domains(layout, request)
    wanted = wanted_factors(layout, request)
    for number, (before, after) in enumerate(zip(as_sets(layout.replicas), as_sets(proposal.replicas), strict=True)):
        listed = [int(broker) for broker in proposal.replicas[number] if broker >= 0]
        assert len(listed) == len(after), "a broker is there twice"
        assert (proposal.replicas[number, : len(listed)] >= 0).all(), "a gap"
        if request.pinned is not None and request.pinned[number]:
            assert after == before
            continue
        assert all(where.receivers[broker] for broker in after - before)
        reach = int(where.receivers.sum()) + sum(bool(where.holding[broker]) for broker in before)
        if reach >= wanted[number]:
            assert len(after) == wanted[number]
            assert not any(where.leaving[broker] for broker in after)
            assert {broker for broker in after if where.holding[broker]} == set(brute.kept(layout, request, number))
        if not any(where.holding[broker] for broker in before) and int(where.receivers.sum()) >= wanted[number]:
            assert excess(layout, request, after, int(wanted[number])) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters())
def test_it_is_deterministic_and_the_second_plan_is_empty(case: tuple[Layout, Request]) -> None:
    layout, request = case
    proposal = propose_bytes(layout, request)
    again = propose_bytes(layout, request)
    assert proposal.replicas.tobytes() == again.replicas.tobytes()
    if not proposal.residual:
        assert proposal.bound.moved_bytes <= bytes_moved(layout, proposal.replicas)
        second = propose_bytes(applied(layout, proposal), request)
        assert second.replicas.tolist() == proposal.replicas.tolist()
        assert second.bound.moved_bytes == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters())
def test_it_never_makes_bytes_worse_when_nothing_else_is_asked(case: tuple[Layout, Request]) -> None:
    layout, request = case
    request = Request(balance=("bytes",), tolerance={"bytes": 0.1}, exclude=request.exclude)
    settled = applied(layout, propose_bytes(layout, Request(exclude=request.exclude)))
    before = out_of_band(settled, request, as_sets(settled.replicas))
    proposal = propose_bytes(settled, request)
    after = out_of_band(settled, request, as_sets(proposal.replicas))
    assert after <= before + 1e-3
    if not after < before:
        assert proposal.replicas.tolist() == settled.replicas.tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    racks=st.sampled_from([[0, 0, 1, 1], [0, 1, 2, 2], [-1, -1, -1, -1], [0, 0, 0, 1], [0, 1, 1, -1]]),
    rows=st.lists(st.permutations(range(4)).map(lambda order: list(order[:2])), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 20), min_size=5, max_size=5),
    tolerance=st.sampled_from([0.1, 0.3, 0.6]),
    drain=st.sampled_from([frozenset(), frozenset({0})]),
    factor=st.sampled_from([None, 1, 3]),
)
def test_no_plan_there_is_moves_less_than_the_bound(
    racks: list[int],
    rows: list[list[int]],
    sizes: list[int],
    tolerance: float,
    drain: frozenset[int],
    factor: int | None,
) -> None:
    layout = make(racks, rows, sizes[: len(rows)])
    request = Request(
        balance=("bytes",), tolerance={"bytes": tolerance}, drain=drain, factors={} if factor is None else {0: factor}
    )
    proposal = propose_bytes(layout, request)
    wanted = wanted_factors(layout, request)
    takers = [index for index in range(4) if index not in drain]
    choices = []
    for number in range(len(rows)):
        sets = [set(chosen) for chosen in itertools.combinations(takers, int(wanted[number]))]
        choices.append([s for s in sets if not excess(layout, request, s, int(wanted[number]))])
    best: tuple[int, int] | None = None
    before = as_sets(layout.replicas)
    for plan in itertools.product(*choices):
        if out_of_band(layout, request, list(plan)) == 0:
            added = [after - old for after, old in zip(plan, before, strict=True)]
            moved = sum(len(new) * size for new, size in zip(added, sizes, strict=False))
            count = sum(len(new) for new in added)
            best = (moved, count) if best is None else (min(best[0], moved), min(best[1], count))
    if best is not None:
        assert proposal.bound.moved_bytes <= best[0]
        assert proposal.bound.moved_replicas <= best[1]
    if best is not None and not proposal.residual:
        assert bytes_moved(layout, proposal.replicas) >= best[0]
    if not proposal.residual:
        assert out_of_band(layout, request, as_sets(proposal.replicas)) == 0


def test_the_copy_stays_in_the_order_of_the_row() -> None:
    layout = make([0, 1, 2, 3], [[0, 1, 2]], [10])
    proposal = propose_bytes(layout, Request(drain=frozenset({1})))
    assert proposal.replicas.tolist() == [[0, 3, 2]]
    assert proposal.optimal
    assert proposal.bound.moved_bytes == 10


def test_a_busy_row_is_left_alone_and_its_load_counts() -> None:
    layout = make([0, 0, 0], [[0], [0], [1], [2]], [100, 50, 100, 60])
    layout = replace(layout, busy=np.array([True, False, False, False]))
    proposal = propose_bytes(layout, Request(balance=("bytes",), tolerance={"bytes": 0.1}))
    assert proposal.replicas[0, 0] == 0
    assert proposal.replicas[1, 0] == 2


def test_the_watermark_keeps_a_full_disk_from_taking_more() -> None:
    layout = make([0, 0, 0], [[0], [0], [0], [1]], [100, 100, 100, 90], total_bytes=[1000, 100, 1000])
    proposal = propose_bytes(layout, Request(balance=("bytes",), tolerance={"bytes": 0.3}))
    assert 1 not in proposal.replicas[:3]
    assert proposal.residual == () or "watermark" not in " ".join(proposal.residual)


def test_the_update_domain_is_kept_apart_where_racks_leave_a_choice() -> None:
    layout = make([0, 0, 1, 1], [[0, 2]], [10], update=[0, 1, 0, 1])
    proposal = propose_bytes(layout, Request())
    (after,) = as_sets(proposal.replicas)
    assert after in ({1, 2}, {0, 3})


def test_rates_are_evened_out_by_the_replicas_that_are_cheap_to_move() -> None:
    sizes = [1000, 10] * 30
    rows = [[0]] * 40 + [[1]] * 20
    layout = make([0, 0], rows, sizes, rates=[5.0] * 60)
    proposal = propose_bytes(layout, Request(balance=("bytes-in",), tolerance={"bytes-in": 0.05}))
    assert not proposal.residual
    assert bytes_moved(layout, proposal.replicas) == 90
    assert proposal.bound.moved_bytes == 84


def test_rates_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="rates"):
        propose_bytes(make([0], [[0]], [1]), Request(balance=("bytes-in",), tolerance={"bytes-in": 0.1}))
