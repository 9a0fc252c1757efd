"""The versioned envelope of every JSON and YAML output, results and errors alike. Long lists are streamed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, TextIO

VERSION = 1


def envelope(
    command: str, status: str, data: Mapping[str, Any], errors: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """`{"bdops": 1, "command", "status", "data", "errors"}`; iterators in `data` are written as they come."""
    return {"bdops": VERSION, "command": command, "status": status, "data": data, "errors": list(errors)}


def write_envelope(content: Mapping[str, Any], output: str, stream: TextIO) -> None:
    """Write the envelope as `json` or `yaml`, one newline after it."""
    if output == "yaml":
        import yaml

        yaml.safe_dump(plain(content), stream, sort_keys=False, allow_unicode=True)
        return
    for piece in _json_pieces(content):
        stream.write(piece)
    stream.write("\n")


def plain(value: Any) -> Any:
    """Any result as plain JSON values: dataclasses and mappings as objects, times as ISO 8601, sets sorted."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    raise TypeError(f"cannot show a {type(value).__name__}")


def _json_pieces(value: Any, indent: int = 0) -> Iterator[str]:
    pad = "\n" + "  " * (indent + 1)
    if isinstance(value, Mapping):
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield f"{',' if i else ''}{pad}{json.dumps(str(key))}: "
            yield from _json_pieces(item, indent + 1)
        yield "\n" + "  " * indent + "}" if value else "}"
    elif isinstance(value, Iterator):
        yield "["
        first = True
        for item in value:
            yield f"{'' if first else ','}{pad}{json.dumps(plain(item), ensure_ascii=False)}"
            first = False
        yield "]" if first else "\n" + "  " * indent + "]"
    elif isinstance(value, (list, tuple)):
        yield from _json_pieces(iter(value), indent)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _json_pieces(plain(value), indent)
    else:
        yield json.dumps(plain(value), ensure_ascii=False)
