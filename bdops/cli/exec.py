"""`bdops exec`: a command on many hosts, its results folded by what is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, on_hosts

if TYPE_CHECKING:
    from bdops.hosts.fanout import HostResult, Target
    from bdops.hosts.outcomes import Completed
    from bdops.hosts.ssh import SshPool

app = frame.App(help="Run a command on hosts.")

DEFAULT_TIMEOUT_S = 60.0
# All results are held until they are folded.
_ALL_OUTPUT_BYTES = 64 << 20
_OUTPUT_BYTES = (64 << 10, 8 << 20)


@app.command()
def exec_(
    ctx: typer.Context,
    selector: on_hosts.HOSTS,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The program and its arguments.")],
    parallel: on_hosts.ParallelOption = 32,
    serial: on_hosts.SerialOption = False,
    batch: on_hosts.BatchOption = None,
    keep_going: on_hosts.KeepGoingOption = False,
    sudo: Annotated[bool, typer.Option("--sudo", help="As root, by sudo -n, which never asks.")] = False,
    own_timeout_s: Annotated[
        float | None,
        typer.Option("--timeout", metavar="TIME", parser=frame.parse_time, help="Deadline of each host; 60s."),
    ] = None,
) -> None:
    """Run a command on hosts, and fold what is the same; exits 1 if it failed anywhere, 4 if a host was not reached.

    The command is a list of words and no shell sees it; for a shell: -- sh -c 'ps | wc -l'

    Example: bdops exec prod/kafka --batch 1,10%,50% -- systemctl is-active kafka
    """
    from bdops.hosts.fanout import Interrupted, exit_code

    session = frame.session(ctx)
    batches = on_hosts.batches_of(session, selector, serial=serial, batch=batch)
    count = sum(len(each) for each in batches)
    argv = ["sudo", "-n", "--", *command] if sudo else command
    if session.dry_run:
        _show_batches(session, batches, argv)
        return
    least, most = _OUTPUT_BYTES
    limit = min(most, max(least, _ALL_OUTPUT_BYTES // count))
    timeout_s = on_hosts.deadline_s(session, own_timeout_s, DEFAULT_TIMEOUT_S)

    def work(pool: SshPool, target: Target) -> Completed:
        return pool.run(target.host, argv, timeout_s=timeout_s, max_output_bytes=limit)

    try:
        results = on_hosts.run_on_hosts(
            session, batches, work, parallel=parallel, keep_going=keep_going, failed=lambda done: done.exit_status != 0
        )
    except Interrupted as e:
        if session.output == "table":
            _show_folded(e.results)
        if e.running:
            e.message = f"interrupted; the command may still run on {on_hosts.folded(e.running)}"
        e.data = {"hosts": [_row(result) for result in e.results], "running": list(e.running)}
        raise
    if session.output == "table":
        _show_folded(results)
        session.say(on_hosts.summary(results))
    else:
        _show_data(session, results, argv)
    session.exit_code = exit_code(results)


def _show_batches(session: frame.Session, batches: Sequence[Sequence[Target]], argv: Sequence[str]) -> None:
    import shlex

    from bdops.core.result import Column, Report, Table

    rows = [
        {"batch": n, "hosts": on_hosts.folded([t.name for t in b]), "count": len(b)} for n, b in enumerate(batches, 1)
    ]
    session.show(
        Report(
            summary=f"would run there: {shlex.join(argv)}",
            facts={"_argv": list(argv)},
            tables=(Table(name="batches", columns=(Column("batch"), Column("hosts"), Column("count")), rows=rows),),
        )
    )


def _show_folded(results: Sequence[HostResult[Completed]]) -> None:
    """One block for all hosts of which the same is to be said, in the order of their first."""
    groups: dict[tuple[int, str, str, bool], list[str]] = {}
    for result in results:
        if done := result.value:
            key = (done.exit_status, done.stdout, done.stderr, done.truncated)
            groups.setdefault(key, []).append(result.target.name)
    for (exit_status, stdout, stderr, truncated), names in groups.items():
        print(f"{on_hosts.folded(names)}{f' (exit {exit_status})' if exit_status else ''}:")
        for text in (stdout, stderr):
            if text:
                print(text.removesuffix("\n"))
        if truncated:
            print("(and more, which was dropped)")
    on_hosts.tell_errors(results)


def _row(result: HostResult[Completed]) -> dict[str, Any]:
    done = result.value
    return {
        **on_hosts.result_row(result),
        "exit_status": done and done.exit_status,
        "stdout": done and done.stdout,
        "stderr": done and done.stderr,
        "truncated": bool(done and done.truncated),
    }


def _show_data(session: frame.Session, results: Sequence[HostResult[Completed]], argv: Sequence[str]) -> None:
    from bdops.core.result import Column, Report, Table
    from bdops.hosts.fanout import counts

    bad = any(result.outcome != "ok" for result in results)
    session.show(
        Report(
            status="failed" if bad else "ok",
            summary=on_hosts.summary(results),
            facts={"argv": list(argv), "counts": counts(results)},
            tables=(Table(name="hosts", columns=(Column("host"),), rows=(_row(result) for result in results)),),
        )
    )
