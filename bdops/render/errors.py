"""Errors as words on stderr, and as the JSON or YAML envelope on stdout where that was asked for."""

from __future__ import annotations

import sys

from bdops.errors import BdopsError, ConfigErrors, ExitCode


def show_error(error: BdopsError, output: str, command: str) -> None:
    """Print one error, or each of several: what, where, and the next command."""
    errors = error.errors if isinstance(error, ConfigErrors) else [error]
    for one in errors:
        where = f"{one.where}: " if one.where else ""
        print(f"bdops: {where}{one.message}", file=sys.stderr)
        if one.hint:
            print(f"  hint: {one.hint}", file=sys.stderr)
    if output in ("json", "yaml"):
        from bdops.render.envelope import envelope, write_envelope

        status = {ExitCode.REFUSED: "refused", ExitCode.PAUSED: "paused"}.get(error.exit_code, "failed")
        listed = [{"code": e.code, "message": e.message, "hint": e.hint, "where": e.where} for e in errors]
        write_envelope(envelope(command, status, error.data, listed), output, sys.stdout)
    elif output == "nagios":
        print(f"BDOPS UNKNOWN - {errors[0].message.replace('|', '/')}")
