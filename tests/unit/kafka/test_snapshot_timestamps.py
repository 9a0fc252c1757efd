"""The time of the record at an offset, found by asking which offset a time has."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka.snapshot.timestamps import find_timestamps

Log = list[tuple[int, int]]
"""(offset, timestamp), both in order."""

ROUNDS = 45


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A log with gaps, as compaction leaves them, and with records of one millisecond."""
    steps = draw(st.lists(st.tuples(st.integers(1, 5), st.just(0) | st.integers(0, 10**7)), min_size=1, max_size=60))
    at, time_ms = draw(st.integers(0, 1000)), draw(st.integers(1, 2**41))
    found = []
    for offset_step, time_step in steps:
        found.append((at, time_ms))
        at, time_ms = at + offset_step, time_ms + time_step
    return found


class Broker:
    """Answers as Kafka does (ListOffsets), and counts how often it was asked."""

    def __init__(self, partitions: Mapping[str, Log]) -> None:
        self.partitions = partitions
        self.asked = 0

    def first_not_older(self, log: Log, time_ms: int) -> tuple[int, int] | None:
        return next(((o, t) for o, t in log if t >= time_ms), None)

    def ask(self, times: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        self.asked += 1
        answers = {name: self.first_not_older(self.partitions[name], t) for name, t in times.items()}
        return {name: a for name, a in answers.items() if a is not None}

    def last(self, *, of_equals: int = 0) -> dict[str, tuple[int, int]]:
        """A record with the largest timestamp of each; of several the first, or (-1) the last, as brokers differ."""
        newest = {name: max(t for _, t in log) for name, log in self.partitions.items()}
        return {n: [(o, t) for o, t in log if t == newest[n]][of_equals] for n, log in self.partitions.items()}


@given(logs(), st.sampled_from((0, -1)), st.data())
def test_a_record_that_is_there_has_its_own_time(log: Log, of_equals: int, data: st.DataObject) -> None:
    offset, time_ms = data.draw(st.sampled_from(log))
    broker = Broker({"a-0": log})
    last = broker.last(of_equals=of_equals)
    assert find_timestamps({"a-0": offset}, last, broker.ask, ROUNDS) == {"a-0": time_ms}


@given(logs(), st.data())
def test_whoever_begins_at_the_time_misses_nothing(log: Log, data: st.DataObject) -> None:
    """Also where the record at the offset was compacted away."""
    offset = data.draw(st.integers(log[0][0], log[-1][0]))
    broker = Broker({"a-0": log})
    found = find_timestamps({"a-0": offset}, broker.last(), broker.ask, ROUNDS)
    first = broker.first_not_older(log, found["a-0"])
    assert first is not None
    kept = [o for o, _ in log]
    assert first[0] <= kept[bisect_left(kept, offset)]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.data())
def test_times_that_go_backwards_still_lead_to_the_offset_or_before_it(times: list[int], data: st.DataObject) -> None:
    log = list(enumerate(times))
    offset = data.draw(st.integers(0, len(log) - 1))
    broker = Broker({"a-0": log})
    found = find_timestamps({"a-0": offset}, broker.last(), broker.ask, ROUNDS)
    if "a-0" in found:
        first = broker.first_not_older(log, found["a-0"])
        assert first is not None
        assert first[0] <= offset


def test_many_partitions_take_as_many_questions_as_one_and_few() -> None:
    week_ms, records = 7 * 86_400_000, 100_000
    log = [(n, 1_700_000_000_000 + n * week_ms // records) for n in range(0, records, 100)]
    broker = Broker({f"a-{n}": log for n in range(8)})
    wanted = {f"a-{n}": log[100 * (n + 1)][0] for n in range(8)}
    found = find_timestamps(wanted, broker.last(), broker.ask, ROUNDS)
    assert found == {f"a-{n}": log[100 * (n + 1)][1] for n in range(8)}
    assert broker.asked <= 8


def test_what_is_not_found_in_time_and_what_does_not_answer_is_left_out() -> None:
    log = [(n, n * n * 1000) for n in range(10_000)]
    broker = Broker({"a-0": log})
    assert find_timestamps({"a-0": 777, "b-0": 5}, broker.last(), broker.ask, 2) == {}
