"""Processes by pid and start time: a dead, unreaped or reused pid is never taken for the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdops.lab import processes
from bdops.lab.processes import Process

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the mark of a lab in tmp_path."""
    with subprocess.Popen(SLEEP, env={processes.MARKER: str(tmp_path)}) as child:
        # Until exec the child is a copy of this process.
        while not processes.marked(tmp_path):
            time.sleep(0.01)
        yield child
        child.kill()


def test_a_zombie_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    one = processes.process(sleeper.pid)
    assert one
    assert processes.is_alive(one)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert processes.wait_gone([one], 5) == []
    assert processes.state_of(sleeper.pid) == "Z"
    assert processes.process(sleeper.pid) is None


def test_a_process_that_started_at_another_time_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    one = processes.process(sleeper.pid)
    assert one
    earlier = Process(one.pid, one.start_ticks - 1)
    assert not processes.send(earlier, signal.SIGKILL)
    assert processes.is_alive(one)
    assert processes.send(one, signal.SIGKILL)


def test_a_lab_finds_its_own_by_the_mark_and_nobody_elses(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert [p.pid for p in processes.marked(tmp_path)] == [sleeper.pid]
    assert processes.marked(tmp_path.parent) == []
    assert processes.marked(Path(str(tmp_path) + "2")) == []


def test_a_paused_process_is_alive_and_paused(sleeper: subprocess.Popen[bytes]) -> None:
    one = processes.process(sleeper.pid)
    assert one
    assert not processes.is_paused(one.pid)
    processes.send(one, signal.SIGSTOP)
    while not processes.is_paused(one.pid):
        time.sleep(0.01)
    assert processes.is_alive(one)
    assert processes.wait_gone([one], 0.2) == [one]


def test_a_pid_file_counts_only_with_its_argument_in_the_command_line(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    assert processes.from_pid_file(pid_file, Path("time.sleep")) is None
    pid_file.write_text(f"{sleeper.pid}\n")
    assert processes.from_pid_file(pid_file, Path("time.sleep"))
    assert processes.from_pid_file(pid_file, Path("/another/lab.conf")) is None
    for garbage in ("", "x", "999999999"):
        pid_file.write_text(garbage)
        assert processes.from_pid_file(pid_file, Path("time.sleep")) is None


def test_descendants_are_children_and_theirs() -> None:
    code = f"import subprocess; subprocess.Popen({SLEEP!r}).wait()"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        deadline = time.monotonic() + 20
        while not processes.descendants(parent.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        below = processes.descendants(parent.pid)
        assert len(below) == 1
        for one in below:
            processes.send(one, signal.SIGKILL)


def test_age_and_memory_are_those_of_the_process() -> None:
    me = processes.process(os.getpid())
    assert me
    assert 0 < processes.age_s(me) < 24 * 3600
    assert 2**20 < (processes.memory_bytes(me.pid) or 0) < 2**34
