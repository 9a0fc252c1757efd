"""Targets of jobs that make, prune, hold, restore and prove backups, and what is asked of a backup first: the same for
every component. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bdops.core.backups import CLEAN_UP, COMPARE, CREATE, DELETE, DRILL, MARK, RESTORE, BackupRecord
from bdops.core.plan import Step, Target
from bdops.core.retention import Fate
from bdops.errors import OperationFailed, Refused, UsageError


def find_record(records: Iterable[BackupRecord], id: str | None) -> BackupRecord:
    """The record of an id, or of an unambiguous part of one; without one, the newest good. Raises UsageError."""
    known = list(records)
    if id is None:
        good = sorted((r for r in known if r.good), key=lambda r: (r.taken_at, r.id))
        if not good:
            raise UsageError("there is no good backup", hint="`snapshot list` shows what there is", code="NO_BACKUP")
        return good[-1]
    found = [r for r in known if r.id == id] or [r for r in known if id in r.id]
    if len(found) != 1:
        what = "no backup" if not found else f"{len(found)} backups"
        raise UsageError(f"{what} is called {id!r}", hint="`snapshot list` shows what there is", code="NO_BACKUP")
    return found[0]


def find_good(records: Iterable[BackupRecord], id: str | None) -> BackupRecord:
    """As find_record, of one that counts: another cannot be restored. Raises UsageError."""
    record = find_record(records, id)
    if not record.good:
        why = f": {record.error}" if record.error else ""
        raise UsageError(
            f"{record.id} is {record.status}, and no backup{why}",
            hint="`snapshot list` shows what there is",
            code="NO_BACKUP",
        )
    return record


def require_new(records: Iterable[BackupRecord], id: str) -> None:
    """Before one is made: a job would find one of this name, and take it for its own. Raises Refused."""
    for record in records:
        if record.id == id:
            raise Refused(
                f"there is a snapshot {id} already", where=record.destination, hint="--name", code="SNAPSHOT_EXISTS"
            )


def require_unneeded(record: BackupRecord, known: Iterable[BackupRecord], step: Step) -> None:
    """Before one goes: since the plan was made somebody may have said that it stays, it may have become the last good
    one, or be another one that was made under its name. Raises OperationFailed."""
    if why := record.hold or record.needed:
        what, hint = ("held", "release it first") if record.hold else ("needed", "`snapshot need --none` first")
        raise OperationFailed(
            f"{record.id} must not go: it is {what}, {why}", where=record.destination, hint=hint, code="SNAPSHOT_HELD"
        )
    planned = step.args.get("taken_at", record.taken_at.isoformat())
    if record.taken_at.isoformat() != planned:
        raise OperationFailed(
            f"{record.id} is another one than the plan names: it is of {record.taken_at:%Y-%m-%d %H:%M:%S}",
            where=record.destination,
            hint="abort this job and prune anew",
            code="SNAPSHOT_CHANGED",
        )
    if record.good and not any(r.good and r.id != record.id for r in known):
        raise OperationFailed(
            f"{record.id} must not go: it is the last good one",
            where=record.destination,
            hint="abort this job, make a new one, and prune anew",
            code="SNAPSHOT_LAST",
        )


def create_target(id: str, destination: str, args: Mapping[str, Any], note: str) -> Target:
    return Target(
        name=id, acts=(CREATE,), role="backup", note=note, args={**args, "id": id, "destination": destination}
    )


def prune_targets(fates: Iterable[Fate], destination: str) -> tuple[Target, ...]:
    """One for each that goes, the oldest first."""
    going = sorted((f for f in fates if not f.stays), key=lambda f: (f.backup.taken_at, f.backup.id))
    return tuple(
        Target(
            name=f.backup.id,
            acts=(DELETE,),
            rank=number,
            role="backup",
            note="; ".join(f.reasons),
            args={
                "id": f.backup.id,
                "destination": destination,
                "taken_at": f.backup.taken_at.isoformat(),
            },
        )
        for number, f in enumerate(going, 1)
    )


def hold_target(record: BackupRecord, reason: str | None) -> Target:
    """Hold a backup, with a reason, or (None) let go of it."""
    mark = {"kind": "hold", **({"reason": reason} if reason else {})}
    return Target(
        name=record.id,
        acts=(MARK,),
        role="backup",
        note=f"held: {reason}" if reason else "not held any more",
        args={"id": record.id, "destination": record.destination, "mark": mark},
    )


def restore_target(record: BackupRecord, args: Mapping[str, Any], note: str) -> Target:
    kept = {**args, "id": record.id, "destination": record.destination}
    return Target(name=record.id, acts=(RESTORE,), role="backup", note=note, args=kept)


def drill_target(
    record: BackupRecord,
    args: Mapping[str, Any],
    note: str,
    at: datetime,
    how: str = "restored beside and compared",
) -> Target:
    """Restore beside, compare, note the proof, clean up. `how` is what the catalogue says of the proof."""
    mark = {"kind": "proved", "at": at.isoformat(timespec="seconds"), "how": how}
    return Target(
        name=record.id,
        acts=(DRILL, COMPARE, MARK, CLEAN_UP),
        role="backup",
        note=note,
        args={**args, "id": record.id, "destination": record.destination, "mark": mark},
    )
