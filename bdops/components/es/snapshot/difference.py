"""What differs between two snapshots, or between a snapshot and the cluster: indices, and the global state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bdops.components.es.snapshot.global_state import PARTS, Difference, Noted, global_differences

INDICES = "indices"
ALL_PARTS = (INDICES, *PARTS)
MERGED, MERGED_BYTES = 0.5, 1 << 20
"""Bytes of a live index that differ by less than this part, or by fewer than so many, are no difference: segments are
merged all the time, deleted documents go with them, and what was before a merge stays until all copies have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSize:
    """An index in a snapshot, or a live one: its primary shards and their bytes; None where that is not known."""

    shards: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared. `state` is None when none is known, and `why_not` says why.

    `without`: it has no global state at all, so that none is to be compared. `live`: it is the cluster as it is.
    """

    name: str
    indices: Mapping[str, IndexSize]
    state: Noted | None = None
    without: bool = False
    live: bool = False
    why_not: str = ""


def differences(before: Side, after: Side, parts: tuple[str, ...] = ALL_PARTS) -> tuple[list[Difference], list[str]]:
    """From the one to the other, by part and name; and what could not be compared, with why."""
    live = before.live or after.live
    found = _of_indices(before.indices, after.indices, live=live) if INDICES in parts else []
    wanted = [part for part in PARTS if part in parts]
    if not wanted or before.without or after.without:
        return found, []
    if before.state is None or after.state is None:
        return found, [side.why_not for side in (before, after) if side.state is None]
    differ, unread = global_differences(before.state.state, after.state.state)
    found += [d for d in differ if d.part in wanted]
    return found, [f"{part}: it may not be read" for part in unread if part in wanted]


def _of_indices(before: Mapping[str, IndexSize], after: Mapping[str, IndexSize], *, live: bool) -> list[Difference]:
    found: list[Difference] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            there = new or old
            size = there.size_bytes if there else None
            told = "an index" if size is None else size
            what = "" if size is None else "bytes"
            sides = (None, told) if old is None else (told, None)
            found.append(Difference(part=INDICES, name=name, what=what, before=sides[0], after=sides[1]))
            continue
        for what, a, b in (("shards", old.shards, new.shards), ("bytes", old.size_bytes, new.size_bytes)):
            if a is None or b is None or a == b:
                continue
            if not live or what == "shards" or abs(a - b) > max(MERGED * max(a, b), MERGED_BYTES):
                found.append(Difference(part=INDICES, name=name, what=what, before=a, after=b))
    return found
