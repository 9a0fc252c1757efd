"""The arithmetic of skew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka.checks.balance import deviation_percent

counts = st.dictionaries(st.integers(1, 50), st.integers(0, 1000), min_size=2, max_size=20)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({1: 7}, {1: 0}),
        ({1: 0, 2: 0}, {1: 0, 2: 0}),
        ({1: 5, 2: 5, 3: 5}, {1: 0, 2: 0, 3: 0}),
        # 5 over 4 brokers cannot be more even than this.
        ({1: 1, 2: 1, 3: 1, 4: 2}, {1: 0, 2: 0, 3: 0, 4: 0}),
        ({1: 20, 2: 10, 3: 10, 4: 0}, {1: 100, 2: 0, 3: 0, 4: -100}),
        ({1: 13, 2: 8, 3: 9}, {1: 30, 2: -20, 3: -10}),
    ],
)
def test_deviation_is_in_percent_of_the_mean(values: dict[int, int], expected: dict[int, float]) -> None:
    assert deviation_percent(values) == pytest.approx(expected)


def test_small_differences_are_not_skew() -> None:
    assert deviation_percent({1: 4, 2: 0}, floor=3) == {1: 0, 2: 0}
    assert deviation_percent({1: 6, 2: 0}, floor=3) == {1: 100, 2: -100}


@given(counts)
def test_values_as_even_as_they_can_be_have_no_deviation(values: dict[int, int]) -> None:
    each, rest = divmod(sum(values.values()), len(values))
    even = {key: each + (i < rest) for i, key in enumerate(values)}
    assert set(deviation_percent(even).values()) == {0}


@given(counts, st.integers(2, 9))
def test_what_is_off_stays_off_at_any_scale(values: dict[int, int], factor: int) -> None:
    small, large = deviation_percent(values), deviation_percent({k: v * factor for k, v in values.items()})
    for key, percent in small.items():
        assert percent * large[key] >= 0
        if percent:
            assert large[key]


@given(counts)
def test_the_sign_says_over_or_under(values: dict[int, int]) -> None:
    mean = sum(values.values()) / len(values)
    for key, percent in deviation_percent(values).items():
        assert (percent > 0) <= (values[key] > mean)
        assert (percent < 0) <= (values[key] < mean)
