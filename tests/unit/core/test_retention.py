"""Which backups stay: buckets, minimums, holds, clocks that jump."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.retention import UNITS, Backup, decide, parse_keep

BERLIN = ZoneInfo("Europe/Berlin")

moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
backups = st.lists(
    st.tuples(moments, st.booleans(), st.booleans(), st.sampled_from([None, None, None, "audit"])), max_size=60
).map(
    lambda found: [
        Backup(id=f"b{n}", taken_at=at, good=good, proved=good and proved, hold=hold)
        for n, (at, good, proved, hold) in enumerate(found)
    ]
)
keeps = st.dictionaries(st.sampled_from(list(UNITS)), st.integers(1, 12), min_size=1).map(
    lambda counts: parse_keep(" ".join(f"{n}{u}" for u, n in counts.items()))
)


@given(backups, keeps, st.integers(0, 8), st.randoms())
def test_never_too_few_and_the_same_in_any_order_and_again(found, keep, min_good, random) -> None:  # type: ignore[no-untyped-def]
    fates = decide(found, keep, min_good=min_good, zone=BERLIN)
    staying = [f.backup for f in fates if f.stays]
    good = [b for b in found if b.good]
    assert sum(b.good for b in staying) >= min(min_good, len(good))
    assert {b.id for b in found if b.hold} <= {b.id for b in staying}
    if good:
        assert max(good, key=lambda b: (b.taken_at, b.id)) in staying
    if proved := [b for b in good if b.proved]:
        assert max(proved, key=lambda b: (b.taken_at, b.id)) in staying
    shuffled = list(found)
    random.shuffle(shuffled)
    assert decide(shuffled, keep, min_good=min_good, zone=BERLIN) == fates
    again = decide(staying, keep, min_good=min_good, zone=BERLIN)
    assert all(f.stays for f in again), "what stays once, stays"
    assert all(f.reasons for f in fates)


@given(backups, keeps)
def test_every_unit_keeps_one_of_each_of_its_last_buckets(found, keep) -> None:  # type: ignore[no-untyped-def]
    staying = {f.backup.id for f in decide(found, keep, min_good=0, zone=BERLIN) if f.stays}
    for unit, count in keep.counts.items():
        bucket = UNITS[unit][1]
        buckets: dict[object, list[Backup]] = {}
        for backup in sorted((b for b in found if b.good), key=lambda b: b.taken_at, reverse=True):
            buckets.setdefault(bucket(backup.taken_at.astimezone(BERLIN)), []).append(backup)
        for mine in list(buckets.values())[:count]:
            assert staying & {b.id for b in mine}


def hourly(first: datetime, count: int) -> list[Backup]:
    return [Backup(id=f"{n:03}", taken_at=first + timedelta(hours=n), good=True) for n in range(count)]


def kept(found: list[Backup], keep: str, min_good: int = 0) -> list[str]:
    return [f.backup.id for f in decide(found, parse_keep(keep), min_good=min_good, zone=BERLIN) if f.stays]


def test_the_hour_that_comes_twice_is_two_hours_and_the_one_that_is_skipped_is_none() -> None:
    autumn = hourly(datetime(2026, 10, 24, 22, tzinfo=UTC), 6)
    assert kept(autumn, "6h") == ["005", "004", "003", "002", "001", "000"]
    spring = hourly(datetime(2026, 3, 28, 22, tzinfo=UTC), 6)
    assert kept(spring, "6h") == ["005", "004", "003", "002", "001", "000"]


def test_a_day_of_23_or_25_hours_is_one_day() -> None:
    for first in (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC)):
        hours = 25 if first.month == 10 else 23
        assert len(kept(hourly(first, hours), "7d")) == 1
        assert len(kept(hourly(first, hours + 1), "7d")) == 2


def test_without_a_zone_days_begin_where_this_machine_is_in_summer_and_in_winter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        days = [
            Backup(id=at, taken_at=datetime.fromisoformat(f"{at}+00:00"), good=True)
            # Half an hour after midnight, in summer and in winter; and half an hour before it.
            for at in ("2026-07-01T22:30", "2026-07-02T21:30", "2026-12-01T23:30", "2026-12-02T22:30")
        ]
        fates = decide(days, parse_keep("9d"), min_good=0)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [f.backup.id for f in fates if f.stays] == ["2026-12-02T22:30", "2026-07-02T21:30"]


def test_months_end_where_they_end() -> None:
    ends = [
        Backup(id=f"{m:02}-{d}", taken_at=datetime(2026, m, d, 12, tzinfo=UTC), good=True)
        for m, last in ((1, 31), (2, 28), (3, 31), (4, 30))
        for d in (1, last)
    ]
    assert kept(ends, "3m") == ["04-30", "03-31", "02-28"]


def test_years_of_iso_weeks_and_of_the_calendar_differ() -> None:
    eve = [
        Backup(id="dec31", taken_at=datetime(2026, 12, 31, 12, tzinfo=UTC), good=True),
        Backup(id="jan1", taken_at=datetime(2027, 1, 1, 12, tzinfo=UTC), good=True),
    ]
    assert kept(eve, "4w") == ["jan1"]
    assert kept(eve, "4y") == ["jan1", "dec31"]


def test_what_is_not_good_never_counts_and_goes_when_a_good_one_is_newer() -> None:
    found = hourly(datetime(2026, 6, 1, tzinfo=UTC), 3)
    bad = [Backup(id=f"bad{n}", taken_at=b.taken_at + timedelta(minutes=30), good=False) for n, b in enumerate(found)]
    assert kept([*found, *bad], "1h") == ["bad2", "002"]
    assert kept([*found, *bad], "1h", min_good=3) == ["bad2", "002", "001", "000"]
    assert kept(bad, "1h") == ["bad2", "bad1", "bad0"]


@pytest.mark.parametrize(
    ("text", "words"), [("7", "'7'"), ("7d 3d", "twice"), ("0d", "nothing"), ("", "nothing"), ("-1d", "'-1d'")]
)
def test_a_grammar_that_is_wrong_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_keep(text)


def test_it_is_written_as_it_is_read() -> None:
    assert str(parse_keep("12m,4w 24h  7d")) == "24h 7d 4w 12m"
