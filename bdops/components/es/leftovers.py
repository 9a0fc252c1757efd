"""Temporary settings that somebody left behind: allocation switched off, nodes kept from shards or votes. Pure.

What the checks report, `bdops doctor` lists and the gate wants gone is found here once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from bdops.components.es.state import EsState, Member
from bdops.core.actor import Leftover

ENABLE = "cluster.routing.allocation.enable"
REBALANCE = "cluster.routing.rebalance.enable"
FILTERS = tuple(f"cluster.routing.allocation.{kind}." for kind in ("exclude", "include", "require"))
INDEX_ENABLE = "index.routing.allocation.enable"
INDEX_REBALANCE = "index.routing.rebalance.enable"
INDEX_EXCLUDE = "index.routing.allocation.exclude."
VOTING_EXCLUSIONS = "voting_config_exclusions"
CLUSTER = "cluster"
"""What settings of the cluster belong to; those of an index belong to its name."""

Level = Literal["transient", "persistent", "defaults", "index"]
_LEVELS: tuple[Level, ...] = ("transient", "persistent", "defaults")


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A setting that is not at its default. `level` defaults: elasticsearch.yml. `nodes`: whom a filter means."""

    object: str
    level: Level
    name: str
    value: str
    nodes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`persistent/cluster.routing.allocation.enable`; of an index the setting's name alone."""
        return self.name if self.level == "index" else f"{self.level}/{self.name}"


def switched_off(state: EsState) -> Iterator[Left]:
    """Allocation and rebalancing that are not fully on, of the cluster level by level, then of indices."""
    for name in (ENABLE, REBALANCE):
        for level in _LEVELS:
            value = getattr(state.settings, level).get(name) if state.settings else None
            if value is not None and value.lower() != "all":
                yield Left(object=CLUSTER, level=level, name=name, value=value)
    for index in state.indices or ():
        for name in (INDEX_ENABLE, INDEX_REBALANCE):
            value = index.allocation.get(name, "all")
            if value.lower() != "all":
                yield Left(object=index.name, level="index", name=name, value=value)


def cluster_filters(state: EsState) -> Iterator[Left]:
    """Allocation filters of the whole cluster that somebody set."""
    for level in _LEVELS[:2]:
        for name, value in (getattr(state.settings, level) if state.settings else {}).items():
            prefix = next((f for f in FILTERS if name.startswith(f)), None)
            if prefix is not None and value.strip():
                nodes = _matching(state, name.removeprefix(prefix), value)
                yield Left(object=CLUSTER, level=level, name=name, value=value, nodes=nodes)


def index_excludes(state: EsState) -> Iterator[Left]:
    """Nodes that indices are kept from. Other filters of an index are how it is meant to lie."""
    for index in state.indices or ():
        for name, value in index.allocation.items():
            if name.startswith(INDEX_EXCLUDE) and value.strip():
                nodes = _matching(state, name.removeprefix(INDEX_EXCLUDE), value)
                yield Left(object=index.name, level="index", name=name, value=value, nodes=nodes)


def leftovers(state: EsState) -> tuple[Leftover, ...]:
    """All of them for `bdops doctor`. A filter that means a node of the cluster may be a drain: not fixable."""
    found = [_off(left) for left in switched_off(state)]
    found += [_filter(left) for left in (*cluster_filters(state), *index_excludes(state))]
    if state.coordination and state.coordination.exclusions:
        found.append(
            Leftover(
                component="es",
                object=CLUSTER,
                key=VOTING_EXCLUSIONS,
                value=", ".join(state.coordination.exclusions),
                harm="these nodes have no vote: fewer masters may be lost than it seems",
            )
        )
    return tuple(found)


def _off(left: Left) -> Leftover:
    if left.name in (ENABLE, INDEX_ENABLE):
        harm = "shards of the next node that goes, or of the next index, stay unassigned"
    else:
        harm = "shards are not evened out over the nodes"
    return _leftover(left, harm, fixable=left.level != "defaults")


def _filter(left: Left) -> Leftover:
    meant = f"keeps shards off, or on, {', '.join(left.nodes)}" if left.nodes else "means no node of the cluster"
    drain = "; a drain that is under way needs it" if left.nodes else ""
    return _leftover(left, meant + drain, fixable=not left.nodes)


def _leftover(left: Left, harm: str, *, fixable: bool) -> Leftover:
    where = " (elasticsearch.yml)" if left.level == "defaults" else ""
    return Leftover(
        component="es", object=left.object, key=left.key, value=left.value, harm=harm + where, fixable=fixable
    )


def _matching(state: EsState, attribute: str, value: str) -> tuple[str, ...]:
    return tuple(m.name for m in state.members or () if _matches(m, attribute, value))


def _matches(member: Member, attribute: str, value: str) -> bool:
    """Whether one of the comma-separated patterns matches the node. Addresses are compared without their port."""
    address = (member.address or "").rsplit(":", 1)[0].strip("[]")
    actual = {
        "_name": member.name,
        "_id": member.id or "",
        "_ip": address,
        "_host_ip": address,
        "_publish_ip": address,
        "_host": address,
    }.get(attribute, member.attributes.get(attribute, ""))
    return any(actual and fnmatchcase(actual, pattern.strip()) for pattern in value.split(","))
