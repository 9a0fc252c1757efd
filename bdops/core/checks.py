"""Checks: pure functions from an observed state to a verdict, and the one engine that runs them.

A check names the readings that it `needs`. A reading is a field of the component's state; when it is None,
it was not read, and the engine answers UNKNOWN with the reason instead of asking the check. So a check
never has to decide what an absent fact means: unknown is not OK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, Protocol, TypeVar

from bdops.core.model import CheckOverride, Mute


class Severity(Enum):
    """In order of badness; `exit_code` is the monitoring plugins' (0, 1, 2, 3)."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _RANK[self]

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[self.value]


_RANK = {s: i for i, s in enumerate(Severity)}


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of them; OK for none. A known critical is worse than an unknown."""
    return max(severities, key=lambda s: s.rank, default=Severity.OK)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its unit ("" for a count, "%", "s", "ms", "bytes") and the thresholds that judged it."""

    name: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it should be.

    `object` is its name in the component's own words (`orders-3`, `/data/x`, `logs-2026[2]`), `detail` the
    evidence with numbers. `blames` are the instances (`prod/kafka/node3`) or hosts (`prod/node3`) whose state
    explains it: what the common cause is computed from.
    """

    object: str
    severity: Severity
    detail: str
    blames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit with defaults that the inventory may change. `above`: values over the limit are bad."""

    name: str
    unit: str
    warning: float | None
    critical: float | None
    bad: Literal["above", "below"] = "above"

    def severity(self, value: float) -> Severity:
        """OK, WARNING or CRITICAL. A value equal to the limit is over it, but a limit of 0 is passed by 0."""
        for severity, limit in ((Severity.CRITICAL, self.critical), (Severity.WARNING, self.warning)):
            if limit is None:
                continue
            if self.bad == "above" and value >= limit and not (limit == 0 and value == 0):
                return severity
            if self.bad == "below" and value <= limit:
                return severity
        return Severity.OK

    def metric(self, value: float, name: str | None = None) -> Metric:
        """The value as a metric that carries these limits."""
        return Metric(name or self.name, value, self.unit, self.warning, self.critical)


Limits = Mapping[str, Threshold]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says. Its severity is the worst of its findings unless `severity` says otherwise."""

    summary: str
    findings: tuple[Finding, ...] = ()
    metrics: tuple[Metric, ...] = ()
    severity: Severity | None = None
    hint: str | None = None


class State(Protocol):
    """What every component's state has: whose it is, when it was taken, and what could not be read and why.

    `unread` maps a reading (a field of the state that is None, or `field/instance` for a part of one) to the
    reason in words.
    """

    @property
    def cluster(self) -> str: ...
    @property
    def taken_at(self) -> datetime: ...
    @property
    def unread(self) -> Mapping[str, str]: ...


S = TypeVar("S", bound=State, contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[S]):
    """A check, with all that its documentation says. `remedy` is Markdown; its first line is the default hint."""

    code: str
    meaning: str
    remedy: str
    judge: Callable[[S, Limits], Verdict]
    needs: tuple[str, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    on: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MutedFinding:
    """A finding that a mute of the inventory silences, shown but not counted."""

    finding: Finding
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The contract of every sink and gate. `subject` is `cluster/component`."""

    code: str
    severity: Severity
    subject: str
    summary: str
    hint: str | None = None
    objects: tuple[Finding, ...] = ()
    metrics: tuple[Metric, ...] = ()
    muted: tuple[MutedFinding, ...] = field(default=())


def run_checks(
    checks: Iterable[Check[Any]],
    state: State,
    *,
    component: str,
    overrides: Mapping[str, CheckOverride] | None = None,
    mutes: Iterable[Mute] = (),
    now: datetime | None = None,
) -> tuple[CheckResult, ...]:
    """Judge one state by every check that is on, in the order given.

    `overrides` maps a check's code to what the inventory says of it. Mutes count while `now` (default: when
    the state was taken) is before their end. A check that itself breaks is UNKNOWN with the reason: one
    broken rule must not hide the others.
    """
    overrides = overrides or {}
    moment = now or state.taken_at
    active = [m for m in mutes if moment < m.until]
    results = []
    for check in checks:
        override = overrides.get(check.code)
        if not (override.enabled if override else check.on):
            continue
        result = _run_one(check, state, f"{state.cluster}/{component}", override)
        results.append(_mute(result, active))
    return tuple(results)


def needed_readings(checks: Iterable[Check[Any]], overrides: Mapping[str, CheckOverride]) -> frozenset[str]:
    """The readings that the checks which are on need: a reader asks the servers for nothing else."""
    on = (c for c in checks if (overrides[c.code].enabled if c.code in overrides else c.on))
    return frozenset(name for check in on for name in check.needs)


def limits_of(check: Check[Any], override: CheckOverride | None) -> dict[str, Threshold]:
    """The check's thresholds with the inventory's values in place of the defaults.

    A pair that the inventory gives without a name (under "") is the check's only threshold's.
    """
    override = override or CheckOverride()
    limits = {}
    for threshold in check.thresholds:
        unnamed = len(check.thresholds) == 1 and "" in override.limits
        name = "" if unnamed else threshold.name
        if name in override.limits:
            scale = 1000 if threshold.unit == "ms" and override.units.get(name) == "s" else 1
            warning, critical = (None if x is None else x * scale for x in override.limits[name])
            threshold = replace(threshold, warning=warning, critical=critical)
        limits[threshold.name] = threshold
    return limits


def _run_one(check: Check[Any], state: State, subject: str, override: CheckOverride | None) -> CheckResult:
    absent = [name for name in check.needs if getattr(state, name) is None]
    if absent:
        why = "; ".join(f"{name}: {state.unread.get(name, 'absent from the state')}" for name in absent)
        return CheckResult(
            code=check.code,
            severity=Severity.UNKNOWN,
            subject=subject,
            summary=f"not known: {why}",
            hint=check.remedy.splitlines()[0],
        )
    try:
        verdict = check.judge(state, limits_of(check, override))
    except Exception as e:
        return CheckResult(
            code=check.code,
            severity=Severity.UNKNOWN,
            subject=subject,
            summary=f"the check itself failed: {type(e).__name__}: {e}",
            hint="this is a bug of bdops: save the state (`bdops ... state save FILE`) and report it with that file",
        )
    severity = verdict.severity or worst(f.severity for f in verdict.findings)
    return CheckResult(
        code=check.code,
        severity=severity,
        subject=subject,
        summary=verdict.summary,
        hint=None if severity is Severity.OK else verdict.hint or check.remedy.splitlines()[0],
        objects=verdict.findings,
        metrics=verdict.metrics,
    )


def _mute(result: CheckResult, mutes: list[Mute]) -> CheckResult:
    mine = [m for m in mutes if fnmatchcase(result.code, m.check)]
    if not mine or result.severity is Severity.OK:
        return result
    kept: list[Finding] = []
    muted: list[MutedFinding] = []
    # A result without objects (a reading that failed, say) is muted as a whole by a mute of all objects.
    findings = result.objects or (Finding(result.subject, result.severity, result.summary),)
    for finding in findings:
        mute = next((m for m in mine if m.object == "*" or fnmatchcase(finding.object, m.object)), None)
        if mute:
            muted.append(MutedFinding(finding=finding, reason=mute.reason, until=mute.until))
        else:
            kept.append(finding)
    if not muted:
        return result
    return replace(
        result,
        severity=worst(f.severity for f in kept),
        objects=tuple(kept) if result.objects else (),
        muted=tuple(muted),
        summary=result.summary if kept else f"muted: {result.summary}",
        hint=result.hint if kept else None,
    )
