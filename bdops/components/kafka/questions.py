"""What is asked of Kafka servers: one function a question, from a connection to plain state.

`deadline` is of time.monotonic() everywhere. All raise Unreachable, NotAuthorised or OperationFailed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka.protocol.admin import (
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    DescribeQuorumRequest,
    ListGroupsRequest,
    ListPartitionReassignmentsRequest,
)
from kafka.protocol.consumer import ListOffsetsRequest, OffsetFetchRequest
from kafka.protocol.metadata import MetadataRequest

from bdops.components.kafka.connection import Connection, lacking, raise_for
from bdops.components.kafka.state import (
    Broker,
    Group,
    LogDir,
    MetadataQuorum,
    Partition,
    Reassignment,
    Topic,
    Voter,
    by_topic,
    partition_name,
)

TOPIC_KEYS = (
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
)
BROKER_KEYS = (
    "min.insync.replicas",
    "default.replication.factor",
    "unclean.leader.election.enable",
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
)
"""The configuration keys that checks look at. The three rates are unlimited unless somebody set them."""

_TOPIC, _BROKER = 2, 4
"""Resource types of the protocol."""

MAX_TIMESTAMP, EARLIEST, LATEST = -3, -2, -1
"""Times with a meaning of their own (ListOffsets; KIP-734)."""
_CONSUMER, _DEBUGGING_REPLICA = -1, -2
"""Who asks for offsets: a consumer sees records that are replicated, a replica all of them."""

_UNKNOWN_TOPIC = 3
_NO_LEADER_HERE = 6
"""NOT_LEADER_OR_FOLLOWER: what a controller that is not the active one answers."""


_TOPIC_NOT_AUTHORISED, _GROUP_NOT_AUTHORISED = 29, 30
DESCRIBE_CLUSTER = "Describe on the cluster"
_DESCRIBE = 8
"""Of the operations that a server says are allowed (AclOperation; KIP-430)."""
_NO_TOPIC = "bdops-that-is-no-topic"


def described_cluster(connection: Connection, deadline: float) -> tuple[str, tuple[Broker, ...]]:
    """The cluster's id and its registered brokers, the fenced ones included (KIP-1073, Kafka 4.0).

    An older server lists live brokers alone; what is missing then shows as a broker that is not registered.
    """
    response = connection.call(DescribeClusterRequest(include_fenced_brokers=True), deadline=deadline)
    raise_for(response.error_code, response.error_message, "describe cluster")
    brokers = (
        Broker(id=b.broker_id, fenced=b.is_fenced, rack=b.rack, host=b.host, port=b.port) for b in response.brokers
    )
    return response.cluster_id, tuple(sorted(brokers, key=lambda b: b.id))


def all_topics(connection: Connection, deadline: float) -> Iterable[Any]:
    """The protocol's own entry of every topic. Raises NotAuthorised when some may be hidden from us."""
    response = connection.call(_metadata_request(None), deadline=deadline)
    # A server leaves out what the user may not see, without a word: only of a topic that is named does it say so.
    named = connection.call(_metadata_request([_NO_TOPIC]), deadline=deadline)
    if any(t.error_code == _TOPIC_NOT_AUTHORISED for t in named.topics):
        raise lacking("topics may be hidden from us", "Describe on all topics", code="KAFKA_TOPICS_HIDDEN")
    return list(response.topics)


def described_topics(connection: Connection, deadline: float) -> tuple[Topic, ...]:
    """All topics with their partitions, by name. Raises NotAuthorised when some may be hidden from us."""
    return tuple(
        Topic(
            name=t.name,
            internal=bool(t.is_internal),
            partitions=tuple(
                Partition(
                    id=p.partition_index,
                    leader=p.leader_id if p.leader_id >= 0 else None,
                    replicas=tuple(p.replica_nodes),
                    isr=tuple(p.isr_nodes),
                    offline=tuple(p.offline_replicas or ()),
                )
                for p in sorted(t.partitions, key=lambda p: p.partition_index)
            ),
        )
        for t in sorted(all_topics(connection, deadline), key=lambda t: t.name)
    )


def _metadata_request(topics: Iterable[str] | None) -> MetadataRequest:
    entry = MetadataRequest.MetadataRequestTopic
    return MetadataRequest(
        topics=None if topics is None else [entry(name=name) for name in topics],
        allow_auto_topic_creation=False,
        include_cluster_authorized_operations=False,
        include_topic_authorized_operations=False,
    )


def topic_configs(connection: Connection, topics: Iterable[str], deadline: float) -> dict[str, dict[str, str]]:
    """The effective values of TOPIC_KEYS by topic; a key without a value is left out."""
    return _configs(connection, _TOPIC, topics, TOPIC_KEYS, deadline)


def configs_of_topic(connection: Connection, topic: str, deadline: float) -> dict[str, str] | None:
    """The effective values of TOPIC_KEYS of one topic; None when there is no such topic."""
    return _configs(connection, _TOPIC, [topic], TOPIC_KEYS, deadline, may_be_gone=True).get(topic)


def broker_configs(connection: Connection, broker: int | None, deadline: float) -> dict[str, str]:
    """The effective values of BROKER_KEYS of a broker, which only it answers; None: the cluster-wide default."""
    name = "" if broker is None else str(broker)
    return _configs(connection, _BROKER, [name], BROKER_KEYS, deadline).get(name, {})


def described_log_dirs(connection: Connection, broker: int, deadline: float) -> tuple[LogDir, ...]:
    """The log directories of the broker that is asked, with its replicas' sizes."""
    response = connection.call(DescribeLogDirsRequest(topics=None), deadline=deadline)
    raise_for(response.error_code or 0, None, "describe log directories", needs=DESCRIBE_CLUSTER)
    found = []
    for entry in response.results:
        replicas: dict[str, int] = {}
        moving: dict[str, int] = {}
        for topic in entry.topics:
            for p in topic.partitions:
                into = moving if p.is_future_key else replicas
                into[partition_name(topic.name, p.partition_index)] = p.partition_size
        found.append(
            LogDir(
                broker=broker,
                path=entry.log_dir,
                error=_error_name(entry.error_code),
                total_bytes=_known(entry.total_bytes),
                usable_bytes=_known(entry.usable_bytes),
                replicas=replicas,
                moving_in=moving,
            )
        )
    return tuple(sorted(found, key=lambda d: d.path))


def dir_errors(connection: Connection, deadline: float) -> dict[str, str | None]:
    """The log directories of the broker that is asked, each with its error if it has one; without their replicas."""
    response = connection.call(DescribeLogDirsRequest(topics=[]), deadline=deadline)
    raise_for(response.error_code or 0, None, "describe log directories", needs=DESCRIBE_CLUSTER)
    return {entry.log_dir: _error_name(entry.error_code) for entry in response.results}


def described_quorum(connection: Connection, deadline: float) -> MetadataQuorum | None:
    """The metadata quorum, as the active controller sees it; None from a controller that is not the active one.

    A broker passes the question on to the active controller, and waits when there is none.
    """
    question = DescribeQuorumRequest.TopicData
    partition = question.PartitionData(partition_index=0)
    request = DescribeQuorumRequest(topics=[question(topic_name="__cluster_metadata", partitions=[partition])])
    response = connection.call(request, deadline=deadline)
    if response.error_code == _NO_LEADER_HERE:
        return None
    raise_for(response.error_code, response.error_message, "describe quorum", needs=DESCRIBE_CLUSTER)
    found = response.topics[0].partitions[0]
    if found.error_code == _NO_LEADER_HERE:
        return None
    raise_for(found.error_code, found.error_message, "describe quorum", needs=DESCRIBE_CLUSTER)
    leader = next((v for v in found.current_voters if v.replica_id == found.leader_id), None)

    def voter(replica: Any) -> Voter:
        lag = lag_ms = None
        if leader is not None and replica.log_end_offset >= 0:
            lag = max(0, leader.log_end_offset - replica.log_end_offset)
        if leader is not None and replica.last_caught_up_timestamp > 0:
            lag_ms = max(0, leader.last_caught_up_timestamp - replica.last_caught_up_timestamp)
        return Voter(id=replica.replica_id, lag=lag, lag_ms=lag_ms)

    return MetadataQuorum(
        leader_id=found.leader_id if found.leader_id >= 0 else None,
        epoch=found.leader_epoch,
        high_watermark=found.high_watermark,
        voters=tuple(sorted(map(voter, found.current_voters), key=lambda v: v.id)),
        observers=tuple(sorted(map(voter, found.observers), key=lambda v: v.id)),
    )


def reassignments(connection: Connection, deadline: float) -> tuple[Reassignment, ...]:
    """The reassignments in flight; the question is passed on to the active controller."""
    response = connection.call(ListPartitionReassignmentsRequest(topics=None), deadline=deadline)
    raise_for(response.error_code, response.error_message, "list reassignments", needs=DESCRIBE_CLUSTER)
    return tuple(
        Reassignment(
            partition=partition_name(t.name, p.partition_index),
            adding=tuple(p.adding_replicas),
            removing=tuple(p.removing_replicas),
        )
        for t in response.topics
        for p in t.partitions
    )


def listed_groups(connection: Connection, broker: int, deadline: float) -> tuple[Group, ...]:
    """The groups with committed offsets of which this broker is the coordinator: consumer and Streams groups.

    Raises NotAuthorised when some may be hidden from us.
    """
    # Who may not describe the cluster is shown the groups that they may describe, and not told of others.
    allowed = connection.call(
        DescribeClusterRequest(include_cluster_authorized_operations=True), deadline=deadline
    ).authorized_operations
    if allowed is not None and _DESCRIBE not in allowed:
        raise lacking("groups may be hidden from us", DESCRIBE_CLUSTER, code="KAFKA_GROUPS_HIDDEN")
    response = connection.call(ListGroupsRequest(states_filter=[], types_filter=[]), deadline=deadline)
    raise_for(response.error_code, None, "list groups", needs=DESCRIBE_CLUSTER)
    return tuple(
        Group(
            name=g.group_id,
            state=g.group_state or "Unknown",
            type=(g.group_type or "classic").lower(),
            coordinator=broker,
        )
        for g in response.groups
        # Connect and the schema registry use groups without offsets; share groups keep theirs elsewhere.
        if g.protocol_type in ("", "consumer", "streams") and (g.group_type or "").lower() != "share"
    )


def committed_offsets(
    connection: Connection, groups: Iterable[str], deadline: float
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """The committed offsets by group and partition, and why for the groups that failed: one request (KIP-709)."""
    entry = OffsetFetchRequest.OffsetFetchRequestGroup
    wanted = [entry(group_id=name, topics=None, version=9) for name in groups]
    offsets: dict[str, dict[str, int]] = {}
    failed: dict[str, str] = {}
    if not wanted:
        return offsets, failed
    # Version 10 names topics by their ids alone (KIP-848).
    for answer in connection.call(OffsetFetchRequest(groups=wanted), deadline=deadline, max_version=9).groups:
        group = answer.group_id
        if answer.error_code:
            lacks = "; the user lacks Describe on all groups" if answer.error_code == _GROUP_NOT_AUTHORISED else ""
            failed[group] = f"{_error_name(answer.error_code)}{lacks}"
            continue
        offsets[group] = {
            partition_name(t.name, p.partition_index): p.committed_offset
            for t in answer.topics
            for p in t.partitions
            if not p.error_code and p.committed_offset >= 0
        }
    return offsets, failed


def log_ends(
    connection: Connection, partitions: Iterable[str], deadline: float, *, unreplicated: bool = False
) -> dict[str, int]:
    """The high watermark of each partition that the server leads, which is where its log ends for consumers.

    `unreplicated`: where the leader's own log ends. Others are left out.
    """
    wanted = dict.fromkeys(partitions, LATEST)
    replica = _DEBUGGING_REPLICA if unreplicated else _CONSUMER
    return {n: at for n, (at, _) in offsets_at(connection, wanted, deadline, replica=replica).items()}


def offsets_at(
    connection: Connection, times: Mapping[str, int], deadline: float, *, replica: int = _CONSUMER
) -> dict[str, tuple[int, int]]:
    """(offset, timestamp in ms) of the first record that is not older than a time, or of EARLIEST, LATEST, ...

    Of the partitions that the server leads; others, and those without such a record, are left out.
    """
    entry = ListOffsetsRequest.ListOffsetsTopic
    request = ListOffsetsRequest(
        replica_id=replica,
        isolation_level=0,
        topics=[
            entry(
                name=topic,
                partitions=[entry.ListOffsetsPartition(partition_index=n, timestamp=t) for n, t in wanted],
            )
            for topic, wanted in by_topic(times).items()
        ],
    )
    response = connection.call(request, deadline=deadline)
    return {
        partition_name(t.name, p.partition_index): (p.offset, p.timestamp)
        for t in response.topics
        for p in t.partitions
        if not p.error_code and p.offset >= 0
    }


def _configs(
    connection: Connection,
    kind: int,
    names: Iterable[str],
    keys: Iterable[str],
    deadline: float,
    *,
    may_be_gone: bool = False,
) -> dict[str, dict[str, str]]:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    request = DescribeConfigsRequest(
        resources=[resource(resource_type=kind, resource_name=n, configuration_keys=list(keys)) for n in names],
        include_synonyms=False,
        include_documentation=False,
    )
    response = connection.call(request, deadline=deadline)
    found: dict[str, dict[str, str]] = {}
    for result in response.results:
        if may_be_gone and result.error_code == _UNKNOWN_TOPIC:
            continue
        raise_for(
            result.error_code,
            result.error_message,
            f"describe configuration of {result.resource_name or 'the cluster'}",
            needs=f"DescribeConfigs on {'all topics' if kind == _TOPIC else 'the cluster'}",
        )
        found[result.resource_name] = _values(result.configs)
    return found


def _values(configs: Iterable[Any]) -> dict[str, str]:
    return {c.name: c.value for c in configs if c.value is not None and c.value != ""}


def _error_name(error_code: int) -> str | None:
    from kafka.errors import for_code

    return for_code(error_code).__name__ if error_code else None


def _known(size: int | None) -> int | None:
    return None if size is None or size < 0 else size
