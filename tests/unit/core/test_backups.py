"""What is asked of a backup before anything is done with it, and whether a mark is noted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bdops.components.backups import find_good, find_record, require_new, require_unneeded
from bdops.core.backups import DELETE, BackupRecord, marked
from bdops.core.plan import Step
from bdops.errors import OperationFailed, Refused, UsageError

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ONE = BackupRecord(id="nightly-1", destination="s3", what=(), taken_at=NOON, status="complete")
TWO = replace(ONE, id="nightly-2", taken_at=NOON + timedelta(days=1), status="failed", error="disk full")


def test_without_a_name_it_is_the_newest_good_one_and_a_bad_one_by_name_says_why() -> None:
    assert find_good([TWO, ONE], None) is ONE
    assert find_record([TWO, ONE], "nightly-2") is TWO
    with pytest.raises(UsageError, match="disk full"):
        find_good([TWO, ONE], "2")
    with pytest.raises(UsageError, match="2 backups"):
        find_good([TWO, ONE], "nightly")


def test_a_name_that_is_taken_is_refused_whatever_became_of_the_backup() -> None:
    require_new([ONE, TWO], "nightly")
    for record in (ONE, TWO):
        with pytest.raises(Refused):
            require_new([ONE, TWO], record.id)


def test_what_is_held_or_needed_or_the_last_or_another_one_must_not_go() -> None:
    step = Step(id="1", component="es", name="one", acts=(DELETE,), args={"taken_at": NOON.isoformat()})
    good = replace(TWO, status="complete")
    require_unneeded(ONE, [ONE, good], step)
    require_unneeded(TWO, [ONE, TWO], replace(step, args={}))
    for record, known, why in (
        (replace(ONE, hold="audit"), [good], "held, audit"),
        (replace(ONE, needed="the next copy"), [good], "needed, the next copy"),
        (ONE, [ONE, TWO], "the last good one"),
        (replace(ONE, taken_at=NOON + timedelta(hours=1)), [good], "another one than the plan names"),
    ):
        with pytest.raises(OperationFailed, match=why):
            require_unneeded(record, known, step)


@pytest.mark.parametrize(
    ("noted", "wanted", "done"),
    [
        ({}, {"kind": "hold"}, True),
        ({"hold": "audit"}, {"kind": "hold"}, False),
        ({"hold": "audit"}, {"kind": "hold", "reason": "audit"}, True),
        ({"hold": "other"}, {"kind": "hold", "reason": "audit"}, False),
        ({}, {"kind": "needed", "why": "copy"}, False),
        ({"needed": "copy"}, {"kind": "needed", "why": "copy"}, True),
        ({"needed": "copy"}, {"kind": "needed"}, False),
        ({}, {"kind": "proved", "at": NOON.isoformat()}, False),
        ({"proved_at": NOON - timedelta(days=1)}, {"kind": "proved", "at": NOON.isoformat()}, False),
        (
            {"proved_at": NOON.astimezone(timezone(timedelta(hours=-5)))},
            {"kind": "proved", "at": NOON.isoformat()},
            True,
        ),
    ],
)
def test_a_mark_is_noted_when_the_record_says_just_that(noted: Any, wanted: dict[str, str], done: bool) -> None:
    assert marked(replace(ONE, **noted), wanted).done is done
    assert marked(None, wanted).done
