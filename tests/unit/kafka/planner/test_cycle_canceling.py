"""The graph of receivers: from any placement to the cheapest one, and no claim of a proof where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bdops.components.kafka.planner.cycle_canceling import settle, total_cost
from bdops.components.kafka.planner.placement import LIMIT, Level, Placement, Slots, solve


def _problem(seed: int) -> Placement:
    rng = np.random.default_rng(seed)
    rows, receivers, racks = int(rng.integers(5, 40)), int(rng.integers(3, 9)), int(rng.integers(1, 4))
    of = rng.integers(0, racks, receivers)
    of[:racks] = np.arange(min(racks, receivers))
    need = rng.integers(1, 4, rows)
    sizes = np.bincount(of, minlength=racks)
    cap = np.array([next(c for c in range(1, 9) if np.minimum(sizes, c).sum() >= n) for n in need])
    home = np.zeros((rows, receivers), dtype=np.bool_)
    for row in range(rows):
        home[row, rng.permutation(receivers)[: need[row]]] = True
    total = int(need.sum())
    low, high = total // receivers, -(-total // receivers)
    return Placement(
        need=need,
        cost=rng.integers(1, 1000, rows),
        home=home,
        open=np.ones((rows, receivers), dtype=np.bool_),
        levels=(Level(of=of, room=np.repeat(cap[:, None], racks, axis=1), price=np.full(rows, LIMIT)),),
        slots=Slots(
            least=np.zeros(receivers, dtype=np.int64),
            size=np.tile([low, high - low, total], (receivers, 1)),
            price=np.tile([-50_000, 0, 50_000], (receivers, 1)).astype(np.int64),
        ),
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_placement_ends_in_the_cheapest(seed: int) -> None:
    problem = _problem(seed)
    best = solve(problem)
    rng = np.random.default_rng(seed)
    # The cheapest of other costs and homes: somewhere far away.
    astray = solve(replace(problem, home=rng.random(problem.home.shape) < 0.4, cost=rng.permutation(problem.cost)))
    assert best is not None
    assert astray is not None
    assert best.proved
    at, proved = settle(problem, astray.at, most_cycles=5000)
    assert proved
    assert (at.sum(axis=1) == problem.need).all()
    assert total_cost(problem, at) == total_cost(problem, best.at)


@pytest.mark.parametrize("seed", range(40))
def test_a_dearer_placement_is_not_called_proved(seed: int) -> None:
    problem = _problem(seed)
    best = solve(problem)
    astray = solve(replace(problem, cost=problem.cost[::-1].copy(), home=~problem.home))
    assert best is not None
    assert astray is not None
    _, proved = settle(problem, astray.at, most_cycles=0)
    assert proved == (total_cost(problem, astray.at) == total_cost(problem, best.at))
