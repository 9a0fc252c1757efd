"""A rolling restart of a real cluster under load, as clients see it that know nothing of bdops; and disturbed ones."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bdops.components.kafka.checks.common import name_of
from bdops.lab import kafka, kafka_client
from bdops.lab.kafka_load import assignment
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = pytest.mark.lab("kafka")
TOPIC = "observed"
RESTART_S = 600


@contextmanager
def observed(lab: Lab) -> Iterator[jobs.Observed]:
    """Clients work while this lasts; afterwards the report is there."""
    kafka_client.create_topic(lab, TOPIC, assignment(12))
    hosts = ",".join(kafka_client.bootstrap(lab))
    try:
        with jobs.observing("kafka_observer", TOPIC, "2", hosts, timeout_s=240) as report:
            yield report
    finally:
        kafka_client.delete_topics(lab, [TOPIC])


@pytest.fixture(autouse=True)
def in_sync(lab: Lab) -> None:
    await_whole(lab)


def await_whole(lab: Lab) -> None:
    """Return when all servers answer, and are in sync: for seconds the controllers take a dead one for alive."""
    lab.wait("Kafka to serve", lambda: kafka.serving(lab), 180)
    kafka_client.await_in_sync(lab, 180)


def orders(lab: Lab) -> dict[str, tuple[tuple[int, ...], int | None]]:
    """Of every partition the order of its replicas, and its leader."""
    state = kafka_client.state_of(lab, "topics")
    return {name_of(t, p): (p.replicas, p.leader) for t, p in state.partitions() if t.name != TOPIC}


def controller(lab: Lab) -> str:
    quorum = kafka_client.state_of(lab, "quorum").quorum
    assert quorum is not None
    assert quorum.leader_id is not None
    return kafka.HOSTS[quorum.leader_id - 1]


def assert_nothing_is_left(lab: Lab) -> None:
    assert not jobs.newest_state(lab).open_loans
    assert not jobs.remains(lab)


@pytest.mark.timeout(1200)
def test_a_full_restart_under_load_loses_nothing_and_fails_no_request(lab: Lab, bdops: Bdops) -> None:
    before, first, last = jobs.pids(lab, "kafka"), orders(lab), controller(lab)
    starts = jobs.spawns(lab, "kafka")
    with observed(lab) as report:
        began = time.monotonic()
        done = bdops("kafka", "restart", "--yes", "--reason", "the proof", timeout_s=RESTART_S)
        took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    print(f"kafka restart: {took_s:.1f} s; {json.dumps(report)}")
    after = jobs.pids(lab, "kafka")
    assert all(after[name] not in (None, pid) for name, pid in before.items())
    assert set(jobs.restarts(lab, "kafka", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == last
    assert orders(lab) == first, "every order of replicas is what it was, and so is every leader"
    assert_nothing_is_left(lab)
    assert report["violations"] == []
    assert report["fewest_in_sync"] >= 2
    assert report["fewest_brokers_up"] >= 3
    assert report["fewest_voters"] >= 2
    assert report["acknowledged"] > 500
    assert report["samples"] > 50


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_a_restart_that_is_killed_half_way_is_resumed_under_load(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, first, last = jobs.spawns(lab, "kafka"), orders(lab), controller(lab)
    with observed(lab) as report:
        with jobs.running(lab, home, "kafka", "restart", "--yes") as (_, await_event):
            # Leaderships are away, the order of replicas is borrowed, and the broker is about to go.
            await_event("act_announced", step="0002", act="restart")
        done = bdops("jobs", "resume", timeout_s=RESTART_S)
    assert done.returncode == 0, done.stderr
    print(f"kafka restart, killed and resumed: {json.dumps(report)}")
    assert set(jobs.restarts(lab, "kafka", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == last
    assert orders(lab) == first
    assert_nothing_is_left(lab)
    assert report["violations"] == []
    assert report["fewest_brokers_up"] >= 3


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_another_server_that_dies_meanwhile_pauses_the_job_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, first, leader = jobs.spawns(lab, "kafka"), orders(lab), controller(lab)
    one, other = (h for h in kafka.CONTROLLERS if h != leader)
    with jobs.running(lab, home, "kafka", "restart", f"{one},{leader}", "--yes") as (process, await_event):
        await_event("verified", step="0001", act="restart")
        lab.kill(kafka.PROGRAM, other)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert f"{lab.name}/kafka/{other}" in err
    assert "bdops jobs resume" in err
    assert jobs.restarts(lab, "kafka", starts) == {one: 1, leader: 0, other: 0, "node4": 0}
    assert not jobs.newest_state(lab).open_loans
    assert not jobs.remains(lab)
    lab.start(kafka.PROGRAM, other)
    await_whole(lab)
    assert orders(lab) == first
    done = bdops("jobs", "resume", timeout_s=RESTART_S)
    assert done.returncode == 0, done.stderr
    assert jobs.restarts(lab, "kafka", starts) == {one: 1, leader: 1, other: 1, "node4": 0}
    assert_nothing_is_left(lab)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_beside_a_paused_server_nothing_is_taken_down(lab: Lab, bdops: Bdops) -> None:
    starts, victim, other = jobs.spawns(lab, "kafka"), "node4", "node2"
    pid = jobs.pids(lab, "kafka")[f"{lab.name}/kafka/{victim}"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = bdops("--timeout", "5", "kafka", "can-stop", other)
        refused = bdops("kafka", "restart", other, "--yes", "-o", "json")
        accepted = bdops("kafka", "restart", other, "--yes", "--accept-risk", "KAFKA_SILENT", "-o", "json")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.returncode == 3, answer.stdout
    for done, rule in ((refused, "KAFKA_SILENT"), (accepted, "KAFKA_MIN_ISR")):
        assert done.returncode == 5, (done.stdout, done.stderr)
        assert done.json["status"] == "refused"
        assert rule in json.dumps(done.json["errors"])
    assert victim in json.dumps(refused.json["errors"])
    assert set(jobs.restarts(lab, "kafka", starts).values()) == {0}


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_a_restart_mends_what_is_down_first(lab: Lab, bdops: Bdops) -> None:
    starts, victim = jobs.spawns(lab, "kafka"), "node4"
    lab.kill(kafka.PROGRAM, victim)
    kafka_client.wait_state(lab, "it to be seen as gone", ["quorum"], lambda s: not follows(s, 4))
    refused = bdops("kafka", "restart", "node2", "--yes")
    assert refused.returncode == 5, refused.stderr
    assert "KAFKA_MIN_ISR" in refused.stderr
    done = bdops("kafka", "restart", "node[3-4]", "--yes", timeout_s=RESTART_S)
    assert done.returncode == 0, done.stderr
    assert jobs.steps_done(lab) == ["node4", "node3"]
    assert jobs.restarts(lab, "kafka", starts) == {"node1": 0, "node2": 0, "node3": 1, "node4": 1}


def follows(state: Any, number: int) -> bool:
    """Whether the active controller has heard of an observer lately."""
    return any(v.id == number and (v.lag_ms or 0) < 5000 for v in state.quorum.observers)


@pytest.mark.timeout(600)
def test_a_reassignment_of_somebody_else_is_not_touched(lab: Lab, bdops: Bdops) -> None:
    starts = jobs.spawns(lab, "kafka")
    kafka_client.create_topic(lab, TOPIC, [[1, 2, 3]])
    lab.kill(kafka.PROGRAM, "node4")
    try:
        kafka_client.wait_state(lab, "it to be fenced", ["brokers"], lambda s: any(b.fenced for b in s.brokers or ()))
        # It cannot end while the broker that it moves to is down.
        kafka_client.reassign(lab, TOPIC, 0, [1, 2, 4])
        refused = bdops("kafka", "restart", "node3", "--yes", "-o", "json")
        still = kafka_client.state_of(lab, "reassignments").reassignments
    finally:
        lab.start(kafka.PROGRAM, "node4")
        await_whole(lab)
        kafka_client.delete_topics(lab, [TOPIC])
    assert refused.returncode == 5, refused.stderr
    assert "KAFKA_REASSIGNMENT" in json.dumps(refused.json["errors"])
    assert [m.partition for m in still or ()] == [f"{TOPIC}-0"]
    assert jobs.restarts(lab, "kafka", starts)["node3"] == 0
