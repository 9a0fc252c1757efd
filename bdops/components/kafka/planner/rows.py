"""Rows of replicas, [rows, width] of broker indexes padded with -1, widened and compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def as_wide(replicas: NDArray[np.int16], width: int) -> NDArray[np.int16]:
    """The same rows, padded to a width that is not less than theirs."""
    missing = width - replicas.shape[1]
    return np.pad(replicas, ((0, 0), (0, missing)), constant_values=-1) if missing else replicas


def added(before: NDArray[np.int16], after: NDArray[np.int16]) -> NDArray[np.bool_]:
    """[rows, width of `after`]: the replicas that are where none of their row was before."""
    fresh = after >= 0
    for column in range(before.shape[1]):
        fresh &= after != before[:, column : column + 1]
    return fresh


def moved_bytes(before: NDArray[np.int16], after: NDArray[np.int16], size_bytes: NDArray[np.int64]) -> int:
    """Bytes of the replicas that are added."""
    return int((added(before, after).sum(axis=1) * size_bytes).sum())
