"""The lab's own way to Elasticsearch: the component's client, on a node of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdops.errors import BdopsError, Unreachable

if TYPE_CHECKING:
    from bdops.components.es.client import Node
    from bdops.lab.lab import Lab


def node_of(lab: Lab, host: str) -> Node:
    """The client of one host's node."""
    from bdops.components.es.client import Node

    for instance in lab.deployment("es").instances:
        if instance.host.name == host:
            return Node(instance)
    raise KeyError(host)


def any_node(lab: Lab) -> Node:
    """A node that answers and knows its master. Raises Unreachable when there is none."""
    from bdops.components.es.client import Node

    for instance in lab.deployment("es").instances:
        node = Node(instance)
        try:
            view = node.get("_cluster/state/master_node", {"local": "true"}, timeout_s=2)
        except BdopsError:
            continue  # Another one may do.
        if view.get("master_node"):
            return node
    raise Unreachable("no Elasticsearch node of the lab answers and knows a master", hint="bdops lab status")
