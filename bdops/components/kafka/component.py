"""Kafka, as the rest of bdops knows it."""

from __future__ import annotations

from collections.abc import Mapping

from bdops.components.kafka.checks import CHECKS
from bdops.components.kafka.checks.common import instance_names
from bdops.components.kafka.state import KafkaState
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
    """Observe the cluster; the client library is loaded here, not by those who only look at a saved state."""
    from bdops.components.kafka.read import read_state as read

    return read(deployment, timeout_s=timeout_s, readings=readings)


COMPONENT = Component(
    name="kafka", title="Kafka", state=KafkaState, checks=CHECKS, read_state=read_state, serving=serving
)
