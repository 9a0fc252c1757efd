"""The journal of a job: append-only JSON lines, on the disk before the act that they announce.

Format: docs/journal.md. A line that was cut off by a crash is the last one, and is dropped when it is read.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bdops.errors import ConfigError, OperationFailed

Event = Mapping[str, Any]
"""`n` counts from 1, `at` is UTC in ISO 8601, `event` is its kind; the rest depends on the kind."""


class Journal:
    """One job's journal, open for appending: by one process at a time (the job's lock), from any of its threads."""

    def __init__(self, path: Path, on_event: Callable[[Event], None] = lambda event: None) -> None:
        """Raises OperationFailed (JOURNAL_UNWRITABLE) when the file cannot be written."""
        self.path = path
        self._on_event = on_event
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.events: list[Event] = list(read_journal(path))
            self._end = _whole_lines(path)
            os.ftruncate(self._file, self._end)
        except OSError as e:
            raise self._unwritable(e) from None

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event and wait until it is on the disk.

        Raises OperationFailed (JOURNAL_UNWRITABLE) when that fails; nothing of the event is left in the file
        then, and what it announces must not be done.
        """
        with self._lock:
            entry = {"n": len(self.events) + 1, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
            entry |= {"event": event, **fields}
            line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._file, line[written:])
                os.fsync(self._file)
            except OSError as e:
                # A torn line would hide what comes after it.
                os.ftruncate(self._file, self._end)
                raise self._unwritable(e) from None
            self._end += len(line)
            self.events.append(entry)
        self._on_event(entry)
        return entry

    def close(self) -> None:
        os.close(self._file)

    def _unwritable(self, error: OSError) -> OperationFailed:
        return OperationFailed(
            f"the journal cannot be written: {error.strerror}; without it nothing more is done",
            where=str(self.path),
            hint="make room or mend the file system, then `bdops jobs resume`",
            code="JOURNAL_UNWRITABLE",
        )


def read_journal(path: Path) -> list[Event]:
    """The events so far; none when there is no file. Raises ConfigError (JOURNAL_DAMAGED) for any other line."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    events = []
    lines = raw.split(b"\n")
    # What follows the last newline was being written when its writer died.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            event = json.loads(line)
            if event["n"] != number or not isinstance(event["event"], str):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise ConfigError(
                "the journal is damaged: this line is no event of it",
                where=f"{path}:{number}",
                hint="`bdops doctor` shows what the job may have left on the cluster",
                code="JOURNAL_DAMAGED",
            ) from None
        events.append(event)
    return events


def _whole_lines(path: Path) -> int:
    """The size of the file without a last line that was cut off."""
    return path.read_bytes().rfind(b"\n") + 1
