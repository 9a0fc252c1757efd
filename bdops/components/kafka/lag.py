"""Consumer lag by Burrow's rules, as pure functions of a window of observations.

A threshold on the lag alone says little: a large lag that shrinks is well, a small one that nobody works on
is not. Burrow (LinkedIn) judges by how the committed offset and the lag move over a window. Three things
differ here. The samples are ours, not the commits: Kafka does not tell when an offset was committed. "No
commits any more" is therefore known from the group, which has no members. And there is a floor, below which
a lag is nobody's concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise

from bdops.components.kafka.state import Group, GroupSample, split_partition

MIN_SAMPLES = 3
"""Fewer observations are no trend."""


class Condition(Enum):
    """What a partition's consumption is like, in order of badness; a group is what its worst partition is."""

    OK = "ok"
    SHORT_WINDOW = "window too short"
    UNKNOWN = "unknown"
    LAGGING = "lagging"
    REWOUND = "rewound"
    STALLED = "stalled"
    STOPPED = "stopped"

    @property
    def rank(self) -> int:
        return _RANK[self]


_RANK = {c: i for i, c in enumerate(Condition)}


@dataclass(frozen=True, slots=True)
class Point:
    """One observation of one partition of one group. `end` is None when the log end was not known."""

    at: datetime
    committed: int
    end: int | None

    @property
    def lag(self) -> int | None:
        return None if self.end is None else max(0, self.end - self.committed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`floor`: lags of fewer records are well. `window_s`: how far back a judgement looks, and `enough_s`: how much
    of that there must be before a consumer is called stalled or lagging."""

    floor: int = 100
    window_s: float = 600
    enough_s: float = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """The judgement of one partition."""

    partition: str
    condition: Condition
    committed: int
    lag: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """The judgement of a group: its worst partition's. `lag` is the sum over partitions of known lag."""

    group: Group
    condition: Condition
    lag: int
    partitions: tuple[PartitionLag, ...]


def judged_partition(points: Sequence[Point], *, has_members: bool, rules: Rules) -> tuple[Condition, str]:
    """The condition of one partition and why, from its observations in order of time, the newest last.

    The rules in order: the lag is unknown; the lag is below the floor; the committed offset went back
    (REWOUND); nobody consumes (STOPPED); the lag was once below the floor in the window (OK); the window is
    too short to say more; the offset did not move (STALLED); the lag never shrank (LAGGING).
    """
    last = points[-1]
    lag = last.lag
    if lag is None:
        return Condition.UNKNOWN, "the partition's log end is not known"
    if lag < rules.floor or lag == 0:
        return Condition.OK, f"lag {lag}"
    window = _window(points, rules)
    highest = max(p.committed for p in window)
    if last.committed < highest:
        return Condition.REWOUND, f"committed {last.committed}, was {highest}; lag {lag}"
    span_s = (last.at - window[0].at).total_seconds()
    if not has_members:
        moved = [b.at for a, b in pairwise(window) if b.committed != a.committed]
        if moved and (last.at - moved[-1]).total_seconds() < rules.enough_s:
            return Condition.OK, f"lag {lag}; no members, committed just now"
        return Condition.STOPPED, f"lag {lag} and no members"
    lags = [p.lag for p in window if p.lag is not None]
    if min(lags) == 0 or min(lags) < rules.floor:
        return Condition.OK, f"lag {lag}, was {min(lags)}"
    if len(window) < MIN_SAMPLES or span_s < rules.enough_s:
        return Condition.SHORT_WINDOW, f"lag {lag}; {span_s:.0f} s are too short to judge"
    shrank = any(b < a for a, b in pairwise(lags))
    if window[0].committed == last.committed:
        if shrank:
            return Condition.OK, f"lag {lag}, was {lags[0]}: the log is shrinking"
        return Condition.STALLED, f"lag {lag}; committed {last.committed} for {span_s:.0f} s"
    if not shrank:
        return Condition.LAGGING, f"lag {lag}, was {lags[0]} {span_s:.0f} s ago, and never shrank"
    return Condition.OK, f"lag {lag}, was {lags[0]}"


def _window(points: Sequence[Point], rules: Rules) -> Sequence[Point]:
    """The points of the last `window_s`; at least MIN_SAMPLES of them where there are so many (checks run seldom)."""
    newest = points[-1].at
    recent = sum((newest - p.at).total_seconds() <= rules.window_s for p in points)
    return points[-max(recent, MIN_SAMPLES) :]


def judged_groups(groups: Iterable[Group], samples: Sequence[GroupSample], rules: Rules) -> tuple[GroupLag, ...]:
    """Every group, judged from the samples. A partition that the newest sample lacks is not the group's any more."""
    return tuple(_judged_group(g, samples, rules) for g in groups)


def _judged_group(group: Group, samples: Sequence[GroupSample], rules: Rules) -> GroupLag:
    newest: Mapping[str, tuple[int, int | None]] = samples[-1].offsets.get(group.name, {}) if samples else {}
    found = []
    for name in sorted(newest, key=split_partition):
        points = [Point(s.at, *s.offsets[group.name][name]) for s in samples if name in s.offsets.get(group.name, ())]
        condition, why = judged_partition(points, has_members=group.has_members, rules=rules)
        last = points[-1]
        found.append(PartitionLag(partition=name, condition=condition, committed=last.committed, lag=last.lag, why=why))
    return GroupLag(
        group=group,
        condition=max((p.condition for p in found), key=lambda c: c.rank, default=Condition.OK),
        lag=sum(p.lag or 0 for p in found),
        partitions=tuple(found),
    )


def window_s(samples: Sequence[GroupSample]) -> float:
    """How much time the samples span."""
    return (samples[-1].at - samples[0].at).total_seconds() if samples else 0.0
