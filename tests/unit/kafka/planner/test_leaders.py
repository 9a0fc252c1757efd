"""Leaders against every choice there is, on tiny clusters; and seconds for the loss of a broker."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner import leaders
from bdops.components.kafka.planner.leaders import place_leaders
from bdops.components.kafka.planner.model import Brokers, Layout, Request
from tests.unit.kafka.planner import brute, small

many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
some = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def _able(layout: Layout, request: Request, row: int) -> list[int]:
    members = [int(b) for b in layout.replicas[row] if b >= 0]
    if not brute.is_free(layout, request, row):
        return members[:1]
    receivers = brute.receivers_of(layout, request)
    for allowed in (
        [b for b in members if b in receivers],
        [b for b in members if layout.brokers.live[b] and b not in request.drain],
        [b for b in members if layout.brokers.live[b]],
    ):
        if allowed:
            return allowed
    return members


def _same_sets(before: np.ndarray, after: np.ndarray) -> None:
    assert np.array_equal(np.sort(before, axis=1), np.sort(after, axis=1))


@many
@given(small.cases(most_rows=8), st.sampled_from([0.0, 0.0, 0.3]))
def test_leaders_are_as_even_as_they_can_be_with_the_fewest_changes(
    case: tuple[Layout, Request], tolerance: float
) -> None:
    layout, request = case
    request = replace(request, balance=("leaders",), tolerance={"leaders": tolerance})
    placed = place_leaders(layout, layout.replicas, request)
    _same_sets(layout.replicas, placed.replicas)
    receivers = brute.receivers_of(layout, request)
    able = [_able(layout, request, row) for row in range(len(layout))]
    leads = placed.replicas[:, 0].tolist()
    assert all(leader in allowed for leader, allowed in zip(leads, able, strict=True))
    current = layout.leader.tolist()
    share = len(layout) / max(len(receivers), 1)
    low = int(np.floor((1 - tolerance) * share + 1e-6))
    high = int(np.ceil((1 + tolerance) * share - 1e-6))
    load = [leads.count(b) for b in receivers]
    found = (sum(max(0, low - n, n - high) for n in load), sum(n * n for n in load))
    best = brute.least_leader_changes(brute.rows_of(layout), able, current, receivers, low, high)
    assert placed.changes == sum(a != b for a, b in zip(leads, current, strict=True))
    assert placed.optimal
    assert placed.least_changes <= placed.changes
    if tolerance == 0:
        assert (*found, placed.changes) == best
    else:
        assert found[0] == best[0]
        if found[0] == 0:
            within = brute.least_leader_changes(
                brute.rows_of(layout), able, current, receivers, low, high, squares=False
            )
            assert placed.changes == within[2], "inside the band nothing is made more even"
    assert bool(placed.residual) == (found[0] > 0)
    after = replace(layout, replicas=placed.replicas, leader=placed.replicas[:, 0].copy())
    again = place_leaders(after, after.replicas, request)
    assert np.array_equal(again.replicas, placed.replicas)


@some
@given(small.cases())
def test_rows_that_nobody_touches_keep_their_order(case: tuple[Layout, Request]) -> None:
    layout, request = case
    request = replace(request, balance=())
    placed = place_leaders(layout, layout.replicas, request)
    _same_sets(layout.replicas, placed.replicas)
    for row in range(len(layout)):
        if int(layout.replicas[row, 0]) in _able(layout, request, row):
            assert np.array_equal(placed.replicas[row], layout.replicas[row])
        else:
            able = _able(layout, request, row)
            now = int(layout.leader[row])
            assert int(placed.replicas[row, 0]) in ([now] if now in able else able)


def _ring(brokers: int, rows: int, leader_of: list[int], rates: list[float] | None = None) -> Layout:
    """Rows on three neighbours each, led by the one of them that is said."""
    replicas = np.array([[(row + k) % brokers for k in range(3)] for row in range(rows)], dtype=np.int16)
    order = np.array([[k] + [n for n in range(3) if n != k] for k in leader_of])
    replicas = np.take_along_axis(replicas, order, axis=1)
    return Layout(
        brokers=Brokers(
            ids=np.arange(brokers, dtype=np.int32),
            live=np.ones(brokers, dtype=np.bool_),
            rack=np.full(brokers, -1, dtype=np.int16),
            update_domain=np.full(brokers, -1, dtype=np.int16),
            total_bytes=np.zeros(brokers, dtype=np.int64),
            usable_bytes=np.zeros(brokers, dtype=np.int64),
        ),
        topics=("t",),
        first=np.array([0, rows]),
        numbers=np.arange(rows, dtype=np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=np.ones(rows, dtype=np.int64),
        bytes_in=None if rates is None else np.array(rates),
    )


@some
@given(st.integers(4, 9), st.data())
def test_after_the_loss_of_a_broker_its_leads_are_spread_as_evenly_as_the_seconds_permit(
    brokers: int, data: st.DataObject
) -> None:
    rows = brokers * data.draw(st.integers(2, 6))
    layout = _ring(brokers, rows, data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)))
    request = Request(balance=("leaders",), survive_loss=True)
    placed = place_leaders(layout, layout.replicas, request)
    plain = place_leaders(layout, layout.replicas, replace(request, survive_loss=False))
    _same_sets(layout.replicas, placed.replicas)
    assert np.array_equal(placed.replicas[:, 0], plain.replicas[:, 0])
    assert _unevenness(brokers, placed.replicas) <= _unevenness(brokers, plain.replicas)
    after = replace(layout, replicas=placed.replicas, leader=placed.replicas[:, 0].copy())
    assert np.array_equal(place_leaders(after, after.replicas, request).replicas, placed.replicas)
    if _worst(brokers, placed.replicas) > np.ceil(rows / (brokers - 1)):
        assert any("after the loss" in sentence for sentence in placed.residual)


def _after_loss(brokers: int, replicas: np.ndarray) -> np.ndarray:
    """[lost, broker]: leaders of each broker when one is lost."""
    out = np.tile(np.bincount(replicas[:, 0], minlength=brokers), (brokers, 1))
    for first, second in replicas[:, :2]:
        out[first, second] += 1
    out[np.arange(brokers), np.arange(brokers)] = 0
    return out


def _unevenness(brokers: int, replicas: np.ndarray) -> int:
    return int((_after_loss(brokers, replicas).astype(np.int64) ** 2).sum())


def _worst(brokers: int, replicas: np.ndarray) -> int:
    return int(_after_loss(brokers, replicas).max())


@few
@given(st.integers(4, 6), st.data())
def test_rates_of_leaders_come_closer_to_their_band_or_stay(brokers: int, data: st.DataObject) -> None:
    rows = brokers * 12
    rates = data.draw(st.lists(st.floats(0.5, 3.0), min_size=rows, max_size=rows))
    layout = _ring(brokers, rows, [0] * rows, rates)
    request = Request(balance=("bytes-in",), tolerance={"bytes-in": 0.1})
    placed = place_leaders(layout, layout.replicas, request)
    _same_sets(layout.replicas, placed.replicas)
    share = sum(rates) / brokers

    def outside(replicas: np.ndarray) -> float:
        load = np.bincount(replicas[:, 0], weights=layout.bytes_in, minlength=brokers)
        return float(np.maximum(np.abs(load - share) - 0.1 * share, 0.0).sum())

    assert outside(placed.replicas) <= outside(layout.replicas) + 1e-6
    assert outside(placed.replicas) <= 0.02 * share or placed.residual
    after = replace(layout, replicas=placed.replicas, leader=placed.replicas[:, 0].copy())
    again = place_leaders(after, after.replicas, request)
    assert again.changes == 0


@few
@given(st.integers(4, 6), st.data())
def test_rates_leave_the_number_of_leaders_in_its_band(brokers: int, data: st.DataObject) -> None:
    rows = brokers * 12
    rates = data.draw(st.lists(st.floats(0.5, 3.0), min_size=rows, max_size=rows))
    layout = _ring(brokers, rows, data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)), rates)
    request = Request(balance=("leaders", "bytes-in"), tolerance={"bytes-in": 0.05, "leaders": 0.1})
    placed = place_leaders(layout, layout.replicas, request)
    count = np.bincount(placed.replicas[:, 0], minlength=brokers)
    assert count.min() >= np.floor(0.9 * 12)
    assert count.max() <= np.ceil(1.1 * 12)
    after = replace(layout, replicas=placed.replicas, leader=placed.replicas[:, 0].copy())
    assert place_leaders(after, after.replicas, request).changes == 0


def test_a_part_of_the_classes_ends_in_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    for _ in range(30):
        brokers, rows = int(rng.integers(5, 15)), int(rng.integers(100, 400))
        layout = _ring(brokers, rows, rng.choice(3, rows, p=[0.7, 0.2, 0.1]).tolist())
        mixed = np.array([rng.permutation(brokers)[:3] for _ in range(rows)], dtype=np.int16)
        mixed = np.sort(mixed, axis=1) if rng.random() < 0.5 else mixed
        layout = replace(layout, replicas=mixed, leader=mixed[:, 0].copy())
        request = Request(balance=("leaders",), tolerance={"leaders": float(rng.choice([0.0, 0.1]))})
        whole = place_leaders(layout, mixed, request)
        monkeypatch.setattr(leaders, "MOST_CLASSES", 8)
        part = place_leaders(layout, mixed, request)
        monkeypatch.undo()
        assert part.optimal
        assert part.changes == whole.changes
        assert part.residual == whole.residual


@some
@given(st.integers(3, 6), st.data())
def test_seconds_are_the_best_of_all_for_their_leaders(brokers: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(3, 9))
    replicas = np.array([data.draw(st.permutations(range(brokers)))[:3] for _ in range(rows)], dtype=np.int16)
    layout = replace(_ring(brokers, rows, [0] * rows), replicas=replicas, leader=replicas[:, 0].copy())
    placed = place_leaders(layout, replicas, Request(survive_loss=True)).replicas
    assert np.array_equal(placed[:, 0], replicas[:, 0])
    least = min(
        _unevenness(brokers, np.take_along_axis(replicas, np.array([[0, s] for s in seconds]), axis=1))
        for seconds in itertools.product((1, 2), repeat=rows)
    )
    assert _unevenness(brokers, placed) == least


def test_leaders_that_could_be_evener_are_seen() -> None:
    # Each row is a class of its own: 0 leads all, and 1 or 2 could.
    classes = leaders._Classes(
        candidates=np.array([[0, 1, 3], [0, 2, 3], [0, 1, 2]], dtype=np.int16),
        leader=np.zeros(3, dtype=np.int16),
        size=np.array([2, 2, 1]),
    )
    band = np.ones(3, dtype=np.int64)
    out = leaders.priced(band, band * 2, np.zeros(3, dtype=np.int64), most=5, units=4, grades=4)
    out = replace(out, price=out.price * 5)
    stay = np.array([[2, 0, 0], [2, 0, 0], [1, 0, 0]])
    assert leaders._can_improve(classes, out, 1, stay)
    # 1 leads one, 2 leads two, 0 the rest: three changes.
    assert leaders._can_improve(classes, out, 1, np.array([[1, 1, 0], [0, 2, 0], [0, 1, 0]]))
    assert not leaders._can_improve(classes, out, 1, np.array([[1, 1, 0], [0, 2, 0], [1, 0, 0]]))
