"""Elasticsearch, as the rest of bdops sees it."""

from __future__ import annotations

from collections.abc import Mapping

from bdops.components.es.checks import CHECKS
from bdops.components.es.gates import NEEDED, RULES, gate_facts
from bdops.components.es.state import EsState
from bdops.core.actor import Actor
from bdops.core.component import Component
from bdops.core.model import Deployment


def _read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> EsState:
    # The transport is imported when a cluster is read, not when a saved state is judged.
    from bdops.components.es.read import read_state

    return read_state(deployment, timeout_s=timeout_s, readings=readings)


def serving(state: EsState) -> Mapping[str, bool | None]:
    """A node serves when it answers and is in the cluster; unknown when it would not have us."""
    if state.servers is None:
        return {n.instance: None for n in state.expected or ()}
    members = None if state.members is None else {m.name for m in state.members}
    answers: dict[str, bool | None] = {}
    for server in state.servers:
        if server.error is not None:
            answers[server.instance] = False if server.error_kind == "unreachable" else None
        elif server.master == "":
            answers[server.instance] = False
        else:
            answers[server.instance] = None if members is None else server.name in members
    return answers


def _actor(deployment: Deployment, pool: object) -> Actor[EsState]:
    from bdops.components.es.actor import EsActor

    return EsActor(deployment)


COMPONENT: Component[EsState] = Component(
    name="es",
    title="Elasticsearch",
    state=EsState,
    checks=CHECKS,
    read_state=_read_state,
    serving=serving,
    gate=gate_facts,
    gate_rules=RULES,
    gate_readings=frozenset(NEEDED) - {"expected"},
    actor=_actor,
)
