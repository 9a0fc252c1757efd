"""Which Elasticsearch nodes may stop: one state per rule, and random clusters against a model that is not the gate."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.es.gates import NEEDED, RULES, gate_facts
from bdops.components.es.state import (
    ClusterSettings,
    Coordination,
    Disk,
    EsState,
    Health,
    Index,
    RunningSnapshot,
    Shard,
    Unassigned,
)
from bdops.components.state_file import load_state, save_state
from bdops.core.gate import Verdict, judge
from bdops.core.waves import largest_safe_set
from tests.unit.es.states import (
    GONE,
    HUNG_OUT,
    REFUSED,
    SILENT,
    UP,
    WATERMARKS,
    cluster,
    copies,
    instance,
    member,
)

THREE = ("node1", "node2", "node3")
PAIR = copies("logs", 0, ("node1", "node2"))
ENABLE = "cluster.routing.allocation.enable"


def verdict(state: EsState, *names: str, baseline: dict[str, Any] | None = None) -> tuple[str, set[str]]:
    """The verdict on these nodes together, and the rules behind it."""
    answer = judge(gate_facts(state, baseline), [instance(n) for n in names])
    return answer.verdict.value, {r.rule for r in answer.reasons}


def with_server(state: EsState, name: str, **changed: Any) -> EsState:
    assert state.servers is not None
    return replace(state, servers=tuple(replace(s, **changed) if s.name == name else s for s in state.servers))


def test_one_node_of_a_whole_cluster_may_go_and_two_masters_of_three_may_not() -> None:
    state = cluster(shards=copies("logs", 0, THREE))
    assert verdict(state, "node1") == ("ok", set())
    assert verdict(state, "node1", "node2") == ("refuse", {"ES_QUORUM"})


def test_both_copies_of_a_shard_never_go_together() -> None:
    state = cluster(("d1", "d2", "d3", "m1"), copies("logs", 0, ("d1", "d2")), voting=("m1", "m2", "m3"))
    assert verdict(state, "d1", "d2") == ("refuse", {"ES_LAST_COPY"})
    assert verdict(state, "d1", "d3") == ("ok", set())


def recovering(node: str) -> list[Shard]:
    there = Shard(index="logs", shard=0, primary=True, state="STARTED", node="node1")
    return [there, Shard(index="logs", shard=0, primary=False, state="INITIALIZING", node=node)]


def delayed() -> list[Shard]:
    there, away = copies("logs", 0, ("node1", None))
    return [there, replace(away, unassigned=Unassigned(reason="NODE_LEFT", delayed=True))]


def new_primary() -> list[Shard]:
    lost = Unassigned(reason="INDEX_CREATED")
    return [Shard(index="new", shard=0, primary=True, state="UNASSIGNED", unassigned=lost)]


FULL = (Disk(path="/data", total_bytes=1000, available_bytes=20),)
LEFT = ClusterSettings(defaults=WATERMARKS, persistent={ENABLE: "primaries"})
RED = copies("dead", 0, (None,))

# Name -> state, candidates, verdict and rules. Whatever is not said is as it should be.
TABLE: dict[str, tuple[EsState, tuple[str, ...], str, set[str]]] = {
    "no_replicas": (cluster(shards=copies("logs", 0, ("node1",))), ("node1",), "refuse", {"ES_NO_REPLICA"}),
    "no_replicas_elsewhere": (cluster(shards=copies("logs", 0, ("node1",))), ("node2",), "ok", set()),
    "replica_lost": (cluster(shards=copies("logs", 0, ("node1", None))), ("node1",), "refuse", {"ES_LAST_COPY"}),
    "replica_lost_elsewhere": (cluster(shards=copies("logs", 0, ("node1", None))), ("node2",), "ok", set()),
    "replica_recovers": (cluster(shards=recovering("node2")), ("node1",), "wait", {"ES_LAST_COPY"}),
    "recovers_to_it": (cluster(shards=recovering("node2")), ("node2",), "wait", {"ES_RECOVERING"}),
    "replica_delayed": (cluster(shards=delayed()), ("node1",), "wait", {"ES_LAST_COPY"}),
    "relocating_copy_counts": (
        cluster(shards=copies("logs", 0, ("node1", "node2"), state="RELOCATING", relocating_to="node3")),
        ("node2",),
        "ok",
        set(),
    ),
    "relocation_target_does_not_count": (
        cluster(shards=copies("logs", 0, ("node1",), state="RELOCATING", relocating_to="node3")),
        ("node1",),
        "refuse",
        {"ES_NO_REPLICA"},
    ),
    "copy_on_a_dead_node": (
        cluster({"node1": UP, "node2": REFUSED, "node3": UP, "m": UP}, PAIR, voting=("m", "node3", "x")),
        ("node1",),
        "refuse",
        {"ES_LAST_COPY"},
    ),
    "copy_on_a_node_without_master": (
        with_server(cluster(shards=PAIR), "node2", master=""),
        ("node1",),
        "refuse",
        {"ES_LAST_COPY", "ES_QUORUM"},
    ),
    "red": (cluster(shards=[*PAIR, *RED]), ("node3",), "refuse", {"ES_RED"}),
    "red_by_health_alone": (cluster(health=Health(status="red")), ("node3",), "wait", {"ES_RED"}),
    "new_index": (cluster(shards=new_primary()), ("node3",), "wait", {"ES_RED"}),
    "health_timed_out": (cluster(health=Health(status="green", timed_out=True)), ("node3",), "wait", {"ES_HEALTH"}),
    "writes_want_two": (
        cluster(shards=PAIR, indices=[Index(name="logs", active_for_writes="2")]),
        ("node1",),
        "refuse",
        {"ES_WRITE_WAIT"},
    ),
    "writes_want_all": (
        cluster(shards=PAIR, indices=[Index(name="logs", active_for_writes="all")]),
        ("node2",),
        "refuse",
        {"ES_WRITE_WAIT"},
    ),
    "writes_want_two_of_three": (
        cluster(shards=copies("logs", 0, THREE), indices=[Index(name="logs", replicas=2, active_for_writes="2")]),
        ("node1",),
        "ok",
        set(),
    ),
    "closed_index_has_copies_and_no_writes": (
        cluster(shards=PAIR, indices=[Index(name="logs", open=False, active_for_writes="all")]),
        ("node1",),
        "ok",
        set(),
    ),
    "closed_index_without_replica": (
        cluster(shards=copies("old", 0, ("node1",)), indices=[Index(name="old", replicas=0, open=False)]),
        ("node1",),
        "refuse",
        {"ES_NO_REPLICA"},
    ),
    "hidden_system_index": (cluster(shards=copies(".tasks", 0, ("node1",))), ("node1",), "refuse", {"ES_NO_REPLICA"}),
    "two_of_four_is_no_majority": (
        cluster(("m1", "m2", "m3", "m4"), voting=("m1", "m2", "m3", "m4")),
        ("m1", "m2"),
        "refuse",
        {"ES_QUORUM"},
    ),
    "three_of_four_is": (cluster(("m1", "m2", "m3", "m4"), voting=("m1", "m2", "m3", "m4")), ("m1",), "ok", set()),
    "a_voter_is_down": (
        cluster({"node1": UP, "node2": GONE, "node3": UP}, voting=("node1", "id-node2", "node3")),
        ("node3",),
        "refuse",
        {"ES_QUORUM"},
    ),
    "fourth_master_without_vote": (
        cluster({"m1": UP, "m2": GONE, "m3": UP, "m4": UP}, voting=("m1", "id-m2", "m3")),
        ("m4",),
        "ok",
        set(),
    ),
    "sole_master": (
        cluster(("m1", "d1"), roles={"d1": ("data",)}, voting=("m1",)),
        ("m1",),
        "refuse",
        {"ES_ONLY_MASTER"},
    ),
    "never_formed": (cluster(coordination=Coordination(voting=())), ("node1",), "unknown", {"ES_QUORUM"}),
    "silent_node": (cluster({"node1": UP, "node2": SILENT, "node3": UP, "node4": UP, "node5": UP}), ("node1",),
                    "unknown", {"ES_SILENT"}),
    "silent_node_itself": (
        cluster({"node1": UP, "node2": SILENT, "node3": UP}, copies("logs", 0, ("node1", "node2"))),
        ("node2",),
        "ok",
        set(),
    ),
    "silent_node_with_the_only_copy": (
        cluster({"node1": UP, "node2": SILENT, "node3": UP}, copies("logs", 0, ("node2", None))),
        ("node2",),
        "refuse",
        {"ES_LAST_COPY"},
    ),
    "hung_and_out": (
        cluster({"node1": UP, "node2": HUNG_OUT, "node3": UP, "m": UP, "n": UP}), ("node1",), "unknown", {"ES_SILENT"},
    ),
    "known_down": (cluster({"node1": UP, "node2": GONE, "node3": UP, "m": UP, "n": UP}), ("node1",), "ok", set()),
    "known_down_itself_in_a_red_cluster": (
        cluster({"node1": UP, "node2": GONE, "node3": UP}, RED), ("node2",), "ok", set(),
    ),
    "wrong_password": (
        with_server(cluster(), "node2", error="wrong password", error_kind="not_authorised", master=None),
        ("node2",),
        "unknown",
        {"ES_UNREADABLE"},
    ),
    "stranger": (cluster(members=tuple(member(n) for n in (*THREE, "lost"))), ("node1",), "unknown", {"ES_STRANGER"}),
    "two_masters": (with_server(cluster(), "node3", master="node2"), ("node1",), "wait", {"ES_MASTER_DISPUTED"}),
    "snapshot_writes_there": (
        cluster(running_snapshots=(RunningSnapshot(repository="s3", name="n1", writing={"node1": ("logs[0]",)}),)),
        ("node1",),
        "wait",
        {"ES_SNAPSHOT"},
    ),
    "snapshot_writes_elsewhere": (
        cluster(running_snapshots=(RunningSnapshot(repository="s3", name="n1", writing={"node1": ("logs[0]",)}),)),
        ("node2",),
        "ok",
        set(),
    ),
    "flooded": (with_server(cluster(), "node2", disks=FULL), ("node1",), "refuse", {"ES_FLOOD"}),
    "flooded_but_nobody_looks": (
        with_server(
            cluster(
                settings=ClusterSettings(
                    defaults={**WATERMARKS, "cluster.routing.allocation.disk.threshold_enabled": "false"}
                )
            ),
            "node2",
            disks=FULL,
        ),
        ("node1",),
        "ok",
        set(),
    ),
    "disks_unknown": (with_server(cluster(), "node2", disks=None), ("node1",), "unknown", {"ES_FLOOD"}),
    "coordinating_node_has_no_disks": (
        with_server(cluster(("node1", "c"), roles={"c": ()}, voting=("x", "node1", "y")), "c", disks=None),
        ("c",),
        "ok",
        set(),
    ),
    "allocation_left": (cluster(settings=LEFT), ("node1",), "refuse", {"ES_ALLOCATION_LEFT"}),
    "allocation_left_and_no_data": (
        cluster(("m1", "m2", "m3"), roles=dict.fromkeys(("m1", "m2", "m3"), ("master",)), settings=LEFT),
        ("m1",),
        "ok",
        set(),
    ),
    "index_allocation_off": (
        cluster(shards=PAIR, indices=[Index(name="logs", allocation={"index.routing.allocation.enable": "none"})]),
        ("node1",),
        "refuse",
        {"ES_INDEX_ALLOCATION"},
    ),
    "instance_unknown": (cluster(), ("node9",), "unknown", {"INSTANCE_UNKNOWN"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_state_is_judged_by_its_rules(name: str) -> None:
    state, candidates, expected, rules = TABLE[name]
    assert verdict(state, *candidates) == (expected, rules)


@pytest.mark.parametrize("reading", sorted({*NEEDED} - {"expected"}))
def test_a_missing_reading_is_unknown_for_whoever_is_not_known_to_be_down(reading: str) -> None:
    whole = cluster({"node1": UP, "node2": UP, "node3": GONE})
    state = replace(whole, unread={reading: "no answer"}, **{reading: None})
    answer = judge(gate_facts(state), [instance("node1")])
    assert answer.verdict is Verdict.UNKNOWN
    assert [(r.rule, r.objects) for r in answer.reasons] == [("ES_READING", (reading,))]
    assert "no answer" in answer.reasons[0].harm


def test_every_rule_is_shown_by_a_state_and_documented() -> None:
    shown = {rule for *_, rules in TABLE.values() for rule in rules} - {"INSTANCE_UNKNOWN"}
    assert shown | {"ES_READING"} == set(RULES)
    page = (Path(__file__).parents[3] / "docs/es.md").read_text()
    assert {rule for rule in RULES if f"| {rule} |" not in page} == set()


def test_what_an_operator_may_accept_is_narrow() -> None:
    accepted = set()
    for state, candidates, _, rules in TABLE.values():
        answer = judge(gate_facts(state), [instance(n) for n in candidates], accepted=rules)
        accepted |= {r.rule for r in answer.accepted}
    assert accepted == {
        *("ES_NO_REPLICA", "ES_WRITE_WAIT", "ES_ONLY_MASTER", "ES_SILENT", "ES_STRANGER", "ES_SNAPSHOT"),
        *("ES_RECOVERING", "ES_FLOOD", "ES_RED"),
    }


def test_a_primary_that_was_lost_after_the_plan_cannot_be_accepted() -> None:
    state = cluster(shards=[*PAIR, *RED])
    old = judge(gate_facts(state, {"red": ["dead[0]"]}), [instance("node3")], accepted=["ES_RED"])
    new = judge(gate_facts(state, {"red": []}), [instance("node3")], accepted=["ES_RED"])
    assert (old.verdict, new.verdict) == (Verdict.OK, Verdict.REFUSE)


def test_allocation_that_this_job_switched_off_does_not_forbid_the_next_node() -> None:
    assert verdict(cluster(settings=LEFT), "node1", baseline={"allocation": "all"}) == ("ok", set())
    assert verdict(cluster(settings=LEFT), "node1", baseline={"allocation": "primaries"})[0] == "refuse"


def test_the_numbers_and_objects_are_named() -> None:
    answer = judge(gate_facts(cluster(shards=copies("logs", 2, ("node1", None)))), [instance("node1")])
    (reason,) = answer.reasons
    assert reason.objects == ("logs[2]",)
    assert reason.harm == "1 of 2 copies started"


def test_a_saved_state_is_judged_as_the_live_one(tmp_path: Path) -> None:
    state = load_state(Path(__file__).parent / "data" / "healthy.json", {"es": EsState})
    assert verdict(state, "node1") == ("ok", set())
    assert verdict(state, "node1", "node3") == ("refuse", {"ES_LAST_COPY", "ES_QUORUM"})
    save_state(state, tmp_path / "again.json")
    assert gate_facts(load_state(tmp_path / "again.json", {"es": EsState})) == gate_facts(state)


def test_a_rack_may_go_as_a_whole_when_awareness_put_a_copy_in_another() -> None:
    racks = {f"d{i}": f"r{i % 3}" for i in range(12)}
    nodes = sorted(racks, key=lambda n: (racks[n], n))
    shards = [s for i in range(100) for s in copies("logs", i, (f"d{i % 12}", f"d{(i + 1) % 12}"))]
    state = cluster(nodes, shards, racks=racks, roles=dict.fromkeys(nodes, ("data",)), voting=("m1", "m2", "m3"))
    state = replace(state, coordination=Coordination(voting=("m1",)))
    best = largest_safe_set([instance(n) for n in nodes], gate_facts(state))
    assert len(best.names) == 6  # every other node of the ring
    assert verdict(state, *(n for n in nodes if racks[n] == "r1"))[0] == "ok"


def test_a_hundred_thousand_shards_are_judged_in_seconds() -> None:
    nodes = [f"d{i}" for i in range(300)]
    shards = [s for i in range(50_000) for s in copies("big", i, (nodes[i % 300], nodes[i * 7 % 299]))]
    state = replace(
        cluster(nodes, roles=dict.fromkeys(nodes, ("data",)), voting=("d0", "d1", "d2")), shards=tuple(shards)
    )
    began = time.process_time()
    facts = gate_facts(state)
    assert judge(facts, [instance("d5")]).verdict is Verdict.OK
    assert time.process_time() - began < 5
    assert sum(len(b.objects) for b in facts.budgets if b.rule in ("ES_LAST_COPY", "ES_NO_REPLICA")) == 50_000


# Random clusters against a model that counts, copy by copy, what is surely there afterwards.

NAMES = ("a", "b", "c", "d", "e")
STATUS = st.sampled_from((UP, UP, UP, UP, REFUSED, GONE, SILENT, HUNG_OUT))


@st.composite
def clusters(draw: st.DrawFn, *, all_up: bool = False) -> tuple[EsState, dict[str, str]]:
    status = {n: UP if all_up else draw(STATUS) for n in NAMES}
    shards: list[Shard] = []
    for number in range(draw(st.integers(0, 4))):
        nodes = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        # On a node that the cluster has removed there is no copy.
        placed = [n if status[n] not in (GONE, HUNG_OUT) else None for n in nodes]
        if any(placed):
            shards += copies("i", number, sorted(placed, key=lambda n: n is None))
    voting = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    return cluster(status, shards, voting=voting), status


@given(clusters(), st.sets(st.sampled_from(NAMES), min_size=1), st.booleans())
def test_what_is_judged_ok_takes_no_last_copy_and_no_majority(
    made: tuple[EsState, dict[str, str]], chosen: set[str], daring: bool
) -> None:
    state, status = made
    accepted = ("ES_SILENT", "ES_RED", "ES_FLOOD", "ES_RECOVERING") if daring else ()
    if judge(gate_facts(state), [instance(n) for n in chosen], accepted).verdict is not Verdict.OK:
        return
    serving = {n for n in NAMES if status[n] == UP}
    taken = {n for n in chosen if status[n] in (UP, SILENT)}  # a process that the cluster still counts
    if not daring:
        assert not ({n for n in NAMES if status[n] in (SILENT, HUNG_OUT)} - chosen and chosen & serving)
    for number in {s.shard for s in state.shards or ()}:
        holders = {s.node for s in state.shards or () if s.shard == number and s.state == "STARTED"}
        if holders & taken:
            assert (holders & serving) - chosen, f"shard {number} of {holders} without {chosen}"
    voters = set(state.coordination.voting) if state.coordination else set()
    if voters & chosen & serving:
        assert len((voters & serving) - chosen) * 2 > len(voters)


@given(clusters(all_up=True), st.sets(st.sampled_from(NAMES), min_size=1))
def test_in_a_whole_cluster_all_that_is_safe_is_allowed(made: tuple[EsState, dict[str, str]], chosen: set[str]) -> None:
    state, _ = made
    voters = set(state.coordination.voting) if state.coordination else set()
    safe = not voters & chosen or len(voters - chosen) * 2 > len(voters)
    for number in {s.shard for s in state.shards or ()}:
        safe = safe and bool({s.node for s in state.shards or () if s.shard == number} - chosen)
    answer = judge(gate_facts(state), [instance(n) for n in chosen])
    assert (answer.verdict is Verdict.OK) == safe
