"""What HDFS tells the rest of bdops about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bdops.components.hdfs.checks import CHECKS
from bdops.components.hdfs.gates import READINGS, RULES, gate_facts
from bdops.components.hdfs.read import read_state
from bdops.components.hdfs.state import HdfsState, instance_of
from bdops.core.actor import Actor
from bdops.core.component import Component
from bdops.core.model import Deployment

if TYPE_CHECKING:
    from bdops.hosts.ssh import SshPool


def serving(state: HdfsState) -> Mapping[str, bool | None]:
    """Whether each instance serves: NameNodes in a state to, DataNodes by what the active NameNode hears."""
    answers: dict[str, bool | None] = {expected.name: None for expected in state.expected or ()}
    for namenode in state.namenodes or ():
        answers[namenode.instance] = namenode.state in ("active", "standby", "observer")
    for controller in state.zkfcs or ():
        answers[controller.instance] = controller.error is None
    for journal in state.journalnodes or ():
        answers[journal.instance] = journal.error is None
    if state.datanodes is not None:
        for expected in state.expected_of("datanode"):
            answers[expected.name] = False
        for datanode in state.datanodes:
            if expected_one := instance_of(state, datanode):
                answers[expected_one.name] = datanode.live
    return answers


def actor(deployment: Deployment, pool: SshPool) -> Actor[HdfsState]:
    """The side of a job; imported when there is one."""
    from bdops.components.hdfs.actor import HdfsActor

    return HdfsActor(deployment, pool)


COMPONENT = Component(
    name="hdfs",
    title="HDFS",
    state=HdfsState,
    checks=CHECKS,
    read_state=read_state,
    serving=serving,
    gate=gate_facts,
    gate_rules=RULES,
    gate_readings=READINGS,
    actor=actor,
)
