"""What the recorded past says of a run of checks: what changed, what came and went, what flaps, where it is going."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from bdops.core.changes import Change, Episode, Flap, Series, changes, episodes, flaps, sample_of
from bdops.core.checks import Severity
from bdops.core.survey import Survey
from bdops.core.trend import Forecast, Recorded, forecasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """`since` is what was asked for, `first_at` the run that is compared with; None when there was none before this."""

    since: datetime
    first_at: datetime | None
    runs: int
    changes: tuple[Change, ...]
    came_and_went: tuple[Episode, ...]
    flaps: tuple[Flap, ...]
    trends: tuple[Forecast, ...]


def firsts(series: Iterable[Series], survey: Survey) -> tuple[Change, ...]:
    """What is not ok in a run and has never been recorded before: a new cluster, a check that was switched on."""
    at = survey.taken_at
    known = {(s.subject, s.code) for s in series if any(x.at < at for x in s.samples)}
    return tuple(
        Change(
            subject=r.subject,
            code=r.code,
            before=Severity.OK,
            after=r.severity,
            since=at,
            summary=r.summary,
            appeared=tuple(sorted(sample_of(r, at).objects)),
        )
        for r in survey.results
        if r.severity is not Severity.OK and (r.subject, r.code) not in known
    )


def look_back(series: Iterable[Series], recorded: Iterable[Recorded], survey: Survey, since: datetime) -> Past:
    """Hold a run against what was recorded before it. `recorded` may reach further back than the samples do."""
    at = survey.taken_at
    results = {(r.subject, r.code): r for r in survey.results}
    now = {(r.subject, r.code, m.name): m.value for r in survey.results for m in r.metrics}
    whole = []
    moments: set[datetime] = set()
    for s in series:
        before = tuple(x for x in s.samples if x.at < at)
        if before and (s.subject, s.code) in results:
            moments.update(x.at for x in before)
            whole.append(replace(s, samples=(*before, sample_of(results[s.subject, s.code], at))))
    points = [
        replace(m, points=(*(p for p in m.points if p[0] < at.timestamp()), (at.timestamp(), value)))
        for m in recorded
        if (value := now.get((m.subject, m.code, m.name))) is not None
    ]
    return Past(
        since=since,
        first_at=min(moments, default=None),
        runs=len(moments),
        changes=changes(whole),
        came_and_went=episodes(whole),
        flaps=flaps(whole),
        trends=forecasts(points, survey.results),
    )
