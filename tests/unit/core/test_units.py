from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.units import format_duration, format_size, parse_duration, parse_percent, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("10GB", 10 * 10**9), ("1.5 GiB", 1610612736), ("500 mb", 500 * 10**6), ("2TiB", 2 * 2**40)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("1h30m", 5400), ("2d", 172800), ("1 w", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "ten seconds", "10x", "-5s", "5s later", "s"])
def test_what_is_no_duration_says_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="such as 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "GB", "10 XB", "-1GB", "1..5GB"])
def test_what_is_no_size_says_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number with"):
        parse_size(text)


def test_a_percentage_wants_its_sign() -> None:
    assert parse_percent("85%") == 85
    with pytest.raises(ValueError, match="such as 85%"):
        parse_percent("85")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350 ms"),
        (12, "12 s"),
        (200, "3 m 20 s"),
        (7500, "2 h 5 m"),
        (349200, "4 d 1 h"),
        (3600, "1 h"),
        (59.7, "1 m"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**18))
def test_a_formatted_size_reads_back_within_its_rounding(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == pytest.approx(size_bytes, rel=0.06)
