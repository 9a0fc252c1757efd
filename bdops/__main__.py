"""The entry point: the only place that turns an error into an exit code."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from bdops.errors import BdopsError, ExitCode, ReaderGone, Terminated
from bdops.registry import COMPONENTS

if TYPE_CHECKING:
    from bdops.cli.frame import Session


def main() -> None:
    """Run one command of `sys.argv` and exit with its code."""
    if shell := os.environ.get("_BDOPS_COMPLETE"):
        from bdops.cli.completing import answer

        sys.stdout.write(answer(shell, sys.argv[1:]))
        return
    # Imports make many objects and no garbage: looking through them took a fifth of a check's time.
    gc.set_threshold(100_000)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code; every error becomes words on stderr (and JSON on stdout if asked)."""
    from typer import Abort
    from typer.exceptions import TyperException

    from bdops.cli.app import root_command
    from bdops.cli.frame import Session
    from bdops.render.errors import show_error

    session = Session()
    try:
        early = root_command().main(args=argv, prog_name="bdops", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return early if isinstance(early, int) else int(session.exit_code)
    except TyperException as e:
        context = getattr(e, "ctx", None)
        where = context.command_path if context else "bdops"
        error = BdopsError(e.format_message(), code="USAGE", hint=f"see `{where} --help`")
        show_error(error, _asked_output(argv) or session.output, session.command)
        return _code(session, argv, ExitCode.USAGE)
    except BdopsError as e:
        show_error(e, session.output, session.command)
        return _code(session, argv, e.exit_code)
    except (KeyboardInterrupt, Abort):
        show_error(BdopsError("interrupted", code="INTERRUPTED"), session.output, session.command)
        return _code(session, argv, ExitCode.INTERRUPTED)
    except Terminated:
        return _code(session, argv, ExitCode.TERMINATED)
    except (ReaderGone, BrokenPipeError):
        # Keep the interpreter from flushing again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(session.exit_code)
    except Exception as e:
        if session.verbose >= 2:
            raise
        bug = BdopsError(
            f"a bug of bdops: {type(e).__name__}: {e}",
            code="BUG",
            hint="run it again with -vv and report what it prints",
        )
        show_error(bug, session.output, session.command)
        return _code(session, argv, ExitCode.BUG)


def _asked_output(argv: list[str]) -> str | None:
    """The `-o` of a line that could not be parsed: whoever asked for JSON gets its errors as JSON too."""
    for i, word in enumerate(argv):
        if word in ("-o", "--output") and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith("--output="):
            return word.removeprefix("--output=")
    return None


def _code(session: Session, argv: list[str], code: ExitCode) -> int:
    """`check` is a monitoring plugin: whatever stops it is UNKNOWN (3) there, a usage error above all."""
    words = _words(argv)
    monitoring = session.monitoring or words[:1] == ["check"] or (words[1:2] == ["check"] and words[0] in COMPONENTS)
    return 3 if monitoring else int(code)


def _words(argv: list[str]) -> list[str]:
    """The command's words without the common options and their values, of a line that may not have been parsed."""
    takes_value = {"-i", "--inventory", "-c", "--cluster", "-o", "--output", "--columns", "--timeout", "--reason"}
    return [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if not word.startswith("-") and before not in takes_value
    ]


if __name__ == "__main__":
    main()
