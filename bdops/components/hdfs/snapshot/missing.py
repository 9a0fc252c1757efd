"""What of a snapshot is not there any more, and what is there and differs: both trees side by side, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bdops.components.hdfs.snapshot.calls import Entry
from bdops.errors import UsageError

MAX_MISSING = 20_000
NAMED = 20

Entries = Callable[[str], Iterator[tuple[bytes, Entry]]]
"""A directory's entries by its path, in the order of the bytes of their names."""


@dataclass(slots=True)
class Missing:
    """`lost` are the topmost paths (relative, "" for all of it) that are not there any more, each with what it was.

    `differing` counts those that are there and are not the same; the first ones are named, and all that were `wanted`.
    """

    lost: list[tuple[str, Entry]] = field(default_factory=list)
    same: int = 0
    differing: int = 0
    named: list[str] = field(default_factory=list)
    wanted: dict[str, Entry] = field(default_factory=dict)


def missing(ours: Entries, theirs: Entries, wanted: frozenset[str] = frozenset()) -> Missing:
    """What the directory of a snapshot has and the live one has not. In memory is what is missing, and a page of each.

    `wanted` are relative paths of files that are to be found even where the live one differs. Two files are the same
    when inode, length and time of modification are; a copy with the length and time of its original counts as well.
    Raises UsageError when too much is missing for it to be brought back piece by piece.
    """
    found = Missing()
    folders = [""]
    while folders:
        folder = folders.pop()
        for name, ours_entry, theirs_entry in _both(ours(folder), theirs(folder)):
            path = f"{folder}/{name.decode('utf-8', 'replace')}".lstrip("/")
            if theirs_entry is None:
                found.lost.append((path, ours_entry))
                if len(found.lost) > MAX_MISSING:
                    raise UsageError(
                        f"more than {MAX_MISSING:,} files and directories are missing",
                        hint="restore beside (--to DIR) and rename, or name a smaller --path",
                    )
            elif ours_entry.kind == theirs_entry.kind == "dir":
                folders.append(path)
            elif is_same(ours_entry, theirs_entry):
                found.same += 1
            else:
                found.differing += 1
                if path in wanted and ours_entry.kind == theirs_entry.kind == "file":
                    found.wanted[path] = ours_entry
                elif len(found.named) < NAMED:
                    found.named.append(path)
    return found


def is_same(ours: Entry, theirs: Entry) -> bool:
    """Whether a live file is the one that is in the snapshot, or a copy of it that kept its time. Pure."""
    return (ours.kind, ours.size_bytes, ours.modified_ms) == (theirs.kind, theirs.size_bytes, theirs.modified_ms)


def _both(
    ours: Iterator[tuple[bytes, Entry]], theirs: Iterator[tuple[bytes, Entry]]
) -> Iterator[tuple[bytes, Entry, Entry | None]]:
    """Each of our entries with the other side's of the same name."""
    other = next(theirs, None)
    for name, entry in ours:
        while other is not None and other[0] < name:
            other = next(theirs, None)
        yield name, entry, other[1] if other is not None and other[0] == name else None
