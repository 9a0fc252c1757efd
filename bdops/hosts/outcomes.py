"""How a command on a host ends: it completes, it does not in time, or a phase of reaching the host is too slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bdops.core.model import Host
from bdops.core.units import format_duration
from bdops.errors import OperationFailed, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that has ended. `sent_at` and `answered_at` (its first output) are this machine's clock, in s.

    `truncated`: there was more output than was asked for, and it was dropped. `stdout_bytes` is the output as it
    came, for what is counted in bytes.
    """

    exit_status: int
    stdout: str
    stderr: str
    truncated: bool
    sent_at: float
    answered_at: float | None
    stdout_bytes: bytes = b""


class CommandTimeout(OperationFailed):
    """A command did not end by its deadline. `partial` is what it had said by then; its exit status is -1."""

    def __init__(self, argv: Sequence[str], host: Host, timeout_s: float, partial: Completed) -> None:
        super().__init__(
            f"{argv[0]} did not end within {format_duration(timeout_s)}; it may still run there",
            where=where(host),
            code="SSH_COMMAND_TIMEOUT",
        )
        self.partial = partial


class PhaseTimeout(Unreachable):
    """A host did not answer in time. `phase`: connect, ssh banner, key exchange, authentication, or waiting for ...

    `code` is SSH_TIMEOUT.
    """

    def __init__(self, host: Host, phase: str, timeout_s: float) -> None:
        super().__init__(
            f"no answer within {format_duration(timeout_s)} in the phase: {phase}",
            where=where(host),
            code="SSH_TIMEOUT",
        )
        self.phase = phase


def where(host: Host) -> str:
    """The address and port that a host's errors are about."""
    return f"{host.address}:{host.ssh.port}"
