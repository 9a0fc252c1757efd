"""Which backups stay and which may go: one grammar for all components. Pure.

`24h 7d 4w 12m 3y`: of the last 24 hours that have a backup the newest of each stays, of the last 7 days likewise, and
so on. Hours and days without a backup do not count, so that a pause in taking them deletes nothing. Only good ones
count, whatever else there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

Bucket = Callable[[datetime], Hashable]

UNITS: Mapping[str, tuple[str, Bucket]] = {
    # An hour that the clock shows twice, when summer time ends, is two hours.
    "h": ("hour", lambda t: (t.date(), t.hour, t.utcoffset())),
    "d": ("day", lambda t: t.date()),
    "w": ("week", lambda t: t.isocalendar()[:2]),
    "m": ("month", lambda t: (t.year, t.month)),
    "y": ("year", lambda t: t.year),
}
"""By letter, from the shortest on: its name, and what is the same for two moments within one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many of each unit: `counts` by letter of UNITS, none of them zero."""

    counts: Mapping[str, int]

    def __str__(self) -> str:
        return " ".join(f"{self.counts[u]}{u}" for u in UNITS if u in self.counts)


def parse_keep(text: str) -> Keep:
    """`24h 7d 4w 12m`, in any order, each unit once. Raises ValueError with what is wrong."""
    counts: dict[str, int] = {}
    for word in text.replace(",", " ").split():
        match = re.fullmatch(r"(\d{1,6})([hdwmy])", word)
        if match is None:
            raise ValueError(f"{word!r} is not a number with h, d, w, m or y, such as 7d")
        unit, count = match[2], int(match[1])
        if unit in counts:
            raise ValueError(f"{word!r}: {UNITS[unit][0]}s are given twice")
        counts[unit] = count
    if not any(counts.values()):
        raise ValueError("nothing would be kept: give at least one number, such as 7d")
    return Keep(counts={u: n for u, n in counts.items() if n})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup as retention sees it. `taken_at` knows its zone.

    `good`: complete, so that it can be restored; `proved`: a restore of it was proved; `hold`: why somebody wants it
    kept; `needed`: why another thing cannot do without it (the next incremental copy).
    """

    id: str
    taken_at: datetime
    good: bool
    proved: bool = False
    hold: str | None = None
    needed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Whether a backup stays, with every reason; one that goes has one as well."""

    backup: Backup
    stays: bool
    reasons: tuple[str, ...]


def decide(backups: Iterable[Backup], keep: Keep, *, min_good: int, zone: tzinfo | None = None) -> tuple[Fate, ...]:
    """The fate of every backup, the newest first. `zone` is where days begin; None: this machine's, with the summer
    time of each moment.

    The same backups in another order have the same fates; what stays once, stays when it is asked again. At least
    `min_good` good ones stay, if there are as many, and the newest good and the newest proved one always. One that is
    not good goes as soon as a newer one is.
    """
    ordered = sorted(backups, key=lambda b: (b.taken_at, b.id), reverse=True)
    good = [b for b in ordered if b.good]
    reasons: dict[str, list[str]] = {b.id: [] for b in ordered}
    for unit, count in keep.counts.items():
        name, bucket = UNITS[unit]
        newest: dict[Hashable, Backup] = {}
        for backup in good:
            newest.setdefault(bucket(backup.taken_at.astimezone(zone)), backup)
        for number, backup in enumerate(list(newest.values())[:count], 1):
            reasons[backup.id].append(f"{name} {number} of {count}")
    if good:
        reasons[good[0].id].append("the newest good one")
    proved = next((b for b in good if b.proved), None)
    if proved:
        reasons[proved.id].append("the newest that a restore has proved")
    for backup in ordered:
        if backup.hold:
            reasons[backup.id].append(f"held: {backup.hold}")
        if backup.needed:
            reasons[backup.id].append(f"needed: {backup.needed}")
        if not backup.good and (not good or backup.taken_at > good[0].taken_at):
            reasons[backup.id].append("not good, and no good one is newer")
    staying = sum(1 for b in good if reasons[b.id])
    for backup in good:
        if staying >= min_good:
            break
        if not reasons[backup.id]:
            staying += 1
            reasons[backup.id].append(f"one of at least {min_good} good ones")
    return tuple(
        Fate(backup=b, stays=True, reasons=tuple(reasons[b.id]))
        if reasons[b.id]
        else Fate(backup=b, stays=False, reasons=("not good" if not b.good else f"not among {keep}",))
        for b in ordered
    )
