"""One command over one connection: its streams, bounded or handed on as they come, its deadline and its end."""

from __future__ import annotations

import select
import shlex
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from bdops.core.model import Host
from bdops.core.units import format_duration
from bdops.errors import OperationFailed, Unreachable
from bdops.hosts.outcomes import CommandTimeout, Completed, where

if TYPE_CHECKING:
    import paramiko

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]

# After a command's exit its output is waited for this long: a child of it may keep the pipe open for ever.
_LINGER_S = 0.5
_SLICE_S = 0.2
_BREAKING_S = 0.2


def run_command(
    transport: paramiko.Transport,
    host: Host,
    argv: Sequence[str],
    stdin: bytes,
    *,
    end: float,
    timeout_s: float,
    limit: int,
    on_output: OnOutput | None = None,
) -> Completed:
    """Run `argv` until `end` (monotonic); `limit` bytes of both its streams are kept. Raises what SshPool.run does."""
    import paramiko

    try:
        channel = transport.open_session(timeout=max(0.01, end - time.monotonic()))
    except (paramiko.SSHException, OSError, EOFError) as e:
        raise Unreachable(f"no session for a command: {e}", where=where(host), code="SSH_SESSION") from None
    try:
        # Before any data comes: it makes the channel one that poll() can wait for.
        channel.fileno()
        channel.settimeout(max(0.01, end - time.monotonic()))
        sent_at = time.time()
        channel.exec_command(shlex.join(argv))
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
        output, answered_at, ended = _collect(channel, end, limit, on_output)
    except TimeoutError:
        raise OperationFailed(
            f"{argv[0]} took no input for {format_duration(timeout_s)}", where=where(host), code="SSH_COMMAND_TIMEOUT"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as e:
        raise Unreachable(
            f"the connection was lost while {argv[0]} ran: {e or type(e).__name__}", where=where(host), code="SSH_LOST"
        ) from None
    finally:
        channel.close()
    completed = Completed(
        exit_status=channel.exit_status if ended else -1,
        stdout=bytes(output[0]).decode("utf-8", "replace"),
        stderr=bytes(output[1]).decode("utf-8", "replace"),
        truncated=output[2],
        sent_at=sent_at,
        answered_at=answered_at,
        stdout_bytes=bytes(output[0]),
    )
    if not ended:
        raise CommandTimeout(argv, host, timeout_s, completed)
    if completed.exit_status < 0:
        # A connection that breaks takes its commands with it a moment before it is seen to be broken.
        transport.join(_BREAKING_S)
        if transport.is_active():
            raise OperationFailed(f"a signal ended {argv[0]}", where=where(host), code="SSH_COMMAND_SIGNALLED")
        raise Unreachable(f"the connection was lost while {argv[0]} ran", where=where(host), code="SSH_LOST")
    return completed


def _collect(
    channel: paramiko.Channel, end: float, limit: int, on_output: OnOutput | None
) -> tuple[tuple[bytearray, bytearray, bool], float | None, bool]:
    """Read both streams to their end, or to the deadline `end`: the last value tells whether the command had ended."""
    kept = (bytearray(), bytearray())
    sources: tuple[tuple[Stream, bytearray, Callable[[], bool], Callable[[int], bytes]], ...] = (
        ("stdout", kept[0], channel.recv_ready, channel.recv),
        ("stderr", kept[1], channel.recv_stderr_ready, channel.recv_stderr),
    )
    truncated = False
    answered_at: float | None = None
    linger_until: float | None = None
    # Not select(), which cannot wait for a file descriptor above 1,023.
    readable = select.poll()
    readable.register(channel, select.POLLIN)
    while True:
        for name, stream, ready, receive in sources:
            # One that never falls silent does not outrun its deadline.
            while ready() and time.monotonic() < end:
                data = receive(65536)
                answered_at = answered_at or time.time()
                room = limit - len(kept[0]) - len(kept[1])
                truncated = truncated or len(data) > room
                stream += data[: max(0, room)]
                if on_output:
                    on_output(name, data)
        now = time.monotonic()
        if channel.exit_status_ready() and (channel.eof_received or channel.closed):
            if not (channel.recv_ready() or channel.recv_stderr_ready()):
                return (*kept, truncated), answered_at, True
            continue
        if channel.exit_status_ready():
            linger_until = linger_until or now + _LINGER_S
            if now >= linger_until:
                return (*kept, truncated), answered_at, True
        if now >= end:
            return (*kept, truncated), answered_at, False
        if channel.eof_received:
            # The channel stays readable from here on; the status is an event.
            channel.status_event.wait(end - now)
        else:
            # In slices: the exit status of a command whose output stays open makes nothing readable.
            readable.poll(1000 * min(end - now, _SLICE_S))
