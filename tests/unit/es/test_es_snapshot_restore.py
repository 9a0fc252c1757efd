"""What a restore into place would replace, and how far a copy is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.es.snapshot.difference import IndexSize
from bdops.components.es.snapshot.indices import LiveIndex
from bdops.components.es.snapshot.pace import Pace
from bdops.components.es.snapshot.parse import asked_for
from bdops.components.es.snapshot.replacement import SHOWN, Replacement, require_no_data_stream, shown
from bdops.components.es.snapshot.restore import ANEW, BEFORE
from bdops.errors import Refused


def live(shards: int = 1, *, closed: bool = False, history: str | None = None) -> LiveIndex:
    return LiveIndex(uuid="u", history=history, closed=closed, shards=shards)


def test_the_fate_of_each_index_is_told_before_it_is_replaced() -> None:
    found = Replacement(
        indices=("closed", "grown", "gone", "lost", "same"),
        live={"closed": live(closed=True), "grown": live(1), "lost": live(), "same": live(history="h")},
        documents={"closed": None, "grown": 1200, "lost": None, "same": 30},
        red=frozenset({"lost"}),
        wanted={"grown": IndexSize(shards=5), "same": IndexSize(shards=1), "closed": IndexSize()},
    )
    told = dict(line.split(": ", 1) for line in found.lines)
    assert told["gone"] == "is not there, made"
    assert told["grown"] == "1,200 documents replaced; deleted first: 1 shard now, 5 in the snapshot"
    assert "closed" in told["closed"]
    assert "red" in told["lost"]
    assert found.summary == "4 indices with 1,230 documents replaced, 1 made"
    assert found.kept == ["closed", "grown", "same"], "of what has lost a primary no whole snapshot can be made"
    args = found.args()
    assert args[ANEW] == ["grown"]
    assert args[BEFORE] == {"closed": "u/", "grown": "u/", "lost": "u/", "same": "u/h"}


def test_a_long_plan_says_how_much_more_there_is() -> None:
    lines = [f"i{n}: 1 document" for n in range(SHOWN + 3)]
    assert shown("all", lines).endswith("; and 3 more")
    assert "more" not in shown("all", lines[:SHOWN])


def test_what_is_behind_a_data_stream_is_not_restored_into_place() -> None:
    require_no_data_stream(["orders"])
    with pytest.raises(Refused, match=r"\.ds-logs"):
        require_no_data_stream(["orders", ".ds-logs-2026.11.26-000001"])


def test_a_pattern_with_a_minus_leaves_out() -> None:
    every = ["logs-1", "logs-2", "orders"]
    assert [n for n in every if asked_for(n, ["logs-*", "-*-2"])] == ["logs-1"]
    assert [n for n in every if asked_for(n, ["-logs-*"])] == ["orders"]
    assert [n for n in every if asked_for(n, None)] == every


def test_a_copy_is_told_with_its_rate_and_what_is_left() -> None:
    pace = Pace()
    assert pace.told(0, 9, 0, 0, now_s=5.0) == "0 of 9 shards"
    assert pace.told(0, 9, 0, 100 << 20, now_s=10.0) == "0 of 9 shards, 0 B of 100.0 MiB"
    told = pace.told(3, 9, 20 << 20, 100 << 20, now_s=12.0)
    assert told == "3 of 9 shards, 20.0 MiB of 100.0 MiB, 10.0 MiB/s, about 8 s left"
    assert pace.told(9, 9, 100 << 20, 100 << 20, now_s=20.0).endswith("10.0 MiB/s")


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.floats(0, 1e6)), max_size=20))
def test_no_reading_makes_it_fail(readings: list[tuple[int, int, float]]) -> None:
    pace = Pace()
    for copied, total, at in readings:
        assert pace.told(0, 1, copied, total, now_s=at).startswith("0 of 1 shard")
