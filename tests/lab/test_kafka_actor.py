"""Kafka's side of a job on a real cluster: leaderships and the borrowed order, leftovers, and what it reads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bdops.components.kafka import order
from bdops.components.kafka.actor import KafkaActor
from bdops.components.kafka.checks.common import name_of
from bdops.components.kafka.reassign.delay import MOST_S, led_by, replication_delay_s
from bdops.components.kafka.state import Partition
from bdops.core.actor import Borrowed
from bdops.core.plan import Step
from bdops.lab import kafka, kafka_client
from bdops.lab.lab import Lab
from tests.conftest import Bdops

pytestmark = pytest.mark.lab("kafka")
CALL_S = 30.0
TOPIC = "borrowed"
LISTS = [[4, 1, 2], [4, 2, 1], [1, 4, 3], [1, 4, 2], [3, 2, 4]]

Ledger = dict[tuple[str, str], tuple[Borrowed, set[str]]]


@dataclass
class Context:
    """One step's view of a ledger in memory that does what the engine's does: core.actor.ActContext."""

    actor: KafkaActor
    ledger: Ledger
    holder: str
    timeout_s: float = CALL_S
    act_id: str = "test"
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def borrow(self, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        new = Borrowed(component="kafka", object=object, key=key, previous=previous, value=value)
        self.ledger.setdefault((object, key), (new, set()))[1].add(self.holder)

    def borrowed(self, object: str, key: str) -> Borrowed | None:
        return self.ledger[object, key][0] if (object, key) in self.ledger else None

    def give_back(self, object: str, key: str) -> None:
        borrowed, holders = self.ledger[object, key]
        holders.discard(self.holder)
        if not holders:
            self.actor.restore(borrowed)
            del self.ledger[object, key]


def step(lab: Lab, host: str) -> Step:
    name = f"{lab.name}/kafka/{host}"
    return Step(id=host, component="kafka", name=name, instance=name, acts=(order.MOVE_LEADERS, order.ELECT_PREFERRED))


def done(actor: KafkaActor, of: Step, act: str) -> bool:
    return actor.progress(actor.read(timeout_s=CALL_S), of, act, {}).done


@pytest.fixture
def actor(lab: Lab) -> KafkaActor:
    return KafkaActor(lab.deployment("kafka"))


@pytest.fixture
def topic(lab: Lab) -> Iterator[str]:
    """A topic of which node4 leads two partitions and node1 two."""
    kafka_client.await_in_sync(lab)
    kafka_client.create_topic(lab, TOPIC, LISTS)
    yield TOPIC
    kafka_client.delete_topics(lab, [TOPIC])


def partitions(lab: Lab) -> dict[str, Partition]:
    return {name_of(t, p): p for t, p in kafka_client.state_of(lab, "topics").partitions()}


def layout(lab: Lab) -> dict[str, tuple[tuple[int, ...], int | None]]:
    return {name: (p.replicas, p.leader) for name, p in partitions(lab).items()}


def test_leaderships_leave_a_broker_and_come_back_with_the_order_of_replicas(
    lab: Lab, actor: KafkaActor, topic: str, eventually: Callable[..., Any]
) -> None:
    before, ledger, one = layout(lab), dict[Any, Any](), step(lab, "node4")
    context = Context(actor, ledger, one.id)
    actor.perform(one, order.MOVE_LEADERS, context)
    eventually(lambda: done(actor, one, order.MOVE_LEADERS), 10)
    moved = partitions(lab)
    assert all(p.leader != 4 for p in moved.values())
    for name, p in moved.items():
        assert sorted(p.replicas) == sorted(before[name][0]), name
        assert sorted(p.isr) == sorted(p.replicas), "nothing was copied, nothing left the in-sync set"
    ((loan, _),) = ledger.values()
    assert json.loads(loan.previous)[f"{topic}-0"] == LISTS[0]
    # Again, as a job does that was killed right here: nothing is borrowed twice.
    actor.perform(one, order.MOVE_LEADERS, context)
    assert len(ledger) == 1
    # Another process takes over.
    other = KafkaActor(lab.deployment("kafka"))
    assert not done(other, one, order.ELECT_PREFERRED)
    other.perform(one, order.ELECT_PREFERRED, Context(other, ledger, one.id))
    eventually(lambda: done(other, one, order.ELECT_PREFERRED), 10)
    assert ledger == {}
    eventually(lambda: layout(lab) == before, 10)


@pytest.mark.parametrize("first_back", [0, 1])
def test_what_two_brokers_borrow_of_one_partition_comes_back_whoever_is_first(
    lab: Lab, actor: KafkaActor, topic: str, first_back: int, eventually: Callable[..., Any]
) -> None:
    before, ledger = layout(lab), dict[Any, Any]()
    steps = [step(lab, "node4"), step(lab, "node1")]
    contexts = [Context(actor, ledger, s.id) for s in steps]
    for one, context in zip(steps, contexts, strict=True):
        actor.perform(one, order.MOVE_LEADERS, context)
        eventually(lambda s=one: done(actor, s, order.MOVE_LEADERS), 10)
    leading = {p.leader for p in partitions(lab).values()}
    assert not leading & {1, 4}
    lent = [set(json.loads(loan.previous)) for loan, _ in ledger.values()]
    assert not lent[0] & lent[1], "a partition is borrowed once"
    for n in (first_back, 1 - first_back):
        actor.perform(steps[n], order.ELECT_PREFERRED, contexts[n])
    assert ledger == {}
    kafka_client.elect_preferred(lab)
    eventually(lambda: layout(lab) == before, 10)


def test_what_somebody_moved_or_deleted_meanwhile_is_left_alone(lab: Lab, actor: KafkaActor, topic: str) -> None:
    kafka_client.reassign(lab, topic, 0, [4, 1, 3])
    kafka_client.wait_state(lab, "it to be moved", ["reassignments"], lambda s: s.reassignments == ())
    orders = {f"{topic}-0": LISTS[0], f"{topic}-1": [1, 2, 4], "gone-0": [1, 2, 3]}
    borrowed = Borrowed(component="kafka", object="x", key="replicas/0", previous=json.dumps(orders), value="{}")
    actor.restore(borrowed)
    actor.restore(borrowed)
    found = partitions(lab)
    assert found[f"{topic}-0"].replicas == (4, 1, 3)
    assert found[f"{topic}-1"].replicas == (1, 2, 4)


def test_leaders_are_elected_where_they_are_off_their_preferred_replica(
    lab: Lab, bdops: Bdops, topic: str, eventually: Callable[..., Any]
) -> None:
    assert "nothing to do" in bdops("kafka", "leaders", "elect", "--topic", topic, "--yes").stdout
    # The lab's controller rebalances leaders itself every few seconds: it may be the first.
    kafka_client.reassign(lab, topic, 0, [1, 4, 2])
    kafka_client.reassign(lab, topic, 2, [3, 1, 4])
    elected = bdops("kafka", "leaders", "elect", "--topic", topic, "--yes")
    assert elected.returncode == 0, elected.stderr
    eventually(lambda: partitions(lab)[f"{topic}-0"].leader == 1, 10)
    eventually(lambda: partitions(lab)[f"{topic}-2"].leader == 3, 10)


def test_a_broker_gives_all_its_leaderships_away_for_good(
    lab: Lab, bdops: Bdops, topic: str, eventually: Callable[..., Any]
) -> None:
    before = layout(lab)
    shown = bdops("kafka", "leaders", "move-away", "node4", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "change for good" in shown.stdout
    assert layout(lab) == before
    try:
        moved = bdops("kafka", "leaders", "move-away", "node4", "--yes")
        assert moved.returncode == 0, moved.stderr
        assert all(p.leader != 4 for p in partitions(lab).values())
        assert "nothing to do" in bdops("kafka", "leaders", "move-away", "node4", "--yes").stdout
        assert not bdops("doctor", "-o", "json").json["data"].get("open_jobs")
    finally:
        orders = {n: [*replicas] for n, (replicas, _) in before.items()}
        KafkaActor(lab.deployment("kafka")).restore(
            Borrowed(component="kafka", object="x", key="replicas/0", previous=json.dumps(orders), value=None)
        )
        kafka_client.elect_preferred(lab)
    eventually(lambda: layout(lab) == before, 15)


def test_throttles_that_somebody_left_are_found_and_removed(lab: Lab, actor: KafkaActor) -> None:
    rate, replicas = "leader.replication.throttled.rate", "leader.replication.throttled.replicas"
    kafka_client.set_configs(lab, "broker", "4", {rate: "1000000"})
    kafka_client.set_configs(lab, "topic", "orders", {replicas: "*"})
    try:
        found = {(x.object, x.key): x for x in actor.leftovers(actor.read(timeout_s=CALL_S))}
        assert set(found) == {("broker 4 (node4)", rate), ("topic orders", replicas)}
        assert all(x.fixable for x in found.values())
        for leftover in found.values():
            actor.clear(leftover)
        assert actor.leftovers(actor.read(timeout_s=CALL_S)) == ()
    finally:
        kafka_client.set_configs(lab, "broker", "4", {rate: None})
        kafka_client.set_configs(lab, "topic", "orders", {replicas: None})


def test_a_reading_of_a_job_is_quick_and_has_what_the_rules_need(lab: Lab, actor: KafkaActor) -> None:
    kafka_client.await_in_sync(lab)
    began = time.monotonic()
    state = actor.read(timeout_s=CALL_S)
    took_s = time.monotonic() - began
    assert state.unread == {}
    assert {n: set(dirs.values()) for n, dirs in (state.dir_errors or {}).items()} == {
        str(n): {None} for n in (1, 2, 3, 4)
    }
    assert all(len(dirs) == 2 for dirs in (state.dir_errors or {}).values())
    assert took_s < 5
    assert actor.down(state) == {}


def test_a_closed_port_is_told_from_a_server_that_is_silent(lab: Lab, actor: KafkaActor) -> None:
    name = f"{lab.name}/kafka/node4"
    kafka_client.await_in_sync(lab)
    lab.pause(kafka.PROGRAM, "node4")
    try:
        paused = actor.read(timeout_s=CALL_S)
    finally:
        lab.resume(kafka.PROGRAM, "node4")
    lab.kill(kafka.PROGRAM, "node4")
    try:
        dead = actor.read(timeout_s=CALL_S)
    finally:
        lab.start(kafka.PROGRAM, "node4")
        kafka_client.await_in_sync(lab, 120)
    for state, refused in ((paused, False), (dead, True)):
        (server,) = (s for s in state.servers or () if s.name == name)
        assert server.error
        assert server.refused is refused
        assert set(actor.down(state)) == {name}


def test_how_long_records_wait_for_a_follower_is_seen_without_producing(
    lab: Lab, actor: KafkaActor, topic: str
) -> None:
    led = led_by(kafka_client.state_of(lab, "topics"), [1])
    mine = {1: tuple(n for n in led[1] if n.startswith(topic))}
    assert mine[1]

    def delay_s() -> float:
        found = replication_delay_s(actor._with_connection, mine)
        assert found is not None
        return found

    usual_s = delay_s()
    assert usual_s < MOST_S / 2
    with kafka_client.producer(lab, acks=1) as client:
        # Asked for only now, the paused broker might be asked, and be out of sync when another answers.
        client.partitions_for(topic)
        lab.pause(kafka.PROGRAM, "node4")
        try:
            for name in mine[1]:
                client.send(topic, b"x", partition=int(name.rpartition("-")[2]))
            client.flush(timeout=20)
            # It is in sync for two rounds of the three, or nearly.
            assert delay_s() >= MOST_S / 2, "the paused follower has not got it, and is in sync still"
        finally:
            lab.resume(kafka.PROGRAM, "node4")
    kafka_client.await_in_sync(lab)
    kafka_client.elect_preferred(lab)
    assert delay_s() < MOST_S / 2
