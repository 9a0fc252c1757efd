"""The README's commands work as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md"]

pytestmark = [pytest.mark.lab("zk", "kafka", "hdfs", "es")]


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            found += [line.removeprefix("$ bdops ") for line in block.splitlines() if line.startswith("$ bdops ")]
    return [line for line in found if not re.match(r"lab (up|down|load)\b", line)]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, bdops) -> None:
    done = bdops(*shlex.split(command), BDOPS_TIMEOUT="60s")
    assert done.returncode == 0, f"bdops {command}\n{done.stdout}\n{done.stderr}"
    assert done.stdout
    assert "Traceback" not in done.stderr
