"""The arithmetic of disk watermarks: shares, free bytes, headroom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.es.state import ClusterSettings, Disk
from bdops.components.es.watermarks import LEVELS, Watermark, parse_bytes, watermarks

GIB = 2**30
PREFIX = "cluster.routing.allocation.disk.watermark."

sizes = st.integers(min_value=1, max_value=2**50)
percents = st.floats(min_value=0, max_value=100)
headrooms = st.none() | st.integers(min_value=0, max_value=2**45)


def marks(low: str, high: str, flood: str, **more: str) -> ClusterSettings:
    levels = {f"{PREFIX}low": low, f"{PREFIX}high": high, f"{PREFIX}flood_stage": flood}
    return ClusterSettings(persistent=levels | {PREFIX + k.replace("__", "."): v for k, v in more.items()})


@given(total=sizes, percent=percents, headroom=headrooms)
def test_the_free_space_asked_for_is_never_more_than_the_disk_or_the_headroom(total, percent, headroom) -> None:
    needed = Watermark(setting="x", text="", used_percent=percent, headroom_bytes=headroom).free_needed_bytes(total)
    assert 0 <= needed <= total
    assert headroom is None or needed <= headroom


@given(total=sizes, percent=percents, headroom=headrooms, free=st.data())
def test_a_disk_that_gets_fuller_never_goes_back_below_a_watermark(total, percent, headroom, free) -> None:
    mark = Watermark(setting="x", text="", used_percent=percent, headroom_bytes=headroom)
    more = free.draw(st.integers(0, total))
    less = free.draw(st.integers(0, more))
    if mark.is_exceeded_by(Disk(path="/d", total_bytes=total, available_bytes=more)):
        assert mark.is_exceeded_by(Disk(path="/d", total_bytes=total, available_bytes=less))


@given(shares=st.tuples(percents, percents, percents).map(sorted), total=sizes, free=st.data())
def test_the_worst_watermark_passed_is_the_one_reported(shares, total, free) -> None:
    low, high, flood = shares
    found = watermarks(marks(f"{low}%", f"{high}%", f"{flood}%"))
    disk = Disk(path="/d", total_bytes=total, available_bytes=free.draw(st.integers(0, total)))
    level = found.exceeded(disk)
    passed = [name for name in LEVELS if getattr(found, name).is_exceeded_by(disk)]
    assert level == (passed[0] if passed else None)
    # Being over a higher watermark means being over all lower ones.
    assert passed == list(LEVELS[LEVELS.index(passed[0]) :] if passed else [])


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("10gb", 10 * GIB), ("10GB", 10 * GIB), ("1.5t", 3 * 2**39), ("500mb", 500 * 2**20), ("7b", 7), ("42", 42)],
)
def test_sizes_are_powers_of_1024_as_elasticsearch_counts(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "gb", "-1gb", "ten", "10 gib!"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_bytes(text)


def test_a_ratio_is_a_used_share_and_bytes_are_free_space() -> None:
    found = watermarks(marks("0.85", "90%", "5gb"))
    assert found.low.used_percent == 85
    assert found.high.free_needed_bytes(1000 * GIB) == 100 * GIB
    assert found.flood_stage.free_needed_bytes(1000 * GIB) == 5 * GIB


def test_a_headroom_of_minus_one_is_none() -> None:
    found = watermarks(marks("85%", "90%", "95%", low__max_headroom="-1", high__max_headroom="20GB"))
    assert found.low.free_needed_bytes(1000 * GIB) == 150 * GIB
    assert found.high.free_needed_bytes(1000 * GIB) == 20 * GIB


def test_a_disk_with_exactly_the_free_space_asked_for_is_not_over_the_watermark() -> None:
    low = watermarks(marks("90%", "95%", "99%")).low
    assert not low.is_exceeded_by(Disk(path="/d", total_bytes=100, available_bytes=10))
    assert low.is_exceeded_by(Disk(path="/d", total_bytes=100, available_bytes=9))


def test_transient_settings_go_before_persistent_ones_and_those_before_defaults() -> None:
    settings = ClusterSettings(transient={"a": "1"}, persistent={"a": "2", "b": "2"}, defaults={"b": "3", "c": "3"})
    assert [settings.value(name) for name in ("a", "b", "c", "d")] == ["1", "2", "3", None]
