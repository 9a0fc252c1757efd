"""Puts a Layout together from columns in broker numbers, whatever file they come from, and refuses what is not one.

Readers of files know their own grammar; what makes a layout valid (known brokers, distinct replicas, no negative
sizes, ...) is checked here, once, and told with the topic, the partition and the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.model import Brokers, Layout, LogDirs
from bdops.errors import ConfigError

NONE = -1
MAX_BROKERS = 2**15 - 1
"""An index of a broker is an int16."""
MAX_WIDTH = 2**10
MAX_TOTAL_BYTES = 2**62
"""Sums of sizes are int64."""


def invalid(message: str, where: str, hint: str | None = None) -> ConfigError:
    """The error of a file that is not what it should be."""
    return ConfigError(message, where=where, hint=hint, code="STATE_INVALID")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRow:
    """What a file says of one broker; bytes are 0 when unknown."""

    id: int
    rack: str | None = None
    update_domain: str | None = None
    live: bool = True
    total_bytes: int = 0
    usable_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDirRow:
    """What a file says of one log directory of a broker (its number)."""

    broker: int
    path: str
    total_bytes: int = 0
    usable_bytes: int = 0
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicColumns:
    """The partitions of a topic. `replicas` [partitions, width] and `leaders` in broker numbers, -1 for none."""

    name: str
    numbers: NDArray[np.int64]
    replicas: NDArray[np.int64]
    leaders: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    bytes_in: NDArray[np.float64] | None = None
    dirs: NDArray[np.int64] | None = None
    busy: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Everything that a file says, before it is known to be a layout."""

    where: str
    brokers: Sequence[BrokerRow]
    topics: Sequence[TopicColumns]
    log_dirs: Sequence[LogDirRow] = ()
    cluster: str = ""
    warnings: tuple[str, ...] = ()


def assemble(source: Source) -> Layout:
    """The layout. Raises ConfigError (STATE_INVALID) naming file, topic and partition of what is wrong."""
    where = source.where
    brokers = _brokers(source.brokers, where)
    topics = sorted((t for t in source.topics if len(t.numbers)), key=lambda t: t.name)
    for before, after in pairwise(topics):
        if before.name == after.name:
            raise invalid(f"topic {after.name} is there twice", where)
    width = max([1, *(t.replicas.shape[1] for t in topics)])
    if width > MAX_WIDTH:
        raise invalid(f"a partition has {width} replicas; at most {MAX_WIDTH} can be planned", where)
    first = np.zeros(len(topics) + 1, dtype=np.int64)
    np.cumsum([len(t.numbers) for t in topics], out=first[1:])
    ordered = [_in_order(t, where) for t in topics]
    names = [t.name for t in topics]

    def column(name: str, dtype: Any) -> NDArray[Any]:
        parts = [getattr(t, name) for t in ordered]
        return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)

    def wide(name: str) -> NDArray[np.int64]:
        out = np.full((int(first[-1]), width), NONE, dtype=np.int64)
        for topic, start in zip(ordered, first, strict=False):
            part = getattr(topic, name)
            out[start : start + len(part), : part.shape[1]] = part
        return out

    def partition(row: int) -> str:
        topic = int(np.searchsorted(first, row, side="right")) - 1
        return f"{names[topic]}-{ordered[topic].numbers[row - first[topic]]}"

    numbers = wide("replicas")
    _check_rows(numbers, where, partition)
    replicas = _indexes(numbers, brokers.ids, "replica", where, partition)
    leader = _indexes(column("leaders", np.int64)[:, None], brokers.ids, "leader", where, partition)[:, 0]
    astray = (leader != NONE) & ~(replicas == leader[:, None]).any(axis=1)
    if astray.any():
        row = int(astray.argmax())
        raise invalid(f"{partition(row)}: its leader {brokers.ids[leader[row]]} is none of its replicas", where)
    sizes = column("size_bytes", np.int64)
    if (sizes < 0).any():
        row = int((sizes < 0).argmax())
        raise invalid(f"{partition(row)}: its size is {sizes[row]}, less than nothing", where)
    if float((sizes.astype(np.float64) * (replicas != NONE).sum(axis=1)).sum()) >= MAX_TOTAL_BYTES:
        raise invalid("the sizes add up to more than 4 EiB", where)
    log_dirs = _log_dirs(source.log_dirs, brokers, where)
    return Layout(
        brokers=brokers,
        topics=tuple(names),
        first=first,
        numbers=column("numbers", np.int32),
        replicas=replicas,
        leader=leader,
        size_bytes=sizes,
        bytes_in=_rates(ordered, first, where, partition),
        busy=_optional(ordered, "busy", np.bool_),
        log_dirs=log_dirs,
        dirs=_dirs(ordered, wide, replicas, log_dirs, where, partition),
        cluster=source.cluster,
    )


def _brokers(rows: Sequence[BrokerRow], where: str) -> Brokers:
    rows = sorted(rows, key=lambda b: b.id)
    if len(rows) > MAX_BROKERS:
        raise invalid(f"{len(rows)} brokers; at most {MAX_BROKERS} can be planned", where)
    for before, after in pairwise(rows):
        if before.id == after.id:
            raise invalid(f"broker {after.id} is there twice", where)
    for row in rows:
        if not 0 <= row.id < 2**31:
            raise invalid(f"broker {row.id}: its number is not one that Kafka gives", where)
        if row.total_bytes < 0 or row.usable_bytes < 0 or row.total_bytes >= MAX_TOTAL_BYTES:
            raise invalid(f"broker {row.id}: its disk has {row.total_bytes} bytes, {row.usable_bytes} usable", where)
    racks = sorted({b.rack for b in rows if b.rack is not None})
    domains = sorted({b.update_domain for b in rows if b.update_domain is not None})
    return Brokers(
        ids=np.array([b.id for b in rows], dtype=np.int32),
        live=np.array([b.live for b in rows], dtype=np.bool_),
        rack=_codes([b.rack for b in rows], racks),
        update_domain=_codes([b.update_domain for b in rows], domains),
        total_bytes=np.array([b.total_bytes for b in rows], dtype=np.int64),
        usable_bytes=np.array([min(b.usable_bytes, b.total_bytes) for b in rows], dtype=np.int64),
        racks=tuple(racks),
        update_domains=tuple(domains),
    )


def _codes(values: Sequence[str | None], known: Sequence[str]) -> NDArray[np.int16]:
    index: Mapping[str | None, int] = {value: n for n, value in enumerate(known)}
    return np.array([index.get(value, NONE) for value in values], dtype=np.int16)


def _log_dirs(rows: Sequence[LogDirRow], brokers: Brokers, where: str) -> LogDirs | None:
    if not rows:
        return None
    index = {int(number): n for n, number in enumerate(brokers.ids)}
    for row in rows:
        if row.broker not in index:
            raise invalid(f"log directory {row.path}: there is no broker {row.broker}", where)
        if row.total_bytes < 0 or row.usable_bytes < 0 or row.total_bytes >= MAX_TOTAL_BYTES:
            raise invalid(f"log directory {row.path} of broker {row.broker}: its volume's size is negative", where)
    return LogDirs(
        broker=np.array([index[r.broker] for r in rows], dtype=np.int16),
        paths=tuple(r.path for r in rows),
        total_bytes=np.array([r.total_bytes for r in rows], dtype=np.int64),
        usable_bytes=np.array([min(r.usable_bytes, r.total_bytes) for r in rows], dtype=np.int64),
        offline=np.array([r.offline for r in rows], dtype=np.bool_),
    )


def _in_order(topic: TopicColumns, where: str) -> TopicColumns:
    """The topic with its partitions sorted by number."""
    numbers = topic.numbers
    if (numbers < 0).any() or (numbers >= 2**31).any():
        raise invalid(f"topic {topic.name}: a partition's number is negative or too large", where)
    if len(numbers) < 2 or (np.diff(numbers) > 0).all():
        return topic
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        raise invalid(f"{topic.name}-{numbers[order][twice[0]]} is there twice", where)

    def sorted_(column: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if column is None else column[order]

    return replace(
        topic,
        numbers=numbers[order],
        replicas=topic.replicas[order],
        leaders=topic.leaders[order],
        size_bytes=topic.size_bytes[order],
        bytes_in=sorted_(topic.bytes_in),
        dirs=sorted_(topic.dirs),
        busy=sorted_(topic.busy),
    )


def _check_rows(replicas: NDArray[np.int64], where: str, partition: Any) -> None:
    """Each row begins with a replica, has no gaps, and no broker twice. Raises ConfigError."""
    present = replicas != NONE
    empty = ~present[:, :1].all(axis=1)
    if empty.any():
        raise invalid(f"{partition(int(empty.argmax()))}: it has no replicas, or a gap before them", where)
    gap = (present[:, 1:] & ~present[:, :-1]).any(axis=1)
    if gap.any():
        raise invalid(f"{partition(int(gap.argmax()))}: there is a gap among its replicas", where)
    ordered = np.sort(replicas, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NONE)).any(axis=1)
    if twice.any():
        row = int(twice.argmax())
        listed = ",".join(str(b) for b in replicas[row] if b != NONE)
        raise invalid(f"{partition(row)}: a broker is there twice among its replicas: {listed}", where)


def _indexes(
    numbers: NDArray[np.int64], ids: NDArray[np.int32], what: str, where: str, partition: Any
) -> NDArray[np.int16]:
    """Broker numbers as indexes; -1 stays."""
    if not len(ids):
        if numbers.size:
            raise invalid(f"{partition(0)}: the file has no brokers", where)
        return numbers.astype(np.int16)
    found = np.searchsorted(ids, numbers).clip(max=len(ids) - 1)
    unknown = (numbers != NONE) & (ids[found] != numbers)
    if unknown.any():
        row, place = np.argwhere(unknown)[0]
        raise invalid(f"{partition(int(row))}: there is no broker {numbers[row, place]}, its {what}", where)
    found[numbers == NONE] = NONE
    return found.astype(np.int16)


def _optional(topics: Sequence[TopicColumns], name: str, dtype: Any) -> NDArray[Any] | None:
    """A column that some topics may lack, zero there; None when all do."""
    if all(getattr(t, name) is None for t in topics):
        return None
    parts = [getattr(t, name) for t in topics]
    return np.concatenate(
        [np.zeros(len(t.numbers), dtype) if p is None else p for t, p in zip(topics, parts, strict=True)]
    ).astype(dtype)


def _rates(
    topics: Sequence[TopicColumns], first: NDArray[np.int64], where: str, partition: Any
) -> NDArray[np.float64] | None:
    rates: NDArray[np.float64] | None = _optional(topics, "bytes_in", np.float64)
    if rates is not None and (bad := ~(np.isfinite(rates) & (rates >= 0) & (rates < MAX_TOTAL_BYTES))).any():
        row = int(bad.argmax())
        raise invalid(f"{partition(row)}: its rate is {rates[row]} bytes a second", where)
    return rates


def _dirs(
    topics: Sequence[TopicColumns],
    wide: Any,
    replicas: NDArray[np.int16],
    log_dirs: LogDirs | None,
    where: str,
    partition: Any,
) -> NDArray[np.int32] | None:
    if log_dirs is None or all(t.dirs is None for t in topics):
        return None
    if any(t.dirs is None for t in topics):
        missing = next(t.name for t in topics if t.dirs is None)
        raise invalid(f"topic {missing} has no log directories, and others have", where)
    dirs = wide("dirs")
    out = (dirs < NONE) | (dirs >= len(log_dirs)) | ((dirs != NONE) & (replicas == NONE))
    if out.any():
        row, place = np.argwhere(out)[0]
        raise invalid(f"{partition(int(row))}: there is no log directory {dirs[row, place]}", where)
    foreign = (dirs != NONE) & (log_dirs.broker[dirs.clip(min=0)] != replicas)
    if foreign.any():
        row, place = np.argwhere(foreign)[0]
        raise invalid(f"{partition(int(row))}: log directory {dirs[row, place]} is of another broker", where)
    return dirs.astype(np.int32)
