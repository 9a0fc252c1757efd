"""The planner's workbench: the replicas as they will be, the loads that follow from them, and what moves cost.

A *slot* is one place of one row: `row * width + column`. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import (
    Domains,
    band,
    current_leaders,
    disk_room,
    domains,
    even_shares,
    free_rows,
    row_caps,
    violations,
    wanted_factors,
)
from bdops.components.kafka.planner.model import Layout, Measure, Request
from bdops.components.kafka.planner.rows import added, as_wide
from bdops.core.units import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One measure: what a replica of each row weighs, each broker's even share, and the band around it."""

    name: Measure
    weight: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def aims(layout: Layout, request: Request, where: Domains) -> tuple[Aim, ...]:
    """The aims of a request that moves can serve: bytes, then rates, then counts (leaders are placed later).

    Where it asks for none of them there is one of bytes without a band, so that what must move is spread well.
    Raises ValueError when bytes-in is asked for and the layout has no rates.
    """
    found: list[Aim] = []
    for name in ("bytes", "bytes-in", "count"):
        if name not in request.balance:
            continue
        weight: NDArray[np.float64] = layout.size_bytes.astype(np.float64)
        if name == "count":
            weight = np.ones(len(layout))
        elif name == "bytes-in":
            if layout.bytes_in is None:
                raise ValueError("bytes-in: the layout has no rates")
            weight = layout.bytes_in.astype(np.float64)
        share = even_shares(layout, request, where, weight)
        low, high = band(share, where.receivers, request.tolerance.get(name, 0.0))
        found.append(
            Aim(name=name, weight=weight, share=share, low=low.astype(np.float64), high=high.astype(np.float64))
        )
    if not found:
        weight = layout.size_bytes.astype(np.float64)
        share = even_shares(layout, request, where, weight)
        found.append(
            Aim(name="bytes", weight=weight, share=share, low=np.zeros_like(share), high=np.full_like(share, np.inf))
        )
    return tuple(found)


class Work:
    """Replicas being changed, with the load of every aim and the room on every disk kept in step.

    `factors` are the wanted ones as far as there are brokers for them; `possible` marks the free rows that receivers
    (and what others hold) suffice for.
    `origin` is the layout's own (as wide as the widest wanted factor), `replicas` what they are now; a slot that was
    taken out is -1 until it is placed. `load` is [aims, brokers].
    """

    def __init__(self, layout: Layout, request: Request) -> None:
        self.layout, self.request = layout, request
        self.where = domains(layout, request)
        self.free = free_rows(layout, request)
        self.factors, self.possible = _reachable(layout, request, self.where)
        self.caps = row_caps(self.factors, self.where.rack_sizes)
        self.update_caps = row_caps(self.factors, self.where.update_sizes)
        self.two_levels = bool((layout.brokers.update_domain >= 0).any())
        self.width = max(layout.replicas.shape[1], int(self.factors.max(initial=1)))
        self.origin = as_wide(layout.replicas, self.width)
        self.replicas = self.origin.copy()
        self.flat = self.replicas.reshape(-1)
        self.size = layout.size_bytes
        self.leader = current_leaders(layout)
        self.aims = aims(layout, request, self.where)
        self.weights = np.stack([a.weight for a in self.aims])
        brokers = len(layout.brokers)
        self.shares = np.stack([a.share for a in self.aims])
        self.low, self.high = np.stack([a.low for a in self.aims]), np.stack([a.high for a in self.aims])
        self.load = np.zeros((len(self.aims), brokers))
        self.room = disk_room(layout, request).astype(np.float64)
        self.recount()
        self._order: NDArray[np.int64] | None = None

    def recount(self) -> None:
        """The loads, from the replicas."""
        brokers = len(self.layout.brokers)
        self.load[:] = 0
        for column in range(self.width):
            at = self.replicas[:, column].astype(np.int64) + 1
            for number, aim in enumerate(self.aims):
                self.load[number] += np.bincount(at, weights=aim.weight, minlength=brokers + 1)[1:]

    def restore(self, replicas: NDArray[np.int16]) -> None:
        """Go back to these replicas (a copy taken earlier), loads and room with them."""
        self.replicas[:] = replicas
        self.recount()
        fresh = added(self.origin, self.replicas)
        at = np.where(fresh, self.replicas, -1).astype(np.int64) + 1
        taken = np.zeros(self.load.shape[1])
        for column in range(self.width):
            taken += np.bincount(at[:, column], weights=self.size, minlength=len(taken) + 1)[1:]
        self.room = disk_room(self.layout, self.request) - taken
        self._order = None

    def slots_of(self, broker: int) -> NDArray[np.int64]:
        """The slots of a broker, smallest size first: of those it held when the order was last made, the ones left."""
        if self._order is None:
            self.sort()
        assert self._order is not None
        slots = self._order[self._starts[broker] : self._starts[broker + 1]]
        return slots[self.flat[slots] == broker]

    def sort(self) -> None:
        """Make the order behind `slots_of` anew: by broker, then size, then slot; slots of free rows alone."""
        usable = (self.replicas >= 0) & self.free[:, None]
        slots = np.flatnonzero(usable.reshape(-1))
        by_size = np.argsort(self.size, kind="stable")
        rank = np.empty(len(by_size), dtype=np.int64)
        rank[by_size] = np.arange(len(by_size))
        key = self.flat[slots].astype(np.int64) * max(len(rank), 1) + rank[slots // self.width]
        self._order = slots[np.argsort(key, kind="stable")]
        self._starts = np.searchsorted(self.flat[self._order], np.arange(len(self.layout.brokers) + 1))

    def take(self, slots: NDArray[np.int64]) -> NDArray[np.int16]:
        """Take replicas out of their brokers (slots without one twice); returns where they were."""
        was = self.flat[slots].copy()
        rows = slots // self.width
        for number in range(len(self.aims)):
            self.load[number] -= np.bincount(was, weights=self.weights[number, rows], minlength=self.load.shape[1])
        fresh = self.cost(slots)
        np.add.at(self.room, was, fresh)
        self.flat[slots] = -1
        return was

    def move(self, slot: int, to: int) -> None:
        """Put a slot's replica (or the one that was taken out of it) on a broker; room on disks follows."""
        row = slot // self.width
        was = int(self.flat[slot])
        size = float(self.size[row])
        if was >= 0:
            self.load[:, was] -= self.weights[:, row]
            if was not in self.origin[row]:
                self.room[was] += size
        self.load[:, to] += self.weights[:, row]
        if to not in self.origin[row]:
            self.room[to] -= size
        self.flat[slot] = to

    def allowed(self, slots: NDArray[np.int64], *, update_domains: bool = True) -> NDArray[np.bool_]:
        """[slots, brokers]: where each slot's replica may go: distinct, racks and update domains within their caps.

        And on a receiver with room on its disk. Its own broker is not among them; its own place does not count.
        Without `update_domains` these are not looked at.
        """
        rows, columns = slots // self.width, slots % self.width
        others = self.replicas[rows].astype(np.int64)
        index = np.arange(len(slots))
        others[index, columns] = -1
        there = np.zeros((len(slots), len(self.layout.brokers) + 1), dtype=np.bool_)
        there[index[:, None], others + 1] = True
        there[index, self.flat[slots].astype(np.int64) + 1] = True
        fits = ~there[:, 1:] & self.where.receivers
        fits &= self._below(others, self.where.rack, len(self.where.rack_sizes), self.caps[rows])
        if self.two_levels and update_domains:
            fits &= self._below(others, self.where.update, len(self.where.update_sizes), self.update_caps[rows])
        back = np.zeros_like(there)
        back[index[:, None], self.origin[rows].astype(np.int64) + 1] = True
        return fits & ((self.size[rows][:, None] <= self.room) | back[:, 1:])

    def allowed_on(self, slots: NDArray[np.int64], broker: int | NDArray[np.int16]) -> NDArray[np.bool_]:
        """[slots]: whether each slot's replica may go to this one broker (or to that of each), by the same rules."""
        rows = slots // self.width
        others = self.replicas[rows].astype(np.int64)
        others[np.arange(len(slots)), slots % self.width] = -1
        there, each = others >= 0, np.asarray(broker).reshape(-1, 1)
        fits = (self.flat[slots] != broker) & ~(others == each).any(axis=1) & self.where.receivers[broker]
        near = there & (self.where.rack[others] == self.where.rack[each])
        fits &= near.sum(axis=1) < self.caps[rows]
        if self.two_levels:
            near = there & (self.where.update[others] == self.where.update[each])
            fits &= near.sum(axis=1) < self.update_caps[rows]
        return fits & ((self.size[rows] <= self.room[broker]) | (self.origin[rows] == each).any(axis=1))

    def _below(
        self, others: NDArray[np.int64], domain: NDArray[np.int32], count: int, caps: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        held = np.zeros((len(others), count + 1), dtype=np.int64)
        at = np.where(others >= 0, domain[others], count)
        np.add.at(held, (np.arange(len(others))[:, None], at), 1)
        return held[:, domain] < caps[:, None]

    def cost(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bytes that each slot's replica costs as it stands: its size where it was not before, 0 where it was."""
        rows = slots // self.width
        here = (self.origin[rows] == self.flat[slots][:, None]).any(axis=1)
        return np.where(here, 0.0, self.size[rows])

    def wrong(self) -> tuple[int, int, int]:
        """What is not as it must be in free rows, in the order in which it counts.

        Replicas that are missing, too many, or on leaving brokers; in excess in a rack; in excess in an update domain.
        """
        rows = self.replicas[self.free]
        count = int(np.abs((rows >= 0).sum(axis=1) - self.factors[self.free]).sum())
        count += int(np.append(self.where.leaving, False)[rows].sum())
        crowded = int(violations(rows, self.where.rack, self.caps[self.free]).sum())
        update = 0
        if self.two_levels:
            update = int(violations(rows, self.where.update, self.update_caps[self.free]).sum())
        return count, crowded, update

    def astray(self) -> NDArray[np.float64]:
        """[aims, brokers]: how far each load is out of its band, as a fraction of the share; receivers only."""
        out = np.maximum(np.maximum(self.load - self.high, self.low - self.load), 0.0)
        return np.where(self.where.receivers, out / np.maximum(self.shares, 1e-9), 0.0)


def _reachable(layout: Layout, request: Request, where: Domains) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    wanted, now = wanted_factors(layout, request), layout.factors
    holding = np.append(where.holding, False)[layout.replicas].sum(axis=1)
    reach = int(where.receivers.sum()) + holding
    factors = np.minimum(wanted, np.maximum(now, reach)).astype(np.int16)
    return factors, free_rows(layout, request) & (reach >= factors)


def name_brokers(layout: Layout, indexes: Iterable[int], most: int = 5) -> str:
    """`1, 2, 3 and 4 more`: brokers by their numbers, for sentences."""
    return listed((str(layout.brokers.ids[index]) for index in indexes), most)
