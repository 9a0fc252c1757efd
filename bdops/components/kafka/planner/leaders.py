"""Which replica of each row comes first: leaders made even with the fewest leader changes.

Sets of replicas do not change. Rows that may be led by the same brokers and are led by the same one now are alike, so
they are one node of a flow: class of rows -> broker -> sink. Being outside the band has a price instead of a limit,
since even leaders may be impossible; what is left is told. Rates per leader are no flow: a local search evens them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner import domains as rules
from bdops.components.kafka.planner.cycle_canceling import has_negative_cycle
from bdops.components.kafka.planner.flow import cheapest_flow, groups
from bdops.components.kafka.planner.load_prices import priced
from bdops.components.kafka.planner.model import Layout, Request
from bdops.components.kafka.planner.placement import LIMIT, Slots
from bdops.components.kafka.planner.rates import even_rates
from bdops.components.kafka.planner.rows import as_wide
from bdops.components.kafka.planner.seconds import order_seconds

GRADES = 40
"""Steps of distance from the band that have a price each: 1, 1, ... near it, then 1, 2, 4, ... replicas."""

MOST_CLASSES = 40_000
"""Classes of rows up to which all are asked at once; beyond, a part of them that is then proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderPlacement:
    """Rows with their leaders first. `changes` counts leaders that differ from those now (`layout.leader`).

    `least_changes` is a proved floor of the changes for leaders as even as these. `optimal`: no placement is
    more even, and none as even changes fewer leaders. `residual`: what is not even, one sentence each.
    """

    replicas: NDArray[np.int16]
    changes: int
    least_changes: int
    optimal: bool
    residual: tuple[str, ...] = ()


def place_leaders(layout: Layout, replicas: NDArray[np.int16], request: Request) -> LeaderPlacement:
    """The rows of a plan ([rows, width], sets as they shall be) in the order that puts their leaders first.

    With "leaders" in `request.balance` their number is made even over the receivers, within its tolerance; with
    "bytes-in" the rate of the rows that each leads. With neither only rows that the plan changes, or whose first must
    not lead, are ordered: the leader stays where it can. Draining, dead and excluded brokers lead where no other can.
    """
    where = rules.domains(layout, request)
    free = rules.free_rows(layout, request)
    current = rules.current_leaders(layout)
    able = _able(layout, replicas, where, free)
    even = "leaders" in request.balance
    if even or "bytes-in" in request.balance:
        rows = np.flatnonzero(free)
    else:
        width = max(layout.replicas.shape[1], replicas.shape[1])
        same = (as_wide(layout.replicas, width) == as_wide(replicas, width)).all(axis=1)
        rows = np.flatnonzero(free & ~(same & able[:, 0]))
    first = np.zeros(len(replicas), dtype=np.int64)
    residual: list[str] = []
    loads = np.bincount(
        replicas[np.setdiff1d(np.arange(len(replicas)), rows, assume_unique=True), 0], minlength=len(layout.brokers)
    )
    low, high = _band(len(replicas), where.receivers, request.tolerance.get("leaders", 0.0))
    proved = True
    if len(rows):
        first[rows], proved = _chosen(
            replicas[rows], able[rows], current[rows], loads, where.receivers, low, high, even
        )
    placed = _to_front(replicas, first)
    if "bytes-in" in request.balance and layout.bytes_in is not None:
        placed, told = even_rates(layout, placed, _able_sorted(placed, replicas, able), current, request, where, free)
        residual += told
        proved = False
    if even:
        residual += _uneven(layout, placed, where.receivers, low, high)
    if request.survive_loss:
        placed, told = order_seconds(layout, placed, where, free)
        residual += told
    changes = int((placed[:, 0] != current).sum())
    forced = int((~(able & (replicas == current[:, None])).any(axis=1) & free).sum())
    return LeaderPlacement(
        replicas=placed,
        changes=changes,
        least_changes=changes if proved else forced,
        optimal=proved,
        residual=tuple(residual),
    )


def _able_sorted(placed: NDArray[np.int16], replicas: NDArray[np.int16], able: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`able` of the columns of `replicas`, for the same rows in another order."""
    out = np.zeros_like(able)
    for column in range(replicas.shape[1]):
        out |= (placed == replicas[:, column, None]) & able[:, column, None]
    return out & (placed >= 0)


def _able(
    layout: Layout, replicas: NDArray[np.int16], where: rules.Domains, free: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which replicas of each row may lead: receivers, else live ones, else any; of rows not free the first alone."""
    there = replicas >= 0
    able = there & where.receivers[replicas]
    for fallback in (
        there & layout.brokers.live[replicas] & ~where.leaving[replicas],
        there & layout.brokers.live[replicas],
        there,
    ):
        none = ~able.any(axis=1)
        able[none] = fallback[none]
    able[~free] = False
    able[~free, 0] = True
    return able


def _band(rows: int, receivers: NDArray[np.bool_], tolerance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    share = np.where(receivers, rows / max(int(receivers.sum()), 1), 0.0)
    return rules.band(share, receivers, tolerance)


def _chosen(
    replicas: NDArray[np.int16],
    able: NDArray[np.bool_],
    current: NDArray[np.int16],
    loads: NDArray[np.int64],
    receivers: NDArray[np.bool_],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    even: bool,
) -> tuple[NDArray[np.int64], bool]:
    """The column of the leader of each row, and whether no choice is better."""
    brokers = len(loads)
    candidates = np.sort(np.where(able, replicas, np.int16(brokers)), axis=1)
    stays = (able & (replicas == current[:, None])).any(axis=1)
    leader = np.where(stays, current, np.int16(brokers))
    sets = np.concatenate([candidates, leader[:, None]], axis=1)
    first_of, members = _classes(sets, brokers + 1)
    classes = _Classes(candidates=candidates[first_of], leader=leader[first_of], size=np.bincount(members))
    out = priced(low, high, loads, most=len(replicas), units=GRADES // 2, grades=GRADES // 2)
    # Others lead only what no receiver can lead, so there is nothing to make even among them.
    price = np.where(receivers[:, None], out.price, 0)
    # A cycle of exchanges passes each broker once and saves at most that many changes, or that many prices.
    worth, each = (brokers + 2, 1) if even else (1, 2 * int(np.abs(price).max(initial=1)) + 1)
    led, proved = _led(classes, replace(out, price=price * worth), each)
    # Within a class the rows are handed out in their order, those that change nothing first.
    change = classes.candidates != classes.leader[:, None]
    order = np.argsort(change, axis=1, kind="stable")
    leaders = np.repeat(
        np.take_along_axis(classes.candidates, order, axis=1).ravel(),
        np.take_along_axis(led, order, axis=1).ravel(),
    )
    chosen = np.empty(len(replicas), dtype=np.int16)
    chosen[np.argsort(members, kind="stable")] = leaders
    return (replicas == chosen[:, None]).argmax(axis=1), proved


@dataclass(frozen=True, slots=True, kw_only=True)
class _Classes:
    """Alike rows: who may lead them (padded with the number of brokers), who does (padding: must change), how many."""

    candidates: NDArray[np.int16]
    leader: NDArray[np.int16]
    size: NDArray[np.int64]


def _led(classes: _Classes, out: Slots, each: int) -> tuple[NDArray[np.int64], bool]:
    """How many rows of each class each candidate leads [classes, width], a change costing `each`; and is it proved.

    Of very many classes a part is asked at first: all others keep their leaders. The graph of brokers tells whether
    they should have been asked too.
    """
    brokers = len(out.least)
    stays = classes.candidates == classes.leader[:, None]
    now = np.bincount(classes.leader, weights=classes.size, minlength=brokers + 1)[:brokers].astype(np.int64)
    part = MOST_CLASSES
    while True:
        asked = _asked(classes, out, now, part)
        led = np.where(asked[:, None], 0, stays * classes.size[:, None])
        some, proved = _flow_of(classes, out, each, asked, led)
        led[asked] = some
        if asked.all() or (proved and not _can_improve(classes, out, each, led)):
            return led, proved
        part *= 8


def _asked(classes: _Classes, out: Slots, now: NDArray[np.int64], part: int) -> NDArray[np.bool_]:
    """The classes that may change leaders: those without one, and of each broker some that others could lead.

    Those are all that a broker with too few could take from one with too many, half as many again as it leads too
    many, and a fixed number.
    """
    if len(classes.size) <= part:
        return np.ones(len(classes.size), dtype=np.bool_)
    brokers = len(now)
    free = (out.price <= 0) & (out.size > 0)
    most = (out.size * free).sum(axis=1)
    wanting = np.append(now < (out.size * (out.price < 0)).sum(axis=1), False)
    asked = np.asarray(classes.leader == brokers)
    spare = (classes.candidates < brokers).sum(axis=1) > 1
    helps = np.asarray(wanting[classes.candidates].any(axis=1))
    index = np.flatnonzero(spare & ~asked)
    order = index[np.lexsort((index * 2654435761 % 2**32, ~helps[index], classes.leader[index]))]
    leader = classes.leader[order]
    rank = np.arange(len(order)) - np.searchsorted(leader, leader)
    excess = np.maximum(now - most, 0)
    quota = excess * 3 // 2 + part // (4 * brokers) + 20
    asked[order[(rank < quota[leader]) | (helps[order] & (excess[leader] > 0))]] = True
    return asked


def _flow_of(
    classes: _Classes, out: Slots, each: int, asked: NDArray[np.bool_], led: NDArray[np.int64]
) -> tuple[NDArray[np.int64], bool]:
    """The cheapest leaders of the classes asked, `led` telling what the others add to the brokers' loads."""
    brokers = len(out.least)
    candidates, leader, size = classes.candidates[asked], classes.leader[asked], classes.size[asked]
    count = len(size)
    of_class, column = np.nonzero(candidates < brokers)
    broker = candidates[of_class, column].astype(np.int64)
    change = (broker != leader[of_class]).astype(np.int64) * each
    gate, sink = count + np.arange(brokers), count + brokers
    parts = [(of_class, count + broker, size[of_class], change)]
    parts += [
        (gate, np.full(brokers, sink), out.size[:, slot], out.price[:, slot]) for slot in range(out.size.shape[1])
    ]
    supply = np.zeros(sink + 1, dtype=np.int64)
    supply[:count] = size
    supply[gate] = _load(classes, led, brokers)
    supply[sink] = -supply.sum()
    flow = cheapest_flow(supply, groups(*parts))
    if flow is None:
        raise AssertionError("leaders are always possible")
    some = np.zeros(candidates.shape, dtype=np.int64)
    some[of_class, column] = flow.amount[: len(broker)]
    return some, flow.proved


def _load(classes: _Classes, led: NDArray[np.int64], brokers: int) -> NDArray[np.int64]:
    load = np.bincount(classes.candidates.ravel(), weights=led.ravel(), minlength=brokers + 1)
    return np.rint(load[:brokers]).astype(np.int64)


def _can_improve(classes: _Classes, out: Slots, each: int, led: NDArray[np.int64]) -> bool:
    """Whether some cycle of exchanges of leaders, of any class, makes this cheaper."""
    brokers = len(out.least)
    weight = np.full((brokers + 1, brokers + 1), LIMIT, dtype=np.int64)
    change = (classes.candidates != classes.leader[:, None]).astype(np.int64) * each
    for source in range(led.shape[1]):
        leads = led[:, source] > 0
        for target in range(led.shape[1]):
            rows = np.flatnonzero(leads & (classes.candidates[:, target] < brokers))
            if source != target:
                pair = (classes.candidates[rows, source], classes.candidates[rows, target])
                np.minimum.at(weight, pair, change[rows, target] - change[rows, source])
    load = _load(classes, led, brokers)
    price, room = out.next_price(load)
    weight[:-1, -1] = np.where(room, price, LIMIT)
    price, may_leave = out.last_price(load)
    weight[-1, :-1] = np.where(may_leave, -price, LIMIT)
    return has_negative_cycle(weight)


def _classes(sets: NDArray[np.int16], base: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of each class of equal rows, and the class of each row. Entries are below `base`."""
    if sets.shape[1] * base.bit_length() < 63:
        key = np.zeros(len(sets), dtype=np.int64)
        for column in range(sets.shape[1]):
            key = key * base + sets[:, column]
        _, first_of, members = np.unique(key, return_index=True, return_inverse=True)
    else:
        _, first_of, members = np.unique(sets, axis=0, return_index=True, return_inverse=True)
    return first_of, members.reshape(-1)


def _to_front(replicas: NDArray[np.int16], first: NDArray[np.int64]) -> NDArray[np.int16]:
    """Rows with the replica in the column `first` moved to the front, the others in their order."""
    out = replicas.copy()
    rows = np.flatnonzero(first > 0)
    columns = np.arange(replicas.shape[1])[None, :]
    rank = np.where(columns == first[rows, None], -1, columns)
    out[rows] = np.take_along_axis(replicas[rows], np.argsort(rank, axis=1, kind="stable"), axis=1)
    return out


def _uneven(
    layout: Layout,
    placed: NDArray[np.int16],
    receivers: NDArray[np.bool_],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> list[str]:
    load = np.bincount(placed[:, 0], minlength=len(receivers))
    off = np.flatnonzero(receivers & ((load < low) | (load > high)))
    return [
        f"broker {layout.brokers.ids[broker]} leads {load[broker]} partitions, outside of {low[broker]} to"
        f" {high[broker]}: its replicas permit no better"
        for broker in off
    ]
