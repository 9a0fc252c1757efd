"""Replicas are moved on a real cluster: under load, killed at any event, disturbed, beside what others have set."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bdops.components.kafka.checks.common import name_of
from bdops.components.kafka.checks.moves import throttles
from bdops.lab import kafka, kafka_client
from bdops.lab.kafka_load import assignment
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = [pytest.mark.lab("kafka"), pytest.mark.timeout(900)]

TOPIC = "observed"
SLOW = ("--throttle", "10KB/s")
"""Slow enough to be disturbed: the lab's brokers hold a few megabytes. The first seconds' worth passes in one burst."""
MOMENTS = 1


@pytest.fixture(autouse=True)
def as_it_was(lab: Lab, bdops: Bdops) -> Iterator[None]:
    """Every test begins with a whole cluster, and leaves the replicas where they were, and nothing else."""
    lab.wait("Kafka to serve", lambda: kafka.serving(lab), 180)
    kafka_client.await_in_sync(lab, 180)
    before = replicas(lab)
    yield
    jobs.abort_open(lab, bdops)
    for name, wanted in before.items():
        if replicas(lab).get(name) != wanted:
            topic, _, number = name.rpartition("-")
            kafka_client.reassign(lab, topic, int(number), wanted)
    kafka_client.wait_state(lab, "replicas to be back", ["reassignments"], lambda s: not s.reassignments, 120)
    kafka_client.await_in_sync(lab, 120)


def replicas(lab: Lab, *, but: str = TOPIC) -> dict[str, tuple[int, ...]]:
    state = kafka_client.state_of(lab, "topics")
    return {name_of(t, p): p.replicas for t, p in state.partitions() if t.name != but}


def held_by(lab: Lab, broker: int) -> list[str]:
    """What a broker's own log directories hold."""
    state = kafka_client.state_of(lab, "servers", "brokers", "log_dirs")
    return [p for d in state.log_dirs or () if d.broker == broker for p in d.replicas]


def throttled(lab: Lab) -> list[tuple[str, str, str]]:
    state = kafka_client.state_of(lab, "servers", "brokers", "topics", "topic_configs", "broker_configs")
    assert state.topic_configs is not None
    assert state.broker_configs is not None
    return [(entity, key, value) for entity, key, value, _ in throttles(state)]


def assert_nothing_is_left(lab: Lab, bdops: Bdops) -> None:
    assert jobs.newest_state(lab).status == "done"
    assert not jobs.newest_state(lab).open_loans
    assert not jobs.remains(lab)
    assert not jobs.settings_left(bdops)


def test_drained_added_spread_and_evened_out_under_load_nothing_is_lost(lab: Lab, bdops: Bdops) -> None:
    kafka_client.create_topic(lab, TOPIC, assignment(12))
    took_s: dict[str, float] = {}

    def run(*argv: str) -> None:
        began = time.monotonic()
        done = bdops("kafka", *argv, "--yes", timeout_s=240)
        took_s[argv[0]] = round(time.monotonic() - began, 1)
        assert done.returncode == 0, done.stderr

    try:
        with jobs.observing(
            "kafka_observer", TOPIC, "2", ",".join(kafka_client.bootstrap(lab)), timeout_s=240
        ) as report:
            run("drain", "node4")
            assert not held_by(lab, 4)
            run("add", "node4", "--balance", "count")
            assert len(held_by(lab, 4)) > 20
            run("set-replication", "2", "--topic", TOPIC)
            assert {
                len(p.replicas) for t, p in kafka_client.state_of(lab, "topics").partitions() if t.name == TOPIC
            } == {2}
            run("set-replication", "3", "--topic", TOPIC)
            run("rebalance", "--balance", "bytes", "--tolerance", "10%")
    finally:
        kafka_client.delete_topics(lab, [TOPIC])
    print(f"kafka moves: {took_s}; {json.dumps(report)}")
    assert report["violations"] == []
    assert report["fewest_brokers_up"] == 4
    assert report["acknowledged"] > 500
    again = bdops("kafka", "rebalance", "--balance", "count", "--yes", timeout_s=240)
    assert again.returncode == 0, again.stderr
    empty = bdops("kafka", "rebalance", "--balance", "count", "--dry-run", "--detailed-exitcode", "-o", "json")
    assert empty.returncode == 0, empty.stdout
    assert empty.json["data"]["moved_replicas"] == 0
    assert_nothing_is_left(lab, bdops)


@pytest.mark.timeout(3 * 3600 if jobs.EVERY else 900)
def test_a_drain_that_is_killed_at_any_event_is_resumed_and_taken_back(lab: Lab, home: Path, bdops: Bdops) -> None:
    end = killed_at_any_event(lab, home, bdops, ("drain", "node4"), replicas)
    assert not any(4 in held for held in end.values())


@pytest.mark.thorough
@pytest.mark.timeout(3 * 3600 if jobs.EVERY else 900)
def test_log_directories_that_are_killed_at_any_event_are_resumed_and_taken_back(
    lab: Lab, home: Path, bdops: Bdops
) -> None:
    killed_at_any_event(lab, home, bdops, ("disks", "--tolerance", "5%", "--throttle", "1MB/s"), directories)


def killed_at_any_event(
    lab: Lab, home: Path, bdops: Bdops, argv: tuple[str, ...], placed: Callable[[Lab], Mapping[Any, Any]]
) -> Mapping[Any, Any]:
    """Run undisturbed and taken back; then killed at each moment, resumed to the same end, and taken back."""
    first = placed(lab)
    undisturbed = bdops("kafka", *argv, "--yes", timeout_s=240)
    assert undisturbed.returncode == 0, undisturbed.stderr
    end, events = placed(lab), len(jobs.newest_events(lab))
    assert end != first
    take_back(lab, bdops, placed, first)
    for when, number in jobs.moments(events, MOMENTS):
        moment = f"killed {when} event {number} of {events}"
        status = jobs.killed(lab, home, when, number, "kafka", *argv, "--yes")
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", timeout_s=240)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert placed(lab) == end, moment
        assert not throttled(lab), moment
        assert_nothing_is_left(lab, bdops)
        take_back(lab, bdops, placed, first)
    return end


def take_back(lab: Lab, bdops: Bdops, placed: Callable[[Lab], Mapping[Any, Any]], first: Mapping[Any, Any]) -> None:
    """The whole way back of the newest job: every replica, in its old order and directory, leading again."""
    undone = bdops("jobs", "undo", jobs.job_folders(lab)[0].name, "--yes", timeout_s=240)
    assert undone.returncode == 0, undone.stderr
    assert placed(lab) == first
    kafka_client.wait_state(
        lab, "leaders", ["topics"], lambda s: all(p.leader == p.replicas[0] for _, p in s.partitions())
    )


def test_a_broker_that_dies_in_the_middle_pauses_the_job_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    with jobs.running(lab, home, "kafka", "drain", "node4", "--yes", *SLOW) as (process, await_event):
        await_event("act_announced", act="move")
        lab.kill(kafka.PROGRAM, "node3")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert "broker 3" in err
    assert jobs.newest_state(lab).open_loans, "the throttle stays while moves go on under it"
    lab.start(kafka.PROGRAM, "node3")
    lab.wait("Kafka to serve", lambda: kafka.serving(lab), 180)
    job = jobs.job_folders(lab)[0].name
    faster = bdops("jobs", "throttle", job, "none")
    assert faster.returncode == 0, faster.stderr
    done = bdops("jobs", "resume", job, timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert any("asked for" in e["text"] for e in jobs.events_of(lab, "said")), "the resumed job goes by the wish"
    assert not held_by(lab, 4)
    assert not throttled(lab)
    assert_nothing_is_left(lab, bdops)


def test_the_throttle_is_changed_while_it_runs_and_put_back(lab: Lab, home: Path, bdops: Bdops) -> None:
    with jobs.running(lab, home, "kafka", "drain", "node4", "--yes", *SLOW) as (process, await_event):
        await_event("act_announced", act="move")
        assert {value for _, key, value in throttled(lab) if key.endswith("rate")} == {"10000"}
        job = jobs.job_folders(lab)[0].name
        assert bdops("jobs", "throttle", job, "900MB/s").returncode == 0
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert any("asked for" in e["text"] for e in jobs.events_of(lab, "said"))
    assert not throttled(lab)
    assert_nothing_is_left(lab, bdops)


def test_left_at_once_it_keeps_its_throttle_and_an_abort_cancels_what_is_in_flight(
    lab: Lab, home: Path, bdops: Bdops
) -> None:
    import signal

    with jobs.running(lab, home, "kafka", "drain", "node4", "--yes", *SLOW) as (process, await_event):
        await_event("act_announced", act="move")
        kafka_client.wait_state(lab, "moves", ["reassignments"], lambda s: bool(s.reassignments), 20)
        process.send_signal(signal.SIGINT)
        assert jobs.signal_again(process, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert throttled(lab)
    aborted = bdops("jobs", "abort", timeout_s=120)
    assert aborted.returncode == 0, aborted.stderr
    state = kafka_client.state_of(lab, "reassignments")
    assert state.reassignments == ()
    assert not throttled(lab)
    assert jobs.newest_state(lab).status == "aborted"
    assert not jobs.newest_state(lab).open_loans


def test_what_others_have_set_stays_and_what_others_move_is_refused(lab: Lab, bdops: Bdops) -> None:
    rate, list_key = "leader.replication.throttled.rate", "leader.replication.throttled.replicas"
    kafka_client.set_configs(lab, "broker", "2", {rate: "77777777"})
    kafka_client.set_configs(lab, "topic", "orders", {list_key: "0:1"})
    theirs = [("broker 2 (node2)", rate, "77777777"), ("topic orders", list_key, "0:1")]
    try:
        kafka_client.wait_state(
            lab,
            "their throttle",
            ["servers", "brokers", "topics", "broker_configs", "topic_configs"],
            lambda s: len(list(throttles(s))) == 2,
        )
        done = bdops("kafka", "drain", "node4", "--yes", timeout_s=240)
        assert done.returncode == 0, done.stderr
        assert "left as they are" in done.stderr or jobs.events_of(lab, "said")
        assert sorted(throttled(lab)) == sorted(theirs)
        back = bdops("jobs", "undo", jobs.job_folders(lab)[0].name, "--yes", timeout_s=240)
        assert back.returncode == 0, back.stderr
        assert sorted(throttled(lab)) == sorted(theirs)
    finally:
        kafka_client.set_configs(lab, "broker", "2", {rate: None})
        kafka_client.set_configs(lab, "topic", "orders", {list_key: None})


@pytest.mark.thorough
def test_a_broker_is_taken_out_for_good(lab: Lab, bdops: Bdops) -> None:
    first = replicas(lab)
    done = bdops("kafka", "decommission", "node4", "--yes", "--reason", "its lease is over", timeout_s=240)
    assert done.returncode == 0, done.stderr
    assert {b.id for b in kafka_client.state_of(lab, "brokers").brokers or ()} == {1, 2, 3}
    assert jobs.pids(lab, "kafka")[f"{lab.name}/kafka/node4"] is None
    assert not throttled(lab)
    lab.start(kafka.PROGRAM, "node4")
    kafka_client.wait_state(lab, "broker 4", ["brokers"], lambda s: 4 in {b.id for b in s.brokers or ()}, 120)
    assert_nothing_is_left(lab, bdops)
    take_back(lab, bdops, replicas, first)


@pytest.mark.thorough
def test_log_directories_are_evened_out_killed_in_the_middle_and_taken_back(lab: Lab, home: Path, bdops: Bdops) -> None:
    first = directories(lab)
    planned = bdops("kafka", "disks", "--tolerance", "5%", "--dry-run", "-o", "json").json["data"]
    assert planned["moved_replicas"] > 0
    with jobs.running(lab, home, "kafka", "disks", "--tolerance", "5%", "--throttle", "1MB/s", "--yes") as (
        process,
        await_event,
    ):
        await_event("act_announced", act="move-dirs")
        process.kill()
    resumed = bdops("jobs", "resume", timeout_s=240)
    assert resumed.returncode == 0, resumed.stderr
    changed = directories(lab)
    assert sum(changed[key] != first[key] for key in first) == planned["moved_replicas"]
    again = bdops("kafka", "disks", "--tolerance", "5%", "--dry-run", "-o", "json").json["data"]
    assert again["moved_replicas"] == 0
    assert not throttled(lab)
    assert_nothing_is_left(lab, bdops)
    take_back(lab, bdops, directories, first)


def directories(lab: Lab) -> dict[tuple[int, str], str]:
    """In which directory each replica is. What a move of replicas has left behind goes a moment later."""
    state = kafka_client.state_of(lab, "servers", "brokers", "topics", "log_dirs")
    held = {name_of(t, p): p.replicas for t, p in state.partitions()}
    return {(d.broker, p): d.path for d in state.log_dirs or () for p in d.replicas if d.broker in held.get(p, ())}
