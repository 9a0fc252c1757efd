"""Consumer lag by Burrow's rules: a table of windows, and what holds for every window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka.lag import Condition, Point, Rules, judged_groups, judged_partition
from bdops.components.kafka.state import Group, GroupSample

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RULES = Rules(floor=10, window_s=300, enough_s=60)


def points(*samples: tuple[float, int, int | None]) -> list[Point]:
    """Points from (seconds, committed, log end)."""
    return [Point(T0 + timedelta(seconds=s), committed, end) for s, committed, end in samples]


OK, SHORT, UNKNOWN = Condition.OK, Condition.SHORT_WINDOW, Condition.UNKNOWN
LAGGING, REWOUND, STALLED, STOPPED = Condition.LAGGING, Condition.REWOUND, Condition.STALLED, Condition.STOPPED

MEMBERS, NOBODY = True, False

# what it is about, has members, (seconds, committed, log end)..., expected
TABLE = [
    ("caught up", MEMBERS, [(0, 50, 60), (60, 90, 90), (120, 120, 120)], OK),
    ("no lag and nobody there", NOBODY, [(0, 90, 90)], OK),
    ("a lag below the floor", NOBODY, [(0, 81, 90), (60, 81, 90), (120, 81, 90)], OK),
    ("a lag at the floor", NOBODY, [(0, 80, 90)], STOPPED),
    ("the log end is not known now", MEMBERS, [(0, 50, 90), (60, 50, 95), (120, 50, None)], UNKNOWN),
    ("the log end was not known once", MEMBERS, [(0, 50, 90), (60, 50, None), (120, 50, 95)], STALLED),
    ("nobody there and a lag", NOBODY, [(0, 50, 90), (60, 50, 95), (120, 50, 100)], STOPPED),
    ("one sample, nobody there", NOBODY, [(0, 0, 500)], STOPPED),
    ("just left: it committed a moment ago", NOBODY, [(0, 50, 90), (60, 60, 95), (80, 70, 100)], OK),
    ("left two minutes ago", NOBODY, [(0, 50, 90), (30, 70, 95), (150, 70, 100)], STOPPED),
    ("stuck while the log grows", MEMBERS, [(0, 50, 90), (60, 50, 95), (120, 50, 100)], STALLED),
    ("stuck on a log that stands still", MEMBERS, [(0, 50, 90), (60, 50, 90), (120, 50, 90)], STALLED),
    ("was caught up in the window", MEMBERS, [(0, 90, 90), (60, 90, 120), (120, 90, 150)], OK),
    ("moving, and losing ground", MEMBERS, [(0, 50, 90), (60, 60, 110), (120, 70, 130)], LAGGING),
    ("moving, and holding its distance", MEMBERS, [(0, 50, 90), (60, 60, 100), (120, 70, 110)], LAGGING),
    ("moving, and once closer", MEMBERS, [(0, 50, 90), (60, 80, 110), (120, 90, 140)], OK),
    ("catching up a large lag", MEMBERS, [(0, 0, 9000), (60, 4000, 9500), (120, 8000, 9990)], OK),
    ("went back", MEMBERS, [(0, 500, 900), (60, 600, 950), (120, 100, 1000)], REWOUND),
    ("went back, not as far as it began", MEMBERS, [(0, 100, 900), (60, 600, 950), (120, 300, 960)], REWOUND),
    ("moved before, and stands now", MEMBERS, [(0, 50, 90), (60, 60, 110), (120, 60, 130)], LAGGING),
    ("caught up four looks ago", MEMBERS, [(0, 90, 90), (60, 90, 120), (120, 90, 125), (180, 90, 130)], OK),
    ("went back, nobody there", NOBODY, [(0, 500, 900), (120, 100, 1000)], REWOUND),
    ("went back and is past it again", MEMBERS, [(0, 500, 900), (60, 100, 950), (120, 700, 960)], OK),
    ("went back in two quick samples", MEMBERS, [(0, 500, 900), (0.7, 100, 900)], REWOUND),
    ("two quick samples", MEMBERS, [(0, 50, 90), (0.7, 50, 90)], SHORT),
    ("two samples are no trend", MEMBERS, [(0, 50, 90), (200, 50, 100)], SHORT),
    ("three quick samples", MEMBERS, [(0, 50, 90), (5, 50, 95), (10, 50, 99)], SHORT),
    (
        "seldom checked: the last three count",
        MEMBERS,
        [(0, 90, 90), (900, 50, 90), (1800, 50, 95), (2700, 50, 99)],
        STALLED,
    ),
    ("seldom checked and stuck", MEMBERS, [(0, 50, 50), (900, 50, 90), (1800, 50, 95), (2700, 50, 99)], STALLED),
    (
        "an old good moment is out of the window",
        MEMBERS,
        [(0, 90, 90), (400, 90, 120), (500, 90, 125), (600, 90, 130)],
        STALLED,
    ),
    ("the log was cut below it", MEMBERS, [(0, 50, 90), (60, 50, 80), (120, 50, 85)], OK),
]


@pytest.mark.parametrize(("about", "has_members", "samples", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_window_is_judged(about: str, has_members: bool, samples: list, expected: Condition) -> None:
    condition, why = judged_partition(points(*samples), has_members=has_members, rules=RULES)
    assert condition is expected, why


windows = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 2000), st.integers(0, 2000)), min_size=1, max_size=12
).map(lambda rows: points(*((sum(r[0] for r in rows[: i + 1]), c, e) for i, (_, c, e) in enumerate(rows))))


@given(windows, st.booleans())
def test_a_lag_below_the_floor_is_never_a_problem(window: list[Point], has_members: bool) -> None:
    last = Point(window[-1].at, window[-1].committed, window[-1].committed + RULES.floor - 1)
    assert judged_partition([*window[:-1], last], has_members=has_members, rules=RULES)[0] is OK


@given(windows)
def test_a_group_with_members_is_never_called_stopped(window: list[Point]) -> None:
    assert judged_partition(window, has_members=True, rules=RULES)[0] is not STOPPED


@given(windows)
def test_nobody_is_called_stalled_or_lagging_before_the_window_is_long_enough(window: list[Point]) -> None:
    rules = Rules(floor=10, window_s=300, enough_s=1e9)
    assert judged_partition(window, has_members=True, rules=rules)[0] in (OK, SHORT, REWOUND)


@given(windows, st.integers(0, 10**9))
def test_only_differences_of_offsets_count(window: list[Point], shift: int) -> None:
    moved = [Point(p.at, p.committed + shift, None if p.end is None else p.end + shift) for p in window]
    assert (
        judged_partition(moved, has_members=True, rules=RULES)[0]
        is (judged_partition(window, has_members=True, rules=RULES)[0])
    )


@given(windows)
def test_a_consumer_that_only_falls_back_further_is_not_well(window: list[Point]) -> None:
    """Committed rises by one a sample and the end by two: at the end it stalls nowhere, and lags."""
    falling = [Point(T0 + timedelta(seconds=30 * i), 100 + i, 200 + 2 * i) for i in range(len(window) + 3)]
    assert judged_partition(falling, has_members=True, rules=RULES)[0] is LAGGING


def test_a_group_is_what_its_worst_partition_is() -> None:
    samples = [
        GroupSample(
            at=T0 + timedelta(seconds=s),
            offsets={"g": {"a-0": (100 + s, 100 + s), "a-1": (0, 500 + s), "a-2": (400, 450)}},
        )
        for s in (0, 60, 120)
    ]
    (judged,) = judged_groups([Group(name="g", state="Stable")], samples, RULES)
    assert judged.condition is STALLED
    assert [p.partition for p in judged.partitions] == ["a-0", "a-1", "a-2"]
    assert judged.lag == 620 + 50


def test_a_partition_that_the_newest_sample_lacks_is_not_the_groups_any_more() -> None:
    samples = [
        GroupSample(at=T0, offsets={"g": {"old-0": (0, 500)}}),
        GroupSample(at=T0 + timedelta(seconds=60), offsets={"g": {"new-0": (5, 5)}}),
    ]
    (judged,) = judged_groups([Group(name="g", state="Empty")], samples, RULES)
    assert [p.partition for p in judged.partitions] == ["new-0"]
    assert judged.condition is OK


def test_a_group_without_offsets_is_well() -> None:
    (judged,) = judged_groups([Group(name="g", state="Empty")], [], RULES)
    assert (judged.condition, judged.lag) == (OK, 0)
