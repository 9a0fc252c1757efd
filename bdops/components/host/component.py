"""What hosts tell the rest of bdops about themselves. Of the shape of a component, but read from a Cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from bdops.components.host.checks import CHECKS
from bdops.components.host.read import read_state
from bdops.components.host.state import HostState
from bdops.core.component import Component, ReadState


def serving(state: HostState) -> Mapping[str, bool | None]:
    """Hosts serve nothing of their own."""
    return {}


COMPONENT = Component(
    name="host",
    title="Hosts",
    state=HostState,
    checks=CHECKS,
    # Its first argument is a Cluster: whoever reads hosts knows that.
    read_state=cast("ReadState[HostState]", read_state),
    serving=serving,
)
