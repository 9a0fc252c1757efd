"""Batches of hosts: every host once, in order, of the sizes asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.hosts.batches import batch_sizes, split


@pytest.mark.parametrize(
    ("text", "count", "sizes"),
    [
        ("1,10%,50%", 100, (1, 10, 50, 39)),
        ("1,10%,50%", 4, (1, 1, 2)),
        ("1", 3, (1, 1, 1)),
        ("100%", 7, (7,)),
        ("1%", 3, (1, 1, 1)),
        ("5, 2", 10, (5, 2, 2, 1)),
        ("50", 10, (10,)),
        ("33%", 10, (3, 3, 3, 1)),
        ("1,10%", 0, ()),
    ],
)
def test_sizes(text: str, count: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(text, count) == sizes


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "1.5", "a", "1,,2", "10 %", "٣"])
def test_what_is_no_size_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number of hosts nor a percentage"):
        batch_sizes(text, 10)


SIZES = st.one_of(st.integers(1, 50).map(str), st.integers(1, 100).map(lambda n: f"{n}%"))


@given(st.lists(SIZES, min_size=1, max_size=4), st.integers(0, 300))
def test_every_host_is_in_one_batch_and_in_order(words: list[str], count: int) -> None:
    batches = split(range(count), batch_sizes(",".join(words), count))
    assert [host for batch in batches for host in batch] == list(range(count))
    assert all(batches)
