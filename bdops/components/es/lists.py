"""Status and lists of an Elasticsearch cluster: pure, from a state to a Report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from bdops.components.es.checks.shards import DECIDERS
from bdops.components.es.state import EsState, Explanation, Server, Shard
from bdops.core.result import Column, Report, Status, Table
from bdops.core.units import plural
from bdops.errors import BdopsError, NotAuthorised, StateUnknown, Unreachable, UsageError

STATUS_READINGS = frozenset({"health", "shards", "members", "servers", "master", "settings", "cluster_uuid"})
NODES_READINGS = frozenset({"members", "servers", "shards", "master"})
SHARDS_READINGS = frozenset({"shards", "sizes"})
WHY_READINGS = frozenset({"shards", "servers"})

_STATUS: Mapping[str, Status] = {"green": "ok", "yellow": "warning", "red": "critical"}


def status(state: EsState) -> Report:
    """The cluster at a glance: colour, master, nodes, shards, and the indices that are not green."""
    health = state.health
    facts: dict[str, Any] = {
        "cluster": state.cluster,
        "health": health.status if health and not health.timed_out else "unknown",
        "master": state.master or ("none" if state.master == "" else "unknown"),
        "nodes": _nodes_fact(state),
    }
    if health:
        facts |= {
            "active_shards": health.active_shards,
            "relocating_shards": health.relocating_shards,
            "initializing_shards": health.initializing_shards,
            "unassigned_shards": health.unassigned_shards,
        }
    if state.settings:
        left = {**state.settings.persistent, **state.settings.transient}
        facts["settings"] = ", ".join(f"{k}={v}" for k, v in sorted(left.items())) or "none set"
    for reading, why in state.unread.items():
        facts[f"not known: {reading}"] = why
    known = health is not None and not health.timed_out
    return Report(
        status=_STATUS[health.status] if health and known else "unknown",
        summary=f"{state.cluster}/es is {facts['health']}",
        facts=facts,
        tables=(
            Table(
                name="indices",
                title="Indices that are not green",
                columns=(
                    Column("index"),
                    Column("status"),
                    Column("primaries_lost", "primaries lost"),
                    Column("replicas_lost", "replicas lost"),
                    Column("reasons"),
                ),
                rows=list(_not_green(state.shards or ())),
                empty="none" if state.shards is not None else "not known",
            ),
        ),
    )


def _nodes_fact(state: EsState) -> str:
    members = "?" if state.members is None else str(len(state.members))
    silent = sum(1 for s in state.servers or () if s.error)
    return f"{members} in the cluster, {len(state.expected or ())} in the inventory" + (
        f", {silent} of them silent" if silent else ""
    )


def _not_green(shards: Iterable[Shard]) -> Iterator[dict[str, Any]]:
    lost: dict[str, list[Shard]] = defaultdict(list)
    for shard in shards:
        if not shard.is_active:
            lost[shard.index].append(shard)
    for index, copies in sorted(lost.items()):
        primaries = sum(s.primary for s in copies)
        yield {
            "index": index,
            "status": "red" if primaries else "yellow",
            "primaries_lost": primaries,
            "replicas_lost": len(copies) - primaries,
            "reasons": ", ".join(sorted({_reason(s) for s in copies})),
        }


def _reason(shard: Shard) -> str:
    return shard.unassigned.reason if shard.unassigned else shard.state


def nodes(state: EsState) -> Report:
    """Every node of the inventory and of the cluster, with what it holds and how full it is.

    Raises StateUnknown when neither the nodes nor the cluster could be asked.
    """
    if state.servers is None and state.members is None:
        raise StateUnknown("the nodes are not known", where=state.unread.get("members"))
    rows = list(_node_rows(state))
    bad = sum(1 for r in rows if r["problem"])
    return Report(
        status="warning" if bad else "ok",
        summary=f"{plural(len(rows), 'node')}, {bad} with a problem" if bad else plural(len(rows), "node"),
        tables=(
            Table(
                name="nodes",
                columns=(
                    Column("node"),
                    Column("master"),
                    Column("roles"),
                    Column("rack"),
                    Column("shards"),
                    Column("primaries"),
                    Column("heap_used_percent", "heap", "%"),
                    Column("disk_used_percent", "fullest disk", "%"),
                    Column("disk_free_bytes", "free", "bytes"),
                    Column("up_s", "up", "s"),
                    Column("version"),
                    Column("problem"),
                    Column("instance", wide=True),
                    Column("address", wide=True),
                    Column("started_at", "started", wide=True),
                ),
                rows=rows,
            ),
        ),
    )


def _node_rows(state: EsState) -> Iterator[dict[str, Any]]:
    members = {m.name: m for m in state.members or ()}
    servers = {s.name: s for s in state.servers or ()}
    expected = {n.name: n for n in state.expected or ()}
    held = Counter(s.node for s in state.shards or ())
    primaries = Counter(s.node for s in state.shards or () if s.primary)
    for name in sorted(members.keys() | servers.keys() | expected.keys()):
        member, server, node = members.get(name), servers.get(name), expected.get(name)
        disks = [d for d in (server.disks if server else None) or () if d.total_bytes]
        fullest = min(disks, key=lambda d: d.available_bytes / d.total_bytes, default=None)
        started = server.started_at if server else None
        yield {
            "node": name,
            "instance": node.instance if node else None,
            "master": "*" if name == state.master else "",
            "roles": ",".join(_short_roles(member.roles)) if member else ",".join(node.roles) if node else None,
            "rack": (member.attributes.get("rack") if member else None) or (node.rack if node else None),
            "shards": held[name] if state.shards is not None else None,
            "primaries": primaries[name] if state.shards is not None else None,
            "heap_used_percent": _heap_percent(server),
            "disk_used_percent": round(100 * (1 - fullest.available_bytes / fullest.total_bytes), 1)
            if fullest
            else None,
            "disk_free_bytes": fullest.available_bytes if fullest else None,
            "up_s": round((state.taken_at - started).total_seconds()) if started else None,
            "started_at": started.isoformat() if started else None,
            "version": (server.version if server else None) or (member.version if member else None),
            "address": member.address if member else None,
            "problem": _problem(state, name, server),
        }


def _short_roles(roles: Iterable[str]) -> list[str]:
    """`data` stands for all its tiers, and what every node has is left out."""
    given = list(roles)
    noise = {"remote_cluster_client", "transform"}
    return [r for r in given if r not in noise and not ("data" in given and r.startswith("data_"))] or ["coordinating"]


def _heap_percent(server: Server | None) -> float | None:
    if server is None or server.heap_used_bytes is None or not server.heap_max_bytes:
        return None
    return round(100 * server.heap_used_bytes / server.heap_max_bytes, 1)


def _problem(state: EsState, name: str, server: Server | None) -> str:
    problems = []
    if state.members is not None and name not in {m.name for m in state.members}:
        problems.append("not in the cluster")
    if state.expected is not None and name not in {n.name for n in state.expected}:
        problems.append("unknown to the inventory")
    if server and server.error:
        problems.append(server.error)
    elif server and server.master == "":
        problems.append("knows no master")
    return "; ".join(problems)


def _known_shards(state: EsState) -> tuple[Shard, ...]:
    """The shards. Raises Unreachable or NotAuthorised if no node answered, StateUnknown if none of them told."""
    if state.shards is not None:
        return state.shards
    kinds = {s.error_kind for s in state.servers or ()}
    kind: type[BdopsError] = StateUnknown
    if kinds and kinds <= {"unreachable", "not_authorised"}:
        kind = NotAuthorised if "not_authorised" in kinds else Unreachable
    why = state.unread.get("shards", "they were not read")
    raise kind(f"the shards are not known: {why}", hint="bdops es check shows which nodes answer")


def shards(state: EsState, *, unassigned: bool = False, index: str | None = None, node: str | None = None) -> Report:
    """Shard copies, streamed. `index` is a name or pattern, `node` a node's name.

    Raises as `_known_shards`.
    """
    chosen = (
        s
        for s in _known_shards(state)
        if (not unassigned or s.state == "UNASSIGNED")
        and (index is None or fnmatchcase(s.index, index))
        and (node is None or node in (s.node, s.relocating_to))
    )
    sizes = {(z.index, z.shard, z.node): z for z in state.sizes or ()}
    return Report(
        tables=(
            Table(
                name="shards",
                columns=(
                    Column("index"),
                    Column("shard"),
                    Column("copy"),
                    Column("state"),
                    Column("node"),
                    Column("docs"),
                    Column("store_bytes", "size", "bytes"),
                    Column("reason"),
                    Column("since", wide=True),
                    Column("details", wide=True),
                ),
                rows=(_shard_row(s, sizes) for s in chosen),
                empty="no unassigned shards" if unassigned else "no shards",
            ),
        ),
    )


def _shard_row(shard: Shard, sizes: Mapping[tuple[str, int, str], Any]) -> dict[str, Any]:
    size = sizes.get((shard.index, shard.shard, shard.node)) if shard.node else None
    lost = shard.unassigned
    return {
        "index": shard.index,
        "shard": shard.shard,
        "copy": "primary" if shard.primary else "replica",
        "state": shard.state,
        "node": f"{shard.node} -> {shard.relocating_to}" if shard.relocating_to else shard.node,
        "docs": size.docs if size else None,
        "store_bytes": size.store_bytes if size else None,
        "reason": lost.reason if lost else None,
        "since": lost.since.isoformat() if lost and lost.since else None,
        "details": lost.details if lost else None,
    }


def why(state: EsState, index: str) -> Report:
    """Why an index's shards have no node: every rule that says no, node by node. `index` may be a pattern.

    Raises as `_known_shards`, and UsageError when there is no such index.
    """
    known = _known_shards(state)
    mine = [s for s in known if fnmatchcase(s.index, index)]
    if not mine:
        names = sorted({s.index for s in known})
        near = get_close_matches(index, names, n=3) or names[:5]
        raise UsageError(f"there is no index {index!r}", hint=f"there are {', '.join(near)}" if near else None)
    lost = {s.name: s for s in mine if s.state == "UNASSIGNED"}
    explained = {(e.index, e.shard, e.primary): e for e in state.explanations or ()}
    rows: list[dict[str, Any]] = []
    for shard in lost.values():
        rows += _why_rows(state, shard, explained.get((shard.index, shard.shard, shard.primary)))
    red = any(s.primary and not s.is_active for s in mine)
    yellow = any(not s.is_active for s in mine)
    copies = sum(s.state == "UNASSIGNED" for s in mine)
    return Report(
        status="critical" if red else "warning" if yellow else "ok",
        summary=f"{index}: {plural(copies, 'copy', 'copies')} of {len(mine)} unassigned"
        if copies
        else f"{index}: all {plural(len(mine), 'copy', 'copies')} have a node",
        facts={"index": index, "copies": len(mine), "unassigned": copies},
        tables=(
            Table(
                name="why",
                columns=(
                    Column("shard"),
                    Column("since"),
                    Column("reason"),
                    Column("node"),
                    Column("rule"),
                    Column("meaning"),
                    Column("explanation"),
                ),
                rows=rows,
                empty="every shard has a node",
            ),
        ),
    )


def _why_rows(state: EsState, shard: Shard, explanation: Explanation | None) -> Iterator[dict[str, Any]]:
    lost = shard.unassigned
    base = {
        "shard": shard.name,
        "since": lost.since.isoformat(timespec="seconds") if lost and lost.since else None,
        "reason": lost.reason if lost else None,
    }
    details = lost.details if lost and lost.reason == "ALLOCATION_FAILED" else None
    if explanation is None:
        why_not = state.unread.get("explanations", "not among the copies that were asked about")
        text = f"{details}; not explained: {why_not}" if details else f"not explained: {why_not}"
        yield base | {"node": None, "rule": None, "meaning": None, "explanation": text}
        return
    summary = f"{explanation.summary} ({details})" if details else explanation.summary
    yield base | {"node": "all", "rule": explanation.can_allocate, "meaning": None, "explanation": summary}
    for decision in explanation.decisions:
        yield base | {
            "node": decision.node,
            "rule": decision.decider,
            "meaning": DECIDERS.get(decision.decider),
            "explanation": decision.explanation,
        }
