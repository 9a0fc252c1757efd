"""In which order nodes go, what clients notice, who is down, and when a node is whole again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bdops.components.es import order
from bdops.components.es.gates import gate_facts
from bdops.components.es.state import ClusterSettings, EsState, Index, Shard, Unassigned
from bdops.core.plan import steps_in_waves
from tests.unit.es.states import GONE, HUNG_OUT, REFUSED, SILENT, UP, WATERMARKS, cluster, copies, instance

TIERS = {
    "m1": ("master",),
    "m2": ("master",),
    "m3": ("master",),
    "hot1": ("data_content", "data_hot", "ingest"),
    "warm1": ("data_warm",),
    "cold1": ("data_cold",),
    "frozen1": ("data_frozen",),
    "mixed1": ("data_frozen", "data_warm"),
    "plain1": ("data",),
    "ingest1": ("ingest",),
    "coord1": (),
    "ml1": ("ml", "remote_cluster_client"),
}
DATA_ACTS = ("allocation-primaries", "flush", "restart", "allocation-back")


def tiered(**changed: Any) -> EsState:
    return cluster(TIERS, roles=TIERS, master="m2", **changed)


def named(state: EsState, verb: str = "restart") -> list[str]:
    every = [n.instance for n in state.expected or ()]
    return [t.name.rpartition("/")[2] for t in order.targets(state, every, verb)]


def test_tiers_go_first_then_nodes_without_data_then_masters_and_the_elected_one_last() -> None:
    state = cluster(dict.fromkeys(TIERS, UP), roles=TIERS, master="m2")
    assert named(state) == [
        *("frozen1", "cold1", "warm1", "mixed1", "hot1", "plain1", "ingest1", "coord1", "ml1"),
        *("m1", "m3", "m2"),
    ]


def test_what_does_not_serve_comes_before_all_others() -> None:
    status = {**dict.fromkeys(TIERS, UP), "m3": GONE, "hot1": REFUSED}
    assert named(cluster(status, roles=TIERS, master="m2"))[:2] == ["m3", "hot1"]


def test_masters_are_put_last_again_when_another_is_elected() -> None:
    targets = order.targets(cluster(), [instance(n) for n in ("node1", "node2", "node3")], "restart")
    assert all(t.leader_last and t.role == "master" for t in targets)
    data = cluster(TIERS, roles=TIERS, master="m2")
    assert [t.leader_last for t in order.targets(data, [instance("hot1"), instance("m1")], "restart")] == [False, True]


def test_allocation_is_left_alone_for_nodes_without_data() -> None:
    state = cluster(TIERS, roles=TIERS, master="m2")
    acts = {t.name.rpartition("/")[2]: t.acts for t in order.targets(state, [instance(n) for n in TIERS], "restart")}
    assert acts["hot1"] == DATA_ACTS
    assert acts["m1"] == acts["coord1"] == ("restart",)


def test_a_node_that_is_away_has_the_roles_of_the_inventory() -> None:
    (target,) = order.targets(cluster({"m1": UP, "d1": GONE}, roles={"d1": ("data_hot",)}), [instance("d1")], "restart")
    assert target.acts == DATA_ACTS


def test_a_stop_flushes_and_a_start_only_starts() -> None:
    (stop,) = order.targets(cluster(), [instance("node1")], "stop")
    (start,) = order.targets(cluster(), [instance("node1")], "start")
    assert (stop.acts, start.acts) == (("flush", "stop"), ("start",))


def test_only_the_instances_asked_for_are_targets() -> None:
    assert [t.name for t in order.targets(cluster(), [instance("node2")], "restart")] == [instance("node2")]


def test_data_nodes_without_a_shard_in_common_go_in_one_wave() -> None:
    nodes = [f"d{i}" for i in range(6)]
    shards = [s for i in range(3) for s in copies("logs", i, (f"d{i}", f"d{i + 3}"))]
    state = cluster([*nodes, "m1"], shards, roles={**dict.fromkeys(nodes, ("data",)), "m1": ("master",)}, master="m1")
    targets = order.targets(state, [instance(n) for n in nodes], "restart")
    waves = steps_in_waves("es", targets, gate_facts(state))
    assert [[s.name.rpartition("/")[2] for s in wave] for wave in waves] == [["d0", "d1", "d2"], ["d3", "d4", "d5"]]


def test_consequences_count_primaries_name_indices_without_replicas_and_the_election() -> None:
    shards = [*copies("logs", 0, ("node1", "node2")), *copies("alone", 0, ("node1",))]
    state = cluster(shards=shards)
    text = " | ".join(order.consequences(state, [instance("node1")], "restart"))
    assert "2 primaries of 2 shards" in text
    assert "alone" in text
    assert "node1 is the elected master" in text
    assert order.consequences(state, [instance("node3")], "restart") == ()
    assert order.consequences(state, [instance("node1")], "start") == ()


@pytest.mark.parametrize(
    ("status", "is_down"), [(UP, False), (REFUSED, True), (GONE, True), (SILENT, True), (HUNG_OUT, True)]
)
def test_who_is_down(status: str, is_down: bool) -> None:
    state = cluster({"node1": UP, "node2": status, "node3": UP})
    assert (instance("node2") in order.down(state)) is is_down
    assert instance("node1") not in order.down(state)


def test_while_nobody_knows_a_master_nobody_is_down_for_that() -> None:
    state = cluster()
    servers = tuple(replace(s, master="") for s in state.servers or ())
    assert order.down(replace(state, servers=servers, members=None, master=None)) == {}


def test_one_that_the_master_does_not_count_is_down_although_it_answers() -> None:
    state = cluster({"node1": UP, "node2": UP, "node3": UP})
    members = tuple(m for m in state.members or () if m.name != "node3")
    assert set(order.down(replace(state, members=members))) == {instance("node3")}


def test_who_leads_is_not_known_without_a_master() -> None:
    state = cluster()
    assert order.leads(state, instance("node1")) is True
    assert order.leads(state, instance("node2")) is False
    assert order.leads(replace(state, master=None), instance("node1")) is None


def restarted(state: EsState, node: str) -> EsState:
    """The node's process is another one now."""
    members = tuple(replace(m, ephemeral_id="start-2") if m.name == node else m for m in state.members or ())
    return replace(state, members=members)


def test_a_node_is_back_when_it_is_a_member_with_a_new_start() -> None:
    before = cluster()
    starts = order.baseline(before)["starts"]
    assert not order.in_cluster(before, instance("node2"), starts).done
    assert order.in_cluster(restarted(before, "node2"), instance("node2"), starts).done
    assert order.in_cluster(before, instance("node2"), None).done


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"servers": ()}, "a place in the state"),
        ({"members": None}, "the cluster's answer"),
        ({"members": ()}, "to join the cluster of node1"),
    ],
)
def test_a_node_that_is_not_back_says_what_is_missing(changed: dict[str, Any], words: str) -> None:
    assert words in order.in_cluster(replace(cluster(), **changed), instance("node2"), None).waiting_for


def test_a_node_that_does_not_answer_or_knows_no_master_is_not_back() -> None:
    silent = cluster({"node1": UP, "node2": SILENT, "node3": UP})
    assert "no answer" in order.in_cluster(silent, instance("node2"), None).waiting_for
    state = cluster()
    lost = replace(state, servers=tuple(replace(s, master="") for s in state.servers or ()))
    assert "elected master" in order.in_cluster(lost, instance("node2"), None).waiting_for


def lost_with(node: str, reason: str = "NODE_LEFT", number: int = 0) -> Shard:
    why = Unassigned(reason=reason, last_node=node)
    return Shard(index="logs", shard=number, primary=False, state="UNASSIGNED", unassigned=why)


BASE = {"unassigned": 0, "lost_by": {}, "ids": {"id-node1": "node1", "id-node2": "node2", "id-node3": "node3"}}
COMING = Shard(index="logs", shard=0, primary=False, state="INITIALIZING", node="node1")
ELSEWHERE = replace(COMING, node="node2")

SHARDS_BACK: dict[str, tuple[list[Shard], dict[str, Any], bool]] = {
    "all_there": (copies("logs", 0, ("node1", "node2")), {}, True),
    "its_copy_is_missing": ([lost_with("node1")], {}, False),
    "its_copy_goes_by_its_id": ([lost_with("id-node1")], {}, False),
    "its_copy_is_being_started": ([COMING], {}, False),
    "anothers_copy_is_being_started": ([ELSEWHERE], {}, True),
    "anothers_copy_is_missing": ([lost_with("node2")], {}, True),
    "anothers_copy_by_its_id": ([lost_with("id-node2")], {}, True),
    "a_strangers_copy_is_missing": ([lost_with("id-lost")], {}, False),
    "a_new_replica_has_no_node": ([lost_with("", "REPLICA_ADDED")], {}, False),
    "an_old_wound": ([lost_with("", "ALLOCATION_FAILED")], {"unassigned": 1}, True),
    "an_old_wound_of_its_own": ([lost_with("node1")], {"unassigned": 1, "lost_by": {"node1": 1}}, True),
    "its_copy_was_lost_before_and_the_node_was_down": ([lost_with("node1")], {"unassigned": 5}, False),
    "an_old_wound_and_a_new_one": (
        [lost_with("", "ALLOCATION_FAILED"), lost_with("", "ALLOCATION_FAILED", 1)],
        {"unassigned": 1},
        False,
    ),
}


@pytest.mark.parametrize("name", SHARDS_BACK)
def test_its_shards_are_back_and_no_more_are_missing_than_before(name: str) -> None:
    shards, baseline, expected = SHARDS_BACK[name]
    progress = order.shards_back(cluster(shards=shards), instance("node1"), {**BASE, **baseline})
    assert progress.done is expected, progress.waiting_for
    assert progress.done or "logs[0] replica" in progress.waiting_for


def test_shards_that_could_not_be_read_are_not_back() -> None:
    state = replace(cluster(), shards=None, unread={"shards": "no answer"})
    assert "no answer" in order.shards_back(state, instance("node1"), BASE).waiting_for


def test_the_baseline_is_what_was_wrong_before() -> None:
    settings = ClusterSettings(defaults=WATERMARKS, transient={"cluster.routing.allocation.enable": "all"})
    shards = [*copies("dead", 0, (None,)), lost_with("node3"), lost_with("node2")]
    state = cluster({"node1": UP, "node2": UP, "node3": GONE}, shards, settings=settings, indices=[Index(name="dead")])
    assert order.baseline(state) == {
        "unassigned": 3,
        "lost_by": {"node2": 1},
        "ids": {"id-node1": "node1", "id-node2": "node2"},
        "red": ["dead[0]"],
        "allocation": "all",
        "starts": {"node1": "start-1-node1", "node2": "start-1-node2"},
    }
