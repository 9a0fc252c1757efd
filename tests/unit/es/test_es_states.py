"""Saved states, written by hand, and what the checks and lists say of each: `bdops es check --state FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bdops.components.es import lists
from bdops.components.es.component import COMPONENT
from bdops.components.es.state import EsState
from bdops.components.state_file import load_state, save_state
from bdops.core.checks import CheckResult, Severity, run_checks
from bdops.errors import StateUnknown, UsageError

DATA = Path(__file__).parent / "data"

NODE3_SILENT = {"ES_HEAP": ("unknown", {"prod/es/node3"}), "ES_DISK": ("unknown", {"prod/es/node3"})}
VOTERS = {"voting configuration"}

# State -> every check that is neither OK nor without its readings, with its severity and the objects that it names.
EXPECTED: dict[str, dict[str, tuple[str, set[str]]]] = {
    "healthy": {},
    "node_killed": {
        "ES_NODES": ("critical", {"prod/es/node3"}),
        "ES_MASTER_QUORUM": ("warning", VOTERS),
        "ES_STATUS": ("warning", {"logs-2026"}),
        "ES_UNASSIGNED_SHARDS": ("warning", {"logs-2026[0] replica", "1 replica"}),
        **NODE3_SILENT,
    },
    "node_paused": {
        "ES_NODES": ("critical", {"prod/es/node2"}),
        "ES_MASTER_QUORUM": ("warning", VOTERS),
        "ES_DISK": ("unknown", {"prod/es/node2"}),
        "ES_HEAP": ("unknown", {"prod/es/node2"}),
    },
    "master_paused": {
        "ES_NODES": ("critical", {"prod/es/node1", "prod/es/node2", "prod/es/node3"}),
        "ES_MASTER": ("critical", {"prod/es/node1"}),
        "ES_STATUS": ("unknown", set()),
        "ES_HEAP": ("unknown", {"prod/es/node1"}),
    },
    "no_master": {
        "ES_NODES": ("critical", {"prod/es/node1", "prod/es/node2", "prod/es/node3"}),
        "ES_MASTER": ("critical", {"prod/es/node1", "prod/es/node2"}),
        "ES_HEAP": ("unknown", {"prod/es/node3"}),
    },
    "two_masters": {"ES_MASTER": ("critical", {"elected master"})},
    "unstable_master": {"ES_MASTER": ("warning", {"master stability"})},
    "busy_master": {"ES_PENDING_TASKS": ("critical", {"shard-started"})},
    "one_voter_left": {"ES_MASTER_QUORUM": ("critical", VOTERS)},
    "voter_excluded": {"ES_MASTER_QUORUM": ("warning", {"voting exclusions", "voting configuration"})},
    "four_masters_three_votes": {},
    "stranger": {"ES_NODES": ("warning", {"lost"})},
    "wrong_password": {
        "ES_NODES": ("unknown", {"prod/es/node1", "prod/es/node2", "prod/es/node3"}),
        "ES_MASTER": ("unknown", set()),
        "ES_HEAP": ("unknown", {"prod/es/node1", "prod/es/node2", "prod/es/node3"}),
    },
    "red": {
        "ES_STATUS": ("critical", {"orders", "wide"}),
        "ES_UNASSIGNED_SHARDS": ("critical", {"orders[0] primary", "wide[0] replica", "1 replica"}),
    },
    "health_timed_out": {"ES_STATUS": ("unknown", set())},
    "settings_left": {
        "ES_ALLOCATION_SETTINGS": ("warning", {"cluster.routing.allocation.enable", "logs-2026"}),
        "ES_ALLOCATION_EXCLUDES": ("warning", {"cluster.routing.allocation.exclude._name", "logs-2026"}),
    },
    "allocation_none": {"ES_ALLOCATION_SETTINGS": ("critical", {"cluster.routing.allocation.enable"})},
    "settings_explicitly_all": {},
    "disks_full": {
        "ES_NODES": ("critical", {"prod/es/node3"}),
        "ES_DISK": ("critical", {"node1:/data/1", "node2:/data/1", "prod/es/node3"}),
        "ES_HEAP": ("unknown", {"prod/es/node3"}),
        "ES_READ_ONLY_BLOCK": ("critical", {"logs-2026", "archive"}),
    },
    "big_disks_with_headroom": {},
    "watermarks_in_bytes": {"ES_DISK": ("critical", {"node2:/data/1", "node3:/data/1"})},
    "thresholds_off": {"ES_DISK": ("warning", {"cluster.routing.allocation.disk.threshold_enabled"})},
    "frozen_node": {},
    "heap_high": {"ES_HEAP": ("critical", {"prod/es/node1", "prod/es/node2"})},
    "skewed": {
        "ES_SHARD_LIMIT": ("critical", {"cluster.max_shards_per_node"}),
        "ES_SHARD_SKEW": ("warning", {"node1", "node2"}),
    },
    "snapshots_failing": {
        "ES_BACKUP_AGE": ("critical", {"s3"}),
        "ES_BACKUP_FAILED": ("warning", {"s3/n23"}),
    },
    "no_good_snapshot": {
        "ES_BACKUP_AGE": ("critical", {"s3"}),
        "ES_BACKUP_FAILED": ("warning", {"s3/n23"}),
    },
    "no_repository": {"ES_BACKUP_AGE": ("warning", {"repositories"})},
    "nothing_to_save": {},
    "repository_missing": {"ES_BACKUP_AGE": ("critical", {"offsite"})},
    "repository_unreadable": {
        "ES_BACKUP_AGE": ("unknown", {"s3"}),
        "ES_BACKUP_FAILED": ("warning", {"s3"}),
    },
    "proof_too_old": {"ES_BACKUP_PROVED_AGE": ("warning", {"s3"})},
    "never_proved": {"ES_BACKUP_PROVED_AGE": ("warning", {"s3"})},
    "snapshot_running_long": {"ES_SNAPSHOT_RUNNING": ("warning", {"s3/n23"})},
}


def state(name: str) -> EsState:
    return load_state(DATA / f"{name}.json", {"es": EsState})


def judged(name: str) -> dict[str, CheckResult]:
    """The results of all checks whose readings are in the state."""
    results = run_checks(COMPONENT.checks, state(name), component="es")
    return {r.code: r for r in results if "absent from the state" not in r.summary or r.objects}


def test_every_data_file_is_expected_to_show_something() -> None:
    assert {p.stem for p in DATA.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_state_shows_these_checks_and_no_others(name: str) -> None:
    found = {
        code: (r.severity.value, {o.object for o in r.objects})
        for code, r in judged(name).items()
        if r.severity is not Severity.OK
    }
    assert found == EXPECTED[name]


def test_every_check_is_shown_not_ok_by_some_state() -> None:
    assert {code for expected in EXPECTED.values() for code in expected} == {c.code for c in COMPONENT.checks}


def test_a_node_that_left_is_blamed_for_its_copies_even_where_only_its_id_is_known() -> None:
    results = judged("node_killed")
    for code in ("ES_NODES", "ES_STATUS", "ES_UNASSIGNED_SHARDS", "ES_MASTER_QUORUM"):
        assert {b for o in results[code].objects for b in o.blames} == {"prod/es/node3"}, code


def test_a_lost_voter_is_named_when_its_id_can_only_be_the_one_node_that_is_missing() -> None:
    assert "lost: node3;" in judged("node_killed")["ES_MASTER_QUORUM"].summary


def test_a_copy_that_failed_is_explained_by_its_node_and_its_error() -> None:
    (found,) = [o for o in judged("red")["ES_UNASSIGNED_SHARDS"].objects if o.object == "orders[0] primary"]
    assert found.severity is Severity.CRITICAL
    assert found.blames == ("prod/es/node2",)
    assert "CorruptIndexException" in found.detail
    assert "max_retry: node1, node3" in found.detail


def test_a_rule_that_bdops_does_not_know_is_told_in_elasticsearchs_words() -> None:
    (found,) = [o for o in judged("red")["ES_UNASSIGNED_SHARDS"].objects if o.object == "wide[0] replica"]
    assert "a_new_rule: node2 (its own words)" in found.detail


def test_a_setting_that_another_level_overrules_is_still_reported() -> None:
    details = [o.detail for o in judged("settings_left")["ES_ALLOCATION_SETTINGS"].objects]
    assert "primaries (transient)" in details
    assert "none (persistent), overruled by primaries for now" in details


def test_an_exclude_names_the_nodes_it_matches_and_the_shards_still_there() -> None:
    cluster, index = judged("settings_left")["ES_ALLOCATION_EXCLUDES"].objects
    assert cluster.detail == "node3,gone* (persistent): node3, 2 shards still there"
    assert cluster.blames == ("prod/es/node3",)
    assert index.blames == ("prod/es/node2",)


def test_a_read_only_index_names_the_node_whose_disk_is_full() -> None:
    (blocked,) = [o for o in judged("disks_full")["ES_READ_ONLY_BLOCK"].objects if o.object == "logs-2026"]
    assert blocked.blames == ("prod/es/node2",)


def test_failed_snapshots_since_the_last_good_one_are_named() -> None:
    assert "since then: n23 PARTIAL, n22 FAILED" in judged("snapshots_failing")["ES_BACKUP_AGE"].summary


def test_the_age_of_a_snapshot_counts_from_its_start_and_the_policy_sets_the_limit() -> None:
    (metric,) = judged("healthy")["ES_BACKUP_AGE"].metrics
    assert metric.value == 11 * 3600
    assert (metric.warning, metric.critical) == (26 * 3600, 52 * 3600)


def test_serving_is_answered_for_each_instance() -> None:
    assert COMPONENT.serving(state("node_paused")) == {
        "prod/es/node1": True,
        "prod/es/node2": False,
        "prod/es/node3": True,
    }
    assert set(COMPONENT.serving(state("wrong_password")).values()) == {None}
    assert COMPONENT.serving(state("no_master"))["prod/es/node1"] is False


def test_a_state_that_was_saved_loads_as_it_was(tmp_path: Path) -> None:
    for name in EXPECTED:
        save_state(state(name), tmp_path / "state.json")
        assert load_state(tmp_path / "state.json", {"es": EsState}) == state(name)


def test_status_names_the_indices_that_are_not_green() -> None:
    report = lists.status(state("red"))
    assert report.status == "critical"
    assert [(r["index"], r["status"]) for r in report.tables[0].rows] == [("orders", "red"), ("wide", "yellow")]


def test_the_status_of_a_stale_health_is_unknown() -> None:
    assert lists.status(state("health_timed_out")).status == "unknown"


def test_nodes_lists_those_missing_and_those_unknown_to_the_inventory() -> None:
    problems = {r["node"]: r["problem"] for r in lists.nodes(state("node_killed")).tables[0].rows}
    assert problems == {"node1": "", "node2": "", "node3": "not in the cluster; connection refused"}
    strangers = {r["node"]: r["problem"] for r in lists.nodes(state("stranger")).tables[0].rows}
    assert strangers["lost"] == "unknown to the inventory"


def test_shards_are_filtered_by_index_node_and_state() -> None:
    def names(**options: object) -> list[tuple[str, int, str]]:
        report = lists.shards(state("node_killed"), **options)  # type: ignore[arg-type]
        return [(r["index"], r["shard"], r["copy"]) for r in report.tables[0].rows]

    assert names(unassigned=True) == [("logs-2026", 0, "replica"), ("logs-2026", 1, "replica")]
    assert names(node="node1") == [("logs-2026", 0, "primary")]
    assert names(index="orders*") == []
    assert len(names(index="logs-*")) == 4


def test_the_table_of_shards_is_made_row_by_row() -> None:
    rows = lists.shards(state("healthy")).tables[0].rows
    assert iter(rows) is iter(rows)


def test_why_gives_every_rule_that_says_no_node_by_node() -> None:
    report = lists.why(state("red"), "orders")
    assert report.status == "critical"
    rules = [(r["node"], r["rule"]) for r in report.tables[0].rows]
    assert rules == [("all", "no"), ("node2", "store"), ("node1", "max_retry"), ("node3", "max_retry")]


def test_why_of_an_unexplained_copy_says_that_it_is_not_explained() -> None:
    rows = list(lists.why(state("red"), "wide").tables[0].rows)
    assert any(r["shard"] == "wide[1] replica" and "not explained" in r["explanation"] for r in rows)


def test_why_of_an_index_that_is_not_there_suggests_near_names() -> None:
    with pytest.raises(UsageError) as caught:
        lists.why(state("healthy"), "log-2026")
    assert "logs-2026" in (caught.value.hint or "")


@pytest.mark.parametrize("ask", [lists.shards, lists.nodes, lambda s: lists.why(s, "a")])
def test_a_list_of_what_was_not_read_is_an_error_and_not_an_empty_list(ask, tmp_path: Path) -> None:
    bare = {"component": "es", "cluster": "prod", "taken_at": "2026-11-23T12:00:00Z"}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    with pytest.raises(StateUnknown):
        ask(load_state(tmp_path / "bare.json", {"es": EsState}))
