"""The lab's own way to Elasticsearch: the component's client, on a node of the lab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bdops.core.model import SecretRef
from bdops.errors import BdopsError, Unreachable
from bdops.lab import security

if TYPE_CHECKING:
    from bdops.components.es.client import Node
    from bdops.core.model import Instance
    from bdops.lab.lab import Lab


def _instances(lab: Lab) -> Sequence[Instance]:
    """As the inventory has them; of a secured lab for its own administrator, as bdops' user may not write documents."""
    found = lab.deployment("es").instances
    if not lab.secure:
        return found
    login: dict[str, Any] = {
        "user": security.ADMIN,
        "password": SecretRef(file=str(security.password_file(lab, security.ADMIN))),
    }
    return [replace(i, settings=replace(i.settings, **login)) for i in found]


def node_of(lab: Lab, host: str) -> Node:
    """The client of one host's node."""
    from bdops.components.es.client import Node

    for instance in _instances(lab):
        if instance.host.name == host:
            return Node(instance)
    raise KeyError(host)


def any_node(lab: Lab) -> Node:
    """A node that answers and knows its master. Raises Unreachable when there is none."""
    from bdops.components.es.client import Node

    for instance in _instances(lab):
        node = Node(instance)
        try:
            view = node.get("_cluster/state/master_node", {"local": "true"}, timeout_s=2)
        except BdopsError:
            continue  # Another one may do.
        if view.get("master_node"):
            return node
    raise Unreachable("no Elasticsearch node of the lab answers and knows a master", hint="bdops lab status")
