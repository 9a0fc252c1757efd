"""What a planner works on: a cluster's layout as columns, what is asked of it, and the proposal that comes out.

A replica is a number in an array, not an object: 2.8 million of them fit in tens of megabytes, and loads are
bincounts. Brokers are known by their *index* (position in `Brokers.ids`) everywhere inside the planner; broker
numbers appear at the edges (files, reports) alone. -1 stands for none: an empty place in a row of replicas, no
leader, no rack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["count", "bytes", "leaders", "bytes-in"]
"""What is made even over the brokers: replicas, bytes of replicas, leaders, bytes written per second to replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """The brokers, in the order of their numbers.

    `rack` is the fault domain (an index into `racks`), `update_domain` the second level (into `update_domains`); -1
    when not known, in which case a broker is a domain of its own. `live`: registered, not fenced. `total_bytes` is
    of all log directories together, 0 when unknown; `usable_bytes` what is free now.
    """

    ids: NDArray[np.int32]
    live: NDArray[np.bool_]
    rack: NDArray[np.int16]
    update_domain: NDArray[np.int16]
    total_bytes: NDArray[np.int64]
    usable_bytes: NDArray[np.int64]
    racks: tuple[str, ...] = ()
    update_domains: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDirs:
    """Log directories of all brokers: of the broker with an index, where, how large, and whether it is offline."""

    broker: NDArray[np.int16]
    paths: tuple[str, ...]
    total_bytes: NDArray[np.int64]
    usable_bytes: NDArray[np.int64]
    offline: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.broker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Every partition of a cluster as one row.

    Rows are sorted by topic (as in `topics`), then by number. `first[t]` is the first row of topic t, `first[-1]`
    the number of rows. `replicas` is [rows, widest replication factor] of broker indexes in order of preference,
    padded with -1; `leader` the current leader's index; `size_bytes` of one replica (its leader's log); `bytes_in`
    written per second; `dirs` [rows, width] the log directory (index into `log_dirs`) of each replica, -1 when
    unknown. `busy`: a reassignment of this row is under way, and it is left alone.
    """

    brokers: Brokers
    topics: tuple[str, ...]
    first: NDArray[np.int64]
    numbers: NDArray[np.int32]
    replicas: NDArray[np.int16]
    leader: NDArray[np.int16]
    size_bytes: NDArray[np.int64]
    bytes_in: NDArray[np.float64] | None = None
    busy: NDArray[np.bool_] | None = None
    log_dirs: LogDirs | None = None
    dirs: NDArray[np.int32] | None = None
    cluster: str = ""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def factors(self) -> NDArray[np.int16]:
        """The replication factor of every row."""
        return (self.replicas >= 0).sum(axis=1).astype(np.int16)

    def topic_of(self) -> NDArray[np.int32]:
        """The topic's index of every row."""
        return np.repeat(np.arange(len(self.topics), dtype=np.int32), np.diff(self.first))

    def partition(self, row: int) -> str:
        """`orders-3`, of a row."""
        topic = int(np.searchsorted(self.first, row, side="right")) - 1
        return f"{self.topics[topic]}-{self.numbers[row]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for. Without `balance` only violations and what is demanded (drains, factors) are carried out.

    `tolerance` maps each measure of `balance` to how far from the even share a broker may be, as a fraction (0.05);
    for counts and leaders 0 means to plus or minus one. `drain` are broker indexes to be emptied, `exclude` ones
    that receive nothing and keep what they have; `factors` the wanted replication factor by topic index; `pinned`
    rows are not touched; `watermark` is the part of a broker's disk that may be full *during* the move, when old
    and new copies coexist. `max_moves` and `max_move_bytes` bound the plan. `topic_spread` also evens each topic's
    replicas. `survive_loss`: leaders are to be even after the loss of any one broker too.
    """

    balance: tuple[Measure, ...] = ()
    tolerance: Mapping[Measure, float] = field(default_factory=dict)
    drain: frozenset[int] = frozenset()
    exclude: frozenset[int] = frozenset()
    factors: Mapping[int, int] = field(default_factory=dict)
    pinned: NDArray[np.bool_] | None = None
    watermark: float = 0.85
    max_moves: int | None = None
    max_move_bytes: int | None = None
    topic_spread: bool = False
    survive_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A proved floor of what any plan that does what is asked must move. `why` says how it was proved."""

    moved_replicas: int
    moved_bytes: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The new replicas of every row (same rows as the layout; as wide as the widest wanted factor).

    The first of a row is its preferred leader. `optimal`: proved to be the best by the order of goals of `Request`.
    `residual`: what of the request cannot be had, or was not reached, one sentence each, with numbers.
    """

    replicas: NDArray[np.int16]
    bound: Bound
    optimal: bool
    method: str
    residual: tuple[str, ...] = ()
