"""Where replicas that were taken out go: largest first, to the feasible broker with the largest part of its quota left.

The part, not the amount: by the amount new brokers would take all the large ones and the others starve.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.work import Work

_BLOCK = 256
"""So many replicas without a place are looked at together."""
_REOPEN = 0.7
"""A broker that a replica did not fit into is looked at again when the replicas are this part as large."""


def place(
    work: Work,
    slots: NDArray[np.int64],
    into: NDArray[np.float64],
    preferred: NDArray[np.int64] | None = None,
    of_large: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Place taken-out slots by the quotas `into` (of the first aim); returns those for which there is no place.

    `preferred` [slots] is the rack each is meant for, -1 for none. Large ones first; the quotas are set anew before
    the small ones, each class with the part of the quota that leaves its broker's count in the middle of its band (or
    `of_large`, if given, for the large ones).
    """
    if not len(slots):
        return slots
    rows = slots // work.width
    weight = work.weights[0, rows]
    order = np.lexsort((slots, -weight))
    slots, rows, weight = slots[order], rows[order], weight[order]
    wish = np.full(len(slots), -1, dtype=np.int64) if preferred is None else preferred[order]
    large = int(np.searchsorted(-weight, -float(work.weights[0].mean()), side="right"))
    target = work.load[0] + into
    quota = _large_part(work, into, weight[:large], weight[large:]) if of_large is None else of_large
    left = [_place_class(work, slots[:large], wish[:large], quota)]
    rest = np.where(into > 0, np.maximum(target - work.load[0], 0.0), 0.0)
    left.append(_place_class(work, slots[large:], wish[large:], rest))
    return np.concatenate(left)


def _large_part(
    work: Work, into: NDArray[np.float64], large: NDArray[np.float64], small: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The part of each quota to be filled with large replicas, so that the counts come out within their bands."""
    total_large, total_small = float(large.sum()), float(small.sum())
    if not total_large:
        return np.zeros_like(into)
    even = total_large / (total_large + total_small)
    counts = next((number for number, aim in enumerate(work.aims) if aim.name == "count"), None)
    if counts is None or not total_small or counts == 0:
        return into * even
    per_large, per_small = total_large / len(large), total_small / len(small)
    natural = into * (even / per_large + (1 - even) / per_small)
    load, low, high = work.load[counts], work.low[counts], work.high[counts]
    inset = 0.1 * (high - low)
    wanted = np.clip(natural, low + inset - load, high - inset - load)
    # Of a quota q: x / per_large + (q - x) / per_small = wanted.
    part = (into / per_small - wanted) / (1 / per_small - 1 / per_large) if per_large > per_small else into * even
    part = np.clip(part, 0.0, into)
    for _ in range(20):
        have = float(part.sum())
        if have <= 0 or abs(have - total_large) <= 1e-6 * total_large:
            break
        if have > total_large:
            part *= total_large / have
        else:
            open_ = into - part
            part += open_ * min(1.0, (total_large - have) / max(float(open_.sum()), 1e-9))
    return part


def _place_class(
    work: Work, slots: NDArray[np.int64], wish: NDArray[np.int64], quota: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Place slots in the order given; what was placed is written to `work`, the rest returned."""
    rows = slots // work.width
    unique, inverse = np.unique(rows, return_inverse=True)
    replicas = work.replicas[unique].tolist()
    caps, update_caps = work.caps[unique].tolist(), work.update_caps[unique].tolist()
    group, groups = _groups(work)
    update = work.where.update.tolist()
    weights, sizes = work.weights[0, rows].tolist(), work.size[rows].tolist()
    remaining, room = quota.tolist(), work.room.tolist()
    slack = np.maximum(0.25 * (work.high[0] - np.maximum(work.low[0], 0.0)), 0.0)
    slack = np.where(np.isfinite(slack), slack, np.inf).tolist()
    heaps: list[list[tuple[float, int]]] = [[] for _ in range(groups)]
    for broker in np.flatnonzero((quota > 0) & work.where.receivers).tolist():
        heaps[group[broker]].append((-1.0, broker))
    for heap in heaps:
        heapq.heapify(heap)
    full_quota = quota.tolist()
    aside: list[tuple[float, tuple[float, int]]] = []
    placed, unplaced = [-1] * len(slots), []
    rackless, columns = groups - 1, (slots % work.width).tolist()
    for number, (index, weight, size, meant) in enumerate(
        zip(inverse.tolist(), weights, sizes, np.minimum(wish, rackless).tolist(), strict=True)
    ):
        if aside and weight < aside[0][0]:
            for _limit, entry in aside:
                heapq.heappush(heaps[group[entry[1]]], entry)
            aside.clear()
        row = replicas[index]
        cap = caps[index]
        others = [broker for broker in row if broker >= 0]
        held = [group[broker] for broker in others]
        if cap == 1:
            closed = set(held)
        else:
            closed = {rack for rack in held if held.count(rack) >= cap}
        closed.discard(rackless)
        best: tuple[float, int] | None = None
        best_group = -1
        wanted_groups = (meant,) if meant >= 0 and meant not in closed else range(groups)
        for rack in wanted_groups:
            if rack in closed:
                continue
            heap = heaps[rack]
            held_back: list[tuple[float, int]] = []
            while heap:
                entry = heap[0]
                broker = entry[1]
                if weight > remaining[broker] + slack[broker]:
                    heapq.heappop(heap)
                    aside.append((weight * _REOPEN, entry))
                elif (
                    broker in others
                    or size > room[broker]
                    or (work.two_levels and _crowds(update, others, broker, update_caps[index]))
                ):
                    heapq.heappop(heap)
                    held_back.append(entry)
                else:
                    if best is None or entry < best:
                        best, best_group = entry, rack
                    break
            for entry in held_back:
                heapq.heappush(heap, entry)
        if best is None:
            unplaced.append(number)
            continue
        broker = best[1]
        remaining[broker] -= weight
        room[broker] -= size
        heap = heaps[best_group]
        # What was held back was pushed again, so the top may be another one by now.
        if heap[0] is best or heap[0] == best:
            heapq.heapreplace(heap, (-remaining[broker] / full_quota[broker], broker))
        else:
            heap.remove(best)
            heap.append((-remaining[broker] / full_quota[broker], broker))
            heapq.heapify(heap)
        row[columns[number]] = broker
        placed[number] = broker
    _write(work, slots, np.array(placed, dtype=np.int64))
    return slots[unplaced]


def _groups(work: Work) -> tuple[list[int], int]:
    """Each broker's group and how many there are; the last is of those without a rack."""
    rack = work.layout.brokers.rack
    racks = int(rack.max(initial=-1)) + 1
    return np.where(rack >= 0, rack, racks).astype(np.int64).tolist(), racks + 1


def _crowds(update: list[int], others: list[int], broker: int, cap: int) -> bool:
    domain = update[broker]
    return sum(update[other] == domain for other in others) >= cap


def _write(work: Work, slots: NDArray[np.int64], placed: NDArray[np.int64]) -> None:
    done = placed >= 0
    slots, placed = slots[done], placed[done]
    rows = slots // work.width
    brokers = work.load.shape[1]
    back = (work.origin[rows] == placed[:, None]).any(axis=1)
    for number in range(len(work.aims)):
        work.load[number] += np.bincount(placed, weights=work.weights[number, rows], minlength=brokers)
    work.room -= np.bincount(placed, weights=np.where(back, 0, work.size[rows]), minlength=brokers)
    work.flat[slots] = placed


def place_anywhere(work: Work, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place what the quotas had no place for on the emptiest broker that is allowed; returns what has none at all."""
    slots = slots[np.lexsort((slots, -work.size[slots // work.width]))]
    spread = np.maximum(work.shares[0], 1e-9)
    left = []
    for start in range(0, len(slots), _BLOCK):
        block = slots[start : start + _BLOCK]
        seen: set[int] = set()
        for slot, allowed in zip(block.tolist(), work.allowed(block), strict=True):
            row, single = slot // work.width, np.array([slot], dtype=np.int64)
            if row in seen:
                allowed = work.allowed(single)[0]
            else:
                # The block's other rows have since taken room on disks, which a row needs not where it was before.
                fits = work.size[row] <= work.room
                fits[work.origin[row][work.origin[row] >= 0]] = True
                allowed = allowed & fits
            seen.add(row)
            if not allowed.any() and work.two_levels:
                # Racks come first: better two in an update domain than two in a rack, or one on a broker that leaves.
                allowed = work.allowed(single, update_domains=False)[0]
            if not allowed.any():
                left.append(slot)
                continue
            after = (work.load[0] + work.weights[0, row]) / spread
            work.move(slot, int(np.argmin(np.where(allowed, after, np.inf))))
    return np.array(left, dtype=np.int64)
