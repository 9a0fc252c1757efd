"""Every error that a person, a server or the network can cause, and the exit code each one ends in.

An error is raised where the fact is known, with what happened, where, and the next command to run; it is
turned into an exit code in one place, `bdops.__main__`. The codes are documented in docs/exit-codes.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit codes of every command but `check`, which is a monitoring plugin and uses 0 to 3 alone.

    The text below each is what docs/exit-codes.md and the manual page say of it.
    """

    OK = 0
    """done; healthy"""
    FAILED = 1
    """an operation failed part way; the command that resumes it is printed"""
    USAGE = 2
    """usage: the words of the command line do not fit together"""
    CONFIG = 3
    """the inventory, a config file, a state file or a secret is missing or invalid, or the state is not known"""
    UNREACHABLE = 4
    """a server or host is unreachable, or would not have us"""
    REFUSED = 5
    """refused by a gate; nothing was changed"""
    CHANGES_PENDING = 6
    """changes are pending (with `--detailed-exitcode`)"""
    PAUSED = 7
    """paused, and can be resumed"""
    BUG = 70
    """a bug of bdops"""
    LEASE_HELD = 75
    """another job holds the cluster's lease"""
    INTERRUPTED = 130
    """interrupted (^C)"""
    TERMINATED = 143
    """terminated (SIGTERM)"""


class BdopsError(Exception):
    """Base of all errors that bdops raises on purpose.

    `message` says what happened to which object; `where` is a file:line, an address or an instance;
    `hint` is the next command or edit. `code` is stable and machine-readable, e.g. `INVENTORY_INVALID`.
    `data` goes into the envelope beside the error: a job's id, a gate's reasons.
    """

    exit_code: ExitCode = ExitCode.FAILED
    default_code: str = "FAILED"

    def __init__(
        self, message: str, *, hint: str | None = None, where: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.code = code or self.default_code
        self.data: Mapping[str, Any] = {}


class OperationFailed(BdopsError):
    """An operation failed part way."""


class UsageError(BdopsError):
    """The words of the command line do not fit together."""

    exit_code = ExitCode.USAGE
    default_code = "USAGE"


class ConfigError(BdopsError):
    """The inventory, a config file, a state file or a secret is missing or invalid."""

    exit_code = ExitCode.CONFIG
    default_code = "CONFIG_INVALID"


class StateUnknown(BdopsError):
    """What the command needs to know could not be found out."""

    exit_code = ExitCode.CONFIG
    default_code = "STATE_UNKNOWN"


class Unreachable(BdopsError):
    """A server or host does not answer: refused, timed out, TLS or protocol mismatch, or garbage."""

    exit_code = ExitCode.UNREACHABLE
    default_code = "UNREACHABLE"


class NotAuthorised(BdopsError):
    """A server or host answered and would not have us: wrong password, key, host key or privilege."""

    exit_code = ExitCode.UNREACHABLE
    default_code = "NOT_AUTHORISED"


class Refused(BdopsError):
    """A gate refused; nothing was changed."""

    exit_code = ExitCode.REFUSED
    default_code = "REFUSED"


class ConfigErrors(ConfigError):
    """Several configuration errors found in one pass, so that all can be fixed in one edit."""

    def __init__(self, errors: list[ConfigError]) -> None:
        first = errors[0]
        super().__init__("; ".join(e.message for e in errors), hint=first.hint, where=first.where, code=first.code)
        self.errors = errors


class Terminated(BaseException):
    """SIGTERM, where there is something to put right before the end. Not ^C: Typer makes 130 of that by itself."""


class ReaderGone(Exception):
    """Whoever read our standard output has gone away (`| head`): nothing to tell, and nobody to tell it to."""
