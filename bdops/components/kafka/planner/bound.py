"""The proved floor of what a plan must move when bytes, rates or counts are to be within bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.model import Bound
from bdops.components.kafka.planner.racks import rack_flow, rack_limits
from bdops.components.kafka.planner.work import Aim, Work

_SOLVER_TOLERANCE = 1e-6
"""What a linear program's value may be off by, relative to the load of all brokers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forced:
    """What must happen whatever is balanced.

    `added` [rows] replicas of each row are new; `leaving` [rows, width] are on brokers that must be vacated; `kept`
    [rows, width] can stay: neither leaving nor in excess of the cap of a rack.
    """

    added: NDArray[np.int64]
    leaving: NDArray[np.bool_]
    kept: NDArray[np.bool_]


def lower_bound(work: Work) -> Bound:
    """A floor of the bytes and replicas that any plan moves which brings all receivers into their bands.

    And which repairs the rows that violate their rack caps, empties leaving brokers and gives every row its factor.
    Why it is one. Call what is added to brokers A, what is removed R, in any one measure. A plan changes the sum over
    all brokers by a known amount D (nothing, but for changes of factors), so A = R + D.

    - A receiver below its band must be given at least what it lacks; so A >= the sum of all lacks.
    - A receiver above its band must lose at least its surplus, a leaving broker all its free replicas; if a row must
      lose a replica in a rack and none of its brokers there is above its band or leaving, that is removed besides.
      So A >= the sum of these + D.
    - The same holds for each rack on its own, where D is what the rack ends with less what it has; what a rack can
      end with is limited by the caps: of the rows with factor f at most cap(f) replicas each, in all racks together f.
      The least sum of additions is a linear program; it relaxes every plan, so its value is a floor (the solver's
      tolerance is taken off).
    - A row needs at least (factor - the most of its replicas that can stay) new ones.
    - For rates and counts the bytes are those of the replicas that weigh most per byte: a broker that must lose a
      surplus loses at least the bytes of the cheapest fractional choice among its replicas (a knapsack), plus D.

    Each is a floor, so the largest is. Of replicas likewise: counts directly, bytes and rates by the fewest (largest)
    replicas of each broker that make up its surplus.
    """
    forced = _forced(work)
    extra_rows = work.factors.astype(np.int64) - (work.origin >= 0).sum(axis=1)
    size = work.size.astype(np.float64)
    floors = [(float(forced.added @ size), "the replicas that must move anyway")]
    counts = [float(forced.added.sum())]
    for number, aim in enumerate(work.aims):
        lack, surplus = _lack(work, number), _surplus(work, number)
        besides = _besides(work, forced, surplus > 0)
        rest = (besides + forced.leaving.sum(axis=1)).astype(np.float64)
        gained = float(extra_rows @ aim.weight)
        if aim.name in ("bytes", "count"):
            out = float(surplus.sum()) + float(rest @ aim.weight)
            value = max(float(lack.sum()), out + gained)
            by_rack = _by_rack(work, aim, lack, surplus, forced, besides)
            if aim.name == "bytes":
                floors.append((value, "what brokers lack and have too much of"))
                floors.append((by_rack, "what racks and their brokers must gain"))
            else:
                counts += [value, by_rack]
        cheapest, fewest = _knapsacks(work, aim, surplus)
        counts.append(fewest + float(rest.sum()) + float(extra_rows.sum()))
        if aim.name != "bytes":
            floors.append((cheapest + float(rest @ size) + float(extra_rows @ size), f"the cheapest for {aim.name}"))
    best, why = max(floors, key=lambda floor: floor[0])
    return Bound(
        moved_replicas=max(0, int(np.ceil(max(counts) - 1e-6))),
        moved_bytes=max(0, int(np.ceil(best - 1e-6))),
        why=f"the largest of {len(floors)} floors: {why}",
    )


def _forced(work: Work) -> _Forced:
    """Rows that cannot be put right at all (too few brokers, what others hold) force nothing."""
    origin = work.origin
    at = np.append(work.where.rack, -1)[origin]
    leaving = np.append(work.where.leaving, False)[origin]
    holding = np.append(work.where.holding, False)[origin]
    receiving = np.append(work.where.receivers, False)[origin]
    possible = work.possible
    strict = possible & ~holding.any(axis=1)
    kept = (origin >= 0) & ~leaving
    for column in range(1, work.width):
        earlier = ((at[:, :column] == at[:, column : column + 1]) & kept[:, :column]).sum(axis=1)
        kept[:, column] &= ~(strict & receiving[:, column] & (earlier >= work.caps))
    staying = np.minimum(kept.sum(axis=1), work.factors)
    return _Forced(
        added=np.where(possible, work.factors - staying, 0).astype(np.int64),
        leaving=leaving & possible[:, None],
        kept=kept,
    )


def _lack(work: Work, aim: int) -> NDArray[np.float64]:
    return np.where(work.where.receivers, np.maximum(work.low[aim] - work.load[aim], 0.0), 0.0)


def _surplus(work: Work, aim: int) -> NDArray[np.float64]:
    """What receivers have above their bands, as far as it may be moved at all."""
    stuck = np.zeros_like(work.load[aim])
    if not work.free.all():
        held = work.origin[~work.free]
        weight = np.repeat(work.weights[aim, ~work.free], work.width)
        stuck = np.bincount((held.astype(np.int64) + 1).reshape(-1), weights=weight, minlength=len(stuck) + 1)[1:]
    over = np.maximum(work.load[aim] - np.maximum(work.high[aim], stuck), 0.0)
    return np.where(work.where.receivers, over, 0.0)


def _besides(work: Work, forced: _Forced, over: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[rows]: replicas in excess in a rack in which none of the row's brokers is over its band or leaving."""
    excess = (work.origin >= 0) & ~forced.kept & ~np.append(work.where.leaving, False)[work.origin]
    found = np.zeros(len(excess), dtype=np.int64)
    rows = np.flatnonzero(excess.any(axis=1))
    rack, counted = work.where.rack, over | work.where.leaving
    for row in rows.tolist():
        brokers = work.origin[row][work.origin[row] >= 0]
        for column in np.flatnonzero(excess[row]):
            near = brokers[rack[brokers] == rack[work.origin[row, column]]]
            found[row] += not counted[near].any()
    return found


def _by_rack(
    work: Work,
    aim: Aim,
    lack: NDArray[np.float64],
    surplus: NDArray[np.float64],
    forced: _Forced,
    besides: NDArray[np.int64],
) -> float:
    rack, racks = work.where.rack, len(work.where.rack_sizes)
    number = work.aims.index(aim)
    leaving = np.zeros(len(rack))
    for column in range(work.width):
        gone = forced.leaving[:, column]
        leaving += np.bincount(work.origin[gone, column], weights=aim.weight[gone], minlength=len(rack))
    # A row that must leave a rack besides leaves the rack of the broker that is in excess there.
    must = surplus + leaving
    for row in np.flatnonzero(besides).tolist():
        column = int(np.flatnonzero((work.origin[row] >= 0) & ~forced.kept[row])[0])
        if besides[row] == 1:
            must[work.origin[row, column]] += aim.weight[row]
    now, lacking, leaving_racks = (
        np.bincount(rack, weights=values, minlength=racks).astype(np.float64)
        for values in (work.load[number], lack, must)
    )
    flow = rack_flow(rack_limits(work, aim.weight), now, lacking, leaving_racks)
    if flow is None:
        return 0.0
    return float(flow.added.sum()) - _SOLVER_TOLERANCE * float(work.load[number].sum())


def _knapsacks(work: Work, aim: Aim, surplus: NDArray[np.float64]) -> tuple[float, float]:
    """The fewest bytes and the fewest replicas that make up the surplus of every broker."""
    cheapest, fewest = 0.0, 0.0
    for broker in np.flatnonzero(surplus > 0).tolist():
        rows = work.slots_of(broker) // work.width
        if not len(rows):
            continue
        weight, size = aim.weight[rows], work.size[rows].astype(np.float64)
        heavy = np.cumsum(np.sort(weight)[::-1])
        fewest += min(int(np.searchsorted(heavy, surplus[broker] * (1 - 1e-12))) + 1, len(rows))
        if aim.name == "bytes":
            continue
        order = np.argsort(size / np.maximum(weight, 1e-12), kind="stable")
        reached = np.cumsum(weight[order])
        last = int(np.searchsorted(reached, surplus[broker]))
        spent = np.concatenate([[0.0], np.cumsum(size[order])])
        if last >= len(rows):
            cheapest += float(spent[-1])
            continue
        part = (surplus[broker] - (reached[last - 1] if last else 0.0)) / weight[order[last]]
        cheapest += float(spent[last] + part * size[order[last]])
    return cheapest, fewest
