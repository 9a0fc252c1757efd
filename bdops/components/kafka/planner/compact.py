"""The compact layout file: columns per topic, for millions of replicas.

A state file has an object for every replica; here a topic is a handful of flat lists, which orjson reads and numpy
takes over without a Python object per partition. docs/rebalance.md describes the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from bdops.components.kafka.planner.assembly import (
    MAX_WIDTH,
    NONE,
    BrokerRow,
    LogDirRow,
    Source,
    TopicColumns,
    invalid,
)
from bdops.components.kafka.planner.model import Layout

COMPONENT = "kafka-layout"
VERSION = 1

_TOP = {"component", "version", "cluster", "brokers", "log_dirs", "topics"}
_TOPIC = {"name", "numbers", "width", "replicas", "leaders", "size_bytes", "bytes_in", "dirs", "busy"}

Reader = Callable[[Any, str], Any]


def read_compact(content: Mapping[str, Any], where: str) -> Source:
    """What a parsed compact file says. Raises ConfigError (STATE_INVALID) naming the file and the path in it."""
    at = _At(where)
    at.keys(content, _TOP, "")
    if content.get("version") != VERSION:
        raise at.wrong("version", f"expected {VERSION}, found {content.get('version')!r}")
    return Source(
        where=where,
        cluster=at.text(content.get("cluster", ""), "cluster"),
        brokers=[_broker(b, f"brokers[{n}]", at) for n, b in enumerate(at.rows(content, "brokers"))],
        log_dirs=[_log_dir(d, f"log_dirs[{n}]", at) for n, d in enumerate(at.rows(content, "log_dirs", optional=True))],
        topics=[_topic(t, f"topics[{n}]", at) for n, t in enumerate(at.rows(content, "topics"))],
    )


def write_compact(layout: Layout, file: BinaryIO) -> None:
    """Write a layout, one topic a line; never the whole of it in memory."""
    brokers, dirs = layout.brokers, layout.log_dirs
    head = {
        "component": COMPONENT,
        "version": VERSION,
        "cluster": layout.cluster,
        "brokers": [broker_row(layout, n) for n in range(len(brokers))],
    }
    if dirs is not None:
        head["log_dirs"] = [
            {
                "broker": int(brokers.ids[dirs.broker[n]]),
                "path": dirs.paths[n],
                "total_bytes": int(dirs.total_bytes[n]),
                "usable_bytes": int(dirs.usable_bytes[n]),
                "offline": bool(dirs.offline[n]),
            }
            for n in range(len(dirs))
        ]
    file.write(orjson.dumps(head)[:-1] + b',"topics":[')
    for n, topic in enumerate(_topics(layout)):
        file.write((b",\n" if n else b"\n") + orjson.dumps(topic, option=orjson.OPT_SERIALIZE_NUMPY))
    file.write(b"\n]}\n")


def broker_row(layout: Layout, index: int) -> dict[str, Any]:
    """One broker as files have it; what is unknown is left out."""
    b = layout.brokers
    row: dict[str, Any] = {"id": int(b.ids[index])}
    if b.rack[index] >= 0:
        row["rack"] = b.racks[b.rack[index]]
    if b.update_domain[index] >= 0:
        row["update_domain"] = b.update_domains[b.update_domain[index]]
    if not b.live[index]:
        row["live"] = False
    if b.total_bytes[index]:
        row |= {"total_bytes": int(b.total_bytes[index]), "usable_bytes": int(b.usable_bytes[index])}
    return row


def _topics(layout: Layout) -> Iterator[dict[str, Any]]:
    ids = np.append(layout.brokers.ids, np.int32(NONE))  # index -1 is none
    for n, name in enumerate(layout.topics):
        rows = slice(int(layout.first[n]), int(layout.first[n + 1]))
        factor = int((layout.replicas[rows] >= 0).sum(axis=1).max(initial=1))
        numbers = layout.numbers[rows]
        topic: dict[str, Any] = {"name": name, "width": factor}
        if not (numbers == np.arange(len(numbers))).all():
            topic["numbers"] = np.ascontiguousarray(numbers)
        topic["replicas"] = ids[layout.replicas[rows, :factor]].ravel()
        topic["leaders"] = ids[layout.leader[rows]]
        topic["size_bytes"] = np.ascontiguousarray(layout.size_bytes[rows])
        if layout.bytes_in is not None:
            topic["bytes_in"] = np.ascontiguousarray(layout.bytes_in[rows])
        if layout.dirs is not None:
            topic["dirs"] = layout.dirs[rows, :factor].ravel()
        if layout.busy is not None and layout.busy[rows].any():
            topic["busy"] = numbers[layout.busy[rows]]
        yield topic


class _At:
    """Errors with the file and the path in it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def wrong(self, path: str, what: str) -> Exception:
        return invalid(f"at {path or 'the top'}: {what}", self.where, hint="the format is in docs/rebalance.md")

    def keys(self, value: Any, known: set[str], path: str) -> None:
        if not isinstance(value, dict):
            raise self.wrong(path, f"expected an object, found {_kind(value)}")
        if unknown := sorted(set(value) - known):
            raise self.wrong(path, f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")

    def rows(self, content: Mapping[str, Any], key: str, *, optional: bool = False) -> list[Any]:
        value = content.get(key)
        if value is None and optional:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, f"expected a list, found {_kind(value)}")
        return value

    def text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(path, f"expected text, found {_kind(value)}")
        return value

    def whole(self, value: Any, path: str, most: int = 2**62) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(path, f"expected a whole number from 0 to {most}, found {str(value)[:40]}")
        return value

    def flag(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(path, f"expected true or false, found {_kind(value)}")
        return value

    def column(self, value: Any, path: str, dtype: Any, length: int | None = None) -> NDArray[Any]:
        """A flat list of numbers. Whole ones must be so in the file."""
        if not isinstance(value, list):
            raise self.wrong(path, f"expected a list of numbers, found {_kind(value)}")
        if length is not None and len(value) != length:
            raise self.wrong(path, f"expected {length} values, found {len(value)}")
        if not value:
            return np.zeros(0, dtype)
        try:
            found = np.array(value)
        except (ValueError, OverflowError, TypeError):
            found = np.array(value, dtype=object)
        kinds = "if" if dtype is np.float64 else "i"
        if found.ndim != 1 or found.dtype.kind not in kinds:
            n, bad = next(((n, v) for n, v in enumerate(value) if not _fits(v, dtype)), (0, value[0]))
            wanted = "a number" if dtype is np.float64 else "a whole number of 64 bits"
            raise self.wrong(f"{path}[{n}]", f"expected {wanted}, found {str(bad)[:40]}")
        return found.astype(dtype)


def _fits(value: Any, dtype: Any) -> bool:
    if isinstance(value, bool):
        return False
    if dtype is np.float64:
        return isinstance(value, (int, float))
    return isinstance(value, int) and abs(value) < 2**63


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _broker(value: Any, path: str, at: _At) -> BrokerRow:
    at.keys(value, {"id", "rack", "update_domain", "live", "total_bytes", "usable_bytes"}, path)
    return BrokerRow(
        id=at.whole(value.get("id"), f"{path}.id", 2**31 - 1),
        rack=None if value.get("rack") is None else at.text(value["rack"], f"{path}.rack"),
        update_domain=(
            None if value.get("update_domain") is None else at.text(value["update_domain"], f"{path}.update_domain")
        ),
        live=at.flag(value.get("live", True), f"{path}.live"),
        total_bytes=at.whole(value.get("total_bytes", 0), f"{path}.total_bytes"),
        usable_bytes=at.whole(value.get("usable_bytes", 0), f"{path}.usable_bytes"),
    )


def _log_dir(value: Any, path: str, at: _At) -> LogDirRow:
    at.keys(value, {"broker", "path", "total_bytes", "usable_bytes", "offline"}, path)
    return LogDirRow(
        broker=at.whole(value.get("broker"), f"{path}.broker", 2**31 - 1),
        path=at.text(value.get("path"), f"{path}.path"),
        total_bytes=at.whole(value.get("total_bytes", 0), f"{path}.total_bytes"),
        usable_bytes=at.whole(value.get("usable_bytes", 0), f"{path}.usable_bytes"),
        offline=at.flag(value.get("offline", False), f"{path}.offline"),
    )


def _topic(value: Any, path: str, at: _At) -> TopicColumns:
    at.keys(value, _TOPIC, path)
    name = at.text(value.get("name"), f"{path}.name")
    here = f"{path} ({name})"
    width = at.whole(value.get("width"), f"{here}.width", MAX_WIDTH)
    if not width:
        raise at.wrong(f"{here}.width", "a partition has at least one replica")
    sizes = at.column(value.get("size_bytes"), f"{here}.size_bytes", np.int64)
    rows = len(sizes)
    numbers = np.arange(rows, dtype=np.int64)
    if value.get("numbers") is not None:
        numbers = at.column(value["numbers"], f"{here}.numbers", np.int64, rows)
    rates = dirs = busy = None
    if value.get("bytes_in") is not None:
        rates = at.column(value["bytes_in"], f"{here}.bytes_in", np.float64, rows)
    if value.get("dirs") is not None:
        dirs = at.column(value["dirs"], f"{here}.dirs", np.int64, rows * width).reshape(rows, width)
    if value.get("busy") is not None:
        moving = at.column(value["busy"], f"{here}.busy", np.int64)
        if len(strange := np.setdiff1d(moving, numbers)):
            raise at.wrong(f"{here}.busy", f"there is no partition {strange[0]}")
        busy = np.isin(numbers, moving)
    return TopicColumns(
        name=name,
        numbers=numbers,
        replicas=at.column(value.get("replicas"), f"{here}.replicas", np.int64, rows * width).reshape(rows, width),
        leaders=at.column(value.get("leaders"), f"{here}.leaders", np.int64, rows),
        size_bytes=sizes,
        bytes_in=rates,
        dirs=dirs,
        busy=busy,
    )
