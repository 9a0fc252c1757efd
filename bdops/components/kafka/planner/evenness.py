"""The most even counts that racks, factors and fixed replicas permit, found before any replica is chosen.

Rows that are alike (so many replicas to place, the same rooms in the domains) are one row with many copies, which
leaves a tiny flow. Its loads with the least sum of squares are the most even ones in every sense (the decreasingly
minimal ones: Frank and Murota, "Decreasing minimization on M-convex sets", 2018). All optima differ from one another
only by shifts between brokers that can trade load and differ by one; so groups of such brokers keep their total, and
each of their brokers has one of two counts. Those are limits that a flow can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.cycle_canceling import shift_prices
from bdops.components.kafka.planner.placement import LIMIT, Level, Placement, Slots, amounts

_REACH = 24
"""Steps to either side of the present loads that a round looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Even:
    """The lowest and highest count of each receiver in the most even placements, its group, and the groups' totals.

    Counts are of all replicas, fixed ones too. `share` is the mean of the receiver's group.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    group: NDArray[np.int64]
    total: NDArray[np.int64]
    share: NDArray[np.float64]


def most_even(need: NDArray[np.int64], levels: tuple[Level, ...], base: NDArray[np.int64]) -> Even:
    """The most even counts of rows that need so many replicas each within the levels, on receivers that hold `base`.

    Violations of levels with a price come first: they are the fewest.
    """
    receivers = len(base)
    keys = [need[:, None]] + [np.concatenate([lv.room, (lv.price < LIMIT)[:, None]], axis=1) for lv in levels]
    first, copies = _alike(np.concatenate(keys, axis=1))
    # A tight row's price outweighs the whole spread of loads.
    heavy = [
        np.where(lv.price[first] < LIMIT, np.int64(2 ** (40 + 4 * i)), LIMIT) for i, lv in enumerate(_ranked(levels))
    ]
    prices = dict(zip(map(id, _ranked(levels)), heavy, strict=True))
    classes = tuple(Level(of=lv.of, room=lv.room[first], price=prices[id(lv)]) for lv in levels)
    problem = Placement(
        need=need[first],
        cost=np.zeros(len(first), dtype=np.int64),
        home=np.zeros((len(first), receivers), dtype=np.bool_),
        open=np.ones((len(first), receivers), dtype=np.bool_),
        levels=classes,
        slots=_slots(base, base, 1, int(need.sum())),
        copies=copies.astype(np.int64),
    )
    load = np.full(receivers, (int(base.sum()) + int(need.sum())) // max(receivers, 1), dtype=np.int64)
    step = 1
    while step * _REACH * 2 < int(load.max(initial=0)) + int(base.max(initial=0)):
        step *= _REACH
    while True:
        problem = replace(problem, slots=_slots(base, load, step, int(need.sum())))
        solved = amounts(problem)
        if solved is None:
            raise AssertionError("rows that fit their rooms have a placement")
        amount = solved[0]
        found = base + amount.sum(axis=0)
        settled = (np.abs(found - load) < step * (_REACH - 2)) | (found == base)
        load = found
        if step > 1:
            step //= _REACH
        elif settled.all():
            return _groups(problem, amount, load)


def _alike(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One of each kind of equal rows, and how many there are of it."""
    mixed = np.zeros(len(keys), dtype=np.int64)
    for column in range(keys.shape[1]):
        mixed = mixed * np.int64(6364136223846793005) + keys[:, column]
    _, first, kind, copies = np.unique(mixed, return_index=True, return_inverse=True, return_counts=True)
    if not (keys[first[kind]] == keys).all():  # two kinds of one hash
        _, first, copies = np.unique(keys, axis=0, return_index=True, return_counts=True)
    return first, copies


def _ranked(levels: tuple[Level, ...]) -> list[Level]:
    """The levels by rising price."""
    return sorted(levels, key=lambda lv: int(np.where(lv.price < LIMIT, lv.price, 0).max(initial=0)))


def _slots(base: NDArray[np.int64], load: NDArray[np.int64], step: int, most: int) -> Slots:
    """Slots of `step` replicas around the loads, each unit at the price of the height that it reaches."""
    start = (load // step - _REACH) * step
    ends = np.maximum(start[:, None] + step * np.arange(2 * _REACH + 1, dtype=np.int64), 0)
    price = np.concatenate([np.zeros((len(load), 1), dtype=np.int64), ends], axis=1)
    ends = np.clip(ends - base[:, None], 0, most)
    ends = np.concatenate([ends, np.full((len(load), 1), most, dtype=np.int64)], axis=1)
    return Slots(least=np.zeros_like(base), size=np.diff(ends, axis=1, prepend=0), price=price)


def _groups(problem: Placement, amount: NDArray[np.int64], load: NDArray[np.int64]) -> Even:
    """Receivers that can trade load at no cost and differ by one, with what they are chained to by such trades."""
    free = shift_prices(problem, amount) == 0
    trade = free & (load[:, None] == load[None, :] + 1)
    linked = trade | trade.T
    group = np.arange(len(load))
    while True:
        lowest = np.where(linked, group[None, :], len(load)).min(axis=1, initial=len(load))
        new = np.minimum(group, lowest)
        if (new == group).all():
            break
        group = new
    _, group = np.unique(group, return_inverse=True)
    total = np.bincount(group, weights=load).astype(np.int64)
    return Even(
        low=load - trade.any(axis=1),
        high=load + trade.any(axis=0),
        group=group.astype(np.int64),
        total=total,
        share=(total / np.bincount(group))[group],
    )
