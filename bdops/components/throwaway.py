"""Servers that a drill runs on this machine: all of one is below a folder, whose path is in its command line.

So it is found again after any kill, and nothing else is ever taken for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.errors import ConfigError, OperationFailed

LOCALHOST = "127.0.0.1"
LOG = "server.log"
END_S = 10.0
INTERVAL_S = 0.2
_DEAD = ("Z", "X")


def marker(folder: Path) -> str:
    """A word of the command line (a Java property) by which its processes are known."""
    return f"-Dbdops.drill={folder}"


def processes(folder: Path) -> list[int]:
    """The live processes whose command line has the folder's marker."""
    wanted = marker(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):  # gone, or another user's
            continue
        if wanted in words and state not in _DEAD:
            found.append(int(entry.name))
    return found


def launch(folder: Path, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that lives on without us, its output appended to the folder's log. Raises ConfigError."""
    assert marker(folder) in argv
    try:
        with (folder / LOG).open("ab") as log:
            child = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
    except OSError as e:
        raise ConfigError(f"{argv[0]} cannot be started: {e.strerror or e}", where=str(folder)) from None
    # The kernel shows its command line a moment after it has begun: until then it would seem to have ended.
    while child.poll() is None and child.pid not in processes(folder):
        time.sleep(0.01)
    return child


def await_serving(
    folder: Path, serves: Callable[[], bool], context: ActContext, *, what: str, timeout_s: float, hint: str
) -> None:
    """Wait until the server of a folder serves. Raises OperationFailed (DRILL_NO_START) with the end of its log."""
    deadline = time.monotonic() + timeout_s
    while not serves():
        ended = not processes(folder)
        if ended or time.monotonic() > deadline:
            why = "ended" if ended else f"does not serve after {timeout_s:.0f} s"
            raise no_start(folder, f"{what} {why}", hint)
        context.waiting(f"{what} to serve")
        context.wait(INTERVAL_S)


def no_start(folder: Path, what: str, hint: str) -> OperationFailed:
    return OperationFailed(
        f"{what}; its log says: {log_tail(folder)}", where=str(folder), hint=hint, code="DRILL_NO_START"
    )


def remove(folder: Path) -> None:
    """End its processes and remove the folder; nothing happens when both are gone. Raises OperationFailed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(folder):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + END_S
        while processes(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
    if left := processes(folder):
        raise OperationFailed(f"the throw-away server {left} does not end", where=str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise OperationFailed("the folder of the throw-away server cannot be removed", where=str(folder))


def removed(folder: Path) -> Progress:
    if processes(folder):
        return pending("the throw-away server to end")
    return pending("its folder to be removed") if folder.exists() else DONE


def free_port() -> int:
    """A port of this machine's own address that nobody uses now."""
    with socket.socket() as one:
        one.bind((LOCALHOST, 0))
        return int(one.getsockname()[1])


def log_tail(folder: Path) -> str:
    """The last lines of its log that say something, in one."""
    try:
        lines = (folder / LOG).read_text(errors="replace").splitlines()
    except OSError:
        return "it has no log"
    return " | ".join(line.strip()[:300] for line in lines if line.strip()[:3] not in ("", "at "))[-900:] or "nothing"
