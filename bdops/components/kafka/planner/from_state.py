"""A layout out of a state: one that was saved, or one that was read from the cluster just now.

The partitions of a saved state are taken from the parsed JSON as columns; a million of them as objects would take
longer than the plan. All else of the file is validated as everywhere in bdops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.assembly import (
    MAX_TOTAL_BYTES,
    MAX_WIDTH,
    NONE,
    BrokerRow,
    LogDirRow,
    Source,
    TopicColumns,
    invalid,
)
from bdops.components.kafka.state import KafkaState, LogDir, Topic, partition_name
from bdops.core.units import plural
from bdops.errors import StateUnknown

PLANNER_READINGS = frozenset({"servers", "brokers", "topics", "topic_configs", "reassignments", "log_dirs"})
"""What a plan needs to be read of a cluster."""

_TOPIC = {"name", "partitions", "internal"}
_PARTITION = {"id", "leader", "replicas", "isr", "offline"}
_NEEDED = {"id", "replicas", "isr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The partitions of one topic as lists, in the order of the state."""

    name: str
    numbers: Sequence[int]
    leaders: Sequence[int | None]
    replicas: Sequence[Sequence[int]]
    where: str
    """Of the topic, in the file."""


def source_of(state: KafkaState) -> Source:
    """What a state says of brokers, log directories and partitions, ready for `assembly.assemble`.

    Sizes are those of the leaders' logs, else of the largest copy that is known. Brokers that hold replicas and are
    not registered are taken as dead. Raises StateUnknown when brokers or topics were not read.
    """
    topics = None if state.topics is None else [_rows_of(t) for t in state.topics if t.partitions]
    held = [d.replicas for d in state.log_dirs or ()]
    return _source(state, topics, held, f"{state.cluster}/kafka")


def source_of_file(content: dict[str, Any], path: Path) -> tuple[Source, KafkaState]:
    """The same of a parsed state file, and all of the state but its partitions.

    Raises ConfigError (STATE_INVALID) naming the file and the path in it, StateUnknown like `source_of`.
    """
    from bdops.components.state_file import parse_state

    where = str(path)
    topics = content.get("topics")
    dirs = content.get("log_dirs")
    rest = dict(content)
    if topics is not None:
        rest["topics"] = []
    held: list[Mapping[str, int]] = []
    if isinstance(dirs, list):
        rest["log_dirs"] = [{**d, "replicas": {}} if isinstance(d, dict) else d for d in dirs]
    state: KafkaState = parse_state(rest, path, {"kafka": KafkaState})
    for n, found in enumerate(dirs or ()):
        held.append(_sizes(found.get("replicas", {}), f"log_dirs[{n}].replicas", where))
    rows = None
    if topics is not None:
        if not isinstance(topics, list):
            raise invalid("at topics: expected a list", where)
        rows = [r for n, t in enumerate(topics) if (r := _rows_of_json(t, f"topics[{n}]", where)) is not None]
    return _source(state, rows, held, where), state


def _rows_of(topic: Topic) -> _Rows:
    return _Rows(
        name=topic.name,
        numbers=[p.id for p in topic.partitions],
        leaders=[p.leader for p in topic.partitions],
        replicas=[p.replicas for p in topic.partitions],
        where=f"topic {topic.name}",
    )


def _rows_of_json(topic: Any, path: str, where: str) -> _Rows | None:
    if not isinstance(topic, dict) or not isinstance(topic.get("name"), str) or not topic.keys() <= _TOPIC:
        raise invalid(f"at {path}: expected an object with name, partitions and internal alone", where)
    partitions = topic.get("partitions")
    if not isinstance(partitions, list):
        raise invalid(f"at {path}.partitions: expected a list", where)
    for n, found in enumerate(partitions):
        if not isinstance(found, dict) or not _NEEDED <= found.keys() <= _PARTITION:
            raise invalid(
                f"at {path}.partitions[{n}]: expected an object with {', '.join(sorted(_PARTITION))} alone", where
            )
        if not isinstance(found["replicas"], list) or not found["replicas"]:
            raise invalid(f"at {path}.partitions[{n}].replicas: expected a list of brokers", where)
    if not partitions:
        return None
    return _Rows(
        name=topic["name"],
        numbers=[p["id"] for p in partitions],
        leaders=[p.get("leader") for p in partitions],
        replicas=[p["replicas"] for p in partitions],
        where=path,
    )


def _sizes(replicas: Any, path: str, where: str) -> Mapping[str, int]:
    if not isinstance(replicas, dict):
        raise invalid(f"at {path}: expected partitions with their sizes", where)
    for name, size in replicas.items():
        if type(size) is not int or not 0 <= size < MAX_TOTAL_BYTES:
            raise invalid(f"at {path}.{name}: expected a size in bytes, found {str(size)[:40]}", where)
    return replicas


def _source(state: KafkaState, topics: Sequence[_Rows] | None, held: Sequence[Mapping[str, int]], where: str) -> Source:
    for name, value in (("brokers", state.brokers), ("topics", topics)):
        if value is None:
            raise StateUnknown(
                f"{name} of {state.cluster}/kafka: {state.unread.get(name, 'absent from the state')}",
                where=where,
                hint="bdops kafka check shows which servers answer",
            )
    assert topics is not None
    dirs = list(state.log_dirs or ())
    columns = [_columns(t, where) for t in topics]
    busy = {r.partition for r in state.reassignments or ()}
    missing: list[str] = []
    if state.log_dirs is not None:
        columns = _with_sizes(columns, dirs, held, missing)
    if busy:
        columns = [_with_busy(t, busy) for t in columns]
    return Source(
        where=where,
        brokers=_brokers(state, columns, dirs),
        topics=columns,
        log_dirs=[
            LogDirRow(
                broker=d.broker,
                path=d.path,
                total_bytes=d.total_bytes or 0,
                usable_bytes=d.usable_bytes or 0,
                offline=d.error is not None,
            )
            for d in dirs
        ],
        cluster=state.cluster,
        warnings=_warnings(state, missing),
    )


def _columns(rows: _Rows, where: str) -> TopicColumns:
    """A topic's columns, every size 1."""
    count = len(rows.numbers)
    width = max(map(len, rows.replicas))
    if width > MAX_WIDTH:
        raise invalid(f"at {rows.where}: a partition has {width} replicas", where)
    replicas: Sequence[Sequence[int]] = rows.replicas
    if min(map(len, replicas)) < width:
        replicas = [[*r, *[NONE] * (width - len(r))] for r in replicas]
    leaders = [NONE if leader is None else leader for leader in rows.leaders]
    return TopicColumns(
        name=rows.name,
        numbers=_whole(rows.numbers, rows, "id", where),
        replicas=_whole(replicas, rows, "replicas", where).reshape(count, width),
        leaders=_whole(leaders, rows, "leader", where),
        size_bytes=np.ones(count, dtype=np.int64),
    )


def _whole(values: Sequence[Any], rows: _Rows, key: str, where: str) -> NDArray[np.int64]:
    try:
        found = np.array(values)
    except (ValueError, OverflowError, TypeError):
        found = np.array(None)
    if found.dtype.kind != "i":
        raise invalid(f"at {rows.where} ({rows.name}): every {key} must be a broker's or partition's number", where)
    return found.astype(np.int64)


def _with_sizes(
    topics: Sequence[TopicColumns], dirs: Sequence[LogDir], held: Sequence[Mapping[str, int]], missing: list[str]
) -> list[TopicColumns]:
    """The topics with sizes and directories of their replicas; `missing` gets those of which no copy is known."""
    names = [partition_name(t.name, n) for t in topics for n in t.numbers.tolist()]
    row_of = {name: row for row, name in enumerate(names)}
    width = max((t.replicas.shape[1] for t in topics), default=1)
    first = np.cumsum([0, *(len(t.numbers) for t in topics)])
    replicas = np.full((len(names), width), NONE, dtype=np.int64)
    for topic, start in zip(topics, first, strict=False):
        replicas[start : start + len(topic.numbers), : topic.replicas.shape[1]] = topic.replicas
    leaders = np.concatenate([t.leaders for t in topics]) if topics else np.zeros(0, dtype=np.int64)
    at = np.full(replicas.shape, NONE, dtype=np.int64)
    leading = np.full(len(names), -1, dtype=np.int64)
    largest = np.full(len(names), -1, dtype=np.int64)
    for index, (found, content) in enumerate(zip(dirs, held, strict=True)):
        rows = np.fromiter(map(row_of.get, content, repeat(-1)), dtype=np.int64, count=len(content))
        sizes = np.fromiter(content.values(), dtype=np.int64, count=len(content))
        known = rows >= 0
        rows, sizes = rows[known], sizes[known]
        row, column = np.nonzero(replicas[rows] == found.broker)
        rows, sizes = rows[row], sizes[row]
        at[rows, column] = index
        np.maximum.at(largest, rows, sizes)
        mine = leaders[rows] == found.broker
        leading[rows[mine]] = sizes[mine]
    missing += [names[row] for row in np.flatnonzero(largest < 0)]
    sizes = np.where(leading >= 0, leading, np.maximum(largest, 0))
    return [
        replace(
            t,
            size_bytes=sizes[start : start + len(t.numbers)],
            dirs=at[start : start + len(t.numbers), : t.replicas.shape[1]],
        )
        for t, start in zip(topics, first, strict=False)
    ]


def _with_busy(topic: TopicColumns, busy: set[str]) -> TopicColumns:
    return replace(topic, busy=np.array([partition_name(topic.name, n) in busy for n in topic.numbers.tolist()]))


def _brokers(state: KafkaState, topics: Iterable[TopicColumns], dirs: Sequence[LogDir]) -> list[BrokerRow]:
    racks = {e.node_id: e.rack for e in state.expected or () if e.node_id is not None}
    volumes: dict[int, set[tuple[int, int]] | None] = {}
    for found in dirs:
        if found.error is not None:
            continue
        known = volumes.setdefault(found.broker, set())
        if not found.total_bytes or found.usable_bytes is None:
            volumes[found.broker] = None
        elif known is not None:
            # Directories of one volume all report that volume's figures: it counts once.
            known.add((found.total_bytes, found.usable_bytes))
    rows = {}
    for broker in state.brokers or ():
        disks = volumes.get(broker.id) or set()
        rows[broker.id] = BrokerRow(
            id=broker.id,
            rack=broker.rack or racks.get(broker.id),
            live=not broker.fenced,
            total_bytes=sum(total for total, _ in disks),
            usable_bytes=sum(usable for _, usable in disks),
        )
    held = {d.broker for d in dirs}
    for topic in topics:
        held.update(np.unique(topic.replicas).tolist())
    for number in sorted(held - set(rows) - {NONE}):
        rows[number] = BrokerRow(id=number, rack=racks.get(number), live=False)
    return list(rows.values())


def _warnings(state: KafkaState, missing: Sequence[str]) -> tuple[str, ...]:
    warnings = []
    if state.log_dirs is None:
        why = state.unread.get("log_dirs", "absent from the state")
        warnings.append(f"sizes are not known (log_dirs: {why}): every replica counts as 1 byte")
    elif missing:
        warnings.append(
            f"the sizes of {plural(len(missing), 'partition')} are not known and count as 0:"
            f" {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    if state.reassignments is None:
        why = state.unread.get("reassignments", "absent from the state")
        warnings.append(f"reassignments under way are not known ({why})")
    return tuple(warnings)
