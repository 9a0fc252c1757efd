"""Generated files are fresh, and every code and command is documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bdops
from bdops.errors import ExitCode
from bdops.registry import COMPONENTS, component

ROOT = Path(__file__).parents[2]
SOURCE = Path(bdops.__file__).parent
DOCUMENTED = re.compile(r"^### ([A-Z][A-Z0-9_]+)$", re.MULTILINE)


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/generate.py"), "--check"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"run `make generate`:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", [*COMPONENTS, "host"])
def test_every_check_says_what_it_means_and_what_to_do(name: str) -> None:
    documented = set(DOCUMENTED.findall((ROOT / "docs/checks.md").read_text()))
    for check in component(name).checks:
        assert check.code.startswith(f"{name.upper()}_")
        assert check.code in documented
        assert len(check.meaning) > 40, f"{check.code}: what does it mean?"
        assert len(check.remedy) > 40, f"{check.code}: what to do?"
        assert len(check.remedy.splitlines()[0]) < 200, f"{check.code}: its first line is the hint"


def test_codes_are_unique_and_the_page_has_no_others() -> None:
    codes = [check.code for name in (*COMPONENTS, "host") for check in component(name).checks]
    assert len(codes) == len(set(codes))
    assert set(DOCUMENTED.findall((ROOT / "docs/checks.md").read_text())) == set(codes)


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text()
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \|", text, re.MULTILINE), code


def test_every_need_of_a_check_is_a_field_of_the_state() -> None:
    for name in (*COMPONENTS, "host"):
        found = component(name)
        fields = found.state.__dataclass_fields__  # type: ignore[attr-defined]
        for check in found.checks:
            assert set(check.needs) <= set(fields), check.code
