"""What changed between two times, and what flaps, in the recorded results of checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from bdops.core.checks import CheckResult, Severity

FLAPS = 4
"""So many crossings between ok and not ok are a flap: it went bad and came back twice."""
MAX_OBJECTS = 500
"""Bad objects of one result that are kept, the first by name: a broken cluster may have a million."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run said of one check. `objects` are those that were not ok; `summary` is the check's own."""

    at: datetime
    severity: Severity
    objects: Mapping[str, Severity] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one check of one subject (`cluster/component`), the oldest first."""

    subject: str
    code: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a check differs from what it was. `since` is when its severity became what it is now.

    `appeared`, `gone` and `changed` are objects that are bad now and were not, the other way round, and that have
    another severity.
    """

    subject: str
    code: str
    before: Severity
    after: Severity
    since: datetime
    summary: str
    appeared: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A check that was bad in between, and is ok at both ends: `times` times, for `longest` at the most."""

    subject: str
    code: str
    worst: Severity
    times: int
    longest: timedelta
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap:
    """A check (`object` is None) or one of its objects that crossed between ok and not ok `crossings` times."""

    subject: str
    code: str
    object: str | None
    crossings: int
    last_at: datetime


def sample_of(result: CheckResult, at: datetime) -> Sample:
    """What is kept of a result. Muted findings are no part of it, as they are none of the severity."""
    found = {f.object: f.severity for f in result.objects if f.severity is not Severity.OK}
    return Sample(at, result.severity, dict(sorted(found.items())[:MAX_OBJECTS]), result.summary)


def changes(series: Iterable[Series]) -> tuple[Change, ...]:
    """Each check whose severity or bad objects differ between its first sample and its last; the worst first."""
    found = [c for s in series if len(s.samples) > 1 and (c := _change(s)) is not None]
    return tuple(sorted(found, key=lambda c: (-c.after.rank, c.after is c.before, c.subject, c.code)))


def is_news(change: Change) -> bool:
    """Whether somebody has to hear of a change at once: another severity, or something that is bad now and was not.

    One bad object less, and bad still, can wait.
    """
    return change.before is not change.after or bool(change.appeared or change.changed)


def episodes(series: Iterable[Series]) -> tuple[Episode, ...]:
    """The checks that were warning or critical in between and are ok at both ends.

    How long is not known better than the time between two runs: it is counted to the first run that was ok again.
    """
    found = []
    for s in series:
        known = _known(s.samples)
        if len(known) < 3 or _is_bad(known[0]) or _is_bad(known[-1]):
            continue
        spells = _spells(known)
        if spells:
            found.append(
                Episode(
                    subject=s.subject,
                    code=s.code,
                    worst=max((x.severity for x in known), key=lambda severity: severity.rank),
                    times=len(spells),
                    longest=max(end - begin for begin, end in spells),
                    ended_at=spells[-1][1],
                )
            )
    return tuple(sorted(found, key=lambda e: (-e.worst.rank, e.subject, e.code)))


def flaps(series: Iterable[Series], at_least: int = FLAPS) -> tuple[Flap, ...]:
    """The checks and objects that crossed between ok and not ok so often; the most restless first.

    Warning to critical is no crossing. A run whose answer is UNKNOWN is passed over: what could not be read has
    neither gone bad nor come back. Of a check that flaps as a whole its objects are not told, if only one does.
    """
    found = []
    for s in series:
        known = _known(s.samples)
        whole = _crossings([(x.at, _is_bad(x)) for x in known])
        by_object = {
            name: _crossings([(x.at, name in x.objects) for x in known])
            for name in sorted({name for x in known for name in x.objects})
        }
        restless = {name: times for name, times in by_object.items() if len(times) >= at_least}
        if len(whole) >= at_least:
            found.append(_flap(s, None, whole))
        if len(whole) < at_least or len(restless) > 1:
            found += [_flap(s, name, times) for name, times in restless.items()]
    return tuple(sorted(found, key=lambda f: (-f.crossings, f.subject, f.code, f.object or "")))


def _flap(series: Series, name: str | None, times: Sequence[datetime]) -> Flap:
    return Flap(subject=series.subject, code=series.code, object=name, crossings=len(times), last_at=times[-1])


def _change(series: Series) -> Change | None:
    first, last = series.samples[0], series.samples[-1]
    # Of an UNKNOWN nothing can be told about the objects: they are neither new nor gone.
    told = Severity.UNKNOWN not in (first.severity, last.severity)
    before, after = _up_to_the_cut(first.objects, last.objects) if told else ({}, {})
    appeared = tuple(sorted(after.keys() - before.keys()))
    gone = tuple(sorted(before.keys() - after.keys()))
    changed = tuple(sorted(name for name in before.keys() & after.keys() if before[name] is not after[name]))
    if first.severity is last.severity and not (appeared or gone or changed):
        return None
    since = last.at
    for sample in reversed(series.samples):
        if sample.severity is not last.severity:
            break
        since = sample.at
    return Change(
        subject=series.subject,
        code=series.code,
        before=first.severity,
        after=last.severity,
        since=since,
        summary=last.summary,
        appeared=appeared,
        gone=gone,
        changed=changed,
    )


def _up_to_the_cut(
    before: Mapping[str, Severity], after: Mapping[str, Severity]
) -> tuple[Mapping[str, Severity], Mapping[str, Severity]]:
    """Both without what is beyond the last name of one that was cut: there the other may have what this one had too."""
    ends = [max(objects) for objects in (before, after) if len(objects) == MAX_OBJECTS]
    if not ends:
        return before, after
    last = min(ends)
    return {n: s for n, s in before.items() if n <= last}, {n: s for n, s in after.items() if n <= last}


def _known(samples: Iterable[Sample]) -> list[Sample]:
    return [s for s in samples if s.severity is not Severity.UNKNOWN]


def _is_bad(sample: Sample) -> bool:
    return sample.severity is not Severity.OK


def _crossings(states: Sequence[tuple[datetime, bool]]) -> list[datetime]:
    """When the state became another one."""
    return [at for (_, before), (at, after) in pairwise(states) if before is not after]


def _spells(known: Sequence[Sample]) -> list[tuple[datetime, datetime]]:
    """Each stretch of bad samples that ended: its first, and the first good one after it."""
    spells = []
    begin: datetime | None = None
    for sample in known:
        if _is_bad(sample):
            begin = begin or sample.at
        elif begin:
            spells.append((begin, sample.at))
            begin = None
    return spells
