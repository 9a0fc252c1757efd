"""Which rows a plan is about, what of them stays where it is, and the new rows that come of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner import domains as rules
from bdops.components.kafka.planner.model import Layout, Request
from bdops.components.kafka.planner.rows import as_wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows in question, numbered from 0, and the brokers that may take replicas, numbered likewise.

    `number` gives each broker's number among `receivers`, -1 for others. `kept` [rows, width] are the replicas on
    brokers that hold what they have; `need` of each row's replicas are to be placed on receivers. `base` counts the
    replicas of other rows on each receiver.
    """

    rows: NDArray[np.int64]
    receivers: NDArray[np.int64]
    number: NDArray[np.int64]
    kept: NDArray[np.bool_]
    need: NDArray[np.int64]
    factors: NDArray[np.int16]
    base: NDArray[np.int64]

    def taken(self, layout: Layout, domain: NDArray[np.int32], domains: int) -> NDArray[np.int64]:
        """[rows, domains]: kept replicas in each domain."""
        out = np.zeros((len(self.rows), domains), dtype=np.int64)
        row, column = np.nonzero(self.kept)
        np.add.at(out, (row, domain[layout.replicas[self.rows[row], column]]), 1)
        return out

    def leader(self, layout: Layout) -> NDArray[np.int64]:
        """[rows]: the receiver that leads each row now and holds it, -1 for none."""
        leader = rules.current_leaders(layout)[self.rows]
        holds = (layout.replicas[self.rows] == leader[:, None]).any(axis=1)
        return np.where(holds, self.number[leader], -1)

    def home(self, layout: Layout) -> NDArray[np.bool_]:
        """[rows, receivers]: where replicas are now and may stay."""
        current = layout.replicas[self.rows]
        at = self.number[current]
        row, column = np.nonzero((current >= 0) & (at >= 0))
        out = np.zeros((len(self.rows), len(self.receivers)), dtype=np.bool_)
        out[row, at[row, column]] = True
        return out


def task_of(layout: Layout, request: Request, where: rules.Domains) -> Task:
    """The rows to be looked at: all that are free when counts are to be even, else those with something wrong.

    Raises ValueError when a row needs more brokers than may take replicas.
    """
    free = rules.free_rows(layout, request)
    factors = rules.wanted_factors(layout, request)
    receivers = np.flatnonzero(where.receivers)
    number = np.full(len(layout.brokers), -1, dtype=np.int64)
    number[receivers] = np.arange(len(receivers))
    replicas = layout.replicas
    if "count" not in request.balance:
        goes = (replicas >= 0) & where.leaving[replicas]
        stays = np.where(goes, np.int16(-1), replicas)
        wrong = goes.any(axis=1) | (layout.factors != factors)
        for domain, sizes in ((where.rack, where.rack_sizes), (where.update, where.update_sizes)):
            wrong |= rules.violations(stays, domain, rules.row_caps(factors, sizes)) > 0
        free = free & wrong
    rows = np.flatnonzero(free)
    kept = rules.kept_copies(layout, request, where)[rows]
    need = factors[rows].astype(np.int64) - kept.sum(axis=1)
    short = np.flatnonzero(need > len(receivers))
    if len(short):
        row = int(rows[short[0]])
        raise ValueError(
            f"{layout.partition(row)} needs {need[short[0]]} brokers that may take replicas;"
            f" there are {len(receivers)} ({len(short)} partitions in all)"
        )
    other = np.ones(len(layout), dtype=np.bool_)
    other[rows] = False
    fixed = replicas[other]
    return Task(
        rows=rows,
        receivers=receivers,
        number=number,
        kept=kept,
        need=need,
        factors=factors[rows],
        base=np.bincount(fixed[fixed >= 0], minlength=len(layout.brokers))[receivers],
    )


def arranged(layout: Layout, task: Task, home: NDArray[np.bool_], at: NDArray[np.bool_]) -> NDArray[np.int16]:
    """All rows, those of the task with their replicas `at` receivers: as wide as the widest factor.

    What stays keeps its order; what is added takes the places of what goes, then the end.
    """
    width = max(layout.replicas.shape[1], int(task.factors.max(initial=0)))
    out = as_wide(layout.replicas, width).copy()
    current = layout.replicas[task.rows]
    there = current >= 0
    number = task.number[current]
    rows = np.arange(len(current))[:, None]
    stays = task.kept | (there & (number >= 0) & at[rows, number]) if at.shape[1] else task.kept
    row, receiver = np.nonzero(at & ~home)
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    added = np.full((len(current), int(rank.max(initial=-1)) + 1), -1, dtype=np.int16)
    added[row, rank] = task.receivers[receiver]
    gone = there & ~stays
    padded = np.concatenate([added, np.full(current.shape, -1, dtype=np.int16)], axis=1)
    turn = np.maximum(np.cumsum(gone, axis=1) - 1, 0)
    new = np.where(stays, current, np.where(gone, np.take_along_axis(padded, turn, axis=1), np.int16(-1)))
    late = np.arange(added.shape[1])[None, :] >= gone.sum(axis=1)[:, None]
    new = np.concatenate([new, np.where(late, added, np.int16(-1))], axis=1)
    order = np.argsort(new < 0, axis=1, kind="stable")
    new = np.take_along_axis(new, order, axis=1)[:, :width]
    out[task.rows] = -1
    out[task.rows, : new.shape[1]] = new
    return out
