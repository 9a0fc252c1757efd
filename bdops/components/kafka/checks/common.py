"""What several checks ask of a state."""

from __future__ import annotations

from collections.abc import Iterable

from bdops.components.kafka.state import KafkaState, Partition, Topic, partition_name
from bdops.core.checks import Finding, Severity


def instance_names(state: KafkaState) -> dict[int, str]:
    """The inventory's name of each broker and controller by its number: by `node_id`, else by what it advertises."""
    names: dict[int, str] = {}
    for server in state.expected or ():
        if server.node_id is not None:
            names[server.node_id] = server.name
            continue
        for broker in state.brokers or ():
            if broker.port == server.port and broker.host in (server.host, server.address):
                names[broker.id] = server.name
    return names


def named(brokers: Iterable[int], names: dict[int, str]) -> tuple[str, ...]:
    """Instances for `blames`; a broker that the inventory does not know is `broker 7`."""
    return tuple(names.get(b, f"broker {b}") for b in brokers)


def short(broker: int, names: dict[int, str]) -> str:
    """A broker for people: `3 (node3)`, or `3`."""
    return f"{broker} ({names[broker].rsplit('/', 1)[-1]})" if broker in names else str(broker)


def shorts(brokers: Iterable[int], names: dict[int, str]) -> str:
    return ", ".join(short(b, names) for b in brokers)


def down_brokers(state: KafkaState) -> frozenset[int]:
    """Brokers that serve nothing for sure: fenced, or named by a partition or the inventory and not registered."""
    if state.brokers is None:
        return frozenset()
    registered = {b.id for b in state.brokers}
    named_by_inventory = {s.node_id for s in state.expected or () if s.node_id is not None and "broker" in s.roles}
    named_by_partitions = {b for _, p in state.partitions() for b in p.replicas}
    fenced = {b.id for b in state.brokers if b.fenced}
    return frozenset(fenced | ((named_by_inventory | named_by_partitions) - registered))


def live_brokers(state: KafkaState) -> tuple[int, ...]:
    """The registered brokers that are not fenced."""
    return tuple(b.id for b in state.brokers or () if not b.fenced)


def adding_replicas(state: KafkaState) -> dict[str, frozenset[int]]:
    """The brokers that a reassignment in flight is still adding, by partition."""
    return {r.partition: frozenset(r.adding) for r in state.reassignments or ()}


def min_isr(state: KafkaState, topic: str) -> int | None:
    """The topic's effective min.insync.replicas; None when the state does not have it."""
    value = (state.topic_configs or {}).get(topic, {}).get("min.insync.replicas")
    if value is None:
        value = (state.broker_configs or {}).get("", {}).get("min.insync.replicas")
    return int(value) if value is not None else None


def name_of(topic: Topic, partition: Partition) -> str:
    return partition_name(topic.name, partition.id)


def not_of(state: KafkaState, reading: str) -> str:
    """For the summary of a check that compares servers, and judges those that it has: `; not known of node2`."""
    prefix = f"{reading}/"
    missing = [key.rsplit("/", 1)[-1] for key in state.unread if key.startswith(prefix)]
    return f"; not known of {', '.join(missing)}" if missing else ""


def unread_parts(state: KafkaState, reading: str) -> tuple[Finding, ...]:
    """An UNKNOWN finding for each server whose part of a reading is missing."""
    prefix = f"{reading}/"
    return tuple(
        Finding(key.removeprefix(prefix), Severity.UNKNOWN, f"not known: {why}", (key.removeprefix(prefix),))
        for key, why in state.unread.items()
        if key.startswith(prefix)
    )
