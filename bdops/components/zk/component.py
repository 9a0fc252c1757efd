"""What ZooKeeper tells the rest of bdops about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bdops.components.backup_standing import read_backups
from bdops.components.zk.checks import CHECKS
from bdops.components.zk.ensemble import servers
from bdops.components.zk.gates import RULES, gate_facts
from bdops.components.zk.read import read_state
from bdops.components.zk.state import ZkState
from bdops.core.actor import Actor
from bdops.core.component import Component
from bdops.core.model import Deployment

if TYPE_CHECKING:
    from bdops.hosts.ssh import SshPool


def serving(state: ZkState) -> Mapping[str, bool | None]:
    """Whether each server serves on its own API; None where bdops could not tell."""
    return {s.name: s.serving for s in servers(state)}


def read_all(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> ZkState:
    """The ensemble, and unless only its servers are asked for, how its snapshots stand."""
    state = read_state(deployment, timeout_s=timeout_s, readings=readings)
    if readings is not None and "backups" not in readings:
        return state
    return replace(state, backups=read_backups(deployment, timeout_s=timeout_s))


def actor(deployment: Deployment, pool: SshPool) -> Actor[ZkState]:
    """The ensemble's side of a job."""
    from bdops.components.zk.actor import ZkActor

    return ZkActor(deployment, pool)


COMPONENT = Component(
    name="zk",
    title="ZooKeeper",
    state=ZkState,
    checks=CHECKS,
    read_state=read_all,
    serving=serving,
    gate=gate_facts,
    gate_rules=RULES,
    gate_readings=frozenset({"servers"}),
    actor=actor,
)
