"""Each topic's replicas spread over the brokers: a second level of the flow, (topic, broker), between row and broker.

A row is of one topic, so that its replicas pass exactly one such node each: still one flow of one commodity. Bands are
a price, not a limit, as they may be impossible together with even counts, which come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import band
from bdops.components.kafka.planner.model import Layout
from bdops.components.kafka.planner.task import Task

MOST_PAIRS = 4_000_000
"""Pairs of row (or topic) and broker up to which topics are spread: the whole network is needed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicBands:
    """The topics of a task's rows: `topics` (index in the layout), `of` each row, and what each receiver should hold.

    `low`, `high` and `fixed` [topics, receivers] count all replicas of a topic; `fixed` are those of rows that are not
    the task's, which stay.
    """

    topics: NDArray[np.int64]
    of: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    fixed: NDArray[np.int64]

    def rooms(self) -> NDArray[np.int64]:
        """[topics, receivers, 3]: what is wanted, what may be more, and all beyond, for `Placement.topic_room`."""
        low, high = np.maximum(self.low - self.fixed, 0), np.maximum(self.high - self.fixed, 0)
        most = np.full(low.shape, max(len(self.of), 1), dtype=np.int64)
        return np.stack([low, high - low, most], axis=2)

    def uneven(self, layout: Layout, task: Task, at: NDArray[np.bool_]) -> list[str]:
        """A sentence on the topics that are not spread as they should be under a placement."""
        count = self.fixed.copy()
        np.add.at(count, self.of, at)
        off = (count < self.low) | (count > self.high)
        if not off.any():
            return []
        topic, receiver = (int(index) for index in np.argwhere(off)[0])
        told = (
            f"{int(off.any(axis=1).sum())} topics are not spread evenly; {layout.topics[self.topics[topic]]} has"
            f" {count[topic, receiver]} replicas on broker {layout.brokers.ids[task.receivers[receiver]]}, outside of"
            f" {self.low[topic, receiver]} to {self.high[topic, receiver]}"
        )
        return [told]


def topic_bands(layout: Layout, task: Task, share: NDArray[np.float64], tolerance: float) -> TopicBands:
    """The bands of each topic that has rows in the task: its replicas by the receivers' shares of all replicas.

    A share is rounded down and up, or widened by the tolerance.
    """
    topic_of = layout.topic_of()
    topics, of = np.unique(topic_of[task.rows], return_inverse=True)
    other = np.ones(len(layout), dtype=np.bool_)
    other[task.rows] = False
    other &= np.isin(topic_of, topics)
    fixed = np.zeros((len(topics), len(task.receivers)), dtype=np.int64)
    rows = np.flatnonzero(other)
    number = np.where(layout.replicas[rows] >= 0, task.number[layout.replicas[rows]], -1)
    row, column = np.nonzero(number >= 0)
    np.add.at(fixed, (np.searchsorted(topics, topic_of[rows[row]]), number[row, column]), 1)
    total = fixed.sum(axis=1) + np.bincount(of, weights=task.need, minlength=len(topics))
    part = total[:, None] * (share / max(float(share.sum()), 1e-9))[None, :]
    low, high = band(part, np.ones(part.shape, dtype=np.bool_), tolerance)
    return TopicBands(
        topics=topics.astype(np.int64),
        of=of.astype(np.int64),
        low=low,
        high=high,
        fixed=fixed,
    )
