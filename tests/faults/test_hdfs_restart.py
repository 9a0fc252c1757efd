"""A rolling restart of a real nameservice under load, as its applications see it; and disturbed ones."""

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

from bdops.lab import hdfs, java
from bdops.lab import hdfs_config as config
from bdops.lab.lab import Lab
from bdops.lab.supervision import clean_environment
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = [pytest.mark.lab("hdfs"), pytest.mark.timeout(600)]
SOURCE = Path(__file__).parent / "java" / "HdfsObserver.java"
QUIET = (
    "log4j.rootLogger=ERROR,e\nlog4j.appender.e=org.apache.log4j.ConsoleAppender\nlog4j.appender.e.target=System.err\n"
)
QUIET += (
    "log4j.appender.e.layout=org.apache.log4j.PatternLayout\nlog4j.appender.e.layout.ConversionPattern=%d %p %c: %m%n\n"
)


@pytest.fixture(scope="module")
def clients(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The argv of the clients, compiled against the lab's Hadoop."""
    folder = tmp_path_factory.mktemp("observer")
    argv = [java.require("javac"), "-proc:none", "-cp", lab.class_path("hdfs"), "-d", str(folder), str(SOURCE)]
    lab.run_java(argv, timeout_s=120)
    (folder / "quiet.properties").write_text(QUIET)
    one = hdfs.node(lab, "node1")
    return lab.java(
        heap_mb=160,
        class_path=f"{folder}:{one.conf_dir}:{lab.folder / 'hdfs-classes'}:{lab.class_path('hdfs')}",
        main="HdfsObserver",
        options=[f"-Dbdops.address={one.address}", f"-Dlog4j.configuration=file:{folder / 'quiet.properties'}"],
    )


@contextmanager
def observed(lab: Lab, clients: list[str]) -> Iterator[jobs.Observed]:
    """Clients work while this lasts; afterwards the report is there."""

    def addresses(hosts: Any, port: int) -> dict[str, str]:
        return {host: f"{lab.host(host).address}:{port}" for host in hosts}

    spec = {
        "java": clients,
        "env": {**clean_environment(lab.folder), "HADOOP_USER_NAME": config.USER},
        "namenodes": addresses(hdfs.NAMENODES.values(), 9870),
        "journalnodes": addresses(hdfs.JOURNALS, 8485),
        "datanodes": addresses(hdfs.DATANODES, 9867),
    }
    with jobs.observing("hdfs_observer", json.dumps(spec), timeout_s=300) as report:
        yield report


def active_of(lab: Lab) -> str:
    """The host of the active NameNode."""
    service = hdfs.nameservice(lab)
    try:
        return hdfs.NAMENODES[service.active()]
    finally:
        service.close()


def standby_of(lab: Lab) -> str:
    return next(host for host in hdfs.NAMENODES.values() if host != active_of(lab))


def assert_nothing_is_left(lab: Lab) -> None:
    """No setting, no act, no lease; one that could not be given up in time on a host runs out within a minute."""
    assert not jobs.newest_state(lab).open_loans
    lab.wait("leases to be gone", lambda: not jobs.remains(lab), 70)


def assert_unnoticed(report: jobs.Observed) -> None:
    """What every restart must keep, as the clients and the sampler saw it."""
    assert report["violations"] == []
    assert report["most_active"] == 1
    assert report["fewest_namenodes"] >= 1
    assert report["fewest_journalnodes"] >= 2
    assert report["fewest_datanodes"] >= len(hdfs.DATANODES) - 1
    assert report["most_missing"] == 0


def await_whole(lab: Lab) -> None:
    lab.wait("HDFS to be whole", lambda: hdfs.unhealthy(lab) is None, 90)


def test_a_full_restart_under_load_loses_nothing_and_fails_nobody(lab: Lab, bdops: Bdops, clients: list[str]) -> None:
    before, active = jobs.spawns(lab, "hdfs"), active_of(lab)
    began = time.monotonic()
    with observed(lab, clients) as report:
        done = bdops("hdfs", "restart", "--yes", "--reason", "the proof", timeout_s=500)
        took_s = time.monotonic() - began
    print(f"hdfs restart: {took_s:.1f} s; {json.dumps(report)}")
    assert done.returncode == 0, done.stderr
    assert set(jobs.restarts(lab, "hdfs", before).values()) == {1}
    assert len(jobs.restarts(lab, "hdfs", before)) == 11
    assert_nothing_is_left(lab)
    assert_unnoticed(report)
    other = next(host for host in hdfs.NAMENODES.values() if host != active)
    assert report["actives"] == [active, other], "one failover, the wanted one"
    assert report["writes"] > 50
    assert report["records"] > 200
    assert report["samples"] > 100


@pytest.mark.thorough
def test_a_restart_that_is_killed_half_way_is_resumed_under_load(
    lab: Lab, home: Path, bdops: Bdops, clients: list[str]
) -> None:
    """Killed right after a DataNode was told to end, and before its service manager was asked to start it."""
    before = jobs.spawns(lab, "hdfs")
    with observed(lab, clients) as report:
        with jobs.running(lab, home, "hdfs", "restart", "@datanode", "--yes") as (_, await_event):
            await_event("act_ended", step="0002", act="shutdown-upgrade")
        done = bdops("jobs", "resume", timeout_s=300)
    print(f"hdfs restart, killed and resumed: {json.dumps(report)}")
    assert done.returncode == 0, done.stderr
    assert {n for name, n in jobs.restarts(lab, "hdfs", before).items() if name.endswith("datanode")} == {1}
    assert_nothing_is_left(lab)
    assert_unnoticed(report)


def test_another_datanode_that_dies_meanwhile_pauses_the_job_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    before = jobs.spawns(lab, "hdfs")
    with jobs.running(lab, home, "hdfs", "restart", "node1/datanode,node4/datanode", "--yes") as (process, await_event):
        await_event("verified", step="0001", act="shutdown-upgrade")
        lab.kill("datanode", "node3")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert f"{lab.name}/hdfs/node3/datanode" in err
    assert "bdops jobs resume" in err
    started = {name: n for name, n in jobs.restarts(lab, "hdfs", before).items() if n}
    assert started in ({}, {"node1/datanode": 1})
    lab.start("datanode", "node3")
    done = bdops("jobs", "resume", timeout_s=300)
    assert done.returncode == 0, done.stderr
    after = {name: n for name, n in jobs.restarts(lab, "hdfs", before).items() if n}
    assert after == {"node1/datanode": 1, "node3/datanode": 1, "node4/datanode": 1}
    assert_nothing_is_left(lab)
    await_whole(lab)


@contextmanager
def paused(lab: Lab, instance: str) -> Iterator[None]:
    """The process of an instance (`host/process`) is stopped by a signal while this lasts."""
    pid = jobs.pids(lab, "hdfs")[f"{lab.name}/hdfs/{instance}"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("role", "asked"),
    [
        ("datanode", "node4/datanode"),
        pytest.param("journalnode", "node2/journalnode", marks=pytest.mark.thorough),
        pytest.param("zkfc", "node4/datanode", marks=pytest.mark.thorough),
    ],
)
def test_beside_a_paused_server_nothing_is_taken_down(lab: Lab, bdops: Bdops, role: str, asked: str) -> None:
    before = jobs.spawns(lab, "hdfs")
    victim = f"{standby_of(lab) if role == 'zkfc' else 'node3'}/{role}"
    with paused(lab, victim):
        answer = bdops("--timeout", "5", "hdfs", "can-stop", asked, "-o", "json")
        refused = bdops("hdfs", "restart", asked, "--yes", "-o", "json")
    assert answer.returncode == 3
    assert refused.returncode == 5, (refused.stdout, refused.stderr)
    assert "HDFS_SILENT" in json.dumps(refused.json["errors"])
    assert victim in json.dumps(refused.json["errors"])
    assert set(jobs.restarts(lab, "hdfs", before).values()) == {0}
    await_whole(lab)


@pytest.mark.thorough
def test_beside_a_paused_standby_the_active_namenode_stays_whatever_is_accepted(lab: Lab, bdops: Bdops) -> None:
    before, standby, active = jobs.spawns(lab, "hdfs"), standby_of(lab), active_of(lab)
    with paused(lab, f"{standby}/namenode"):
        answer = bdops("--timeout", "4", "hdfs", "can-stop", "node4/datanode", "-o", "json")
        refused = bdops("hdfs", "restart", "node4/datanode", "--yes", "-o", "json")
        accepted = bdops("hdfs", "restart", f"{active}/namenode", "--yes", "--accept-risk", "HDFS_SILENT", "-o", "json")
        failover = bdops("hdfs", "failover", "--yes", "-o", "json")
    assert answer.returncode == 3
    for done, rule in ((refused, "HDFS_SILENT"), (accepted, "HDFS_STANDBY"), (failover, "HDFS_STANDBY")):
        assert done.returncode == 5, (done.stdout, done.stderr)
        assert rule in json.dumps(done.json["errors"])
        assert standby in json.dumps(done.json["errors"])
    assert set(jobs.restarts(lab, "hdfs", before).values()) == {0}
    await_whole(lab)


@pytest.mark.thorough
def test_only_the_servers_whose_configuration_changed_are_stale(lab: Lab, bdops: Bdops) -> None:
    (hdfs.node(lab, "node4").conf_dir / "hdfs-site.xml").touch()
    planned = bdops("hdfs", "restart", "node3,node4", "--only", "stale", "--dry-run", "-o", "json")
    assert planned.returncode == 0, planned.stderr
    assert "node4/datanode" in planned.stdout
    done = bdops("hdfs", "restart", "node4", "--only", "stale", "--yes")
    assert done.returncode == 0, done.stderr
    assert (
        "node4/datanode" not in bdops("hdfs", "restart", "node4", "--only", "stale", "--dry-run", "-o", "json").stdout
    )


def test_a_failover_there_and_back(lab: Lab, bdops: Bdops) -> None:
    first, second = active_of(lab), standby_of(lab)
    assert bdops("hdfs", "failover", "--dry-run").returncode == 0
    assert active_of(lab) == first
    for host in (second, first):
        done = bdops("hdfs", "failover", "--to", host, "--yes")
        assert done.returncode == 0, done.stderr
        assert active_of(lab) == host
    assert bdops("hdfs", "failover", "--to", first, "--yes").returncode == 0
    assert active_of(lab) == first
    wrong = bdops("hdfs", "failover", "--to", "node4", "--yes", "-o", "json")
    assert wrong.returncode == 2
    assert_nothing_is_left(lab)
