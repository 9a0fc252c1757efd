"""Proves that a placement is the cheapest, or makes it cheaper until it is: the graph of the receivers.

Whatever a cheaper placement differs in is a set of cycles: a replica of some row goes from u to v, another one from
v to w, and so on, or the loads of two receivers change. So the residual network of a placement, with its hundreds
of thousands of nodes, folds into one of the receivers alone: the edge u -> v costs what the cheapest row does that may
shift a replica from u to v, and one more vertex stands for the loads. No negative cycle there: no cheaper placement
(the optimality criterion of minimum-cost flows, Klein 1967). All arithmetic is in integers, over all rows and
receivers, whichever arcs the solver was given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.placement import LIMIT, Placement


def settle(problem: Placement, at: NDArray[np.bool_], *, most_cycles: int) -> tuple[NDArray[np.bool_], bool]:
    """The placement without its negative cycles, and whether it is proved to be the cheapest.

    `problem` must have no topic rooms. `most_cycles` bounds the work: each cycle costs some milliseconds. With levels
    that cross each other cycles are no more than a local search: nothing is proved.
    """
    graph = _Graph(problem, at)
    for _ in range(most_cycles):
        cycle = graph.negative_cycle()
        if cycle is None:
            return graph.at > 0, not problem.crossing
        if not problem.crossing:
            graph.shift(cycle)
            continue
        before = graph.at > 0
        graph.shift(cycle)
        if total_cost(problem, graph.at > 0) >= total_cost(problem, before):
            return before, False
    return graph.at > 0, not problem.crossing and graph.negative_cycle() is None


def total_cost(problem: Placement, at: NDArray[np.bool_]) -> int:
    """What a placement costs: replicas moved, replicas beyond the rooms of domains, and slots taken."""
    cost = int((problem.cost * (at & ~problem.home).sum(axis=1)).sum())
    if problem.leader is not None:
        leads = np.flatnonzero(problem.leader >= 0)
        cost -= problem.leader_worth * int(at[leads, problem.leader[leads]].sum())
    for level in (*problem.levels, *problem.crossing):
        beyond = np.maximum(domain_counts(at, level.of, level.room.shape[1]) - level.room, 0).sum(axis=1)
        cost += int((beyond * np.where(beyond > 0, level.price, 0)).sum())
    slots = problem.slots
    starts = slots.least[:, None] + np.cumsum(slots.size, axis=1) - slots.size
    filled = np.clip(at.sum(axis=0)[:, None] - starts, 0, slots.size)
    return cost + int((filled * slots.price).sum())


def domain_counts(at: NDArray[np.bool_] | NDArray[np.int64], of: NDArray[np.int64], domains: int) -> NDArray[np.int64]:
    """How many replicas of each row are in each domain."""
    counts = np.zeros((len(at), domains), dtype=np.int64)
    for receiver, domain in enumerate(of):
        counts[:, domain] += at[:, receiver]
    return counts


def shift_prices(problem: Placement, amount: NDArray[np.int64]) -> NDArray[np.int64]:
    """[receivers, receivers]: the least cost of bringing one replica's worth of load from u to v; LIMIT: no way.

    `amount` [rows, receivers] must be the cheapest placement of its loads.
    """
    distance = _Graph(problem, amount).weight[: amount.shape[1], : amount.shape[1]].copy()
    for middle in range(len(distance)):
        np.minimum(distance, distance[:, middle, None] + distance[middle], out=distance)
    return distance


class _Graph:
    """Edges between receivers and, last, a vertex of loads per group; kept up to date as cycles are shifted."""

    def __init__(self, problem: Placement, at: NDArray[np.bool_] | NDArray[np.int64]) -> None:
        self.problem = problem
        self.copies = np.ones(len(at), dtype=np.int64) if problem.copies is None else problem.copies
        self.at = at.copy()
        self.receivers = at.shape[1]
        self.load = at.sum(axis=0).astype(np.int64)
        self.levels = (*problem.levels, *problem.crossing)
        self.used = [domain_counts(self.at, level.of, level.room.shape[1]) for level in self.levels]
        group = problem.slots.group
        self.group = self.receivers + (np.zeros(self.receivers, dtype=np.int64) if group is None else group)
        vertices = int(self.group.max(initial=self.receivers)) + 1
        self.weight = np.full((vertices, vertices), LIMIT, dtype=np.int64)
        self.row = np.full((self.receivers, self.receivers), -1, dtype=np.int64)
        for receiver in range(self.receivers):
            self._edges_from(receiver)
        self._edges_of_loads()

    def _edges_from(self, receiver: int) -> None:
        problem = self.problem
        rows = np.flatnonzero(self.at[:, receiver])
        weight, row = self.weight[receiver, : self.receivers], self.row[receiver]
        weight[:] = LIMIT
        row[:] = -1
        if not len(rows):
            return
        copies = self.copies[rows][:, None]
        allowed = problem.open[rows] & (self.at[rows] < copies)
        own = np.where(problem.home[rows, receiver], 0, problem.cost[rows])
        price = np.where(problem.home[rows], 0, problem.cost[rows][:, None])
        if problem.leader is not None:
            leader = problem.leader[rows]
            own = own - problem.leader_worth * (leader == receiver)
            led = np.flatnonzero(leader >= 0)
            price[led, leader[led]] -= problem.leader_worth
        price -= own[:, None]
        for level, used in zip(self.levels, self.used, strict=True):
            domain = level.of[receiver]
            beyond = level.price[rows]
            room = level.room[rows] * copies
            gain = np.where(used[rows, domain] > room[:, domain], beyond, 0)
            extra = np.where(used[rows] >= room, beyond[:, None], 0)
            allowed &= ((extra < LIMIT) | (np.arange(extra.shape[1]) == domain))[:, level.of]
            change = extra - gain[:, None]
            change[:, domain] = 0
            price += np.where(change >= LIMIT, 0, change)[:, level.of]
        price[~allowed] = LIMIT
        best = price.argmin(axis=0)
        weight[:] = price[best, np.arange(self.receivers)]
        row[:] = rows[best]

    def _edges_of_loads(self) -> None:
        receivers = np.arange(self.receivers)
        price, room = self.problem.slots.next_price(self.load)
        self.weight[receivers, self.group] = np.where(room, price, LIMIT)
        price, may_leave = self.problem.slots.last_price(self.load)
        self.weight[self.group, receivers] = np.where(may_leave, -price, LIMIT)

    def negative_cycle(self) -> list[int] | None:
        """Vertices of a negative cycle with the fewest edges, None when there is none.

        The fewest, as its shifts are then possible together: two that got into each other's way in one row would
        split the cycle into two shorter ones, one of them negative.
        """
        if not has_negative_cycle(self.weight):
            return None
        vertices = len(self.weight)
        steps = [self.weight.copy()]
        before: list[NDArray[np.int64]] = []
        while not (steps[-1].diagonal() < 0).any():
            if len(steps) > vertices:
                raise AssertionError("a negative cycle longer than the graph")
            step, last = np.full_like(self.weight, LIMIT), np.zeros(self.weight.shape, dtype=np.int64)
            for middle in range(vertices):
                through = np.minimum(steps[-1][:, middle, None] + self.weight[middle], LIMIT)
                better = through < step
                step[better] = through[better]
                last[better] = middle
            steps.append(step)
            before.append(last)
        start = int(steps[-1].diagonal().argmin())
        cycle = [start]
        for last in reversed(before):
            cycle.append(int(last[start, cycle[-1]]))
        return cycle[::-1]

    def shift(self, cycle: list[int]) -> None:
        """Carry the cycle out: each edge moves one replica, those of the vertices of loads change loads alone."""
        touched: set[int] = set()
        for source, target in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            if max(source, target) >= self.receivers:
                continue
            row = int(self.row[source, target])
            touched |= {int(r) for r in np.flatnonzero(self.at[row])} | {target}
            self.at[row, source] = False
            self.at[row, target] = True
            for level, used in zip(self.levels, self.used, strict=True):
                used[row, level.of[source]] -= 1
                used[row, level.of[target]] += 1
        self.load = self.at.sum(axis=0).astype(np.int64)
        for receiver in sorted(touched):
            self._edges_from(receiver)
        self._edges_of_loads()


def has_negative_cycle(weight: NDArray[np.int64]) -> bool:
    """Shortest paths between all vertices (Floyd-Warshall), stopped at the first negative way round."""
    distance = weight.copy()
    for middle in range(len(distance)):
        through = np.minimum(distance[:, middle, None] + distance[middle], LIMIT)
        np.minimum(distance, through, out=distance)
        if (distance.diagonal() < 0).any():
            return True
    return False
