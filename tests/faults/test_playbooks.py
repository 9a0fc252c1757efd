"""Playbooks on a real ensemble: killed, failed, paused and resumed, approved or not; what is done is not done again."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.jobs.journal import read_journal
from bdops.jobs.store import Job, JobStore
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.contract.cli import Ran
from tests.faults import jobs

pytestmark = [pytest.mark.lab("zk"), pytest.mark.timeout(600)]

NIGHTLY = str(jobs.ROOT / "playbooks/nightly.yaml")
Play = Callable[..., Ran]


@pytest.fixture
def play(lab: Lab, bdops: Bdops, tmp_path: Path) -> Any:
    """Writes a playbook of these steps and runs it; afterwards no job is open and no lease or act is left."""
    known = jobs.job_folders(lab)

    def run(steps: str, *argv: str, ok: int | None = 0) -> Ran:
        done = bdops("run", written(tmp_path, steps), *argv, timeout_s=240)
        assert ok is None or done.returncode == ok, (done.stdout, done.stderr)
        return done

    yield run
    for folder in jobs.job_folders(lab):
        if folder not in known and Job(folder).state().status not in ("done", "aborted"):
            assert bdops("jobs", "abort", folder.name, timeout_s=120).returncode == 0
    assert not jobs.remains(lab)
    assert not jobs.drills(lab)


def written(folder: Path, steps: str) -> str:
    file = folder / "playbook.yaml"
    file.write_text(f"version: 1\nhelp: A test.\n{steps}")
    return str(file)


def note(file: Path, word: str) -> str:
    """A step that leaves a word in a file, by a command on a host of the lab, which is this machine."""
    return f"do: exec\n    with: {{selector: node1, command: [sh, -c, 'echo {word} >> {file}']}}"


def children(lab: Lab) -> list[Job]:
    """The jobs of the steps of the newest playbook, the oldest first."""
    return JobStore(jobs.job_folders(lab)[0]).jobs()[::-1]


def words(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def snapshots(bdops: Bdops, destination: Path) -> list[dict[str, Any]]:
    listed = bdops("zk", "snapshot", "list", "--destination", str(destination), "-o", "json")
    assert listed.returncode == 0, listed.stderr
    return listed.json["data"]["snapshots"]


def test_the_nightly_playbook_makes_proves_and_prunes(lab: Lab, bdops: Bdops, play: Play, tmp_path: Path) -> None:
    # Of ZooKeeper alone, whatever else the lab has: what others have made is not to be pruned.
    inventory = yaml.safe_load(lab.inventory.read_text())
    components = inventory["clusters"][lab.name]["components"]
    inventory["clusters"][lab.name]["components"] = {"zk": components["zk"]}
    mine = tmp_path / "inventory.yaml"
    mine.write_text(yaml.safe_dump(inventory))
    argv = [
        "run",
        NIGHTLY,
        "-i",
        str(mine),
        "-e",
        f"zk_destination={tmp_path}/backups",
        "-e",
        "keep=1h",
        "-e",
        "min_good=1",
    ]
    shown = bdops(*argv, "--dry-run", "-o", "json", "--detailed-exitcode", timeout_s=120)
    assert shown.returncode == 6, shown.stderr
    (made,) = shown.json["data"]["plans"]
    assert [row["acts"] for row in made["waves"]] == ["snapshot-create"]
    assert not snapshots(bdops, tmp_path / "backups"), "nothing was done"
    older = bdops("zk", "snapshot", "create", "--name", "older", "--destination", f"{tmp_path}/backups", "--yes")
    assert older.returncode == 0, older.stderr
    done = bdops(*argv, "--yes", timeout_s=240)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert [c.plan().command.split()[-1] for c in children(lab)] == ["create", "drill", "prune"]
    (kept,) = snapshots(bdops, tmp_path / "backups")
    assert (kept["snapshot"] != "older", kept["proved_at"] is not None) == (True, True)
    assert len(bdops("jobs", "list", "--open", "-o", "json").json["data"]["jobs"]) == 0


@pytest.mark.timeout(3 * 3600 if jobs.EVERY else 600)
def test_killed_at_any_event_a_resume_comes_to_the_same_end(
    lab: Lab, home: Path, bdops: Bdops, play: Play, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    file = written(
        tmp_path,
        f"""\
parameters:
  to: {{help: Where snapshots go.}}
steps:
  - do: zk snapshot create
    with: {{destination: "{{{{ to }}}}", name: one}}
    register: made
  - do: zk restart
    with: {{selector: node3}}
  - do: zk snapshot drill
    when: "'one' in results.made.done"
    with: {{destination: "{{{{ to }}}}", snapshot: "{{{{ results.made.done | first }}}}"}}
  - wait_for: {{check: zk, at_most: warning, timeout: 2m}}
finally:
  - {note(out, "end")}
""",
    )

    def argv(number: int) -> list[str]:
        return ["run", file, "-e", f"to={tmp_path}/{number}", "--yes"]

    undisturbed = bdops(*argv(0), timeout_s=240)
    assert undisturbed.returncode == 0, (undisturbed.stdout, undisturbed.stderr)
    events = len(jobs.newest_events(lab)) + sum(len(read_journal(c.journal_path)) for c in children(lab))
    for when, number in jobs.moments(events, 1):
        out.unlink(missing_ok=True)
        before = jobs.spawns(lab, "zk")
        status = jobs.killed(lab, home, when, number, *argv(number))
        moment = f"killed {when} event {number} of {events} ({jobs.job_folders(lab)[0].name})"
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", "--yes", timeout_s=240)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert jobs.newest_state(lab).status == "done", moment
        assert jobs.restarts(lab, "zk", before) == {"node1": 0, "node2": 0, "node3": 1}, moment
        (only,) = snapshots(bdops, tmp_path / str(number))
        assert (only["snapshot"], only["proved_at"] is not None) == ("one", True), moment
        assert set(words(out)) == {"end"}, moment
        assert all(c.is_over() for c in children(lab) if c.journal_path.exists()), moment
        assert not jobs.remains(lab), moment
        assert not jobs.drills(lab), moment


def test_after_a_failure_its_steps_and_the_last_ones_run_and_a_resume_goes_on(
    lab: Lab, bdops: Bdops, play: Play, tmp_path: Path
) -> None:
    out, marker = tmp_path / "out", tmp_path / "marker"
    failed = play(
        f"""\
steps:
  - name: first
    {note(out, "first")}
  - name: needs it
    do: exec
    with: {{selector: node1, command: [test, -e, {marker}]}}
  - name: after
    {note(out, "after")}
on_failure:
  - name: mend
    {note(out, "failure")}
finally:
  - name: end
    {note(out, "end")}
""",
        "--yes",
        ok=7,
    )
    assert "playbook.yaml:" in failed.stderr, "it says which step"
    assert words(out) == ["first", "failure", "end"]
    marker.touch()
    assert bdops("jobs", "resume", "--yes").returncode == 0
    assert words(out) == ["first", "failure", "end", "after", "end"]


def test_a_failing_job_of_a_step_is_resumed_with_the_playbook(
    lab: Lab, bdops: Bdops, play: Play, tmp_path: Path
) -> None:
    blocked = tmp_path / "backups"
    blocked.write_text("a file where a folder should be")
    steps = f"""\
steps:
  - do: zk snapshot create
    with: {{destination: {blocked}, name: late}}
    plan_late: the folder is not there yet
  - do: zk snapshot verify
    with: {{destination: {blocked}}}
"""
    play(steps, "--yes", ok=7)
    blocked.unlink()
    done = bdops("jobs", "resume", "--yes", timeout_s=120)
    assert done.returncode == 0, done.stderr
    assert [s["snapshot"] for s in snapshots(bdops, blocked)] == ["late"]


APPROVE = """\
steps:
  - name: sure
    approve: Go on with {count} servers?
    register: sure
  - name: after
    {step}
"""


def test_nobody_is_there_to_approve(lab: Lab, play: Play, tmp_path: Path) -> None:
    known = jobs.job_folders(lab)
    out = tmp_path / "out"
    refused = play(APPROVE.format(count=3, step=note(out, "after")), ok=2)
    assert "--yes" in refused.stderr
    assert (jobs.job_folders(lab), words(out)) == (known, [])


def test_a_person_says_no_and_later_yes(lab: Lab, home: Path, bdops: Bdops, play: Play, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = written(tmp_path, APPROVE.format(count=3, step=note(out, "after")))
    status, said = at_a_terminal(lab, home, [("Carry this out?", "y"), ("3 servers?", "n")], "run", file)
    assert (status, words(out)) == (7, []), said
    assert "not approved" in said
    unattended = bdops("jobs", "resume")
    assert (unattended.returncode, words(out)) == (7, []), unattended.stderr
    assert "--yes" in unattended.stderr
    status, said = at_a_terminal(lab, home, [("3 servers?", "y")], "jobs", "resume")
    assert (status, words(out)) == (0, ["after"]), said
    assert [e["text"] for e in jobs.events_of(lab, "said") if "approved by" in e["text"]]


def at_a_terminal(lab: Lab, home: Path, answers: list[tuple[str, str]], *argv: str) -> tuple[int, str]:
    """Run bdops with a terminal, and answer each question when it is there."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bdops", *argv],
        cwd=jobs.ROOT,
        env=jobs.environment(lab, home),
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    said, deadline = "", time.monotonic() + 120
    os.set_blocking(main, False)
    try:
        while time.monotonic() < deadline:
            try:
                said += os.read(main, 65536).decode(errors="replace")
            except BlockingIOError:
                if process.poll() is not None:
                    break
                time.sleep(0.05)
            except OSError:
                break  # the other end is closed
            if answers and answers[0][0] in said:
                os.write(main, f"{answers.pop(0)[1]}\n".encode())
        return process.wait(timeout=60), said
    finally:
        process.kill()
        os.close(main)


@pytest.mark.thorough
def test_sigterm_in_a_step_pauses_it_and_its_job(
    lab: Lab, home: Path, bdops: Bdops, play: Play, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    file = written(
        tmp_path,
        f"""\
steps:
  - name: all
    do: zk restart
    with: {{selector: "zk/node[1-2]", waves: serial}}
on_failure:
  - {note(out, "failure")}
finally:
  - {note(out, "end")}
""",
    )
    before = jobs.spawns(lab, "zk")
    with jobs.running(lab, home, "run", file, "--yes") as (process, await_event):
        await_event("child")
        wait_for(
            lambda: any(e["event"] == "act_announced" for c in children(lab) for e in read_journal(c.journal_path))
        )
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert words(out) == [], "a pause is neither a failure nor an end"
    assert sum(jobs.restarts(lab, "zk", before).values()) == 1
    resumed = bdops("jobs", "resume", "--yes", timeout_s=240)
    assert resumed.returncode == 0, resumed.stderr
    assert jobs.restarts(lab, "zk", before) == {"node1": 1, "node2": 1, "node3": 0}
    assert words(out) == ["end"]


def wait_for(probe: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_while_a_playbook_is_at_work_no_other_job_is_and_closing_it_closes_its_step(
    lab: Lab, home: Path, bdops: Bdops, play: Play, tmp_path: Path
) -> None:
    file = written(tmp_path, "steps:\n  - {do: zk restart, with: {selector: node1}}\n")
    with jobs.running(lab, home, "run", file, "--yes") as (process, await_event):
        await_event("child")
        assert bdops("zk", "restart", "node2", "--yes").returncode == 75
        process.kill()
        process.communicate()
    closed = bdops("jobs", "abort", timeout_s=120)
    assert closed.returncode == 0, closed.stderr
    assert all(c.is_over() for c in children(lab) if c.journal_path.exists())


def test_what_a_step_found_is_kept_without_secrets_and_goes_to_an_archive(lab: Lab, play: Play, tmp_path: Path) -> None:
    play(
        f"""\
steps:
  - name: configs
    do: exec
    with: {{selector: "node[1-2]", command: [printf, 'a=1\\nssl.key.password=hunter2\\n']}}
  - name: fails, and goes on
    do: exec
    with: {{selector: node1, command: ['false']}}
    go_on: true
  - archive: {tmp_path}
""",
        "--yes",
    )
    folder = jobs.job_folders(lab)[0]
    kept = json.loads((folder / "results/0001.json").read_text())
    assert [h["stdout"] for h in kept["hosts"]] == ["a=1\nssl.key.password=***\n"] * 2
    with tarfile.open(tmp_path / f"{folder.name}.tar.gz") as tar:
        names = {n.split("/", 1)[1] for n in tar.getnames()}
        assert {"0001-configs/node1.txt", "0001-configs/node2.txt", "0001-configs.json"} <= names
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"hunter2" not in everything.replace(b"hunter2\\\\n", b"").replace(b"hunter2\\n", b""), "but in its own plan"
