"""The formats of Kafka's own tools: the JSON of kafka-reassign-partitions, the text of `kafka-topics --describe`.

Neither has sizes or racks: every replica counts as 1, and the brokers are those that occur.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from bdops.components.kafka.planner.assembly import MAX_WIDTH, NONE, BrokerRow, Source, TopicColumns, invalid

NO_SIZES = "this file has no sizes: every replica counts as 1 byte"
NO_RACKS = "this file has no racks: give them with --racks FILE, else none are taken into account"

_DESCRIBED = re.compile(
    r"\s*Topic:\s*(?P<topic>\S+)\s+(?:TopicId:\s*\S+\s+)?Partition:\s*(?P<number>\d{1,10})\s+"
    r"Leader:\s*(?P<leader>-?\d{1,10}|none)\s+Replicas:\s*(?P<replicas>[\d,]*)(?P<rest>(?:\s.*)?)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\s*Topic:\s*\S+\s+(?:TopicId:\s*\S+\s+)?PartitionCount:", re.IGNORECASE)
_CURRENT = "Current partition replica assignment"

_Row = tuple[int, int, Sequence[int], bool]
"""Of a partition: its number, its leader, its replicas, and whether it is being moved."""


def is_describe(text: str) -> bool:
    """Whether a text is what `kafka-topics --describe` prints."""
    return any(_DESCRIBED.fullmatch(line) or _HEADER.match(line) for line in text.splitlines()[:50])


def read_describe(text: str, where: str) -> Source:
    """The partitions of `kafka-topics --describe`. Raises ConfigError naming the line."""
    topics: dict[str, list[_Row]] = defaultdict(list)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or _HEADER.match(line):
            continue
        found = _DESCRIBED.fullmatch(line)
        if not found:
            raise invalid(
                f"not a line of `kafka-topics --describe`: {line.strip()[:60]!r}",
                f"{where}:{number}",
                hint="save its output alone, without the tool's warnings",
            )
        try:
            replicas = [int(b) for b in found["replicas"].split(",")]
        except ValueError:
            raise invalid(f"{found['topic']}-{found['number']} has no replicas", f"{where}:{number}") from None
        leader = NONE if found["leader"].lower() == "none" else int(found["leader"])
        adding = re.search(r"(?:Adding|Removing) Replicas:\s*\d", found["rest"], re.IGNORECASE)
        topics[found["topic"]].append((int(found["number"]), leader, replicas, adding is not None))
    return _source(topics, where)


def generated_json(text: str) -> str | None:
    """The current assignment in what `kafka-reassign-partitions --generate` prints, None when it is not that."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip().startswith(_CURRENT):
            return next((x for x in lines if x.strip()), "")
    return None


def read_reassignment(content: Mapping[str, Any], where: str) -> Source:
    """The partitions of a parsed reassignment file. Raises ConfigError naming the path in it."""

    def wrong(path: str, what: str) -> Exception:
        return invalid(f"at {path}: {what}", where, hint="the format is that of kafka-reassign-partitions")

    if content.get("version") != 1:
        raise wrong("version", f"expected 1, found {str(content.get('version'))[:40]}")
    rows = content.get("partitions")
    if not isinstance(rows, list):
        raise wrong("partitions", "expected a list")
    topics: dict[str, list[_Row]] = defaultdict(list)
    for n, row in enumerate(rows):
        path = f"partitions[{n}]"
        if not isinstance(row, dict):
            raise wrong(path, "expected an object with topic, partition and replicas")
        if unknown := sorted(set(row) - {"topic", "partition", "replicas", "log_dirs"}):
            raise wrong(path, f"unknown key {unknown[0]!r}")
        topic, number, replicas = row.get("topic"), row.get("partition"), row.get("replicas")
        if not isinstance(topic, str) or not topic:
            raise wrong(f"{path}.topic", "expected a topic's name")
        if not _is_number(number):
            raise wrong(f"{path}.partition", f"expected a number, found {str(number)[:40]}")
        if not isinstance(replicas, list) or not replicas or not all(map(_is_number, replicas)):
            raise wrong(f"{path}.replicas", f"expected a list of broker numbers, found {str(replicas)[:40]}")
        log_dirs = row.get("log_dirs")
        if log_dirs is not None and (not isinstance(log_dirs, list) or len(log_dirs) != len(replicas)):
            raise wrong(f"{path}.log_dirs", f"expected one for each of the {len(replicas)} replicas")
        # The file tells no leaders: the preferred one is taken to lead.
        topics[topic].append((number, replicas[0], replicas, False))  # type: ignore[arg-type]
    return _source(topics, where)


def reassignment_json(rows: Iterable[tuple[str, int, Sequence[int]]]) -> bytes:
    """The file that `kafka-reassign-partitions --execute` takes, of (topic, partition, broker numbers)."""
    parts = [
        orjson.dumps(
            {"topic": topic, "partition": number, "replicas": list(replicas), "log_dirs": ["any"] * len(replicas)}
        )
        for topic, number, replicas in rows
    ]
    return b'{"version":1,"partitions":[\n' + b",\n".join(parts) + b"\n]}\n"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _source(topics: Mapping[str, Sequence[_Row]], where: str) -> Source:
    brokers = sorted({b for rows in topics.values() for row in rows for b in row[2]})
    return Source(
        where=where,
        brokers=[BrokerRow(id=b) for b in brokers],
        topics=[_columns(name, rows, where) for name, rows in topics.items()],
        warnings=(NO_SIZES, NO_RACKS),
    )


def _columns(name: str, rows: Sequence[_Row], where: str) -> TopicColumns:
    width = max(len(replicas) for _, _, replicas, _ in rows)
    if width > MAX_WIDTH:
        raise invalid(f"topic {name}: a partition has {width} replicas", where)
    replicas = np.full((len(rows), width), NONE, dtype=np.int64)
    for n, (_, _, found, _) in enumerate(rows):
        replicas[n, : len(found)] = found
    moving = np.array([row[3] for row in rows])
    return TopicColumns(
        name=name,
        numbers=np.array([row[0] for row in rows], dtype=np.int64),
        replicas=replicas,
        leaders=np.array([row[1] for row in rows], dtype=np.int64),
        size_bytes=np.ones(len(rows), dtype=np.int64),
        busy=moving if moving.any() else None,
    )
