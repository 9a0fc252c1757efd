"""Manual pages: one for each command, fresh (test_generated.py), and without a warning of groff's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bdops.cli.app import COMMANDS
from tests import needs

MAN = Path(__file__).parents[2] / "man"
PAGES = sorted(MAN.glob("*.1"))


def test_there_is_a_page_for_each_command_and_no_other() -> None:
    assert {page.name for page in PAGES} == {"bdops.1", *(f"bdops-{name}.1" for name in COMMANDS)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_has_a_name_that_whatis_finds(page: Path) -> None:
    assert re.search(r"^\.SH NAME\n[a-z\\-]+ \\- \S.+$", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_groff_has_nothing_to_say(page: Path) -> None:
    done = subprocess.run(
        [needs.program("groff"), "-man", "-ww", "-Tutf8", str(page)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\-" not in done.stdout
