"""Which replicas leave a broker so that an exact sum of bytes goes, and so many replicas.

A broker's replicas are split at the mean size into small and large; of each class a systematic sample is taken (every
so many of them in order of size), which leaves a picture of the whole with the same shape; then the sum is trimmed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.work import Work

_MOST_OF_FOLLOWERS = 0.9
"""Followers alone are sampled (one that moves is no leader change) unless more than this part of them would go."""


def sample_all(work: Work, out: NDArray[np.float64]) -> NDArray[np.int64]:
    """The slots that leave, of all brokers; of each broker a little more than `out`, of the first aim."""
    counts = next((number for number, aim in enumerate(work.aims) if aim.name == "count"), None)
    split = float(work.size.mean())
    chosen: list[NDArray[np.int64]] = []
    for broker in np.flatnonzero(out > 0).tolist():
        slots = work.slots_of(broker)
        if work.aims[0].name != "bytes":
            chosen.append(_cheapest(work, slots, float(out[broker])))
            continue
        between = (0.0, np.inf)
        if counts is not None and counts > 0:
            load = work.load[counts, broker]
            between = (load - work.high[counts, broker], load - work.low[counts, broker])
        chosen.append(_two_classes(work, slots, float(out[broker]), between, split))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def _cheapest(work: Work, slots: NDArray[np.int64], out: float) -> NDArray[np.int64]:
    """The replicas that weigh most for their bytes, up to the sum."""
    rows = slots // work.width
    weight, size = work.weights[0, rows], work.size[rows]
    order = np.argsort(size / np.maximum(weight, 1e-12), kind="stable")
    reached = np.cumsum(weight[order])
    return slots[order[: int(np.searchsorted(reached, out)) + 1]]


def _two_classes(
    work: Work, slots: NDArray[np.int64], out: float, between: tuple[float, float], split: float
) -> NDArray[np.int64]:
    rows = slots // work.width
    size = work.size[rows].astype(np.float64)
    total = float(size.sum())
    if out >= total:
        return slots
    at = work.flat[slots]
    leader = np.where(work.layout.leader[rows] >= 0, work.layout.leader[rows], work.origin[rows, 0])
    followers = at != leader
    if float(size[followers].sum()) * _MOST_OF_FOLLOWERS > out:
        pool = np.flatnonzero(followers)
    else:
        pool = np.arange(len(slots))
    sizes = size[pool]
    cut = int(np.searchsorted(sizes, split))
    small, large = sizes[:cut], sizes[cut:]
    wanted = float(np.clip(out * len(slots) / total, *between))
    part_small, part_large = _parts(small, large, out, wanted)
    of_small, of_large = systematic(np.full(len(small), part_small)), systematic(np.full(len(large), part_large))
    picked = np.concatenate([of_small, cut + of_large])
    return slots[pool[_trim(sizes, picked, out)]]


def _parts(small: NDArray[np.float64], large: NDArray[np.float64], out: float, wanted: float) -> tuple[float, float]:
    """The parts of both classes that make up the bytes, and as nearly as can be the number wanted."""
    bytes_small, bytes_large = float(small.sum()), float(large.sum())
    even = min(out / max(bytes_small + bytes_large, 1.0), 1.0)
    matrix = np.array([[bytes_small, bytes_large], [float(len(small)), float(len(large))]])
    if not bytes_small or not bytes_large or abs(np.linalg.det(matrix)) < 1e-9:
        return even, even
    part_small = float(np.clip(np.linalg.solve(matrix, np.array([out, wanted]))[0], 0.0, 1.0))
    part_large = float(np.clip((out - part_small * bytes_small) / bytes_large, 0.0, 1.0))
    part_small = float(np.clip((out - part_large * bytes_large) / bytes_small, 0.0, 1.0))
    return part_small, part_large


def systematic(parts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indexes of a systematic sample, each with its own probability: where the running sum passes k - 0.5."""
    ticks = np.floor(np.concatenate([[0.0], np.cumsum(parts)]) + 0.5)
    return np.flatnonzero(np.diff(ticks) > 0)


def _trim(sizes: NDArray[np.float64], picked: NDArray[np.int64], out: float) -> NDArray[np.int64]:
    """Change the choice (indexes into ascending `sizes`) until its sum is the least above `out` that is easily had."""
    taken = np.zeros(len(sizes), dtype=np.bool_)
    taken[picked] = True
    over = float(sizes[taken].sum()) - out
    for _ in range(64):
        inside = np.flatnonzero(taken)
        fits = int(np.searchsorted(sizes[inside], over, side="right"))
        if over <= 0 or not fits:
            break
        taken[inside[fits - 1]] = False
        over -= float(sizes[inside[fits - 1]])
    for _ in range(64):
        if over >= 0:
            break
        outside = np.flatnonzero(~taken)
        if not len(outside):
            break
        at = int(np.searchsorted(sizes[outside], -over, side="right"))
        # The largest that fits, until the smallest of all that fills the rest is no larger than twice the rest.
        ceiling = min(at, len(outside) - 1)
        if at == 0 or (ceiling == at and sizes[outside[at]] <= -1.02 * over):
            pick = outside[ceiling]
        else:
            pick = outside[at - 1]
        taken[pick] = True
        over += float(sizes[pick])
    for _ in range(64):
        # One that goes for one that is a little smaller: as much of what is over as one exchange can take off.
        inside, outside = np.flatnonzero(taken), np.flatnonzero(~taken)
        if over <= 0 or not len(inside) or not len(outside):
            break
        match = np.searchsorted(sizes[inside], sizes[outside] + over, side="right") - 1
        less = np.where(match >= 0, sizes[inside[np.maximum(match, 0)]] - sizes[outside], 0.0)
        most = int(np.argmax(less))
        if less[most] <= 0:
            break
        taken[inside[match[most]]], taken[outside[most]] = False, True
        over -= float(less[most])
    return np.flatnonzero(taken)
