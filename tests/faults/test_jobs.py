"""Jobs under everything that may befall them, on a real ZooKeeper ensemble: signals, rivals, lost connections, lies."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.hosts.ssh import SshPool
from bdops.jobs.journal import read_journal
from bdops.jobs.lease import Lease, LeaseHeld, LeaseLost, Owner
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = pytest.mark.lab("zk")

Eventually = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_is_left(lab: Lab, bdops: Bdops) -> Iterator[None]:
    """Every test ends with a whole ensemble, no open job, and nothing on the hosts."""
    yield
    open_jobs = jobs.abort_open(lab, bdops)
    assert not jobs.remains(lab)
    assert not open_jobs


def running(
    lab: Lab, home: Path, eventually: Eventually, *argv: str, until: str = "act_announced"
) -> subprocess.Popen[str]:
    """bdops at work on a new job, which has come as far as an event."""
    known = set(jobs.job_folders(lab))
    process = jobs.started(lab, home, *argv)

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        new = [f for f in jobs.job_folders(lab) if f not in known and (f / "journal.jsonl").exists()]
        return any(e["event"] == until for f in new for e in read_journal(f / "journal.jsonl"))

    eventually(there, 60)
    return process


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=240)
    assert "Traceback" not in stderr
    return process.returncode, stderr


def resume(bdops: Bdops, lab: Lab, before: dict[str, int]) -> None:
    """Resume the only open job; in the end every server has been restarted exactly once."""
    done = bdops("jobs", "resume", timeout_s=300)
    assert done.returncode == 0, done.stderr
    after = jobs.spawns(lab, "zk")
    assert {n: after[n] - before[n] for n in after} == dict.fromkeys(after, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_one_signal_finishes_the_step_and_pauses(
    number: int, lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    before = jobs.spawns(lab, "zk")
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    process.send_signal(number)
    code, stderr = finished(process)
    assert code == 7, stderr
    assert "bdops jobs resume" in stderr
    assert len(jobs.events_of(lab, "step_done")) == 1
    assert not jobs.remains(lab)
    resume(bdops, lab, before)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough)]
)
def test_two_signals_leave_at_once_and_the_act_is_adopted(
    number: int, code: int, lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    before = jobs.spawns(lab, "zk")
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    process.send_signal(number)
    eventually(lambda: process.poll() is None and jobs.signal_again(process, number), 10)
    found, stderr = finished(process)
    assert found == code, stderr
    assert "bdops jobs resume" in stderr
    resume(bdops, lab, before)


def test_a_second_operator_is_told_who_is_at_work(lab: Lab, home: Path, bdops: Bdops, eventually: Eventually) -> None:
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    (job,) = [j for j in bdops("jobs", "list", "-o", "json").json["data"]["jobs"] if j["status"] == "running"]
    # Another operator, with a state folder of their own, knows of it by the hosts alone.
    rival = bdops("zk", "restart", "--yes", BDOPS_STATE_DIR=str(home / "rival"))
    assert rival.returncode == 75, rival.stderr
    assert job["job"] in rival.stderr
    assert f"(pid {process.pid})" in rival.stderr
    assert bdops("jobs", "resume", job["job"]).returncode == 75
    doctor = bdops("doctor", "-o", "json", BDOPS_STATE_DIR=str(home / "rival"))
    assert {"lease"} <= {r["kind"] for r in doctor.json["data"]["remains"]}
    code, stderr = finished(process)
    assert code == 0, stderr


def test_a_dead_owners_lease_is_taken_over_when_it_has_run_out_and_a_live_ones_is_not(lab: Lab) -> None:
    hosts = list({i.host.name: i.host for i in lab.deployment("zk").instances}.values())
    with SshPool(hosts) as pool:
        mine, other = (Lease(pool, "faults", hosts, Owner(job=j, command="x", by="ops")) for j in ("one", "two"))
        mine.take()
        try:
            with pytest.raises(LeaseHeld, match="job one"):
                other.take()
            mine.check()
            for host in hosts:
                # As if the owner had died a minute ago: the first line is the end, by the host's own clock.
                file = Path(host.work_dir) / "faults.lease"
                file.write_text("1\n" + file.read_text().split("\n", 1)[1])
            other.take()
            mine._good_until = 0.0  # as after a stop of a minute
            with pytest.raises(LeaseLost, match="job two"):
                mine.check()
        finally:
            mine.drop()
            other.check()
            other.drop()


def test_the_ssh_connection_is_cut_while_a_server_restarts(
    lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    before = jobs.spawns(lab, "zk")
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    cut = jobs.sshd_sessions_of(process.pid)
    assert cut
    for pid in cut:
        os.kill(pid, signal.SIGKILL)
    code, stderr = finished(process)
    if code == 7:
        resume(bdops, lab, before)
    else:
        assert code == 0, stderr
        after = jobs.spawns(lab, "zk")
        assert {n: after[n] - before[n] for n in after} == dict.fromkeys(after, 1)


def test_another_server_that_is_killed_pauses_the_job_and_is_named(
    lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    before = jobs.spawns(lab, "zk")
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    first = jobs.events_of(lab, "step_started")[0]["instance"]
    victim = next(n for n in ("node3", "node2", "node1") if not first.endswith(n))
    assert bdops("lab", "kill", f"zk/{victim}", "--name", lab.name).returncode == 0
    code, stderr = finished(process)
    assert code == 7, stderr
    assert victim in stderr
    assert len(jobs.events_of(lab, "act_announced")) <= 2, "something more was taken down"
    assert bdops("lab", "up", "zk", "--name", lab.name).returncode == 0
    done = bdops("jobs", "resume", timeout_s=300)
    assert done.returncode == 0, done.stderr
    after = jobs.spawns(lab, "zk")
    assert {n: after[n] - before[n] for n in after} == dict.fromkeys(after, 1)


@pytest.mark.thorough
def test_a_paused_server_is_unknown_and_hence_refused(lab: Lab, bdops: Bdops) -> None:
    before = jobs.spawns(lab, "zk")
    assert bdops("lab", "pause", "zk/node2", "--name", lab.name).returncode == 0
    try:
        done = bdops("zk", "restart", "node1", "--yes", "-o", "json")
        assert done.returncode == 5
        assert done.json["status"] == "refused"
        assert "unknown" in {r["verdict"] for r in done.json["data"]["reasons"]}
        assert bdops("zk", "can-stop", "node1").returncode == 3
    finally:
        assert bdops("lab", "resume", "zk/node2", "--name", lab.name).returncode == 0
    assert jobs.spawns(lab, "zk") == before


def test_a_server_that_does_not_come_back_pauses_the_job_with_its_log(
    lab: Lab, home: Path, bdops: Bdops, tmp_path: Path
) -> None:
    inventory = changed_inventory(lab, tmp_path, lambda zk: zk.update(restart={"verify_timeout_s": 4}))
    config = lab.folder_of("zk", "node3") / "zoo.cfg"
    good = config.read_text()
    config.write_text(good + "\ntickTime=nonsense\n")
    try:
        done = bdops("zk", "restart", "node3", "--yes", "-i", str(inventory))
        assert done.returncode == 7, done.stderr
        assert "not back" in done.stderr
        assert any("nonsense" in line or "Exception" in line for line in jobs.events_of(lab, "log_fetched")[0]["lines"])
    finally:
        config.write_text(good)
    resumed = bdops("jobs", "resume", "-i", str(inventory), timeout_s=120)
    if resumed.returncode == 7:
        resumed = bdops("jobs", "resume", "-i", str(inventory), timeout_s=120)
    assert resumed.returncode == 0, resumed.stderr


def changed_inventory(lab: Lab, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    data = yaml.safe_load(lab.inventory.read_text())
    change(data["clusters"][lab.name]["components"]["zk"])
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.thorough
def test_an_inventory_that_changed_under_a_paused_job_is_refused_with_the_difference(
    lab: Lab, bdops: Bdops, tmp_path: Path
) -> None:
    paused = bdops("zk", "restart", "--yes", "--stop-after", "1")
    assert paused.returncode == 7, paused.stderr
    changed = changed_inventory(lab, tmp_path, lambda zk: zk.update(client_port=2999))
    refused = bdops("jobs", "resume", "-i", str(changed))
    assert refused.returncode == 5, refused.stderr
    assert "client_port" in refused.stderr or "2999" in refused.stderr
    done = bdops("jobs", "resume")
    assert done.returncode == 0, done.stderr


def test_a_full_disk_under_the_journal_stops_the_job_before_the_act(
    lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    before = jobs.spawns(lab, "zk")
    process = running(lab, home, eventually, "zk", "restart", "--yes")
    journal = jobs.job_folders(lab)[0] / "journal.jsonl"
    # As on a full disk, not one byte more goes into any file of the process.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, resource.RLIM_INFINITY))
    code, stderr = finished(process)
    assert code == 7, stderr
    assert "journal cannot be written" in stderr
    assert len(jobs.events_of(lab, "act_announced")) == 1
    resume(bdops, lab, before)


@pytest.mark.thorough
@pytest.mark.parametrize("skew_s", [1, 3600])
def test_an_operators_clock_may_be_wrong(
    skew_s: int, lab: Lab, home: Path, bdops: Bdops, eventually: Eventually
) -> None:
    """The lease is by each host's clock, and a restart is told by the process: an hour's skew changes neither."""
    before = jobs.spawns(lab, "zk")
    paused = bdops("zk", "restart", "--yes", "--stop-after", "1")
    assert paused.returncode == 7, paused.stderr
    argv = [sys.executable, "-m", "tests.faults.skewed", str(skew_s), "jobs", "resume"]
    process = subprocess.Popen(argv, cwd=jobs.ROOT, env=jobs.environment(lab, home), stderr=subprocess.PIPE, text=True)
    eventually(lambda: len(jobs.events_of(lab, "started")) == 2, 60)
    rival = bdops("zk", "restart", "--yes", BDOPS_STATE_DIR=str(home / "rival"))
    assert rival.returncode == 75, rival.stderr
    code, stderr = finished(process)
    assert code == 0, stderr
    after = jobs.spawns(lab, "zk")
    assert {n: after[n] - before[n] for n in after} == dict.fromkeys(after, 1)


def test_a_window_that_is_too_short_begins_nothing(lab: Lab, bdops: Bdops) -> None:
    before = jobs.spawns(lab, "zk")
    done = bdops("zk", "restart", "--yes", "--within", "1s")
    assert done.returncode == 7, done.stderr
    assert "window" in done.stderr
    assert jobs.spawns(lab, "zk") == before
    assert bdops("jobs", "abort").returncode == 0


def test_only_those_that_are_stale_or_old_are_restarted(lab: Lab, bdops: Bdops) -> None:
    done = bdops("zk", "restart", "--only", "not-restarted-since=2026-01-01", "--dry-run", "-o", "json")
    assert done.json["data"]["waves"] == []
    everything = bdops("zk", "restart", "--only", "not-restarted-since=2126-01-01", "--dry-run", "-o", "json")
    assert len(everything.json["data"]["waves"]) == 3
    two = bdops("zk", "restart", "--only", "node[1-2]", "--dry-run", "--detailed-exitcode", "-o", "json")
    assert two.returncode == 6
    assert {r["name"].rpartition("/")[2] for r in two.json["data"]["waves"]} == {"node1", "node2"}


def test_a_dry_run_and_an_unconfirmed_run_change_nothing(lab: Lab, bdops: Bdops) -> None:
    before = jobs.spawns(lab, "zk")
    known = jobs.job_folders(lab)
    assert bdops("zk", "restart", "--dry-run").returncode == 0
    asked = bdops("zk", "restart")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert jobs.spawns(lab, "zk") == before
    assert jobs.job_folders(lab) == known


def test_stop_start_and_undo(lab: Lab, bdops: Bdops) -> None:
    stopped = bdops("zk", "stop", "node3", "--yes", "--reason", "new disk")
    assert stopped.returncode == 0, stopped.stderr
    assert jobs.pids(lab, "zk")[f"{lab.name}/zk/node3"] is None
    refused = bdops("zk", "restart", "node1", "--yes")
    assert refused.returncode == 5, refused.stderr
    job = jobs.job_folders(lab)[0].name if "stop" in jobs.job_folders(lab)[0].name else jobs.job_folders(lab)[1].name
    undone = bdops("jobs", "undo", job, "--yes")
    assert undone.returncode == 0, undone.stderr
    assert jobs.pids(lab, "zk")[f"{lab.name}/zk/node3"] is not None


def test_a_secret_is_in_no_plan_journal_output_or_argv(lab: Lab, home: Path, bdops: Bdops) -> None:
    from bdops.lab import security, zk

    secret = security.password(lab, zk.SUPER)
    process = jobs.started(lab, home, "zk", "restart", "node1", "--yes", "-vv", "-o", "json")
    seen = set()
    while process.poll() is None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    seen.add((entry / "cmdline").read_bytes())
                except OSError:
                    continue
        time.sleep(0.02)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    texts = [stdout, stderr, *(p.read_text() for p in jobs.job_folders(lab)[0].iterdir() if p.is_file())]
    assert not [t for t in texts if secret in t]
    assert not [c for c in seen if secret.encode() in c]
    assert json.loads(stdout)["data"]["done"] == 1
