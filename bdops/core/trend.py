"""Where a recorded number is going, and when it will pass its limit. Pure.

The slope is Theil and Sen's: the median of the slopes between all pairs of points, which up to 29 % of wild points
do not move (P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63, 1968).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations, pairwise
from statistics import median

from bdops.core.checks import CheckResult, Metric, Severity

Point = tuple[float, float]
"""A time in seconds and a value."""

MIN_POINTS = 6
MIN_SPAN_S = 3600.0
MAX_POINTS = 60
"""More are thinned to medians: the pairs are the square of the points, and a fleet has thousands of metrics."""
STEADY = 0.75
"""At least this share of all pairs must go the way of the slope: what saws up and down is going nowhere."""
REACH = 10.0
"""No further ahead is looked than so many times the span that was observed."""
FULL_PERCENT = 100.0
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorded values of one metric of one check of one subject, the oldest first."""

    subject: str
    code: str
    name: str
    unit: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """A limit that will be passed: warning, critical or full, its value, and how long it takes."""

    name: str
    limit: float
    after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A metric on its way to its limits, the next one first. `level` is where the trend says that it is now."""

    subject: str
    code: str
    name: str
    unit: str
    level: float
    per_day: float
    reaches: tuple[Reach, ...]


def forecasts(recorded: Iterable[Recorded], results: Iterable[CheckResult]) -> tuple[Forecast, ...]:
    """What will pass a limit if it goes on as it did, the soonest first. `results` are now's, with the limits."""
    now = {(r.subject, r.code, m.name): (r, m) for r in results for m in r.metrics}
    found = []
    for series in recorded:
        result, metric = now.get((series.subject, series.code, series.name), (None, None))
        if result is None or metric is None:
            continue
        if (one := forecast(series, _limits_ahead(metric, result.severity))) is not None:
            found.append(one)
    return tuple(sorted(found, key=lambda f: (f.reaches[0].after, f.subject, f.code, f.name)))


def forecast(series: Recorded, limits: Iterable[tuple[str, float]]) -> Forecast | None:
    """When the metric passes the limits, by name, if it goes on as it did; None when it does not or cannot be told."""
    points = thinned(series.points)
    if len(points) < MIN_POINTS or points[-1][0] - points[0][0] < MIN_SPAN_S:
        return None
    slopes = slopes_of(points)
    slope = median(slopes)
    if slope == 0 or sum(s * slope > 0 for s in slopes) < STEADY * len(slopes):
        return None
    end_s = series.points[-1][0]
    level = median(v - slope * (t - end_s) for t, v in points)
    reaches = []
    for name, limit in limits:
        after_s = max(0.0, (limit - level) / slope)
        # Of a limit on the other side nothing is told: it is being left.
        if (limit - series.points[-1][1]) * slope > 0 and after_s <= REACH * (end_s - points[0][0]):
            reaches.append(Reach(name, limit, timedelta(seconds=after_s)))
    if not reaches:
        return None
    return Forecast(
        subject=series.subject,
        code=series.code,
        name=series.name,
        unit=series.unit,
        level=level,
        per_day=slope * DAY_S,
        reaches=tuple(sorted(reaches, key=lambda r: r.after)),
    )


def thinned(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most so many points: the medians of stretches of equal numbers."""
    if len(points) <= most:
        return list(points)
    edges = [i * len(points) // most for i in range(most + 1)]
    stretches = [points[a:b] for a, b in pairwise(edges)]
    return [(median(t for t, _ in s), median(v for _, v in s)) for s in stretches]


def slopes_of(points: Sequence[Point]) -> list[float]:
    """Of all pairs of different times, in value per second: their median is the estimate of Theil and Sen."""
    return [(v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in combinations(points, 2) if t2 != t1]


def _limits_ahead(metric: Metric, severity: Severity) -> list[tuple[str, float]]:
    """The limits on the bad side of the value. A share of something that can be used up has 100 % as its last one.

    Which side is bad is told by the order of the two limits; where there is one alone, by the check's being ok now.
    """
    limits = [(name, x) for name, x in (("warning", metric.warning), ("critical", metric.critical)) if x is not None]
    if not limits:
        return []
    if metric.warning is not None and metric.critical is not None and metric.warning != metric.critical:
        above = metric.critical > metric.warning
    elif severity is Severity.OK:
        above = metric.value < limits[0][1]
    else:
        return []
    if above and metric.unit == "%" and "use" in metric.name:
        limits.append(("full", FULL_PERCENT))
    return [(name, x) for name, x in limits if (x > metric.value) == above and x != metric.value]
