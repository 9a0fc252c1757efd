"""What the checks say of the backups that the inventory asks for: the same for every component that has a folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bdops.components.backup_files import FILE, SHA256, BackupFolder
from bdops.components.backup_standing import MADE_AT, Backups, read_backups
from bdops.components.hdfs.snapshot.health import image_backups
from bdops.components.kafka.state import KafkaState
from bdops.components.zk.state import ZkState
from bdops.core.backups import BackupRecord
from bdops.core.checks import run_checks
from bdops.core.model import Deployment
from bdops.registry import component, settings

AT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
STATES: dict[str, Any] = {"kafka": KafkaState, "zk": ZkState}
GOOD = Backups(folder="/backup", good=3, newest="n", newest_at=AT - timedelta(hours=5), proved_at=AT)

of_each = pytest.mark.parametrize("name", STATES)


@of_each
@pytest.mark.parametrize(
    ("backups", "expected"),
    [
        (Backups(), ["ok", "ok", "ok"]),
        (GOOD, ["ok", "ok", "ok"]),
        (replace(GOOD, newest=None, newest_at=None), ["critical", "ok", "ok"]),
        (replace(GOOD, newest=None, newest_at=None, failed="n: partial"), ["critical", "warning", "ok"]),
        (replace(GOOD, newest_at=AT - timedelta(hours=27)), ["warning", "ok", "ok"]),
        (replace(GOOD, newest_at=AT - timedelta(hours=53)), ["critical", "ok", "ok"]),
        (replace(GOOD, newest_at=AT - timedelta(hours=53), max_age_h=60), ["ok", "ok", "ok"]),
        (replace(GOOD, failed="n: its file is gone"), ["ok", "warning", "ok"]),
        (replace(GOOD, proved_at=AT - timedelta(days=9)), ["ok", "ok", "ok"]),
        (replace(GOOD, proved_at=AT - timedelta(days=9), proved_max_age_d=7), ["ok", "ok", "warning"]),
        (replace(GOOD, proved_at=AT - timedelta(days=15), proved_max_age_d=7), ["ok", "ok", "critical"]),
        (replace(GOOD, proved_at=None, proved_max_age_d=7), ["ok", "ok", "warning"]),
        (Backups(folder="/backup", error="Permission denied"), ["unknown", "unknown", "unknown"]),
    ],
)
def test_how_they_stand(name: str, backups: Backups, expected: list[str]) -> None:
    state = STATES[name](cluster="prod", taken_at=AT, backups=backups)
    found = {r.code: r.severity.value for r in run_checks(component(name).checks, state, component=name)}
    assert [found[f"{name.upper()}_BACKUP_{code}"] for code in ("AGE", "FAILED", "PROVED_AGE")] == expected


@of_each
def test_it_is_read_from_the_folder_of_the_inventory(name: str, tmp_path: Path) -> None:
    def standing(path: Path | None) -> Backups:
        mine = settings(name).type(snapshot_dir=str(path) if path else None, snapshot_max_age_h=5)
        return read_backups(Deployment(cluster="prod", component=name, instances=(), settings=mine), timeout_s=20)

    assert standing(None) == Backups()
    assert standing(tmp_path / "none").newest is None
    folder = BackupFolder(tmp_path / "backups", name, "prod")
    for id, status, hours in (("old", "complete", 9), ("new", "complete", 5), ("bad", "failed", 1)):
        size, digest = folder.write_file(f"{id}.data", [b"x"])
        folder.write(
            BackupRecord(
                id=id,
                destination=str(folder.folder),
                what=(),
                taken_at=AT - timedelta(hours=hours),
                status=status,  # type: ignore[arg-type]
                error="no space" if status == "failed" else None,
                proved_at=AT if id == "old" else None,
                size_bytes=size,
                state={FILE: f"{id}.data", SHA256: digest},
            )
        )
    found = standing(folder.folder)
    assert (found.good, found.newest, found.newest_at) == (2, "new", AT - timedelta(hours=5))
    assert (found.proved_at, found.failed, found.max_age_h) == (AT, "bad: no space", 5)
    (folder.folder / "bad.json").unlink()
    (folder.folder / "new.data").unlink()
    gone = standing(folder.folder)
    assert (gone.newest, gone.failed) == ("old", "new: its file new.data is gone")
    (tmp_path / "file").write_text("")
    assert "Not a directory" in (standing(tmp_path / "file").error or "")


def test_images_stand_as_old_as_their_checkpoints_and_the_last_is_the_one_that_was_made_last(tmp_path: Path) -> None:
    def standing() -> Backups:
        mine = settings("hdfs").type(image_dir=str(tmp_path), image_max_age_h=5, backup_proved_max_age_d=7)
        return image_backups(Deployment(cluster="prod", component="hdfs", instances=(), settings=mine), timeout_s=20)

    folder = BackupFolder(tmp_path, "hdfs", "prod")

    def write(id: str, *, checkpoint_h: int, fetched_h: int, error: str | None = None) -> None:
        size, digest = folder.write_file(f"{id}.fsimage", [b"x"])
        fetched = (AT - timedelta(hours=fetched_h)).isoformat()
        state = {} if error else {FILE: f"{id}.fsimage", SHA256: digest, MADE_AT: fetched}
        folder.write(
            BackupRecord(
                id=id,
                destination=str(tmp_path),
                what=(),
                taken_at=AT - timedelta(hours=checkpoint_h),
                status="failed" if error else "complete",
                error=error,
                proved_at=AT,
                size_bytes=size,
                state=state,
            )
        )

    write("bad", checkpoint_h=2, fetched_h=2, error="refused")
    write("good", checkpoint_h=9, fetched_h=1)
    found = standing()
    assert (found.newest_at, found.failed, found.proved_at) == (AT - timedelta(hours=9), None, AT)
    assert (found.max_age_h, found.proved_max_age_d) == (5, 7)
    write("good", checkpoint_h=9, fetched_h=3)
    assert standing().failed == "bad: refused"
