"""Elasticsearch's JSON into the state's words. Pure; a missing or odd key raises KeyError, TypeError or ValueError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bdops.components.es.snapshot.parse import is_mark
from bdops.components.es.state import (
    ClusterSettings,
    Coordination,
    Decision,
    Disk,
    Explanation,
    Health,
    Index,
    MasterStability,
    Member,
    PendingTask,
    PendingTasks,
    RunningSnapshot,
    Server,
    Shard,
    ShardSize,
    Snapshot,
    Unassigned,
)

Json = Mapping[str, Any]

DEFAULTS_NEEDED = (
    "cluster.max_shards_per_node*",
    "cluster.routing.allocation.awareness.attributes",
    "cluster.routing.allocation.disk.*",
    "cluster.routing.allocation.enable",
    "cluster.routing.rebalance.enable",
)
"""The default settings that checks read."""

_STILL_WRITING = ("INIT", "WAITING", "QUEUED", "PAUSED_FOR_NODE_REMOVAL", "ABORTED")

OLDEST_TASKS_KEPT = 20
DETAILS_KEPT = 300
EXPLANATION_KEPT = 600


class ClusterState(NamedTuple):
    """What one answer of `_cluster/state` says."""

    cluster_uuid: str
    master: str
    members: tuple[Member, ...]
    shards: tuple[Shard, ...]
    indices: tuple[Index, ...]
    cluster_blocks: tuple[str, ...]
    coordination: Coordination
    running_snapshots: tuple[RunningSnapshot, ...]


def cluster_state(body: Json) -> ClusterState:
    """From `_cluster/state/master_node,nodes,metadata,routing_table,blocks,customs` with flat settings."""
    names = {node_id: node["name"] for node_id, node in body["nodes"].items()}
    master_id = body.get("master_node")
    coordination = body["metadata"]["cluster_coordination"]
    shards = tuple(_shards(body.get("routing_table", {}).get("indices", {}), names))
    return ClusterState(
        cluster_uuid=body["cluster_uuid"],
        master=names.get(master_id, "") if master_id else "",
        members=tuple(
            Member(
                name=node["name"],
                id=node_id,
                ephemeral_id=node.get("ephemeral_id"),
                address=node.get("transport_address"),
                roles=tuple(node.get("roles", ())),
                attributes={k: v for k, v in node.get("attributes", {}).items() if not k.startswith(("xpack.", "ml."))},
                version=node.get("version"),
            )
            for node_id, node in sorted(body["nodes"].items(), key=lambda item: item[1]["name"])
        ),
        shards=shards,
        indices=tuple(_indices(body["metadata"].get("indices", {}), body.get("blocks", {}).get("indices", {}))),
        cluster_blocks=tuple(b["description"] for b in body.get("blocks", {}).get("global", {}).values()),
        coordination=Coordination(
            voting=tuple(sorted(names.get(i, i) for i in coordination.get("last_committed_config", ()))),
            exclusions=tuple(e["node_name"] for e in coordination.get("voting_config_exclusions", ())),
            term=coordination.get("term"),
        ),
        running_snapshots=tuple(_running_snapshots(body.get("snapshots", {}).get("snapshots", ()), names, shards)),
    )


def _running_snapshots(
    entries: Iterable[Json], names: Mapping[str, str], shards: Iterable[Shard]
) -> Iterator[RunningSnapshot]:
    """Of the cluster state's SnapshotsInProgress. A queued shard has no node yet: its primary's will write it."""
    primaries: dict[str, str] = {}
    for entry in entries:
        writing: dict[str, list[str]] = {}
        for status in entry["shards"]:
            if status["state"] not in _STILL_WRITING:
                continue
            shard = f"{status['index']['index_name']}[{status['shard']}]"
            primaries = primaries or {f"{s.index}[{s.shard}]": s.node for s in shards if s.primary and s.node}
            node = status.get("node")
            holder = names.get(node, node) if node else primaries.get(shard)
            if holder:
                writing.setdefault(holder, []).append(shard)
        yield RunningSnapshot(
            repository=entry["repository"],
            name=entry["snapshot"],
            writing={node: tuple(found) for node, found in writing.items()},
        )


def _shards(indices: Json, names: Mapping[str, str]) -> Iterator[Shard]:
    for index in sorted(indices):
        for number, copies in sorted(indices[index]["shards"].items(), key=lambda item: int(item[0])):
            for copy in sorted(copies, key=lambda c: not c["primary"]):
                node, target = copy.get("node"), copy.get("relocating_node")
                relocating = copy["state"] == "RELOCATING"
                yield Shard(
                    index=index,
                    shard=int(number),
                    primary=copy["primary"],
                    state=copy["state"],
                    node=names.get(node, node) if node else None,
                    relocating_to=names.get(target, target) if target and relocating else None,
                    unassigned=_unassigned(copy["unassigned_info"], names) if copy["state"] == "UNASSIGNED" else None,
                )


def _unassigned(info: Json, names: Mapping[str, str]) -> Unassigned:
    last = info.get("last_node") or info.get("last_allocated_node")
    return Unassigned(
        reason=info["reason"],
        since=_time(info["at"]) if info.get("at") else None,
        details=_cause(info["details"]) if info.get("details") else None,
        delayed=bool(info.get("delayed", False)),
        failed_attempts=int(info.get("failed_attempts") or info.get("failed_allocation_attempts") or 0),
        last_node=names.get(last, last) if last else None,
    )


def _indices(metadata: Json, blocks: Json) -> Iterator[Index]:
    for name in sorted(metadata):
        settings = metadata[name].get("settings", {})
        yield Index(
            name=name,
            shards=int(settings.get("index.number_of_shards", 1)),
            replicas=int(settings.get("index.number_of_replicas", 1)),
            open=metadata[name].get("state", "open") == "open",
            active_for_writes=str(settings.get("index.write.wait_for_active_shards", "1")),
            from_snapshot=settings.get("index.store.type") == "snapshot",
            blocks=tuple(
                sorted(k for k, v in settings.items() if k.startswith("index.blocks.") and str(v).lower() == "true")
            ),
            # The tier preference is set by Elasticsearch itself on every index.
            allocation={
                k: _flat(v)
                for k, v in settings.items()
                if k.startswith(("index.routing.allocation.", "index.routing.rebalance."))
                and not k.endswith("._tier_preference")
                and not k.startswith("index.routing.allocation.initial_recovery.")
            },
        )


def server(instance: str, name: str, info: Json, stats: Json, master: Json) -> Server:
    """From a node's own `_nodes/_local` info and stats, and its own view of `_cluster/state/master_node,nodes`."""
    (node,) = info["nodes"].values()
    (figures,) = stats["nodes"].values()
    names = {node_id: n["name"] for node_id, n in master.get("nodes", {}).items()}
    master_id = master.get("master_node")
    return Server(
        instance=instance,
        name=node.get("name", name),
        version=node["version"],
        started_at=datetime.fromtimestamp(node["jvm"]["start_time_in_millis"] / 1000, UTC),
        master=names.get(master_id, master_id) if master_id else "",
        heap_used_bytes=figures["jvm"]["mem"]["heap_used_in_bytes"],
        heap_max_bytes=figures["jvm"]["mem"]["heap_max_in_bytes"],
    )


def disks(stats: Json) -> tuple[Disk, ...]:
    """From a node's own `_nodes/_local/stats/fs`."""
    (figures,) = stats["nodes"].values()
    return tuple(
        Disk(path=d["path"], total_bytes=d["total_in_bytes"], available_bytes=d["available_in_bytes"])
        for d in figures["fs"].get("data", ())
    )


def sizes(name: str, stats: Json) -> tuple[ShardSize, ...]:
    """From a node's own `_nodes/_local/stats/indices?level=shards`."""
    (figures,) = stats["nodes"].values()
    return tuple(
        ShardSize(
            index=index,
            shard=int(number),
            node=name,
            docs=shard["docs"]["count"],
            store_bytes=shard["store"]["size_in_bytes"],
        )
        for index, copies in figures.get("indices", {}).get("shards", {}).items()
        for copy in copies
        for number, shard in copy.items()
    )


def health(body: Json) -> Health:
    return Health(
        status=body["status"].lower(),
        timed_out=body["timed_out"],
        nodes=body["number_of_nodes"],
        data_nodes=body["number_of_data_nodes"],
        active_shards=body["active_shards"],
        relocating_shards=body["relocating_shards"],
        initializing_shards=body["initializing_shards"],
        unassigned_shards=body["unassigned_shards"],
        unassigned_primary_shards=body.get("unassigned_primary_shards"),
        delayed_unassigned_shards=body.get("delayed_unassigned_shards"),
    )


def settings(body: Json) -> ClusterSettings:
    """From `_cluster/settings?flat_settings=true`."""
    levels = {level: {k: _flat(v) for k, v in body.get(level, {}).items()} for level in ("persistent", "transient")}
    return ClusterSettings(**levels, defaults={k: _flat(v) for k, v in body.get("defaults", {}).items()})


def stability(body: Json) -> MasterStability:
    """From `_health_report/master_is_stable`."""
    indicator = body["indicators"]["master_is_stable"]
    recent = indicator.get("details", {}).get("recent_masters", ())
    return MasterStability(
        status=indicator["status"],
        symptom=indicator.get("symptom", ""),
        recent_masters=tuple(m.get("name") or m.get("node_id") or "?" for m in recent),
    )


def pending_tasks(body: Json) -> PendingTasks:
    # The reader's own question for the health waits in this queue too.
    others = (t for t in body["tasks"] if not t["source"].startswith("cluster_health (wait_for_events"))
    tasks = sorted(others, key=lambda t: -t["time_in_queue_millis"])
    return PendingTasks(
        count=len(tasks),
        oldest=tuple(
            PendingTask(source=t["source"], priority=t["priority"], waited_ms=t["time_in_queue_millis"])
            for t in tasks[:OLDEST_TASKS_KEPT]
        ),
    )


def snapshot(body: Json) -> Snapshot:
    shards = body.get("shards", {})
    ended_ms = body.get("end_time_in_millis") or 0
    return Snapshot(
        name=body["snapshot"],
        state=body["state"],
        started_at=datetime.fromtimestamp(body["start_time_in_millis"] / 1000, UTC),
        ended_at=datetime.fromtimestamp(ended_ms / 1000, UTC) if ended_ms else None,
        indices=tuple(body.get("indices", ())),
        failed_shards=shards.get("failed", 0),
        total_shards=shards.get("total", 0),
        reason=body.get("reason"),
    )


def snapshots(body: Json) -> dict[str, Any]:
    """A page of `_snapshot/NAME/*`: its snapshots, and the `next` page's key or None. Our marks are none of them."""
    return {
        "snapshots": [snapshot(s) for s in body["snapshots"] if not is_mark(s["snapshot"])],
        "next": body.get("next"),
    }


def explanation(body: Json) -> Explanation:
    """From `_cluster/allocation/explain` for an unassigned copy."""
    return Explanation(
        index=body["index"],
        shard=body["shard"],
        primary=body["primary"],
        can_allocate=body.get("can_allocate", "unknown"),
        summary=body.get("allocate_explanation", ""),
        decisions=tuple(
            Decision(
                node=node["node_name"],
                decider=decider["decider"],
                explanation=_short(decider["explanation"]),
                decision=decider["decision"],
            )
            for node in sorted(body.get("node_allocation_decisions", ()), key=lambda n: n["node_name"])
            for decider in node.get("deciders", ())
            if decider["decision"] in ("NO", "THROTTLE")
        )
        + tuple(
            Decision(node=node["node_name"], decider="store", explanation=_store(node["store"]))
            for node in sorted(body.get("node_allocation_decisions", ()), key=lambda n: n["node_name"])
            if node.get("store", {}).get("store_exception") or node.get("store", {}).get("in_sync") is False
        ),
    )


def _store(store: Json) -> str:
    failure = store.get("store_exception")
    if failure:
        return f"the copy on its disk cannot be read: {failure.get('reason') or failure.get('type')}"
    return "the copy on its disk is stale (not in sync)"


def _short(text: str) -> str:
    """An explanation without the stack traces that `max_retry` quotes in it."""
    return text.split(" [unassigned_info[")[0].strip().splitlines()[0][:EXPLANATION_KEPT]


def _cause(details: str) -> str:
    """The root of a failure in one line: the details are a Java stack trace of many kilobytes."""
    root = re.split(r"Caused by: |; nested: |, failure ", details)[-1].strip().splitlines()[0]
    return re.sub(r"\b(?:[a-z]\w*\.)+(?=[A-Z]\w*(?:Exception|Error)\b)", "", root)[:DETAILS_KEPT]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _flat(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
