"""Writes the bdops inventory that an Ansible one becomes: hosts folded, components proposed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from bdops.inventory.ranges import fold

_WHOLE: dict[str, tuple[str, ...]] = {
    "zk": ("zk", "zookeeper", "zookeepers", "zookeeper_servers"),
    "kafka": ("kafka", "kafkas", "kafka_servers"),
    "hdfs": ("hdfs",),
    "es": ("es", "elasticsearch", "elastic"),
}
"""Groups that are a component by their name."""

_ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "kafka": {
        "broker": ("broker", "brokers", "kafka_broker", "kafka_brokers"),
        "controller": ("kafka_controller", "kafka_controllers", "kraft_controller", "kraft_controllers"),
    },
    "hdfs": {
        "namenode": ("namenode", "namenodes", "hdfs_namenode", "hdfs_namenodes"),
        "zkfc": ("zkfc", "hdfs_zkfc", "hdfs_zkfcs"),
        "journalnode": ("journalnode", "journalnodes", "hdfs_journalnode", "hdfs_journalnodes"),
        "datanode": ("datanode", "datanodes", "hdfs_datanode", "hdfs_datanodes"),
    },
    "es": {
        "master": ("es_master", "es_masters", "elasticsearch_master", "elasticsearch_masters"),
        "data": ("es_data", "elasticsearch_data"),
        "ingest": ("es_ingest", "elasticsearch_ingest"),
    },
}
"""Groups that are a role of a component by their name."""

_HEAD = """# Imported from an Ansible inventory. Check the components, then: bdops inventory validate -i FILE
"""


class _Dumper(yaml.SafeDumper):
    """Writes shared values out each time: nobody wants anchors in a file to edit."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def inventory_text(
    cluster: str,
    variables: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The YAML text. Hosts with the same section share one range; doubtful components are comments."""
    proposed, doubtful = _components(groups)
    body: dict[str, Any] = {}
    if variables:
        body["vars"] = dict(variables)
    body["hosts"] = _folded(hosts)
    if proposed:
        body["components"] = proposed
    text = _HEAD
    text += "".join(f"# {note}\n" for note in notes)
    text += yaml.dump(
        {"version": 1, "clusters": {cluster: body}},
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=120,
        allow_unicode=True,
    )
    if doubtful:
        text += "# Groups that may be components, and do not say which part of them:\n"
        text += "".join(f"#   {component}: {{hosts: '@{group}'}}\n" for component, group in doubtful)
    return text


def _folded(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    same: dict[str, list[str]] = {}
    for name, section in hosts.items():
        same.setdefault(json.dumps(section, sort_keys=True, default=str), []).append(name)
    return {fold(names): dict(hosts[names[0]]) for names in same.values()}


def _components(groups: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The components that group names make obvious, and the groups that only sound like one."""
    found: dict[str, Any] = {}
    taken: set[str] = set()
    for component, roles in _ROLES.items():
        for role, spellings in roles.items():
            for group in groups:
                if group.lower().replace("-", "_") in spellings:
                    found.setdefault(component, {"roles": {}})["roles"].setdefault(role, {"hosts": f"@{group}"})
                    taken.add(group)
    for component, spellings in _WHOLE.items():
        for group in groups:
            if group.lower().replace("-", "_") in spellings:
                taken.add(group)
                # A group of the whole beside groups of its roles is their parent, as a rule.
                found.setdefault(component, {"hosts": f"@{group}"})
    doubtful = [
        (component, group)
        for group in groups
        if group not in taken
        for component, names in _WHOLE.items()
        if any(group.lower().startswith((f"{name}_", f"{name}-")) for name in names)
    ]
    return found, doubtful
