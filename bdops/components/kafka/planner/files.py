"""Reads a layout from a file of any form that is known; which one it is, the content tells."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bdops.components.kafka.planner import compact, tool_formats
from bdops.components.kafka.planner.assembly import BrokerRow, Source, assemble, invalid
from bdops.components.kafka.planner.from_state import source_of, source_of_file
from bdops.components.kafka.planner.model import Layout
from bdops.components.kafka.state import KafkaState
from bdops.errors import ConfigError

KNOWN = (
    "a state (`bdops kafka state save FILE`), a compact layout, the JSON of kafka-reassign-partitions,"
    " or the text of `kafka-topics --describe`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A layout, what of it had to be assumed, and the brokers' names where the file knows them."""

    layout: Layout
    warnings: tuple[str, ...] = ()
    names: Mapping[str, int] | None = None
    """An instance's name, whole (`prod/kafka/node1`) -> the broker's number."""
    taken_at: datetime | None = None
    """When the state was taken, where the file says."""


def read_layout(path: Path, *, brokers: Iterable[BrokerRow] = ()) -> Loaded:
    """The layout in a file. `brokers` adds some that it does not have, and racks and disks of those that it has.

    Raises ConfigError (STATE_INVALID) that names the file and the place in it, StateUnknown when a state lacks what
    a plan needs.
    """
    with _uncollected():
        source, state = _source(path)
    return _loaded(source, state, brokers)


def layout_of(state: KafkaState, *, brokers: Iterable[BrokerRow] = ()) -> Loaded:
    """The layout of a state that was just read; those of `brokers` that it does not have are dead, and get nothing.

    Raises StateUnknown when brokers or topics are missing in it.
    """
    known = {b.id for b in state.brokers or ()}
    return _loaded(source_of(state), state, [replace(b, live=b.live and b.id in known) for b in brokers])


def with_rates(now: Loaded, before: Loaded) -> Loaded:
    """The layout with bytes written per second, by how much each partition's log has grown since another state.

    What retention deleted in between hides as much that was written; a log that shrank counts as one without writes.
    Raises ConfigError when one of the two does not say when it was taken, or they are in the wrong order.
    """
    if now.taken_at is None or before.taken_at is None:
        raise ConfigError("rates need two states: other forms of file do not say when they were taken")
    seconds = (now.taken_at - before.taken_at).total_seconds()
    if seconds <= 0:
        raise ConfigError("rates need an earlier state, and this one is not", hint="the later one is for --state")
    old, new = before.layout, now.layout
    held = {
        name: (old.numbers[rows], old.size_bytes[rows])
        for n, name in enumerate(old.topics)
        for rows in [slice(int(old.first[n]), int(old.first[n + 1]))]
    }
    rates = np.zeros(len(new))
    for n, name in enumerate(new.topics):
        rows = slice(int(new.first[n]), int(new.first[n + 1]))
        numbers, sizes = held.get(name, (new.numbers[:0], new.size_bytes[:0]))
        then = np.zeros(rows.stop - rows.start, dtype=np.int64)
        _, here, there = np.intersect1d(new.numbers[rows], numbers, assume_unique=True, return_indices=True)
        then[here] = sizes[there]
        rates[rows] = np.maximum(new.size_bytes[rows] - then, 0) / seconds
    return replace(now, layout=replace(new, bytes_in=rates))


def _loaded(source: Source, state: KafkaState | None, brokers: Iterable[BrokerRow]) -> Loaded:
    extra = {b.id: b for b in brokers}
    if extra:
        known = {b.id: b for b in source.brokers}
        merged = [_merged(known.get(number), extra.get(number)) for number in sorted({*known, *extra})]
        warnings = source.warnings
        if any(b.rack for b in extra.values()):
            warnings = tuple(w for w in warnings if w != tool_formats.NO_RACKS)
        source = replace(source, brokers=merged, warnings=warnings)
    return Loaded(
        layout=assemble(source),
        warnings=source.warnings,
        names=_names(state) if state else None,
        taken_at=state.taken_at if state else None,
    )


def read_brokers(path: Path) -> list[BrokerRow]:
    """Racks and more of brokers, from YAML or JSON: number -> rack, or -> {rack, update_domain, total_bytes, ...}.

    Raises ConfigError naming the file and the broker.
    """
    import yaml

    where = str(path)
    try:
        content = yaml.safe_load(_bytes(path))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as e:
        raise invalid(f"neither YAML nor JSON: {' '.join(str(e).split())[:200]}", where) from None
    if not isinstance(content, dict):
        raise invalid("expected a mapping of broker numbers to racks", where, hint="1: rack-a")
    rows = []
    for key, value in content.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 11 else key
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
            raise invalid(f"{str(key)[:40]!r} is not a broker's number", where)
        fields = {"rack": value} if value is None or isinstance(value, str) else value
        if not isinstance(fields, dict):
            raise invalid(f"broker {number}: expected a rack's name or an object", where, hint="1: rack-a")
        try:
            rows.append(compact.read_compact(_alone({"id": number, **fields}), where).brokers[0])
        except ConfigError as e:
            raise invalid(f"broker {number}: {e.message}", where) from None
    return rows


def _alone(broker: dict[Any, Any]) -> dict[str, Any]:
    row = {str(k): v for k, v in broker.items()}
    return {"version": compact.VERSION, "brokers": [row], "topics": []}


def _merged(old: BrokerRow | None, new: BrokerRow | None) -> BrokerRow:
    if old is None or new is None:
        found = old or new
        assert found is not None
        return found
    return replace(
        old,
        rack=new.rack or old.rack,
        update_domain=new.update_domain or old.update_domain,
        live=old.live and new.live,
        total_bytes=new.total_bytes or old.total_bytes,
        usable_bytes=new.usable_bytes if new.total_bytes else old.usable_bytes,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else str(e)
        raise ConfigError(f"cannot read the file: {why}", where=str(path)) from None


def _source(path: Path) -> tuple[Source, KafkaState | None]:
    where = str(path)
    data = _bytes(path)
    if data.lstrip()[:1] in (b"{", b"["):
        return _of_json(_json(data, where), path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise invalid("neither JSON nor text", where, hint=f"expected {KNOWN}") from None
    current = tool_formats.generated_json(text)
    if current is not None:
        return _of_json(_json(current.encode(), where), path)
    if tool_formats.is_describe(text):
        return tool_formats.read_describe(text, where), None
    raise invalid("this is not a form of file that is known", where, hint=f"expected {KNOWN}")


def _json(data: bytes, where: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise invalid(f"the file is not JSON: {e}", where) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: among millions of parsed objects, none of them garbage, it takes most of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _of_json(content: Any, path: Path) -> tuple[Source, KafkaState | None]:
    where = str(path)
    component = content.get("component") if isinstance(content, dict) else None
    if component == compact.COMPONENT:
        return compact.read_compact(content, where), None
    if component == "kafka":
        return source_of_file(content, path)
    if isinstance(content, dict) and "partitions" in content and component is None:
        return tool_formats.read_reassignment(content, where), None
    raise invalid("this JSON is of no kind that is known", where, hint=f"expected {KNOWN}")


def _names(state: KafkaState) -> Mapping[str, int]:
    from bdops.components.kafka.checks.common import instance_names

    return {name: number for number, name in instance_names(state).items()}
