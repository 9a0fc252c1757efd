"""One run of checks over everything: read all components at once, judge each, and name the common cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from bdops.components.reading import read_all
from bdops.core.cause import Place
from bdops.core.checks import Check, CheckResult, Severity, needed_readings, run_checks, worst
from bdops.core.component import Component
from bdops.core.model import CheckOverride, Cluster, Deployment, Mute
from bdops.core.survey import Survey, conclude

GRACE_S = 2.0
"""Readers keep their own deadline; this much later one that does not is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What to check: a deployment (or, for host checks, a cluster), and the instances or hosts that are asked about.

    `names` empty means all of them.
    """

    component: Component[Any]
    target: Deployment | Cluster
    names: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        return f"{self.cluster}/{self.component.name}"

    @property
    def cluster(self) -> str:
        return self.target.cluster if isinstance(self.target, Deployment) else self.target.name


def survey(subjects: Sequence[Subject], *, timeout_s: float, now: datetime) -> Survey:
    """Read every subject's state concurrently and run its checks. A reader that hangs costs its own checks only."""
    tasks: dict[str, Callable[[], Any]] = {s.label: partial(_read, s, timeout_s) for s in subjects}
    readings = read_all(tasks, timeout_s=timeout_s + GRACE_S)
    states = _with_serving(subjects, dict(readings.values))
    results: list[CheckResult] = []
    for subject in subjects:
        label = subject.label
        if label in states:
            found = _judge(subject, states[label], now)
        else:
            found = _all_unknown(subject, readings.unread[label])
        results += [_only(result, subject.names) for result in found]
    return conclude(results, places(subjects), now)


def judge_state(component: Component[Any], state: Any, *, now: datetime | None = None) -> Survey:
    """Run a component's checks on one state, with their defaults: what `--state FILE` answers."""
    results = run_checks(component.checks, state, component=component.name)
    return conclude(results, places_in(state), now or state.taken_at)


def places_in(state: Any) -> dict[str, Place]:
    """Host and rack of the instances that a component's state expects."""
    return {
        getattr(e, "instance", e.name): Place(
            f"{state.cluster}/{e.host}", f"{state.cluster}/rack:{e.rack}" if getattr(e, "rack", None) else None
        )
        for e in state.expected or ()
        if hasattr(e, "host")
    }


def places(subjects: Iterable[Subject]) -> dict[str, Place]:
    """Host and rack of every instance of the subjects."""
    return {
        instance.name: Place(
            f"{s.cluster}/{instance.host.name}",
            f"{s.cluster}/rack:{instance.host.rack}" if instance.host.rack else None,
        )
        for s in subjects
        if isinstance(s.target, Deployment)
        for instance in s.target.instances
    }


def _settings(subject: Subject) -> tuple[Mapping[str, CheckOverride], tuple[Mute, ...]]:
    return subject.target.checks, subject.target.mutes


def _read(subject: Subject, timeout_s: float) -> Any:
    overrides, _ = _settings(subject)
    readings = needed_readings(subject.component.checks, overrides)
    return subject.component.read_state(subject.target, timeout_s=timeout_s, readings=readings)  # type: ignore[arg-type]


def _with_serving(subjects: Sequence[Subject], states: dict[str, Any]) -> dict[str, Any]:
    """Give each host state what the components' own APIs say, so that it can be held against the service managers."""
    for host_subject in subjects:
        if host_subject.component.name != "host" or host_subject.label not in states:
            continue
        serving: dict[str, bool | None] = {}
        for s in subjects:
            if s.cluster == host_subject.cluster and s is not host_subject and s.label in states:
                serving.update(s.component.serving(states[s.label]))
        states[host_subject.label] = replace(states[host_subject.label], serving=serving)
    return states


def _judge(subject: Subject, state: Any, now: datetime) -> tuple[CheckResult, ...]:
    overrides, mutes = _settings(subject)
    return run_checks(
        subject.component.checks, state, component=subject.component.name, overrides=overrides, mutes=mutes, now=now
    )


def _all_unknown(subject: Subject, why: str) -> tuple[CheckResult, ...]:
    overrides, _ = _settings(subject)

    def is_on(check: Check[Any]) -> bool:
        return overrides[check.code].enabled if check.code in overrides else check.on

    return tuple(
        CheckResult(code=c.code, severity=Severity.UNKNOWN, subject=subject.label, summary=f"not known: {why}")
        for c in subject.component.checks
        if is_on(c)
    )


def _only(result: CheckResult, names: frozenset[str]) -> CheckResult:
    """A selector that names some instances keeps the findings about them, and those that blame nobody."""
    if not names or not result.objects:
        return result
    kept = tuple(f for f in result.objects if not f.blames or names.intersection(f.blames))
    if len(kept) == len(result.objects):
        return result
    severity = worst(f.severity for f in kept)
    summary = result.summary if kept else "nothing about what was selected"
    return replace(result, objects=kept, severity=severity, summary=summary, hint=result.hint if kept else None)
