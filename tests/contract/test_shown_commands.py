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
ROOT = SOURCE.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
COMMANDS = json.loads(TREE.read_text())
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLACEHOLDERS = {"COMPONENT": "kafka", "COMMAND": "check"}


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCED.findall(page.read_text()) if language in languages]


def shown(page: Path) -> Iterator[str]:
    """The lines of code that call bdops, and what is called in the middle of a sentence."""
    yield from re.findall(r"^(?:\$ )?(bdops (?!ALL=).*)", "\n".join(blocks(page, "", "console")), re.MULTILINE)
    prose = FENCED.sub("", page.read_text())
    yield from re.findall(r"^    (?:\$ )?(bdops .*)", prose, re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"`(bdops (?!cron \.\.\.:)[^`]*)`", prose))


def complaint(line: str) -> str | None:
    """What is wrong with a command that is shown; None for nothing. A group of commands may be named alone."""
    first, *rest = re.split(r" #| [>|] | && ", line)[0].strip().removeprefix("bdops ").split(" -- ")
    # What comes after `--` is bdops' own in a line for cron alone.
    for call in [first, *rest] if first.startswith("cron ") else [first]:
        words = iter(shlex.split(call))
        node, options = COMMANDS, COMMANDS["common"]
        for word in words:
            if word.startswith("-") and not re.match(r"-\d", word):
                name, equals, _ = word.partition("=")
                if name not in options:
                    return f"{line}: {name}"
                if options[name][0] is not None and not equals:
                    next(words, None)
            elif "commands" in node:
                word = PLACEHOLDERS.get(word, word).partition("|")[0]
                if word not in node["commands"]:
                    return f"{line}: {word}"
                node = node["commands"][word]
                options = COMMANDS["common"] | node.get("options", {})
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_that_a_page_shows_are_commands_with_options_that_there_are(page: Path) -> None:
    assert [found for line in shown(page) if (found := complaint(line))] == []


@pytest.mark.parametrize("line", ["bdops kafka chekc", "bdops check --sinse 1h", "bdops cron install -- chekc"])
def test_one_that_is_not_is_found(line: str) -> None:
    assert complaint(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_refers_to_is_there(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", text):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", FENCED.sub("", there.read_text()), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}, target
    for name in re.findall(r"\bdocs/([a-z-]+\.md)\b", text):
        assert (DOCS / name).exists(), name
    for path in re.findall(r"`((?:bdops|tests|tools|inventory|playbooks|completions|monitoring|man)/[\w/.-]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


# What docs/troubleshooting.md quotes -------------------------------------------------------------------------

QUOTING = DOCS / "troubleshooting.md"


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
    rows = re.findall(r"^\| (`.*?) \|", QUOTING.read_text(), re.MULTILINE)
    cells = [cell for row in rows for cell in re.findall("`(.*?)`", row)]
    return [line for block in blocks(QUOTING, "text") for line in block.splitlines()] + cells


@pytest.mark.parametrize("line", quoted())
def test_a_message_that_is_quoted_is_one_of_bdops(line: str) -> None:
    for part in line.removeprefix("bdops: ").split("..."):
        words = part.strip(" :()[];,")
        assert words in source_texts(), f"{words!r} of {line!r}"
