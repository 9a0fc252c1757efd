"""How much each rack must gain and lose: a small linear program over racks, the same for the bound and for the plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import rack_cap
from bdops.components.kafka.planner.linear import Program, minimize
from bdops.components.kafka.planner.work import Work

_MOST_RACKS = 400
"""Above this many racks (brokers without one count as one) the program is not worth its time: no cap is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RackLimits:
    """What the racks can hold of a measure: [classes, racks] at most, and [classes] in all.

    The classes are the rows of one factor; the last one is of rows that the caps do not bind (pinned, busy, short of
    brokers, or with replicas on brokers that keep theirs), which are taken to be anywhere.
    """

    most: NDArray[np.float64]
    total: NDArray[np.float64]


def rack_limits(work: Work, weight: NDArray[np.float64]) -> RackLimits:
    """The limits of a measure (`weight` of one replica of each row) on the racks of `work`."""
    loose = ~work.possible
    holding = np.append(work.where.holding, False)
    loose |= holding[work.origin].any(axis=1)
    factors = np.unique(work.factors[~loose])
    sizes = work.where.rack_sizes
    most, total = [], []
    for factor in factors:
        of_class = float(weight[~loose & (work.factors == factor)].sum())
        cap = rack_cap(int(factor), sizes)
        most.append(np.minimum(cap, sizes) * of_class)
        total.append(int(factor) * of_class)
    anywhere = float((weight * work.factors)[loose].sum())
    most.append(np.full(len(sizes), anywhere))
    total.append(anywhere)
    return RackLimits(most=np.stack(most), total=np.array(total))


@dataclass(frozen=True, slots=True, kw_only=True)
class RackFlow:
    """What is added to and removed from each rack."""

    added: NDArray[np.float64]
    removed: NDArray[np.float64]


def rack_flow(
    limits: RackLimits,
    load: NDArray[np.float64],
    lack: NDArray[np.float64],
    surplus: NDArray[np.float64],
    most_added: NDArray[np.float64] | None = None,
    most_removed: NDArray[np.float64] | None = None,
    natural: NDArray[np.float64] | None = None,
) -> RackFlow | None:
    """The least that is added in all, if each rack's brokers gain at least `lack` and lose at least `surplus`.

    All per rack: `load` now; at most `most_added` and `most_removed` if given. What each rack ends with must be a
    sum over the classes of rows within `limits`. Among equals the additions nearest to `natural`. None when there is
    no such flow, or there are too many racks.
    """
    classes, racks = limits.most.shape
    if racks > _MOST_RACKS:
        return None
    scale = max(float(limits.total.sum()), 1e-9)
    endless = np.full(racks, np.inf)
    top_added = endless if most_added is None else np.maximum(most_added, lack) / scale
    top_removed = endless if most_removed is None else np.maximum(most_removed, surplus) / scale
    away = 0 if natural is None else racks
    each, ones = np.arange(racks), np.ones(racks)
    held = 2 * racks + np.arange(classes * racks)
    beyond = 2 * racks + classes * racks + np.arange(away)
    # Each rack: added - removed - held = -load. Each class: held in all racks = total.
    rows = [each, each, np.tile(each, classes), racks + np.repeat(np.arange(classes), racks)]
    columns = [each, racks + each, held, held]
    values = [ones, -ones, -np.ones(len(held)), np.ones(len(held))]
    row_low = [-load / scale, limits.total / scale]
    row_high = [-load / scale, limits.total / scale]
    if natural is not None:
        # The distance from the natural additions, from both sides.
        for side, sign in enumerate((-1.0, 1.0)):
            number = racks + classes + side * racks + each
            rows += [number, number]
            columns += [each, beyond]
            values += [ones, sign * ones]
        row_low += [np.full(racks, -np.inf), natural / scale]
        row_high += [natural / scale, np.full(racks, np.inf)]
    solution = minimize(
        Program(
            cost=np.concatenate([ones, np.zeros(racks + len(held)), np.full(away, 1e-3)]),
            low=np.concatenate([lack / scale, surplus / scale, np.zeros(len(held) + away)]),
            high=np.concatenate([top_added, top_removed, limits.most.reshape(-1) / scale, np.full(away, np.inf)]),
            rows=np.concatenate(rows),
            columns=np.concatenate(columns),
            values=np.concatenate(values),
            row_low=np.concatenate(row_low),
            row_high=np.concatenate(row_high),
        )
    )
    if solution is None:
        return None
    added, removed = solution[:racks] * scale, solution[racks : 2 * racks] * scale
    return RackFlow(added=np.maximum(added, 0.0), removed=np.maximum(removed, 0.0))
