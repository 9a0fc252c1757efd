"""What a restore changes in Kafka: one function a request. What is there already is passed over.

`deadline` is of time.monotonic() everywhere. All raise Unreachable, NotAuthorised or OperationFailed.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka.protocol.admin import (
    AlterClientQuotasRequest,
    CreateAclsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteAclsRequest,
    DeleteTopicsRequest,
)
from kafka.protocol.consumer import OffsetCommitRequest
from kafka.protocol.metadata import FindCoordinatorRequest

from bdops.components.kafka.connection import Connection, raise_for
from bdops.components.kafka.snapshot.content import (
    OPERATIONS,
    PATTERN_TYPES,
    PERMISSIONS,
    RESOURCE_TYPES,
    acl_text,
    code_of,
    quota_text,
)
from bdops.components.kafka.state import by_topic
from bdops.errors import OperationFailed

_UNKNOWN_ID = 100
"""UNKNOWN_TOPIC_ID: it is gone."""
_EXISTS = 36
"""TOPIC_ALREADY_EXISTS."""
_NO_COORDINATOR_YET = {14, 15, 16}
"""COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: it comes in a moment."""
_HAS_MEMBERS = {22, 25, 27, 113}
"""ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, STALE_MEMBER_EPOCH: only a member may commit."""


def create_topics(connection: Connection, topics: Mapping[str, Any], deadline: float) -> None:
    """`assignment`: replicas by partition, empty lists for the controller to choose `factor` ones; `configs`."""
    entry = CreateTopicsRequest.CreatableTopic

    def creatable(name: str, body: Mapping[str, Any]) -> Any:
        placed = [list(r) for r in body["assignment"]] if body["assignment"][0] else []
        return entry(
            name=name,
            num_partitions=-1 if placed else len(body["assignment"]),
            replication_factor=-1 if placed else body["factor"],
            assignments=[
                entry.CreatableReplicaAssignment(partition_index=n, broker_ids=r) for n, r in enumerate(placed)
            ],
            configs=[entry.CreatableTopicConfig(name=k, value=v) for k, v in body["configs"].items()],
        )

    request = CreateTopicsRequest(
        topics=[creatable(name, body) for name, body in topics.items()],
        timeout_ms=_left_ms(deadline),
        validate_only=False,
    )
    for topic in connection.call(request, deadline=deadline).topics:
        if topic.error_code != _EXISTS:
            raise_for(topic.error_code, topic.error_message, f"create topic {topic.name}")


def add_partitions(connection: Connection, topics: Mapping[str, Any], deadline: float) -> None:
    """`to`: how many there shall be; `assignment`: replicas of the new ones, None for the controller to choose."""
    entry = CreatePartitionsRequest.CreatePartitionsTopic

    def grown(name: str, body: Mapping[str, Any]) -> Any:
        placed = body["assignment"]
        new = None if placed is None else [entry.CreatePartitionsAssignment(broker_ids=list(r)) for r in placed]
        return entry(name=name, count=body["to"], assignments=new)

    request = CreatePartitionsRequest(
        topics=[grown(name, body) for name, body in topics.items()],
        timeout_ms=_left_ms(deadline),
        validate_only=False,
    )
    for topic in connection.call(request, deadline=deadline).results:
        raise_for(topic.error_code, topic.error_message, f"add partitions to {topic.name}")


def delete_topics(connection: Connection, ids: Mapping[str, str], deadline: float) -> None:
    """By their ids, so that one that was made anew under the name stays."""
    state = DeleteTopicsRequest.DeleteTopicState
    topics = [state(name=None, topic_id=uuid.UUID(bytes=base64.urlsafe_b64decode(id + "=="))) for id in ids.values()]
    names = {topic.topic_id: name for name, topic in zip(ids, topics, strict=True)}
    request = DeleteTopicsRequest(topics=topics, timeout_ms=_left_ms(deadline))
    for topic in connection.call(request, deadline=deadline).responses:
        if topic.error_code != _UNKNOWN_ID:
            raise_for(topic.error_code, topic.error_message, f"delete topic {names.get(topic.topic_id, topic.name)}")


def create_acls(connection: Connection, acls: Sequence[Mapping[str, str]], deadline: float) -> None:
    entry = CreateAclsRequest.AclCreation
    creations = [
        entry(
            resource_type=kind,
            resource_name=acl["resource_name"],
            resource_pattern_type=pattern,
            principal=acl["principal"],
            host=acl["host"],
            operation=operation,
            permission_type=permission,
        )
        for acl in acls
        for kind, pattern, operation, permission in (_codes(acl),)
    ]
    response = connection.call(CreateAclsRequest(creations=creations), deadline=deadline)
    _raise_for_acls(acls, response.results, "create")


def delete_acls(connection: Connection, acls: Sequence[Mapping[str, str]], deadline: float) -> None:
    """Exactly these: every field of the filter is given."""
    entry = DeleteAclsRequest.DeleteAclsFilter
    filters = [
        entry(
            resource_type_filter=kind,
            resource_name_filter=acl["resource_name"],
            pattern_type_filter=pattern,
            principal_filter=acl["principal"],
            host_filter=acl["host"],
            operation=operation,
            permission_type=permission,
        )
        for acl in acls
        for kind, pattern, operation, permission in (_codes(acl),)
    ]
    response = connection.call(DeleteAclsRequest(filters=filters), deadline=deadline)
    _raise_for_acls(acls, response.filter_results, "delete")


def _codes(acl: Mapping[str, str]) -> tuple[int, int, int, int]:
    """The protocol's numbers of the resource's type, the pattern, the operation and the permission."""
    return (
        code_of(RESOURCE_TYPES, acl["resource_type"]),
        code_of(PATTERN_TYPES, acl["pattern"]),
        code_of(OPERATIONS, acl["operation"]),
        code_of(PERMISSIONS, acl["permission"]),
    )


def _raise_for_acls(acls: Sequence[Mapping[str, str]], results: Iterable[Any], what: str) -> None:
    for acl, result in zip(acls, results, strict=True):
        raise_for(result.error_code, result.error_message, f"{what} ACL: {acl_text(acl)}")


def alter_quotas(connection: Connection, quotas: Sequence[Mapping[str, Any]], deadline: float) -> None:
    """`entity`: its parts, None for the default of a kind; `changes`: values, None to take one away."""
    entry = AlterClientQuotasRequest.EntryData
    request = AlterClientQuotasRequest(
        entries=[
            entry(
                entity=[entry.EntityData(entity_type=k, entity_name=v) for k, v in quota["entity"].items()],
                ops=[
                    entry.OpData(key=k, value=0.0 if v is None else float(v), remove=v is None)
                    for k, v in quota["changes"].items()
                ],
            )
            for quota in quotas
        ],
        validate_only=False,
    )
    for quota, result in zip(quotas, connection.call(request, deadline=deadline).entries, strict=True):
        raise_for(result.error_code, result.error_message, f"set the quota of {quota_text(quota['entity'])}")


def coordinator(connection: Connection, group: str, deadline: float) -> int:
    """The broker that keeps a group's offsets. Waits while there is none yet."""
    while True:
        response = connection.call(FindCoordinatorRequest(key_type=0, coordinator_keys=[group]), deadline=deadline)
        found = response.coordinators[0]
        if found.error_code not in _NO_COORDINATOR_YET:
            raise_for(found.error_code, found.error_message, f"find the coordinator of group {group}")
            return int(found.node_id)
        time.sleep(min(0.3, max(0.0, deadline - time.monotonic())))


def commit_offsets(connection: Connection, group: str, offsets: Mapping[str, int], deadline: float) -> bool:
    """Set offsets of a group without members, on its coordinator. False when that is another, or not ready yet.

    Raises OperationFailed (GROUP_HAS_MEMBERS) when clients are at work.
    """
    entry = OffsetCommitRequest.OffsetCommitRequestTopic
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[
            entry(
                name=topic,
                partitions=[
                    entry.OffsetCommitRequestPartition(partition_index=n, committed_offset=o, committed_metadata="")
                    for n, o in partitions
                ],
            )
            for topic, partitions in by_topic(offsets).items()
        ],
    )
    # Version 10 names topics by their ids alone (KIP-848).
    response = connection.call(request, deadline=deadline, max_version=9)
    codes = {p.error_code for topic in response.topics for p in topic.partitions}
    if codes & _NO_COORDINATOR_YET:
        return False
    if codes & _HAS_MEMBERS:
        raise OperationFailed(
            f"group {group} has members, and its offsets stay theirs",
            where=group,
            hint="stop its clients first",
            code="GROUP_HAS_MEMBERS",
        )
    for topic in response.topics:
        for p in topic.partitions:
            raise_for(p.error_code, None, f"commit the offset of {topic.name}-{p.partition_index} for group {group}")
    return True


def config_changes(resources: Iterable[Mapping[str, Any]]) -> str:
    """What changes, with the values until now, for the journal."""
    return "; ".join(
        f"{r['name'] or 'all brokers'}: {key} was {r['previous'][key]}, becomes {value}"
        for r in resources
        for key, value in r["changes"].items()
    )


def _left_ms(deadline: float) -> int:
    return max(1, int((deadline - time.monotonic()) * 1000))
