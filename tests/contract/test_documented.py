"""Every option, code and key is documented: one that is added without a word for it fails here."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel

import bdops
from bdops.cli.app import COMMANDS, root_command
from bdops.cli.operations import operations
from bdops.inventory import edge
from bdops.inventory.edge import FileDoc
from bdops.playbooks.edge import PlaybookDoc
from bdops.playbooks.schema import playbook_schema
from bdops.registry import COMPONENTS, component, settings

SOURCE = Path(bdops.__file__).parent
DOCS = SOURCE.parent / "docs"
CODE = re.compile(r'\bcode(?:: str)? ?= ?"([A-Z][A-Z0-9_]+)"|\bdefault_code(?:: str)? = "([A-Z][A-Z0-9_]+)"')


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text()


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from leaves(f"{path} {name}", command.get_command(None, name))
    else:
        yield path, command


ROOT = root_command()
EVERY = [leaf for name in COMMANDS for leaf in leaves(f"bdops {name}", ROOT.get_command(None, name))]


# Commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_a_command_its_options_and_its_words_are_explained(path: str, command: Any) -> None:
    about, _, example = inspect.cleandoc(command.help or "").partition("Example:")
    assert len(about.strip()) > 15, "what is it for?"
    assert example.strip().startswith("bdops "), "an example?"
    for param in command.params:
        if not getattr(param, "hidden", False):
            assert len((getattr(param, "help", None) or "").strip()) > 5, f"{param.name}: what does it do?"


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_option_of_a_command_is_on_its_page(path: str, command: Any) -> None:
    _, _, rest = page("commands.md").partition(f"\n### {path}\n")
    section = rest.partition("\n### ")[0]
    everywhere = page("commands.md").partition("\n### ")[0]
    for param in command.params:
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            for name in (*param.opts, *param.secondary_opts):
                assert re.search(rf"[`, ]{re.escape(name)}[`, ]", section + everywhere), name


# Codes ------------------------------------------------------------------------------------------------------


def written_codes() -> Iterator[tuple[str, str]]:
    """The codes in the source, by a plain reading of its text: the page itself is made from its syntax."""
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name.endswith("_pb2.py"):
            continue
        for match in CODE.finditer(file.read_text()):
            yield match[1] or match[2], str(file.relative_to(SOURCE))


def test_every_code_of_an_error_or_check_is_on_a_page() -> None:
    documented = set(re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", page("errors.md"), re.MULTILINE))
    documented |= set(re.findall(r"^### ([A-Z][A-Z0-9_]+)$", page("checks.md"), re.MULTILINE))
    found = dict(written_codes())
    assert len(found) > 200
    assert {code: file for code, file in found.items() if code not in documented} == {}


def test_every_rule_of_a_gate_is_on_a_page() -> None:
    for name in COMPONENTS:
        for rule, meaning in component(name).gate_rules.items():
            assert f"| {rule} | {meaning}" in page("errors.md").replace("\\|", "|")


# Keys -------------------------------------------------------------------------------------------------------


def members(kind: Any) -> Iterator[type]:
    """The classes in a type: of `Annotated[dict[str, HostDoc] | None, ...]` that is HostDoc."""
    if typing.get_origin(kind) is typing.Annotated:
        yield from members(typing.get_args(kind)[0])
    elif typing.get_origin(kind) in (typing.Union, UnionType, dict, list, tuple):
        for each in typing.get_args(kind):
            yield from members(each)
    elif isinstance(kind, type):
        yield kind


def keys(kind: Any, seen: set[type]) -> Iterator[str]:
    """The keys that a file may have by a model or settings, all levels of it."""
    for one in members(kind):
        if one in seen:
            continue
        seen.add(one)
        if issubclass(one, BaseModel):
            for name, found in one.model_fields.items():
                yield found.alias or name
                yield from keys(found.annotation, seen)
        elif dataclasses.is_dataclass(one) and one is not edge.Amount:
            for name, hint in typing.get_type_hints(one).items():
                if name in {f.name for f in dataclasses.fields(one)}:
                    yield name
                    yield from keys(hint, seen)


@pytest.mark.parametrize("name", ["", *COMPONENTS])
def test_every_key_of_an_inventory_is_in_the_reference(name: str) -> None:
    reference = page("inventory.md").partition("\n## Reference\n")[2]
    wanted = list(keys(settings(name).type if name else FileDoc, set()))
    assert len(wanted) > 15
    row = r"^\| `(?:[a-z_]+\.)*{}` \| .+ \| .* \| .* \| \S.{{9,}} \|$"
    assert [key for key in wanted if not re.search(row.format(key), reference, re.MULTILINE)] == []


def test_every_key_of_a_playbook_is_on_its_page_and_in_its_schema() -> None:
    text = page("playbooks.md")
    wanted = set(keys(PlaybookDoc, set()))
    assert {"for_each", "at_least", "choices"} <= wanted
    assert [key for key in wanted if not re.search(rf"`{key}`|\| {key}\b|, {key} \||\b{key}:", text)] == []
    schema = playbook_schema(operations())
    for where, definition in {"": schema, **schema["$defs"]}.items():
        for key, said in definition["properties"].items():
            assert said.get("description"), f"{where}.{key}: what is it for?"


def test_every_operation_of_a_playbook_and_its_keys_are_on_its_page() -> None:
    for operation in operations().values():
        (row,) = re.findall(rf"^\| `{operation.name}`(?: \(reads\))? \| (.*) \|$", page("playbooks.md"), re.MULTILINE)
        assert {o.key for o in operation.options} == set(re.findall(r"\w+", row))
