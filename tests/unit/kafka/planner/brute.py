"""The best plan of a tiny cluster by looking at all of them: what the planners are held against.

Plain Python that shares nothing with the planners. Each row has a list of the replica sets it might have, cut down to
those with the fewest violations; then row by row over all loads of the brokers that can come about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from bdops.components.kafka.planner.model import Layout, Request


@dataclass(frozen=True, slots=True)
class Best:
    """What the best plan reaches: sum over receivers of squared counts, bytes and replicas moved, leaders dropped."""

    squares: int
    moved_bytes: int
    moved_replicas: int
    leaders_dropped: int


def rows_of(layout: Layout) -> list[list[int]]:
    return [[int(b) for b in row if b >= 0] for row in layout.replicas]


def receivers_of(layout: Layout, request: Request) -> list[int]:
    return [
        b
        for b in range(len(layout.brokers))
        if layout.brokers.live[b] and b not in request.drain and b not in request.exclude
    ]


def excess(members: Iterable[int], domain: list[int], receivers: list[int], factor: int) -> int:
    """Replicas beyond the lowest cap under which a row of this factor fits the receivers' domains."""
    sizes: dict[int, int] = {}
    for broker in receivers:
        sizes[domain[broker]] = sizes.get(domain[broker], 0) + 1
    cap = next((c for c in range(1, factor) if sum(min(c, n) for n in sizes.values()) >= factor), max(factor, 1))
    counts: dict[int, int] = {}
    for broker in members:
        counts[domain[broker]] = counts.get(domain[broker], 0) + 1
    return sum(max(0, n - cap) for n in counts.values())


def _domains(layout: Layout) -> tuple[list[int], list[int]]:
    def own(column: Iterable[int]) -> list[int]:
        return [int(d) if d >= 0 else -1 - b for b, d in enumerate(column)]

    return own(layout.brokers.rack), own(layout.brokers.update_domain)


def violations(layout: Layout, request: Request, row: int, members: Iterable[int]) -> tuple[int, int]:
    """Replicas too many in racks, and in update domains."""
    members = list(members)
    rack, update = _domains(layout)
    receivers = receivers_of(layout, request)
    factor = factor_of(layout, request, row)
    return excess(members, rack, receivers, factor), excess(members, update, receivers, factor)


def is_free(layout: Layout, request: Request, row: int) -> bool:
    pinned = request.pinned is not None and bool(request.pinned[row])
    return not pinned and not (layout.busy is not None and bool(layout.busy[row]))


def factor_of(layout: Layout, request: Request, row: int) -> int:
    members = [b for b in layout.replicas[row] if b >= 0]
    topic = next(t for t in range(len(layout.topics)) if layout.first[t] <= row < layout.first[t + 1])
    return request.factors.get(topic, len(members)) if is_free(layout, request, row) else len(members)


def leader_of(layout: Layout, row: int) -> int:
    return int(layout.leader[row] if layout.leader[row] >= 0 else layout.replicas[row, 0])


def kept(layout: Layout, request: Request, row: int) -> list[int]:
    """What stays of a row on dead and excluded brokers: of too many copies the dead go first, then those on receivers,
    then those on excluded brokers; of alike ones the last in the row first, the leader after all others."""
    members = [int(b) for b in layout.replicas[row] if b >= 0]
    receivers = receivers_of(layout, request)
    stay = [b for b in members if b not in request.drain]
    leader = leader_of(layout, row)

    def rank(broker: int) -> tuple[int, bool, int]:
        group = 1 if broker in receivers else 0 if layout.brokers.live[broker] else 2
        return group, broker != leader, members.index(broker)

    stay.sort(key=rank)
    stay = stay[: factor_of(layout, request, row)]
    return [b for b in stay if b not in receivers]


def choices(layout: Layout, request: Request, row: int) -> list[frozenset[int]]:
    """The sets that a row may have, of those with the fewest violations; empty when there is none at all."""
    members = [int(b) for b in layout.replicas[row] if b >= 0]
    if not is_free(layout, request, row):
        return [frozenset(members)]
    receivers = receivers_of(layout, request)
    factor = factor_of(layout, request, row)
    held = kept(layout, request, row)
    found = [frozenset(held) | set(added) for added in combinations(receivers, factor - len(held))]
    found = [frozenset(f) for f in found]
    if not found:
        return []
    ranked = [(violations(layout, request, row, f), f) for f in found]
    least = min(v for v, _ in ranked)
    return [f for v, f in ranked if v == least]


def best(layout: Layout, request: Request, *, band: tuple[list[int], list[int]] | None = None) -> Best | None:
    """The best plan, None when a row has no choice. With `band` counts within it are wanted, else the least squares.

    Without "count" in `request.balance` counts do not matter and `squares` is 0.
    """
    brokers = len(layout.brokers)
    receivers = receivers_of(layout, request)
    states: dict[tuple[int, ...], tuple[int, int, int]] = {(0,) * brokers: (0, 0, 0)}
    for row, members in enumerate(rows_of(layout)):
        leader = leader_of(layout, row)
        size = int(layout.size_bytes[row])
        options = choices(layout, request, row)
        if not options:
            return None
        following: dict[tuple[int, ...], tuple[int, int, int]] = {}
        for load, cost in states.items():
            for option in options:
                moved = len(option - set(members))
                new = (cost[0] + moved * size, cost[1] + moved, cost[2] + (leader not in option))
                key = tuple(n + (b in option) for b, n in enumerate(load))
                if "count" not in request.balance:
                    key = load
                if key not in following or new < following[key]:
                    following[key] = new
        states = following

    def unevenness(load: tuple[int, ...]) -> int:
        if "count" not in request.balance:
            return 0
        if band is not None:
            return sum(max(0, band[0][b] - load[b], load[b] - band[1][b]) for b in receivers)
        return sum(load[b] ** 2 for b in receivers)

    load, cost = min(states.items(), key=lambda s: (unevenness(s[0]), s[1]))
    return Best(unevenness(load), *cost)


def least_leader_changes(
    rows: list[list[int]],
    able: list[list[int]],
    current: list[int],
    receivers: list[int],
    low: int,
    high: int,
    *,
    squares: bool = True,
) -> tuple[int, int, int]:
    """Over all choices of a leader of each row: replicas outside the band, squares of the loads, changes; the least.

    Without `squares` they are 0.
    """
    states: dict[tuple[int, ...], int] = {(0,) * (max(map(max, rows)) + 1 if rows else 1): 0}
    for candidates, now in zip(able, current, strict=True):
        following: dict[tuple[int, ...], int] = {}
        for load, changes in states.items():
            for leader in candidates:
                key = tuple(n + (b == leader) for b, n in enumerate(load))
                new = changes + (leader != now)
                if new < following.get(key, 10**9):
                    following[key] = new
        states = following

    def key_of(item: tuple[tuple[int, ...], int]) -> tuple[int, int, int]:
        load = [item[0][b] if b < len(item[0]) else 0 for b in receivers]
        outside = sum(max(0, low - n, n - high) for n in load)
        return outside, sum(n * n for n in load) if squares else 0, item[1]

    return min(map(key_of, states.items()))


def moves(before: list[list[int]], after: Iterable[Iterable[int]]) -> Iterator[int]:
    """How many replicas each row gains."""
    for old, new in zip(before, after, strict=True):
        yield len({int(b) for b in new if b >= 0} - set(old))


def best_spread(layout: Layout, request: Request, squares: int) -> tuple[int, int] | None:
    """The fewest bytes, then moves, with these squares of counts and every topic's replicas spread to plus or minus
    one of its part on each receiver (parts as the counts of the even plan are); None when that cannot be.

    For receivers that all end with the same share alone: None too where loads differ by more than one.
    """
    receivers = receivers_of(layout, request)
    topic_of = [int(t) for t in layout.topic_of()]
    states: dict[tuple[tuple[int, ...], ...], tuple[int, int]] = {
        tuple((0,) * len(receivers) for _ in layout.topics): (0, 0)
    }
    for row, members in enumerate(rows_of(layout)):
        following: dict[tuple[tuple[int, ...], ...], tuple[int, int]] = {}
        topic, size = topic_of[row], int(layout.size_bytes[row])
        for cells, cost in states.items():
            for option in choices(layout, request, row):
                moved = len(option - set(members))
                new = (cost[0] + moved * size, cost[1] + moved)
                cell = tuple(n + (b in option) for b, n in zip(receivers, cells[topic], strict=True))
                key = (*cells[:topic], cell, *cells[topic + 1 :])
                if key not in following or new < following[key]:
                    following[key] = new
        states = following
    found = []
    for cells, cost in states.items():
        load = [sum(column) for column in zip(*cells, strict=True)]
        if sum(n * n for n in load) != squares or max(load) - min(load) > 1:
            continue
        if all(max(cell) - min(cell) <= 1 for cell in cells):
            found.append(cost)
    return min(found, default=None)
