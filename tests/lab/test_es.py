"""Elasticsearch on real servers: each code that a fault can show is shown, and gone after healing."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.components.es.client import Node
from bdops.components.es.read import read_state
from bdops.errors import Unreachable
from bdops.lab import es
from bdops.lab.es_api import any_node, node_of
from bdops.lab.lab import Lab
from bdops.lab.recipe import Fault
from tests.sampling import faults

pytestmark = pytest.mark.lab("es")

# The object that each fault's checks must name.
NAMES = {
    "es-yellow": "fault-yellow[0] replica",
    "es-red": "fault-red[0] primary",
    "es-shard-corrupted": "fault-corrupted[0] replica",
    "es-allocation-left": "cluster.routing.allocation.enable",
    "es-exclude-left": "cluster.routing.allocation.exclude._name",
    "es-voting-exclusion-left": "voting exclusions",
    "es-read-only-block": "fault-flooded",
    "es-shard-limit": "cluster.max_shards_per_node",
    "es-shard-skew": "node1",
    "es-no-snapshot": "repositories",
    "es-snapshot-partial": "lab-backups/fault-partial",
}


def checks(bdops: Any, *more: str) -> dict[str, Any]:
    return {r["code"]: r for r in bdops("es", "check", "-o", "json", *more).json["data"]["checks"]}


def not_ok(bdops: Any, *more: str) -> set[str]:
    return {code for code, r in checks(bdops, *more).items() if r["severity"] != "ok"}


def test_a_loaded_cluster_is_ok_in_every_check(bdops, eventually) -> None:
    eventually(lambda: not_ok(bdops) == set(), 120)


def test_two_data_dirs_are_in_use_on_every_node(lab) -> None:
    for host in es.HOSTS:
        assert all((folder / "_state").is_dir() for folder in es.data_dirs(lab, host))


SLOW = {"es-read-only-block", "es-red", "es-shard-corrupted"}


@pytest.mark.parametrize("fault", faults(es.RECIPE, thorough=SLOW))
def test_a_fault_is_shown_by_the_checks_it_names_and_by_none_after_healing(
    fault: Fault, bdops, eventually, lab
) -> None:
    try:
        put_in = bdops("lab", "fault", fault.name, "--name", lab.name)
        assert put_in.returncode == 0, put_in.stderr
        found = checks(bdops)
        disk = f"node1:{es.data_dirs(lab, 'node1')[0]}"
        assert {code for code in fault.shows if found[code]["severity"] in ("ok", "unknown")} == set(), found
        named = [
            o for code in fault.shows for o in found[code]["objects"] if o["object"] == NAMES.get(fault.name, disk)
        ]
        assert named, found
        if fault.name in ("es-red", "es-shard-corrupted"):
            assert len({b for o in named for b in o["blames"]}) == 1
            assert any(re.search("FileNotFound|NoSuchFile|CorruptIndex", o["detail"]) for o in named)
    finally:
        healed = bdops("lab", "fault", fault.name, "--heal", "--name", lab.name)
    assert healed.returncode == 0, healed.stderr
    eventually(lambda: not_ok(bdops) == set(), 120)


def test_why_answers_the_same_from_a_saved_state_without_the_cluster(bdops, lab, tmp_path: Path) -> None:
    saved = tmp_path / "es.json"
    try:
        assert bdops("lab", "fault", "es-yellow", "--name", lab.name).returncode == 0
        assert bdops("es", "state", "save", str(saved)).returncode == 0
        live = bdops("es", "why", "fault-yellow", "-o", "json").json["data"]
    finally:
        bdops("lab", "fault", "es-yellow", "--heal", "--name", lab.name)
    nowhere = {"BDOPS_INVENTORY": str(tmp_path / "none.yaml")}
    offline = bdops("es", "why", "fault-yellow", "--state", str(saved), "-o", "json", **nowhere).json["data"]
    assert {(r["shard"], r["node"], r["rule"]) for r in offline["why"]} == {
        (r["shard"], r["node"], r["rule"]) for r in live["why"]
    }
    assert {r["rule"] for r in offline["why"]} >= {"same_shard"}
    assert "ES_STATUS" in not_ok(bdops, "--state", str(saved))
    assert not_ok(bdops) == set()


@pytest.mark.thorough
def test_a_killed_node_is_named_and_blamed_for_its_shards(bdops, lab, eventually) -> None:
    name = f"{lab.name}/es/node3"
    bdops("lab", "kill", "es/node3", "--name", lab.name)
    try:
        eventually(lambda: "ES_UNASSIGNED_SHARDS" in not_ok(bdops), 120)
        found = checks(bdops)
        assert [o["object"] for o in found["ES_NODES"]["objects"]] == [name]
        assert found["ES_NODES"]["severity"] == "critical"
        assert {b for o in found["ES_UNASSIGNED_SHARDS"]["objects"] for b in o["blames"]} == {name}
        assert {b for o in found["ES_MASTER_QUORUM"]["objects"] for b in o["blames"]} == {name}
        assert found["ES_ALLOCATION_SETTINGS"]["severity"] == "ok"
    finally:
        bdops("lab", "start", "es/node3", "--name", lab.name)
    eventually(lambda: not_ok(bdops) == set(), 120)


def master(lab: Any) -> str:
    state = any_node(lab).get("_cluster/state/master_node,nodes", timeout_s=5)
    return str(state["nodes"][state["master_node"]]["name"])


@pytest.mark.parametrize("who", ["elected", "other"])
def test_a_paused_node_costs_its_own_checks_and_the_run_is_in_time(who: str, bdops, lab, eventually) -> None:
    elected = master(lab)
    host = elected if who == "elected" else next(h for h in es.HOSTS if h != elected)
    bdops("lab", "pause", f"es/{host}", "--name", lab.name)
    try:
        started = time.monotonic()
        found = checks(bdops, "--timeout", "3s")
        assert time.monotonic() - started < 8
        assert f"{lab.name}/es/{host}" in [o["object"] for o in found["ES_NODES"]["objects"]]
        assert found["ES_NODES"]["severity"] == "critical"
        assert found["ES_HEAP"]["severity"] == "unknown"
        if who == "elected":
            assert found["ES_MASTER"]["severity"] == "critical"
            assert found["ES_STATUS"]["severity"] == "unknown"
        else:
            assert found["ES_ALLOCATION_SETTINGS"]["severity"] == "ok"
            assert found["ES_BACKUP_AGE"]["severity"] == "ok"
    finally:
        bdops("lab", "resume", f"es/{host}", "--name", lab.name)
    eventually(lambda: not_ok(bdops) == set(), 120)


def test_lists_show_what_was_loaded(bdops, lab) -> None:
    shards = bdops("es", "shards", "--index", "orders", "-o", "json").json["data"]["shards"]
    assert len(shards) == 4
    assert sum(s["docs"] for s in shards if s["copy"] == "primary") == 1500
    assert all(s["store_bytes"] > 0 for s in shards)
    nodes = bdops("es", "nodes", "-o", "json").json["data"]["nodes"]
    assert [n["node"] for n in nodes if n["master"] == "*"] == [master(lab)]
    assert bdops("es", "status", "-o", "json").json["data"]["health"] == "green"
    assert bdops("es", "shards", "--unassigned", "-o", "json").json["data"]["shards"] == []


def test_watermarks_are_reckoned_as_the_nodes_themselves_reckon_them(lab) -> None:
    """Each node tells how much free space its watermarks ask for: shares, headroom and bytes alike."""
    from bdops.components.es.watermarks import watermarks

    prefix = "cluster.routing.allocation.disk.watermark."
    node = any_node(lab)
    cases: list[dict[str, str | None]] = [
        {"low": "50%", "high": "60%", "flood_stage": "99%"}
        | {"low.max_headroom": "10gb", "high.max_headroom": "9gb", "flood_stage.max_headroom": "8gb"},
        {"low": "0.5", "high": "0.6", "flood_stage": "0.99"},
        {"low": "30gb", "high": "20gb", "flood_stage": "1gb"},
    ]
    every = {prefix + name: None for case in cases for name in case}
    try:
        for case in cases:
            settings = every | {prefix + name: value for name, value in case.items()}
            node.put("_cluster/settings", {"persistent": settings}, timeout_s=10)
            state = read_state(lab.deployment("es"), timeout_s=10, readings=frozenset({"settings", "servers"}))
            assert state.settings is not None
            found = watermarks(state.settings)
            stats = node_of(lab, "node1").get("_nodes/_local/stats/fs", timeout_s=10)
            for path in next(iter(stats["nodes"].values()))["fs"]["data"]:
                total = path["total_in_bytes"]
                for level in ("low", "high", "flood_stage"):
                    key = f"{level}_watermark_free_space_in_bytes".replace("stage_watermark_", "stage_")
                    ours = getattr(found, level).free_needed_bytes(total)
                    assert ours == pytest.approx(path[key], abs=2), (case, level)
    finally:
        node.put("_cluster/settings", {"persistent": every}, timeout_s=10)


@pytest.mark.thorough
def test_data_survive_a_stop_and_start_of_all_nodes(bdops, lab, eventually) -> None:
    count = any_node(lab).get("_count", timeout_s=10)["count"]
    for verb in ("stop", "start"):
        done = bdops("lab", verb, *(f"es/{h}" for h in es.HOSTS), "--name", lab.name)
        assert done.returncode == 0, done.stderr
    eventually(lambda: not_ok(bdops) == set(), 120)
    assert any_node(lab).get("_count", timeout_s=10)["count"] == count


def test_the_saved_state_has_nothing_unread_and_no_id_in_place_of_a_name(bdops, tmp_path: Path) -> None:
    saved = tmp_path / "es.json"
    assert bdops("es", "state", "save", str(saved)).returncode == 0
    state = json.loads(saved.read_text())
    assert state.get("unread", {}) == {}
    assert {s["node"] for s in state["shards"]} == set(es.HOSTS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheme": "https", "verify": False}, "does not speak TLS"),
        ({"port": es.TRANSPORT_PORT}, "does not answer as Elasticsearch does"),
    ],
    ids=["TLS to plaintext", "the transport's port"],
)
def test_a_port_that_is_another_is_told_as_that(changes: dict[str, Any], words: str, lab: Lab) -> None:
    plain = lab.deployment("es").instances[0]
    node = Node(replace(plain, settings=replace(plain.settings, **changes)))
    with pytest.raises(Unreachable, match=words):
        node.get("_cluster/health", timeout_s=5)
