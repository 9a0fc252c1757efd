"""Synthetic clusters for the planner: seeded, skewed, and large ones in seconds.

Sizes are Pareto, brokers are loaded lognormally, one in twenty is empty
(just added), and one row in a thousand has two replicas in one rack. The same arguments give the same layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.model import Brokers, Layout, LogDirs

MIXED = {1: 0.1, 2: 0.2, 3: 0.6, 4: 0.1}
"""The part of the topics of each replication factor, where they are mixed."""


def layout(
    brokers: int,
    racks: int | Sequence[int],
    replicas: int,
    seed: int,
    *,
    factors: dict[int, float] | None = None,
    dirs: int = 0,
    smallest_bytes: int = 64 * 2**20,
    largest_bytes: int = 8 * 2**30,
    tail: float = 1.5,
    spread: float = 0.25,
    empty: float = 0.05,
    violating: float = 0.001,
    rates: bool = False,
    disk_use: float = 0.55,
) -> Layout:
    """A cluster of so many brokers and about so many replicas.

    `racks` is how many there are (brokers take turns), or how many brokers each has. `factors` gives the part of the
    topics of each replication factor (3 throughout if not given); `dirs` the log directories per broker (0: not
    known); `tail` the exponent of the sizes; `spread` the sigma of the brokers' lognormal loads; `empty` the part of
    them without replicas; `violating` the part of the rows with two replicas in one rack; `rates` adds bytes written
    per second, in part independent of the size; disks are so large that the average broker uses `disk_use` of its.
    """
    rng = np.random.default_rng(seed)
    rack = _racks(brokers, racks)
    factor, first, numbers = _topics(rng, replicas, factors or {3: 1.0})
    rows = len(numbers)
    weight = rng.lognormal(0.0, spread, brokers)
    weight[rng.permutation(brokers)[: round(empty * brokers)]] = 0.0
    placed = _place(rng, factor, rack, weight)
    _violate(rng, placed, rack, weight, violating)
    sizes = smallest_bytes * (rng.pareto(tail, rows) + 1)
    size_bytes = np.minimum(sizes, largest_bytes).astype(np.int64)
    load = np.bincount((placed + 1).ravel(), np.repeat(size_bytes, placed.shape[1]), minlength=brokers + 1)[1:]
    total = np.maximum(load * 1.15, load.mean() / disk_use).astype(np.int64)
    log_dirs, dir_of = _dirs(rng, placed, total, size_bytes, dirs)
    names = [f"topic-{number:06}" for number in range(len(first) - 1)]
    return Layout(
        brokers=Brokers(
            ids=np.arange(1, brokers + 1, dtype=np.int32),
            live=np.ones(brokers, dtype=np.bool_),
            rack=rack,
            update_domain=np.full(brokers, -1, dtype=np.int16),
            total_bytes=total,
            usable_bytes=total - load.astype(np.int64),
            racks=tuple(f"rack-{number:02}" for number in range(int(rack.max()) + 1)),
        ),
        topics=tuple(names),
        first=first,
        numbers=numbers,
        replicas=placed,
        leader=placed[:, 0].copy(),
        size_bytes=size_bytes,
        bytes_in=size_bytes / 86400 * rng.lognormal(0.0, 1.0, rows) if rates else None,
        log_dirs=log_dirs,
        dirs=dir_of,
        cluster="synthetic",
    )


def _racks(brokers: int, racks: int | Sequence[int]) -> NDArray[np.int16]:
    if isinstance(racks, int):
        return (np.arange(brokers) % racks).astype(np.int16)
    if sum(racks) != brokers:
        raise ValueError(f"racks of {sum(racks)} brokers, and there are {brokers}")
    return np.repeat(np.arange(len(racks)), racks).astype(np.int16)


def _topics(
    rng: np.random.Generator, replicas: int, factors: dict[int, float]
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int32]]:
    """The factor of each row, the first row of each topic, the number of each partition."""
    mean_factor = sum(factor * part for factor, part in factors.items()) / sum(factors.values())
    rows = round(replicas / mean_factor)
    counts: list[NDArray[np.int64]] = []
    while sum(int(part.sum()) for part in counts) < rows:
        counts.append(np.minimum((6 * (rng.pareto(1.2, 1000) + 1)).astype(np.int64), 500))
    sizes = np.concatenate(counts)
    ends = np.cumsum(sizes)
    sizes = sizes[: int(np.searchsorted(ends, rows)) + 1]
    sizes[-1] -= int(sizes.sum()) - rows
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    kinds = np.array(sorted(factors), dtype=np.int16)
    parts = np.array([factors[int(kind)] for kind in kinds])
    by_topic = rng.choice(kinds, len(sizes), p=parts / parts.sum())
    numbers = (np.arange(rows) - np.repeat(first[:-1], sizes)).astype(np.int32)
    return np.repeat(by_topic, sizes), first, numbers


def _place(
    rng: np.random.Generator, factor: NDArray[np.int16], rack: NDArray[np.int16], weight: NDArray[np.float64]
) -> NDArray[np.int16]:
    """Distinct brokers for each row by weight, in distinct racks as long as there are racks."""
    rows, width, racks = len(factor), int(factor.max()), int(rack.max()) + 1
    of_rack = np.bincount(rack, weight, minlength=racks)
    keys = rng.exponential(size=(rows, racks)) / np.maximum(of_rack, 1e-12)
    order = np.argsort(keys, axis=1)[:, : min(width, racks)]
    placed = np.full((rows, width), -1, dtype=np.int16)
    for number in range(racks):
        members = np.flatnonzero((rack == number) & (weight > 0))
        hit = order == number
        chosen = rng.choice(members, int(hit.sum()), p=weight[members] / weight[members].sum())
        placed[:, : order.shape[1]][hit] = chosen
    for column in range(racks, width):
        clash = np.ones(rows, dtype=np.bool_)
        while clash.any():
            placed[clash, column] = rng.choice(len(weight), int(clash.sum()), p=weight / weight.sum())
            clash = (placed[:, :column] == placed[:, column : column + 1]).any(axis=1)
    placed[np.arange(width) >= factor[:, None]] = -1
    return placed


def _violate(
    rng: np.random.Generator,
    placed: NDArray[np.int16],
    rack: NDArray[np.int16],
    weight: NDArray[np.float64],
    part: float,
) -> None:
    """Give a part of the rows a second replica in the first one's rack, in place."""
    rows = np.flatnonzero((rng.random(len(placed)) < part) & ((placed >= 0).sum(axis=1) > 1))
    for row in rows:
        near = np.flatnonzero((rack == rack[placed[row, 0]]) & (weight > 0))
        near = near[~np.isin(near, placed[row])]
        if len(near):
            placed[row, 1] = rng.choice(near)


def _dirs(
    rng: np.random.Generator,
    placed: NDArray[np.int16],
    total: NDArray[np.int64],
    size_bytes: NDArray[np.int64],
    dirs: int,
) -> tuple[LogDirs | None, NDArray[np.int32] | None]:
    """So many equal log directories per broker, unevenly filled."""
    if not dirs:
        return None, None
    brokers = len(total)
    skew = rng.lognormal(0.0, 0.2, (brokers, dirs))
    ends = np.cumsum(skew / skew.sum(axis=1, keepdims=True), axis=1)
    drawn = rng.random(placed.shape)
    which = np.minimum((drawn[:, :, None] > ends[placed]).sum(axis=2), dirs - 1)
    dir_of = np.where(placed >= 0, placed.astype(np.int32) * dirs + which, -1).astype(np.int32)
    used = np.bincount((dir_of + 1).ravel(), np.repeat(size_bytes, placed.shape[1]), minlength=brokers * dirs + 1)[1:]
    each = np.maximum(np.repeat(total // dirs, dirs), (used * 1.1).astype(np.int64))
    return (
        LogDirs(
            broker=np.repeat(np.arange(brokers), dirs).astype(np.int16),
            paths=tuple(f"/data/{number % dirs}" for number in range(brokers * dirs)),
            total_bytes=each,
            usable_bytes=each - used.astype(np.int64),
            offline=np.zeros(brokers * dirs, dtype=np.bool_),
        ),
        dir_of,
    )


if __name__ == "__main__":
    import time

    for arguments in [
        (100, [34, 33, 33], 60_000),
        (270, 6, 1_300_000),
        (270, [90, 60, 60, 60], 1_300_000),
        (215, 5, 2_800_000),
    ]:
        start = time.perf_counter()
        made = layout(*arguments, seed=1)
        load = np.bincount((made.replicas + 1).ravel(), np.repeat(made.size_bytes, made.replicas.shape[1]))[1:]
        print(
            f"{arguments}: {time.perf_counter() - start:.1f} s, {len(made):,} rows, {len(made.topics):,} topics, "
            f"{load.sum() / 1e12:.1f} TB, least {load.min() / load.mean():.2f}, most {load.max() / load.mean():.2f}, "
            f"largest replica {made.size_bytes.max() / load.mean():.2%} of a broker's share, mean "
            f"{made.size_bytes.mean() / 1e6:.0f} MB, median {np.median(made.size_bytes) / 1e6:.0f} MB"
        )
