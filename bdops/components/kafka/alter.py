"""What bdops changes in Kafka: one function a request. Brokers pass all of these on to the active controller.

`deadline` is of time.monotonic() everywhere. All raise Unreachable, NotAuthorised or OperationFailed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from kafka.protocol.admin import (
    AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
)

from bdops.components.kafka.connection import Connection, raise_for
from bdops.components.kafka.messages import UnregisterBrokerRequest
from bdops.components.kafka.state import split_partition
from bdops.errors import OperationFailed

T = TypeVar("T")

BATCH = 500
"""Partitions of one request. A controller writes what a request changes as one batch of at most 10,000 records."""

ALTER_CLUSTER = "Alter on the cluster"

_PREFERRED = 0
_TOPIC = 2
"""The protocol's resource type."""
_SET, _DELETE = 0, 1
_UNKNOWN_TOPIC = 3
_NOTHING_IN_FLIGHT = 85
"""NO_REASSIGNMENT_IN_PROGRESS."""
_NOT_REGISTERED = 102
"""BROKER_ID_NOT_REGISTERED."""
_NOT_NEEDED = 84
"""ELECTION_NOT_NEEDED: the preferred replica leads already."""
_NOT_AVAILABLE = 80
"""PREFERRED_LEADER_NOT_AVAILABLE: it is not in sync."""


def reassign(
    connection: Connection, wanted: Mapping[str, Sequence[int] | None], deadline: float, *, same_factor: bool = False
) -> None:
    """Give partitions these replicas; None cancels what is in flight, and the partition keeps what it had (KIP-455).

    `same_factor`: as many as before, or the controller refuses. The same replicas in another order are so at once.
    Partitions that are gone, or of which nothing is in flight to be cancelled, are passed over. Raises OperationFailed
    with the first partition that was refused.
    """
    entry = AlterPartitionReassignmentsRequest.ReassignableTopic
    for batch in _batches(sorted(wanted), BATCH):
        topics = []
        for topic, numbers in _by_topic(batch).items():
            replicas = [(n, wanted[f"{topic}-{n}"]) for n in numbers]
            partitions = [
                entry.ReassignablePartition(partition_index=n, replicas=None if r is None else list(r))
                for n, r in replicas
            ]
            topics.append(entry(name=topic, partitions=partitions))
        request = AlterPartitionReassignmentsRequest(
            timeout_ms=_left_ms(deadline), allow_replication_factor_change=not same_factor, topics=topics
        )
        response = connection.call(request, deadline=deadline)
        raise_for(response.error_code, response.error_message, "change replicas", needs=ALTER_CLUSTER)
        for answer in response.responses:
            for p in answer.partitions:
                name = f"{answer.name}-{p.partition_index}"
                passed = (_UNKNOWN_TOPIC, _NOTHING_IN_FLIGHT) if wanted[name] is None else (_UNKNOWN_TOPIC,)
                if p.error_code not in passed:
                    raise_for(p.error_code, p.error_message, f"change the replicas of {name}", needs=ALTER_CLUSTER)


def alter_dirs(connection: Connection, wanted: Mapping[str, str], deadline: float) -> None:
    """Let the broker that is asked move its replicas to these directories. Those that are gone are passed over."""
    by_path: dict[str, list[str]] = defaultdict(list)
    for partition, path in wanted.items():
        by_path[path].append(partition)
    entry = AlterReplicaLogDirsRequest.AlterReplicaLogDir
    request = AlterReplicaLogDirsRequest(
        dirs=[
            entry(
                path=path,
                topics=[
                    entry.AlterReplicaLogDirTopic(name=topic, partitions=numbers)
                    for topic, numbers in _by_topic(partitions).items()
                ],
            )
            for path, partitions in by_path.items()
        ]
    )
    response = connection.call(request, deadline=deadline)
    for topic in response.results:
        for p in topic.partitions:
            if p.error_code != _UNKNOWN_TOPIC:
                what = f"move {topic.topic_name}-{p.partition_index} to another log directory"
                raise_for(p.error_code, None, what, needs=ALTER_CLUSTER)


def unregister(connection: Connection, broker: int, deadline: float) -> None:
    """Let the controllers forget a broker that is down; nothing when they have already."""
    response = connection.call(UnregisterBrokerRequest(broker_id=broker), deadline=deadline)
    if response.error_code != _NOT_REGISTERED:
        raise_for(response.error_code, response.error_message, f"unregister broker {broker}", needs=ALTER_CLUSTER)


def elect_preferred(connection: Connection, partitions: Collection[str], deadline: float) -> tuple[str, ...]:
    """Let the preferred replicas lead. Returns the partitions whose preferred replica cannot, as it is not in sync."""
    unable = []
    for batch in _batches(sorted(partitions), BATCH):
        entry = ElectLeadersRequest.TopicPartitions
        request = ElectLeadersRequest(
            election_type=_PREFERRED,
            topic_partitions=[entry(topic=t, partitions=numbers) for t, numbers in _by_topic(batch).items()],
            timeout_ms=_left_ms(deadline),
        )
        response = connection.call(request, deadline=deadline)
        raise_for(response.error_code or 0, None, "elect preferred leaders", needs=ALTER_CLUSTER)
        for topic in response.replica_election_results:
            for p in topic.partition_result:
                name = f"{topic.topic}-{p.partition_id}"
                if p.error_code == _NOT_AVAILABLE:
                    unable.append(name)
                elif p.error_code not in (_NOT_NEEDED, _UNKNOWN_TOPIC):
                    raise_for(
                        p.error_code, p.error_message, f"elect the preferred leader of {name}", needs=ALTER_CLUSTER
                    )
    return tuple(unable)


def set_configs(
    connection: Connection, kind: int, name: str, configs: Mapping[str, str | None], deadline: float
) -> None:
    """Set dynamic configurations, or (None) take them away. `kind` is the protocol's: 2 a topic, 4 a broker.

    A broker's name is its number; "" are all brokers' defaults.
    """
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    request = IncrementalAlterConfigsRequest(
        resources=[
            resource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    resource.AlterableConfig(name=key, config_operation=_DELETE if v is None else _SET, value=v)
                    for key, v in configs.items()
                ],
            )
        ],
        validate_only=False,
    )
    response = connection.call(request, deadline=deadline)
    for answer in response.responses:
        what = f"set {', '.join(configs)} of {name or 'all brokers'}"
        needs = f"AlterConfigs on {f'topic {name}' if kind == _TOPIC else 'the cluster'}"
        raise_for(answer.error_code, answer.error_message, what, needs=needs)


def _by_topic(partitions: Iterable[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for name in partitions:
        topic, number = split_partition(name)
        found[topic].append(number)
    return found


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _left_ms(deadline: float) -> int:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise OperationFailed("no time is left", code="ACT_TIMEOUT")
    return max(1, int(left_s * 1000))
