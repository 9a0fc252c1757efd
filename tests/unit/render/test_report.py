from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator

import pytest
import yaml

from bdops.core.result import Column, Report, Table
from bdops.errors import UsageError
from bdops.render.report import show_report


def blocks(count: int) -> Iterator[dict[str, object]]:
    return ({"path": f"/data/file-{i}", "size": i * 1024, "ok": i % 2 == 0} for i in range(count))


COLUMNS = (Column("path"), Column("size", unit="bytes"), Column("ok"), Column("detail", wide=True))


def shown(report: Report, output: str, verbose: int = 0) -> str:
    out = io.StringIO()
    show_report(report, output, command="hdfs blocks", verbose=verbose, stream=out)
    return out.getvalue()


def report(count: int) -> Report:
    return Report(facts={"nameservice": "ns"}, tables=(Table(name="blocks", columns=COLUMNS, rows=blocks(count)),))


def test_a_table_aligns_formats_and_hides_wide_columns() -> None:
    lines = shown(report(3), "table").splitlines()
    assert lines[0] == "nameservice: ns"
    assert lines[1].split() == ["PATH", "SIZE", "OK"]
    assert lines[3] == "/data/file-1  1.0 KiB  no"
    assert "DETAIL" in shown(report(1), "table", verbose=1)


def test_json_and_yaml_hold_the_same_data() -> None:
    as_json = json.loads(shown(report(700), "json"))
    as_yaml = yaml.safe_load(shown(report(700), "yaml"))
    assert as_json == as_yaml
    assert len(as_json["data"]["blocks"]) == 700
    assert as_json["data"]["nameservice"] == "ns"


def test_an_empty_table_says_so_and_is_an_empty_list_in_json() -> None:
    assert "none" in shown(report(0), "table")
    assert json.loads(shown(report(0), "json"))["data"]["blocks"] == []


class Sink(io.StringIO):
    """Counts what it is given and keeps nothing."""

    size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


def test_a_long_table_is_never_held_whole() -> None:
    for output in ("table", "json"):
        tracemalloc.start()
        sink = Sink()
        show_report(report(50_000), output, command="x", verbose=0, stream=sink)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sink.size > 1_000_000
        assert peak_bytes < 2_000_000, output


def with_columns(*names: str) -> str:
    out = io.StringIO()
    show_report(report(2), "table", command="hdfs blocks", verbose=0, columns=names, stream=out)
    return out.getvalue()


def test_columns_are_those_that_were_named_in_their_order_wide_ones_too() -> None:
    assert with_columns("detail", "path").splitlines()[1].split() == ["DETAIL", "PATH"]


def test_a_column_that_no_table_has_is_usage_with_the_likely_one() -> None:
    with pytest.raises(UsageError) as caught:
        with_columns("pth")
    assert caught.value.hint == "did you mean path?"


def test_names_are_the_first_column_and_nothing_else() -> None:
    assert shown(report(3), "name") == "/data/file-0\n/data/file-1\n/data/file-2\n"
    assert shown(Report(summary="done"), "name") == ""
