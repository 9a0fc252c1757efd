"""A rolling restart of a real ensemble under load, as clients see it that know nothing of bdops; and disturbed ones."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from bdops.components.zk.client.probe import PREFIX
from bdops.lab import zk
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = pytest.mark.lab("zk")
SESSION_S = 10.0
"""The observer's session timeout: an election must be over before it."""


@contextmanager
def observed(lab: Lab) -> Iterator[jobs.Observed]:
    """Clients work while this lasts; afterwards the report is there, and nothing in it may be a violation."""
    hosts = ",".join(f"{lab.host(h).address}:{zk.CLIENT_PORT}" for h in zk.HOSTS)
    with jobs.observing("zk_observer", hosts, timeout_s=90) as report:
        yield report


def leader_of(lab: Lab) -> str:
    return next(h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "leader")


def followers_of(lab: Lab) -> list[str]:
    return [h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "follower"]


def assert_nothing_is_left(lab: Lab) -> None:
    assert not jobs.newest_state(lab).open_loans
    assert not jobs.remains(lab)
    assert PREFIX not in " ".join(children_of_root(lab))


def children_of_root(lab: Lab) -> list[str]:
    from kazoo.client import KazooClient

    client = KazooClient(hosts=f"{lab.host('node1').address}:{zk.CLIENT_PORT}")
    client.start(timeout=10)
    try:
        return list(client.get_children("/"))
    finally:
        client.stop()


def test_a_full_restart_under_load_loses_nothing_and_no_session(lab: Lab, bdops: Bdops) -> None:
    before, leader = jobs.pids(lab, "zk"), leader_of(lab)
    starts = jobs.spawns(lab, "zk")
    began = time.monotonic()
    with observed(lab) as report:
        done = bdops("zk", "restart", "--yes", "--reason", "the proof")
        took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    after = jobs.pids(lab, "zk")
    assert all(after[name] not in (None, pid) for name, pid in before.items())
    assert set(jobs.restarts(lab, "zk", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == leader
    assert_nothing_is_left(lab)
    print(f"zk restart: {took_s:.1f} s; {json.dumps(report)}")
    assert report["violations"] == []
    assert report["fewest_up"] >= 2, report["fewest_seen"]
    assert report["most_leaders"] == 1
    assert len(report["leaders"]) == 2, "one election, at the leader's own restart"
    assert report["longest_without_leader_s"] < SESSION_S
    assert report["writes"] > 200
    assert report["samples"] > 20


@pytest.mark.thorough
def test_a_restart_that_is_killed_half_way_is_resumed_under_load(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, leader = jobs.spawns(lab, "zk"), leader_of(lab)
    with observed(lab) as report:
        with jobs.running(lab, home, "zk", "restart", "--yes") as (_, await_event):
            await_event("act_announced", step="0002", act="restart")
        done = bdops("jobs", "resume")
    assert done.returncode == 0, done.stderr
    assert set(jobs.restarts(lab, "zk", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == leader
    assert_nothing_is_left(lab)
    print(f"zk restart, killed and resumed: {json.dumps(report)}")
    assert report["violations"] == []
    assert report["fewest_up"] >= 2, report["fewest_seen"]
    assert report["most_leaders"] == 1


@pytest.mark.thorough
def test_another_server_that_dies_meanwhile_pauses_the_job_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, leader = jobs.spawns(lab, "zk"), leader_of(lab)
    first, other = followers_of(lab)
    with jobs.running(lab, home, "zk", "restart", f"{first},{leader}", "--yes") as (process, await_event):
        await_event("verified", step="0001", act="restart")
        lab.kill(zk.PROGRAM, other)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    # Whichever sees it first: the look for disturbances, or the next gate, for want of a vote.
    assert f"{lab.name}/zk/{other} went down meanwhile" in err or f"{other}: connection refused" in err
    assert "bdops jobs resume" in err
    assert jobs.restarts(lab, "zk", starts) == {first: 1, leader: 0, other: 0}
    assert not jobs.remains(lab)
    lab.start(zk.PROGRAM, other)
    zk.await_serving(lab, [other])
    done = bdops("jobs", "resume")
    assert done.returncode == 0, done.stderr
    assert jobs.restarts(lab, "zk", starts) == {first: 1, leader: 1, other: 1}
    assert_nothing_is_left(lab)


@pytest.mark.thorough
def test_beside_a_paused_server_nothing_is_taken_down(lab: Lab, bdops: Bdops) -> None:
    starts, victim, other = jobs.spawns(lab, "zk"), *followers_of(lab)
    pid = jobs.pids(lab, "zk")[f"{lab.name}/zk/{victim}"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = bdops("--timeout", "3", "zk", "can-stop", other)
        accepted = bdops("zk", "restart", other, "--yes", "--accept-risk", "ZK_UNREAD", "-o", "json")
        everyone = bdops("zk", "restart", "--yes", "-o", "json")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.returncode == 3
    for done, rule in ((everyone, "ZK_UNREAD"), (accepted, "ZK_QUORUM")):
        assert done.returncode == 5, (done.stdout, done.stderr)
        assert done.json["status"] == "refused"
        assert rule in json.dumps(done.json["errors"])
        assert victim in json.dumps(done.json["errors"])
    assert set(jobs.restarts(lab, "zk", starts).values()) == {0}
    zk.await_serving(lab)


@pytest.mark.thorough
def test_a_restart_mends_what_is_down_first(lab: Lab, bdops: Bdops) -> None:
    starts, victim, leader = jobs.spawns(lab, "zk"), followers_of(lab)[-1], leader_of(lab)
    lab.kill(zk.PROGRAM, victim)
    refused = bdops("zk", "restart", leader, "--yes")
    assert refused.returncode == 5, refused.stderr
    assert "ZK_QUORUM" in refused.stderr
    done = bdops("zk", "restart", "--yes")
    assert done.returncode == 0, done.stderr
    order = jobs.steps_done(lab)
    assert (order[0], order[-1]) == (victim, leader)
    assert set(jobs.restarts(lab, "zk", starts).values()) == {1}


@pytest.mark.thorough
def test_one_that_does_not_come_back_pauses_the_job_with_the_end_of_its_log(
    lab: Lab, bdops: Bdops, tmp_path: Path
) -> None:
    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["clusters"][lab.name]["components"]["zk"]["restart"] = {"verify_timeout_s": 8}
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(inventory))
    patient = {"BDOPS_INVENTORY": str(tmp_path / "inventory.yaml")}
    first = sorted(followers_of(lab))[0]
    starts, config = jobs.spawns(lab, "zk"), zk.config_file(lab, first)
    good = config.read_text()
    config.write_text("tickTime=none\n")
    try:
        done = bdops("zk", "restart", "--yes", **patient)
    finally:
        config.write_text(good)
    assert done.returncode == 7, done.stderr
    assert f"{lab.name}/zk/{first} is not back" in done.stderr
    assert jobs.restarts(lab, "zk", starts) == {h: int(h == first) for h in zk.HOSTS}
    (log,) = (e["lines"] for e in jobs.newest_events(lab) if e["event"] == "log_fetched")
    assert "tickTime" in " ".join(log) or "NumberFormat" in " ".join(log) or "config" in " ".join(log).lower()
    resumed = bdops("jobs", "resume", **patient)
    assert resumed.returncode == 0, resumed.stderr
    assert all(n >= 1 for n in jobs.restarts(lab, "zk", starts).values())
    assert_nothing_is_left(lab)
