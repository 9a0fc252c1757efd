"""What there is to see of snapshots: data in, reports out. Pure; tables are as lazy as their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bdops.components.hdfs.snapshot.calls import SnapshotRoot
from bdops.components.hdfs.snapshot.diff import Change, Totals
from bdops.core.result import Column, Report, Table
from bdops.core.units import plural

_DIRECTORIES = (
    Column("directory"),
    Column("snapshots"),
    Column("limit", "of"),
    Column("used", "", "bar"),
)
_CHANGES = (
    Column("kind", "change"),
    Column("path"),
    Column("target", "now at"),
    Column("what"),
    Column("files"),
    Column("size_bytes", "size", "bytes"),
)
_TOTALS = (Column("kind", "change"), Column("changes"), Column("size_bytes", "size", "bytes"), Column("unsized"))


def difference(changes: Iterable[Change], *, listed: bool = True) -> Report:
    """The changes as they come (or none of them), then how many there were of each kind."""
    totals = Totals()

    def counted() -> Iterator[dict[str, Any]]:
        for c in changes:
            totals.add(c)
            yield {
                "kind": c.kind,
                "path": c.path or ".",
                "target": c.target,
                "what": c.what,
                "files": c.files,
                "size_bytes": c.size_bytes,
            }

    def sums() -> Iterator[dict[str, Any]]:
        if not listed:
            for _ in counted():
                pass
        for kind, count in sorted(totals.changes.items()):
            unsized = totals.unsized.get(kind, 0)
            yield {"kind": kind, "changes": count, "size_bytes": totals.size_bytes.get(kind), "unsized": unsized}

    tables = [Table(name="totals", columns=_TOTALS, rows=sums(), empty="no changes")]
    if listed:
        tables.insert(0, Table(name="changes", columns=_CHANGES, rows=counted(), empty="no changes"))
    return Report(tables=tuple(tables))


def directories(roots: Iterable[SnapshotRoot]) -> Report:
    """The directories of which snapshots may be made."""
    rows = [
        {"directory": r.path, "snapshots": r.snapshots, "limit": r.limit, "used": r.snapshots / max(1, r.limit)}
        for r in roots
    ]
    return Report(
        summary=f"snapshots may be made of {plural(len(rows), 'directory', 'directories')}",
        tables=(Table(name="directories", columns=_DIRECTORIES, rows=rows, empty="none"),),
    )
