"""In which order nodes are restarted, what that means for clients, and when a node is whole again. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bdops.components.es.component import serving
from bdops.components.es.leftovers import ENABLE
from bdops.components.es.state import EsState, ExpectedNode, Shard
from bdops.core.actor import DONE, Progress, pending
from bdops.core.plan import Target
from bdops.core.units import listed, plural

ALLOCATION_PRIMARIES = "allocation-primaries"
FLUSH = "flush"
ALLOCATION_BACK = "allocation-back"

_TIERS = (("data_frozen",), ("data_cold",), ("data_warm",), ("data_hot", "data_content", "data"))
"""From the tier whose loss hurts least. A node of several tiers is ranked by the last of them."""
_RANK_WITHOUT_DATA = len(_TIERS) + 1
_RANK_MASTER = _RANK_WITHOUT_DATA + 1
_RANK_ELECTED = _RANK_MASTER + 1
MASTER = "master"


def roles_of(state: EsState, node: ExpectedNode) -> tuple[str, ...]:
    """The node's own roles where it is in the cluster, else the inventory's; where that has none, all are likely."""
    there = next((m.roles for m in state.members or () if m.name == node.name), None)
    return there if there is not None else node.roles or ("data", MASTER)


def holds_data(roles: Iterable[str]) -> bool:
    return any(role == "data" or role.startswith("data_") for role in roles)


def targets(state: EsState, instances: Collection[str], verb: str) -> tuple[Target, ...]:
    """What does not serve comes first (rank 0), then tier by tier, nodes without data, masters, the elected one."""
    wanted = set(instances)
    up = serving(state)
    found = [_target(state, n, verb, up.get(n.instance)) for n in state.expected or () if n.instance in wanted]
    return tuple(sorted(found, key=lambda t: t.rank))


def _target(state: EsState, node: ExpectedNode, verb: str, serves: bool | None) -> Target:
    roles = roles_of(state, node)
    elected = state.master == node.name
    note = []
    if serves is False:
        rank = 0
        note.append("does not serve now")
    elif elected:
        rank = _RANK_ELECTED
    elif MASTER in roles:
        rank = _RANK_MASTER
    elif holds_data(roles):
        rank = 1 + max(i for i, tier in enumerate(_TIERS) for role in roles if role in tier)
    else:
        rank = _RANK_WITHOUT_DATA
    held = sum(s.node == node.name for s in state.shards or ())
    if held:
        note.append(plural(held, "shard"))
    if elected:
        note.append("elected master")
    return Target(
        name=node.instance,
        instance=node.instance,
        acts=_acts(verb, holds_data(roles)),
        rank=rank,
        rack=node.rack,
        role=MASTER if MASTER in roles else "data" if holds_data(roles) else "other",
        leader_last=MASTER in roles,
        note=", ".join(note),
    )


def _acts(verb: str, data: bool) -> tuple[str, ...]:
    """A node that is stopped for good, as far as we know, leaves its replicas to be built anew elsewhere."""
    if verb == "restart" and data:
        return (ALLOCATION_PRIMARIES, FLUSH, "restart", ALLOCATION_BACK)
    if verb == "stop" and data:
        return (FLUSH, "stop")
    return (verb,)


def consequences(state: EsState, instances: Collection[str], verb: str) -> tuple[str, ...]:
    """Elections, primaries that move, indices without a replica."""
    if verb == "start":
        return ()
    nodes = {n.name: n.instance for n in state.expected or () if n.instance in set(instances)}
    shards = [s for s in state.shards or () if s.node in nodes]
    found = []
    primaries = sum(s.primary for s in shards)
    if primaries:
        found.append(f"{plural(primaries, 'primary', 'primaries')} of {plural(len(shards), 'shard')} move to replicas")
    alone = sorted({s.index for s in shards} & {i.name for i in state.indices or () if i.replicas == 0})
    if alone:
        found.append(f"without replicas, away while their node is: {listed(alone)}")
    if state.master in nodes:
        found.append(f"one election: {state.master} is the elected master")
    if verb == "restart" and shards:
        found.append(f"{ENABLE} is `primaries` meanwhile: new replicas wait for a node's return")
    elif shards:
        found.append("replicas are built anew elsewhere after index.unassigned.node_left.delayed_timeout (1 m)")
    return tuple(found)


def baseline(state: EsState) -> Mapping[str, Any]:
    """What later states are compared with: JSON values."""
    up = serving(state)
    lost = Counter(_lost_by(s) for s in unassigned(state) if _left_with_its_node(s))
    return {
        "unassigned": len(unassigned(state)),
        "lost_by": {n.name: lost[n.name] for n in state.expected or () if up.get(n.instance) and lost[n.name]},
        "ids": {m.id: m.name for m in state.members or () if m.id},
        "red": sorted({f"{s.index}[{s.shard}]" for s in state.shards or () if s.primary and not s.is_active}),
        "allocation": (state.settings.value(ENABLE) if state.settings else None) or "all",
        "starts": {m.name: m.ephemeral_id for m in state.members or ()},
    }


def down(state: EsState) -> Mapping[str, str]:
    """Who does not answer, or is not counted in by the elected master.

    A node that answers and knows no master is not down by itself: while there is an election that is true of all.
    """
    members = None if state.members is None else {m.name for m in state.members}
    found = {}
    for server in state.servers or ():
        if server.error is not None:
            found[server.instance] = server.error
        elif members is not None and server.name not in members:
            found[server.instance] = f"it answers, and is not in the cluster of {state.master}"
    if state.servers is None:
        found = {n.instance: "it was not asked" for n in state.expected or ()}
    return found


def leads(state: EsState, instance: str) -> bool | None:
    """Whether its node is the elected master; None when no one tells."""
    if not state.master:
        return None
    return any(n.instance == instance and n.name == state.master for n in state.expected or ())


def in_cluster(state: EsState, instance: str, started: Mapping[str, Any] | None) -> Progress:
    """Whether its node answers, follows the elected master and is counted in by it.

    `started`: by the nodes' names what their starts were before (`ephemeral_id`); the node must have another one now.
    """
    server = next((s for s in state.servers or () if s.instance == instance), None)
    if server is None:
        return pending("a place in the state")
    if server.error is not None:
        return pending(f"its answer ({server.error})")
    if not server.master:
        return pending("it to find an elected master")
    if state.members is None:
        return pending(f"the cluster's answer ({state.unread.get('members', 'not read')})")
    member = next((m for m in state.members if m.name == server.name), None)
    if member is None or server.master != state.master:
        return pending(f"it to join the cluster of {state.master}")
    if started and member.ephemeral_id and started.get(server.name) == member.ephemeral_id:
        return pending(f"the cluster to see its new start (not {member.ephemeral_id})")
    return DONE


def shards_back(state: EsState, instance: str, baseline: Mapping[str, Any]) -> Progress:
    """Whether no copy that left with the node is missing, and no more are without a node than before.

    Copies that left with another node of the inventory are that node's affair.
    """
    if state.shards is None:
        return pending(f"the routing table ({state.unread.get('shards', 'not read')})")
    ids = baseline.get("ids", {})
    names = {n.name: n.instance for n in state.expected or ()}
    mine = next((n for n, i in names.items() if i == instance), "")
    coming = [s for s in state.shards if s.node == mine and s.state == "INITIALIZING"]
    if coming:
        return pending(f"{plural(len(coming), 'shard')} that it is starting: {_some(coming)}")
    lost: dict[str, list[Shard]] = defaultdict(list)
    for shard in unassigned(state):
        # A node that is away goes by its id; one that left on its own accord is told by its name.
        node = _lost_by(shard) or ""
        lost[ids.get(node, node)].append(shard)
    left = [s for s in lost[mine] if _left_with_its_node(s)]
    if len(left) > int(baseline.get("lost_by", {}).get(mine, 0)):
        return pending(f"{plural(len(left), 'copy', 'copies')} of its shards to be assigned: {_some(left)}")
    rest = [s for node, shards in lost.items() if node not in names or node == mine for s in shards]
    allowed = int(baseline.get("unassigned", 0))
    if len(rest) > allowed:
        return pending(f"a node for {len(rest)} shards, {allowed} of which had none before: {_some(rest)}")
    return DONE


def unassigned(state: EsState) -> list[Shard]:
    """All copies without a node."""
    return [s for s in state.shards or () if s.state == "UNASSIGNED"]


def _left_with_its_node(shard: Shard) -> bool:
    return shard.unassigned is not None and shard.unassigned.reason in ("NODE_LEFT", "NODE_RESTARTING")


def _lost_by(shard: Shard) -> str | None:
    return shard.unassigned.last_node if shard.unassigned else None


def _some(shards: list[Shard]) -> str:
    return listed((s.name for s in shards), 3)
