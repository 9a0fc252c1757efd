"""Rack caps, violations and even shares."""

import numpy as np
import pytest

from bdops.components.kafka.planner.domains import band, domains, even_shares, rack_cap, row_caps, violations
from bdops.components.kafka.planner.model import Brokers, Layout, Request


def _layout(racks: list[int], rows: list[list[int]], sizes: list[int] | None = None) -> Layout:
    count = len(racks)
    names = tuple(f"r{number}" for number in range(max(racks) + 1))
    brokers = Brokers(
        ids=np.arange(count, dtype=np.int32),
        live=np.ones(count, dtype=np.bool_),
        rack=np.array(racks, dtype=np.int16),
        update_domain=np.full(count, -1, dtype=np.int16),
        total_bytes=np.zeros(count, dtype=np.int64),
        usable_bytes=np.zeros(count, dtype=np.int64),
        racks=names,
    )
    width = max(len(row) for row in rows)
    replicas = np.full((len(rows), width), -1, dtype=np.int16)
    for number, row in enumerate(rows):
        replicas[number, : len(row)] = row
    return Layout(
        brokers=brokers,
        topics=("t",),
        first=np.array([0, len(rows)]),
        numbers=np.arange(len(rows), dtype=np.int32),
        replicas=replicas,
        leader=replicas[:, 0].copy(),
        size_bytes=np.array(sizes or [1] * len(rows), dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("factor", "sizes", "cap"),
    [(3, [4, 4, 4], 1), (3, [4, 4], 2), (4, [3, 1], 3), (3, [5], 3), (1, [1, 1], 1), (5, [1, 1], 5), (3, [2, 0, 2], 2)],
)
def test_the_cap_is_the_lowest_under_which_the_row_fits(factor: int, sizes: list[int], cap: int) -> None:
    assert rack_cap(factor, np.array(sizes)) == cap


def test_replicas_beyond_the_cap_are_counted_once_each() -> None:
    layout = _layout([0, 0, 0, 1, 2], [[0, 1, 2], [0, 3, 4], [0, 3, 1]])
    where = domains(layout, Request())
    caps = row_caps(layout.factors, where.rack_sizes)
    assert violations(layout.replicas, where.rack, caps).tolist() == [2, 0, 1]


def test_brokers_without_a_rack_are_domains_of_their_own() -> None:
    layout = _layout([-1, 0, -1], [[0, 2]])
    assert sorted(domains(layout, Request()).rack.tolist()) == [0, 1, 2]


def test_a_rack_at_its_cap_leaves_the_rest_to_the_others() -> None:
    layout = _layout([0, 0, 0, 0, 1, 2], [[0, 4, 5]] * 12)
    where = domains(layout, Request())
    shares = even_shares(layout, Request(), where, np.ones(12))
    assert shares.tolist() == [3.0, 3.0, 3.0, 3.0, 12.0, 12.0]


def test_shares_of_mixed_factors_are_even_where_the_caps_permit() -> None:
    layout = _layout([0, 0, 1], [[0, 2], [2], [2], [2]])
    where = domains(layout, Request())
    shares = even_shares(layout, Request(), where, np.ones(4))
    assert shares.sum() == pytest.approx(5.0)
    assert shares == pytest.approx([5 / 3] * 3)


def test_what_an_excluded_broker_holds_counts_against_its_rack() -> None:
    layout = _layout([0, 0, 1, 1], [[0, 2], [0, 3], [1, 2], [1, 3]])
    request = Request(exclude=frozenset({0}))
    shares = even_shares(layout, request, domains(layout, request), np.ones(4))
    assert shares == pytest.approx([0.0, 2.0, 2.0, 2.0])


def test_a_band_of_no_tolerance_is_floor_and_ceiling() -> None:
    low, high = band(np.array([2.5, 3.0000000001, 0.0]), np.array([True, True, False]), 0.0)
    assert low.tolist() == [2, 3, 0]
    assert high.tolist() == [3, 3, 0]
