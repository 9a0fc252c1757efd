from __future__ import annotations

import random
from datetime import timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.checks import CheckResult, Metric, Severity
from bdops.core.trend import DAY_S, MAX_POINTS, Forecast, Point, Recorded, forecasts, slopes_of, thinned


def told(
    points: list[Point],
    *,
    warning: float | None = 80.0,
    critical: float | None = 90.0,
    unit: str = "%",
    name: str = "disk_use node3:/data",
    severity: Severity = Severity.OK,
) -> tuple[Forecast, ...]:
    metric = Metric(name, points[-1][1], unit, warning, critical)
    result = CheckResult(code="HOST_DISK_USE", severity=severity, subject="prod/host", summary="", metrics=(metric,))
    return forecasts([Recorded("prod/host", "HOST_DISK_USE", name, unit, tuple(points))], [result])


def line(start: float, per_day: float, *, days: float = 3, step_s: float = 3600) -> list[Point]:
    return [(i * step_s, start + per_day * i * step_s / DAY_S) for i in range(int(days * DAY_S / step_s) + 1)]


def days(forecast: Forecast) -> dict[str, float]:
    return {r.name: r.after / timedelta(days=1) for r in forecast.reaches}


def test_a_disk_that_fills_by_two_percent_a_day_is_full_when_the_pencil_says() -> None:
    (found,) = told(line(70, 2))
    assert days(found) == pytest.approx({"warning": 2, "critical": 7, "full": 12})
    assert found.per_day == pytest.approx(2)


def test_nothing_moves_or_leaves_its_limit_or_would_be_there_in_years_and_nothing_is_told() -> None:
    assert told(line(70, 0)) == ()
    assert told(line(70, -2)) == ()
    assert told(line(95, -1)) == ()
    assert told(line(10, 0.1)) == ()


def test_a_limit_that_is_passed_is_not_told_again_and_the_next_one_is() -> None:
    (found,) = told(line(79, 2), severity=Severity.WARNING)
    assert set(days(found)) == {"critical", "full"}


def test_what_is_bad_below_is_told_when_it_falls() -> None:
    (found,) = told(line(100, -10), warning=50, critical=20, unit="", name="voters")
    assert days(found) == pytest.approx({"warning": 2, "critical": 5})
    assert told(line(100, 10), warning=50, critical=20, unit="", name="voters") == ()


def test_a_single_limit_is_on_the_bad_side_of_a_value_that_is_ok() -> None:
    (found,) = told(line(100, -10), warning=50, critical=None, unit="", name="followers")
    assert days(found) == pytest.approx({"warning": 2})
    assert told(line(100, -10), warning=50, critical=None, unit="", severity=Severity.WARNING) == ()


def test_a_share_that_nothing_is_used_up_of_is_never_full() -> None:
    (found,) = told(line(70, 2), name="skew")
    assert "full" not in days(found)


def test_a_saw_is_going_nowhere() -> None:
    assert told([(i * 3600.0, 60 + (i % 24)) for i in range(96)]) == ()


def test_too_few_points_or_too_short_a_time_tell_nothing() -> None:
    assert told(line(70, 2)[:5]) == ()
    assert told(line(70, 200, days=0.02, step_s=60)) == ()


@given(
    st.floats(0, 60),
    st.floats(0.5, 5),
    st.integers(20, 55),
    st.randoms(use_true_random=False),
    st.floats(-1000, 1000),
)
def test_a_quarter_of_wild_points_changes_neither_slope_nor_forecast(
    start: float, per_day: float, count: int, chance: random.Random, wild: float
) -> None:
    points = line(start, per_day, days=count / 24)
    assert median(slopes_of(points)) == pytest.approx(per_day / DAY_S)
    for i in chance.sample(range(len(points) - 1), len(points) // 4):
        points[i] = (points[i][0], wild)
    assert median(slopes_of(points)) == pytest.approx(per_day / DAY_S, rel=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=30), st.floats(1, 100))
def test_the_slope_scales_with_the_values_and_turns_with_their_sign(points: list[Point], factor: float) -> None:
    slopes, scaled = slopes_of(points), slopes_of([(t, -factor * v) for t, v in points])
    assert len(slopes) == len(scaled)
    if slopes:
        assert median(scaled) == pytest.approx(-factor * median(slopes), rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3 * MAX_POINTS))
def test_thinning_keeps_the_order_the_bounds_and_the_number(values: list[float]) -> None:
    points = [(float(i), v) for i, v in enumerate(values)]
    few = thinned(points)
    assert len(few) == min(len(points), MAX_POINTS)
    assert few == sorted(few, key=lambda p: p[0])
    assert min(values) <= min(v for _, v in few)
    assert max(v for _, v in few) <= max(values)
