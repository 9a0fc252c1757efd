"""The same work on many hosts: so many at a time, batch by batch, stopped at the first batch in which one failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, TypeVar

from bdops.core.model import Host
from bdops.errors import BdopsError, ExitCode, NotAuthorised, Unreachable

T = TypeVar("T")
Outcome = Literal["ok", "failed", "unreachable", "not_run"]

DEFAULT_PARALLEL = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A host under the name that it has for people: its own, or `cluster/host` where two clusters are meant."""

    name: str
    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult(Generic[T]):
    """What came of one host: a value, or why there is none. `not_run`: an earlier batch had failed."""

    target: Target
    outcome: Outcome
    value: T | None = None
    error: BdopsError | None = None
    seconds: float | None = None


class Interrupted(BdopsError):
    """^C while hosts were at work. `results` are those that had ended."""

    exit_code = ExitCode.INTERRUPTED
    default_code = "INTERRUPTED"

    def __init__(self, running: Sequence[str], results: Sequence[HostResult[Any]]) -> None:
        super().__init__("interrupted")
        self.running = tuple(running)
        self.results = tuple(results)


def fan_out(
    batches: Sequence[Sequence[Target]],
    work: Callable[[Target], T],
    *,
    parallel: int = DEFAULT_PARALLEL,
    failed: Callable[[T], bool] = lambda _: False,
    keep_going: bool = False,
    on_result: Callable[[HostResult[T]], None] | None = None,
) -> list[HostResult[T]]:
    """Do the work on every host, `parallel` at a time, each batch after the one before; results in the hosts' order.

    A batch in which a host failed or could not be reached is the last one unless `keep_going`; the hosts of the others
    are `not_run`. Errors of bdops are results; any other one is raised. Raises Interrupted for ^C.
    """
    results: dict[str, HostResult[T]] = {}
    running: dict[str, None] = {}
    done: SimpleQueue[HostResult[T] | BaseException] = SimpleQueue()
    over = threading.Event()
    stopped = False
    try:
        for batch in batches:
            if stopped:
                results |= {target.name: HostResult(target=target, outcome="not_run") for target in batch}
                continue
            for result in _batch(batch, work, parallel, failed, running, done, over):
                results[result.target.name] = result
                if on_result:
                    on_result(result)
            stopped = not keep_going and any(results[t.name].outcome != "ok" for t in batch)
    except KeyboardInterrupt:
        over.set()
        while not done.empty():
            if isinstance(late := done.get(), HostResult):
                results[late.target.name] = late
        raise Interrupted(tuple(running), tuple(results.values())) from None
    return [results[target.name] for batch in batches for target in batch]


def _batch(
    batch: Sequence[Target],
    work: Callable[[Target], T],
    parallel: int,
    failed: Callable[[T], bool],
    running: dict[str, None],
    done: SimpleQueue[HostResult[T] | BaseException],
    over: threading.Event,
) -> Iterator[HostResult[T]]:
    """The results as they come. `running` has the hosts that are at work; none begins after `over`."""
    waiting: SimpleQueue[Target] = SimpleQueue()
    for target in batch:
        waiting.put(target)

    def labour() -> None:
        while not over.is_set():
            try:
                target = waiting.get_nowait()
            except Empty:
                return
            running[target.name] = None
            try:
                result: HostResult[T] | BaseException = _one(target, work, failed)
            except BaseException as e:
                result = e
            del running[target.name]
            done.put(result)

    # Daemons: on ^C they do not keep the process from ending.
    for number in range(min(parallel, len(batch))):
        threading.Thread(target=labour, name=f"host {number}", daemon=True).start()
    for _ in batch:
        result = done.get()
        if isinstance(result, BaseException):
            over.set()
            raise result
        yield result


def _one(target: Target, work: Callable[[Target], T], failed: Callable[[T], bool]) -> HostResult[T]:
    started = time.monotonic()
    try:
        value = work(target)
    except BdopsError as e:
        away = isinstance(e, Unreachable | NotAuthorised)
        seconds = time.monotonic() - started
        return HostResult(target=target, outcome="unreachable" if away else "failed", error=e, seconds=seconds)
    outcome: Outcome = "failed" if failed(value) else "ok"
    return HostResult(target=target, outcome=outcome, value=value, seconds=time.monotonic() - started)


def exit_code(results: Sequence[HostResult[Any]]) -> ExitCode:
    """0 when all is well, 1 when the work failed on a host, else 4: a host was not reached, or would not have us."""
    outcomes = {result.outcome for result in results}
    if "failed" in outcomes:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if "unreachable" in outcomes else ExitCode.OK


def counts(results: Sequence[HostResult[Any]]) -> dict[Outcome, int]:
    """How many hosts came to each outcome."""
    order: tuple[Outcome, ...] = ("ok", "failed", "unreachable", "not_run")
    return {outcome: sum(result.outcome == outcome for result in results) for outcome in order}
