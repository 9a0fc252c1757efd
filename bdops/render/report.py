"""The one renderer of reports: the same data as table, JSON or YAML, with and without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, TextIO

from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, format_size
from bdops.errors import UsageError
from bdops.render.envelope import envelope, write_envelope

STREAM_AFTER_ROWS = 500
"""A table is laid out by its first rows; those that follow are printed as they come, at the same widths."""


def show_report(
    report: Report,
    output: str,
    *,
    command: str,
    verbose: int,
    columns: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Print a report on stdout. As `name` it is the first column of its first table, a value a line.

    `columns` are those of a table to show, by their keys or titles in lower case, wide ones too, in this order; a
    table that has none of them is left out. Raises UsageError for one that no table has.
    """
    stream = stream or sys.stdout
    if output == "name":
        for table in report.tables[:1]:
            for row in table.rows:
                stream.write(f"{format_cell(row.get(table.columns[0].key), '')}\n")
        return
    if output in ("json", "yaml"):
        data: dict[str, Any] = {name.lstrip("_"): value for name, value in report.facts.items()}
        if report.summary:
            data["summary"] = report.summary
        data.update({table.name: iter(table.rows) for table in report.tables})
        write_envelope(envelope(command, report.status, data), output, stream)
        return
    chosen = {table.name: _chosen(table, columns, verbose) for table in report.tables}
    if report.tables and columns:
        _require_columns(report.tables, columns)
    facts = {name: value for name, value in report.facts.items() if not name.startswith("_")}
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        stream.write(f"{name + ':':<{width + 1}} {format_cell(value, '')}\n")
    for table in report.tables:
        if not chosen[table.name]:
            continue
        if table.title:
            stream.write(f"{table.title}\n")
        _write_table(table, chosen[table.name], stream)
    if report.summary:
        stream.write(f"{report.summary}\n")


def format_cell(value: Any, unit: str) -> str:
    """One value for people; None is `-`, a list is joined by commas."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return ",".join(format_cell(item, unit) for item in items) or "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (int, float)):
        if unit == "bytes":
            return format_size(value)
        if unit == "bar":
            return bar(value)
        if unit == "s":
            return format_duration(value)
        if unit in ("ms", "%"):
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def _chosen(table: Table, names: Sequence[str], verbose: int) -> list[Column]:
    if not names:
        return [c for c in table.columns if verbose or not c.wide]
    known = {**{c.title.lower(): c for c in table.columns if c.title}, **{c.key.lower(): c for c in table.columns}}
    return [known[name] for name in names if name in known]


def _require_columns(tables: Iterable[Table], names: Sequence[str]) -> None:
    known = {c.key.lower() for t in tables for c in t.columns} | {c.title.lower() for t in tables for c in t.columns}
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            columns = ", ".join(dict.fromkeys(c.key for t in tables for c in t.columns))
            hint = f"did you mean {near[0]}?" if near else f"the columns: {columns}"
            raise UsageError(f"there is no column {name!r}", hint=hint)


def _write_table(table: Table, columns: list[Column], stream: TextIO) -> None:
    rows = (_cells(columns, row) for row in table.rows)
    first = list(islice(rows, STREAM_AFTER_ROWS))
    if not first:
        stream.write(f"{table.empty}\n")
        return
    rest = next(rows, None)
    if rest is None and stream.isatty():
        _write_rich_table(columns, first, stream)
    else:
        _write_plain_table(columns, first, chain(() if rest is None else (rest,), rows), stream)


BAR_WIDTH = 16


def bar(fraction: float) -> str:
    """A fraction from 0 to 1 as a bar in eighths of a character, so that small differences show."""
    eighths = round(min(max(fraction, 0.0), 1.0) * BAR_WIDTH * 8)
    return ("█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]) or "·"


def _cells(columns: Iterable[Column], row: Mapping[str, Any]) -> list[str]:
    return [format_cell(row.get(c.key), c.unit) for c in columns]


def _write_plain_table(
    columns: list[Column], first: list[list[str]], rest: Iterator[list[str]], stream: TextIO
) -> None:
    """Aligned columns without lines or wrapping: what a pipe and a very long table want."""
    titles = [(c.title or c.key).upper() for c in columns]
    widths = [max(len(titles[i]), *(len(row[i]) for row in first)) for i in range(len(columns))]
    for row in chain((titles,), first, rest):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        stream.write("  ".join(cells).rstrip() + "\n")


def _write_rich_table(columns: list[Column], rows: list[list[str]], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.unit in ("bytes", "s", "ms", "%")
        table.add_column((column.title or column.key).upper(), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(file=stream, highlight=False, markup=False).print(table)
