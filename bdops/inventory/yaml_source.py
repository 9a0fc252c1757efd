"""YAML text into plain data that remembers its lines.

Scalars follow YAML 1.2's core rules: `yes`, `no`, `on`, `off`, `22:30` and `0755` are text, so that a rack
called `no` stays one. Keys are always text. Built on PyYAML's event stream (libyaml's where it is there),
so that nesting, aliases and duplicate keys are judged while reading and nothing is expanded first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bdops.core.units import format_size
from bdops.errors import ConfigError

MAX_FILE_BYTES = 32 * 2**20
MAX_DEPTH = 40
MAX_NODES = 2_000_000
"""Nodes with every alias counted as if written out: what a bomb of aliases would expand to."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}|0o[0-7]{1,20}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

Key = str | int
"""A step of a path: a mapping's key or a list's index."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class YamlMap(dict[str, Any]):
    """A mapping; `lines` has the line of each key, `origin` the line where it begins."""

    __slots__ = ("lines", "origin")

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.lines: dict[str, int] = {}


class YamlList(list[Any]):
    """A list; `lines` has the line of each item."""

    __slots__ = ("lines", "origin")

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.lines: list[int] = []


def path_text(path: Sequence[Key]) -> str:
    """`clusters.prod.mutes[0].until`; keys that are long or not printable are made short and plain."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key_text(part)}" for part in path)
    return text.lstrip(".") or "the file"


def _key_text(key: str) -> str:
    shown = key if key and key.isprintable() else repr(key)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def origin_of(data: Any, path: Sequence[Key]) -> Origin | None:
    """Where the value at `path` under `data` was written, or the nearest thing around it that was."""
    origin: Origin | None = getattr(data, "origin", None)
    for part in path:
        if isinstance(data, YamlMap) and part in data:
            origin = Origin(data.origin.file, data.lines[str(part)])
            data = data[str(part)]
        elif isinstance(data, YamlList) and isinstance(part, int) and 0 <= part < len(data):
            origin = Origin(data.origin.file, data.lines[part])
            data = data[part]
        else:
            break
    return origin


def plain(data: Any) -> Any:
    """The same data as ordinary dicts and lists."""
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    return data


def read_text(path: Path, what: str = "the inventory file", max_bytes: int = MAX_FILE_BYTES) -> str:
    """The text of a file. Raises ConfigError when it cannot be read, is too large or is not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as e:
        reason = "it is a directory" if isinstance(e, IsADirectoryError) else (e.strerror or str(e))
        raise _error(f"cannot read {what}: {reason}", str(path)) from None
    if len(raw) > max_bytes:
        raise _error(f"the file is larger than {format_size(max_bytes)}", str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise _error(
            f"the file is not UTF-8 text: byte 0x{raw[e.start]:02x} in line {line}",
            f"{path}:{line}",
            hint="save it as UTF-8",
        ) from None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How scalars are read: more words with a meaning, and tags whose text is kept, by tag. `max_nodes`: see above."""

    words: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    max_nodes: int = MAX_NODES


def parse_yaml(text: str, file: str, problems: list[ConfigError], dialect: Dialect | None = None) -> Any:
    """The data of one YAML document, None when it is empty.

    Duplicate keys are added to `problems` and the first of them kept. Raises ConfigError with file and line
    for what is not YAML, has more than one document, is nested too deep or expands to too much.
    """
    try:
        return _Builder(text, file, problems, dialect or Dialect()).document()
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else 1
        raise _syntax_error(e, text, file, line) from None
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        raise _error("not YAML: the text has a control character that YAML does not allow", f"{file}:{line}") from None
    except yaml.YAMLError as e:
        raise _error(f"not YAML: {e}", f"{file}:1") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str, line: int) -> ConfigError:
    lines = text.split("\n")
    source = lines[line - 1] if line <= len(lines) else ""
    if "\t" in source[: len(source) - len(source.lstrip())]:
        return _error("not YAML: a tab is used for indentation", f"{file}:{line}", hint="indent with spaces")
    parts = [part for part in (error.context, error.problem) if part]
    hint = "check the indentation, the colons, and that every quote and bracket is closed"
    return _error(f"not YAML: {', '.join(parts)}", f"{file}:{line}", hint=hint)


def _error(message: str, where: str, hint: str | None = None) -> ConfigError:
    return ConfigError(message, where=where, hint=hint, code="INVENTORY_INVALID")


class _Builder:
    """Builds the data from the events, counting depth and (expanded) nodes as it goes."""

    def __init__(self, text: str, file: str, problems: list[ConfigError], dialect: Dialect) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._file = file
        self._problems = problems
        self._dialect = dialect
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._path: list[str] = []

    def document(self) -> Any:
        data, seen = None, False
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise self._fail("a second YAML document begins here: one file holds one document", event)
                seen = True
                data, _, _ = self._node(next(self._events), 0)
        return data

    def _node(self, event: Any, depth: int) -> tuple[Any, str, int]:
        """The value of a node, its text where it is a scalar, and its weight in nodes."""
        if depth > MAX_DEPTH:
            raise self._fail(f"nested deeper than {MAX_DEPTH} levels", event)
        data: Any
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._fail(f"the alias *{event.anchor} has no anchor before it", event)
            data, weight = self._anchors[event.anchor]
            self._count(weight, event)
            return data, "", weight
        before = self._nodes
        self._count(1, event)
        text = ""
        if isinstance(event, yaml.ScalarEvent):
            text = event.value
            data = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq")
            data = self._list(event, depth)
        else:
            self._check_tag(event, "map")
            data = self._map(event, depth)
        weight = self._nodes - before
        if event.anchor:
            self._anchors[event.anchor] = (data, weight)
        return data, text, weight

    def _list(self, start: Any, depth: int) -> YamlList:
        items = YamlList(self._origin(start))
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.lines.append(_line(event))
            items.append(self._node(event, depth + 1)[0])
        return items

    def _map(self, start: Any, depth: int) -> YamlMap:
        found = YamlMap(self._origin(start))
        merged: list[YamlMap] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._fail("a key must be plain text, not a mapping, a list or an alias", event)
            key, line = self._node(event, depth + 1)[1], _line(event)
            self._path.append(key)
            value = self._node(next(self._events), depth + 1)[0]
            self._path.pop()
            if key == "<<" and event.implicit[0]:
                merged += self._merge_sources(value, event)
            elif key in found:
                path = path_text([*self._path, key])
                self._problems.append(
                    _error(
                        f"{path}: the key is there twice; it was first given in line {found.lines[key]}",
                        f"{self._file}:{line}",
                        hint="keep one of them",
                    )
                )
            else:
                found[key] = value
                found.lines[key] = line
        for source in merged:
            for key, value in source.items():
                if key not in found:
                    found[key] = value
                    found.lines[key] = source.lines[key]
        return found

    def _merge_sources(self, value: Any, event: Any) -> list[YamlMap]:
        sources = value if isinstance(value, YamlList) else [value]
        if not all(isinstance(source, YamlMap) for source in sources):
            raise self._fail("<< wants a mapping, or a list of mappings", event)
        return list(sources)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        tag = event.tag
        if tag in self._dialect.tags:
            return self._dialect.tags[tag](text)
        if tag and tag != "!":
            kind = tag.removeprefix(_CORE)
            if not tag.startswith(_CORE) or kind not in ("str", "int", "float", "bool", "null"):
                raise self._fail(f"the tag {_tag_name(tag)} is not known here", event)
            value = text if kind == "str" else _plain_scalar(text)
            if kind == "float" and isinstance(value, int):
                value = float(value)
            wanted = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}[kind]
            if type(value) is not wanted:
                raise self._fail(f"the value is not a {kind} as its tag says", event)
            return value
        if not event.implicit[0]:
            return text
        return self._dialect.words[text] if text in self._dialect.words else _plain_scalar(text)

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag and event.tag not in ("!", _CORE + kind):
            raise self._fail(f"the tag {_tag_name(event.tag)} is not known here", event)

    def _count(self, weight: int, event: Any) -> None:
        self._nodes += weight
        if self._nodes > (most := self._dialect.max_nodes):
            raise self._fail(f"the file expands to more than {most} values through its aliases", event)

    def _origin(self, event: Any) -> Origin:
        return Origin(self._file, _line(event))

    def _fail(self, message: str, event: Any) -> ConfigError:
        return _error(message, str(self._origin(event)))


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _tag_name(tag: str) -> str:
    return "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag


def _plain_scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
