"""What may be stopped: one state a rule, and random states against a model that knows nothing of budgets."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.kafka.gates import RULES, gate_facts
from bdops.components.kafka.state import KafkaState, Partition, Reassignment, Topic
from bdops.core.gate import Verdict, judge
from bdops.core.waves import largest_safe_set
from tests.unit.kafka.kit import cluster, name, partition, topic

ORDERS = topic("orders", (1, 2, 3), (2, 3, 4), (3, 4, 1), (4, 1, 2))
FIVE = cluster(5).brokers
MOVING = Reassignment(partition="orders-0", adding=(4,), removing=(1,))


def told(state: KafkaState, *numbers: int, accepted: tuple[str, ...] = ()) -> dict[str, Verdict]:
    """The rules that speak against stopping these together."""
    answer = judge(gate_facts(state), {name(n) for n in numbers}, accepted)
    return {r.rule: r.verdict for r in answer.reasons}


def objects(state: KafkaState, rule: str, *numbers: int) -> set[str]:
    answer = judge(gate_facts(state), {name(n) for n in numbers})
    return {o for r in answer.reasons if r.rule == rule for o in r.objects}


WAIT, REFUSE, UNKNOWN = Verdict.WAIT, Verdict.REFUSE, Verdict.UNKNOWN
DOWN4: dict[str, Any] = {"refused": (4,), "fenced": (4,)}
BEHIND4 = topic("orders", (1, 2, 3), ((2, 3, 4), (2, 3)))
APART: dict[str, Any] = {"controllers": (11, 12, 13), "apart": True, "leader": 11}

CASES: list[tuple[str, KafkaState, tuple[int, ...], dict[str, Verdict]]] = [
    ("a healthy cluster lets one go", cluster(4, ORDERS), (1,), {}),
    ("and the leader of the controllers too", cluster(4, ORDERS, leader=2), (2,), {}),
    ("two that share partitions do not go together", cluster(4, ORDERS), (1, 4), {"KAFKA_MIN_ISR": REFUSE}),
    ("two voters of three do not", cluster(4), (1, 2), {"KAFKA_QUORUM": REFUSE}),
    ("two brokers that share nothing do", cluster(6, topic("a", (1, 4, 5), (2, 3, 6))), (4, 6), {}),
    ("three in sync and one needed: two go", cluster(4, ORDERS, minimum=1, **APART), (1, 2), {}),
    (
        "not the last one in sync",
        cluster(4, topic("orders", (1, 2, 3)), minimum=1, **APART),
        (1, 2, 3),
        {"KAFKA_LAST_IN_SYNC": REFUSE},
    ),
    ("at the minimum, and the third is dead", cluster(4, BEHIND4, **DOWN4), (2,), {"KAFKA_MIN_ISR": REFUSE}),
    ("the dead one itself may be restarted", cluster(4, BEHIND4, **DOWN4), (4,), {}),
    ("at the minimum, and the third is catching up", cluster(4, BEHIND4), (2,), {"KAFKA_MIN_ISR": WAIT}),
    (
        "at the minimum, and the third is starting",
        cluster(4, BEHIND4, refused=(4,), fenced=(4,), lags={4: 100}),
        (2,),
        {"KAFKA_MIN_ISR": WAIT},
    ),
    ("the one that catches up is not needed yet", cluster(4, BEHIND4), (4,), {}),
    ("an under-replicated partition elsewhere does not block", cluster(4, BEHIND4), (1,), {}),
    (
        "under the minimum nobody of its replicas goes",
        cluster(4, topic("orders", ((2, 3, 4), (2,)))),
        (4,),
        {"KAFKA_MIN_ISR": WAIT},
    ),
    (
        "a broker that died this second counts as gone, though the controllers do not know",
        cluster(4, ORDERS, refused=(4,)),
        (2,),
        {"KAFKA_MIN_ISR": REFUSE},
    ),
    (
        "a failed disk is a lost replica",
        cluster(4, topic("orders", partition(0, (1, 2, 3), (1, 2, 3), offline=(3,)))),
        (1,),
        {"KAFKA_MIN_ISR": REFUSE},
    ),
    (
        "as many replicas as the minimum",
        cluster(4, topic("orders", (1, 4))),
        (4,),
        {"KAFKA_REPLICAS_AT_MIN": REFUSE},
    ),
    ("one replica", cluster(4, topic("orders", (4,)), minimum=1), (4,), {"KAFKA_SINGLE_REPLICA": REFUSE}),
    (
        "the minimum is not in the state",
        cluster(4, ORDERS, topic("logs", (1, 2, 4)), minimum={"orders": 2}),
        (4,),
        {"KAFKA_MIN_ISR_UNKNOWN": UNKNOWN},
    ),
    ("its topic is not on that broker", cluster(4, topic("logs", (1, 2, 4)), minimum={}), (3,), {}),
    (
        "a silent broker forbids the others",
        cluster(4, ORDERS, silent=(4,)),
        (1,),
        {"KAFKA_SILENT": UNKNOWN} | {"KAFKA_MIN_ISR": REFUSE},
    ),
    ("a silent broker itself may go while the others are enough", cluster(4, ORDERS, silent=(4,)), (4,), {}),
    (
        "a silent one that is needed if it lives may not",
        cluster(4, topic("orders", ((2, 3, 4), (3, 4)), (1, 2, 3)), silent=(4,)),
        (4,),
        {"KAFKA_MIN_ISR": WAIT},
    ),
    ("a silent one that is fenced is nobody's loss", cluster(4, BEHIND4, silent=(4,), fenced=(4,)), (4,), {}),
    ("a reassignment is under way", cluster(4, ORDERS, reassignments=(MOVING,)), (3,), {"KAFKA_REASSIGNMENT": REFUSE}),
    ("nobody leads the controllers", cluster(4, ORDERS, leader=None), (4,), {"KAFKA_NO_CONTROLLER": WAIT}),
    (
        "a voter is down: no other goes",
        cluster(4, ORDERS, refused=(3,), fenced=(3,), unregistered=()),
        (2,),
        {"KAFKA_MIN_ISR": REFUSE, "KAFKA_QUORUM": REFUSE},
    ),
    ("but it may itself", cluster(4, refused=(3,), fenced=(3,)), (3,), {}),
    (
        "a voter that lags does not count, and is waited for",
        cluster(4, lags={13: 20_000}, **APART),
        (12,),
        {"KAFKA_QUORUM": WAIT},
    ),
    (
        "a silent voter neither",
        cluster(4, silent=(13,), **APART),
        (12,),
        {"KAFKA_SILENT": UNKNOWN, "KAFKA_QUORUM": REFUSE},
    ),
    ("the silent voter itself may go", cluster(4, silent=(13,), **APART), (13,), {}),
    ("one voter alone", cluster(4, controllers=(1,)), (1,), {"KAFKA_NO_SPARE_VOTER": REFUSE}),
    (
        "a broker that starts or recovers is left alone",
        cluster(4, ORDERS, refused=(4,), fenced=(4,), lags={4: 200}),
        (4,),
        {"KAFKA_RECOVERING": WAIT},
    ),
    ("one that is fenced and answers too", cluster(4, fenced=(4,)), (4,), {"KAFKA_RECOVERING": WAIT}),
    (
        "without a controller nobody knows whether a broker recovers",
        cluster(4, ORDERS, leader=None, refused=(4,), fenced=(4,)),
        (4,),
        {"KAFKA_RECOVERING": UNKNOWN},
    ),
    ("a server with old metadata", cluster(4, lags={4: 9000}), (1,), {"KAFKA_METADATA_BEHIND": WAIT}),
    ("a stranger broker", cluster(4, brokers=FIVE), (4,), {"KAFKA_STRANGER": UNKNOWN}),
    ("a stranger voter", cluster(4, controllers=(1, 2, 9)), (4,), {"KAFKA_STRANGER": UNKNOWN}),
    *(
        (f"{reading} was not read", replace(cluster(4, ORDERS), **{reading: None}), (4,), {"KAFKA_UNREAD": UNKNOWN})
        for reading in ("servers", "topic_configs", "quorum", "reassignments", "topics")
    ),
]


@pytest.mark.parametrize(("state", "stopped", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_state_is_judged_by_its_rules(
    state: KafkaState, stopped: tuple[int, ...], expected: dict[str, Verdict]
) -> None:
    assert told(state, *stopped) == expected


def test_every_rule_has_a_state_and_a_meaning() -> None:
    shown = {rule for case in CASES for rule in case[3]}
    assert shown | {"KAFKA_IDENTITY"} == set(RULES)
    page = (Path(__file__).parents[3] / "docs" / "kafka.md").read_text()
    assert [rule for rule, meaning in RULES.items() if f"| {rule} | {meaning} |" not in page] == []


def test_an_instance_without_a_number_is_unknown() -> None:
    state = cluster(4, ORDERS)
    assert state.expected is not None
    unnumbered = tuple(
        type(s)(name=s.name, host=s.host, roles=s.roles) if s.name == name(4) else s for s in state.expected
    )
    found = told(cluster(4, ORDERS, expected=unnumbered), 4)
    assert found["KAFKA_IDENTITY"] is UNKNOWN


def test_all_objects_are_named() -> None:
    assert objects(cluster(4, BEHIND4, **DOWN4), "KAFKA_MIN_ISR", 2) == {"orders-1"}
    # A pair of neighbours shares the partitions that both replicate.
    assert objects(cluster(4, ORDERS, **APART), "KAFKA_MIN_ISR", 1, 2) == {"orders-0", "orders-3"}


def test_a_risk_is_accepted_rule_by_rule() -> None:
    state = cluster(4, topic("orders", (1, 4)), topic("tmp", (4,)), minimum={"orders": 2, "tmp": 1})
    assert set(told(state, 4)) == {"KAFKA_REPLICAS_AT_MIN", "KAFKA_SINGLE_REPLICA"}
    assert set(told(state, 4, accepted=("KAFKA_SINGLE_REPLICA",))) == {"KAFKA_REPLICAS_AT_MIN"}
    assert told(state, 4, accepted=("KAFKA_SINGLE_REPLICA", "KAFKA_REPLICAS_AT_MIN")) == {}
    # Writes may go, reads may not.
    both = cluster(4, topic("orders", (2, 4)), **APART)
    assert told(both, 2, 4, accepted=("KAFKA_REPLICAS_AT_MIN",)) == {"KAFKA_LAST_IN_SYNC": REFUSE}


def test_the_largest_safe_set_of_racks_is_a_rack() -> None:
    """RF 3 over three racks, min ISR 2: exactly one rack's brokers may go."""
    racks = {n: f"r{n % 3}" for n in range(1, 13)}
    by_rack = [[n for n in racks if racks[n] == r] for r in ("r0", "r1", "r2")]
    partitions = [[by_rack[(k + i) % 3][(k * 7 + i) % 4] for i in range(3)] for k in range(120)]
    state = cluster(12, topic("orders", *partitions), racks=racks, controllers=(21, 22, 23), apart=True, leader=21)
    facts = gate_facts(state)
    found = largest_safe_set([name(n) for n in racks], facts)
    assert found.proved
    assert len({racks[int(n.removeprefix("prod/kafka/node"))] for n in found.names}) == 1
    assert len(found.names) == 4


# -- random states against a model ---------------------------------------------------------------------------

N = 5
CONDITIONS = ("up",) * 5 + ("down", "just died", "silent", "fenced")


@st.composite
def states(draw: st.DrawFn, *, well: bool = False) -> KafkaState:
    """Five brokers, three of them voters; each up, down, silent, fenced; partitions of one to four replicas."""
    numbers = list(range(1, N + 1))
    how = {n: "up" if well else draw(st.sampled_from(CONDITIONS)) for n in numbers}
    topics = []
    minimum = {}
    for t in range(draw(st.integers(1, 3))):
        partitions = []
        for p in range(draw(st.integers(1, 3))):
            replicas = draw(st.permutations(numbers))[: draw(st.integers(1, 4))]
            isr = draw(st.lists(st.sampled_from(replicas), unique=True, min_size=1))
            partitions.append(partition(p, replicas, isr))
        topics.append(topic(f"t{t}", *partitions))
        minimum[f"t{t}"] = draw(st.integers(1, 3))
    return cluster(
        N,
        *topics,
        minimum=minimum,
        refused=[n for n in numbers if how[n] in ("down", "just died")],
        fenced=[n for n in numbers if how[n] in ("down", "fenced")],
        silent=[n for n in numbers if how[n] == "silent"],
        lags={n: draw(st.sampled_from((0, 100, 60_000))) for n in numbers if not well},
        leader=draw(st.sampled_from((1, 2, 3))),
    )


def serves(state: KafkaState, number: int, silent_serve: bool) -> bool:
    server = next(s for s in state.servers or () if s.name == name(number))
    broker = next(b for b in state.brokers or () if b.id == number)
    return not broker.fenced and not server.refused and (silent_serve or not server.error)


def harmed(state: KafkaState, gone: set[int], *, silent_serve: bool) -> list[str]:
    """Partitions from which something is taken and that are under their minimum (or leaderless) then."""
    found = []
    for t in state.topics or ():
        minimum = int((state.topic_configs or {})[t.name]["min.insync.replicas"])
        for p in t.partitions:
            # A candidate may serve whatever it tells us.
            before = {b for b in p.isr if serves(state, b, silent_serve or b in gone)}
            after = before - gone
            if before != after and len(after) < minimum:
                found.append(f"{t.name}-{p.id}")
    return found


def quorum_lost(state: KafkaState, gone: set[int]) -> bool:
    """Whether fewer than two of the three voters follow and run when these are gone, counting the silent as gone."""
    assert state.quorum is not None
    left = 0
    for voter in state.quorum.voters:
        server = next(s for s in state.servers or () if s.name == name(voter.id))
        leads = voter.id == state.quorum.leader_id
        follows = leads or (voter.lag_ms is not None and voter.lag_ms < 5000)
        alive = not server.error or (leads and server.refused)
        left += voter.id not in gone and follows and alive
    return left < 2


SETS = [set(c) for size in range(1, N + 1) for c in combinations(range(1, N + 1), size)]


@settings(max_examples=300, deadline=None)
@given(states())
def test_what_is_judged_ok_hurts_no_partition_and_no_quorum(state: KafkaState) -> None:
    facts = gate_facts(state)
    down = {n for n in range(1, N + 1) if next(s for s in state.servers or () if s.name == name(n)).refused}
    assert state.quorum is not None
    for accepted in ((), ("KAFKA_SILENT", "KAFKA_RECOVERING", "KAFKA_METADATA_BEHIND")):
        for gone in SETS:
            if judge(facts, {name(n) for n in gone}, accepted).verdict is not Verdict.OK:
                continue
            for silent_serve in (False, True):
                assert harmed(state, gone, silent_serve=silent_serve) == []
            if gone & {1, 2, 3} - down:
                # What is stopped beside a quorum that is lost already takes nothing from it.
                takes = {v.id for v in state.quorum.voters if v.id in gone and (v.lag_ms or 0) < 5000}
                assert not takes or not quorum_lost(state, gone)


@settings(max_examples=200, deadline=None)
@given(states(well=True))
def test_where_all_is_well_but_some_catch_up_nothing_is_refused_for_nothing(state: KafkaState) -> None:
    facts = gate_facts(state)
    for gone in SETS:
        ok = judge(facts, {name(n) for n in gone}).verdict is Verdict.OK
        free = not harmed(state, gone, silent_serve=True) and not quorum_lost(state, gone)
        # Nor is anybody stopped who could help a partition out that is under its minimum.
        mends = any(
            len(p.isr) < min(len(p.replicas), int((state.topic_configs or {})[t.name]["min.insync.replicas"]))
            and gone & set(p.replicas)
            for t in state.topics or ()
            for p in t.partitions
        )
        assert ok == (free and not mends)


def test_millions_of_replicas_are_judged_in_seconds() -> None:
    """933,000 partitions on 100 brokers: 2.8 million replicas."""
    partitions = tuple(
        Partition(id=n, leader=r[0], replicas=r, isr=r)
        for n in range(933_000)
        for r in [(1 + n % 100, 1 + (n * 7 + 1 + n // 100) % 100, 1 + (n * 3 + 2 + n // 300) % 100)]
        if len(set(r)) == 3
    )
    state = cluster(100, Topic(name="big", partitions=partitions), controllers=(101, 102, 103), apart=True, leader=101)
    began = time.process_time()
    facts = gate_facts(state)
    answer = judge(facts, {name(1)})
    took_s = time.process_time() - began
    assert answer.verdict in (Verdict.OK, Verdict.REFUSE)
    assert took_s < 10
