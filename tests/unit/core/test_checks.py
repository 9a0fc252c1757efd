from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from bdops.core.checks import (
    Check,
    Finding,
    Limits,
    Severity,
    Threshold,
    Verdict,
    needed_readings,
    run_checks,
    worst,
)
from bdops.core.model import CheckOverride, Mute

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Disks:
    cluster: str = "prod"
    taken_at: datetime = NOW
    unread: dict[str, str] = field(default_factory=dict)
    used_percent: dict[str, float] | None = None


def judge(state: Disks, limits: Limits) -> Verdict:
    assert state.used_percent is not None
    limit = limits["used"]
    findings = tuple(
        Finding(name, severity, f"{used}% used", (f"prod/disks/{name}",))
        for name, used in state.used_percent.items()
        if (severity := limit.severity(used)) is not Severity.OK
    )
    return Verdict("disks", findings, (limit.metric(max(state.used_percent.values())),))


DISK = Check(
    code="DISK_USE",
    meaning="A disk is filling up.",
    remedy="Free space.\nThen look again.",
    judge=judge,
    needs=("used_percent",),
    thresholds=(Threshold("used", "%", 80, 90),),
)


def run(state: Disks, **options: object):
    (result,) = run_checks([DISK], state, component="disks", **options)  # type: ignore[arg-type]
    return result


def test_the_severity_is_the_worst_finding_and_the_hint_the_first_line_of_the_remedy() -> None:
    result = run(Disks(used_percent={"node1": 85.0, "node2": 95.0, "node3": 10.0}))
    assert result.severity is Severity.CRITICAL
    assert [f.object for f in result.objects] == ["node1", "node2"]
    assert result.hint == "Free space."
    assert result.subject == "prod/disks"


def test_an_ok_result_has_no_hint() -> None:
    result = run(Disks(used_percent={"node1": 1.0}))
    assert (result.severity, result.hint) == (Severity.OK, None)


def test_a_reading_that_failed_is_unknown_with_its_reason_and_never_ok() -> None:
    result = run(Disks(unread={"used_percent": "no answer within 5 s"}))
    assert result.severity is Severity.UNKNOWN
    assert "used_percent: no answer within 5 s" in result.summary


def test_a_reading_absent_from_a_state_file_is_unknown() -> None:
    assert "absent from the state" in run(Disks()).summary


def test_a_check_that_breaks_is_unknown_and_does_not_stop_the_run() -> None:
    broken = Check(code="BROKEN", meaning="", remedy="x", judge=lambda state, limits: 1 // 0)  # type: ignore
    results = run_checks([broken, DISK], Disks(used_percent={"node1": 1.0}), component="disks")
    assert [r.severity for r in results] == [Severity.UNKNOWN, Severity.OK]
    assert "ZeroDivisionError" in results[0].summary


def test_the_inventory_moves_limits_and_switches_checks_off() -> None:
    state = Disks(used_percent={"node1": 85.0})
    relaxed = {"DISK_USE": CheckOverride(limits={"used": (86, 99)})}
    unnamed = {"DISK_USE": CheckOverride(limits={"": (1, 2)})}
    assert run(state, overrides=relaxed).severity is Severity.OK
    assert run(state, overrides=unnamed).severity is Severity.CRITICAL
    assert run_checks([DISK], state, component="d", overrides={"DISK_USE": CheckOverride(enabled=False)}) == ()


def test_a_check_that_is_off_needs_no_readings() -> None:
    assert needed_readings([DISK], {}) == {"used_percent"}
    assert needed_readings([DISK], {"DISK_USE": CheckOverride(enabled=False)}) == frozenset()


class TestMutes:
    state = Disks(used_percent={"node1": 95.0, "node2": 85.0})

    def mute(self, **words: object) -> Mute:
        return Mute(**{"check": "DISK_*", "reason": "JIRA-1", "until": NOW + timedelta(days=1), **words})  # type: ignore[arg-type]

    def test_a_mute_of_one_object_leaves_the_others_to_count(self) -> None:
        result = run(self.state, mutes=[self.mute(object="node1")])
        assert result.severity is Severity.WARNING
        assert [f.object for f in result.objects] == ["node2"]
        assert [(m.finding.object, m.reason) for m in result.muted] == [("node1", "JIRA-1")]

    def test_a_mute_of_everything_makes_the_result_ok_but_shows_what_it_hides(self) -> None:
        result = run(self.state, mutes=[self.mute()])
        assert result.severity is Severity.OK
        assert len(result.muted) == 2

    def test_an_expired_mute_silences_nothing(self) -> None:
        result = run(self.state, mutes=[self.mute(until=NOW)])
        assert result.severity is Severity.CRITICAL
        assert result.muted == ()

    def test_an_unknown_without_objects_is_muted_as_a_whole(self) -> None:
        result = run(Disks(), mutes=[self.mute()])
        assert result.severity is Severity.OK
        assert result.muted[0].finding.severity is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("bad", "warning", "critical", "value", "expected"),
    [
        ("above", 80, 90, 79.9, Severity.OK),
        ("above", 80, 90, 80, Severity.WARNING),
        ("above", 80, 90, 90, Severity.CRITICAL),
        ("above", None, 0, 0, Severity.OK),
        ("above", None, 0, 1, Severity.CRITICAL),
        ("below", 20, 10, 21, Severity.OK),
        ("below", 20, 10, 20, Severity.WARNING),
        ("below", 20, 10, 3, Severity.CRITICAL),
        ("above", None, None, 10**9, Severity.OK),
    ],
)
def test_thresholds(bad: str, warning: float, critical: float, value: float, expected: Severity) -> None:
    assert Threshold("x", "", warning, critical, bad).severity(value) is expected  # type: ignore[arg-type]


def test_a_known_critical_is_worse_than_an_unknown_and_an_unknown_worse_than_a_warning() -> None:
    assert worst([Severity.WARNING, Severity.UNKNOWN]) is Severity.UNKNOWN
    assert worst([Severity.UNKNOWN, Severity.CRITICAL]) is Severity.CRITICAL
    assert worst([]) is Severity.OK
    assert [s.exit_code for s in Severity] == [0, 1, 3, 2]
