"""How old the newest backup is, and the last that a restore has proved: judged alike for every component. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bdops.core.checks import Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration

HOUR_S = 3600.0
DAY_S = 86400.0
AGE = Threshold("age", "s", 26 * HOUR_S, 52 * HOUR_S)
"""Of the newest good backup. The default of `snapshot_max_age_h` in the inventory is the same."""
PROVED_AGE = Threshold("proved_age", "s", None, None)
"""No limit by default: not everybody holds drills. `backup_proved_max_age_d` in the inventory sets it."""


def age_limit(limits: Limits, max_age_h: float) -> Threshold:
    """What the inventory's settings allow (critical at twice that), unless the check has limits of its own."""
    threshold = limits[AGE.name]
    if (threshold.warning, threshold.critical) != (AGE.warning, AGE.critical):
        return threshold
    return replace(threshold, warning=max_age_h * HOUR_S, critical=2 * max_age_h * HOUR_S)


def judge_newest(
    where: str, newest: str | None, newest_at: datetime | None, taken_at: datetime, threshold: Threshold, metric: str
) -> tuple[Finding, tuple[Metric, ...]]:
    """The newest good backup of one place; the finding may be OK. `metric` is its age's name."""
    if newest_at is None:
        return Finding(where, Severity.CRITICAL, "there is no good backup"), ()
    age_s = max(0.0, (taken_at - newest_at).total_seconds())
    text = f"the newest good one, {newest}, is {format_duration(age_s)} old"
    return Finding(where, threshold.severity(age_s), text), (threshold.metric(round(age_s), metric),)


def judge_proof(
    where: str, proved_at: datetime | None, taken_at: datetime, limits: Limits, max_age_d: float | None
) -> Verdict:
    """The verdict of a *_BACKUP_PROVED_AGE check: a warning past so many days, critical past twice as many.

    Without a limit the age is told, and nothing is held against it.
    """
    threshold = limits[PROVED_AGE.name]
    if threshold.warning is None and threshold.critical is None and max_age_d is not None:
        threshold = replace(threshold, warning=max_age_d * DAY_S, critical=2 * max_age_d * DAY_S)
    asked = threshold.warning is not None or threshold.critical is not None
    if proved_at is None:
        text = "no restore of a backup has been proved"
        if asked:
            return Verdict(text, (Finding(where, Severity.WARNING, text),))
        return Verdict(f"{text}, and none is asked for")
    age_s = max(0.0, (taken_at - proved_at).total_seconds())
    severity = threshold.severity(age_s)
    text = f"the last restore that proved a backup is {format_duration(age_s)} old"
    findings = () if severity is Severity.OK else (Finding(where, severity, text),)
    return Verdict(text, findings, (threshold.metric(round(age_s), f"backup_proved_age {where}"),))
