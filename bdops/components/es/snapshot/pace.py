"""A copy of shards is watched: how far it is, in words; and a node that dies meanwhile is no reason to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bdops.core.actor import ActContext
from bdops.core.units import format_duration, format_size, plural
from bdops.errors import Unreachable

T = TypeVar("T")
INTERVAL_S = 1.0
LOST_S = 60.0
"""So long a cluster may be without an answer (a node dies, a master is elected) while it copies all the same."""


def seen(read: Callable[[], T], context: ActContext) -> T:
    """What is read, which is tried again while nothing answers. Raises Unreachable after `LOST_S`."""
    deadline = time.monotonic() + LOST_S
    while True:
        try:
            return read()
        except Unreachable as e:
            if time.monotonic() >= deadline:
                raise
            context.waiting(f"the cluster to answer: {e.message}")
            context.wait(INTERVAL_S)


@dataclass(slots=True)
class Pace:
    """Told again and again how far a copy is. The rate is what was copied since the first telling."""

    _first: tuple[float, int] | None = None

    def told(self, done: int, shards: int, copied_bytes: int, total_bytes: int, *, now_s: float) -> str:
        """`3 of 9 shards, 120 MiB of 300 MiB, 12 MiB/s, about 15 s left`; `now_s` is any steady clock's."""
        text = f"{done} of {plural(shards, 'shard')}"
        if not total_bytes:
            return text
        text += f", {format_size(copied_bytes)} of {format_size(total_bytes)}"
        if self._first is None or copied_bytes < self._first[1]:
            self._first = now_s, copied_bytes
        since_s, since_bytes = self._first
        if copied_bytes > since_bytes and now_s > since_s:
            rate = (copied_bytes - since_bytes) / (now_s - since_s)
            text += f", {format_size(rate)}/s"
            if total_bytes > copied_bytes:
                text += f", about {format_duration((total_bytes - copied_bytes) / rate)} left"
        return text
