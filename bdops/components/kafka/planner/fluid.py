"""Where racks are tight: a linear program over racks says what of each broker goes to which rack; then it is sampled.

When a rack must hold close to a copy of everything, it matters which rows leave a broker: those that the rack lacks.
Replicas of one broker are alike when the same racks are closed to them (the row's other replicas fill these), they
are of the same size class, and all or none are new where they are. The program moves bytes of such groups to racks as
if they were fluid. A row moves one replica per round (two at once could close each other's racks, and of a row that
lacks a rack only one may go there): so much of each kind of row the program may use, and so the sample is drawn.
Solving again from where things stand takes up what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.greedy import place, place_anywhere
from bdops.components.kafka.planner.linear import Program, minimize
from bdops.components.kafka.planner.sampling import systematic
from bdops.components.kafka.planner.work import Work

MOST_RACKS = 12
"""With more racks there are too many sets of closed racks, and no rack has to hold a copy of nearly everything."""
_MOST_COLUMNS = 400_000
_MARGIN = 1e-3
"""How far inside its band each broker is to end, in parts of its share: samples do not add up exactly."""
_MOST_OF_A_KIND = 0.98
"""How much of the rows that are alike may move at once: the last ones are hard to find."""
_OUT_OF_BAND = 100.0
"""The price of a byte out of band, against 1 for a byte moved."""
_LEAST_PART = 1e-6
"""Less of a group than this is an artefact of the interior point method."""
_STAY = 1e-3
"""The price of moving on what is new where it is: nothing, but not for no reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """Alike replicas: per slot its group, per group what its slots have in common and the bytes of all.

    `kind` of rows: those with replicas in the same racks; `kind_bytes` one replica of each such row.
    """

    slots: NDArray[np.int64]
    group: NDArray[np.int64]
    broker: NDArray[np.int64]
    closed: NDArray[np.int64]
    large: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    pending: NDArray[np.bool_]
    bytes: NDArray[np.float64]
    weights: NDArray[np.float64]
    kind: NDArray[np.int64]
    kind_bytes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.broker)


def flow_round(work: Work, pending: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Solve, sample and place once; `pending` slots were taken out before. Returns those without any place.

    None, and nothing changed, when the program is too large or cannot be solved.
    """
    groups = _groups(work, pending)
    racks = len(work.where.rack_sizes)
    opened = ((groups.closed[:, None] >> np.arange(racks)) & 1) == 0
    opened &= work.where.rack_sizes > 0
    if int(opened.sum()) > _MOST_COLUMNS:
        return None
    solved = _solve(work, groups, opened)
    if solved is None:
        return None
    flow, into = solved
    slots, meant = _sample(work, groups, flow)
    chosen = slots[work.flat[slots] >= 0]
    work.take(chosen)
    left = place(work, slots, into.sum(axis=0), meant, into[1])
    return place_anywhere(work, left)


def _groups(work: Work, pending: NDArray[np.int64]) -> _Groups:
    racks = len(work.where.rack_sizes)
    resting = work.possible.copy()
    resting[pending // work.width] = False
    usable = np.append(work.where.receivers, False)[work.replicas] & resting[:, None]
    usable.reshape(-1)[pending] = True
    slots = np.flatnonzero(usable.reshape(-1))
    rows, columns = slots // work.width, slots % work.width
    closed = np.zeros(len(slots), dtype=np.int64)
    occupied = np.zeros(len(work.replicas), dtype=np.int64)
    at = np.append(work.where.rack, -1)[work.replicas]
    for rack in range(racks):
        here = (at == rack).sum(axis=1)
        occupied |= (here > 0).astype(np.int64) << rack
        others = here[rows] - (at[rows, columns] == rack)
        closed |= (others >= work.caps[rows]).astype(np.int64) << rack
    size = work.size[rows].astype(np.float64)
    large = work.weights[0, rows] > work.weights[0].mean()
    fresh = work.cost(slots) > 0
    broker = work.flat[slots].astype(np.int64)
    key = (((broker + 1) << racks | closed) << 2) | (large.astype(np.int64) << 1) | fresh
    names, group = _numbered(key)
    count = len(names)
    kinds, kind_of = _numbered(occupied << 1 | (work.weights[0] > work.weights[0].mean()))
    kind = np.zeros(count, dtype=np.int64)
    kind[group] = kind_of[rows]
    by_broker = (names >> 2 >> racks) - 1
    return _Groups(
        slots=slots,
        group=group,
        broker=by_broker,
        closed=(names >> 2) & ((1 << racks) - 1),
        large=(names >> 1) & 1 == 1,
        fresh=names & 1 == 1,
        pending=by_broker < 0,
        bytes=np.bincount(group, weights=size, minlength=count).astype(np.float64),
        kind=kind,
        kind_bytes=np.bincount(
            kind_of[resting], weights=work.size[resting].astype(np.float64), minlength=len(kinds)
        ).astype(np.float64),
        weights=np.stack([np.bincount(group, weights=weight[rows], minlength=count) for weight in work.weights]),
    )


def _numbered(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys, ascending, and the place of each key among them; keys are small, so no sorting."""
    there = np.zeros(int(keys.max(initial=-1)) + 1, dtype=np.bool_)
    there[keys] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


def _solve(
    work: Work, groups: _Groups, opened: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """[groups, racks] the part of each group that goes to each rack, [2, brokers] what comes in small and large.

    Columns: parts of groups (one per open rack), arrivals of both classes per receiver, and per aim and receiver
    what it may lack and have too much. In parts of the mean share throughout, so that all numbers are near 1.
    """
    count, racks = opened.shape
    brokers = np.flatnonzero(work.where.receivers)
    place_of = np.full(work.load.shape[1], -1, dtype=np.int64)
    place_of[brokers] = np.arange(len(brokers))
    size_scale = max(float(work.size.astype(np.float64) @ work.factors) / max(len(brokers), 1), 1.0)
    scale = np.maximum(work.shares[:, brokers].mean(axis=1), 1e-9)
    part_group, part_rack = np.nonzero(opened)
    parts, here = len(part_group), len(brokers)
    arrival = parts + np.arange(2 * here)
    first_slack = parts + 2 * here
    aims = len(work.aims)
    amount = groups.bytes / size_scale
    # What a byte of each class weighs in each aim, on average, is what an arriving byte is taken to weigh.
    per_byte = np.zeros((2, aims))
    for large in (0, 1):
        chosen = groups.large == bool(large)
        total = max(float(amount[chosen].sum()), 1e-12)
        per_byte[large] = groups.weights[:, chosen].sum(axis=1) / scale / total
    rows, columns, values = [part_group], [np.arange(parts)], [np.ones(parts)]
    low = [np.where(groups.pending & opened.any(axis=1), 1.0, 0.0)]
    high = [np.ones(count)]
    # Per class and rack: what goes there arrives at its brokers.
    balance = count + 2 * part_rack + groups.large[part_group]
    rows += [balance, count + 2 * np.repeat(work.where.rack[brokers], 2) + np.tile([0, 1], here)]
    columns += [np.arange(parts), arrival]
    values += [amount[part_group], -np.ones(2 * here)]
    low.append(np.zeros(2 * racks))
    high.append(np.zeros(2 * racks))
    base = count + 2 * racks
    for aim in range(aims):
        line = base + aim * here
        source = place_of[groups.broker[part_group]]
        leaves = (source >= 0) & (groups.broker[part_group] >= 0)
        rows += [line + source[leaves], line + np.repeat(np.arange(here), 2)]
        columns += [np.flatnonzero(leaves), arrival]
        values += [-groups.weights[aim, part_group[leaves]] / scale[aim], np.tile(per_byte[:, aim], here)]
        slack = first_slack + 2 * aim * here + np.arange(here)
        rows += [line + np.arange(here), line + np.arange(here)]
        columns += [slack, slack + here]
        values += [np.ones(here), -np.ones(here)]
        margin = np.minimum(_MARGIN * work.shares[aim, brokers], 0.1 * (work.high - work.low)[aim, brokers])
        margin = np.where(np.isfinite(margin), margin, 0.0)
        low.append((work.low[aim, brokers] + margin - work.load[aim, brokers]) / scale[aim])
        high.append((work.high[aim, brokers] - margin - work.load[aim, brokers]) / scale[aim])
    # Room on disks.
    rows.append(base + aims * here + np.repeat(np.arange(here), 2))
    columns.append(arrival)
    values.append(np.ones(2 * here))
    low.append(np.full(here, -np.inf))
    high.append(np.minimum(work.room[brokers] / size_scale, 1e6))
    # One replica of a row at a time.
    elective = np.flatnonzero(~groups.pending[part_group])
    rows.append(base + (aims + 1) * here + groups.kind[part_group[elective]])
    columns.append(elective)
    values.append(amount[part_group[elective]])
    low.append(np.full(len(groups.kind_bytes), -np.inf))
    high.append(_MOST_OF_A_KIND * groups.kind_bytes / size_scale)
    price = np.where(groups.fresh, _STAY, 1.0)
    price[groups.pending] = 0.0
    total_columns = first_slack + 2 * aims * here
    solution = minimize(
        Program(
            cost=np.concatenate(
                [(price * amount)[part_group], np.full(2 * here, 1e-4), np.full(2 * aims * here, _OUT_OF_BAND)]
            ),
            low=np.zeros(total_columns),
            high=np.concatenate([np.ones(parts), np.full(total_columns - parts, np.inf)]),
            rows=np.concatenate(rows),
            columns=np.concatenate(columns),
            values=np.concatenate(values),
            row_low=np.concatenate(low),
            row_high=np.concatenate(high),
        ),
        method="ipm",
    )
    if solution is None:
        return None
    flow = np.zeros((count, racks))
    flow[part_group, part_rack] = np.clip(solution[:parts], 0.0, 1.0)
    into = np.zeros((2, work.load.shape[1]))
    unit = size_scale if work.aims[0].name == "bytes" else scale[0]
    arrived = solution[arrival].reshape(here, 2)
    for large in (0, 1):
        weighs = 1.0 if work.aims[0].name == "bytes" else per_byte[large, 0]
        into[large, brokers] = np.maximum(arrived[:, large], 0.0) * weighs * unit
    return flow, into


def _sample(work: Work, groups: _Groups, flow: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The slots that move, and the rack that each is meant for.

    Group by group, those of which most moves first, from the rows of which nothing moves yet. What one group gives too
    little (or too much) is made up for by the next of the same broker and class; racks are chosen likewise.
    """
    size = work.size[groups.slots // work.width].astype(np.float64)
    order = np.lexsort((groups.slots, size, groups.group))
    starts = np.searchsorted(groups.group[order], np.arange(len(groups) + 1))
    part = flow.sum(axis=1)
    used = np.zeros(len(work.replicas), dtype=np.bool_)
    debt: dict[tuple[int, bool], float] = {}
    behind = np.zeros((2, flow.shape[1]))
    picked, meant = [], []
    for number in np.lexsort((np.arange(len(groups)), -part, ~groups.pending)).tolist():
        pool = order[starts[number] : starts[number + 1]]
        if groups.pending[number]:
            chosen = pool
        else:
            if part[number] < _LEAST_PART:
                break
            pool = pool[~used[groups.slots[pool] // work.width]]
            # A row with two replicas on alike brokers is in different groups; within one group rows are distinct.
            stratum = (int(groups.broker[number]), bool(groups.large[number]))
            need = float(part[number] * groups.bytes[number]) + debt.get(stratum, 0.0)
            have = float(size[pool].sum())
            share = min(max(need / have, 0.0), 1.0) if have > 0 else 0.0
            chosen = pool[systematic(np.full(len(pool), share))]
            debt[stratum] = need - float(size[chosen].sum())
            used[groups.slots[chosen] // work.width] = True
        picked.append(groups.slots[chosen])
        to = flow[number]
        total = float(to.sum())
        opened = np.flatnonzero(to > _LEAST_PART)
        if total <= 0 or not len(opened):
            meant.append(np.full(len(chosen), -1, dtype=np.int64))
        elif len(opened) == 1:
            meant.append(np.full(len(chosen), opened[0], dtype=np.int64))
        else:
            meant.append(_racks_of(size[chosen], to[opened] / total, opened, behind[int(groups.large[number])]))
    if not picked:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(picked), np.concatenate(meant)


def _racks_of(
    sizes: NDArray[np.float64], parts: NDArray[np.float64], opened: NDArray[np.int64], behind: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Each replica, the largest first, to the rack that is furthest behind its part; `behind` is kept for the next."""
    debts, shares = behind[opened].tolist(), parts.tolist()
    meant = np.zeros(len(sizes), dtype=np.int64)
    for index in range(len(sizes) - 1, -1, -1):
        size = float(sizes[index])
        debts = [debt + share * size for debt, share in zip(debts, shares, strict=True)]
        most = max(range(len(debts)), key=debts.__getitem__)
        debts[most] -= size
        meant[index] = opened[most]
    behind[opened] = debts
    return meant
