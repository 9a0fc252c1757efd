"""Which replica comes second: who leads when a broker is lost.

When broker x goes, each row it led is led by the row's second. For given leaders the brokers x are independent of each
other, so the best seconds are one flow: row -> (x, v) -> sink, the price of a further row on (x, v) rising with what v
then leads. Evening out the leaders themselves comes first and is not touched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import Domains
from bdops.components.kafka.planner.flow import cheapest_flow, groups
from bdops.components.kafka.planner.model import Layout


def order_seconds(
    layout: Layout, replicas: NDArray[np.int16], where: Domains, free: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], list[str]]:
    """The rows with the seconds that make leaders most even after the loss of any one broker, and what is reached.

    The leaders (first of each row) stay. Only receivers are seconds where a row has another one.
    """
    brokers = len(layout.brokers)
    leads = np.bincount(replicas[:, 0], minlength=brokers)
    if replicas.shape[1] < 2:
        return replicas, []
    able = replicas >= 0
    able[:, 0] = False
    preferred = able & where.receivers[replicas]
    some = preferred.any(axis=1)
    able[some] = preferred[some]
    fixed = np.flatnonzero(~free & (replicas[:, 1] >= 0))
    taken = np.bincount(replicas[fixed, 0].astype(np.int64) * brokers + replicas[fixed, 1], minlength=brokers**2)
    rows = np.flatnonzero(free & (able.sum(axis=1) > 1))
    lone = np.flatnonzero(free & (able.sum(axis=1) == 1))
    only = able[lone].argmax(axis=1)
    taken += np.bincount(replicas[lone, 0].astype(np.int64) * brokers + replicas[lone, only], minlength=brokers**2)
    second = np.ones(len(replicas), dtype=np.int64)
    second[lone] = only
    if len(rows):
        second[rows] = _seconds(replicas[rows], able[rows], leads, taken.reshape(brokers, brokers))
    columns = np.arange(replicas.shape[1])[None, :]
    rank = np.where(columns == second[:, None], 0, columns + 1)
    rank[:, 0] = -1
    placed = np.take_along_axis(replicas, np.argsort(rank, axis=1, kind="stable"), axis=1)
    return placed, _reached(layout, placed, where, leads)


def _seconds(
    replicas: NDArray[np.int16], able: NDArray[np.bool_], leads: NDArray[np.int64], taken: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The column of each row's second."""
    brokers, rows = len(leads), len(replicas)
    row, column = np.nonzero(able)
    cell = replicas[row, 0].astype(np.int64) * brokers + replicas[row, column]
    cells, at = np.unique(cell, return_inverse=True)
    cell_lost, cell_next = cells // brokers, cells % brokers
    # Where a row's second is now costs nothing, so that a second plan changes nothing.
    change = (column != 1).astype(np.int64)
    most = np.bincount(at, minlength=len(cells))
    share = np.bincount(replicas[:, 0], minlength=brokers) // max(brokers - 1, 1)
    under = leads[cell_next] + taken[cell_lost, cell_next]
    floor = np.full(brokers, np.iinfo(np.int64).max)
    np.minimum.at(floor, cell_lost, under)
    height = under - floor[cell_lost]
    nodes = rows + len(cells)
    sink = nodes + brokers
    step = 4 * brokers + 1
    parts = [(row, rows + at, np.ones(len(row), dtype=np.int64), change)]
    left = most.copy()
    for unit in range(int(share.max(initial=0)) * 3 + 8):
        open_ = left > 0
        if not open_.any():
            break
        parts.append(
            (
                rows + np.flatnonzero(open_),
                nodes + cell_lost[open_],
                np.ones(int(open_.sum()), dtype=np.int64),
                (height[open_] + unit) * step,
            )
        )
        left = left - open_
    open_ = left > 0
    parts.append(
        (
            rows + np.flatnonzero(open_),
            nodes + cell_lost[open_],
            left[open_],
            (height[open_] + int(share.max(initial=0)) * 3 + 8) * step,
        )
    )
    lost = np.bincount(replicas[:, 0], minlength=brokers)
    parts.append((nodes + np.arange(brokers), np.full(brokers, sink), lost, np.zeros(brokers, dtype=np.int64)))
    supply = np.zeros(sink + 1, dtype=np.int64)
    supply[:rows], supply[sink] = 1, -rows
    flow = cheapest_flow(supply, groups(*parts))
    if flow is None:
        raise AssertionError("every row has a second")
    taken_arc = flow.amount[: len(row)] > 0
    second = np.ones(rows, dtype=np.int64)
    second[row[taken_arc]] = column[taken_arc]
    return second


def _reached(layout: Layout, placed: NDArray[np.int16], where: Domains, leads: NDArray[np.int64]) -> list[str]:
    """What the most loaded broker leads after the worst loss, beside the even share then."""
    brokers = len(leads)
    has = placed[:, 1] >= 0
    heirs = np.bincount(placed[has, 0].astype(np.int64) * brokers + placed[has, 1], minlength=brokers**2).reshape(
        brokers, brokers
    )
    receivers = np.flatnonzero(where.receivers)
    if len(receivers) < 2:
        return []
    after = (leads[None, :] + heirs)[np.ix_(receivers, receivers)]
    after[np.arange(len(receivers)), np.arange(len(receivers))] = 0
    lost, most = np.unravel_index(int(after.argmax()), after.shape)
    share = int(leads.sum()) / (len(receivers) - 1)
    ids = layout.brokers.ids[receivers]
    if after[lost, most] <= np.ceil(share):
        return []
    told = (
        f"after the loss of broker {ids[lost]}, broker {ids[most]} leads {after[lost, most]} partitions;"
        f" the even share then is {share:.1f}"
    )
    return [told]
