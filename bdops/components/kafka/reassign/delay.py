"""How long records wait for the in-sync replicas: what a producer with acks=all waits for, seen without producing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from bdops.components.kafka import questions
from bdops.components.kafka.connection import Connection
from bdops.components.kafka.state import KafkaState
from bdops.components.reading import read_all

MOST_S = 2.0
"""A longer wait is not waited for: it counts as this."""
MOST_BROKERS, MOST_PARTITIONS = 12, 100
"""So many are looked at, of each broker so many partitions that it leads."""
ROUNDS = 3
READ_S = 10.0

T = TypeVar("T")
WithConnection = Callable[..., Any]
"""`KafkaActor._with_connection(deadline, call, only=broker)`."""


def led_by(state: KafkaState, brokers: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """What to look at: partitions that these brokers lead and others follow, spread evenly over them all."""
    led: dict[int, list[str]] = {b: [] for b in _spread(sorted(set(brokers)), MOST_BROKERS)}
    for topic, p in state.partitions():
        if p.leader in led and len(p.isr) > 1:
            led[p.leader].append(f"{topic.name}-{p.id}")
    return {b: tuple(_spread(names, MOST_PARTITIONS)) for b, names in led.items() if names}


def replication_delay_s(with_connection: WithConnection, led: dict[int, tuple[str, ...]]) -> float | None:
    """Seconds until what is at the logs' ends now is at all in-sync replicas: of the slowest partition, the median of
    ROUNDS; None when no leader answers. At least the time of a question.

    Until then the high watermark is before the end (KIP-101), and acks=all is not answered.
    """
    waits = []
    for _ in range(ROUNDS):
        deadline = time.monotonic() + READ_S
        tasks = {
            str(b): partial(with_connection, deadline, partial(_wait_s, names=names, deadline=deadline), b)
            for b, names in led.items()
        }
        answers = read_all(tasks, timeout_s=READ_S).values
        waits += [max(answers.values())] if answers else []
    return statistics.median(waits) if waits else None


def _wait_s(connection: Connection, names: Iterable[str], deadline: float) -> float:
    left = questions.log_ends(connection, names, deadline, unreplicated=True)
    began = time.monotonic()
    while left and time.monotonic() - began < MOST_S:
        watermarks = questions.log_ends(connection, left, deadline)
        # One that is not told any more has another leader.
        left = {name: end for name, end in left.items() if watermarks.get(name, end) < end}
    return time.monotonic() - began


def _spread(items: list[T], most: int) -> list[T]:
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]
