"""Plans at the optimum: replica counts, drains, additions, replication factors and repairs as one minimum-cost flow.

The order of goals: violations (rows spread over racks, brokers emptied, factors met), replica counts within the
tolerance, bytes moved, the number of moves, then leaders that stay, as far as numbers have room for them. Limits and
prices of the flow carry the first two; its cost is the rest. A plan is called optimal when the solver proves it or when
the graph of receivers (`cycle_canceling.py`) has no cheaper way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner import domains as rules
from bdops.components.kafka.planner import load_prices
from bdops.components.kafka.planner.cycle_canceling import domain_counts, settle, total_cost
from bdops.components.kafka.planner.evenness import Even, most_even
from bdops.components.kafka.planner.levels import levels_of
from bdops.components.kafka.planner.model import Bound, Layout, Proposal, Request
from bdops.components.kafka.planner.placement import LIMIT, Placed, Placement, Slots, solve
from bdops.components.kafka.planner.task import Task, arranged, task_of
from bdops.components.kafka.planner.topics import MOST_PAIRS, TopicBands, topic_bands

MOST_ARCS = 250_000
"""Pairs of row and receiver up to which the whole network is solved; beyond, a part of it that is then proved."""
MOST_CYCLES = 400
_CHOICES = 24
"""How many receivers a row that must move chooses from, where there are very many rows and no counts to be met."""
_ROUNDS = 12
"""How often arcs are closed for what a flow cannot hold: disks, and update domains that cross racks."""
_SOFT_UNITS, _SOFT_GRADES = 6, 14
_COST_BITS = 59


def propose_exact(layout: Layout, request: Request) -> Proposal:
    """The plan with the least bytes moved.

    `request.balance` may ask for "count"; "leaders" is left to `place_leaders`. Raises ValueError when it asks for
    bytes or rates to be even, which no flow does, and when a row needs more brokers than may take replicas.
    """
    if not {"bytes", "bytes-in"}.isdisjoint(request.balance):
        raise ValueError("the exact planner evens out counts, not bytes or rates")
    where = rules.domains(layout, request)
    task = task_of(layout, request, where)
    band, even = _band(layout, request, where, task) if "count" in request.balance else (None, None)
    case = _case(layout, request, where, task, band, even)
    placed, method = _best(case.problem, apart=band is None)
    if placed is None:
        case = _case(layout, request, where, task, band, None, soft=True)
        placed, method = _best(case.problem, apart=band is None)
    if placed is None:
        raise AssertionError("with prices instead of limits there is always a placement")
    if case.problem.crossing:
        placed, method = _spread(case.problem, placed, apart=band is None)
    placed, method = _within_disks(case, placed, method)
    replicas = arranged(layout, task, case.problem.home, placed.at)
    spread = _topics_left(layout, request, case, placed.at)
    # Paying for uneven topics the flow weighs them against bytes over long ways round: then nothing is proved.
    placed = replace(placed, proved=placed.proved and case.precise and not spread)
    return Proposal(
        replicas=replicas,
        bound=_bound(case, placed),
        optimal=placed.proved,
        method=method,
        residual=(*_left_over(layout, request, where, case, placed.at, replicas), *spread),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """The lowest and highest count of each receiver."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A placement to solve, the sizes and disks behind it, and whether its costs are the true ones, not rounded."""

    problem: Placement
    task: Task
    size: NDArray[np.int64]
    """[rows]"""
    disk_room: NDArray[np.int64]
    """[receivers]"""
    band: _Band | None
    topics: TopicBands | None
    precise: bool


def _band(layout: Layout, request: Request, where: rules.Domains, task: Task) -> tuple[_Band, Even | None]:
    """The counts that are within the tolerance; with none, the most even ones and the groups that share them."""
    levels, _ = levels_of(layout, where, task, step=1)
    even = most_even(task.need, levels, task.base)
    tolerance = request.tolerance.get("count", 0.0)
    if tolerance <= 0:
        return _Band(low=even.low, high=even.high, share=even.share), even
    low, high = rules.band(even.share, np.ones(len(even.share), dtype=np.bool_), tolerance)
    # What is fixed, or the most that can be had, is no fault of the plan.
    return _Band(low=np.minimum(low, even.low), high=np.maximum(high, even.high), share=even.share), None


def _case(
    layout: Layout,
    request: Request,
    where: rules.Domains,
    task: Task,
    band: _Band | None,
    even: Even | None,
    *,
    soft: bool = False,
) -> _Case:
    size = layout.size_bytes[task.rows]
    home = task.home(layout)
    room = rules.disk_room(layout, request)[task.receivers]
    open_ = home | (size[:, None] <= room[None, :])
    # A disk that is too full gives way before a row that would have no place.
    open_[open_.sum(axis=1) < task.need] = True
    receivers, rows = len(task.receivers), len(task.rows)
    shift, worst = 0, 4 * (_SOFT_UNITS + _SOFT_GRADES + 13)
    leads = True
    while True:
        if band is None:
            # Rows do not compete: the fewest moves of each are its least bytes; then leaders, then evenness.
            worth = load_prices.HEIGHTS
            cost = np.full(rows, 4 * worth, dtype=np.int64)
            step = int(cost.max(initial=0) + worth) * int(task.factors.max(initial=0)) + 1
        else:
            worth = 1 if leads else 0
            cost = _costs(size >> shift, receivers) * (_outweigh(receivers) if leads else 1)
            step = int(cost.max(initial=0) + worth) * (receivers + 1) + 1
        levels, crossing = levels_of(layout, where, task, step=step * (worst if soft else 4))
        largest = max((int(level.price[level.price < LIMIT].max(initial=0)) for level in levels + crossing), default=0)
        bits = max(largest, step * (worst if soft else 4)).bit_length()
        if band is not None and leads and bits + (4 * rows).bit_length() > _COST_BITS:
            # Leaders are not worth what coarser costs would do to the bytes.
            leads = False
            continue
        if bits <= _COST_BITS:
            break
        shift += 1
    if band is None:
        now = task.base + home.sum(axis=0)
        load = load_prices.by_height(task.base, now, added=int(task.need.sum()), most=rows)
    elif soft:
        load = load_prices.priced(band.low, band.high, task.base, most=rows, units=_SOFT_UNITS, grades=_SOFT_GRADES)
        load = Slots(least=load.least, size=load.size, price=load.price * step)
    else:
        load = load_prices.limited(band.low, band.high, task.base)
        if even is not None:
            total = even.total - np.bincount(even.group, weights=task.base).astype(np.int64)
            load = replace(load, group=even.group, total=total)
    problem = Placement(
        need=task.need,
        cost=cost,
        home=home,
        open=open_,
        levels=levels,
        slots=load,
        crossing=crossing,
        leader=task.leader(layout) if worth else None,
        leader_worth=worth,
    )
    topics = None
    if request.topic_spread and band is not None and max(rows, len(layout.topics)) * receivers <= MOST_PAIRS:
        topics = topic_bands(layout, task, band.share, request.tolerance.get("count", 0.0))
        problem = replace(problem, topic=topics.of, topic_room=topics.rooms(), topic_price=2 * step)
    return _Case(problem=problem, task=task, size=size, disk_room=room, band=band, topics=topics, precise=shift == 0)


def _costs(size: NDArray[np.int64], receivers: int) -> NDArray[np.int64]:
    """Bytes, then moves, as one number.

    A cycle of exchanges passes each receiver once, so it changes the number of moves by less than `receivers` + 1: the
    factor with which bytes outweigh them.
    """
    return size * _outweigh(receivers) + 1


def _outweigh(receivers: int) -> np.int64:
    """More than a cycle of exchanges can gain where each of them gains one."""
    return np.int64(1 << (receivers + 1).bit_length())


def _best(problem: Placement, *, apart: bool) -> tuple[Placed | None, str]:
    """The cheapest placement, over the whole network or, when that is large, over a part of it, then proved over all.

    `apart`: rows do not compete, so that what each must move by itself is the proof. Levels that cross are left out.
    """
    problem = replace(problem, crossing=())
    placed = None
    if problem.open.size > MOST_ARCS and problem.topic is None:
        placed = solve(problem, _sample(problem) if apart else _likely(problem))
    if placed is not None:
        method = "minimum-cost flow over the likely arcs, proved over all"
    else:
        method = "minimum-cost flow"
        placed = solve(problem)
        if placed is None or placed.proved or problem.topic is not None:
            return placed, method
    if apart:
        least = ((placed.at & ~problem.home).sum(axis=1) <= _forced(problem)).all()
        return replace(placed, proved=bool(least)), method
    at, proved = settle(problem, placed.at, most_cycles=MOST_CYCLES)
    return Placed(at=at, proved=proved), method


def _sample(problem: Placement) -> NDArray[np.bool_]:
    """Where rows are now, and some _CHOICES receivers for each that lacks a place or has too many in a domain."""
    rows, receivers = problem.open.shape
    every = max(receivers // _CHOICES, 1)
    # Multiplicative hashing: fixed, and without a pattern over rows and receivers.
    mixed = np.arange(rows, dtype=np.uint32)[:, None] * np.uint32(2654435761)
    mixed = mixed + np.arange(receivers, dtype=np.uint32)[None, :] * np.uint32(2246822519)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(3266489917)
    arcs = (mixed >> np.uint32(16)) % np.uint32(every) == 0
    arcs |= problem.home
    for level in problem.levels:
        # Each row must fit by the arcs of the sample alone.
        near = np.minimum(domain_counts(arcs & problem.open, level.of, level.room.shape[1]), level.room).sum(axis=1)
        arcs[near < problem.need] = True
    return arcs


def _forced(problem: Placement) -> NDArray[np.int64]:
    """How many replicas of each row must be added, whatever the others do: those that stay have room in each level."""
    stay = np.minimum(problem.home.sum(axis=1), problem.need)
    for level in problem.levels:
        at_home = domain_counts(problem.home, level.of, level.room.shape[1])
        hard = np.minimum(at_home, level.room).sum(axis=1)
        stay = np.where(level.price < LIMIT, stay, np.minimum(stay, hard))
    return problem.need - stay


def _likely(problem: Placement) -> NDArray[np.bool_]:
    """Arcs of a good plan: a broker above its band parts with its smallest replicas, those below take them."""
    home = problem.home
    load = home.sum(axis=0)
    free = problem.slots.price <= 0
    most = problem.slots.least + (problem.slots.size * free).sum(axis=1)
    likely = home.copy()
    for receiver in np.flatnonzero(load > problem.slots.least):
        rows = np.flatnonzero(home[:, receiver])
        excess = max(int(load[receiver] - most[receiver]), 0)
        leaving = rows[np.argsort(problem.cost[rows], kind="stable")][: excess * 3 // 2 + 50]
        likely[leaving] |= (load < most)[None, :]
    likely[home.sum(axis=1) < problem.need] = True
    for level in problem.levels:
        counts = domain_counts(home, level.of, level.room.shape[1])
        likely[(counts > level.room).any(axis=1)] = True
    return likely


def _spread(problem: Placement, placed: Placed, *, apart: bool) -> tuple[Placed, str]:
    """The placement with its rows spread over update domains that cross racks, which no flow holds.

    Rows with too many replicas in an update domain lose the arcs by which they came there, and the flow is solved
    again; then exchanges of single replicas. Proved only when the plan costs what it cost without update domains.
    """
    bound, proved = total_cost(replace(problem, crossing=()), placed.at), placed.proved
    best, least = placed.at, total_cost(problem, placed.at)
    open_ = problem.open.copy()
    for _ in range(_ROUNDS):
        if least == bound:
            break
        at = placed.at
        for level in problem.crossing:
            counts = domain_counts(at, level.of, level.room.shape[1])
            for domain in range(counts.shape[1]):
                inside = level.of == domain
                rows = np.flatnonzero(counts[:, domain] > level.room[:, domain])
                if not len(rows):
                    continue
                # Those that came are closed; where all were there before, all but the first.
                came = at[rows] & ~problem.home[rows] & inside
                stay = at[rows] & problem.home[rows] & inside
                stay &= np.cumsum(stay, axis=1) > level.room[rows, domain][:, None]
                closed = np.where(came.any(axis=1)[:, None], inside & ~problem.home[rows], stay)
                open_[rows] &= ~closed
        none = open_.sum(axis=1) < problem.need
        open_[none] = problem.open[none]
        again, _ = _best(replace(problem, open=open_), apart=apart)
        if again is None:
            break
        placed = again
        cost = total_cost(problem, placed.at)
        if cost < least:
            best, least = placed.at, cost
    at, _ = settle(problem, best, most_cycles=MOST_CYCLES)
    done = proved and total_cost(problem, at) == bound
    return Placed(at=at, proved=done), "minimum-cost flow, then exchanges for update domains that cross racks"


def _within_disks(case: _Case, placed: Placed, method: str) -> tuple[Placed, str]:
    """The plan with what is added to each disk within its room; arcs are closed and the flow solved again until it is.

    How much fits a disk is a knapsack, which no flow holds exactly: a plan that costs more than the one without
    watermark is not called optimal.
    """
    problem, size, room = case.problem, case.size, case.disk_room
    free_cost = total_cost(problem, placed.at)
    for _ in range(_ROUNDS):
        added = placed.at & ~problem.home
        over = np.flatnonzero(size @ added > room)
        if not len(over):
            break
        open_ = problem.open.copy()
        for receiver in over:
            rows = np.flatnonzero(added[:, receiver])
            rows = rows[np.argsort(size[rows], kind="stable")]
            open_[rows[np.cumsum(size[rows]) > room[receiver]], receiver] = False
        short = open_.sum(axis=1) < problem.need
        open_[short] = problem.open[short]
        problem = replace(problem, open=open_)
        again, _ = _best(problem, apart=case.band is None)
        if again is None:
            break
        if problem.crossing:
            again, _ = _spread(problem, again, apart=case.band is None)
        placed = Placed(at=again.at, proved=placed.proved and total_cost(problem, again.at) == free_cost)
        method = "minimum-cost flow, arcs closed where disks would fill"
    return placed, method


def _bound(case: _Case, placed: Placed) -> Bound:
    problem, load = case.problem, case.problem.home.sum(axis=0)
    forced = _forced(problem)
    inflow = int(np.maximum(problem.slots.least - load, 0).sum())
    floor_moves, floor_bytes = max(int(forced.sum()), inflow), int(forced @ case.size)
    if not placed.proved:
        why = "replicas that must leave or be added, or are missing on brokers below their band"
        return Bound(moved_replicas=floor_moves, moved_bytes=floor_bytes, why=why)
    moved = (placed.at & ~problem.home).sum(axis=1)
    return Bound(moved_replicas=floor_moves, moved_bytes=int(moved @ case.size), why="the least bytes: an exact flow")


def _topics_left(layout: Layout, request: Request, case: _Case, at: NDArray[np.bool_]) -> list[str]:
    """What is left of the wish to spread each topic."""
    if not request.topic_spread:
        return []
    if case.topics is not None:
        return case.topics.uneven(layout, case.task, at)
    if case.band is None:
        return ["topics are spread only where counts are made even"]
    return [f"topics are not spread: there are more than {MOST_PAIRS} pairs of partition or topic and broker"]


def _left_over(
    layout: Layout,
    request: Request,
    where: rules.Domains,
    case: _Case,
    at: NDArray[np.bool_],
    replicas: NDArray[np.int16],
) -> list[str]:
    """What the plan leaves undone, in sentences."""
    out = []
    factors = rules.wanted_factors(layout, request)
    ids = layout.brokers.ids[case.task.receivers]
    for name, domain, sizes in (
        ("rack", where.rack, where.rack_sizes),
        ("update domain", where.update, where.update_sizes),
    ):
        crowded = int((rules.violations(replicas, domain, rules.row_caps(factors, sizes)) > 0).sum())
        if crowded:
            out.append(f"{crowded} partitions have more replicas in one {name} than an even spread would")
    if case.band is not None:
        load = case.task.base + at.sum(axis=0)
        off = np.flatnonzero((load < case.band.low) | (load > case.band.high))
        if len(off):
            one = off[0]
            out.append(
                f"{len(off)} brokers end outside of the counts that racks and pins permit; broker {ids[one]} with"
                f" {load[one]} replicas, outside of {case.band.low[one]} to {case.band.high[one]}"
            )
        elif (
            case.band.high.max(initial=0) - case.band.low.min(initial=2**60) > 1
            and request.tolerance.get("count", 0.0) <= 0
        ):
            out.append(
                f"counts end between {load.min()} and {load.max()}: racks, factors or fixed replicas permit no"
                " evener ones"
            )
    added = case.size @ (at & ~case.problem.home)
    for receiver in np.flatnonzero(added > case.disk_room):
        out.append(
            f"broker {ids[receiver]} gets {added[receiver]} bytes, and has room for {case.disk_room[receiver]}"
            " under the watermark"
        )
    return out
