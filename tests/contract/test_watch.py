"""`bdops watch` on a real terminal (a pseudo terminal and a terminal emulator), and without one."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest

from bdops.core.plan import Plan, Step, dump_plan
from bdops.jobs.journal import Journal
from bdops.jobs.store import Job
from tests.contract.cli import bdops

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cluster that is down, and a job that was killed in its second wave."""
    (tmp_path / "inventory.yaml").write_text(
        "version: 1\nclusters:\n  prod:\n    hosts:\n      node1: {address: 127.0.0.1, ssh: {port: 1}}\n"
        "    components:\n      zk: {hosts: node1, client_port: 1, admin_port: 2}\n"
    )
    job = tmp_path / "state/jobs/20260301-zk-restart-abc"
    job.mkdir(parents=True)
    at = "2026-03-01T12:00:00+00:00"
    steps = [Step(id=f"s{n}", component="zk", name=f"prod/zk/node{n}", acts=("restart",)) for n in (1, 2, 3)]
    plan = Plan(command="zk restart", cluster="prod", made_at=at, by="ops", waves=tuple((s,) for s in steps))
    (job / "plan.json").write_text(dump_plan(plan))
    journal = Journal(job / "journal.jsonl")
    journal.append("started", by="ops")
    journal.append("step_started", step="s1")
    journal.append("step_done", step="s1", seconds=90.0)
    journal.append("step_started", step="s2")
    journal.append("act_announced", step="s2", act="restart", attempt=1)
    journal.close()
    return tmp_path


def watch(home: Path, *argv: str) -> pexpect.spawn:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "XDG_"))}
    env = {
        **clean, "HOME": str(home), "BDOPS_STATE_DIR": str(home / "state"), "PYTHONPATH": str(ROOT),
        "TERM": "xterm", "LANG": "C.UTF-8",
    }  # fmt: skip
    words = ["-m", "bdops", "watch", "-i", str(home / "inventory.yaml"), "--timeout", "2s", *argv]
    return pexpect.spawn(sys.executable, words, env=env, encoding="utf-8", dimensions=(24, 100), timeout=30)


def looks(child: pexpect.spawn, is_there: Callable[[str], bool]) -> str:
    """What is on the terminal once it is as wanted; fails with what was there last."""
    display = pyte.Screen(100, 24)
    stream = pyte.Stream(display)
    deadline = time.monotonic() + 30
    text = ""
    while time.monotonic() < deadline:
        try:
            stream.feed(child.read_nonblocking(4096, timeout=0.5))
        except pexpect.TIMEOUT:
            continue
        text = "\n".join(display.display)
        if is_there(text):
            return text
    raise AssertionError(f"not within 30 s:\n{text}")


def test_the_screen_shows_components_the_worst_checks_and_the_job_and_q_quits(home: Path) -> None:
    child = watch(home)
    text = looks(child, lambda t: "ZK_SERVER_DOWN" in t and "1/3 steps" in t)
    assert re.search(r"prod/zk +critical", text)
    assert re.search(r"prod/host +critical", text)
    assert re.search(r"20260301-zk-restart-abc +interrupted +wave 2 of 3, 1/3 steps", text)
    child.send("q")
    child.expect(pexpect.EOF)
    # The other screen is left, and so what was on the terminal is there again.
    assert "\x1b[?1049l" in child.before
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_ends_it_gets_the_terminal_back(home: Path, number: signal.Signals, code: int) -> None:
    child = watch(home)
    looks(child, lambda t: "q quits" in t)
    child.kill(number)
    child.expect(pexpect.EOF)
    assert "\x1b[?1049l" in child.before
    assert "\x1b[?25h" in child.before
    assert "Traceback" not in child.before
    child.close()
    assert child.exitstatus == code


def test_without_a_terminal_it_is_a_line_a_check(home: Path) -> None:
    argv = ("-i", str(home / "inventory.yaml"), "--timeout", "2s", "--every", "1s", "--count", "2")
    done = bdops("watch", *argv, home=home)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [bool(re.match(r"\d\d:\d\d:\d\d CRITICAL: ", line)) for line in lines] == [True, False, True, False]
    assert "job 20260301-zk-restart-abc: interrupted, wave 2 of 3, 1/3 steps" in lines[1]
    assert "\x1b" not in done.stdout


def test_a_job_at_work_is_shown_with_what_is_in_hand_and_the_time_left(home: Path) -> None:
    argv = ("-i", str(home / "inventory.yaml"), "--timeout", "1s", "--count", "1")
    with Job(home / "state/jobs/20260301-zk-restart-abc").locked():
        done = bdops("watch", *argv, home=home)
    # Two waves are left, and the one step that is done took 90 s.
    assert "running, wave 2 of 3, 1/3 steps, 3 m left, prod/zk/node2: restart" in done.stdout


def test_programs_are_sent_to_check(home: Path) -> None:
    done = bdops("watch", "-o", "json", "-i", str(home / "inventory.yaml"), home=home)
    assert done.returncode == 2
    assert "bdops check -o json" in done.stderr
