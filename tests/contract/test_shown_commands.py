"""The commands that pages show are commands, with options that there are; the messages are those of bdops."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bdops
from bdops.cli.completing import TREE

SOURCE = Path(bdops.__file__).parent
DOCS = SOURCE.parent / "docs"
PAGES = ("monitoring.md", "terminal.md", "troubleshooting.md")
COMMANDS = json.loads(TREE.read_text())


def blocks(page: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def shown(page: str) -> Iterator[str]:
    """The lines of code blocks that call bdops, and what a crontab is told to call."""
    for block in blocks(page, ""):
        yield from (line.split(" #")[0].strip() for line in block.splitlines() if line.startswith("bdops "))


@pytest.mark.parametrize("line", [line for page in PAGES for line in shown(page)])
def test_a_command_that_is_shown_is_one(line: str) -> None:
    first, *rest = line.removeprefix("bdops ").split(" -- ")
    # What comes after `--` is bdops' own in a line for cron alone.
    for call in [first, *rest] if first.startswith("cron ") else [first]:
        words = shlex.split(call.partition(" >")[0])
        node = COMMANDS
        while "commands" in node:
            word = words.pop(0)
            assert word in node["commands"], f"{line}: {word}"
            node = node["commands"][word]
        known = COMMANDS["common"].keys() | node["options"].keys()
        assert {w.partition("=")[0] for w in words if w.startswith("-")} <= known, line


# What docs/troubleshooting.md quotes -------------------------------------------------------------------------


@cache
def source_texts() -> str:
    """Every text in the source as people see it, its placeholders as `...`."""
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.add("".join(v.value if isinstance(v, ast.Constant) else "..." for v in node.values))
    return "\n".join(found)


def quoted() -> list[str]:
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    cells = [cell for row in rows for cell in re.findall("`(.*?)`", row)]
    return [line for block in blocks("troubleshooting.md", "text") for line in block.splitlines()] + cells


@pytest.mark.parametrize("line", quoted())
def test_a_message_that_is_quoted_is_one_of_bdops(line: str) -> None:
    for part in line.removeprefix("bdops: ").split("..."):
        words = part.strip(" :()[];,")
        assert words in source_texts(), f"{words!r} of {line!r}"
