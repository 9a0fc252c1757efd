"""The commands that docs/monitoring.md and docs/terminal.md show are commands, with options that there are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdops.cli.completing import TREE

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = json.loads(TREE.read_text())


def shown(page: str) -> Iterator[str]:
    """The lines of code blocks that call bdops, and what a crontab is told to call."""
    for block in re.findall(r"```\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        yield from (line.split(" #")[0].strip() for line in block.splitlines() if line.startswith("bdops "))


@pytest.mark.parametrize("line", [*shown("monitoring.md"), *shown("terminal.md")])
def test_a_command_that_is_shown_is_one(line: str) -> None:
    for call in line.removeprefix("bdops ").split(" -- "):
        words = shlex.split(call.partition(" >")[0])
        node = COMMANDS
        while "commands" in node:
            word = words.pop(0)
            assert word in node["commands"], f"{line}: {word}"
            node = node["commands"][word]
        known = COMMANDS["common"].keys() | node["options"].keys()
        assert {w.partition("=")[0] for w in words if w.startswith("-")} <= known, line
