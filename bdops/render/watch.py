"""The live view of `bdops watch`: components, worst checks, jobs; and its lines where there is no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from bdops.core.changes import Change
from bdops.core.checks import CheckResult, Severity, worst
from bdops.core.survey import Survey
from bdops.core.units import format_duration
from bdops.render.checks import summary_line

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red", Severity.UNKNOWN: "magenta"}
_AROUND = 9
"""Lines of titles and empty lines around the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """A job that is not over, in words that are made elsewhere."""

    job: str
    status: str
    progress: str
    in_hand: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown: the last survey (None: the first one is under way), its age, the jobs, and what is new in it."""

    survey: Survey | None
    age_s: float
    is_checking: bool
    jobs: tuple[JobLine, ...]
    error: str | None = None


@contextmanager
def on_screen() -> Iterator[Callable[[View], None]]:
    """Give a function that shows a view on the whole terminal; what was on it comes back at the end."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda view: live.update(screen(view, height=console.size.height), refresh=True)


def screen(view: View, *, height: int) -> RenderableType:
    """The whole screen, cut to its height: the worst first."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [_head(view)]
    room = max(height - _AROUND, 3)
    if view.error:
        parts.append(Text(view.error, style="bold red"))
    if view.survey:
        subjects = _by_subject(view.survey.results)
        parts.append(_components(subjects, room // 2))
        room -= min(len(subjects), room // 2) + len(view.jobs)
        parts.append(_worst(view.survey.results, max(room, 2)))
    if view.jobs:
        parts.append(_jobs(view.jobs))
    parts.append(Text("q quits, r checks now", style="dim"))
    return Group(*parts)


def _head(view: View) -> Any:
    from rich.text import Text

    if view.survey is None:
        return Text("checking for the first time...")
    text = Text(summary_line(view.survey), style=_STYLES[view.survey.severity])
    state = "checking..." if view.is_checking else f"checked {format_duration(int(view.age_s))} ago"
    return text.append(f"  ({state})", style="dim")


def _by_subject(results: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    found: dict[str, list[CheckResult]] = {}
    for result in results:
        found.setdefault(result.subject, []).append(result)
    ordered = sorted(found.items(), key=lambda item: -worst(r.severity for r in item[1]).rank)
    return dict(ordered)


def _components(subjects: dict[str, list[CheckResult]], room: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("COMPONENT", "STATE", "CRITICAL", "UNKNOWN", "WARNING", "OK"):
        table.add_column(title, justify="left" if title in ("COMPONENT", "STATE") else "right", no_wrap=True)
    for subject, results in list(subjects.items())[:room]:
        counts = Counter(r.severity for r in results)
        severity = worst(r.severity for r in results)
        order = (Severity.CRITICAL, Severity.UNKNOWN, Severity.WARNING, Severity.OK)
        numbers = (str(counts[s]) if counts[s] else "-" for s in order)
        table.add_row(subject, Text(severity.value, style=_STYLES[severity]), *numbers)
    if len(subjects) > room:
        table.add_row(f"and {len(subjects) - room} more", "")
    return table


def _worst(results: Sequence[CheckResult], room: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    bad = sorted((r for r in results if r.severity is not Severity.OK), key=lambda r: -r.severity.rank)
    table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
    table.title = "WORST CHECKS" if bad else "nothing is wrong"
    for least in (8, 12, 8):
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=least)
    for r in bad[:room]:
        table.add_row(Text(r.severity.value, style=_STYLES[r.severity]), f"{r.subject} {r.code}", Text(r.summary))
    if len(bad) > room:
        table.add_row("", f"and {len(bad) - room} more", "")
    return table


def _jobs(jobs: Sequence[JobLine]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("JOB", "STATUS", "PROGRESS", "IN HAND"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for job in jobs:
        table.add_row(job.job, job.status, job.progress, Text(job.in_hand))
    return table


def write_lines(view: View, changed: Sequence[Change], now: datetime, stream: TextIO) -> None:
    """One round without a terminal: the summary, each change since the round before, and each job."""
    moment = f"{now.astimezone():%H:%M:%S}"
    if view.error:
        stream.write(f"{moment} {view.error}\n")
    elif view.survey:
        stream.write(f"{moment} {summary_line(view.survey)}\n")
    for change in changed:
        stream.write(f"{moment}   {change.subject} {change.code}: {change.before.value} -> {change.after.value}: "
                     f"{change.summary}\n")  # fmt: skip
    for job in view.jobs:
        words = ", ".join(word for word in (job.status, job.progress, job.in_hand) if word)
        stream.write(f"{moment}   job {job.job}: {words}\n")
    stream.flush()
