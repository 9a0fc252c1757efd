"""`bdops cron`: bdops in this user's crontab, as a block that can be put in, shown and taken out again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame
from bdops.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from bdops.cli.frame import Session
    from bdops.core.crontab import CronJob

app = frame.App(help="Put checks and other commands into the crontab.")

CHECK = ("check", "--record", "--only-changes")
"""What is run when no command is given."""
DEFAULT_EVERY_S = 300.0
DEFAULT_JITTER_S = 30
DAILY_LIMIT_S = 6 * 3600
LONGEST_LIMIT_S = 24 * 3600

CommandArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND...]", help="What to run, without `bdops`; check --record --only-changes."),
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="The name of its block in the crontab.")]
EveryOption = Annotated[
    float | None,
    typer.Option("--every", metavar="TIME", parser=frame.parse_time, help="How often; 5m unless given."),
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="Once a day instead: 03:10; once a week: 'sun 03:10'.")
]
LimitOption = Annotated[
    float | None,
    typer.Option(
        "--limit", metavar="TIME", parser=frame.parse_time, help="Stop it after so long; until the next is due, or 6h."
    ),
]
JitterOption = Annotated[
    float,
    typer.Option(
        "--jitter",
        metavar="TIME",
        parser=frame.parse_time,
        help="Wait up to so long first, the same on one machine.",
    ),
]


@app.command("print")
def print_(
    ctx: typer.Context,
    command: CommandArgument = None,
    name: NameOption = "check",
    every: EveryOption = None,
    at: AtOption = None,
    limit: LimitOption = None,
    jitter: JitterOption = float(DEFAULT_JITTER_S),
) -> None:
    """Print the block for a crontab, which stays as it is.

    Example: bdops cron print --every 10m -- check prod/kafka --record --only-changes
    """
    from bdops.core.crontab import block
    from bdops.core.result import Report

    session = frame.session(ctx)
    job = _job(session, command, name, every, at, limit, jitter)
    if session.output == "table":
        print(block(name, job.line()), end="")
    else:
        session.show(Report(facts=_facts(job)))


@app.command()
def install(
    ctx: typer.Context,
    command: CommandArgument = None,
    name: NameOption = "check",
    every: EveryOption = None,
    at: AtOption = None,
    limit: LimitOption = None,
    jitter: JitterOption = float(DEFAULT_JITTER_S),
) -> None:
    """Put a command into this user's crontab: shows the difference, asks, and leaves everything else as it is.

    One at a time by a lock, not longer than its limit; it prints, and so mails, only when there is something to say.

    Example: bdops cron install --name backup --at 03:10 -- zk snapshot create prod/zk --yes
    """
    from bdops.core.crontab import with_block

    session = frame.session(ctx)
    job = _job(session, command, name, every, at, limit, jitter)
    _change(session, lambda text: with_block(text, name, job.line()), "installed", _facts(job))


@app.command()
def remove(ctx: typer.Context, name: NameOption = "check") -> None:
    """Take a block out of this user's crontab: everything else stays byte for byte.

    Example: bdops cron remove --name backup
    """
    from bdops.core.crontab import blocks, without_block

    def changed(text: str) -> str:
        if name not in (found := blocks(text)):
            raise UsageError(
                f"the crontab has no block {name!r} of bdops",
                hint=f"it has: {', '.join(found)}" if found else "it has none at all",
            )
        return without_block(text, name)

    _change(frame.session(ctx), changed, "removed", {"name": name})


def _change(session: Session, edit: Callable[[str], str], word: str, facts: dict[str, object]) -> None:
    from difflib import unified_diff

    from bdops.cli.jobs_frame import confirm
    from bdops.core.crontab import BadCrontab
    from bdops.core.result import Report
    from bdops.hosts.crontab import read_crontab, write_crontab

    before = read_crontab()
    try:
        after = edit(before)
    except BadCrontab as e:
        raise ConfigError(
            f"the blocks of bdops in the crontab are damaged: {e}", where="crontab -l", hint="put it right: crontab -e"
        ) from None
    if after == before:
        session.show(Report(summary="it is there already: nothing to do", facts={**facts, "_changed": False}))
        return
    difference = list(unified_diff(_shown(before), _shown(after), "before", "after", lineterm="", n=1))
    facts = {**facts, "_difference": difference}
    if session.output == "table":
        print("\n".join(difference))
    if session.dry_run:
        session.show(Report(summary="nothing was changed", facts={**facts, "_changed": False}))
        return
    confirm(session, "Change the crontab?")
    write_crontab(after, before)
    session.show(Report(summary=word, facts={**facts, "_changed": True}))


def _shown(text: str) -> list[str]:
    """Its lines, with a mark for each byte that is no UTF-8: such a crontab is edited all the same."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").splitlines()


def _facts(job: CronJob) -> dict[str, object]:
    return {"name": job.name, "schedule": job.schedule, "_command": list(job.argv), "_line": job.line()}


def _job(
    session: Session,
    command: list[str] | None,
    name: str,
    every_s: float | None,
    at: str | None,
    limit_s: float | None,
    jitter_s: float,
) -> CronJob:
    """The job that the words ask for. Raises UsageError, and ConfigError for an inventory that does not load."""
    import platform

    from bdops.cli.app import require_command
    from bdops.core.crontab import NAME, BadCrontab, CronJob, daily, delay, every
    from bdops.lab.paths import private_folder, state_dir

    words = tuple(command or CHECK)
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a block's name", hint="lower-case letters, digits, - and _")
    if every_s is not None and at is not None:
        raise UsageError("--every and --at exclude each other")
    require_command(words[0])
    session.inventory()
    key = f"{platform.node()} {os.getuid()} {name}"
    interval_s = DEFAULT_EVERY_S if every_s is None else every_s
    try:
        schedule = daily(at) if at else every(interval_s, key)
    except BadCrontab as e:
        raise UsageError(str(e)) from None
    delay_s = delay(key, int(min(jitter_s, 3600 if at else interval_s / 2)))
    longest_s = DAILY_LIMIT_S if at else interval_s - delay_s - 5
    if limit_s is not None and not 1 <= limit_s <= LONGEST_LIMIT_S:
        raise UsageError(f"--limit {limit_s:g} s: from 1s to 24h")
    job = CronJob(
        name=name,
        schedule=schedule,
        argv=(_program(), *_common(session, words), *words),
        lock_file=str(private_folder(state_dir() / "cron") / f"{name}.lock"),
        limit_s=int(limit_s or longest_s),
        delay_s=delay_s,
        says_news_alone="--only-changes" in words,
        environment={k: os.environ[k] for k in ("BDOPS_STATE_DIR",) if k in os.environ},
    )
    try:
        job.line()
    except BadCrontab as e:
        raise UsageError(str(e)) from None
    return job


def _program() -> str:
    """bdops as cron must call it: cron's PATH is short."""
    import shutil
    import sys

    called = Path(sys.argv[0])
    if called.name == "bdops" and (found := shutil.which(sys.argv[0])):
        return str(Path(found).absolute())
    beside = Path(sys.executable).with_name("bdops")
    if beside.exists():
        return str(beside)
    raise ConfigError("cannot tell where the program bdops is", hint="call it by its path: /path/to/bdops cron ...")


def _common(session: Session, words: tuple[str, ...]) -> list[str]:
    """The inventory (made absolute), cluster and timeout of this command line, for the one in the crontab."""
    from bdops.inventory.load import LoadedInventory

    loaded: LoadedInventory = session.inventory()
    common = []
    if not {"-i", "--inventory"}.intersection(words) and (session.inventory_path or os.environ.get("BDOPS_INVENTORY")):
        common += ["-i", str(Path(loaded.source).absolute())]
    if session.cluster and not {"-c", "--cluster"}.intersection(words):
        common += ["-c", session.cluster]
    if "timeout_s" in session.given and "--timeout" not in words:
        common += ["--timeout", f"{session.timeout_s:g}s"]
    return common
