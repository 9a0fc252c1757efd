"""What changed since a time, for people and as the envelope."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from bdops.core.changes import Change, Episode, Flap
from bdops.core.past import Past
from bdops.core.survey import Survey
from bdops.core.trend import Forecast
from bdops.core.units import format_duration, format_size, listed, plural
from bdops.render.checks import SHOWN_LINES, colours, painted, summary_line
from bdops.render.envelope import envelope, plain, write_envelope


def show_past(
    survey: Survey, past: Past, output: str, *, command: str, verbose: int, stream: TextIO | None = None
) -> None:
    """Print what the past says of a run of checks, as table, json or yaml."""
    stream = stream or sys.stdout
    if output in ("json", "yaml"):
        data = {
            "summary": summary_line(survey),
            "taken_at": survey.taken_at,
            "since": past.since,
            "compared_with": past.first_at,
            "runs": past.runs,
            "changes": (plain(x) for x in past.changes),
            "came_and_went": (_plain_episode(x) for x in past.came_and_went),
            "flaps": (plain(x) for x in past.flaps),
            "trends": (_plain_trend(x) for x in past.trends),
        }
        write_envelope(envelope(command, survey.severity.value, data), output, stream)
        return
    colour = colours(stream)
    for line in _lines(past, verbose, colour):
        stream.write(f"{line}\n")
    stream.write(f"{summary_line(survey)}\n")


def _lines(past: Past, verbose: int, colour: bool) -> list[str]:
    if past.first_at is None:
        return ["no run was recorded before this one: `bdops check --record` from cron makes a history"]
    lines = [f"{plural(past.runs, 'recorded run')}, the first at {_time(past.first_at)}"]
    for title, found in (
        ("changed", [line for x in past.changes for line in _change(x, verbose, colour)]),
        ("came and went", [_episode(x) for x in past.came_and_went]),
        ("flaps", [_flap(x) for x in past.flaps]),
        ("trends", [_trend(x) for x in past.trends]),
    ):
        if found:
            lines += [title, *(f"  {line}" for line in found)]
    return lines if len(lines) > 1 else [*lines, "nothing changed"]


def _change(change: Change, verbose: int, colour: bool) -> list[str]:
    was = f"was {change.before.value}, since {_time(change.since)}" if change.before is not change.after else "still so"
    lines = [f"{painted(change.after, colour)} {change.subject} {change.code}: {was}: {change.summary}"]
    for word, names in (("new", change.appeared), ("gone", change.gone), ("changed", change.changed)):
        if names:
            lines.append(f"           {word}: {_listed(names, verbose)}")
    return lines


def _listed(names: Sequence[str], verbose: int) -> str:
    return listed(names, len(names) if verbose else SHOWN_LINES)


def _episode(episode: Episode) -> str:
    return (
        f"{episode.subject} {episode.code}: {episode.worst.value} {plural(episode.times, 'time')}, "
        f"for {format_duration(episode.longest.total_seconds())} at the most; ok since {_time(episode.ended_at)}"
    )


def _flap(flap: Flap) -> str:
    name = f" {flap.object}" if flap.object else ""
    return (
        f"{flap.subject} {flap.code}{name}: {flap.crossings} times between ok and not ok, last at {_time(flap.last_at)}"
    )


def _trend(trend: Forecast) -> str:
    reaches = ", ".join(
        f"{r.name} ({_number(r.limit, trend.unit)}) in {format_duration(r.after.total_seconds())}"
        for r in trend.reaches
    )
    sign = "+" if trend.per_day > 0 else ""
    return (
        f"{trend.subject} {trend.code} {trend.name}: {_number(trend.level, trend.unit)}, "
        f"{sign}{_number(trend.per_day, trend.unit)} a day: {reaches}"
    )


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"-{format_size(-value)}" if value < 0 else format_size(value)
    return f"{value:.3g} {unit}".strip() if abs(value) < 1000 else f"{value:,.0f} {unit}".strip()


def _plain_episode(episode: Episode) -> dict[str, Any]:
    fields = {f.name: getattr(episode, f.name) for f in dataclasses.fields(episode) if f.name != "longest"}
    return {**fields, "longest_s": episode.longest.total_seconds()}


def _plain_trend(trend: Forecast) -> dict[str, Any]:
    fields = {f.name: getattr(trend, f.name) for f in dataclasses.fields(trend)}
    reaches = [{"name": r.name, "limit": r.limit, "after_s": r.after.total_seconds()} for r in trend.reaches]
    return {**fields, "reaches": reaches}


def _time(moment: datetime) -> str:
    """In this machine's zone, as the person at it reads clocks."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
