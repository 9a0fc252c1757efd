"""The one renderer of reports: the same data as table, JSON or YAML, with and without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from typing import Any, TextIO

from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, format_size
from bdops.render.envelope import envelope, write_envelope

STREAM_AFTER_ROWS = 500
"""A table is laid out by its first rows; those that follow are printed as they come, at the same widths."""


def show_report(report: Report, output: str, *, command: str, verbose: int, stream: TextIO | None = None) -> None:
    """Print a report on stdout."""
    stream = stream or sys.stdout
    if output in ("json", "yaml"):
        data: dict[str, Any] = {name.lstrip("_"): value for name, value in report.facts.items()}
        if report.summary:
            data["summary"] = report.summary
        data.update({table.name: iter(table.rows) for table in report.tables})
        write_envelope(envelope(command, report.status, data), output, stream)
        return
    facts = {name: value for name, value in report.facts.items() if not name.startswith("_")}
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        stream.write(f"{name + ':':<{width + 1}} {format_cell(value, '')}\n")
    for table in report.tables:
        if table.title:
            stream.write(f"{table.title}\n")
        _write_table(table, stream, verbose)
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
        if unit == "s":
            return format_duration(value)
        if unit in ("ms", "%"):
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def _write_table(table: Table, stream: TextIO, verbose: int) -> None:
    columns = [c for c in table.columns if verbose or not c.wide]
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
