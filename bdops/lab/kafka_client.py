"""What the lab's faults and load do to Kafka: topics, records, offsets, configurations.

What came of it is told by the reader's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bdops.components.kafka.checks.common import down_brokers
from bdops.components.kafka.checks.partitions import leaderless, under_replicated
from bdops.components.kafka.component import COMPONENT
from bdops.components.kafka.state import KafkaState
from bdops.errors import OperationFailed
from bdops.lab import security

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

TIMEOUT_MS = 15000


def state_of(lab: Lab, *readings: str) -> KafkaState:
    """The cluster as it is; only these readings (none: all)."""
    return COMPONENT.read_state(
        lab.deployment("kafka"), timeout_s=6, readings=frozenset(readings) if readings else None
    )


def wait_state(
    lab: Lab, what: str, readings: Iterable[str], probe: Callable[[KafkaState], bool], timeout_s: float = 40
) -> None:
    """Wait until the cluster's state is as `probe` wants it. A reading that failed counts as not yet."""
    wanted = tuple(readings)

    def reached() -> bool:
        state = state_of(lab, *wanted)
        return all(getattr(state, name) is not None for name in wanted) and probe(state)

    lab.wait(what, reached, timeout_s)


def bootstrap(lab: Lab) -> list[str]:
    return [f"{i.host.address}:{i.settings.port}" for i in lab.deployment("kafka").instances]


def login(lab: Lab) -> dict[str, Any]:
    """What a client of kafka-python needs to be the lab's own administrator; nothing where the lab is not secured."""
    if not lab.secure:
        return {}
    return {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(security.ca_file(lab)),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": security.ADMIN,
        "sasl_plain_password": security.password(lab, security.ADMIN),
    }


@contextmanager
def admin(lab: Lab) -> Iterator[Any]:
    """kafka-python's admin client. Its errors become OperationFailed."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap(lab),
            request_timeout_ms=TIMEOUT_MS,
            bootstrap_timeout_ms=TIMEOUT_MS,
            **login(lab),
        )
        try:
            yield client
        finally:
            client.close()
    except KafkaError as e:
        raise OperationFailed(f"Kafka: {type(e).__name__}: {e}") from e


def create_topic(
    lab: Lab, name: str, assignment: Sequence[Sequence[int]], configs: Mapping[str, str] | None = None
) -> None:
    """Make a topic with these replicas, partition by partition, unless it is there. Returns when it is led."""
    known = {t.name for t in state_of(lab, "topics").topics or ()}
    if name not in known:
        with admin(lab) as client:
            client.create_topics(
                {name: {"assignments": {n: list(r) for n, r in enumerate(assignment)}, "configs": dict(configs or {})}}
            )
    wait_state(
        lab,
        f"topic {name} to be led",
        ["topics"],
        lambda s: any(t.name == name and all(p.leader is not None for p in t.partitions) for t in s.topics or ()),
    )


def delete_topics(lab: Lab, names: Iterable[str]) -> None:
    """Delete those that are there; returns when they are gone."""
    doomed = set(names)
    there = [t.name for t in state_of(lab, "topics").topics or () if t.name in doomed]
    if there:
        with admin(lab) as client:
            client.delete_topics(there)
        wait_state(lab, "topics to be gone", ["topics"], lambda s: not doomed & {t.name for t in s.topics or ()})


def set_configs(lab: Lab, kind: str, name: str, configs: Mapping[str, str | None]) -> None:
    """Set, or with None delete, dynamic configurations of a "topic" or a "broker" (name "": all brokers' default)."""
    from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType

    changes = {
        key: (AlterConfigOp.DELETE, None) if value is None else (AlterConfigOp.SET, value)
        for key, value in configs.items()
    }
    resource = ConfigResource(ConfigResourceType[kind.upper()], name, configs=changes)
    with admin(lab) as client:
        client.alter_configs([resource], raise_on_unknown=False, incremental=True)


def reassign(lab: Lab, topic: str, partition: int, replicas: Sequence[int] | None) -> None:
    """Begin to move a partition to these brokers; None cancels."""
    from kafka import TopicPartition

    with admin(lab) as client:
        answer = client.alter_partition_reassignments({TopicPartition(topic, partition): replicas})
    for error in answer.values():
        if error is not None:
            raise OperationFailed(f"cannot reassign {topic}-{partition}: {error.__name__}")


def elect_preferred(lab: Lab) -> None:
    """Give leadership back to the preferred replicas; those that lead already are no error."""
    preferred = 0  # ElectionType of the protocol
    with admin(lab) as client:
        client.elect_leaders(preferred, raise_errors=False)


def await_in_sync(lab: Lab, timeout_s: float = 90) -> None:
    """Return when every server answers, every replica is in sync, every voter follows, and preferred leaders lead.

    A broker that was killed a moment ago and comes back counts as alive and in sync before its port is open again.
    """

    def in_sync(state: KafkaState) -> bool:
        if any(s.error for s in state.servers or ()):
            return False
        return not down_brokers(state) and not any(leaderless(state)) and not any(under_replicated(state))

    def led(state: KafkaState) -> bool:
        return voters_follow(state) and all(p.leader == p.replicas[0] for _, p in state.partitions())

    wait_state(lab, "replicas to be in sync", ["servers", "topics", "brokers", "reassignments"], in_sync, timeout_s)
    if any(p.leader != p.replicas[0] for _, p in state_of(lab, "topics").partitions()):
        elect_preferred(lab)
    wait_state(lab, "preferred leaders to lead", ["topics", "quorum"], led, timeout_s)


def voters_follow(state: KafkaState) -> bool:
    """Whether the active controller has heard of all voters lately."""
    return state.quorum is not None and all(v.lag_ms is not None and v.lag_ms < 3000 for v in state.quorum.voters)


@contextmanager
def producer(lab: Lab, **options: Any) -> Iterator[Any]:
    """kafka-python's producer, flushed at the end."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    try:
        client = KafkaProducer(
            bootstrap_servers=bootstrap(lab),
            request_timeout_ms=TIMEOUT_MS,
            max_block_ms=TIMEOUT_MS,
            linger_ms=20,
            **login(lab),
            **options,
        )
        try:
            yield client
            client.flush(timeout=60)
        finally:
            client.close(timeout=10)
    except KafkaError as e:
        raise OperationFailed(f"Kafka: {type(e).__name__}: {e}") from e


def log_ends(lab: Lab, topic: str) -> dict[int, int]:
    """Partition -> log end offset."""
    from kafka import OffsetSpec, TopicPartition

    partitions = next(t.partitions for t in state_of(lab, "topics").topics or () if t.name == topic)
    with admin(lab) as client:
        found = client.list_partition_offsets({TopicPartition(topic, p.id): OffsetSpec.LATEST for p in partitions})
    return {tp.partition: result.offset for tp, result in found.items()}


def commit(lab: Lab, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit offsets of a group that has no members."""
    from kafka import TopicPartition
    from kafka.errors import NoError
    from kafka.structs import OffsetAndMetadata

    wanted = {TopicPartition(topic, n): OffsetAndMetadata(offset, "", None) for n, offset in offsets.items()}

    def committed() -> bool:
        # The offsets topic is made at the first commit, and its coordinator loads for a moment.
        with admin(lab) as client:
            return all(error in (NoError, None) for error in client.alter_group_offsets(group, wanted).values())

    lab.wait(f"group {group} to be committed", committed, 30)


def delete_group(lab: Lab, group: str) -> None:
    with admin(lab) as client:
        client.delete_groups([group])
