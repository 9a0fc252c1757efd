"""`bdops run` as a person and an editor meet it; every playbook that is shipped, and every operation."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from bdops.cli.operations import operations, words
from bdops.errors import UsageError
from bdops.playbooks.load import load_playbook
from bdops.playbooks.shipped import shipped
from bdops.registry import COMPONENTS, component
from tests.contract.cli import bdops
from tests.contract.test_cli import INVENTORY
from tests.contract.test_startup import FRAME, heavy, loaded, of_bdops

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "playbooks").glob("*.yaml"))
SCHEMA = json.loads((ROOT / "playbooks/playbook.schema.json").read_text())
PAGE = (ROOT / "docs/playbooks.md").read_text()
VALID = Draft202012Validator(SCHEMA)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.yaml"
    path.write_text(
        "version: 1\nhelp: A test.\nparameters: {n: {type: int, help: How many.}}\n"
        "steps:\n  - {do: zk restart, when: n > 5}\n  - {do: exec, with: {selector: node1, command: ['true']}}\n"
    )
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_playbook_is_valid_here_and_for_editors(path: Path, tmp_path: Path) -> None:
    book = load_playbook(path, operations())
    assert not list(VALID.iter_errors(yaml.safe_load(path.read_text())))
    assert f"| {path.name} |" in PAGE
    known = [c.code for name in (*COMPONENTS, "host") for c in component(name).checks]
    for step in book.steps:
        for pattern in step.wait.codes if step.wait else ():
            assert any(re.fullmatch(pattern.replace("*", ".*"), code) for code in known), pattern
    assert shipped()[path.stem] == path
    shown = bdops("run", path.stem, "--help", home=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for parameter in book.parameters:
        assert f"  {parameter.name} " in shown.stdout


def test_the_example_of_the_page_is_a_playbook(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(text)
    load_playbook(path, operations())
    assert not list(VALID.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "step",
    [
        {"do": "zk restrt"},
        {"do": "zk restart", "with": {"selektor": "a"}},
        {"do": "exec", "with": {"selector": "a"}},
        {"do": "exec"},
        {"do": "check", "approve": "a"},
        {"name": "nothing"},
        {"do": "kafka rebalance", "with": {"one_at_a_time": "perhaps"}},
    ],
)
def test_an_editor_marks_what_bdops_refuses(step: dict[str, object], tmp_path: Path) -> None:
    content = {"version": 1, "help": "a", "steps": [step]}
    assert list(VALID.iter_errors(content))
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content))
    done = bdops("run", str(path), home=tmp_path)
    assert done.returncode == 3
    assert f"{path}:" in done.stderr


def test_every_operation_is_a_command_and_has_words_of_its_own() -> None:
    for name, operation in operations().items():
        assert operation.help, name
        keys = [o.key for o in operation.options]
        assert len(keys) == len(set(keys)), name
        for option in operation.options:
            assert option.help, f"{name} {option.key}"
        assert not {"yes", "dry_run", "state", "output", "inventory", "plan_out", "textfile"} & set(keys), name
        assert f"| `{name}`" in PAGE


def test_what_a_value_says_is_never_an_option() -> None:
    run = operations()["exec"]
    hostile = {"selector": "--sudo", "command": ["--yes", "-o", "x"], "parallel": 3, "sudo": False, "batch": "--yes"}
    assert words(run, hostile) == ["--parallel=3", "--batch=--yes", "--", "--sudo", "--yes", "-o", "x"]
    with pytest.raises(UsageError, match="true or false"):
        words(run, {"sudo": "yes"})


def test_without_its_parameter_and_with_a_wrong_one_it_is_usage(inventory: Path, book: Path) -> None:
    for argv in ((), ("-e", "n=many"), ("-e", "m=3"), ("-e", "n")):
        done = bdops("run", str(book), *argv, "-i", str(inventory), home=inventory.parent)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "hint:" in done.stderr


def test_help_beside_a_playbook_is_that_playbooks(book: Path, tmp_path: Path) -> None:
    assert "How many." in bdops("run", str(book), "--help", home=tmp_path).stdout
    assert "How many." in bdops("run", "--help", str(book), home=tmp_path).stdout
    assert "PLAYBOOK" in bdops("run", "--help", home=tmp_path).stdout
    missing = bdops("run", "nowhere.yaml", "--help", home=tmp_path)
    assert missing.returncode == 3
    assert "nowhere.yaml" in missing.stderr


def test_the_help_of_run_loads_nothing_heavy() -> None:
    modules = loaded("run", "--help")
    assert of_bdops(modules) <= FRAME | {"bdops.cli.run"}
    assert not heavy(modules)


def test_a_selector_that_names_nothing_is_found_before_anything_is_done(inventory: Path, tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text("version: 1\nhelp: h\nsteps:\n  - {do: exec, with: {selector: nod1, command: ['true']}}\n")
    done = bdops("run", str(path), "-i", str(inventory), "--yes", home=inventory.parent)
    assert (done.returncode, "typo.yaml:4" in done.stderr, "node1" in done.stderr) == (2, True, True), done.stderr
    assert not list((inventory.parent / "state").glob("jobs/*"))


def test_words_that_a_command_does_not_take_are_refused_with_the_step(inventory: Path, tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("version: 1\nhelp: h\nsteps:\n  - {do: zk restart, with: {waves: sideways}}\n")
    done = bdops("run", str(path), "-i", str(inventory), "--dry-run", home=inventory.parent)
    assert (done.returncode, "words.yaml:4" in done.stderr, "sideways" in done.stderr) == (2, True, True), done.stderr


def test_one_cluster_at_a_time(inventory: Path, book: Path) -> None:
    inventory.write_text(
        INVENTORY + INVENTORY.split("clusters:\n")[1].replace("prod", "test").replace("127.0.0.1", "127.0.0.2")
    )
    done = bdops("run", str(book), "-e", "n=1", "-i", str(inventory), home=inventory.parent)
    assert done.returncode == 2
    assert "-c CLUSTER" in done.stderr


def test_a_hostile_playbook_is_refused_before_anything_is_asked_of_a_cluster(inventory: Path) -> None:
    path = inventory.parent / "hostile.yaml"
    path.write_text(
        "version: 1\nhelp: h\nsteps:\n"
        "  - {do: exec, with: {selector: node1, command: [\"{{ ''.__class__.__base__.__subclasses__() }}\"]}}\n"
        "  - {do: exec, with: {selector: node1, command: [\"{% include '/etc/passwd' %}\"]}}\n"
        "  - {do: exec, with: {selector: node1, command: [\"{{ 'a' * 999999999 }}\"]}}\n"
        "  - {do: lab up}\n  - {do: jobs abort}\n  - {do: ../../bin/sh}\n"
    )
    began = time.monotonic()
    done = bdops("run", str(path), "-i", str(inventory), "--yes", "-o", "json", home=inventory.parent)
    assert done.returncode == 3
    assert {e["code"] for e in done.json["errors"]} == {"PLAYBOOK_INVALID"}
    assert [e["where"].rpartition(":")[2] for e in done.json["errors"]] == ["4", "5", "6", "7", "8", "9"]
    assert time.monotonic() - began < 30
