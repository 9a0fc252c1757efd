"""What a command found or did, as frozen data: the CLI makes one, one renderer shows it in any format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "critical", "unknown", "failed", "refused", "paused"]
Unit = Literal["", "bytes", "s", "ms", "%", "bool", "time", "bar"]
"""How a cell is shown to people; `bar` is a fraction from 0 to 1 as a bar."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the rows' key, its title for people (default: the key), and the unit that formats its cells."""

    key: str
    title: str = ""
    unit: Unit = ""
    wide: bool = False
    """Shown in a table only with `-v`; always in JSON and YAML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one shape. `rows` may be a generator: it is rendered as it comes and never held whole."""

    name: str
    columns: tuple[Column, ...]
    rows: Iterable[Mapping[str, Any]]
    title: str | None = None
    empty: str = "none"
    """What to say when there are no rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a command. In JSON, `data` holds `facts` and each table's rows under its name."""

    status: Status = "ok"
    summary: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Single values by name; shown in a table output as `name: value` lines unless the name starts with `_`."""
    tables: tuple[Table, ...] = ()
