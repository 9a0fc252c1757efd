"""States of a Kafka cluster in a few words: `cluster(...)` is healthy but for what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bdops.components.kafka.state import (
    Broker,
    ExpectedServer,
    KafkaState,
    MetadataQuorum,
    Partition,
    Reassignment,
    Server,
    Topic,
    Voter,
)

Replicas = tuple[Sequence[int], Sequence[int]]
"""Of a partition: its replicas, and those in sync."""

NOBODY = -1


def name(number: int) -> str:
    return f"prod/kafka/node{number}"


def partition(number: int, replicas: Sequence[int], isr: Sequence[int] | None = None, **fields: Any) -> Partition:
    """Led by the first of its replicas that is in sync."""
    isr = replicas if isr is None else isr
    leader = next((r for r in replicas if r in isr), None)
    return Partition(id=number, **{"leader": leader, "replicas": tuple(replicas), "isr": tuple(isr), **fields})


def topic(of: str, *partitions: Partition | Replicas | Sequence[int]) -> Topic:
    """Partitions as they are, as (replicas, in sync), or as replicas all in sync."""
    found = []
    for n, p in enumerate(partitions):
        if isinstance(p, Partition):
            found.append(p)
        elif isinstance(p[0], int):
            found.append(partition(n, p))  # type: ignore[arg-type]
        else:
            found.append(partition(n, *p))  # type: ignore[arg-type]
    return Topic(name=of, partitions=tuple(found))


def cluster(
    size: int = 4,
    *topics: Topic,
    controllers: Sequence[int] = (1, 2, 3),
    apart: bool = False,
    leader: int | None = 1,
    minimum: int | Mapping[str, int] = 2,
    refused: Sequence[int] = (),
    silent: Sequence[int] = (),
    fenced: Sequence[int] = (),
    unregistered: Sequence[int] = (),
    lags: Mapping[int, int | None] = {},
    racks: Mapping[int, str] = {},
    reassignments: Sequence[Reassignment] = (),
    **fields: Any,
) -> KafkaState:
    """Brokers 1 to n; `controllers` are among them, or, when `apart`, servers of their own with numbers beyond."""
    numbers = list(range(1, size + 1)) + (list(controllers) if apart else [])

    def roles(n: int) -> tuple[str, ...]:
        return (*(("broker",) if n <= size else ()), *(("controller",) if n in controllers else ()))

    def server(n: int) -> Server:
        if n in refused:
            return Server(name=name(n), error="connection refused", error_code="UNREACHABLE", refused=True)
        if n in silent:
            return Server(name=name(n), error="no answer to ApiVersions", error_code="UNREACHABLE")
        return Server(name=name(n))

    def follower(n: int) -> Voter:
        lag_ms = lags.get(n, 60_000 if n in refused else 100)
        return Voter(id=n, lag=None if lag_ms is None else 0, lag_ms=lag_ms)

    quorum = MetadataQuorum(
        leader_id=leader,
        voters=tuple(follower(n) for n in controllers),
        observers=tuple(follower(n) for n in numbers if n not in controllers),
        epoch=3,
        high_watermark=100,
    )
    state: dict[str, Any] = {
        "cluster": "prod",
        "taken_at": datetime(2026, 11, 25, tzinfo=UTC),
        "expected": tuple(
            ExpectedServer(name=name(n), host=f"node{n}", node_id=n, roles=roles(n), rack=racks.get(n)) for n in numbers
        ),
        "servers": tuple(server(n) for n in numbers),
        "cluster_id": "abc",
        "brokers": tuple(
            Broker(id=n, fenced=n in fenced, rack=racks.get(n)) for n in range(1, size + 1) if n not in unregistered
        ),
        "quorum": quorum,
        "topics": tuple(topics),
        "topic_configs": {
            t.name: {"min.insync.replicas": str(minimum if isinstance(minimum, int) else minimum[t.name])}
            for t in topics
            if isinstance(minimum, int) or t.name in minimum
        },
        "reassignments": tuple(reassignments),
    }
    return KafkaState(**{**state, **fields})
