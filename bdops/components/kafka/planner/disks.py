"""Evens out the log directories of each broker (JBOD): moves within a broker, with the fewest bytes moved.

Splitting sizes over directories is number partitioning, so only small brokers are solved to the optimum; on larger
ones subsets of replicas are fitted to what has to move, which comes close as there are many of them. The bound is
what the directories have beyond their bands, or lack below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import free_rows, room_under
from bdops.components.kafka.planner.figures import gap, imbalance
from bdops.components.kafka.planner.model import Layout, Request
from bdops.core.units import format_size, plural
from bdops.errors import StateUnknown, UsageError

DEFAULT_TOLERANCE = 0.05

MOST_EXACT = 120
"""Replicas times directories of a broker up to which the optimum is searched for."""
EXACT_EFFORT = 2.0
"""The solver's deterministic time for one broker: the same on every machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMove:
    """A replica of a row goes from one log directory to another (indexes into `layout.log_dirs`)."""

    row: int
    source: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisksPlan:
    """Moves within brokers. `before` and `after` are the bytes in each directory, `share` what it ought to have."""

    layout: Layout
    moves: tuple[DiskMove, ...]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    share: NDArray[np.float64]
    bound_bytes: int
    optimal: bool
    residual: tuple[str, ...] = ()

    @property
    def moved_bytes(self) -> int:
        return int(sum(int(self.layout.size_bytes[m.row]) for m in self.moves))

    @property
    def bytes_by_broker(self) -> dict[int, int]:
        """What each broker copies between its directories, by its index."""
        assert self.layout.log_dirs is not None
        found: dict[int, int] = {}
        for move in self.moves:
            broker = int(self.layout.log_dirs.broker[move.source])
            found[broker] = found.get(broker, 0) + int(self.layout.size_bytes[move.row])
        return found

    @property
    def gap(self) -> float | None:
        """How much more is moved than the bound, as a fraction of it; None when the bound is nothing."""
        return gap(self.moved_bytes, self.bound_bytes)

    def imbalance(self, *, after: bool) -> float:
        """How far the worst directory is from its share, as a fraction of it."""
        return imbalance((self.after if after else self.before).astype(np.float64), self.share)


def propose_disks(layout: Layout, request: Request) -> DisksPlan:
    """Moves between log directories so that each has its share of its broker's bytes, within the tolerance for bytes.

    Shares follow the volumes' sizes where all of a broker's are known, else they are even. Offline directories neither
    give nor take; pinned and busy partitions stay; a directory takes no more than the watermark allows. Raises
    StateUnknown when the layout does not say which directory a replica is in, UsageError for a bad tolerance.
    """
    dirs = layout.log_dirs
    if dirs is None or layout.dirs is None:
        raise StateUnknown(
            "the layout does not say which log directory a replica is in",
            hint="a state has it when log_dirs was read: bdops kafka state save FILE",
        )
    tolerance = request.tolerance.get("bytes", DEFAULT_TOLERANCE)
    if not 0 <= tolerance < 1e6 or not 0 < request.watermark <= 1:
        raise UsageError("the tolerance and the watermark are fractions, such as 5% and 85%")
    held = np.flatnonzero(layout.dirs.ravel() >= 0)
    row_of, dir_of = held // layout.dirs.shape[1], layout.dirs.ravel()[held]
    sizes = layout.size_bytes[row_of]
    movable = free_rows(layout, request)[row_of]
    before = np.zeros(len(dirs), dtype=np.int64)
    np.add.at(before, dir_of, sizes)
    order = np.argsort(dir_of, kind="stable")
    starts = np.searchsorted(dir_of[order], np.arange(len(dirs) + 1))
    share = np.zeros(len(dirs))
    moves: list[DiskMove] = []
    residual: list[str] = []
    bound, optimal = 0, True
    for members in _brokers(layout, request):
        mine = np.concatenate([order[starts[d] : starts[d + 1]] for d in members])
        loads = before[members]
        share[members] = _shares(dirs.total_bytes[members], int(loads.sum()))
        low = np.floor((1 - tolerance) * share[members]).clip(min=0).astype(np.int64)
        high = np.ceil((1 + tolerance) * share[members]).astype(np.int64)
        mine = mine[movable[mine] & (sizes[mine] > 0)]
        problem = _Broker(
            row=row_of[mine],
            at=np.searchsorted(members, dir_of[mine]),
            size=sizes[mine],
            load=loads,
            low=low,
            high=high,
            room=_room(layout, members, request.watermark),
        )
        target, floor, proved = _solve(problem)
        bound += floor
        optimal = optimal and proved
        for n in np.flatnonzero(target != problem.at):
            moves.append(
                DiskMove(row=int(problem.row[n]), source=int(members[problem.at[n]]), target=int(members[target[n]]))
            )
        residual += _left_over(layout, members, problem, target)
    after = before.copy()
    for move in moves:
        after[move.source] -= layout.size_bytes[move.row]
        after[move.target] += layout.size_bytes[move.row]
    if dirs.offline.any():
        residual.append(f"{plural(int(dirs.offline.sum()), 'log directory', 'log directories')} offline, left as it is")
    return DisksPlan(
        layout=layout,
        moves=tuple(moves),
        before=before,
        after=after,
        share=share,
        bound_bytes=bound,
        optimal=optimal,
        residual=tuple(residual),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broker:
    """One broker: its replicas that may move (row, directory, size), its directories' loads, bands and room."""

    row: NDArray[np.int64]
    at: NDArray[np.int64]
    size: NDArray[np.int64]
    load: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    room: NDArray[np.int64]


def _brokers(layout: Layout, request: Request) -> Iterator[NDArray[np.int64]]:
    """The online directories of every live broker that has at least two, as indexes in ascending order."""
    dirs = layout.log_dirs
    assert dirs is not None
    for broker in range(len(layout.brokers)):
        members = np.flatnonzero((dirs.broker == broker) & ~dirs.offline)
        if len(members) > 1 and layout.brokers.live[broker] and broker not in request.exclude:
            yield members


def _shares(total: NDArray[np.int64], load: int) -> NDArray[np.float64]:
    weights = total.astype(np.float64) if (total > 0).all() else np.ones(len(total))
    return load * weights / weights.sum()


def _room(layout: Layout, members: NDArray[np.int64], watermark: float) -> NDArray[np.int64]:
    """Bytes that may be added to each directory."""
    assert layout.log_dirs is not None
    return room_under(watermark, layout.log_dirs.total_bytes[members], layout.log_dirs.usable_bytes[members])


def _floor(problem: _Broker) -> int:
    """What has to move at the least: all that is over the bands, or all that is missing below them."""
    over = np.maximum(problem.load - problem.high, 0).sum()
    under = np.maximum(problem.low - problem.load, 0).sum()
    return int(max(over, under))


def _solve(problem: _Broker) -> tuple[NDArray[np.int64], int, bool]:
    """The directory of every replica, the bound in bytes, and whether the plan is proved to move the least."""
    floor = _floor(problem)
    if not floor:
        return problem.at, 0, True
    target = _fitted(problem)
    moved = int(problem.size[target != problem.at].sum())
    if moved == floor and _is_even(problem, target):
        return target, floor, True
    if len(problem.size) * len(problem.load) <= MOST_EXACT:
        exact = _exact(problem)
        if exact is not None:
            return exact
    return target, floor, False


def _loads(problem: _Broker, target: NDArray[np.int64]) -> NDArray[np.int64]:
    load = problem.load.copy()
    gone = target != problem.at
    np.subtract.at(load, problem.at[gone], problem.size[gone])
    np.add.at(load, target[gone], problem.size[gone])
    return load


def _is_even(problem: _Broker, target: NDArray[np.int64]) -> bool:
    load = _loads(problem, target)
    return bool(((load >= problem.low) & (load <= problem.high)).all())


def _exact(problem: _Broker) -> tuple[NDArray[np.int64], int, bool] | None:
    """The least bytes that bring all directories into their bands; None when that cannot be, or was not found."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    count, width = len(problem.size), len(problem.load)
    at = [[model.new_bool_var("") for _ in range(width)] for _ in range(count)]
    sizes = problem.size.tolist()
    fixed = _loads(problem, problem.at)
    np.subtract.at(fixed, problem.at, problem.size)
    for n in range(count):
        model.add_exactly_one(at[n])
        model.add_hint(at[n][int(problem.at[n])], 1)
    moved = sum(sizes[n] * (1 - at[n][int(problem.at[n])]) for n in range(count))
    for d in range(width):
        load = sum(sizes[n] * at[n][d] for n in range(count)) + int(fixed[d])
        model.add(load >= int(problem.low[d]))
        model.add(load <= int(problem.high[d]))
        added = sum(sizes[n] * at[n][d] for n in range(count) if problem.at[n] != d)
        if problem.room[d] < 2**61:
            model.add(added <= int(problem.room[d]))
    model.minimize(moved)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = EXACT_EFFORT
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    target = np.array([next(d for d in range(width) if solver.boolean_value(at[n][d])) for n in range(count)])
    return target, max(int(solver.best_objective_bound), _floor(problem)), status == cp_model.OPTIMAL


def _fitted(problem: _Broker) -> NDArray[np.int64]:
    """Between pairs of directories, subsets of replicas whose sum fits what has to go from one to the other."""
    target = problem.at.copy()
    room = problem.room.copy()
    load = problem.load.copy()
    for _ in range(4):  # what did not fit a pair may fit another
        progress = False
        for source, sink, amount in _transfers(load, problem.low, problem.high):
            mine = np.flatnonzero((target == source) & (problem.at == source))
            most = int(min(problem.high[sink] - load[sink], load[source] - problem.low[source], room[sink]))
            chosen = mine[subset(problem.size[mine], amount, most)]
            moved = int(problem.size[chosen].sum())
            target[chosen] = sink
            load[source] -= moved
            load[sink] += moved
            room[sink] -= moved
            progress = progress or moved > 0
        if not progress:
            break
    return target


def _transfers(load: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(from, to, bytes): as little as brings every directory into its band, the largest need first."""
    out, into = np.maximum(load - high, 0), np.maximum(low - load, 0)
    missing = int(out.sum() - into.sum())
    give, take = load - low - out, high - load - into
    for n in np.argsort(-take, kind="stable"):
        if missing > 0 and out[n] == 0 and take[n] > 0:
            more = min(missing, int(take[n]))
            into[n] += more
            missing -= more
    for n in np.argsort(-give, kind="stable"):
        if missing < 0 and into[n] == 0 and give[n] > 0:
            more = min(-missing, int(give[n]))
            out[n] += more
            missing += more
    found = []
    while out.any() and into.any():
        source, sink = int(out.argmax()), int(into.argmax())
        amount = int(min(out[source], into[sink]))
        found.append((source, sink, amount))
        out[source] -= amount
        into[sink] -= amount
    return found


def subset(sizes: NDArray[np.int64], least: int, most: int) -> NDArray[np.int64]:
    """Which of these sizes to take so that their sum is at least `least`, at most `most`, and as small as is found.

    The largest that fit first, then the one that is missing: a further one, or a chosen one given for a larger one.
    When nothing reaches `least` without passing `most`, the largest sum below it is returned.
    """
    if not len(sizes) or most <= 0:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    chosen, rest, total = [], [], 0
    goal = min(least, most)
    for n in order:
        if total + int(sizes[n]) <= goal:
            chosen.append(int(n))
            total += int(sizes[n])
        else:
            rest.append(int(n))
    if total < least and rest:
        best = _completion(sizes, chosen, rest, least - total, most - total)
        if best is not None:
            given, taken = best
            chosen = [n for n in chosen if n != given] + [taken]
    return np.array(sorted(chosen), dtype=np.int64)


def _completion(
    sizes: NDArray[np.int64], chosen: list[int], rest: list[int], least: int, most: int
) -> tuple[int, int] | None:
    """(one to give back or -1, one to take) that adds the least between `least` and `most`; None when there is none."""
    waiting = np.array(rest)
    waiting = waiting[np.argsort(sizes[waiting], kind="stable")]
    ordered = sizes[waiting]
    best: tuple[int, int, int] | None = None
    for given in (-1, *chosen):
        base = 0 if given < 0 else int(sizes[given])
        at = int(np.searchsorted(ordered, base + least))
        if at < len(ordered):
            gain = int(ordered[at]) - base
            if gain <= most and (best is None or gain < best[0]):
                best = (gain, given, int(waiting[at]))
    return None if best is None else best[1:]


def _left_over(
    layout: Layout, members: NDArray[np.int64], problem: _Broker, target: NDArray[np.int64]
) -> Iterator[str]:
    """The directories that stay out of their bands."""
    assert layout.log_dirs is not None
    load = _loads(problem, target)
    for n, member in enumerate(members):
        if not problem.low[n] <= load[n] <= problem.high[n]:
            yield (
                f"broker {layout.brokers.ids[layout.log_dirs.broker[member]]} {layout.log_dirs.paths[member]} ends with"
                f" {format_size(int(load[n]))}, outside of {format_size(int(problem.low[n]))}"
                f" to {format_size(int(problem.high[n]))}"
            )
