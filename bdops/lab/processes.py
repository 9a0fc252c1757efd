"""Processes of a lab: known by pid *and* start time, so that a pid that was used again is never signalled.

Everything that a lab starts carries `BDOPS_LAB=<folder>` in its environment and hands it on to its children:
what is left of a lab can always be found, even after its supervisord was killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "BDOPS_LAB"


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `start_ticks` is field 22 of /proc/PID/stat: clock ticks since boot (proc(5))."""

    pid: int
    start_ticks: int


def process(pid: int) -> Process | None:
    """The live process of this pid; None when there is none, or only a zombie."""
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return Process(pid, int(fields[19]))


def state_of(pid: int) -> str | None:
    """The state letter of proc(5): R, S, D, T (stopped), Z (dead, not reaped); None when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else None


def is_alive(one: Process) -> bool:
    return process(one.pid) == one


def is_paused(pid: int) -> bool:
    return state_of(pid) == "T"


def send(one: Process, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    if not is_alive(one):
        return False
    try:
        os.kill(one.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(processes: Iterable[Process], timeout_s: float) -> list[Process]:
    """Wait until all have ended; those that are still alive at the deadline."""
    deadline = time.monotonic() + timeout_s
    left = [p for p in processes if is_alive(p)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [p for p in left if is_alive(p)]
    return left


def marked(folder: Path) -> list[Process]:
    """The live processes of the lab in this folder, found by their environment."""
    wanted = f"{MARKER}={folder}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if wanted in environment.split(b"\0"):
            one = process(pid)
            if one:
                found.append(one)
    return found


def descendants(pid: int) -> list[Process]:
    """The live children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for each in _pids():
        fields = _stat(each)
        if fields:
            children.setdefault(int(fields[1]), []).append(each)
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            todo.append(child)
            one = process(child)
            if one:
                found.append(one)
    return found


def from_pid_file(pid_file: Path, argument: Path) -> Process | None:
    """The live process that wrote the file and has `argument` in its command line; None when that is not so.

    The argument (a configuration file of this lab) tells the process from a later one with the same pid.
    """
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return process(pid) if str(argument).encode() in command else None


def memory_bytes(pid: int) -> int | None:
    """The resident memory of a process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def age_s(one: Process) -> float:
    """How long ago a process was started."""
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return up_s - one.start_ticks / os.sysconf("SC_CLK_TCK")


def describe(pid: int) -> str:
    """`pid 812 (java)`, for messages."""
    try:
        return f"pid {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"pid {pid}"


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name, which may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
