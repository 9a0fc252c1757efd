"""May these nodes stop now? Elasticsearch's rules over one state. Pure.

A copy of a shard counts when the cluster has it as started (a relocating one is in sync until its move is done) on
a node that is a member and answers for itself. What is silent is taken for lost by the others' rules; what is known
to be down is no longer there to be hurt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bdops.components.es.leftovers import ENABLE, INDEX_ENABLE
from bdops.components.es.state import EsState, Index, Server, Shard
from bdops.components.es.watermarks import watermarks
from bdops.core.gate import Budget, GateFacts, Obstacle, Verdict, with_objects
from bdops.core.quorum import Quorum
from bdops.core.units import format_size, plural

NEEDED = (
    *("cluster_uuid", "master", "members", "shards", "indices", "coordination", "running_snapshots"),
    *("expected", "servers", "health", "settings"),
)
"""The readings without which nothing can be said."""

RULES: Mapping[str, str] = {
    "ES_READING": "a reading that the gate needs is missing",
    "ES_UNREADABLE": "a node would not tell about itself (login, privilege, an odd answer)",
    "ES_SILENT": "a node neither answers nor refuses: it may hang, so no other one is stopped",
    "ES_STRANGER": "the cluster has a node that the inventory does not know",
    "ES_MASTER_DISPUTED": "nodes take different ones for the elected master",
    "ES_HEALTH": "the elected master does not work off its queue in time, so what it says may be old",
    "ES_RED": "a primary shard is not active; one that was not when the plan was made may be accepted",
    "ES_LAST_COPY": "a shard would be left without a started copy",
    "ES_NO_REPLICA": "an index has no replicas: it is away while its node is",
    "ES_WRITE_WAIT": "fewer copies than `index.write.wait_for_active_shards` would be left: writes wait, then fail",
    "ES_QUORUM": "fewer than a majority of the voting configuration would be left",
    "ES_ONLY_MASTER": "the voting configuration is one node: without it the cluster stands still",
    "ES_SNAPSHOT": "a running snapshot still has to write shards of the node, and would become PARTIAL",
    "ES_RECOVERING": "shards are being recovered to the node, which would be for nothing",
    "ES_FLOOD": "a disk is over the flood stage watermark",
    "ES_ALLOCATION_LEFT": "allocation was not fully on before: replicas would not come back",
    "ES_INDEX_ALLOCATION": "an index has its allocation switched off: its copies would not come back",
}
"""Every rule and what it means; docs/es.md has them as a table."""


def gate_facts(state: EsState, baseline: Mapping[str, Any] | None = None) -> GateFacts:
    """What may go down in this state. `baseline` is the actor's, of when the plan was made; without one all is new."""
    names = frozenset(n.instance for n in state.expected or ())
    nodes = _Nodes.of(state)
    missing = [r for r in NEEDED if getattr(state, r) is None]
    if missing:
        return GateFacts(names=names, obstacles=(*_unread(state, missing, nodes), *_unanswered(nodes)))
    before = baseline or {}
    return GateFacts(
        names=names,
        budgets=(
            *_copies(state, nodes),
            *_red(state, nodes, before),
            *_quorum(state, nodes),
            *_snapshots(state, nodes),
            *_recoveries(state, nodes),
            *_index_allocation(state, nodes),
        ),
        obstacles=(
            *_unanswered(nodes),
            *_strangers(state, nodes),
            *_disputed(state, nodes),
            *_health(state, nodes),
            *_flood(state, nodes),
            *_allocation(state, nodes, before),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """The nodes of one state by name. `up` serve; `live` are those that a stop could take something from.

    `targets` are the live ones' instances: what forbids a stop does not forbid to mend what is down.
    """

    instances: Mapping[str, str]
    servers: Mapping[str, Server]
    up: frozenset[str]
    live: frozenset[str]
    targets: frozenset[str]

    @classmethod
    def of(cls, state: EsState) -> _Nodes:
        instances = {n.name: n.instance for n in state.expected or ()}
        servers = {s.name: s for s in state.servers or ()}
        members = {m.name for m in state.members or ()}
        # A stranger cannot be asked; the cluster counts it.
        up = {n for n in members if n not in instances or (n in servers and _serves(servers[n]))}
        down = {n for n, s in servers.items() if s.refused}
        live = members - down if state.members is not None else instances.keys() - down
        targets = frozenset(instances[n] for n in live if n in instances)
        return cls(instances=instances, servers=servers, up=frozenset(up), live=frozenset(live), targets=targets)

    def named(self, names: Iterable[str]) -> frozenset[str]:
        """The inventory's instances among these nodes."""
        return frozenset(self.instances[n] for n in names if n in self.instances)


def _serves(server: Server) -> bool:
    return server.error is None and server.master != ""


def _unread(state: EsState, missing: Iterable[str], nodes: _Nodes) -> Iterator[Obstacle]:
    down = {s.instance for s in nodes.servers.values() if s.refused}
    for reading in missing:
        yield Obstacle(
            rule="ES_READING",
            object=reading,
            harm=f"not known: {state.unread.get(reading, 'absent from the state')}",
            verdict=Verdict.UNKNOWN,
            instances=frozenset(nodes.instances.values()) - down,
        )


def _unanswered(nodes: _Nodes) -> Iterator[Obstacle]:
    for server in nodes.servers.values():
        if server.error is None or server.refused:
            continue
        if server.error_kind == "unreachable":
            yield Obstacle(
                rule="ES_SILENT",
                object=server.instance,
                harm=f"it may hang, and what it holds may be lost: {server.error}",
                verdict=Verdict.UNKNOWN,
                instances=nodes.targets - {server.instance},
                acceptable=True,
                about=server.instance,
            )
        else:
            yield Obstacle(
                rule="ES_UNREADABLE",
                object=server.instance,
                harm=server.error,
                verdict=Verdict.UNKNOWN,
                instances=nodes.targets,
            )


def _strangers(state: EsState, nodes: _Nodes) -> Iterator[Obstacle]:
    known = {n.name for n in state.expected or ()}
    for member in state.members or ():
        if member.name not in known:
            yield Obstacle(
                rule="ES_STRANGER",
                object=member.name,
                harm=f"it is in the cluster and not in the inventory ({member.address or 'address not known'})",
                verdict=Verdict.UNKNOWN,
                instances=nodes.targets,
                acceptable=True,
            )


def _disputed(state: EsState, nodes: _Nodes) -> Iterator[Obstacle]:
    for server in nodes.servers.values():
        if server.error is None and server.master and server.master != state.master:
            yield Obstacle(
                rule="ES_MASTER_DISPUTED",
                object=server.instance,
                harm=f"it takes {server.master} for the elected master, the cluster's state names {state.master}",
                verdict=Verdict.WAIT,
                instances=nodes.targets,
            )


def _health(state: EsState, nodes: _Nodes) -> Iterator[Obstacle]:
    assert state.health is not None
    if state.health.timed_out:
        waiting = f", {plural(state.pending_tasks.count, 'task')} in it" if state.pending_tasks else ""
        yield Obstacle(
            rule="ES_HEALTH",
            object=state.master or "elected master",
            harm=f"it did not get through its queue in time{waiting}; last seen {state.health.status}",
            verdict=Verdict.WAIT,
            instances=nodes.targets,
        )
    # The colour counts shards that the routing table may not show any more; without names it is still red.
    if state.health.status == "red" and not any(s.primary and not s.is_active for s in state.shards or ()):
        yield Obstacle(
            rule="ES_RED",
            object="cluster",
            harm="red, and the routing table does not show why: the two were read at different moments",
            verdict=Verdict.WAIT,
            instances=nodes.targets,
        )


def _red(state: EsState, nodes: _Nodes, baseline: Mapping[str, Any]) -> Iterator[Budget]:
    old = baseline.get("red")
    groups: dict[tuple[bool, bool], list[str]] = defaultdict(list)
    for shard in state.shards or ():
        if shard.primary and not shard.is_active:
            name = f"{shard.index}[{shard.shard}]"
            # A new index's primaries are without a node for a moment.
            new = shard.unassigned is not None and shard.unassigned.reason == "INDEX_CREATED"
            groups[new or shard.state == "INITIALIZING", old is None or name in old].append(name)
    for (starting, acceptable), names in sorted(groups.items()):
        yield Budget(
            rule="ES_RED",
            members=nodes.targets,
            spare=0,
            objects=tuple(names),
            harm=f"the cluster is red: {plural(len(names), 'primary', 'primaries')} "
            + ("being started" if starting else "without a node"),
            verdict=Verdict.WAIT if starting else Verdict.REFUSE,
            acceptable=acceptable,
        )


def _copies(state: EsState, nodes: _Nodes) -> Iterator[Budget]:
    """One budget for all shards of one kind with the same copies on the same nodes."""
    indices = {i.name: i for i in state.indices or ()}
    copies: dict[tuple[str, int], list[Shard]] = defaultdict(list)
    for shard in state.shards or ():
        copies[shard.index, shard.shard].append(shard)
    shared: dict[Budget, list[str]] = defaultdict(list)
    for (index, number), every in copies.items():
        for budget in _of_shard(indices.get(index) or Index(name=index), every, nodes):
            if len(budget.members) > budget.spare:
                shared[budget].append(f"{index}[{number}]")
    yield from with_objects(shared)


def _of_shard(index: Index, copies: list[Shard], nodes: _Nodes) -> Iterator[Budget]:
    """What may go of a shard's copies, without its name."""
    holders = {s.node for s in copies if s.is_active and s.node is not None} & nodes.live
    there = holders & nodes.up
    if not holders:
        return  # Red already; nothing of it is left to be taken.
    silent = holders - there
    if len(copies) == 1:
        rule, acceptable, verdict = "ES_NO_REPLICA", True, Verdict.REFUSE
        harm = "no replicas: neither readable nor writable while its node is down"
        if index.from_snapshot:
            harm = "mounted from a snapshot, no replicas: not searchable until it is mounted again; nothing is lost"
    else:
        rule, acceptable = "ES_LAST_COPY", False
        mending = any(s.state == "INITIALIZING" or (s.unassigned and s.unassigned.delayed) for s in copies)
        verdict = Verdict.WAIT if mending else Verdict.REFUSE
        harm = f"{len(there)} of {plural(len(copies), 'copy', 'copies')} started" + (
            ", others are on their way" if mending else ""
        )
    if there:
        members, spare = nodes.named(there), len(there) - 1
    else:
        harm = f"its started copies are on nodes that do not answer; {harm}"
        members, spare = nodes.named(silent), 0
    yield Budget(rule=rule, members=members, spare=spare, harm=harm, verdict=verdict, acceptable=acceptable)
    wanted = int(index.active_for_writes) if index.active_for_writes.isdigit() else len(copies)  # `all`
    if wanted > 1 and index.open:
        harm = f"{len(there)} of {plural(len(copies), 'copy', 'copies')} started, writes want {wanted}"
        spare = len(there) - wanted
        yield Budget(rule="ES_WRITE_WAIT", members=nodes.named(there), spare=spare, harm=harm, acceptable=True)


def _quorum(state: EsState, nodes: _Nodes) -> Iterator[Budget]:
    assert state.coordination is not None
    voting = state.coordination.voting
    if not voting:
        yield Budget(
            rule="ES_QUORUM",
            members=nodes.targets,
            spare=0,
            objects=("voting configuration",),
            harm="it is empty: the cluster has never formed",
            verdict=Verdict.UNKNOWN,
        )
        return
    quorum = Quorum.of(voting, nodes.up)
    sole = len(quorum.configured) == 1
    yield Budget(
        rule="ES_ONLY_MASTER" if sole else "ES_QUORUM",
        members=nodes.named(quorum.caught_up),
        spare=quorum.spare,
        objects=("voting configuration",),
        harm=f"{len(quorum.caught_up)} of {plural(len(quorum.configured), 'voter')} up, {quorum.needed} needed",
        acceptable=sole,
    )


def _snapshots(state: EsState, nodes: _Nodes) -> Iterator[Budget]:
    for snapshot in state.running_snapshots or ():
        for node, shards in snapshot.writing.items():
            if node in nodes.instances and node in nodes.live:
                yield Budget(
                    rule="ES_SNAPSHOT",
                    members=nodes.named((node,)),
                    spare=0,
                    objects=shards,
                    harm=f"{plural(len(shards), 'shard')} on {node} not yet in {snapshot.repository}/{snapshot.name}",
                    verdict=Verdict.WAIT,
                    acceptable=True,
                )


def _recoveries(state: EsState, nodes: _Nodes) -> Iterator[Budget]:
    recovering: dict[str, list[str]] = defaultdict(list)
    for shard in state.shards or ():
        if shard.state == "INITIALIZING" and shard.node in nodes.instances and shard.node in nodes.live:
            recovering[shard.node].append(shard.name)
    for node, shards in recovering.items():
        yield Budget(
            rule="ES_RECOVERING",
            members=nodes.named((node,)),
            spare=0,
            objects=tuple(shards),
            harm=f"{plural(len(shards), 'shard')} being recovered to {node}",
            verdict=Verdict.WAIT,
            acceptable=True,
        )


def _index_allocation(state: EsState, nodes: _Nodes) -> Iterator[Budget]:
    off = {
        i.name: f"{INDEX_ENABLE} is {i.allocation[INDEX_ENABLE]}"
        for i in state.indices or ()
        if i.allocation.get(INDEX_ENABLE, "all").lower() != "all"
    }
    holders: dict[str, set[str]] = defaultdict(set)
    for shard in state.shards or ():
        if shard.index in off and shard.is_active and shard.node in nodes.live:
            holders[shard.index].add(shard.node)
    for index, found in holders.items():
        yield Budget(
            rule="ES_INDEX_ALLOCATION",
            members=nodes.named(found),
            spare=0,
            objects=(index,),
            harm=f"{off[index]}: its copies would not come back by themselves",
        )


def _allocation(state: EsState, nodes: _Nodes, baseline: Mapping[str, Any]) -> Iterator[Obstacle]:
    """What was in force before this job (which switches it to `primaries` itself) is what will be in force after."""
    assert state.settings is not None
    before = baseline["allocation"] if "allocation" in baseline else state.settings.value(ENABLE)
    if before is None or before.lower() == "all":
        return
    data = nodes.named(m.name for m in state.members or () if m.holds_data)
    yield Obstacle(
        rule="ES_ALLOCATION_LEFT",
        object=ENABLE,
        harm=f"{before}: replicas of a restarted node would not come back; `bdops doctor` names what was left behind",
        verdict=Verdict.REFUSE,
        instances=nodes.targets & data,
    )


def _flood(state: EsState, nodes: _Nodes) -> Iterator[Obstacle]:
    assert state.settings is not None
    try:
        marks = watermarks(state.settings)
    except (KeyError, ValueError) as e:
        yield Obstacle(
            rule="ES_FLOOD",
            object="watermarks",
            harm=f"they cannot be read: {e}",
            verdict=Verdict.UNKNOWN,
            instances=nodes.targets,
            acceptable=True,
        )
        return
    if not marks.enabled:
        return
    data = {m.name: m for m in state.members or () if m.holds_data}
    for server in nodes.servers.values():
        if server.name not in nodes.up or server.name not in data:
            continue
        if server.disks is None:
            yield Obstacle(
                rule="ES_FLOOD",
                object=server.instance,
                harm="its disks are not known",
                verdict=Verdict.UNKNOWN,
                instances=nodes.targets,
                acceptable=True,
            )
        frozen = {r for r in data[server.name].roles if r.startswith("data")} == {"data_frozen"}
        for disk in server.disks or ():
            if marks.exceeded(disk, frozen=frozen) == "flood_stage":
                yield Obstacle(
                    rule="ES_FLOOD",
                    object=f"{server.name}:{disk.path}",
                    harm=f"{format_size(disk.available_bytes)} free of {format_size(disk.total_bytes)}, "
                    "over the flood stage: indices there are read-only, and nothing can be recovered to it",
                    verdict=Verdict.REFUSE,
                    instances=nodes.targets,
                    acceptable=True,
                )
