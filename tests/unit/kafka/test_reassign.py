"""Moves of replicas, purely: batches, how far they have come, slots, throttles, the gate, the way back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka.reassign import throttle
from bdops.components.kafka.reassign.delay import led_by
from bdops.components.kafka.reassign.dirs import DirMove, dir_phases, dir_progress, dir_targets, dirs_back
from bdops.components.kafka.reassign.moves import Move, batches, next_replicas, stands, startable
from bdops.components.kafka.reassign.obstacles import RULES, obstacles
from bdops.components.kafka.reassign.order import Pace, batch_progress, move_targets, way_back
from bdops.components.kafka.state import Broker, KafkaState, LogDir, Partition, Reassignment, Topic
from bdops.core.plan import Step
from bdops.errors import StateUnknown

BROKERS = range(1, 7)
replica_sets = st.lists(st.sampled_from(BROKERS), min_size=1, max_size=4, unique=True).map(tuple)
moves = st.lists(st.tuples(replica_sets, replica_sets, st.integers(0, 10**12)), max_size=40).map(
    lambda found: [
        Move(partition=f"t-{n}", old=old, new=new, size_bytes=size) for n, (old, new, size) in enumerate(found)
    ]
)


def state(**changes: Any) -> KafkaState:
    """Four brokers, topic t with partition 0 on 1, 2, 3; nothing in flight, nothing set."""
    whole = KafkaState(
        cluster="prod",
        taken_at=datetime(2026, 12, 1, tzinfo=UTC),
        brokers=tuple(Broker(id=n) for n in (1, 2, 3, 4)),
        topics=(Topic(name="t", partitions=(Partition(id=0, leader=1, replicas=(1, 2, 3), isr=(1, 2, 3)),)),),
        topic_configs={"t": {"min.insync.replicas": "2"}},
        broker_configs={},
        reassignments=(),
        log_dirs=tuple(
            LogDir(broker=n, path="/d", total_bytes=1000, usable_bytes=500, replicas={"t-0": 100} if n < 4 else {})
            for n in (1, 2, 3, 4)
        ),
    )
    return replace(whole, **changes)


MOVE = Move(partition="t-0", old=(1, 2, 3), new=(4, 2, 3), size_bytes=100)


def at(replicas: tuple[int, ...], isr: tuple[int, ...] | None = None) -> tuple[Topic, ...]:
    kept = Partition(id=0, leader=replicas[0], replicas=replicas, isr=replicas if isr is None else isr)
    return (Topic(name="t", partitions=(kept,)),)


@given(moves, st.integers(1, 10**12), st.integers(1, 10))
def test_batches_hold_every_move_once_within_their_limits(found: list[Move], size: int, count: int) -> None:
    cut = batches(found, max_bytes=size, max_moves=count)
    assert sorted(m.partition for b in cut for m in b) == sorted(m.partition for m in found)
    for batch in cut:
        assert len(batch) <= count
        assert len(batch) == 1 or sum(m.copied_bytes for m in batch) <= size
    assert cut == batches(list(reversed(found)), max_bytes=size, max_moves=count), "the order of the input is no matter"


@pytest.mark.parametrize(
    ("replicas", "flying", "phase"),
    [
        ((1, 2, 3), None, "waiting"),
        ((4, 2, 3), None, "done"),
        ((2, 4, 3), None, "waiting"),
        ((4, 2, 3, 1), ((4,), (1,)), "moving"),
        ((1, 2, 5), None, "foreign"),
        ((5, 2, 3, 1), ((5,), (1,)), "foreign"),
        ((1, 2, 3, 4), ((4,), ()), "moving"),
        ((1, 2), None, "foreign"),
    ],
)
def test_how_far_a_move_has_come_is_told_by_the_replicas(
    replicas: tuple[int, ...], flying: tuple[tuple[int, ...], tuple[int, ...]] | None, phase: str
) -> None:
    inflight = (Reassignment(partition="t-0", adding=flying[0], removing=flying[1]),) if flying else ()
    (found,) = stands(state(topics=at(replicas), reassignments=inflight), [MOVE])
    assert found.phase == phase


def test_a_deleted_partition_is_gone_and_holds_nothing_up() -> None:
    (found,) = stands(state(topics=()), [MOVE])
    assert found.phase == "gone"
    assert batch_progress(state(topics=()), {"moves": {"t-0": MOVE.data()}}).done


@given(replica_sets, replica_sets)
def test_one_at_a_time_every_step_exchanges_one_replica_and_it_ends(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    move = Move(partition="t-0", old=old, new=new, size_bytes=1)
    now = old
    for _ in range(10):
        (found,) = stands(state(topics=at(now)), [move])
        if found.phase == "done":
            break
        assert found.phase == "waiting"
        then = next_replicas(found, one_at_a_time=True)
        assert len(set(then)) == len(then)
        assert len(set(then) - set(now)) <= 1
        assert len(set(now) - set(then)) <= 1
        now = then
    assert now == new


@given(moves, st.integers(1, 5))
def test_no_broker_takes_or_gives_more_than_its_slots(found: list[Move], slots: int) -> None:
    partitions = tuple(Partition(id=n, leader=m.old[0], replicas=m.old, isr=m.old) for n, m in enumerate(found))
    ready = startable(stands(state(topics=(Topic(name="t", partitions=partitions),)), found), slots=slots)
    taking = Counter(b for s in ready for b in s.move.added)
    assert max(taking.values(), default=0) <= slots
    giving = Counter(s.leader for s in ready for _ in s.move.added)
    alone = Counter(s.leader for s in ready if s.move.added)
    assert all(count <= slots or alone[broker] == 1 for broker, count in giving.items())
    assert ready or all(m.old == m.new for m in found), "something always begins"


entries = st.sets(st.tuples(st.integers(0, 20), st.integers(1, 9)).map(lambda e: f"{e[0]}:{e[1]}"), max_size=8)


@given(st.none() | entries.map(lambda e: ",".join(sorted(e)) or None), entries, entries)
def test_a_list_of_throttled_replicas_is_put_back_whatever_others_added(
    previous: str | None, ours: set[str], theirs: set[str]
) -> None:
    value = throttle.with_entries(previous, ours)
    assert set((value or "").split(",")) - {""} == set((previous or "").split(",")) - {""} | ours
    assert throttle.without_entries(value, value, previous) == previous
    changed = throttle.with_entries(value, theirs)
    back = set((throttle.without_entries(changed, value, previous) or "").split(",")) - {""}
    assert back == (set((previous or "").split(",")) | (theirs - ours)) - {""} or changed == value


def test_everything_throttled_stays_so() -> None:
    assert throttle.with_entries("*", {"0:1"}) == "*"
    assert throttle.without_entries("*", "0:1", None) == "*"


def test_what_others_have_set_is_not_set() -> None:
    found = throttle.settings(state(), [MOVE], 10)
    assert {(s.object, s.key.split(".")[0], s.previous, s.value) for s in found} == {
        ("topic t", "leader", None, "0:1,0:2,0:3"),
        ("topic t", "follower", None, "0:4"),
        ("broker 1", "leader", None, "10"),
        ("broker 2", "leader", None, "10"),
        ("broker 3", "leader", None, "10"),
        ("broker 4", "follower", None, "10"),
    }
    theirs = state(
        topic_configs={"t": {throttle.LEADER_REPLICAS: "*"}}, broker_configs={"": {throttle.FOLLOWER_RATE: "7"}}
    )
    assert {(s.object, s.key) for s in throttle.settings(theirs, [MOVE], 10)} == {
        ("topic t", throttle.FOLLOWER_REPLICAS),
        *((f"broker {b}", throttle.LEADER_RATE) for b in (1, 2, 3)),
    }
    reordered = replace(MOVE, new=(2, 1, 3))
    assert throttle.settings(state(), [reordered], 10) == ()


def test_the_rate_grows_by_steps_and_is_halved_when_somebody_suffers() -> None:
    fine = throttle.Signals(answer_s=0.01, usual_answer_s=0.01)
    assert throttle.adapt(20_000_000, fine)[0] == 30_000_000
    assert throttle.adapt(throttle.MAX_BYTES_PER_S, fine)[0] == throttle.MAX_BYTES_PER_S
    for signals, evidence in (
        (throttle.Signals(shrunk=("t-1",)), "t-1"),
        (throttle.Signals(answer_s=0.4, usual_answer_s=0.1), "brokers answer in 400 ms"),
        (throttle.Signals(delay_s=0.7, usual_delay_s=0.2), "records wait"),
        (throttle.Signals(delay_s=0.7), "records wait"),
    ):
        rate, why = throttle.adapt(20_000_000, signals)
        assert rate == 10_000_000
        assert evidence in why
        assert throttle.adapt(throttle.MIN_BYTES_PER_S, signals)[0] == throttle.MIN_BYTES_PER_S
    assert throttle.adapt(20_000_000, throttle.Signals(answer_s=0.04, usual_answer_s=0.001))[0] == 30_000_000
    assert throttle.adapt(20_000_000, throttle.Signals(delay_s=0.5, usual_delay_s=0.2))[0] == 30_000_000


def test_the_wait_for_in_sync_replicas_is_looked_at_where_there_are_others_and_evenly() -> None:
    many = tuple(Partition(id=n, leader=1 + n % 3, replicas=(1, 2, 3), isr=(1, 2, 3)) for n in range(900))
    alone = Partition(id=900, leader=1, replicas=(1, 2, 3), isr=(1,))
    found = led_by(state(topics=(Topic(name="t", partitions=(*many, alone)),)), [1, 2, 1, 4])
    assert set(found) == {1, 2}
    assert all(len(set(names)) == 100 for names in found.values())
    assert "t-900" not in found[1]
    assert {int(n[2:]) // 300 for n in found[2]} == {0, 1, 2}


FULL = tuple(LogDir(broker=n, path="/d", total_bytes=1000, usable_bytes=200, replicas={}) for n in (1, 2, 3, 4))
BEGUN = tuple(LogDir(broker=n, path="/d", total_bytes=1000, usable_bytes=200, replicas={"t-0": 90}) for n in (1, 4))


@pytest.mark.parametrize(
    ("changes", "rule", "verdict", "object"),
    [
        ({}, None, None, None),
        ({"log_dirs": None}, "KAFKA_MOVE_UNREAD", "unknown", "log_dirs"),
        ({"brokers": tuple(Broker(id=n) for n in (1, 2, 3))}, "KAFKA_MOVE_BROKER", "wait", "broker 4"),
        ({"brokers": (*(Broker(id=n) for n in (2, 3, 4)), Broker(id=1, fenced=True))}, None, None, None),
        ({"topics": at((1, 2, 5))}, "KAFKA_MOVE_FOREIGN", "refuse", "t-0"),
        ({"topics": at((1, 2, 3), (1,))}, "KAFKA_MOVE_ISR", "wait", "t-0"),
        (
            {
                "topics": at((4, 2, 3, 1), (1, 2, 3)),
                "reassignments": (Reassignment(partition="t-0", adding=(4,), removing=(1,)),),
            },
            None,
            None,
            None,
        ),
        (
            {"topics": (*at((1, 2, 3)), Topic(name="u", partitions=(Partition(id=0, replicas=(1, 2), isr=(1,)),)))},
            "KAFKA_MOVE_ISR",
            "wait",
            "u-0",
        ),
        ({"log_dirs": FULL}, "KAFKA_MOVE_DISK", "refuse", "broker 4"),
        ({"log_dirs": BEGUN}, None, None, None),
        ({"topics": at((4, 2, 3)), "log_dirs": FULL}, None, None, None),
    ],
)
def test_the_gate_names_what_is_in_the_way(
    changes: dict[str, Any], rule: str | None, verdict: str | None, object: str | None
) -> None:
    found = obstacles(state(**changes), [MOVE], watermark=0.85)
    assert [(r.rule, r.verdict.value, r.objects[0]) for r in found] == ([(rule, verdict, object)] if rule else [])


def test_every_rule_of_the_gate_is_documented() -> None:
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs/moves.md").read_text()
    for rule, meaning in RULES.items():
        assert f"| `{rule}` | {meaning} |" in page


def test_targets_come_in_batches_and_the_way_back_undoes_them() -> None:
    reordered = Move(partition="t-1", old=(1, 2), new=(2, 1), size_bytes=5)
    targets = move_targets("prod", [MOVE, reordered], Pace(batch_moves=1))
    assert [t.acts for t in targets] == [("gate", "throttle", "move", "unthrottle"), ("gate", "move"), ("elect",)]
    assert targets[-1].args["partitions"] == ["t-0", "t-1"]
    steps = [Step(id=str(n), component="kafka", name=t.name, acts=t.acts, args=t.args) for n, t in enumerate(targets)]
    topics = (
        Topic(
            name="t",
            partitions=(Partition(id=0, replicas=(4, 2, 3), isr=(4,)), Partition(id=1, replicas=(1, 2), isr=(1,))),
        ),
    )
    back = way_back(state(topics=topics), steps)
    assert [t.args["moves"] for t in back if "moves" in t.args] == [
        {"t-0": {"old": [4, 2, 3], "new": [1, 2, 3], "bytes": 100}}
    ]
    assert way_back(state(topics=at((1, 2, 3))), steps) == ()


def directories(current: dict[str, str], future: dict[str, str]) -> tuple[LogDir, ...]:
    return tuple(
        LogDir(
            broker=1,
            path=path,
            replicas={p: 1 for p, at in current.items() if at == path},
            moving_in={p: 1 for p, at in future.items() if at == path},
        )
        for path in ("/a", "/b")
    )


@pytest.mark.parametrize(
    ("current", "future", "phase"),
    [
        ({"t-0": "/a"}, {}, "waiting"),
        ({"t-0": "/a"}, {"t-0": "/b"}, "moving"),
        ({"t-0": "/b"}, {}, "done"),
        ({"t-0": "/b"}, {"t-0": "/a"}, "moving"),
        ({}, {}, "gone"),
    ],
)
def test_how_far_a_move_between_directories_has_come_is_told_by_what_they_hold(
    current: dict[str, str], future: dict[str, str], phase: str
) -> None:
    move = DirMove(partition="t-0", broker=1, source="/a", target="/b", size_bytes=1)
    (target,) = dir_targets("prod", [move], throttle="1MB/s", slots=1)
    found = state(log_dirs=directories(current, future))
    assert dir_phases(found, target.args) == {"t-0": phase}
    assert dir_progress(found, target.args).done == (phase in ("done", "gone"))
    step = Step(id="1", component="kafka", name=target.name, acts=target.acts, args=target.args)
    back = dirs_back(found, [step])
    assert [t.args["dirs"] for t in back] == (
        [{"t-0": {"source": "/b", "target": "/a", "bytes": 1}}] if phase == "done" else []
    )


def test_directories_that_are_not_known_are_not_taken_for_done() -> None:
    with pytest.raises(StateUnknown):
        dir_phases(state(log_dirs=None), {"broker": 1, "dirs": {}})
