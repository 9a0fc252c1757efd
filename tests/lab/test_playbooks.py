"""The playbooks that are shipped, on real clusters: planned whole, and carried out where the lab is then as it was."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdops.jobs.journal import read_journal
from bdops.jobs.store import Job
from bdops.lab import hdfs, hdfs_web, kafka_client
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

COMPONENTS = ("zk", "kafka", "hdfs", "es")
pytestmark = [pytest.mark.lab(*COMPONENTS), pytest.mark.timeout(900)]

TOLD = {
    "nightly": (),
    "patch-rack": ("hosts=rack:r2", "command=true"),
    "replace-dead-host": ("host=node4",),
    "decommission-host": ("host=node4",),
    "add-broker": ("host=node4",),
    "first-look": (),
}
SHIPPED = sorted(p.stem for p in (jobs.ROOT / "playbooks").glob("*.yaml"))


def argv(name: str, *told: str) -> list[str]:
    return ["run", str(jobs.ROOT / f"playbooks/{name}.yaml"), *(w for t in told for w in ("-e", t))]


def spawns(lab: Lab) -> dict[str, int]:
    return {name: n for component in COMPONENTS for name, n in jobs.spawns(lab, component).items()}


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_planned_whole_and_nothing_is_done(name: str, lab: Lab, bdops: Bdops) -> None:
    before, known = spawns(lab), jobs.job_folders(lab)
    shown = bdops(*argv(name, *TOLD[name]), "--dry-run", "-o", "json", timeout_s=300)
    assert shown.returncode == 0, shown.stderr
    data = shown.json["data"]
    plans = {p["name"]: p for p in data["plans"]}
    if name == "patch-rack":
        assert list(plans) == ["patch (node3)", "patch (node4)"]
        acts = [row["acts"] for row in plans["patch (node4)"]["waves"]]
        assert [a for a in acts if a in ("stop", "run", "start")][-1:] == ["start"] or "run" in acts
    if name == "decommission-host":
        assert "drain and unregister the broker (node4)" in "".join(plans) or any("kafka" in p for p in plans)
    assert all(row["name"] for row in data["waves"])
    assert (spawns(lab), jobs.job_folders(lab)) == (before, known)


def test_a_host_is_patched_with_all_that_runs_on_it(lab: Lab, bdops: Bdops, tmp_path: Path) -> None:
    before, out = spawns(lab), tmp_path / "out"
    done = bdops(*argv("patch-rack", "hosts=node4", f"command=echo patched >> {out}"), "--yes", timeout_s=800)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert out.read_text() == "patched\n"
    again = {n for n, count in spawns(lab).items() if count > before[n]}
    assert again == {f"{lab.name}/kafka/node4", f"{lab.name}/hdfs/node4/datanode"}
    assert not jobs.remains(lab)
    assert not jobs.settings_left(bdops)


@pytest.mark.thorough
def test_a_host_that_came_back_empty_handed_is_started_and_waited_for(lab: Lab, bdops: Bdops) -> None:
    for program in ("kafka", "datanode"):
        lab.stop(program, "node4")
    done = bdops(*argv("replace-dead-host", "host=node4", "prepare=true"), "--yes", timeout_s=800)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert all(jobs.pids(lab, c) and None not in jobs.pids(lab, c).values() for c in ("kafka", "hdfs"))


def test_a_broker_gets_its_share(lab: Lab, bdops: Bdops) -> None:
    done = bdops(*argv("add-broker", "host=node4", "balance=count", "throttle=none"), "--yes", timeout_s=800)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert not jobs.settings_left(bdops)


def test_the_first_look_keeps_everything_in_one_archive(lab: Lab, bdops: Bdops, tmp_path: Path) -> None:
    done = bdops(*argv("first-look", f"folder={tmp_path}", "lines=50"), "--yes", timeout_s=400)
    assert done.returncode == 0, (done.stdout, done.stderr)
    (archive,) = tmp_path.glob("*.tar.gz")
    assert archive.stat().st_mode & 0o777 == 0o600
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.split("/", 1)[1]] = file.read()
    for name in ("kafka-node1/log.txt", "es-node1/elasticsearch.yml", "hdfs-node1-namenode/stacks.txt"):
        assert any(n.endswith(f"{lab.name}-{name}") and data for n, data in found.items()), (name, sorted(found))
    assert any(b"QuorumPeer" in data for n, data in found.items() if n.endswith("zk-node1/stacks.txt"))
    checks: dict[str, Any] = json.loads(found["0001-checks.json"])
    assert checks["checked"] > 20
    assert {"why", "notes", "summary"} <= json.loads(found["0002-why.json"]).keys()


def test_what_the_job_of_a_step_borrowed_is_known_and_given_back(
    lab: Lab, home: Path, bdops: Bdops, tmp_path: Path
) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("version: 1\nhelp: h\nsteps:\n  - {do: es restart, with: {selector: es/node3}}\n")
    with jobs.running(lab, home, "run", str(book), "--yes") as (process, await_event):
        await_event("child")
        borrowing = Job(jobs.job_folders(lab)[0])
        deadline = time.monotonic() + 60
        while not any(e["event"] == "borrowed" for c in borrowing.children() for e in read_journal(c.journal_path)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
    found = bdops("doctor", "-o", "json").json["data"]["remains"]
    assert [r["whose"] for r in found if r["kind"] == "setting"] == [borrowing.id]
    closed = bdops("jobs", "abort", timeout_s=200)
    assert closed.returncode == 0, closed.stderr
    assert not jobs.settings_left(bdops)
    assert all(c.is_over() for c in borrowing.children())


@pytest.mark.thorough
def test_a_host_goes_for_good(lab: Lab, bdops: Bdops, eventually: Callable[..., Any]) -> None:
    # Three DataNodes cannot hold four copies, and the playbook waits until every block has all it wants.
    everywhere = {f"/data/reference/countries-{n:02}.csv": b"x" * 400_000 for n in range(4)}
    for path in everywhere:
        hdfs_web.delete(lab, path)
    try:
        done = bdops(*argv("decommission-host", "host=node4", "throttle=none"), "--yes", timeout_s=800)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert {b.id for b in kafka_client.state_of(lab, "brokers").brokers or ()} == {1, 2, 3}
        assert jobs.pids(lab, "kafka")[f"{lab.name}/kafka/node4"] is None
        assert jobs.pids(lab, "hdfs")[f"{lab.name}/hdfs/node4/datanode"] is None
    finally:
        for program in ("kafka", "datanode"):
            lab.start(program, "node4")
        for path, data in everywhere.items():
            hdfs_web.write(lab, path, data, replication=4)
    kafka_client.await_in_sync(lab)
    assert not jobs.settings_left(bdops)
    for verb in (("rebalance", "--balance", "count", "--throttle", "none"), ("leaders", "balance")):
        back = bdops("kafka", *verb, "--yes", timeout_s=300)
        assert back.returncode == 0, back.stderr
    kafka_client.await_in_sync(lab)
    assert any(4 in p.replicas for _, p in kafka_client.state_of(lab, "topics").partitions())
    eventually(lambda: not hdfs.unhealthy(lab), 120)


@pytest.mark.thorough
def test_the_nightly_playbook_proves_a_snapshot_of_each_component(lab: Lab, bdops: Bdops) -> None:
    done = bdops(*argv("nightly"), "--yes", timeout_s=800)
    assert done.returncode == 0, (done.stdout, done.stderr)
    for component in ("zk", "kafka", "es"):
        rows = bdops(component, "snapshot", "list", "-o", "json").json["data"]["snapshots"]
        assert any(r["proved_at"] for r in rows), component
    assert not jobs.drills(lab)
    assert not jobs.settings_left(bdops)
