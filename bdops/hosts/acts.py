"""Acts that run on a host detached from the connection, so that a lost one neither kills nor repeats them.

An act is an argv with an id. `start_act` starts it at most once, whoever asks for it and how often; `wait_act` follows
it to its end over as many connections as that takes; `forget_act` removes what it left. Its folder on the host and
the scripts are in `act_scripts`.
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bdops.core.model import Host
from bdops.errors import NotAuthorised, OperationFailed, Unreachable
from bdops.hosts import act_scripts
from bdops.hosts.act_scripts import PIECE_BYTES
from bdops.hosts.ssh import CommandTimeout, SshPool

ActStatus = Literal["absent", "running", "ended", "lost"]
OUTPUT_BYTES = PIECE_BYTES
"""What is kept of an act's output: its end."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_READ_TIMEOUT_S = 10.0
# The last look, at the deadline, gets this long all the same: without it nobody knows what became of the act.
_LAST_READ_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActState:
    """What a host tells of an act.

    `lost`: no status and no live process, because it was killed or the host went down. With `started` False it never
    began and may be started; with True it did, nobody knows how far it came, and `start_act` will not run it again.
    `exit_status` is a shell's: 128 + n of a program that signal n ended, 126 or 127 of one that could not be run.
    `output` is the end of both its streams, at most 64 KiB.
    """

    state: ActStatus
    started: bool
    exit_status: int | None = None
    output: str = ""


def start_act(
    pool: SshPool, host: Host, act_id: str, argv: Sequence[str], *, timeout_s: float, sudo: bool = False
) -> None:
    """Start `argv` on the host under this id, or adopt what was started under it before: then nothing is run.

    When this returns the act has begun. After an error it may have: asking again is always safe. Raises what
    SshPool.run does, and OperationFailed: ACT_NOT_STARTED, or ACT_FOREIGN when the folder is another user's.
    """
    act_id = _checked(act_id)
    command = ("sudo", "-n", "--", *argv) if sudo else tuple(argv)
    script = ("sh", "-c", act_scripts.START, "bdops-act", act_scripts.RUNNER, host.work_dir, act_id, *command)
    done = pool.run(host, script, timeout_s=timeout_s)
    said = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if said in ("started", "adopted"):
        return
    _refuse_foreign(host, said)
    why = said.removeprefix("failed: ") or f"exit {done.exit_status}"
    raise OperationFailed(f"act {act_id} could not be started: {why}", where=host.address, code="ACT_NOT_STARTED")


def read_act(pool: SshPool, host: Host, act_id: str, *, timeout_s: float) -> ActState:
    """What has become of the act. Raises what SshPool.run does, and OperationFailed ACT_FOREIGN."""
    return _read(pool, host, _checked(act_id), _Output(), timeout_s)


def wait_act(
    pool: SshPool,
    host: Host,
    act_id: str,
    *,
    timeout_s: float,
    poll_s: float = 0.2,
    on_output: Callable[[str], None] | None = None,
) -> ActState:
    """Wait until the act no longer runs; what it says goes to `on_output` as it comes.

    A connection that is lost meanwhile is made again. At the deadline the state is what it is, `running` as a rule; the
    connection's error is raised when the host did not answer any more, up to two seconds later. Raises NotAuthorised
    at once.
    """
    act_id = _checked(act_id)
    end = time.monotonic() + timeout_s
    output = _Output(on_output)
    while True:
        left_s = max(_LAST_READ_S, end - time.monotonic())
        try:
            state = _read(pool, host, act_id, output, min(left_s, _READ_TIMEOUT_S))
            if state.state != "running" or time.monotonic() >= end:
                return state
        except NotAuthorised:
            raise
        except (Unreachable, OperationFailed) as e:
            if not isinstance(e, Unreachable | CommandTimeout) and e.code != "SSH_COMMAND_SIGNALLED":
                raise
            if isinstance(e, CommandTimeout) or e.code == "SSH_SESSION":
                # A connection that is cut without a word answers nothing and never breaks.
                pool.drop(host)
            if time.monotonic() >= end:
                raise
        time.sleep(max(0.0, min(poll_s, end - time.monotonic())))


def cancel_act(pool: SshPool, host: Host, act_id: str, *, timeout_s: float) -> None:
    """End the act and what it has started, and forget it. One that is not there is ended.

    Raises what forget_act does: ACT_RUNNING when it does not end, by SIGKILL either.
    """
    act_id = _checked(act_id)
    for signal in ("TERM", "KILL"):
        state = read_act(pool, host, act_id, timeout_s=_READ_TIMEOUT_S)
        if state.state != "running":
            break
        script = ("sh", "-c", act_scripts.SIGNAL, "bdops-act", host.work_dir, act_id, signal)
        done = pool.run(host, script, timeout_s=_READ_TIMEOUT_S)
        _refuse_foreign(host, done.stdout.strip())
        wait_act(pool, host, act_id, timeout_s=timeout_s / 2)
    forget_act(pool, host, act_id, timeout_s=_READ_TIMEOUT_S)


def forget_act(pool: SshPool, host: Host, act_id: str, *, timeout_s: float) -> None:
    """Remove the act's folder, and the work folder when it was the last one. One that is not there is forgotten.

    Raises what SshPool.run does, and OperationFailed: ACT_RUNNING, ACT_FOREIGN, or ACT_NOT_FORGOTTEN.
    """
    act_id = _checked(act_id)
    end = time.monotonic() + timeout_s
    state = read_act(pool, host, act_id, timeout_s=timeout_s)
    if state.state == "running":
        raise OperationFailed(f"act {act_id} still runs", where=host.address, code="ACT_RUNNING")
    script = ("sh", "-c", act_scripts.FORGET, "bdops-act", host.work_dir, act_id)
    done = pool.run(host, script, timeout_s=max(0.1, end - time.monotonic()))
    _refuse_foreign(host, done.stdout.strip())
    if done.exit_status != 0:
        why = done.stderr.strip() or f"exit {done.exit_status}"
        raise OperationFailed(f"act {act_id} cannot be forgotten: {why}", where=host.address, code="ACT_NOT_FORGOTTEN")


class _Output:
    """An act's output as it grows: its end is kept, what is new is handed on. Bytes are counted from the start."""

    def __init__(self, on_output: Callable[[str], None] | None = None) -> None:
        self.end = 0
        self._kept = bytearray()
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Take `(first byte, content)` pieces over, in order; what is missing before one was more than is kept."""
        for first, content in sorted(pieces):
            new = content[max(0, self.end - first) :]
            if not new:
                continue
            self.end = first + len(content)
            self._kept += new
            del self._kept[:-OUTPUT_BYTES]
            if self._on_output and (text := self._decoder.decode(new)):
                self._on_output(text)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


def _read(pool: SshPool, host: Host, act_id: str, output: _Output, timeout_s: float) -> ActState:
    script = ("sh", "-c", act_scripts.READ, "bdops-act", host.work_dir, act_id, str(output.end))
    done = pool.run(host, script, timeout_s=timeout_s, max_output_bytes=16 * OUTPUT_BYTES)
    _refuse_foreign(host, done.stdout.split("\n", 1)[0])
    found = parse_act(done.stdout_bytes)
    if found is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OperationFailed(
            f"the host's shell did not run our script (exit {done.exit_status}): {said[-1] if said else 'silent'}",
            where=host.address,
            code="SSH_SHELL",
        )
    state, started, exit_status, pieces = found
    output.add(pieces)
    return ActState(state=state, started=started, exit_status=exit_status, output=output.text())


Answer = tuple[ActStatus, bool, int | None, list[tuple[int, bytes]]]
_HEAD = re.compile(rb"@act (absent|running|ended|lost) ([01]) ?(\d*)\n")
_PIECE = re.compile(rb"@output (\d+) (\d+)\n")


def parse_act(answer: bytes) -> Answer | None:
    """The answer of the reading script: state, whether it started, exit status, pieces of output; None: no answer."""
    head = _HEAD.search(answer)
    if head is None:
        return None
    pieces: list[tuple[int, bytes]] = []
    at = head.end()
    while piece := _PIECE.match(answer, at):
        first, length = int(piece[1]), int(piece[2])
        content = answer[piece.end() : piece.end() + length]
        at = piece.end() + length + 1
        # A piece that was removed at this moment is cut short, and where the next one begins is not known.
        if len(content) < length or answer[at - 1 : at] != b"\n":
            break
        pieces.append((first, content))
    state: ActStatus = head[1].decode()  # type: ignore[assignment]
    return state, head[2] == b"1", int(head[3]) if head[3] else None, pieces


def _checked(act_id: str) -> str:
    if not _ID.fullmatch(act_id) or act_id in (".", ".."):
        raise ValueError(f"{act_id!r} is not an act's id: letters, digits, dots, dashes and underscores")
    return act_id


def _refuse_foreign(host: Host, said: str) -> None:
    if said.startswith("foreign "):
        folder = said.removeprefix("foreign ")
        raise OperationFailed(
            f"{folder} is not ours: another user's, a link, or closed to us",
            where=host.address,
            hint="set work_dir in the inventory, for the cluster or the host, to a folder of the user that logs in",
            code="ACT_FOREIGN",
        )
