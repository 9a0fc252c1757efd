"""The example inventories, the schema for editors, and the examples of docs/inventory.md are true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bdops.inventory.load import load_inventory
from bdops.inventory.schema import inventory_schema
from bdops.inventory.selectors import select
from bdops.inventory.yaml_source import parse_yaml, plain
from bdops.registry import COMPONENTS, settings

ROOT = Path(__file__).parents[3]
SETTINGS = {name: settings(name) for name in COMPONENTS}
EXAMPLES = sorted((ROOT / "inventory").glob("*.yaml"))
DOC = (ROOT / "docs/inventory.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_names_its_schema(path: Path) -> None:
    inventory = load_inventory(path, SETTINGS)
    assert {d.component for c in inventory.clusters for d in c.deployments} == set(COMPONENTS)
    assert path.read_text().startswith("# yaml-language-server: $schema=inventory.schema.json\n")


def test_the_large_example_is_of_a_real_size() -> None:
    (cluster,) = load_inventory(ROOT / "inventory/sixty-hosts.yaml", SETTINGS).clusters
    assert len(cluster.hosts) == 60
    assert {host.rack for host in cluster.hosts} == {"r1", "r2", "r3"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found = inventory_schema(SETTINGS)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_the_schema_in_the_repository_is_fresh(schema: dict[str, Any]) -> None:
    assert json.loads((ROOT / "inventory/inventory.schema.json").read_text()) == schema


def complaints(schema: dict[str, Any], text: str) -> list[str]:
    data = plain(parse_yaml(text, "f", []))
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_editor_finds_nothing_wrong_with_an_example(path: Path, schema: dict[str, Any]) -> None:
    assert complaints(schema, path.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data_dirs: [/data/1/kafka, /data/2/kafka]", "data_dir: [/data/1/kafka]"),
        ("{node_id: 1}", "{node_id: one}"),
        ("{rack: r1,", "{racks: r1,"),
        ("manager: systemd", "manager: systemctl"),
        ("roles: participant", "roles: participants"),
        ("{file: ~/.config/bdops/es-password}", "hunter2"),
    ],
)
def test_an_editor_marks_what_the_loader_refuses(old: str, new: str, schema: dict[str, Any]) -> None:
    text = (ROOT / "inventory/three-hosts.yaml").read_text()
    assert old in text
    assert complaints(schema, text.replace(old, new))


def yaml_blocks() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", yaml_blocks())
def test_the_inventories_of_the_documentation_are_valid(text: str, tmp_path: Path, schema: dict[str, Any]) -> None:
    (tmp_path / "inv.yaml").write_text(text)
    load_inventory(tmp_path / "inv.yaml", SETTINGS)
    assert complaints(schema, text) == []


def test_the_selectors_of_the_documentation_select_something() -> None:
    inventory = load_inventory(ROOT / "inventory/sixty-hosts.yaml", SETTINGS)
    table = DOC.partition("## Selectors")[2].partition("\n## ")[0]
    selectors = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(selectors) >= 8
    for selector in selectors:
        assert select(inventory, selector), selector


def test_every_field_of_the_model_is_documented() -> None:
    from bdops.inventory import edge

    for model in (edge.ClusterDoc, edge.HostDoc, edge.SshDoc, edge.ServiceDoc, edge.MuteDoc, edge.ComponentDoc):
        for name in model.model_fields:
            assert f"`{name}`" in DOC, f"{model.__name__}.{name}"


def test_pyyaml_reads_the_examples_too() -> None:
    for path in EXAMPLES:
        assert yaml.safe_load(path.read_text())["version"] == 1
