"""Saved states: strict in what they take, and unknown, never ok, about what they lack."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from bdops.components.state_file import load_state, save_state
from bdops.core.checks import Severity
from bdops.core.checks import run_checks as run
from bdops.errors import ConfigError
from bdops.registry import COMPONENTS, component
from tests.contract.cli import bdops

ROOT = Path(__file__).parents[2]
ALL = [*COMPONENTS, "host"]


def minimal(name: str) -> dict[str, object]:
    return {"component": name, "version": 1, "cluster": "prod", "taken_at": "2026-03-01T12:00:00Z"}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def load(path: Path, name: str):
    return load_state(path, {name: component(name).state})


@pytest.mark.parametrize("name", ALL)
def test_a_state_that_knows_nothing_is_unknown_in_every_check(name: str, tmp_path: Path) -> None:
    state = load(write(tmp_path / "state.json", minimal(name)), name)
    results = run(component(name).checks, state, component=name)
    assert results
    assert [r.code for r in results if r.severity is not Severity.UNKNOWN] == []


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_key_is_an_error_with_its_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="partitons"):
        load(write(tmp_path / "state.json", {**minimal(name), "partitons": []}), name)


@pytest.mark.parametrize("name", ALL)
def test_a_state_that_was_saved_loads_as_it_was(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "state.json", minimal(name))
    state = load(path, name)
    saved = tmp_path / "saved.json"
    save_state(state, saved)
    assert load(saved, name) == state
    assert saved.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ALL)
def test_the_schema_in_docs_accepts_what_loads_and_refuses_what_does_not(name: str) -> None:
    schema = json.loads((ROOT / f"docs/state-{name}.schema.json").read_text())
    jsonschema.validate(minimal(name), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**minimal(name), "partitons": []}, schema)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"kafka"', '{"component": "yarn"}', '{"component": "kafka"}', "\x00", '{"component": 1}'],
)
def test_a_file_that_is_no_state_is_an_error_with_the_files_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, "kafka")
    assert caught.value.where == str(path)
    assert bdops("kafka", "check", "--state", str(path), home=tmp_path).returncode == 3


def test_a_state_answers_check_from_any_spelling_of_the_command(tmp_path: Path) -> None:
    path = write(tmp_path / "state.json", minimal("zk"))
    for argv in (("check", "--state", str(path)), ("zk", "check", "--state", str(path))):
        done = bdops(*argv, "-o", "json", home=tmp_path)
        assert done.returncode == 3
        assert done.json["status"] == "unknown"
        assert {r["subject"] for r in done.json["data"]["checks"]} == {"prod/zk"}


def test_the_state_of_another_component_is_refused_with_the_one_that_is_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "state.json", minimal("zk"))
    done = bdops("kafka", "check", "--state", str(path), home=tmp_path)
    assert done.returncode == 3
    assert "one of kafka" in done.stderr
