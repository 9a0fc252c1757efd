"""What a job writes and can be told is documented."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import bdops
from bdops.core.actor import RestartRules

ROOT = Path(__file__).parents[2]
SOURCE = Path(bdops.__file__).parent


def test_every_event_of_the_journal_is_documented_and_no_other() -> None:
    written = {
        event
        for path in (SOURCE / "jobs").glob("*.py")
        for event in re.findall(r"\bnote\(\s*\"(\w+)\"", path.read_text())
    }
    # How a run is closed is said by a variable.
    written |= {"aborted"}
    documented = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs/journal.md").read_text(), re.MULTILINE)) - {"event"}
    assert written == documented


def test_every_rule_of_patience_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/jobs.md").read_text()
    for field in fields(RestartRules):
        assert f"| {field.name} | {field.default:g} |" in page
