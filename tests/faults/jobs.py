"""What the fault tests ask of a job and of a lab, without bdops' own engine where it can be told otherwise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bdops.core.plan import Plan
from bdops.hosts.ssh import SshPool
from bdops.jobs.fold import JobState, fold
from bdops.jobs.journal import Event, read_journal
from bdops.jobs.lease import read_leases
from bdops.jobs.store import Job
from bdops.lab.lab import Lab
from bdops.lab.supervision import Supervisor
from tests import needs
from tests.conftest import Bdops

ROOT = Path(__file__).parents[2]
EVERY = bool(os.environ.get("BDOPS_EVERY_EVENT"))
"""Kill at every event of a journal, before and after it, and not at a few."""


def environment(lab: Lab, home: Path, **more: str) -> dict[str, str]:
    """What bdops runs with, so that it finds this lab and keeps its jobs in the lab's state folder."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("BDOPS_")},
        "HOME": str(home),
        "NO_COLOR": "1",
        "BDOPS_STATE_DIR": str(lab.folder.parent.parent),
        "BDOPS_CACHE_DIR": str(lab.cache),
        "BDOPS_INVENTORY": str(lab.inventory),
        **more,
    }


def started(lab: Lab, home: Path, *argv: str, **more: str) -> subprocess.Popen[str]:
    """bdops, running by itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "bdops", *argv],
        cwd=ROOT,
        env=environment(lab, home, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Observed(dict[str, Any]):
    """An observer's report, filled in when it has ended."""


@contextmanager
def observing(module: str, *argv: str, timeout_s: float) -> Iterator[Observed]:
    """Clients in a process of their own (tests.faults.MODULE) work while this lasts; then their report is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.faults.{module}", *argv],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    report = Observed()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=30)[1]
        yield report
        out, err = process.communicate("", timeout=timeout_s)
        assert process.returncode == 0, err
        report.update(json.loads(out))
    finally:
        process.kill()
        process.wait()


@contextmanager
def running(
    lab: Lab, home: Path, *argv: str, **env: str
) -> Iterator[tuple[subprocess.Popen[str], Callable[..., None]]]:
    """bdops at work on a new job, and what waits until its journal has an event; it is killed at the end."""
    known = job_folders(lab)
    process = started(lab, home, *argv, **env)

    def await_event(event: str, timeout_s: float = 120, **fields: str) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            new = [f for f in job_folders(lab) if f not in known and (f / "journal.jsonl").exists()]
            for e in newest_events(lab) if new else ():
                if e["event"] == event and all(e.get(k) == v for k, v in fields.items()):
                    return
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        raise AssertionError(f"no {event} {fields} within {timeout_s} s")

    try:
        yield process, await_event
    finally:
        process.kill()
        process.communicate()


def killed(lab: Lab, home: Path, when: str, number: int, *argv: str) -> int:
    """Run bdops and kill it at an event of its journal; its exit status, -9 when it came to that.

    A sample is from the middle: there it must come to it. Of all events a run may have one less than another.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killer", when, str(number), *argv],
        cwd=ROOT,
        env=environment(lab, home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == -9 or EVERY, f"not killed {when} event {number}: {done.returncode}: {done.stderr}"
    return done.returncode


def moments(events: int, sample: int) -> list[tuple[str, int]]:
    """Before and after each event but the first, which begins the job; or a sample, from the middle outwards."""
    every = [(when, number) for number in range(2, events + 1) for when in ("before", "after")]
    return every if EVERY else [every[(i + 1) * len(every) // (sample + 1)] for i in range(sample)]


def job_folders(lab: Lab) -> list[Path]:
    """The folders of all jobs, the newest first."""
    jobs = lab.folder.parent.parent / "jobs"
    return sorted(jobs.iterdir(), reverse=True) if jobs.is_dir() else []


def abort_open(lab: Lab, bdops: Bdops) -> list[str]:
    """Abort the jobs that are neither done nor aborted; which these were."""
    left = [f.name for f in job_folders(lab) if Job(f).state().status not in ("done", "aborted")]
    for name in left:
        bdops("jobs", "abort", name, timeout_s=120)
    return left


def newest_events(lab: Lab) -> list[Event]:
    """The journal of the newest job."""
    return read_journal(job_folders(lab)[0] / "journal.jsonl")


def newest_state(lab: Lab) -> JobState:
    return fold(newest_events(lab))


def newest_plan(lab: Lab) -> Plan:
    return Job(job_folders(lab)[0]).plan()


def events_of(lab: Lab, kind: str) -> list[Event]:
    """Those of one kind in the journal of the newest job."""
    return [e for e in newest_events(lab) if e["event"] == kind]


def signal_again(process: subprocess.Popen[str], number: int) -> bool:
    """Send the second signal, once bdops says that it took the first: two at once are one to the kernel."""
    assert process.stderr is not None
    for line in process.stderr:
        if "once more leaves at once" in line:
            process.send_signal(number)
            return True
    return False


def sshd_sessions_of(client: int) -> list[int]:
    """The sshd processes that serve a client's connections, by the kernel's table of sockets."""
    ours = subprocess.run(["ss", "-Htnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    ends = {line.split()[3] for line in ours if f"pid={client}," in line}
    return [int(m) for line in ours if line.split()[4] in ends for m in re.findall(r'"sshd[^"]*",pid=(\d+)', line)]


def settings_left(bdops: Bdops) -> list[str]:
    """What `bdops doctor` finds that a job may have left: none of it may be there after one that is done."""
    found = bdops("doctor", "-o", "json").json["data"]["remains"]
    return [r["what"] for r in found if r["kind"] in ("setting", "act", "lease")]


def pids(lab: Lab, component: str) -> dict[str, int | None]:
    """The main process of every instance, as the lab's own supervisors have it."""
    found = {}
    for instance in lab.deployment(component).instances:
        program = instance.service.unit if instance.service else ""
        states = Supervisor(lab.host(instance.host.name)).states()
        found[instance.name] = states[program or ""].pid
    return found


def spawns(lab: Lab, component: str) -> dict[str, int]:
    """How often the host's own supervisord has started each instance so far, by its log."""
    found = {}
    for instance in lab.deployment(component).instances:
        log = (lab.host(instance.host.name).logs / "supervisord.log").read_text()
        found[instance.name] = log.count(f"spawned: '{instance.service.unit if instance.service else ''}' with pid")
    return found


def remains(lab: Lab) -> list[str]:
    """Leases and acts that are left on the lab's hosts."""
    cluster = lab.deployment(lab.components[0]).instances[0].cluster
    hosts = list({i.host.name: i.host for c in lab.components for i in lab.deployment(c).instances}.values())
    with SshPool(hosts) as pool:
        left = [str(x) for x in read_leases(pool, cluster, hosts)]
    for host in hosts:
        folder = Path(host.work_dir)
        left += [str(p) for p in folder.rglob("*") if p.is_file()] if folder.exists() else []
    return left


def restarts(lab: Lab, component: str, before: dict[str, int]) -> dict[str, int]:
    """How often each server was started since, by its host, or `host/process` where a host has several."""
    return {"/".join(name.split("/")[2:]): n - before[name] for name, n in spawns(lab, component).items()}


def steps_done(lab: Lab) -> list[str]:
    """The instances in the order in which they were finished by the newest job, named like those of `restarts`."""
    return ["/".join(e["instance"].split("/")[2:]) for e in newest_events(lab) if e["event"] == "step_done"]


def drills(lab: Lab) -> list[str]:
    """What drills have left on this machine: the folders and the processes of throw-away servers."""
    folder = lab.folder.parent.parent / "drills"
    found = [str(p) for p in folder.iterdir()] if folder.is_dir() else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [entry.name for w in words if w.startswith(f"-Dbdops.drill={folder}/".encode())]
    return found


@contextmanager
def small_volume(folder: Path, size_kb: int) -> Iterator[Path]:
    """A file system of so many KiB at a folder."""
    needs.root("mounting a small volume")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "bdops-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room in a small volume; the file that takes it."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as out:
            while out.write(b"x" * 4096):
                pass
    except OSError:
        return filler
    raise AssertionError(f"{folder} does not fill up")


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
