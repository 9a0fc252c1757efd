"""Faults of the lab's Elasticsearch; each makes one thing wrong that a check must find, and mends it again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.errors import OperationFailed
from bdops.lab.es_api import any_node
from bdops.lab.recipe import Fault

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

ENABLE = "cluster.routing.allocation.enable"
EXCLUDE = "cluster.routing.allocation.exclude._name"
WATERMARK = "cluster.routing.allocation.disk.watermark."
SHARDS_PER_NODE = "cluster.max_shards_per_node"
PARTIAL_SNAPSHOT = "fault-partial"
CALL_S = 30.0
EFFECT_S = 60.0


def is_settled(lab: Lab) -> bool:
    """Every shard has its node, and none is on the way."""
    health = any_node(lab).get("_cluster/health", timeout_s=5)
    moving = health["relocating_shards"] + health["initializing_shards"] + health["unassigned_shards"]
    return bool(moving == 0 and not health["timed_out"])


def _await_settled(lab: Lab) -> None:
    lab.wait("Elasticsearch's shards to settle", lambda: is_settled(lab), EFFECT_S)


def _set(lab: Lab, settings: Mapping[str, str | None], level: str = "persistent") -> None:
    any_node(lab).put("_cluster/settings", {level: dict(settings)}, timeout_s=CALL_S)


def _status(lab: Lab, index: str) -> str:
    return str(any_node(lab).get(f"_cluster/health/{index}", timeout_s=5)["status"])


def _await_status(lab: Lab, index: str, status: str) -> None:
    lab.wait(f"{index} to be {status}", lambda: _status(lab, index) == status, EFFECT_S)


def _create(
    lab: Lab, index: str, *, replicas: int = 0, docs: int = 50, settings: Mapping[str, Any] | None = None
) -> None:
    """A new index of one shard with some documents on disk."""
    node = any_node(lab)
    node.delete(index, timeout_s=CALL_S)
    body = {"settings": {"number_of_shards": 1, "number_of_replicas": replicas, **(settings or {})}}
    node.put(index, body, timeout_s=CALL_S)
    if docs:
        _write(lab, index, docs)


def _write(lab: Lab, index: str, docs: int) -> None:
    """Some new documents, in a segment of their own on the disk."""
    node = any_node(lab)
    lines = "".join(f'{{"index":{{}}}}\n{{"number":{n},"text":"document {n}"}}\n' for n in range(docs))
    node.post(f"{index}/_bulk", lines, timeout_s=CALL_S)
    node.post(f"{index}/_flush", None, {"force": "true", "wait_if_ongoing": "true"}, timeout_s=CALL_S)


def _delete(lab: Lab, index: str) -> None:
    any_node(lab).delete(index, timeout_s=CALL_S)
    _await_settled(lab)


def _shard_dir(lab: Lab, index: str, host: str) -> Path:
    """The folder of shard 0 of an index on a host, in whichever data folder it is."""
    from bdops.lab.es import data_dirs

    settings = any_node(lab).get(f"{index}/_settings", {"flat_settings": "true"}, timeout_s=CALL_S)
    uuid = settings[index]["settings"]["index.uuid"]
    for folder in data_dirs(lab, host):
        if (folder / "indices" / uuid / "0" / "index").is_dir():
            return folder / "indices" / uuid / "0"
    raise OperationFailed(f"{index} has no folder on {host}")


def _holder(lab: Lab, index: str, *, primary: bool) -> str:
    """The host of shard 0's primary or replica (nodes have their hosts' names)."""
    state = any_node(lab).get(f"_cluster/state/routing_table,nodes/{index}", timeout_s=CALL_S)
    for copy in state["routing_table"]["indices"][index]["shards"]["0"]:
        if copy["primary"] is primary and copy["node"]:
            return str(state["nodes"][copy["node"]]["name"])
    raise OperationFailed(f"{index} has no such copy")


def _host(target: str | None, default: str) -> str:
    return target.rstrip("/").rsplit("/", 1)[-1] if target else default


# An index that cannot have all its replicas


def _make_yellow(lab: Lab, target: str | None) -> None:
    _create(lab, "fault-yellow", replicas=3)
    _await_status(lab, "fault-yellow", "yellow")


# An index whose only copy is gone from the disk


def _make_red(lab: Lab, target: str | None) -> None:
    """Closed first, for a running server holds its files open and would not miss them."""
    host = _host(target, "node3")
    _create(lab, "fault-red", settings={"index.routing.allocation.require._name": host})
    _await_status(lab, "fault-red", "green")
    node = any_node(lab)
    node.post("fault-red/_close", timeout_s=CALL_S)
    shutil.rmtree(_shard_dir(lab, "fault-red", host) / "index")
    node.post("fault-red/_open", None, {"wait_for_active_shards": "0"}, timeout_s=CALL_S)
    _await_status(lab, "fault-red", "red")


# A replica whose file has a wrong checksum


def _corrupt_replica(lab: Lab, target: str | None) -> None:
    """Merging reads every byte, so it finds the damage.

    With one attempt allowed, Elasticsearch does not quietly copy the primary over the broken replica.
    """
    index = "fault-corrupted"
    _create(lab, index, replicas=1, docs=0, settings={"index.allocation.max_retries": 1})
    # A replica that is there from the start has both writes as segments of its own: something to merge.
    _await_status(lab, index, "green")
    _write(lab, index, 50)
    _write(lab, index, 50)
    host = _holder(lab, index, primary=False)
    for file in (_shard_dir(lab, index, host) / "index").iterdir():
        if file.suffix in (".cfs", ".fdt"):
            content = bytearray(file.read_bytes())
            middle = slice(len(content) // 4, len(content) * 3 // 4)
            content[middle] = bytes(byte ^ 0xFF for byte in content[middle])
            file.write_bytes(content)
    any_node(lab).post(f"{index}/_forcemerge", None, {"max_num_segments": 1}, timeout_s=CALL_S)

    def failed() -> bool:
        wanted = {"index": index, "shard": 0, "primary": False}
        answer = any_node(lab).request("GET", "_cluster/allocation/explain", None, wanted, timeout_s=5)
        return bool(answer.body.get("unassigned_info", {}).get("reason") == "ALLOCATION_FAILED")

    lab.wait(f"the replica of {index} on {host} to fail", failed, EFFECT_S)


def _mend_replica(lab: Lab, target: str | None) -> None:
    any_node(lab).post("_cluster/reroute", {}, {"retry_failed": "true"}, timeout_s=CALL_S)
    _await_status(lab, "fault-corrupted", "green")
    _delete(lab, "fault-corrupted")


# Settings left behind


def _leave_allocation_off(lab: Lab, target: str | None) -> None:
    _set(lab, {ENABLE: "primaries"})


def _restore_allocation(lab: Lab, target: str | None) -> None:
    _set(lab, {ENABLE: None})
    _await_settled(lab)


def _leave_exclude(lab: Lab, target: str | None) -> None:
    _set(lab, {EXCLUDE: _host(target, "node2")})


def _remove_exclude(lab: Lab, target: str | None) -> None:
    _set(lab, {EXCLUDE: None})
    _await_settled(lab)


def _leave_voting_exclusion(lab: Lab, target: str | None) -> None:
    params = {"node_names": _host(target, "node3")}
    any_node(lab).post("_cluster/voting_config_exclusions", None, params, timeout_s=CALL_S)


def _remove_voting_exclusion(lab: Lab, target: str | None) -> None:
    any_node(lab).delete("_cluster/voting_config_exclusions", {"wait_for_removal": "false"}, timeout_s=CALL_S)

    def all_vote() -> bool:
        state = any_node(lab).get("_cluster/state/metadata", timeout_s=5)
        return len(state["metadata"]["cluster_coordination"]["last_committed_config"]) == 3

    lab.wait("all masters to vote", all_vote, EFFECT_S)


# Room


def _set_watermarks(lab: Lab, low: str | None, high: str | None, flood: str | None) -> None:
    _set(lab, {f"{WATERMARK}low": low, f"{WATERMARK}high": high, f"{WATERMARK}flood_stage": flood})


def _lower_watermark(lab: Lab, target: str | None) -> None:
    _set_watermarks(lab, "1%", "98%", "99%")


def _restore_watermark(lab: Lab, target: str | None) -> None:
    _set_watermarks(lab, None, None, None)


def _blocked(lab: Lab) -> bool:
    name = "index.blocks.read_only_allow_delete"
    settings = any_node(lab).get("_all/_settings", {"flat_settings": "true"}, timeout_s=5)
    return any(index["settings"].get(name) == "true" for index in settings.values())


def _flood(lab: Lab, target: str | None) -> None:
    """Elasticsearch itself blocks the indices at its next look at the disks; a block by hand it would take away."""
    _create(lab, "fault-flooded")
    _set_watermarks(lab, "1%", "2%", "3%")
    lab.wait("the flood stage to make indices read-only", lambda: _blocked(lab), EFFECT_S)


def _drain(lab: Lab, target: str | None) -> None:
    _set_watermarks(lab, None, None, None)
    lab.wait("Elasticsearch to make the indices writable again", lambda: not _blocked(lab), EFFECT_S)
    _delete(lab, "fault-flooded")


def _few_shards(lab: Lab, target: str | None) -> None:
    shards = any_node(lab).get("_cluster/health", timeout_s=5)["active_shards"]
    _set(lab, {SHARDS_PER_NODE: str(max(1, shards // 3))})


def _enough_shards(lab: Lab, target: str | None) -> None:
    _set(lab, {SHARDS_PER_NODE: None})


def _skew(lab: Lab, target: str | None) -> None:
    host = _host(target, "node1")
    settings = {"number_of_shards": 40, "index.routing.allocation.require._name": host}
    _create(lab, "fault-skew", docs=0, settings=settings)
    _await_status(lab, "fault-skew", "green")


# Snapshots


def _lose_repository(lab: Lab, target: str | None) -> None:
    from bdops.lab.es_load import REPOSITORY

    any_node(lab).delete(f"_snapshot/{REPOSITORY}", timeout_s=CALL_S)
    _create(lab, "fault-unsaved")
    _await_status(lab, "fault-unsaved", "green")


def _find_repository(lab: Lab, target: str | None) -> None:
    from bdops.lab.es_load import register_repository

    register_repository(lab)
    _delete(lab, "fault-unsaved")


def _partial_snapshot(lab: Lab, target: str | None) -> None:
    """An index whose shards may be nowhere makes the snapshot partial; then it is deleted."""
    from bdops.lab.es_load import REPOSITORY, register_repository

    register_repository(lab)
    settings = {"index.routing.allocation.require._name": "no-such-node"}
    node = any_node(lab)
    node.delete("fault-partial", timeout_s=CALL_S)
    body = {"settings": {"number_of_shards": 1, "number_of_replicas": 0, **settings}}
    node.put("fault-partial", body, {"wait_for_active_shards": "0"}, timeout_s=CALL_S)
    path = f"_snapshot/{REPOSITORY}/{PARTIAL_SNAPSHOT}"
    node.delete(path, timeout_s=CALL_S)
    done = node.put(path, {"partial": True}, {"wait_for_completion": "true"}, timeout_s=EFFECT_S)
    node.delete("fault-partial", timeout_s=CALL_S)
    if done["snapshot"]["state"] != "PARTIAL":
        raise OperationFailed(f"the snapshot ended {done['snapshot']['state']}, not PARTIAL")


def _remove_partial_snapshot(lab: Lab, target: str | None) -> None:
    from bdops.lab.es_load import REPOSITORY

    any_node(lab).delete(f"_snapshot/{REPOSITORY}/{PARTIAL_SNAPSHOT}", timeout_s=CALL_S)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="es-yellow",
        help="an index asks for more replicas than there are nodes",
        shows=("ES_STATUS", "ES_UNASSIGNED_SHARDS"),
        break_it=_make_yellow,
        heal=lambda lab, target: _delete(lab, "fault-yellow"),
    ),
    Fault(
        name="es-red",
        help="the only copy of an index's shard is removed from the disk of a node (default node3)",
        shows=("ES_STATUS", "ES_UNASSIGNED_SHARDS"),
        break_it=_make_red,
        heal=lambda lab, target: _delete(lab, "fault-red"),
    ),
    Fault(
        name="es-shard-corrupted",
        help="a file of a replica is changed on the disk",
        shows=("ES_STATUS", "ES_UNASSIGNED_SHARDS"),
        break_it=_corrupt_replica,
        heal=_mend_replica,
    ),
    Fault(
        name="es-allocation-left",
        help="shard allocation is left at `primaries`, as a broken-off restart would",
        shows=("ES_ALLOCATION_SETTINGS",),
        break_it=_leave_allocation_off,
        heal=_restore_allocation,
    ),
    Fault(
        name="es-exclude-left",
        help="a node (default node2) is left excluded from allocation",
        shows=("ES_ALLOCATION_EXCLUDES",),
        break_it=_leave_exclude,
        heal=_remove_exclude,
    ),
    Fault(
        name="es-voting-exclusion-left",
        help="a master-eligible node (default node3) is left without a vote",
        shows=("ES_MASTER_QUORUM",),
        break_it=_leave_voting_exclusion,
        heal=_remove_voting_exclusion,
    ),
    Fault(
        name="es-disk-watermark",
        help="every disk is over the low watermark",
        shows=("ES_DISK",),
        break_it=_lower_watermark,
        heal=_restore_watermark,
    ),
    Fault(
        name="es-read-only-block",
        help="every disk is over the flood stage, and indices are made read-only",
        shows=("ES_READ_ONLY_BLOCK", "ES_DISK"),
        break_it=_flood,
        heal=_drain,
    ),
    Fault(
        name="es-shard-limit",
        help="the cluster may have no more shards than it has",
        shows=("ES_SHARD_LIMIT",),
        break_it=_few_shards,
        heal=_enough_shards,
    ),
    Fault(
        name="es-shard-skew",
        help="forty shards are pinned to one node (default node1)",
        shows=("ES_SHARD_SKEW",),
        break_it=_skew,
        heal=lambda lab, target: _delete(lab, "fault-skew"),
    ),
    Fault(
        name="es-no-snapshot",
        help="the snapshot repository is no longer registered",
        shows=("ES_BACKUP_AGE",),
        break_it=_lose_repository,
        heal=_find_repository,
    ),
    Fault(
        name="es-snapshot-partial",
        help="the last snapshot is PARTIAL",
        shows=("ES_BACKUP_FAILED",),
        break_it=_partial_snapshot,
        heal=_remove_partial_snapshot,
    ),
)
