from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bdops.core.changes import MAX_OBJECTS
from bdops.core.checks import CheckResult, Finding, Metric, Severity
from bdops.errors import ConfigError, OperationFailed
from bdops.history import store
from bdops.history.store import KEPT_FOR, History

START = datetime(2026, 3, 1, tzinfo=UTC)
SUBJECT = "prod/kafka"


def result(code: str = "KAFKA_X", bad: int = 0, value: float = 1.0, subject: str = SUBJECT) -> CheckResult:
    severity = Severity.CRITICAL if bad else Severity.OK
    return CheckResult(
        code=code,
        severity=severity,
        subject=subject,
        summary=f"{bad} bad | 'quoted'",
        objects=tuple(Finding(f"orders-{i}", severity, "") for i in range(bad)),
        metrics=(Metric("used", value, "%", 80, 90),),
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "checks.sqlite3")


def test_what_is_recorded_is_read_as_it_was(history: History) -> None:
    history.record([result(bad=2, value=70)], START)
    history.record([result(value=71), result("KAFKA_Y")], START + timedelta(minutes=5))
    history.record([result(subject="test/zk")], START + timedelta(minutes=5))
    first, second = history.series({SUBJECT}, START)
    assert [(s.at, s.severity, dict(s.objects)) for s in first.samples] == [
        (START, Severity.CRITICAL, {"orders-0": Severity.CRITICAL, "orders-1": Severity.CRITICAL}),
        (START + timedelta(minutes=5), Severity.OK, {}),
    ]
    assert first.samples[0].summary == "2 bad | 'quoted'"
    assert second.code == "KAFKA_Y"
    recorded = {(m.code, m.name): [v for _, v in m.points] for m in history.metrics({SUBJECT}, START)}
    assert recorded == {("KAFKA_X", "used"): [70, 71], ("KAFKA_Y", "used"): [1]}


def test_the_last_run_before_a_time_is_what_is_compared_with(history: History) -> None:
    for minutes in (0, 10, 20):
        history.record([result(bad=minutes)], START + timedelta(minutes=minutes))
    (found,) = history.series({SUBJECT}, START + timedelta(minutes=15))
    assert [s.at.minute for s in found.samples] == [10, 20]


def test_the_file_and_its_log_are_its_owners_alone(history: History) -> None:
    history.record([result()], START)
    reader = sqlite3.connect(history.file)  # keeps the write-ahead log in being
    reader.execute("SELECT count(*) FROM result").fetchone()
    history.record([result()], START + timedelta(minutes=1))
    files = list(history.file.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    reader.close()


def test_what_is_too_old_goes_with_its_names(history: History) -> None:
    history.record([result("KAFKA_OLD")], START)
    history.record([result("KAFKA_NEW")], START + KEPT_FOR + timedelta(minutes=1))
    assert [s.code for s in history.series({SUBJECT}, START)] == ["KAFKA_NEW"]
    assert [m.code for m in history.metrics({SUBJECT}, START)] == ["KAFKA_NEW"]


def test_the_oldest_go_when_it_is_too_much_and_the_newest_stays(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 200_000)
    for minute in range(100):
        history.record([result(f"KAFKA_{i}", bad=50) for i in range(20)], START + timedelta(minutes=minute))
    found = history.series({SUBJECT}, START)
    assert len(found) == 20
    assert found[0].samples[-1].at == START + timedelta(minutes=99)
    assert 1 <= len(found[0].samples) < 60
    assert history.file.stat().st_size < 400_000


def test_a_million_bad_objects_are_not_kept(history: History) -> None:
    history.record([result(bad=5000)], START)
    (found,) = history.series({SUBJECT}, START)
    assert len(found.samples[0].objects) == MAX_OBJECTS


def test_a_number_that_is_none_is_left_out(history: History) -> None:
    strange = replace(result(), metrics=(Metric("x", float("nan")), Metric("y", 1.0)))
    history.record([strange], START)
    assert [m.name for m in history.metrics({SUBJECT}, START)] == ["y"]


def test_a_damaged_file_is_an_error_with_the_way_out(history: History) -> None:
    history.file.write_bytes(b"this is no database, and longer than a header of one" * 100)
    with pytest.raises(ConfigError) as caught:
        history.record([result()], START)
    assert caught.value.code == "HISTORY_DAMAGED"
    assert f"mv {history.file}" in (caught.value.hint or "")


def test_a_file_of_a_newer_bdops_is_left_alone(history: History) -> None:
    history.record([result()], START)
    with sqlite3.connect(history.file) as db:
        db.execute("PRAGMA user_version = 99")
    before = history.file.read_bytes()
    with pytest.raises(ConfigError, match="format 99"):
        history.series({SUBJECT}, START)
    assert history.file.read_bytes() == before


def test_a_link_in_its_place_is_not_followed(history: History, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("")
    history.file.symlink_to(target)
    with pytest.raises(OperationFailed):
        history.record([result()], START)
    assert target.read_text() == ""


RECORD = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from bdops.core.checks import CheckResult, Severity
from bdops.history.store import History
for i in range(20):
    one = CheckResult(code="KAFKA_X", severity=Severity.OK, subject="prod/kafka", summary="")
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=10 * i + int(sys.argv[2]))
    History(Path(sys.argv[1])).record([one], at)
"""


def test_several_processes_record_at_once_and_nothing_is_lost(history: History) -> None:
    running = [subprocess.Popen([sys.executable, "-c", RECORD, str(history.file), str(n)]) for n in range(3)]
    assert [p.wait(timeout=60) for p in running] == [0, 0, 0]
    (found,) = history.series({SUBJECT}, START - timedelta(days=1))
    assert len(found.samples) == 60
