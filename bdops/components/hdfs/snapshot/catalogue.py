"""What bdops remembers of snapshots, in HDFS itself: attributes of an empty directory for each snapshot.

A snapshot cannot carry notes, and notes on the directory that it is of would not do: an inode has 32 extended
attributes at the most (dfs.namenode.fs-limits.max-xattrs-per-inode), each change of one is a change of the directory
in every diff, and `distcp -diff` refuses a target that has changed. So the notes are on `CATALOGUE/INODE/ID`, with the
ids of the directory and of the snapshot, both of which stay when something is renamed; for the superuser alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.calls import Snapshot, SnapshotRoot
from bdops.core.backups import BackupRecord

OF, MADE, HOLD, PROVED, NEEDED = "bdops.of", "bdops.made", "bdops.hold", "bdops.proved", "bdops.needed"
KINDS: Mapping[str, str] = {"hold": HOLD, "proved": PROVED, "needed": NEEDED}
"""The attribute of each kind of mark."""
PRIVATE = 0o700

Notes = Mapping[str, Mapping[str, Any]]
"""By attribute."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The notes on snapshots of one directory. `path` is the directory in HDFS with all notes of bdops."""

    path: str
    root: SnapshotRoot

    @property
    def folder(self) -> str:
        return f"{self.path}/snapshots/{self.root.inode}"

    def read(self, namenode: NameNode) -> dict[int, Notes]:
        """All notes, by the snapshot's id: two small calls, and one for each snapshot that has any."""
        found = {}
        for one in namenode.listing(self.folder):
            if one.name.isdigit():
                found[int(one.name)] = decoded(calls.attributes_of(namenode, f"{self.folder}/{one.name}"))
        return found

    def name(self, namenode: NameNode, snapshot: Snapshot) -> str:
        """Note which snapshot an id is of, under its name of now; the directory with the notes."""
        path = f"{self.folder}/{snapshot.id}"
        of = {"dir": self.root.path, "name": snapshot.name, "taken_at": snapshot.taken_at.isoformat()}
        calls.make_directory(namenode, path, mode=PRIVATE)
        calls.set_attribute(namenode, path, OF, json.dumps(of).encode())
        return path

    def write(self, namenode: NameNode, snapshot: Snapshot, kind: str, note: Mapping[str, Any]) -> None:
        """Set one note; an empty one takes it back."""
        calls.set_attribute(namenode, self.name(namenode, snapshot), kind, json.dumps(note).encode())

    def forget(self, namenode: NameNode, id: int) -> None:
        calls.delete_path(namenode, f"{self.folder}/{id}")


def decoded(attributes: Mapping[str, bytes]) -> Notes:
    """The notes among attributes; what is no JSON object of ours is left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in attributes.items():
        try:
            content = json.loads(value)
        except ValueError:
            continue
        if name.startswith("bdops.") and isinstance(content, dict):
            found[name] = content
    return found


def records(root: SnapshotRoot, snapshots: Iterable[Snapshot], notes: Mapping[int, Notes]) -> tuple[BackupRecord, ...]:
    """Every snapshot with what is noted of it; and those that are noted, and gone. Pure."""
    there = {s.id: s for s in snapshots}
    names = {s.name for s in there.values()}
    found = [_record(root, s, notes.get(s.id, {})) for s in there.values()]
    for id, of_one in notes.items():
        of = of_one.get(OF, {})
        if id in there or "name" not in of:
            continue
        gone = Snapshot(name=of["name"], id=id, taken_at=_moment(of.get("taken_at")) or datetime.fromtimestamp(0, UTC))
        unique = gone.name if gone.name not in names else f"{gone.name}#{id}"
        found.append(_record(root, gone, of_one, gone_as=unique))
        names.add(unique)
    return tuple(found)


def _record(root: SnapshotRoot, snapshot: Snapshot, notes: Notes, *, gone_as: str | None = None) -> BackupRecord:
    made, proved = notes.get(MADE, {}), notes.get(PROVED, {})
    counted = {k: made[k] for k in ("files", "open_files") if made.get(k) is not None}
    return BackupRecord(
        id=gone_as or snapshot.name,
        destination=root.path,
        what=(root.path,),
        taken_at=snapshot.taken_at,
        status="failed" if gone_as else "complete",
        size_bytes=made.get("size_bytes"),
        duration_s=made.get("duration_s"),
        state={"snapshot_id": snapshot.id, **counted},
        by=made.get("by"),
        reason=made.get("reason"),
        error="it is gone: somebody else has deleted it" if gone_as else None,
        # What is gone cannot be kept.
        hold=None if gone_as else notes.get(HOLD, {}).get("reason"),
        needed=None if gone_as else notes.get(NEEDED, {}).get("why"),
        proved_at=_moment(proved.get("at")),
        proof=proved.get("how"),
    )


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
