"""Answers of a real 8.19 server, with a replica that a merge found corrupted, in the state's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdops.components.es import parse

ANSWERS = json.loads((Path(__file__).parent / "answers" / "corrupted_replica.json").read_text())


def test_nodes_go_by_their_names_everywhere() -> None:
    found = parse.cluster_state(ANSWERS["cluster_state"])
    names = {"node1", "node2", "node3"}
    assert {m.name for m in found.members} == names
    assert found.master in names
    assert set(found.coordination.voting) == names
    assert {s.node for s in found.shards if s.node} <= names


def test_a_failed_copy_has_its_node_attempts_and_the_root_of_its_error_in_one_line() -> None:
    (lost,) = [s for s in parse.cluster_state(ANSWERS["cluster_state"]).shards if s.unassigned]
    assert lost.name == "fault-corrupted[0] replica"
    assert lost.unassigned is not None
    assert lost.unassigned.reason == "ALLOCATION_FAILED"
    assert lost.unassigned.failed_attempts == 1
    assert lost.unassigned.last_node == "node3"
    details = lost.unassigned.details or ""
    assert details.startswith("CorruptIndexException: ")
    assert "\n" not in details


def test_a_failure_without_a_cause_is_told_without_what_leads_to_it() -> None:
    text = (
        "failed shard on node [x]: shard failure, reason [storeStats], failure java.nio.file.NoSuchFileException: /d/1"
    )
    copy = {"state": "UNASSIGNED", "primary": True, "unassigned_info": {"reason": "ALLOCATION_FAILED", "details": text}}
    answer = body() | {"routing_table": {"indices": {"a": {"shards": {"0": [copy]}}}}}
    (shard,) = parse.cluster_state(answer).shards
    assert shard.unassigned is not None
    assert shard.unassigned.details == "NoSuchFileException: /d/1"


def test_an_explanation_keeps_the_rules_that_say_no_and_leaves_the_stack_traces() -> None:
    found = parse.explanation(ANSWERS["explanation"])
    assert (found.index, found.primary, found.can_allocate) == ("fault-corrupted", False, "no")
    assert {d.node for d in found.decisions if d.decider == "max_retry"} == {"node1", "node2", "node3"}
    assert all("\n" not in d.explanation and "org.apache" not in d.explanation for d in found.decisions)


def test_the_tier_preference_that_every_index_has_is_no_allocation_filter() -> None:
    indices = {i.name: i for i in parse.cluster_state(ANSWERS["cluster_state"]).indices}
    assert indices["customers"].allocation == {}
    assert indices["customers"].replicas == 1


def body(**indices: Any) -> dict[str, Any]:
    return {
        "cluster_uuid": "u",
        "nodes": {"id1": {"name": "node1"}, "id2": {"name": "node2"}},
        "metadata": {"cluster_coordination": {"last_committed_config": ["id1", "gone"]}, "indices": indices},
        "blocks": {"global": {"1": {"description": "state not recovered"}}},
    }


def test_without_a_master_its_name_is_empty_and_a_voter_that_is_gone_keeps_its_id() -> None:
    found = parse.cluster_state(body())
    assert found.master == ""
    assert found.coordination.voting == ("gone", "node1")
    assert found.cluster_blocks == ("state not recovered",)


def test_a_relocating_copy_is_on_its_old_node_and_names_the_new_one() -> None:
    copy = {"state": "RELOCATING", "primary": True, "node": "id1", "relocating_node": "id2"}
    target = {"state": "INITIALIZING", "primary": True, "node": "id2", "relocating_node": "id1"}
    answer = body() | {"routing_table": {"indices": {"a": {"shards": {"0": [copy, target]}}}}}
    old, new = parse.cluster_state(answer).shards
    assert (old.node, old.relocating_to, old.is_active) == ("node1", "node2", True)
    assert (new.node, new.relocating_to, new.is_active) == ("node2", None, False)


def test_blocks_of_an_index_count_only_while_they_are_true() -> None:
    settings = {"index.blocks.read_only_allow_delete": "true", "index.blocks.write": "false"}
    (index,) = parse.cluster_state(body(a={"settings": settings})).indices
    assert index.blocks == ("index.blocks.read_only_allow_delete",)


def test_the_readers_own_question_is_no_pending_task() -> None:
    own = {"source": "cluster_health (wait_for_events [LANGUID])", "priority": "LANGUID", "time_in_queue_millis": 3}
    other = {"source": "create-index [a]", "priority": "URGENT", "time_in_queue_millis": 70}
    found = parse.pending_tasks({"tasks": [own, other]})
    assert found.count == 1
    assert found.oldest[0].source == "create-index [a]"


def test_a_snapshot_without_an_end_is_still_running() -> None:
    found = parse.snapshot(
        {"snapshot": "a", "state": "IN_PROGRESS", "start_time_in_millis": 0, "end_time_in_millis": 0}
    )
    assert found.ended_at is None


@pytest.mark.parametrize("broken", [{}, {"status": "green"}, {"status": None}])
def test_a_health_that_lacks_what_elasticsearch_gives_is_not_taken_for_one(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, AttributeError)):
        parse.health(broken)


def test_a_running_snapshot_names_the_shards_that_each_node_still_has_to_write() -> None:
    """As 8.19 has it in the cluster state: a shard that waits for another snapshot has no node yet."""

    def shard(number: int, state: str, node: str | None) -> Any:
        return {"index": {"index_name": "orders", "index_uuid": "x"}, "shard": number, "state": state, "node": node}

    entry = {
        "repository": "s3",
        "snapshot": "nightly",
        "shards": [
            shard(0, "INIT", "id1"),
            shard(1, "SUCCESS", "id1"),
            shard(2, "QUEUED", None),
            shard(3, "MISSING", None),
        ],
    }
    primary = {"state": "STARTED", "primary": True, "node": "id2"}
    answer = body() | {
        "nodes": {"id1": {"name": "node1"}, "id2": {"name": "node2"}},
        "routing_table": {"indices": {"orders": {"shards": {"2": [primary]}}}},
        "snapshots": {"snapshots": [entry]},
    }
    (found,) = parse.cluster_state(answer).running_snapshots
    assert (found.repository, found.name) == ("s3", "nightly")
    assert found.writing == {"node1": ("orders[0]",), "node2": ("orders[2]",)}
    assert parse.cluster_state(body()).running_snapshots == ()


def test_an_index_tells_how_many_copies_its_writes_want_and_whether_a_snapshot_holds_its_data() -> None:
    settings = {"index.write.wait_for_active_shards": "all", "index.store.type": "snapshot"}
    answer = body()
    answer["metadata"]["indices"] = {"a": {"settings": settings}, "b": {"settings": {}}}
    a, b = parse.cluster_state(answer).indices
    assert (a.active_for_writes, a.from_snapshot) == ("all", True)
    assert (b.active_for_writes, b.from_snapshot) == ("1", False)
