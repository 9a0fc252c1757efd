"""What the snapshot commands of all components share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bdops.cli.snapshots import throwaway_args, verified_report
from bdops.core.backups import BackupRecord, Status
from bdops.errors import ConfigError, OperationFailed


def record(id: str, status: Status = "complete", day: int = 1) -> BackupRecord:
    return BackupRecord(id=id, destination="/d", what=(), taken_at=datetime(2026, 3, day, tzinfo=UTC), status=status)


def read(one: BackupRecord) -> Mapping[str, Any]:
    if one.id == "damaged":
        raise OperationFailed("a bit flipped")
    if one.id == "away":
        raise ConfigError("the share is away")
    return {"size": 3}


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([], "ok"),
        ([record("good")], "ok"),
        ([record("good"), record("away")], "unknown"),
        ([record("good"), record("away"), record("damaged")], "failed"),
        ([record("good"), record("bad", "failed")], "failed"),
    ],
)
def test_what_cannot_be_read_now_is_unknown_and_what_is_damaged_fails(records: list[BackupRecord], status: str) -> None:
    assert verified_report(records, read).status == status


def test_the_newest_is_first_and_those_that_do_not_count_are_not_read() -> None:
    def never(one: BackupRecord) -> Mapping[str, Any]:
        assert one.good
        return read(one)

    found = verified_report([record("old"), record("new", day=3), record("none", "failed", day=2)], never)
    rows = list(found.tables[0].rows)
    assert [(r["snapshot"], r["whole"]) for r in rows] == [("new", True), ("none", False), ("old", True)]
    assert found.summary == "2 of 3 snapshots are whole"


@pytest.mark.parametrize("folder", ["libs", "lib", "."])
def test_a_drill_runs_the_jars_of_an_unpacked_server(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path / "state"))
    with pytest.raises(ConfigError, match="no jars"):
        throwaway_args("kafka", record("one"), str(tmp_path))
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "server.jar").touch()
    args = throwaway_args("kafka", record("one"), str(tmp_path))
    assert args["class_path"] == f"{tmp_path / folder}/*"
    assert args["java"] == str(java)
    assert Path(args["folder"]).parent == tmp_path / "state" / "drills"
