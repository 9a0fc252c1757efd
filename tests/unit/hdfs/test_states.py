"""The HDFS checks on hand-written states: each case of data/cases.json is healthy.json with something changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdops.components.hdfs import lists
from bdops.components.hdfs.component import COMPONENT, serving
from bdops.components.hdfs.source import saved_blocks
from bdops.components.hdfs.state import HdfsState
from bdops.components.state_file import load_state
from bdops.core.checks import CheckResult, run_checks
from bdops.errors import ConfigError, StateUnknown

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "cases.json").read_text())


def changed(data: Any, changes: dict[str, Any]) -> Any:
    """The data with values put at dotted paths; the word "remove" takes an entry of a list away."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = data
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if value == "remove":
            del place[int(last)]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return data


def state_of(changes: dict[str, Any], folder: Path) -> HdfsState:
    file = folder / "state.json"
    file.write_text(json.dumps(changed(json.loads((DATA / "healthy.json").read_text()), changes)))
    state = load_state(file, {"hdfs": HdfsState})
    assert isinstance(state, HdfsState)
    return state


def results(state: HdfsState) -> dict[str, CheckResult]:
    return {r.code: r for r in run_checks(COMPONENT.checks, state, component="hdfs")}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_a_state_is_judged_as_it_should_be(case: dict[str, Any], tmp_path: Path) -> None:
    found = results(state_of(case["set"], tmp_path))
    assert {code: r.severity.value for code, r in found.items() if r.severity.value != "ok"} == case["expect"]
    for code, objects in case.get("objects", {}).items():
        assert [f.object for f in found[code].objects] == objects
    for code, blames in case.get("blames", {}).items():
        assert {b for f in found[code].objects for b in f.blames} == set(blames)


def test_every_check_is_shown_non_ok_by_some_case() -> None:
    shown = {code for case in CASES for code, severity in case["expect"].items() if severity != "unknown"}
    assert {check.code for check in COMPONENT.checks} == shown


def test_a_state_with_nothing_in_it_is_unknown_throughout(tmp_path: Path) -> None:
    file = tmp_path / "bare.json"
    file.write_text('{"component": "hdfs", "cluster": "prod", "taken_at": "2026-11-23T12:00:00Z"}')
    found = results(load_state(file, {"hdfs": HdfsState}))
    assert {r.severity.value for r in found.values()} == {"unknown"}


def test_a_misspelt_reading_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data_nodes"):
        state_of({"data_nodes": []}, tmp_path)


class TestServing:
    def test_each_instance_serves_when_all_is_well(self, tmp_path: Path) -> None:
        state = state_of({}, tmp_path)
        assert serving(state) == {e.name: True for e in state.expected or ()}

    def test_a_dead_datanode_and_a_silent_namenode_do_not_serve(self, tmp_path: Path) -> None:
        down = {"instance": "prod/hdfs/node2/namenode", "error": "Connection refused"}
        answers = serving(state_of({"datanodes.3.live": False, "namenodes.1": down}, tmp_path))
        assert {name for name, ok in answers.items() if not ok} == {
            "prod/hdfs/node2/namenode",
            "prod/hdfs/node4/datanode",
        }

    def test_datanodes_are_unknown_while_no_namenode_tells_of_them(self, tmp_path: Path) -> None:
        answers = serving(state_of({"datanodes": None}, tmp_path))
        assert answers["prod/hdfs/node1/datanode"] is None


class TestLists:
    def test_status_says_who_is_active(self, tmp_path: Path) -> None:
        report = lists.status(state_of({}, tmp_path))
        assert (report.status, report.facts["active"]) == ("ok", "prod/hdfs/node1/namenode")

    def test_status_without_an_active_namenode_is_critical(self, tmp_path: Path) -> None:
        assert lists.status(state_of({"namenodes.0.state": "standby"}, tmp_path)).status == "critical"

    def test_datanodes_of_the_inventory_that_nobody_knows_are_listed_as_missing(self, tmp_path: Path) -> None:
        report = lists.datanodes(state_of({"datanodes.3": "remove"}, tmp_path), with_problems=True)
        assert [(r["datanode"], r["state"]) for r in report.tables[0].rows] == [("node4", "missing")]

    def test_blocks_of_a_saved_state_can_be_narrowed(self, tmp_path: Path) -> None:
        block = {"block": "blk_1_1", "length_bytes": 10, "wanted": 3}
        blocks = [
            {**block, "file": "/data/short", "live": 2},
            {**block, "file": "/data/gone", "live": 0},
            {**block, "file": "/database/gone", "live": 0},
        ]
        state = state_of({"degraded_blocks.blocks": blocks}, tmp_path)

        def files(**only: bool) -> list[str]:
            table = lists.blocks(saved_blocks(state, "/data"), lists.BlockFilter(**only)).tables[0]
            return [row["file"] for row in table.rows]

        assert files() == ["/data/short", "/data/gone"]
        assert files(missing=True) == ["/data/gone"]
        assert files(under_replicated=True) == ["/data/short"]

    def test_blocks_of_a_state_without_them_are_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(StateUnknown):
            saved_blocks(state_of({"degraded_blocks": None}, tmp_path), "/")
