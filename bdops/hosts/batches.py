"""How many hosts at a time: `1,10%,50%`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_SIZE = re.compile(r"([1-9]\d{0,5})|(100|[1-9]\d?)%")


def batch_sizes(text: str, count: int) -> tuple[int, ...]:
    """The sizes of the batches of `count` hosts; the last size that is named is repeated until all are done.

    `1,10%,50%` of 100 hosts is 1, 10, 50, 39. A percentage is of all hosts, rounded down, and at least one. Raises
    ValueError.
    """
    words = [word.strip() for word in text.split(",")]
    named: list[int] = []
    for word in words:
        match = _SIZE.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is neither a number of hosts nor a percentage from 1% to 100%")
        named.append(int(match[1]) if match[1] else max(1, count * int(match[2]) // 100))
    sizes: list[int] = []
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, named[min(len(sizes), len(named) - 1)]))
    return tuple(sizes)


def split(items: Sequence[T], sizes: Sequence[int]) -> list[Sequence[T]]:
    """The items in batches of these sizes."""
    return [items[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
