"""Racks and update domains as levels of a placement: rooms, which of them nest, and prices where a row cannot fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner import domains as rules
from bdops.components.kafka.planner.model import Layout
from bdops.components.kafka.planner.placement import LIMIT, Level
from bdops.components.kafka.planner.task import Task


def levels_of(
    layout: Layout, where: rules.Domains, task: Task, *, step: int
) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """The levels that nest, from wide to narrow, and those that cross them (update domains, when they do).

    A replica in excess of a rack's room costs more than any exchange within update domains can gain, one in excess of
    an update domain's more than `step`, as far as numbers go. Where a row fits without excess there is none.
    """
    beyond_update = min(2 * step, int(LIMIT) - 1)
    beyond_rack = min(beyond_update * (int(task.factors.max(initial=0)) + 2), int(LIMIT) - 1)
    rack_of, rack_room = _rooms(layout, task, where.rack, where.rack_sizes)
    update_of, update_room = _rooms(layout, task, where.update, where.update_sizes)
    pairs = np.unique(np.stack([rack_of, update_of]), axis=1)
    if pairs.shape[1] == len(np.unique(update_of)):
        order = ((rack_of, rack_room, beyond_rack), (update_of, update_room, beyond_update))
    elif pairs.shape[1] == len(np.unique(rack_of)):
        order = ((update_of, update_room, beyond_update), (rack_of, rack_room, beyond_rack))
    else:
        tight = _fit(task, rack_of, rack_room, rack_of, rack_room) < task.need
        rack = Level(of=rack_of, room=rack_room, price=np.where(tight, np.int64(beyond_rack), LIMIT))
        price = np.full(len(task.rows), beyond_update, dtype=np.int64)
        return (rack,), (Level(of=update_of, room=update_room, price=price),)
    (wide_of, wide_room, _), (narrow_of, narrow_room, _) = order
    tight = _fit(task, wide_of, wide_room, narrow_of, narrow_room) < task.need
    return tuple(
        Level(of=of, room=room, price=np.where(tight, np.int64(price), LIMIT)) for of, room, price in order
    ), ()


def _rooms(
    layout: Layout, task: Task, domain: NDArray[np.int32], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each receiver's domain, and the room of each row in each: its cap less what is kept there."""
    caps = rules.row_caps(task.factors, sizes)
    return domain[task.receivers].astype(np.int64), np.maximum(
        caps[:, None] - task.taken(layout, domain, len(sizes)), 0
    )


def _fit(
    task: Task,
    wide_of: NDArray[np.int64],
    wide_room: NDArray[np.int64],
    narrow_of: NDArray[np.int64],
    narrow_room: NDArray[np.int64],
) -> NDArray[np.int64]:
    """How many replicas of each row fit the rooms of both levels."""
    narrow = np.minimum(narrow_room, np.bincount(narrow_of, minlength=narrow_room.shape[1]))
    wide = np.zeros_like(wide_room)
    for receiver in np.unique(narrow_of, return_index=True)[1]:
        wide[:, wide_of[receiver]] += narrow[:, narrow_of[receiver]]
    return np.minimum(wide, wide_room).sum(axis=1)
