"""The recorded results of checks: a SQLite file in the user's state folder, bounded in age and bytes.

Several processes may record at once (write-ahead log); a reader never blocks them. Only its owner can read it.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bdops.core.changes import Sample, Series, sample_of
from bdops.core.checks import CheckResult, Severity
from bdops.core.trend import Recorded, thinned
from bdops.errors import ConfigError, OperationFailed

SCHEMA_VERSION = 1
KEPT_FOR = timedelta(days=35)
MAX_BYTES = 256 * 1024 * 1024
BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE series (id INTEGER PRIMARY KEY, subject TEXT NOT NULL, code TEXT NOT NULL, UNIQUE (subject, code));
CREATE TABLE result (
    series INTEGER NOT NULL, at REAL NOT NULL, severity TEXT NOT NULL, objects TEXT NOT NULL, summary TEXT NOT NULL,
    PRIMARY KEY (series, at)
) WITHOUT ROWID;
CREATE INDEX result_at ON result (at);
CREATE TABLE metric (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL, UNIQUE (series, name, unit)
);
CREATE TABLE value (
    metric INTEGER NOT NULL, at REAL NOT NULL, value REAL NOT NULL, PRIMARY KEY (metric, at)
) WITHOUT ROWID;
CREATE INDEX value_at ON value (at);
"""


class History:
    """What was recorded, in one file. Every method raises ConfigError when that is damaged or of a newer bdops."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def record(self, results: Sequence[CheckResult], at: datetime) -> None:
        """Add one run, and drop what is too old or too much. Raises OperationFailed when it cannot be written."""
        try:
            # SQLite gives its log and index the permissions of the file.
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as e:
            raise self._unwritable(e.strerror or str(e)) from None
        with self._opened() as db:
            moment = at.timestamp()
            db.execute("BEGIN IMMEDIATE")
            for result in results:
                self._add(db, result, moment, at)
            _drop_before(db, moment - KEPT_FOR.total_seconds())
            db.execute("COMMIT")
            while _used_bytes(db) > MAX_BYTES and (cut := _tenth(db)) is not None:
                db.execute("BEGIN IMMEDIATE")
                _drop_before(db, cut)
                db.execute("COMMIT")
            db.execute("PRAGMA incremental_vacuum").fetchall()

    def series(self, subjects: Collection[str], since: datetime) -> tuple[Series, ...]:
        """The samples of each check of the subjects, from the last run not later than `since` on; the oldest first."""
        if not self.file.exists():
            return ()
        with self._opened() as db:
            samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
            for number, subject, code in _series_of(db, subjects):
                rows = db.execute(
                    "SELECT at, severity, objects, summary FROM result WHERE series = ?1 AND at >= "
                    "coalesce((SELECT max(at) FROM result WHERE series = ?1 AND at <= ?2), ?2) ORDER BY at",
                    (number, since.timestamp()),
                )
                for at, severity, objects, summary in rows:
                    found = {name: Severity(word) for name, word in json.loads(objects).items()}
                    moment = datetime.fromtimestamp(at, UTC)
                    samples[subject, code].append(Sample(moment, Severity(severity), found, summary))
        return tuple(Series(subject, code, tuple(found)) for (subject, code), found in samples.items())

    def metrics(self, subjects: Collection[str], since: datetime) -> tuple[Recorded, ...]:
        """The values of each metric of the subjects since then, the oldest first; many are thinned to medians."""
        if not self.file.exists():
            return ()
        with self._opened() as db:
            found = []
            for series, subject, code in _series_of(db, subjects):
                for metric, name, unit in db.execute("SELECT id, name, unit FROM metric WHERE series = ?", (series,)):
                    points = db.execute(
                        "SELECT at, value FROM value WHERE metric = ? AND at >= ? ORDER BY at",
                        (metric, since.timestamp()),
                    ).fetchall()
                    found.append(Recorded(subject, code, name, unit, tuple(thinned(points))))
        return tuple(found)

    def _add(self, db: sqlite3.Connection, result: CheckResult, moment: float, at: datetime) -> None:
        db.execute("INSERT OR IGNORE INTO series (subject, code) VALUES (?, ?)", (result.subject, result.code))
        (series,) = db.execute(
            "SELECT id FROM series WHERE subject = ? AND code = ?", (result.subject, result.code)
        ).fetchone()
        sample = sample_of(result, at)
        objects = json.dumps({name: severity.value for name, severity in sample.objects.items()}, separators=(",", ":"))
        db.execute(
            "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?, ?)",
            (series, moment, sample.severity.value, objects, sample.summary),
        )
        for metric in (m for m in result.metrics if math.isfinite(m.value)):
            db.execute("INSERT OR IGNORE INTO metric (series, name, unit) VALUES (?, ?, ?)",
                       (series, metric.name, metric.unit))  # fmt: skip
            db.execute(
                "INSERT OR REPLACE INTO value SELECT id, ?, ? FROM metric WHERE series = ? AND name = ? AND unit = ?",
                (moment, metric.value, series, metric.name, metric.unit),
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.file, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
                self._prepare(db)
                yield db
        except sqlite3.OperationalError as e:
            raise self._unwritable(str(e)) from None
        except (sqlite3.DatabaseError, ValueError) as e:
            raise ConfigError(
                f"the recorded history is damaged: {e}",
                where=str(self.file),
                hint=f"a new one is begun once it is out of the way: mv {self.file} {self.file}.damaged",
                code="HISTORY_DAMAGED",
            ) from None

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"the recorded history has format {version}, and this bdops knows {SCHEMA_VERSION}",
                where=str(self.file),
                hint="it was written by a newer bdops: use that one, or another BDOPS_STATE_DIR",
                code="HISTORY_NEWER",
            )
        if version == 0:
            # Before the first table and outside of a transaction, or it has no effect.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")

    def _unwritable(self, why: str) -> OperationFailed:
        return OperationFailed(
            f"the history cannot be used: {why}",
            where=str(self.file),
            hint="make room, or set BDOPS_STATE_DIR to another folder",
            code="HISTORY_UNWRITABLE",
        )


def _series_of(db: sqlite3.Connection, subjects: Collection[str]) -> list[tuple[int, str, str]]:
    rows = db.execute("SELECT id, subject, code FROM series ORDER BY id").fetchall()
    return [row for row in rows if row[1] in subjects]


def _drop_before(db: sqlite3.Connection, moment: float) -> None:
    db.execute("DELETE FROM value WHERE at < ?", (moment,))
    db.execute("DELETE FROM result WHERE at < ?", (moment,))
    db.execute("DELETE FROM metric WHERE NOT EXISTS (SELECT 1 FROM value WHERE metric = metric.id)")
    db.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM result WHERE series = series.id)")


def _used_bytes(db: sqlite3.Connection) -> int:
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _tenth(db: sqlite3.Connection) -> float | None:
    """The time before which the oldest tenth of what is recorded lies; None when there is but one run."""
    first, last = db.execute("SELECT min(at), max(at) FROM result").fetchone()
    if first is None or first == last:
        return None
    return float(min(last, first + max((last - first) / 10, 0.001)))
