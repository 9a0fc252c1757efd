"""When was the record at an offset written? Found by asking which offset a time has, of many partitions at once. Pure.

Brokers answer the one question (ListOffsets) from an index, and cheaply; for the other one they would have to send
records. The first record that is not older than a time is asked for again and again, until the one at the offset is it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Ask = Callable[[Mapping[str, int]], Mapping[str, tuple[int, int]]]
"""Partition -> time in ms, to partition -> (offset, timestamp in ms) of the first record that is not older.

A partition whose records are all older, or that did not answer, is left out.
"""

EARLIEST_MS = 0


@dataclass
class _Range:
    """`low_ms`: its first record is at the offset or before it; `high_ms`: after it. `low_at`, `high_at`: where."""

    low_ms: int
    low_at: int
    high_ms: int
    high_at: int


def find_timestamps(
    offsets: Mapping[str, int], last: Mapping[str, tuple[int, int]], ask: Ask, rounds: int
) -> dict[str, int]:
    """The timestamp in ms of the record at each offset, for those that were found in so many rounds of questions.

    The offsets are below the logs' ends. `last` is each partition's record with the largest timestamp: (offset,
    timestamp). Who begins at the first record that is not older than what is found begins at the offset or before it.
    """
    found: dict[str, int] = {}
    ranges: dict[str, _Range] = {}
    first = ask(dict.fromkeys((p for p in offsets if p in last), EARLIEST_MS))
    for name, (at, timestamp) in first.items():
        last_at, last_ms = last[name]
        if offsets[name] <= at:
            found[name] = timestamp
        elif offsets[name] >= last_at or timestamp == last_ms:
            found[name] = last_ms
        else:
            ranges[name] = _Range(timestamp, at, last_ms + 1, last_at)
    for number in range(rounds):
        if not ranges:
            break
        probes = {name: _probe(r, offsets[name], halve=number % 2 == 1) for name, r in ranges.items()}
        answers = ask(probes)
        for name, probe in probes.items():
            if name not in answers:
                del ranges[name]
                continue
            at, timestamp = answers[name]
            mine = ranges[name]
            if at == offsets[name]:
                found[name] = timestamp
                del ranges[name]
                continue
            if at < offsets[name]:
                mine.low_ms, mine.low_at = max(timestamp, probe), at
            else:
                mine.high_ms, mine.high_at = probe, at
            if mine.high_ms - mine.low_ms <= 1:
                # Several records have this timestamp, and the offset's is not the first of them.
                found[name] = mine.low_ms
                del ranges[name]
    return found


def _probe(mine: _Range, offset: int, *, halve: bool) -> int:
    """A time strictly within the range: by the offset's place in it, or the middle."""
    span_ms = mine.high_ms - mine.low_ms
    share = 0.5 if halve or mine.high_at <= mine.low_at else (offset - mine.low_at) / (mine.high_at - mine.low_at)
    return mine.low_ms + min(max(1, int(span_ms * share)), max(1, span_ms - 1))
