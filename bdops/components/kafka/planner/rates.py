"""Evens out the rate of the rows that each broker leads: a local search, as sums of unequal weights are no flow.

Each step hands one row from the broker furthest from its band, or to it, whatever lowers the distance of both brokers
from the band the most. The search ends in the band or where no single step helps: rows are not swapped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import Domains, band
from bdops.components.kafka.planner.model import Layout, Request

MOST_STEPS = 20_000


def even_rates(
    layout: Layout,
    replicas: NDArray[np.int16],
    able: NDArray[np.bool_],
    current: NDArray[np.int16],
    request: Request,
    where: Domains,
    free: NDArray[np.bool_],
) -> tuple[NDArray[np.int16], list[str]]:
    """Rows whose leaders' rates are within the tolerance of "bytes-in" where the search gets there, and what is not.

    With "leaders" also asked for, their number stays within its own band or comes no further out of it.
    """
    assert layout.bytes_in is not None
    rate = layout.bytes_in
    brokers = len(layout.brokers)
    placed = replicas.copy()
    count = max(int(where.receivers.sum()), 1)
    share = float(rate.sum()) / count
    tolerance = request.tolerance.get("bytes-in", 0.05)
    low, high = (1 - tolerance) * share, (1 + tolerance) * share
    load = np.bincount(placed[:, 0], weights=rate, minlength=brokers).astype(np.float64)
    leads = np.bincount(placed[:, 0], minlength=brokers)
    least, most = _leads(len(replicas), count, request)
    led: list[set[int]] = [set() for _ in range(brokers)]
    for movable in np.flatnonzero(free & (able.sum(axis=1) > 1)).tolist():
        led[placed[movable, 0]].add(movable)
    held: list[NDArray[np.int64]] = [
        np.flatnonzero(((placed == broker) & able).any(axis=1) & free) if where.receivers[broker] else np.zeros(0, int)
        for broker in range(brokers)
    ]
    stuck: set[int] = set()
    for _ in range(MOST_STEPS):
        off = np.where(where.receivers, np.maximum(load - high, low - load), -1.0)
        off[sorted(stuck)] = -1.0
        broker = int(off.argmax())
        if off[broker] <= 1e-9 * max(share, 1.0):
            break
        giving = load[broker] > high
        rows = np.array(sorted(led[broker]), dtype=np.int64) if giving else held[broker]
        if not giving:
            rows = rows[placed[rows, 0] != broker]
        choice = _step(placed, able, rate, load, leads, rows, broker, giving, (low, high, least, most), current, where)
        if choice is None:
            stuck.add(broker)
            continue
        stuck.clear()
        row, column = choice
        source, target = int(placed[row, 0]), int(placed[row, column])
        placed[row, [0, column]] = placed[row, [column, 0]]
        able[row, [0, column]] = able[row, [column, 0]]
        load[source] -= rate[row]
        load[target] += rate[row]
        leads[source] -= 1
        leads[target] += 1
        led[source].discard(row)
        led[target].add(row)
    out = np.flatnonzero(where.receivers & ((load > high * (1 + 1e-9)) | (load < low * (1 - 1e-9))))
    told = [
        f"broker {layout.brokers.ids[broker]} leads {load[broker]:.0f} bytes/s, outside of {low:.0f} to {high:.0f}"
        for broker in out
    ]
    return placed, told


def _leads(rows: int, receivers: int, request: Request) -> tuple[float, float]:
    """The fewest and most leaders that a broker may end with: the band of "leaders" where that is asked for too."""
    if "leaders" not in request.balance:
        return 0.0, float("inf")
    low, high = band(np.array([rows / receivers]), np.array([True]), request.tolerance.get("leaders", 0.0))
    return float(low[0]), float(high[0])


def _step(
    placed: NDArray[np.int16],
    able: NDArray[np.bool_],
    rate: NDArray[np.float64],
    load: NDArray[np.float64],
    leads: NDArray[np.int64],
    rows: NDArray[np.int64],
    broker: int,
    giving: bool,
    limits: tuple[float, float, float, float],
    current: NDArray[np.int16],
    where: Domains,
) -> tuple[int, int] | None:
    """The row and column whose lead lowers the distance of two brokers from the band the most; None when none does."""
    low, high, least, most = limits
    if not len(rows):
        return None
    target = placed[rows]
    may = able[rows] & where.receivers[target]
    may[:, 0] = False
    if not giving:
        may &= target == broker
    source = placed[rows, 0]
    may &= (leads[target] < most) & (leads[source] > least)[:, None]
    amount = rate[rows][:, None]

    def distance(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(np.maximum(value - high, low - value), 0.0)

    before = distance(load[source])[:, None] + distance(load[target])
    after = distance(load[source][:, None] - amount) + distance(load[target] + amount)
    gain = np.where(may, before - after, -1.0)
    # Of equal gains the one that gives a leader back to where it is now, then the lowest row.
    best = float(gain.max(initial=-1.0))
    if best <= 1e-9 * max(high, 1.0):
        return None
    equal = gain >= best * (1 - 1e-12)
    back = equal & (target == current[rows][:, None])
    place = int((back if back.any() else equal).argmax())
    return int(rows[place // gain.shape[1]]), place % gain.shape[1]
