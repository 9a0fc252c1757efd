"""A folder of backups: nothing half written counts, what is damaged or gone is seen, others' files are left alone."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bdops.cli.hdfs_snapshots import Unhurried
from bdops.components.backup_files import FILE, SHA256, SUFFIXES, BackupFolder, checked_name
from bdops.components.hdfs.snapshot.image import ImageVault
from bdops.components.kafka.snapshot.vault import KafkaVault
from bdops.core.backups import CLEAN_UP, COMPARE, CREATE, DELETE, DRILL, MARK, BackupRecord
from bdops.core.model import Deployment
from bdops.core.plan import Step
from bdops.errors import BdopsError, ConfigError, OperationFailed, Unreachable, UsageError

AT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def folder(path: Path, cluster: str = "prod") -> BackupFolder:
    return BackupFolder(path / "backups", "kafka", cluster)


def made(
    where: BackupFolder, name: str = "one", data: bytes = b"some bytes", suffix: str = ".metadata", **more: object
) -> BackupRecord:
    size, digest = where.write_file(f"{name}{suffix}", [data[:4], data[4:]])
    record = BackupRecord(
        id=name,
        destination=str(where.folder),
        what=("a", "b"),
        taken_at=AT,
        status="complete",
        size_bytes=size,
        state={FILE: f"{name}{suffix}", SHA256: digest},
        **more,  # type: ignore[arg-type]
    )
    where.write(record)
    return record


def step(**more: object) -> Step:
    return Step(id="1", component="kafka", name="one", acts=(CREATE,), args={"id": "one", "by": "ops", **more})


def test_what_is_written_is_read_again_by_another_machine(tmp_path: Path) -> None:
    record = made(folder(tmp_path), hold="audit", proved_at=AT, proof="how", by="ops", reason="nightly", duration_s=1.5)
    assert folder(tmp_path).records() == (record,)
    folder(tmp_path).verify(record)


def test_others_files_are_not_seen(tmp_path: Path) -> None:
    made(folder(tmp_path))
    made(folder(tmp_path, "test"), "two")
    (tmp_path / "backups" / "package.json").write_text("{")
    (tmp_path / "backups" / "list.json").write_text("[1]")
    assert [r.id for r in folder(tmp_path).records()] == ["one"]


def test_no_folder_has_no_backups_and_a_closed_one_is_named(tmp_path: Path) -> None:
    where = folder(tmp_path)
    assert where.records() == ()
    where.folder.write_text("a file")
    with pytest.raises(BdopsError) as raised:
        where.records()
    assert raised.value.code == "DESTINATION_UNREADABLE"


def test_a_file_that_is_gone_or_shorter_does_not_count(tmp_path: Path) -> None:
    where = folder(tmp_path)
    record = made(where)
    file = where.file_of(record)
    file.write_bytes(b"some")
    assert not where.records()[0].good
    file.unlink()
    found = where.records()[0]
    assert not found.good
    assert "gone" in str(found.error)
    assert not where.created("one").done


def test_a_bit_that_flipped_is_found_by_the_digest(tmp_path: Path) -> None:
    where = folder(tmp_path)
    record = made(where)
    where.file_of(record).write_bytes(b"some bytez")
    assert where.records()[0].good, "its length alone tells nothing"
    with pytest.raises(OperationFailed) as raised:
        where.verify(record)
    assert raised.value.code == "BACKUP_DAMAGED"


def test_a_damaged_record_is_a_failed_backup(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    (where.folder / "one.json").write_text('{"bdops_backup": 1, "compo')
    (found,) = where.records()
    assert (found.id, found.status) == ("one", "failed")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    where = folder(tmp_path)

    def chunks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OperationFailed) as raised:
        where.write_file("one.metadata", chunks())  # type: ignore[arg-type]
    assert raised.value.code == "DESTINATION_FULL"
    assert list(where.folder.iterdir()) == []


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    for file in where.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_marks_are_noted_and_seen(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    hold, proof = {"kind": "hold", "reason": "audit"}, {"kind": "proved", "at": AT.isoformat(), "how": "restored"}
    for mark in (hold, proof):
        assert not where.marked("one", mark).done
        where.mark("one", mark)
        assert where.marked("one", mark).done
    (found,) = where.records()
    assert (found.hold, found.proved_at, found.proof) == ("audit", AT, "restored")
    where.mark("one", {"kind": "hold"})
    assert where.marked("one", {"kind": "hold"}).done
    assert where.records()[0].proved_at == AT


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        ({"hold": "audit"}, "SNAPSHOT_HELD"),
        ({"taken_at": AT + timedelta(hours=1)}, "SNAPSHOT_CHANGED"),
        ({}, "SNAPSHOT_LAST"),
    ],
)
def test_what_must_stay_since_the_plan_was_made_is_not_deleted(
    meanwhile: dict[str, Any], code: str, tmp_path: Path
) -> None:
    where = folder(tmp_path)
    made(where)
    planned = where.records()[0]
    if meanwhile:
        made(where, "other")
        where.write(replace(planned, **meanwhile))
    going = step(taken_at=planned.taken_at.isoformat())
    with pytest.raises(OperationFailed) as raised:
        where.perform(going, DELETE)
    assert raised.value.code == code
    assert where.find("one") is not None
    made(where, "another")
    where.write(planned)
    where.perform(going, DELETE)
    assert where.find("one") is None


def test_a_removal_that_was_cut_off_is_finished_and_spares_the_others(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    made(where, "one-more")
    (where.folder / "one.json").unlink()
    assert where.strays() == ("one.metadata",)
    assert not where.removed("one").done
    where.remove("one")
    assert where.removed("one").done
    assert [r.id for r in where.records()] == ["one-more"]


def test_what_is_unfinished_is_discarded_and_what_is_whole_stays(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    (where.folder / ".one.metadata.0123456789ab.partial").write_bytes(b"ha")
    assert where.strays() == (".one.metadata.0123456789ab.partial",)
    where.write_file("two.metadata", [b"whole, without a record"])
    where.discard_unfinished("one")
    where.discard_unfinished("two")
    assert sorted(p.name for p in where.folder.iterdir()) == ["one.json", "one.metadata"]


@pytest.mark.parametrize("name", ["", "a.b", "../x", "-x", "a b", "x" * 300])
def test_names_are_fit_for_files(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


@pytest.mark.parametrize("component", ["kafka", "zk"])
def test_what_is_anothers_is_never_written_over_nor_discarded(component: str, tmp_path: Path) -> None:
    """Two clusters, or two components of one, in one folder, and a backup of the same name."""
    theirs = folder(tmp_path)
    made(theirs)
    mine = BackupFolder(theirs.folder, component, "test" if component == "kafka" else "prod")
    before = {p.name: p.read_bytes() for p in theirs.folder.iterdir()}
    for write in (lambda: mine.write_file("one.metadata", [b"mine"]), lambda: made(mine)):
        with pytest.raises(OperationFailed) as raised:
            write()
        assert raised.value.code == "NAME_TAKEN"
    with pytest.raises(OperationFailed):
        mine.create(step(), lambda asked: made(mine))
    mine.abandon(step())
    assert {p.name: p.read_bytes() for p in theirs.folder.iterdir()} == before


def test_what_a_drill_has_put_here_goes_with_its_end_and_with_its_job(tmp_path: Path) -> None:
    where = folder(tmp_path)
    drilled = replace(step(folder=str(tmp_path / "drill")), acts=(DRILL, COMPARE, MARK, CLEAN_UP))
    for end in (lambda: where.perform(drilled, CLEAN_UP), lambda: where.abandon(drilled)):
        made(where)
        (tmp_path / "drill" / "data").mkdir(parents=True)
        assert not where.progress(drilled, CLEAN_UP).done
        end()
        assert where.progress(drilled, CLEAN_UP).done
        assert where.existing("one")


def test_files_of_others_with_the_same_name_stay(tmp_path: Path) -> None:
    where = folder(tmp_path)
    made(where)
    others = ("one.tar.gz", "one.zksnap", ".one.zksnap.0123456789ab.partial", "odd.zksnap")
    for name in others:
        (where.folder / name).write_bytes(b"theirs")
    (where.folder / "odd.json").write_bytes(b"damaged")
    assert [r.id for r in where.records()] == ["one"], "the damaged record is of a snapshot of ZooKeeper"
    where.discard_unfinished("one")
    where.remove("one")
    where.remove("odd")
    assert {p.name for p in where.folder.iterdir()} == {*others, "odd.json"}


def test_a_file_that_cannot_be_read_now_is_not_damaged(tmp_path: Path) -> None:
    where = folder(tmp_path)
    record = made(where)
    where.file_of(record).unlink()
    with pytest.raises(OperationFailed, match="gone"):
        where.verify(record)
    where.file_of(record).mkdir()
    with pytest.raises(ConfigError) as raised:
        where.verify(record)
    assert raised.value.code == "DESTINATION_UNREADABLE"


def test_damage_is_noted_and_what_was_noted_meanwhile_stays(tmp_path: Path) -> None:
    where = folder(tmp_path)
    record = made(where)
    where.mark("one", {"kind": "hold", "reason": "audit"})
    damaged = OperationFailed("a bit flipped", code="BACKUP_DAMAGED")
    for of, error in (
        (record, OperationFailed("gone", code="BACKUP_GONE")),
        (replace(record, id="two"), damaged),
        (record, ConfigError("away")),
    ):
        with pytest.raises(type(error)), where.noting(of):
            raise error
    (found,) = where.records()
    assert found.good, "none of this is damage, or it is another's"
    with pytest.raises(OperationFailed), where.noting(record):
        raise damaged
    (found,) = where.records()
    assert (found.good, found.error, found.hold) == (False, "a bit flipped", "audit")


def test_one_reading_is_held_against_the_digest_however_far_it_went(tmp_path: Path) -> None:
    where = folder(tmp_path)
    record = made(where)
    for size in (0, 4, -1):
        with where.opened(record) as source:
            assert b"some bytes".startswith(source.read(size))
    where.file_of(record).write_bytes(b"some bytez")

    def read(size: int, error: Exception | None) -> None:
        with where.opened(record) as source:
            source.read(size)
            if error:
                raise error

    for size, error in ((4, None), (-1, None), (4, ValueError("not understood"))):
        with pytest.raises(OperationFailed) as raised:
            read(size, error)
        assert raised.value.code == "BACKUP_DAMAGED"
    with pytest.raises(KeyError):
        read(4, KeyError("somebody else's"))


def test_that_there_was_to_be_one_is_noted_and_a_resume_makes_it(tmp_path: Path) -> None:
    where = folder(tmp_path)

    def fails(asked: BackupRecord) -> BackupRecord:
        raise Unreachable("no server serves")

    with pytest.raises(Unreachable):
        where.create(step(), fails)
    (found,) = where.records()
    assert (found.status, found.error, found.by) == ("failed", "no server serves", "ops")
    assert not where.progress(step(), CREATE).done
    made_now = where.create(step(), lambda asked: made(where, by=asked.by))
    assert where.progress(step(), CREATE).done
    assert where.existing("one") == made_now


def vault_with_one(component: str, path: Path, content: bytes) -> Any:
    deployment = Deployment(cluster="prod", component=component, instances=(), settings=None)
    vault: Any = (KafkaVault if component == "kafka" else ImageVault).of(path / "backups", deployment)
    made(vault.files, data=content, suffix=SUFFIXES[component][0])
    return vault


@pytest.mark.parametrize("component", ["kafka", "hdfs"])
@pytest.mark.parametrize("written", [b"no backup", b"other bytes than were written"])
def test_damage_that_a_vault_finds_is_noted_in_the_catalogue(component: str, written: bytes, tmp_path: Path) -> None:
    vault = vault_with_one(component, tmp_path, b"no backup".ljust(len(written)))
    (record,) = vault.files.records()
    assert record.good
    vault.files.file_of(record).write_bytes(written)
    with pytest.raises(OperationFailed) as raised:
        vault.load(record) if component == "kafka" else vault.verify(record, Unhurried())
    assert raised.value.code == "BACKUP_DAMAGED"
    (found,) = vault.files.records()
    assert (found.good, found.error) == (False, raised.value.message)


def test_one_that_a_later_bdops_has_written_is_not_damaged(tmp_path: Path) -> None:
    vault = vault_with_one("kafka", tmp_path, b'{"bdops_kafka_metadata": 99}')
    (record,) = vault.records()
    with pytest.raises(ConfigError, match="version 99"):
        vault.load(record)
    assert vault.records() == (record,)
