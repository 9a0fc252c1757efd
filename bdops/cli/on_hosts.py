"""What exec, push and pull share: which hosts, how many at a time, and what is shown of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bdops.cli.frame import Session
from bdops.core.units import format_duration, plural
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.hosts.fanout import HostResult, Target
    from bdops.hosts.files import Copied
    from bdops.hosts.ssh import SshPool

T = TypeVar("T")

HOSTS = Annotated[
    str, typer.Argument(metavar="SELECTOR", help="The hosts, or what runs on them: node[1-3], prod/kafka, rack:r1.")
]
ParallelOption = Annotated[
    int, typer.Option("--parallel", metavar="N", min=1, max=256, help="At most so many hosts at a time.")
]
SerialOption = Annotated[bool, typer.Option("--serial", help="One host after the other; stop at the first failure.")]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="SIZES",
        help="Batches, the last size repeated: 1,10%,50%. Stop after one in which a host failed.",
    ),
]
KeepGoingOption = Annotated[bool, typer.Option("--keep-going", help="Do not stop at a batch that failed.")]


def batches_of(
    session: Session, selector: str, *, serial: bool = False, batch: str | None = None
) -> list[Sequence[Target]]:
    """The hosts that a selector names, in batches: all at once, one by one, or of the sizes asked for."""
    from bdops.hosts.batches import batch_sizes, split
    from bdops.hosts.fanout import Target
    from bdops.inventory.selectors import select_cluster_hosts

    if serial and batch:
        raise UsageError("--serial is --batch 1: give one of them")
    chosen = select_cluster_hosts(session.inventory(), selector, cluster=session.cluster)
    several = len({cluster for cluster, _ in chosen}) > 1
    targets = [Target(f"{cluster}/{host.name}" if several else host.name, host) for cluster, host in chosen]
    try:
        sizes = batch_sizes("1" if serial else batch or "100%", len(targets))
    except ValueError as e:
        raise UsageError(f"--batch: {e}", hint="--batch 1,10%,50%") from None
    return split(targets, sizes)


def run_on_hosts(
    session: Session,
    batches: Sequence[Sequence[Target]],
    work: Callable[[SshPool, Target], T],
    *,
    parallel: int,
    keep_going: bool = False,
    failed: Callable[[T], bool] = lambda _: False,
) -> list[HostResult[T]]:
    """Do the work on every host over one connection each. Raises Interrupted."""
    from bdops.hosts.fanout import fan_out
    from bdops.hosts.ssh import SshPool

    hosts = [host for cluster in session.inventory().clusters for host in cluster.hosts]
    jumps = {host.ssh.jump for host in hosts}
    count = sum(len(batch) for batch in batches)
    in_batches = f" in {len(batches)} batches" if len(batches) > 1 else ""
    session.say(f"on {plural(count, 'host')}{in_batches} of {session.inventory().source}")
    progress = _Progress(count)
    with SshPool(hosts) as pool:

        def on_one(target: Target) -> T:
            try:
                return work(pool, target)
            finally:
                # An idle connection costs a thread that looks at it ten times a second.
                if target.host.name not in jumps:
                    pool.drop(target.host)

        try:
            return fan_out(
                batches, on_one, parallel=parallel, failed=failed, keep_going=keep_going, on_result=progress.count
            )
        finally:
            progress.clear()


def deadline_s(session: Session, own_s: float | None, default_s: float) -> float:
    """The deadline of one host: the command's own `--timeout`, else the common one where it was given."""
    common_s = session.timeout_s
    given = common_s != type(session)().timeout_s
    return own_s or (common_s if given else default_s)


def folded(names: Sequence[str]) -> str:
    """`node[1-3]`; hosts of several clusters by cluster."""
    from bdops.inventory.ranges import fold

    by_cluster: dict[str, list[str]] = {}
    for name in names:
        cluster, slash, host = name.rpartition("/")
        by_cluster.setdefault(cluster + slash, []).append(host)
    return ",".join(cluster + fold(hosts) for cluster, hosts in by_cluster.items())


def summary(results: Sequence[HostResult[Any]], words: str = "ok") -> str:
    """`5 hosts: 3 ok, 1 failed, 1 unreachable`."""
    from bdops.hosts.fanout import counts

    found = {(words if name == "ok" else name.replace("_", " ")): n for name, n in counts(results).items()}
    return f"{plural(len(results), 'host')}: " + (", ".join(f"{n} {name}" for name, n in found.items() if n) or "none")


def result_row(result: HostResult[Any]) -> dict[str, Any]:
    """What every command tells of a host in JSON."""
    error = result.error
    return {
        "host": result.target.name,
        "address": result.target.host.address,
        "outcome": result.outcome,
        "seconds": None if result.seconds is None else round(result.seconds, 3),
        "error": error and {"code": error.code, "message": error.message, "hint": error.hint, "where": error.where},
    }


def tell_errors(results: Sequence[HostResult[Any]]) -> None:
    """Print what went wrong, once for all hosts of which the same is to be said, and the hosts that were not run."""
    said: dict[tuple[str, str], list[HostResult[Any]]] = {}
    for result in results:
        if result.error:
            said.setdefault((result.outcome, result.error.message), []).append(result)
    for (outcome, message), same in said.items():
        print(f"{folded([r.target.name for r in same])} ({outcome}): {message}")
        if (error := same[0].error) and error.hint:
            print(f"  hint: {error.hint}" + (f" (for {same[0].target.name})" if len(same) > 1 else ""))
    if idle := [r.target.name for r in results if r.outcome == "not_run"]:
        print(f"{folded(idle)} (not run)")


def show_copies(session: Session, results: Sequence[HostResult[Copied]], changed: str) -> None:
    """Show what came of copies, and set the exit code. `changed` is the word for those that were made."""
    from bdops.core.result import Column, Report, Table
    from bdops.hosts.fanout import counts, exit_code

    done = [r.value for r in results if r.value]
    new = sum(each.change == "changed" for each in done)
    parts = [f"{new} {changed}", f"{len(done) - new} unchanged"]
    parts += [f"{n} {name.replace('_', ' ')}" for name, n in counts(results).items() if n and name != "ok"]
    words = f"{plural(len(results), 'host')}: {', '.join(parts)}"
    rows = [
        {
            **result_row(result),
            "change": result.value and result.value.change,
            "path": result.value and result.value.path,
            "size_bytes": result.value and result.value.size_bytes,
            "verified": result.value and result.value.verified,
        }
        for result in results
    ]
    if session.output == "table":
        groups: dict[tuple[str, str], list[str]] = {}
        for result in results:
            if copied := result.value:
                word = changed if copied.change == "changed" else copied.change
                groups.setdefault((word, copied.path), []).append(result.target.name)
        for (word, path), names in groups.items():
            print(f"{folded(names)}: {path} {word}")
        tell_errors(results)
        session.say(words)
    else:
        bad = any(result.outcome != "ok" for result in results)
        table = Table(name="hosts", columns=(Column("host"),), rows=rows)
        session.show(
            Report(status="failed" if bad else "ok", summary=words, facts={"counts": counts(results)}, tables=(table,))
        )
    session.exit_code = exit_code(results)


class _Progress:
    """A line on a terminal's stderr, from two seconds on: how many hosts are done, and when the rest will be."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._bad = 0
        self._started = time.monotonic()
        self._shown = False

    def count(self, result: HostResult[Any]) -> None:
        self._done += 1
        self._bad += result.outcome != "ok"
        passed_s = time.monotonic() - self._started
        if passed_s < 2 or not sys.stderr.isatty():
            return
        left_s = passed_s / self._done * (self._total - self._done)
        bad = f", {self._bad} failed" if self._bad else ""
        rate = f"{self._done / passed_s:.1f}/s, {format_duration(left_s)} left"
        sys.stderr.write(f"\r\033[K{self._done}/{self._total} hosts{bad}, {rate}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
