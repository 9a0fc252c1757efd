"""What holding one more replica (or leader) costs a broker: bands as limits, bands as prices, and plain evenness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.placement import Slots

HEIGHTS = 16
"""How many heights of load are told apart where evenness only breaks ties."""

_WINDOW = 24
"""Bands of one or two counts that differ by less are priced by absolute load: what cannot be in band is then as even as
can be. Inside of wider bands every load has one price."""


def limited(low: NDArray[np.int64], high: NDArray[np.int64], base: NDArray[np.int64]) -> Slots:
    """Slots that hold every broker within `low` to `high`, `base` of which is there already and cannot go."""
    least = np.maximum(low - base, 0)
    size = np.maximum(high - base - least, 0)[:, None]
    return Slots(least=least, size=size, price=np.zeros_like(size))


def priced(
    low: NDArray[np.int64], high: NDArray[np.int64], base: NDArray[np.int64], *, most: int, units: int, grades: int
) -> Slots:
    """Slots in which load outside of the band costs 1, 2, 3, ... per replica the further out it is.

    `units` steps of one replica, then `grades` steps of 1, 2, 4, ... replicas have a price each. `most` is how many
    a broker may get. Prices are whole numbers, to be multiplied by what a step of evenness is worth.
    """
    reach = np.cumsum(np.concatenate([np.ones(units, dtype=np.int64), 2 ** np.arange(grades, dtype=np.int64)]))
    bottom, top = (int(low.min()), int(high.max())) if len(low) else (0, 0)
    if top - bottom <= _WINDOW and (high - low <= 1).all():
        inner = np.arange(bottom, top + 1, dtype=np.int64)
        common = np.concatenate([bottom - reach[::-1], inner, top + reach])
        ends = np.broadcast_to(common, (len(low), len(common))) - base[:, None]
        zero = len(reach) + len(inner) // 2
    else:
        ends = np.concatenate([low[:, None] - reach[::-1], low[:, None], high[:, None], high[:, None] + reach], axis=1)
        ends = ends - base[:, None]
        zero = len(reach) + 1
    ends = np.clip(ends, 0, most)
    ends[:, -1] = most
    size = np.diff(ends, axis=1, prepend=0)
    price = np.arange(size.shape[1], dtype=np.int64) - zero
    return Slots(least=np.zeros(len(low), dtype=np.int64), size=size, price=np.broadcast_to(price, size.shape).copy())


def by_height(base: NDArray[np.int64], now: NDArray[np.int64], *, added: int, most: int) -> Slots:
    """Slots whose price rises with the height of the load, in HEIGHTS steps, wherever the mean will be.

    `base` cannot go; `now` is what each broker has at present; `added` is how many are to be placed in all.
    """
    mean = (int(base.sum()) + added) / max(len(base), 1)
    start = min(int(now.min(initial=0)), int(mean))
    width = max(1, int(np.ceil((max(mean, float(now.max(initial=0))) - start + 1) / (HEIGHTS - 2))))
    ends = start + width * np.arange(1, HEIGHTS + 1, dtype=np.int64)
    ends = np.clip(ends[None, :] - base[:, None], 0, most)
    ends[:, -1] = most
    size = np.diff(ends, axis=1, prepend=0)
    price = np.broadcast_to(np.arange(HEIGHTS, dtype=np.int64), size.shape).copy()
    return Slots(least=np.zeros(len(base), dtype=np.int64), size=size, price=price)
