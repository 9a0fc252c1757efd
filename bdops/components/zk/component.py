"""What ZooKeeper tells the rest of bdops about itself."""

from __future__ import annotations

from collections.abc import Mapping

from bdops.components.zk.checks import CHECKS
from bdops.components.zk.ensemble import servers
from bdops.components.zk.read import read_state
from bdops.components.zk.state import ZkState
from bdops.core.component import Component


def serving(state: ZkState) -> Mapping[str, bool | None]:
    """Whether each server serves on its own API; None where bdops could not tell."""
    return {s.name: s.serving for s in servers(state)}


COMPONENT = Component(
    name="zk", title="ZooKeeper", state=ZkState, checks=CHECKS, read_state=read_state, serving=serving
)
