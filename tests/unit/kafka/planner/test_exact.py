"""The exact planner against every plan there is, on tiny clusters; and against the rules, on larger ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner import exact
from bdops.components.kafka.planner.exact import propose_exact
from bdops.components.kafka.planner.model import Brokers, Layout, Proposal, Request
from tests.unit.kafka.planner import brute, small

many = settings(max_examples=180, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
some = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def _moved(layout: Layout, plan: Proposal) -> tuple[int, int]:
    added = list(brute.moves(brute.rows_of(layout), plan.replicas.tolist()))
    return int(sum(n * int(s) for n, s in zip(added, layout.size_bytes, strict=True))), sum(added)


def _squares(layout: Layout, request: Request, plan: Proposal) -> int:
    if "count" not in request.balance:
        return 0
    load = np.bincount(plan.replicas[plan.replicas >= 0], minlength=len(layout.brokers))
    return int(sum(int(load[b]) ** 2 for b in brute.receivers_of(layout, request)))


def _leaders_dropped(layout: Layout, plan: Proposal) -> int:
    return sum(brute.leader_of(layout, row) not in new for row, new in enumerate(plan.replicas.tolist()))


def _after(layout: Layout, plan: Proposal) -> Layout:
    return replace(layout, replicas=plan.replicas, leader=plan.replicas[:, 0].copy())


def _check_rules(layout: Layout, request: Request, plan: Proposal) -> None:
    receivers = set(brute.receivers_of(layout, request))
    for row, (old, new) in enumerate(zip(brute.rows_of(layout), plan.replicas.tolist(), strict=True)):
        members = [b for b in new if b >= 0]
        assert new[: len(members)] == members, "no gaps"
        assert len(set(members)) == len(members) == brute.factor_of(layout, request, row)
        assert set(members) - set(old) <= receivers
        if not brute.is_free(layout, request, row):
            assert members == old
        else:
            assert not set(members) & request.drain
        assert [b for b in members if b in old] == [b for b in old if b in members], "what stays keeps its order"


def _rules_and_optimum(layout: Layout, request: Request) -> None:
    best = brute.best(layout, request)
    if best is None:
        with pytest.raises(ValueError, match="brokers that may take replicas"):
            propose_exact(layout, request)
        return
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    for row, new in enumerate(plan.replicas.tolist()):
        members = [b for b in new if b >= 0]
        allowed = brute.choices(layout, request, row)
        assert frozenset(members) in allowed, f"row {row}: {members} has more violations than {allowed}"
    assert plan.optimal
    assert (_squares(layout, request, plan), *_moved(layout, plan), _leaders_dropped(layout, plan)) == (
        best.squares,
        best.moved_bytes,
        best.moved_replicas,
        best.leaders_dropped,
    )
    assert plan.bound.moved_bytes <= best.moved_bytes
    assert plan.bound.moved_replicas <= best.moved_replicas
    again = propose_exact(_after(layout, plan), request)
    assert np.array_equal(again.replicas, plan.replicas)


@many
@given(small.cases(pins=False))
def test_bytes_are_the_least_of_all_plans(case: tuple[Layout, Request]) -> None:
    _rules_and_optimum(*case)


@many
@given(small.cases())
def test_bytes_are_the_least_of_all_plans_that_leave_pinned_rows(case: tuple[Layout, Request]) -> None:
    _rules_and_optimum(*case)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that is taken for large clusters: a part of the arcs, then the graph of receivers."""
    monkeypatch.setattr(exact, "MOST_ARCS", 0)
    monkeypatch.setattr(exact, "_CHOICES", 2)


@many
@given(small.cases())
@pytest.mark.usefixtures("in_parts")
def test_a_part_of_the_arcs_ends_in_the_same_optimum(case: tuple[Layout, Request]) -> None:
    _rules_and_optimum(*case)


@some
@given(small.cases(), st.sampled_from([0.2, 0.5]))
def test_within_a_tolerance_nothing_moves_that_need_not(case: tuple[Layout, Request], tolerance: float) -> None:
    layout, request = case
    request = replace(request, balance=("count",), tolerance={"count": tolerance}, pinned=None)
    layout = replace(layout, busy=None)
    even = brute.best(layout, request)
    assume(even is not None)
    strict = propose_exact(layout, replace(request, tolerance={}))
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    assert plan.optimal
    assert _moved(layout, plan)[0] <= _moved(layout, strict)[0]
    where = exact.rules.domains(layout, request)
    shares = exact.rules.even_shares(layout, request, where, np.ones(len(layout), dtype=np.int64))
    low, high = exact.rules.band(shares, where.receivers, tolerance)
    best = brute.best(layout, request, band=(low.tolist(), high.tolist()))
    assert best is not None
    load = np.bincount(plan.replicas[plan.replicas >= 0], minlength=len(layout.brokers))
    outside = sum(max(0, int(low[b] - load[b]), int(load[b] - high[b])) for b in brute.receivers_of(layout, request))
    if best.squares == outside == 0:
        assert _moved(layout, plan) == (best.moved_bytes, best.moved_replicas)


@some
@given(small.cases(disks=True))
def test_disks_stay_under_the_watermark_or_it_is_said(case: tuple[Layout, Request]) -> None:
    layout, request = case
    free = brute.best(layout, request)
    assume(free is not None)
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    added = np.zeros(len(layout.brokers), dtype=np.int64)
    for old, new, size in zip(brute.rows_of(layout), plan.replicas.tolist(), layout.size_bytes, strict=True):
        for broker in {b for b in new if b >= 0} - set(old):
            added[broker] += size
    room = np.maximum(850 - (1000 - layout.brokers.usable_bytes), 0)
    if (added > room).any():
        assert any("watermark" in sentence for sentence in plan.residual)
    elif plan.optimal and free is not None:
        assert _squares(layout, request, plan) >= free.squares


@some
@given(small.cases(update_domains=True))
def test_rows_are_spread_over_update_domains_after_racks(case: tuple[Layout, Request]) -> None:
    layout, request = case
    best = brute.best(layout, request)
    assume(best is not None)
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    racks = updates = 0
    for row, new in enumerate(plan.replicas.tolist()):
        members = [b for b in new if b >= 0]
        found = brute.violations(layout, request, row, members)
        least = brute.violations(layout, request, row, brute.choices(layout, request, row)[0])
        racks += found[0] - least[0]
        updates += found[1] - least[1]
    assert racks == 0
    if plan.optimal and best is not None:
        assert updates == 0
        assert (_squares(layout, request, plan), *_moved(layout, plan)) == (
            best.squares,
            best.moved_bytes,
            best.moved_replicas,
        )


@few
@given(small.cases(pins=False, most_rows=5))
def test_topics_are_spread_at_the_least_bytes_when_they_can_be(case: tuple[Layout, Request]) -> None:
    layout, request = case
    layout = replace(layout, busy=None)
    request = replace(request, balance=("count",), topic_spread=True)
    plain = brute.best(layout, request)
    assume(plain is not None)
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    assert plain is not None
    assert _squares(layout, request, plan) == plain.squares, "even counts come first"
    shares = exact.rules.even_shares(
        layout, request, exact.rules.domains(layout, request), np.ones(len(layout), dtype=np.int64)
    )[brute.receivers_of(layout, request)]
    assume(len(shares) > 0 and shares.max() - shares.min() < 1e-6)
    best = brute.best_spread(layout, request, plain.squares)
    if plan.optimal:
        assert best is not None
        assert _moved(layout, plan) == best
    elif best is not None:
        assert not any("topics are not spread" in sentence for sentence in plan.residual)


def _wide(rng: np.random.Generator) -> Layout:
    brokers, racks, rows = int(rng.integers(8, 30)), int(rng.integers(2, 6)), int(rng.integers(200, 600))
    replicas = np.full((rows, 4), -1, dtype=np.int16)
    cuts = np.sort(rng.choice(np.arange(1, rows), 19, replace=False))
    first = np.concatenate([[0], cuts, [rows]])
    for start, end in pairwise(first):
        factor = int(rng.integers(1, 5))
        for row in range(start, end):
            replicas[row, :factor] = rng.permutation(brokers)[:factor]
    return Layout(
        brokers=Brokers(
            ids=np.arange(brokers, dtype=np.int32) + 1,
            live=rng.random(brokers) > 0.05,
            rack=rng.integers(0, racks, brokers).astype(np.int16),
            update_domain=np.full(brokers, -1, dtype=np.int16),
            total_bytes=np.zeros(brokers, dtype=np.int64),
            usable_bytes=np.zeros(brokers, dtype=np.int64),
            racks=tuple(f"r{n}" for n in range(racks)),
        ),
        topics=tuple(f"t{n:02}" for n in range(20)),
        first=first,
        numbers=np.concatenate([np.arange(b - a) for a, b in pairwise(first)]).astype(np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=(rng.pareto(1.2, rows) * 1e7).astype(np.int64),
    )


@pytest.mark.parametrize("seed", range(12))
def test_larger_plans_keep_the_rules_are_proved_and_repeat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = _wide(rng)
    request = Request(
        balance=("count",) if seed % 3 else (),
        drain=frozenset({0}) if seed % 2 else frozenset(),
        exclude=frozenset({3}) if seed % 4 == 0 else frozenset(),
        factors={1: 2, 2: 3} if seed % 5 == 0 else {},
        pinned=rng.random(len(layout)) < 0.05,
    )
    plan = propose_exact(layout, request)
    _check_rules(layout, request, plan)
    assert plan.optimal
    assert np.array_equal(plan.replicas, propose_exact(layout, request).replicas)
    assert plan.bound.moved_bytes <= _moved(layout, plan)[0]
    assert plan.bound.moved_replicas <= _moved(layout, plan)[1]
    again = propose_exact(_after(layout, plan), request)
    assert np.array_equal(again.replicas, plan.replicas)


def test_one_of_twenty_brokers_goes_and_one_replica_moves() -> None:
    replicas = np.array([[2 * row, 2 * row + 1] for row in range(10)], dtype=np.int16)
    layout = Layout(
        brokers=Brokers(
            ids=np.arange(20, dtype=np.int32),
            live=np.ones(20, dtype=np.bool_),
            rack=np.full(20, -1, dtype=np.int16),
            update_domain=np.full(20, -1, dtype=np.int16),
            total_bytes=np.zeros(20, dtype=np.int64),
            usable_bytes=np.zeros(20, dtype=np.int64),
        ),
        topics=("t",),
        first=np.array([0, 10]),
        numbers=np.arange(10, dtype=np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=np.ones(10, dtype=np.int64),
    )
    for balance in ((), ("count",)):
        plan = propose_exact(layout, Request(drain=frozenset({7}), balance=balance))
        assert plan.optimal
        assert _moved(layout, plan) == (1, 1)
        assert (plan.bound.moved_replicas, plan.bound.moved_bytes) == (1, 1)


def test_one_byte_less_is_worth_two_moves_more() -> None:
    # Broker 0 has one replica too many, 1 one too few. Row 0 may go 0 -> 1 at 4 bytes. Or row 1 goes 0 -> 2 (the one
    # broker that it is not on), row 2 goes 2 -> 3, and row 3 goes 3 -> 1, at 1 byte each.
    rows = [[0], [0, 1, 3], [2, 1], [3], [0], [0], [2], [2], [3]]
    replicas = np.array([row + [-1] * (3 - len(row)) for row in rows], dtype=np.int16)
    layout = Layout(
        brokers=Brokers(
            ids=np.arange(4, dtype=np.int32),
            live=np.ones(4, dtype=np.bool_),
            rack=np.full(4, -1, dtype=np.int16),
            update_domain=np.full(4, -1, dtype=np.int16),
            total_bytes=np.zeros(4, dtype=np.int64),
            usable_bytes=np.zeros(4, dtype=np.int64),
        ),
        topics=("t",),
        first=np.array([0, 9]),
        numbers=np.arange(9, dtype=np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=np.array([4, 1, 1, 1, 9, 9, 9, 9, 9], dtype=np.int64),
    )
    assert _moved(layout, propose_exact(layout, Request(balance=("count",)))) == (3, 3)
