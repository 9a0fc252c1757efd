"""From a request to a proposal: is it possible at all, which planner makes it, and what fits a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import (
    Domains,
    band,
    domains,
    free_rows,
    row_caps,
    violations,
    wanted_factors,
)
from bdops.components.kafka.planner.figures import changes, imbalance, loads_after, loads_before, shares_of
from bdops.components.kafka.planner.model import Bound, Layout, Measure, Proposal, Request
from bdops.components.kafka.planner.rows import as_wide
from bdops.core.units import format_size, plural
from bdops.errors import UsageError

EXACT_PAIRS = 7_000_000
EXACT_PAIRS_APART = 15_000_000
"""Partitions in question times receivers up to which the exact flow is built: with counts to be evened out, where it
takes minutes and gigabytes beyond; and where partitions do not compete, so that a part of the arcs is enough."""

SEARCH_STEPS = 8
"""Halvings of the tolerance in search of the best plan within a budget: to 1/256 of the present imbalance."""

SETTLING_ROUNDS = 4
"""How often at most a plan that falls short is gone on with. One that does not fall short costs no further round."""

DEFAULT_TOLERANCE: dict[Measure, float] = {"count": 0.0, "leaders": 0.0, "bytes": 0.05, "bytes-in": 0.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """One plan of the curve: how even it makes the first measure asked for, and what it moves for that."""

    tolerance: float
    imbalance: float
    moved_replicas: int
    moved_bytes: int


def propose(layout: Layout, request: Request) -> Proposal:
    """The plan for a request, within its budget.

    Raises UsageError when the request cannot be: brokers that are not there, more replicas than brokers, nobody left
    to receive, rates that are not known. What can be done in part is done, and told in `residual`.
    """
    request, notes = possible(layout, request)
    unbounded = replace(request, max_moves=None, max_move_bytes=None)
    plan = _planned(layout, unbounded)
    if not _fits(layout, plan, request):
        plan = _within_budget(layout, unbounded, request)
    return replace(plan, residual=(*notes, *plan.residual)) if notes else plan


def propose_leaders(layout: Layout, request: Request) -> Proposal:
    """The plan that changes leaders alone: no replica moves. Raises UsageError like `propose`."""
    from bdops.components.kafka.planner.leaders import place_leaders

    request, notes = possible(layout, replace(request, balance=request.balance or ("leaders",)))
    placed = place_leaders(layout, layout.replicas, request)
    return Proposal(
        replicas=placed.replicas,
        bound=Bound(moved_replicas=0, moved_bytes=0, why="no replica moves"),
        optimal=placed.optimal,
        method=f"flow of leaders: {placed.changes} change, no fewer than {placed.least_changes} can",
        residual=(*notes, *placed.residual),
    )


def frontier(layout: Layout, request: Request, points: int = 8) -> list[FrontierPoint]:
    """The curve of bytes moved against imbalance, from what is asked for to what is forced, best first.

    The imbalance is that of the first measure of `request.balance`. Points that another one beats in both are left
    out. Budgets are not looked at. Raises UsageError like `propose`, and when nothing is to be evened out.
    """
    request, _ = possible(layout, replace(request, max_moves=None, max_move_bytes=None))
    if not request.balance:
        raise UsageError("a frontier is of something that is made even", hint="--balance bytes")
    measure = request.balance[0]
    shares = shares_of(layout, request, measure)
    found = []
    for step in range(points):
        widened = _widened(layout, request, step / max(points - 1, 1))
        replicas = _planned(layout, widened).replicas
        change = changes(layout, replicas)
        found.append(
            FrontierPoint(
                tolerance=widened.tolerance[measure],
                imbalance=imbalance(loads_after(layout, replicas)[measure], shares),
                moved_replicas=change.moved_replicas,
                moved_bytes=change.moved_bytes,
            )
        )
    best: list[FrontierPoint] = []
    for point in sorted(found, key=lambda p: (p.imbalance, p.moved_bytes, p.tolerance)):
        if not best or point.moved_bytes < best[-1].moved_bytes:
            best.append(point)
    return best


def possible(layout: Layout, request: Request) -> tuple[Request, tuple[str, ...]]:
    """The request with its defaults filled in, and what of it has to be left out, one sentence each.

    Rows of which no copy is on a live broker are pinned: there is nothing to copy them from. Raises UsageError when
    the request as a whole cannot be.
    """
    _check_words(layout, request)
    orphans = ~layout.brokers.live[layout.replicas] & (layout.replicas >= 0)
    dead = orphans.sum(axis=1) == layout.factors
    notes = []
    if dead.any():
        names = ", ".join(layout.partition(int(row)) for row in np.flatnonzero(dead)[:3])
        notes.append(f"{plural(int(dead.sum()), 'partition')} have no copy on a live broker and stay: {names}")
        request = replace(request, pinned=dead if request.pinned is None else request.pinned | dead)
    tolerance = {m: request.tolerance.get(m, DEFAULT_TOLERANCE[m]) for m in request.balance}
    request = replace(request, tolerance=tolerance)
    where = domains(layout, request)
    if not where.receivers.any() and (request.balance or request.drain or request.factors):
        _refuse("no broker is left to receive replicas: all are dead, draining or excluded", "drain fewer brokers")
    _check_room(layout, request, where)
    return request, tuple(notes)


def _check_words(layout: Layout, request: Request) -> None:
    count = len(layout.brokers)
    for broker in sorted(request.drain | request.exclude):
        if not 0 <= broker < count:
            _refuse(f"there is no broker with index {broker}", f"there are {count}")
    for topic, factor in sorted(request.factors.items()):
        if not 0 <= topic < len(layout.topics):
            _refuse(f"there is no topic with index {topic}", f"there are {len(layout.topics)}")
        if factor < 1:
            _refuse(f"{layout.topics[topic]}: a replication factor of {factor}", "it is at least 1")
    if not 0 < request.watermark <= 1:
        _refuse(f"a watermark of {request.watermark:.0%}", "it is between 1% and 100%")
    for measure, tolerance in request.tolerance.items():
        if not 0 <= tolerance < 1e6:
            _refuse(f"a tolerance of {tolerance} for {measure}", "it is a fraction, such as 5%")
    if "bytes-in" in request.balance and layout.bytes_in is None:
        _refuse(
            "rates are not known, so they cannot be made even", "give a layout with bytes_in, or --rates-since FILE"
        )
    for what, budget in (("replicas", request.max_moves), ("bytes", request.max_move_bytes)):
        if budget is not None and budget < 0:
            _refuse(f"a budget of {budget} {what}", "it is not negative")


def _check_room(layout: Layout, request: Request, where: Domains) -> None:
    """No row may need more brokers than it can have."""
    factors = wanted_factors(layout, request)
    present = layout.replicas >= 0
    kept = (where.holding[layout.replicas] & present).sum(axis=1)
    leaving = (where.leaving[layout.replicas] & present).any(axis=1)
    free = free_rows(layout, request)
    short = free & (leaving | (factors > layout.factors)) & (factors - kept > int(where.receivers.sum()))
    if short.any():
        row = int(short.argmax())
        _refuse(
            f"{layout.partition(row)} is to have {plural(int(factors[row]), 'replica')}, and only"
            f" {plural(int(where.receivers.sum()) + int(kept[row]), 'broker')} can hold one"
            f" ({plural(int(short.sum()), 'partition')} in all)",
            "drain or exclude fewer brokers, or lower the replication factor first",
        )


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint=hint)


def _planned(layout: Layout, request: Request) -> Proposal:
    """The plan without a budget, leaders placed."""
    from bdops.components.kafka.planner.leaders import place_leaders

    if _by_flow(layout, request):
        from bdops.components.kafka.planner.exact import propose_exact

        plan = propose_exact(layout, request)
    else:
        plan = _settled(layout, request)
    placed = place_leaders(layout, plan.replicas, request)
    return replace(
        plan,
        replicas=placed.replicas,
        optimal=plan.optimal and placed.optimal,
        residual=(*plan.residual, *placed.residual),
    )


def _by_flow(layout: Layout, request: Request) -> bool:
    """Whether the exact planner can do what is asked, and the partitions in question are not too many for it."""
    from bdops.components.kafka.planner.task import task_of

    if {"bytes", "bytes-in"} & set(request.balance):
        return False
    most = EXACT_PAIRS if "count" in request.balance else EXACT_PAIRS_APART
    where = domains(layout, request)
    receivers = int(where.receivers.sum())
    return len(layout) * receivers <= most or len(task_of(layout, request, where).rows) * receivers <= most


def _settled(layout: Layout, request: Request) -> Proposal:
    """The plan of the planner of bytes, where it leads anywhere.

    What cannot be brought into its band must not be moved about with every further plan: a plan that is no better
    than the layout is left, and one that falls short is gone on with from where it ends until nothing gets better.
    """
    from bdops.components.kafka.planner.approximate import propose_bytes

    width = max(layout.replicas.shape[1], *request.factors.values(), 1)
    best = propose_bytes(layout, request)
    if _faults(layout, request, best.replicas) >= _faults(layout, request, layout.replicas):
        return replace(best, replicas=as_wide(layout.replicas, width))
    for _ in range(SETTLING_ROUNDS):
        # Judged from where the plan ends: even shares differ once brokers that hold theirs have lost copies.
        after = replace(layout, replicas=best.replicas, leader=best.replicas[:, 0].copy(), dirs=None, log_dirs=None)
        reached = _faults(after, request, after.replicas)
        if not any(reached):
            break
        further = propose_bytes(after, request)
        if _faults(after, request, further.replicas) >= reached:
            break
        best = replace(best, replicas=further.replicas, optimal=False, residual=further.residual)
    return best


def _faults(layout: Layout, request: Request, replicas: NDArray[np.int16]) -> tuple[float, ...]:
    """How far a plan is from what is asked, the worst kind of fault first; all 0 when nothing is left to do."""
    where = domains(layout, request)
    free, factors = free_rows(layout, request), wanted_factors(layout, request)
    rows, there = replicas[free], replicas[free] >= 0
    wanted = factors[free]
    faults = [
        float((where.leaving[rows] & there).sum()),
        float(np.abs(there.sum(axis=1) - wanted).sum()),
        float(violations(rows, where.rack, row_caps(wanted, where.rack_sizes)).sum()),
    ]
    carried = loads_after(layout, replicas)
    for measure in request.balance:
        if measure != "leaders":
            low, high = band(shares_of(layout, request, measure), where.receivers, request.tolerance[measure])
            outside = np.maximum(carried[measure] - high, low - carried[measure])
            faults.append(float(np.maximum(outside, 0)[where.receivers].sum()))
    return tuple(faults)


def _fits(layout: Layout, plan: Proposal, request: Request) -> bool:
    change = changes(layout, plan.replicas)
    return (request.max_moves is None or change.moved_replicas <= request.max_moves) and (
        request.max_move_bytes is None or change.moved_bytes <= request.max_move_bytes
    )


def _widened(layout: Layout, request: Request, part: float) -> Request:
    """The request with every tolerance moved by a part of the way from what was asked to what is there now."""
    before = loads_before(layout)
    tolerance = {}
    for measure in request.balance:
        asked = request.tolerance[measure]
        now = max(imbalance(before[measure], shares_of(layout, request, measure)), asked)
        tolerance[measure] = asked + part * (now - asked)
    return replace(request, tolerance=tolerance)


def _within_budget(layout: Layout, request: Request, budget: Request) -> Proposal:
    """The most even plan that keeps to a budget that the whole plan does not fit.

    The tolerance is halved towards what was asked for as long as the plan fits: a larger budget can only end at a
    smaller tolerance, so that more budget never gives a worse plan.
    """
    forced = _planned(layout, replace(request, balance=(), tolerance={}))
    if not _fits(layout, forced, budget):
        return _part_of(layout, request, forced, budget)
    best, reached = forced, 1.0
    low, high = 0.0, 1.0
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        plan = _planned(layout, _widened(layout, request, middle))
        if _fits(layout, plan, budget):
            best, reached, high = plan, middle, middle
        else:
            low = middle
    widened = _widened(layout, request, reached).tolerance
    told = ", ".join(f"{m} to {widened[m]:.1%}, not {request.tolerance[m]:.1%}" for m in request.balance)
    return replace(
        best,
        optimal=False,
        method=f"{best.method}; the smallest tolerance whose plan fits the budget",
        residual=(*best.residual, f"within {_words(budget)}: {told}"),
    )


def _part_of(layout: Layout, request: Request, forced: Proposal, budget: Request) -> Proposal:
    """Those changes of the forced plan that a budget affords: repairs first, then the rest; the small ones first."""
    change = changes(layout, forced.replicas)
    copies = change.added.sum(axis=1)
    cost = copies * layout.size_bytes[change.rows]
    where = domains(layout, request)
    old = layout.replicas[change.rows]
    leaving = (where.leaving[old] & (old >= 0)).any(axis=1)
    resized = wanted_factors(layout, request)[change.rows] != layout.factors[change.rows]
    order = np.lexsort((change.rows, cost, leaving | resized))
    most_moves = np.inf if budget.max_moves is None else budget.max_moves
    most_bytes = np.inf if budget.max_move_bytes is None else budget.max_move_bytes
    fits = (np.cumsum(copies[order]) <= most_moves) & (np.cumsum(cost[order]) <= most_bytes)
    left = change.rows[order[~fits]]
    done = f"{int(fits.sum())} of the {plural(len(order), 'partition')} that have to change do"
    told = f"within {_words(budget)} {done}; nothing is evened out"
    width = max(layout.replicas.shape[1], forced.replicas.shape[1])
    replicas = as_wide(forced.replicas, width).copy()
    replicas[left] = as_wide(layout.replicas[left], width)
    return replace(
        forced,
        replicas=replicas,
        bound=Bound(moved_replicas=0, moved_bytes=0, why="none for a part of a plan"),
        optimal=False,
        method=f"{forced.method}; what the budget affords of it",
        residual=(*forced.residual, told),
    )


def _words(budget: Request) -> str:
    parts = []
    if budget.max_moves is not None:
        parts.append(plural(budget.max_moves, "replica"))
    if budget.max_move_bytes is not None:
        parts.append(format_size(budget.max_move_bytes))
    return f"the budget of {' and '.join(parts)}"
