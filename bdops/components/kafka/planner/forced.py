"""What must move or go whatever is balanced: drains, factors, rows with too many replicas in a rack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import violations
from bdops.components.kafka.planner.work import Work

_LEADER_STAYS = 0.02
"""How much fuller (in parts of its share) the broker of another replica must be before the leader is the one to go."""


def take_forced(work: Work) -> NDArray[np.int64]:
    """Take out what must leave; returns the slots to be filled, ascending.

    Copies beyond the wanted factor go for good, in the order of `_least_needed`.
    """
    _reduce(work)
    new = _missing(work)
    leaving = np.append(work.where.leaving, False)[work.replicas] & work.possible[:, None]
    slots = [np.flatnonzero(leaving.reshape(-1))]
    if len(slots[0]):
        work.take(slots[0])
    slots.append(_take_excess(work, slots[0]))
    slots.append(new)
    return np.sort(np.concatenate(slots))


def _missing(work: Work) -> NDArray[np.int64]:
    """The empty slots that rows with too few replicas want filled."""
    empty = work.replicas < 0
    short = np.where(work.possible, work.factors - (~empty).sum(axis=1), 0)
    wanted = empty & (np.cumsum(empty, axis=1) <= short[:, None])
    return np.flatnonzero(wanted.reshape(-1))


def _fullness(work: Work) -> NDArray[np.float64]:
    share = np.where(work.shares[0] > 0, work.shares[0], 1.0)
    return work.load[0] / share


def _reduce(work: Work) -> None:
    surplus = (work.replicas >= 0).sum(axis=1) - work.factors
    rows = np.flatnonzero(surplus > 0)
    for row in rows[np.argsort(-work.size[rows], kind="stable")].tolist():
        for _ in range(int(surplus[row])):
            work.take(np.array([_least_needed(work, row)], dtype=np.int64))


def _least_needed(work: Work, row: int) -> int:
    """The slot of the copy that is to go where a row has too many: in the order of `kept_copies`.

    Of those on receivers one in excess in a rack, then the fullest, the leader's only where it is much fuller: nowhere
    when nothing is to be made even.
    """
    columns = np.flatnonzero(work.replicas[row] >= 0)
    at = work.replicas[row, columns]
    where, leads = work.where, at == work.leader[row]
    group = np.select([where.leaving[at], ~work.layout.brokers.live[at], where.receivers[at]], [3, 2, 1], 0)
    rack = where.rack[at]
    crowded = np.where(group == 1, np.maximum((rack[:, None] == rack).sum(axis=1) - work.caps[row], 0), 0)
    full = np.where(group == 1, work.load[0, at] / np.maximum(work.shares[0, at], 1e-9), 0.0)
    full[leads] -= _LEADER_STAYS if group[leads].max(initial=0) == 1 and np.isfinite(work.high).any() else np.inf
    # The last key of lexsort counts most.
    order = np.lexsort((columns, full, crowded, group))
    return row * work.width + int(columns[order[-1]])


def _take_excess(work: Work, taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """One replica per excess in a rack (then in an update domain, where another place would be better)."""
    found: list[int] = []
    rows = np.flatnonzero((violations(work.replicas, work.where.rack, work.caps) > 0) & work.possible)
    for row in rows.tolist():
        while True:
            slot = _crowded(work, row, work.where.rack, int(work.caps[row]))
            if slot is None:
                break
            work.take(np.array([slot], dtype=np.int64))
            found.append(slot)
    if work.two_levels:
        worse = violations(work.replicas, work.where.update, work.update_caps) > 0
        busy = np.unique(np.concatenate([taken, np.array(found, dtype=np.int64)]) // work.width)
        worse[busy] = False
        for row in np.flatnonzero(worse & work.possible).tolist():
            slot = _crowded(work, row, work.where.update, int(work.update_caps[row]))
            if slot is not None and work.allowed(np.array([slot], dtype=np.int64)).any():
                work.take(np.array([slot], dtype=np.int64))
                found.append(slot)
    return np.array(found, dtype=np.int64)


def _crowded(work: Work, row: int, domain: NDArray[np.int32], cap: int) -> int | None:
    """The slot of the fullest receiver in a domain that holds more than the cap of a row; None when there is none."""
    columns = np.flatnonzero(work.replicas[row] >= 0)
    at = work.replicas[row, columns]
    held = np.bincount(domain[at])
    movable = (held[domain[at]] > cap) & work.where.receivers[at]
    if not movable.any():
        return None
    full = _fullness(work)[at] - _LEADER_STAYS * (at == work.leader[row])
    best = int(np.argmax(np.where(movable, full, -np.inf)))
    return row * work.width + int(columns[best])
