"""This user's crontab on this machine, read and replaced through crontab(1)."""

from __future__ import annotations

import os
import subprocess

from bdops.errors import ConfigError, OperationFailed

TIMEOUT_S = 20.0


def read_crontab() -> str:
    """The crontab's text; "" when the user has none. Bytes that are no UTF-8 come back as they were.

    Raises ConfigError when there is no `crontab` here, OperationFailed when it would not tell.
    """
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if "no crontab for" in done.stderr.lower():
        return ""
    raise _failed("cannot be read", done)


def write_crontab(text: str, before: str) -> None:
    """Replace the crontab, unless it is not `before` any more; an empty one is removed.

    Raises OperationFailed, and ConfigError when somebody else changed it meanwhile.
    """
    if read_crontab() != before:
        raise ConfigError("the crontab was changed by somebody else meanwhile", hint="run it again", where="crontab -l")
    done = _crontab("-", text=text) if text else _crontab("-r")
    if done.returncode != 0:
        raise _failed("was not taken", done)
    if read_crontab() != text:
        raise OperationFailed("the crontab is not what was written to it", where="crontab -l", hint="look at it")


def _crontab(argument: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["crontab", argument],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "LC_ALL": "C"},
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigError(
            "there is no `crontab` on this machine",
            hint="install cron (cronie, or Debian's cron), or put what `bdops cron print` says where it belongs",
            code="CRON_MISSING",
        ) from None
    except subprocess.TimeoutExpired:
        raise OperationFailed(f"`crontab {argument}` did not end within {TIMEOUT_S:g} s") from None


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> OperationFailed:
    said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
    return OperationFailed(f"the crontab {what}: {said}", where="crontab", code="CRON_REFUSED")
