"""Which receiver holds a replica of which row, at the least cost: the problem, and its network.

A unit of flow is a replica. It goes from its row to a receiver, past the row's domains (at most so many replicas of
the row in a rack), and out of the receiver through *slots*: the receiver's load may grow at a price per unit that
never falls, up to a limit. Racks nest brokers, so the matrix is that of a network and the optimum is integral.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.flow import cheapest_flow, groups

Column = NDArray[np.int64]

LIMIT = np.int64(2**61)
"""The price of what may not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One kind of domain: each receiver's (`of`), and how many replicas of a row each may hold (`room`).

    `price` of a row is what each replica beyond the room costs; LIMIT where there may be none.
    """

    of: NDArray[np.int64]
    """[receivers]"""
    room: NDArray[np.int64]
    """[rows, domains]"""
    price: NDArray[np.int64]
    """[rows]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What a receiver may hold of the problem's replicas: at least `least`; `size` [receivers, slots] more at `price`.

    Prices rise from slot to slot. `least` units cost nothing. With `group` of each receiver, `total` [groups] is what
    the receivers of a group hold together, no more and no less.
    """

    least: NDArray[np.int64]
    size: NDArray[np.int64]
    price: NDArray[np.int64]
    group: NDArray[np.int64] | None = None
    total: NDArray[np.int64] | None = None

    def next_price(self, load: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The price of one unit more on each receiver, and whether there is room for it."""
        ends = self.least[:, None] + np.cumsum(self.size, axis=1)
        slot = (ends <= load[:, None]).sum(axis=1)
        room = slot < self.size.shape[1]
        return self.price[np.arange(len(load)), np.minimum(slot, self.size.shape[1] - 1)], room

    def last_price(self, load: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The price of the last unit on each receiver, and whether it may leave."""
        price, _ = self.next_price(load - 1)
        return price, load > self.least


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The problem, for rows and receivers numbered from 0.

    `need` replicas of each row are to be placed; `home` [rows, receivers] tells where the row is now, which costs
    nothing; elsewhere a replica costs `cost` of its row. `open` [rows, receivers]: it may be there (home or not).
    `levels` go from wide to narrow, each domain lying within one of the level before. `crossing` are levels that do
    not nest: no flow holds them, the search of `cycle_canceling.py` does. `leader` of each row (-1: none), when given,
    is the receiver that leads it now: a replica there gains `leader_worth`. A row may stand for several that are alike:
    `copies` of each, one when None. `topic` of each row and `topic_room` [topics, receivers, 3], when given, price how
    many replicas of a topic a receiver holds: so many at a gain of `topic_price`, so many more free, so many more at
    the price.
    """

    need: NDArray[np.int64]
    cost: NDArray[np.int64]
    home: NDArray[np.bool_]
    open: NDArray[np.bool_]
    levels: tuple[Level, ...]
    slots: Slots
    copies: NDArray[np.int64] | None = None
    crossing: tuple[Level, ...] = ()
    leader: NDArray[np.int64] | None = None
    leader_worth: int = 0
    topic: NDArray[np.int64] | None = None
    topic_room: NDArray[np.int64] | None = None
    topic_price: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the replicas are: `at` [rows, receivers]. `proved`: the solver says it is the cheapest."""

    at: NDArray[np.bool_]
    proved: bool


def solve(problem: Placement, arcs: NDArray[np.bool_] | None = None) -> Placed | None:
    """The cheapest placement over `arcs` [rows, receivers] (all that are open when None); None when there is none."""
    solved = amounts(problem, arcs)
    return None if solved is None else Placed(at=solved[0] > 0, proved=solved[1])


def amounts(problem: Placement, arcs: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], bool] | None:
    """Like `solve`: how many copies of each row are on each receiver [rows, receivers], and whether that is proved."""
    usable = problem.open if arcs is None else problem.open & arcs
    rows, receivers = usable.shape
    copies = np.ones(rows, dtype=np.int64) if problem.copies is None else problem.copies
    # Rows without a choice are not asked: what they hold is an inflow of their receivers.
    settled = (usable.sum(axis=1) == problem.need) & (problem.topic is None)
    amount = np.where(settled[:, None], usable * copies[:, None], 0)
    inflow = amount.sum(axis=0)
    usable = usable & ~settled[:, None]
    row, receiver = (index.astype(np.int64) for index in np.nonzero(usable))
    cost = np.where(problem.home[row, receiver], 0, problem.cost[row])
    if problem.leader is not None:
        cost = cost - problem.leader_worth * (problem.leader[row] == receiver)
    nodes = rows
    parts: list[tuple[Column, Column, Column, Column]] = []
    above = row
    for level in problem.levels:
        sizes = np.bincount(level.of, minlength=level.room.shape[1])
        # A domain that cannot be overfilled needs no node of its own.
        gated = (level.room < sizes[None, :]) & (level.room < problem.need[:, None])
        within = level.of[receiver]
        through = gated[row, within]
        number = np.full(gated.shape, -1, dtype=np.int64)
        used = np.zeros(gated.shape, dtype=np.bool_)
        used[row[through], within[through]] = True
        count = int(used.sum())
        number[used] = nodes + np.arange(count)
        parent = np.zeros(count, dtype=np.int64)
        parent[number[row[through], within[through]] - nodes] = above[through]
        node = nodes + np.arange(count)
        room = (level.room * copies[:, None])[used]
        parts.append((parent, node, room, np.zeros(count, dtype=np.int64)))
        price = np.broadcast_to(level.price[:, None], used.shape)[used]
        more = price < LIMIT
        if more.any():
            spare = np.broadcast_to((problem.need * copies)[:, None], used.shape)[used]
            parts.append((parent[more], node[more], spare[more], price[more]))
        above = np.where(through, number[row, within], above)
        nodes += count
    gate = nodes + np.arange(receivers)
    nodes += receivers
    below = gate[receiver]
    if problem.topic is not None and problem.topic_room is not None:
        topics = problem.topic_room.shape[0]
        below = nodes + problem.topic[row] * receivers + receiver
        cells = nodes + np.arange(topics * receivers)
        for grade, factor in enumerate((-1, 0, 1)):
            price = np.full(len(cells), factor * problem.topic_price, dtype=np.int64)
            parts.append((cells, np.tile(gate, topics), problem.topic_room[:, :, grade].ravel(), price))
        nodes += len(cells)
    first = sum(len(part[0]) for part in parts)
    parts.append((above, below, copies[row], cost))
    slots = problem.slots
    group = np.zeros(receivers, dtype=np.int64) if slots.group is None else slots.group
    total = np.array([(problem.need * copies).sum()]) if slots.total is None else slots.total
    for slot in range(slots.size.shape[1]):
        parts.append((gate, nodes + group, slots.size[:, slot], slots.price[:, slot]))
    supply = np.zeros(nodes + len(total), dtype=np.int64)
    supply[:rows] = np.where(settled, 0, problem.need * copies)
    supply[gate] += inflow - slots.least
    supply[nodes:] = np.bincount(group, weights=slots.least, minlength=len(total)).astype(np.int64) - total
    if (supply[nodes:] > 0).any() or supply.sum() != 0:
        return None
    flow = cheapest_flow(supply, groups(*parts))
    if flow is None:
        return None
    amount[row, receiver] = flow.amount[first : first + len(row)]
    return amount, flow.proved
