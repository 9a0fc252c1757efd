"""Kafka, as the rest of bdops knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bdops.components.backup_standing import read_backups
from bdops.components.kafka.checks import CHECKS
from bdops.components.kafka.checks.common import instance_names
from bdops.components.kafka.gates import GATE_READINGS, RULES, gate_facts
from bdops.components.kafka.reassign.obstacles import RULES as MOVE_RULES
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import Actor
from bdops.core.component import Component
from bdops.core.model import Deployment


def serving(state: KafkaState) -> Mapping[str, bool | None]:
    """Whether each server answers and, if it is a broker, is registered and unfenced; None where that is unknown."""
    answers = {s.name: s.error is None for s in state.servers or ()}
    names = instance_names(state)
    fenced = {names[b.id]: b.fenced for b in state.brokers or () if b.id in names}
    result: dict[str, bool | None] = {}
    for server in state.expected or ():
        if server.name not in answers:
            result[server.name] = None
        elif not answers[server.name] or "broker" not in server.roles:
            result[server.name] = answers[server.name]
        elif state.brokers is None:
            result[server.name] = None
        else:
            result[server.name] = not fenced.get(server.name, True)
    return result


def read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> KafkaState:
    """Observe the cluster, and unless only some readings are asked for, how the backups of its metadata stand.

    The client library is loaded here, not by those who only look at a saved state.
    """
    from bdops.components.kafka.read import read_state as read

    state = read(deployment, timeout_s=timeout_s, readings=readings)
    if readings is not None and "backups" not in readings:
        return state
    return replace(state, backups=read_backups(deployment, timeout_s=timeout_s))


def actor(deployment: Deployment, pool: object) -> Actor[KafkaState]:
    """The cluster's side of a job."""
    from bdops.components.kafka.actor import KafkaActor

    return KafkaActor(deployment)


COMPONENT = Component(
    name="kafka",
    title="Kafka",
    state=KafkaState,
    checks=CHECKS,
    read_state=read_state,
    serving=serving,
    gate=gate_facts,
    gate_rules={**RULES, **MOVE_RULES},
    gate_readings=GATE_READINGS,
    actor=actor,
)
