"""`bdops watch`: a live view of clusters and jobs; lines where there is no terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame
from bdops.errors import BdopsError, Terminated, UsageError

if TYPE_CHECKING:
    from bdops.core.changes import Change
    from bdops.core.survey import Survey
    from bdops.jobs.outlook import OpenJobs
    from bdops.render.watch import JobLine, View

app = frame.App(help="Watch clusters and jobs live.")

DEFAULT_EVERY_S = 10.0
TICK_S = 0.25
"""Between two looks at the keyboard, and two drawings."""
JOBS_EVERY_S = 1.0
SHOWN_JOBS = 5


@app.command()
def watch(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    every_s: Annotated[
        float,
        typer.Option("--every", metavar="TIME", parser=frame.parse_time, help="Check again so long after the last."),
    ] = DEFAULT_EVERY_S,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many checks.")] = None,
) -> None:
    """Watch clusters live: components, the worst checks, and jobs with their wave and time left; q quits, r checks now.

    Without a terminal a line is printed for each check, with what changed. Nothing is recorded and nothing changed.

    Example: bdops watch prod --every 5s
    """
    from bdops.cli.check import subjects_of
    from bdops.components.survey import survey

    session = frame.session(ctx)
    if session.output != "table":
        raise UsageError("watch is for people", hint="for programs: bdops check -o json")
    subjects = subjects_of(session, None, selector)
    watcher = _Watcher(lambda: survey(subjects, timeout_s=session.timeout_s, now=datetime.now(UTC)), max(every_s, 1.0))
    if sys.stdout.isatty() and sys.stdin.isatty():
        _on_screen(watcher, count)
    else:
        _in_lines(watcher, count)


@dataclass
class _Watcher:
    """Checks again and again in a thread of its own, so that the screen answers while a server does not."""

    check: Callable[[], Survey]
    every_s: float
    rounds: int = 0
    last: Survey | None = None
    error: str | None = None
    checked_at: float = 0.0
    _running: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_checking(self) -> bool:
        return self._running is not None and self._running.is_alive()

    def is_due(self) -> bool:
        return not self.is_checking and (self.rounds == 0 or time.monotonic() - self.checked_at >= self.every_s)

    def start(self) -> None:
        """Begin a check, if none is under way."""
        if not self.is_checking:
            self._running = threading.Thread(target=self._check, name="check", daemon=True)
            self._running.start()

    def _check(self) -> None:
        found, error = None, None
        try:
            found = self.check()
        except BdopsError as e:
            error = e.message
        except Exception as e:
            error = f"a bug of bdops: {type(e).__name__}: {e}"
        with self._lock:
            self.last, self.error = found or self.last, error
            self.checked_at = time.monotonic()
            self.rounds += 1

    def view(self, jobs: tuple[JobLine, ...]) -> View:
        from bdops.render.watch import View

        with self._lock:
            return View(
                survey=self.last,
                age_s=time.monotonic() - self.checked_at,
                is_checking=self.is_checking,
                jobs=jobs,
                error=self.error,
            )


def _on_screen(watcher: _Watcher, count: int | None) -> None:
    from bdops.render.watch import on_screen

    jobs = _open_jobs()
    lines: tuple[JobLine, ...] = ()
    looked_at = 0.0
    with _keys() as pressed, on_screen() as show:
        while count is None or watcher.rounds < count:
            if watcher.is_due():
                watcher.start()
            if time.monotonic() - looked_at >= JOBS_EVERY_S:
                lines, looked_at = _lines(jobs), time.monotonic()
            show(watcher.view(lines))
            key = pressed(TICK_S)
            if key in ("q", "Q"):
                return
            if key in ("r", "R"):
                watcher.start()


def _in_lines(watcher: _Watcher, count: int | None) -> None:
    from bdops.render.watch import write_lines

    jobs = _open_jobs()
    while count is None or watcher.rounds < count:
        before, rounds = watcher.last, watcher.rounds
        watcher.start()
        while watcher.rounds == rounds:
            time.sleep(TICK_S / 5)
        view = watcher.view(_lines(jobs))
        write_lines(view, _changes(before, view.survey), datetime.now(UTC), sys.stdout)
        if count is None or watcher.rounds < count:
            time.sleep(watcher.every_s)


def _changes(before: Survey | None, now: Survey | None) -> tuple[Change, ...]:
    from bdops.core.changes import Series, changes, is_news, sample_of

    if before is None or now is None:
        return ()
    old = {(r.subject, r.code): r for r in before.results}
    series = [
        Series(r.subject, r.code, (sample_of(old[r.subject, r.code], before.taken_at), sample_of(r, now.taken_at)))
        for r in now.results
        if (r.subject, r.code) in old
    ]
    return tuple(c for c in changes(series) if is_news(c))


def _open_jobs() -> OpenJobs:
    from bdops.jobs.outlook import OpenJobs
    from bdops.jobs.store import JobStore
    from bdops.lab.paths import state_dir

    return OpenJobs(JobStore(state_dir()))


def _lines(jobs: OpenJobs) -> tuple[JobLine, ...]:
    """The newest jobs that are not over."""
    from itertools import islice

    from bdops.core.units import format_duration
    from bdops.render.watch import JobLine

    found = []
    for o in islice(jobs.newest(), SHOWN_JOBS):
        if isinstance(o, tuple):
            job, error = o
            found.append(JobLine(job=job.id, status="damaged", progress="", in_hand=error.message))
            continue
        left = f", {format_duration(o.left_s)} left" if o.left_s is not None and o.status == "running" else ""
        progress = f"wave {o.wave} of {o.waves}, {o.done}/{o.steps} steps{left}"
        in_hand = "; ".join(o.in_hand) if o.status == "running" else o.why or ""
        found.append(JobLine(job=o.job, status=o.status, progress=progress, in_hand=in_hand))
    return tuple(found)


@contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """Single keys from the terminal, unechoed; it is left as it was, also when the program is told to end."""
    import select
    import signal
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(timeout_s: float) -> str | None:
        ready, _, _ = select.select([descriptor], [], [], timeout_s)
        if not ready:
            return None
        text = os.read(descriptor, 1)
        # An end of the input is a terminal that went away.
        return text.decode("ascii", "replace") if text else "q"

    def told_to_end(number: int, frame: object) -> None:
        raise Terminated

    handler = signal.signal(signal.SIGTERM, told_to_end)
    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, handler)
