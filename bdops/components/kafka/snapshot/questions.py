"""What a backup asks of Kafka servers, beyond what a state has: one function a question.

`deadline` is of time.monotonic() everywhere. All raise Unreachable, NotAuthorised or OperationFailed.
"""

from __future__ import annotations

import base64
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from kafka.protocol.admin import (
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeConfigsRequest,
    DescribeUserScramCredentialsRequest,
    ListConfigResourcesRequest,
)
from kafka.protocol.metadata import ApiVersionsRequest

from bdops import __version__
from bdops.components.kafka.connection import Connection, raise_for
from bdops.components.kafka.questions import all_topics
from bdops.components.kafka.snapshot.content import (
    CONFIG_RESOURCES,
    MECHANISMS,
    OPERATIONS,
    PATTERN_TYPES,
    PERMISSIONS,
    RESOURCE_TYPES,
    acl_text,
    quota_text,
)

TOPICS_AT_ONCE = 500
_TOPIC, _BROKER = 2, 4
_SET_FOR_TOPIC, _SET_FOR_BROKER, _SET_FOR_ALL_BROKERS = 1, 2, 3
"""ConfigSource of the protocol: what was set for the resource itself, not in a file nor by default."""
_SET_FOR: Mapping[int, int] = {16: 7, 32: 8}
"""Likewise of client metrics and groups, by their resource types."""
_ANY = 1
_NO_AUTHORIZER = 54
"""SECURITY_DISABLED."""


def described_topics(connection: Connection, deadline: float) -> dict[str, dict[str, Any]]:
    """All topics with ids, replicas and leaders; without their configs. Raises NotAuthorised when some are hidden."""
    found: dict[str, dict[str, Any]] = {}
    for topic in all_topics(connection, deadline):
        raise_for(topic.error_code, None, f"describe topic {topic.name}")
        found[topic.name] = {
            "id": _id(topic.topic_id),
            "internal": bool(topic.is_internal),
            "partitions": [
                {"leader": p.leader_id if p.leader_id >= 0 else None, "replicas": list(p.replica_nodes)}
                for p in sorted(topic.partitions, key=lambda p: p.partition_index)
            ],
            "configs": {},
        }
    return found


def topic_configs(connection: Connection, topics: Iterable[str], deadline: float) -> dict[str, dict[str, str]]:
    """What was set for each topic itself."""
    names = sorted(topics)
    found: dict[str, dict[str, str]] = {}
    for at in range(0, len(names), TOPICS_AT_ONCE):
        for name, (values, _) in _set_for(
            connection, _TOPIC, names[at : at + TOPICS_AT_ONCE], _SET_FOR_TOPIC, deadline
        ).items():
            found[name] = values
    return found


def broker_configs(connection: Connection, broker: int | None, deadline: float) -> dict[str, Any]:
    """What was set for a broker while it ran, which it alone answers, or (None) for all; of secrets the names."""
    name = "" if broker is None else str(broker)
    source = _SET_FOR_ALL_BROKERS if broker is None else _SET_FOR_BROKER
    values, secrets = _set_for(connection, _BROKER, [name], source, deadline)[name]
    return {"configs": values, "secrets": secrets}


def _set_for(
    connection: Connection, kind: int, names: Iterable[str], source: int, deadline: float
) -> dict[str, tuple[dict[str, str], list[str]]]:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    request = DescribeConfigsRequest(
        resources=[resource(resource_type=kind, resource_name=n, configuration_keys=None) for n in names],
        include_synonyms=False,
        include_documentation=False,
    )
    found = {}
    for result in connection.call(request, deadline=deadline).results:
        raise_for(
            result.error_code,
            result.error_message,
            f"describe configuration of {result.resource_name or 'all brokers'}",
        )
        mine = [c for c in result.configs if c.config_source == source]
        values = {c.name: c.value for c in mine if not c.is_sensitive and c.value is not None}
        found[result.resource_name] = values, sorted(c.name for c in mine if c.is_sensitive)
    return found


def described_acls(connection: Connection, deadline: float) -> dict[str, dict[str, str]] | None:
    """All ACLs by their texts; None when the cluster has no authorizer."""
    request = DescribeAclsRequest(
        resource_type_filter=_ANY,
        resource_name_filter=None,
        pattern_type_filter=_ANY,
        principal_filter=None,
        host_filter=None,
        operation=_ANY,
        permission_type=_ANY,
    )
    response = connection.call(request, deadline=deadline)
    if response.error_code == _NO_AUTHORIZER:
        return None
    raise_for(response.error_code, response.error_message, "describe ACLs")
    found = [
        {
            "resource_type": RESOURCE_TYPES.get(resource.resource_type, str(resource.resource_type)),
            "resource_name": resource.resource_name,
            "pattern": PATTERN_TYPES.get(resource.pattern_type, str(resource.pattern_type)),
            "principal": acl.principal,
            "host": acl.host,
            "operation": OPERATIONS.get(acl.operation, str(acl.operation)),
            "permission": PERMISSIONS.get(acl.permission_type, str(acl.permission_type)),
        }
        for resource in response.resources
        for acl in resource.acls
    ]
    return {acl_text(acl): acl for acl in found}


def described_quotas(connection: Connection, deadline: float) -> dict[str, dict[str, Any]]:
    """All client quotas by their texts. An entity's name is None where it is the default of its kind."""
    response = connection.call(DescribeClientQuotasRequest(components=[], strict=False), deadline=deadline)
    raise_for(response.error_code, response.error_message, "describe client quotas")
    found = {}
    for entry in response.entries or ():
        entity = {e.entity_type: e.entity_name for e in entry.entity}
        found[quota_text(entity)] = {"entity": entity, "values": {v.key: v.value for v in entry.values}}
    return found


def scram_users(connection: Connection, deadline: float) -> dict[str, list[str]]:
    """Each user's mechanisms. The protocol never hands out salts and keys, and the iterations are left out."""
    response = connection.call(DescribeUserScramCredentialsRequest(users=None), deadline=deadline)
    raise_for(response.error_code, response.error_message, "describe SCRAM users")
    found = {}
    for result in response.results:
        raise_for(result.error_code, result.error_message, f"describe SCRAM user {result.user}")
        found[result.user] = sorted(MECHANISMS.get(c.mechanism, str(c.mechanism)) for c in result.credential_infos)
    return found


def finalised_features(connection: Connection, deadline: float) -> dict[str, int]:
    """The level of every finalised feature, `metadata.version` among them (KIP-584)."""
    request = ApiVersionsRequest(client_software_name="bdops", client_software_version=__version__)
    response = connection.call(request, deadline=deadline)
    raise_for(response.error_code, None, "describe features")
    return {f.name: f.max_version_level for f in response.finalized_features or ()}


def config_resources(connection: Connection, deadline: float) -> dict[str, dict[str, str]]:
    """The configs of groups and of client metrics subscriptions (KIP-1142, Kafka 4.1)."""
    response = connection.call(ListConfigResourcesRequest(resource_types=sorted(CONFIG_RESOURCES)), deadline=deadline)
    raise_for(response.error_code, None, "list configuration resources")
    names: dict[int, list[str]] = defaultdict(list)
    for resource in response.config_resources:
        names[resource.resource_type].append(resource.resource_name)
    return {
        f"{CONFIG_RESOURCES[kind]} {name}": values
        for kind, mine in names.items()
        if kind in CONFIG_RESOURCES
        for name, (values, _) in _set_for(connection, kind, mine, _SET_FOR[kind], deadline).items()
    }


def _id(value: uuid.UUID) -> str:
    """A topic's id as Kafka writes it."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")
