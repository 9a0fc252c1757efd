"""What can be observed of a Kafka cluster, as plain frozen data.

The names are Kafka's own: configuration keys are those of the servers, a partition is `topic-number`, a
broker is its number. Lists of partitions are reached through `partitions()` alone, so that another form of
the table (columns, for millions of replicas) can come later without touching a check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, TypeVar

from bdops.components.backup_standing import Backups

T = TypeVar("T")

_STRICT = {"extra": "forbid"}

SAMPLED_READINGS = ("group_samples", "reassignment_samples")
"""The readings that a window of several observations is kept of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedServer:
    """A server that the inventory has. `name` is the instance's name (`prod/kafka/node1`)."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    host: str
    node_id: int | None = None
    roles: tuple[str, ...] = ("broker",)
    rack: str | None = None
    address: str | None = None
    port: int = 9092


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Whether one server of the inventory answered on its own listener; `error` says why not.

    `error_code` is that of bdops' errors: UNREACHABLE or NOT_AUTHORISED. `refused`: nothing listens at its port, so
    that it is known not to serve; any other silence may mean anything.
    """

    __pydantic_config__: ClassVar = _STRICT

    name: str
    error: str | None = None
    error_code: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker as it is registered with the controllers. A fenced one serves nothing (KIP-631, KIP-1073)."""

    __pydantic_config__: ClassVar = _STRICT

    id: int
    fenced: bool = False
    rack: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """A member of the metadata quorum. `lag` is in records; `lag_ms` is by the leader's clock (KIP-836)."""

    __pydantic_config__: ClassVar = _STRICT

    id: int
    lag: int | None = None
    lag_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataQuorum:
    """The KRaft quorum as its active leader describes it. `leader_id` is None when no server says it leads."""

    __pydantic_config__: ClassVar = _STRICT

    leader_id: int | None = None
    voters: tuple[Voter, ...] = ()
    observers: tuple[Voter, ...] = ()
    epoch: int | None = None
    high_watermark: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition. Without a `leader` it is offline; `offline` are replicas on dead brokers or failed disks."""

    __pydantic_config__: ClassVar = _STRICT

    id: int
    leader: int | None = None
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic and its partitions."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    partitions: tuple[Partition, ...]
    internal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """A partition whose replicas are being moved."""

    __pydantic_config__: ClassVar = _STRICT

    partition: str
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDir:
    """One log directory of a broker. Sizes are of its volume (KIP-827); `error` is set when the directory is offline.

    `replicas` maps a partition to its size in bytes; `moving_in` likewise the copies that a move between
    directories has not finished yet (KIP-113).
    """

    __pydantic_config__: ClassVar = _STRICT

    broker: int
    path: str
    error: str | None = None
    total_bytes: int | None = None
    usable_bytes: int | None = None
    replicas: dict[str, int] = field(default_factory=dict)
    moving_in: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group. `state` is Kafka's word: Empty, Stable, PreparingRebalance, Assigning, ..."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    state: str
    type: str = "classic"
    coordinator: int | None = None

    @property
    def has_members(self) -> bool:
        return self.state not in ("Empty", "Dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSample:
    """Where all groups stood at one moment: group -> partition -> (committed offset, log end or None when unknown)."""

    __pydantic_config__: ClassVar = _STRICT

    at: datetime
    offsets: dict[str, dict[str, tuple[int, int | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignmentSample:
    """How many bytes the replicas that are being added held at one moment, by partition."""

    __pydantic_config__: ClassVar = _STRICT

    at: datetime
    copied_bytes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaState:
    """One observation of one Kafka cluster.

    Every field from `servers` on is a reading: None when it was not read, with the reason in `unread`. A
    reading of which one server's part is missing has `unread["log_dirs/prod/kafka/node2"]`.
    `topic_configs` maps a topic, `broker_configs` a broker's number (`""`: the cluster-wide default), to
    effective values by Kafka's configuration keys; only the keys that checks look at need be there.
    `dir_errors` maps a broker's number to its log directories, each with what is wrong with it (null: nothing); it is
    read where `log_dirs` is not wanted.
    The samples are in order of time, the newest last.
    `backups` are those of the metadata; read by this machine, not from the cluster.
    """

    __pydantic_config__: ClassVar = _STRICT

    component: Literal["kafka"] = "kafka"
    version: Literal[1] = 1
    cluster: str
    taken_at: datetime
    unread: dict[str, str] = field(default_factory=dict)
    expected: tuple[ExpectedServer, ...] | None = None
    servers: tuple[Server, ...] | None = None
    cluster_id: str | None = None
    brokers: tuple[Broker, ...] | None = None
    quorum: MetadataQuorum | None = None
    topics: tuple[Topic, ...] | None = None
    topic_configs: dict[str, dict[str, str]] | None = None
    broker_configs: dict[str, dict[str, str]] | None = None
    reassignments: tuple[Reassignment, ...] | None = None
    reassignment_samples: tuple[ReassignmentSample, ...] | None = None
    log_dirs: tuple[LogDir, ...] | None = None
    dir_errors: dict[str, dict[str, str | None]] | None = None
    groups: tuple[Group, ...] | None = None
    group_samples: tuple[GroupSample, ...] | None = None
    backups: Backups | None = None

    def partitions(self) -> Iterator[tuple[Topic, Partition]]:
        """Every partition with its topic, in the state's order; none when topics were not read."""
        for topic in self.topics or ():
            for partition in topic.partitions:
                yield topic, partition


def partition_name(topic: str, number: int) -> str:
    """`orders-3`, as Kafka's own tools and folders write it."""
    return f"{topic}-{number}"


def split_partition(name: str) -> tuple[str, int]:
    """The topic and number of `orders-3`. Raises ValueError when there is no number."""
    topic, _, number = name.rpartition("-")
    if not topic:
        raise ValueError(f"{name!r} is not a partition: expected topic-number")
    return topic, int(number)


def by_topic(values: Mapping[str, T]) -> dict[str, list[tuple[int, T]]]:
    """Values of partitions as requests have them: by topic, with the partitions' numbers."""
    found: dict[str, list[tuple[int, T]]] = {}
    for name, value in values.items():
        topic, number = split_partition(name)
        found.setdefault(topic, []).append((number, value))
    return found
