"""Minimum-cost flow in integers: the exact solver under the planners of counts and of leaders.

A thin layer over OR-tools' cost-scaling solver that takes columns, keeps costs within the range the solver can
multiply, and says whether they had to be made coarser for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The solver multiplies costs by the number of nodes and adds up potentials in int64; this leaves room for the sums.
_COST_ROOM = 2**60


@dataclass(frozen=True, slots=True, kw_only=True)
class Arcs:
    """Arcs as columns of one length: from node, to node, capacity, cost of one unit."""

    tail: NDArray[np.int32]
    head: NDArray[np.int32]
    capacity: NDArray[np.int64]
    cost: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The flow of each arc, and whether it is the cheapest one: not proved when costs had to be rounded."""

    amount: NDArray[np.int64]
    proved: bool


def cheapest_flow(supply: NDArray[np.int64], arcs: Arcs) -> Flow | None:
    """The cheapest flow that brings the supply of each node (negative: demand) where it is wanted; None if none does.

    Supplies must add up to zero. Costs beyond what the solver can hold are divided by a power of two and rounded down.
    """
    from ortools.graph.python import min_cost_flow

    shift = 0
    largest = int(np.abs(arcs.cost).max(initial=0))
    while (largest >> shift) * (len(supply) + 1) >= _COST_ROOM:
        shift += 1
    while True:
        solver = min_cost_flow.SimpleMinCostFlow()
        cost = arcs.cost >> shift if shift else arcs.cost
        ids = solver.add_arcs_with_capacity_and_unit_cost(arcs.tail, arcs.head, arcs.capacity, cost)
        solver.set_nodes_supplies(np.arange(len(supply), dtype=np.int32), supply)
        status = solver.solve()
        if status == solver.OPTIMAL:
            return Flow(amount=np.asarray(solver.flows(ids), dtype=np.int64), proved=shift == 0)
        if status != solver.BAD_COST_RANGE or largest >> shift == 0:
            return None
        shift += 4


def groups(*parts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]) -> Arcs:
    """Arcs put together from groups of (tail, head, capacity, cost), in that order."""
    tail, head, capacity, cost = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Arcs(tail=tail.astype(np.int32), head=head.astype(np.int32), capacity=capacity, cost=cost)
