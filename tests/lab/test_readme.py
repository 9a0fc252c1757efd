"""The README's commands work as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
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


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """What the README's commands write goes where it says, and no further."""
    written = [Path("/tmp/bdops-backups"), Path("/tmp/bdops.prom"), Path("/tmp/kafka.json")]
    assert all(str(path) in (ROOT / "README.md").read_text() for path in written)
    yield
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, bdops) -> None:
    done = bdops(*shlex.split(command), BDOPS_TIMEOUT="60s")
    assert done.returncode == 0, f"bdops {command}\n{done.stdout}\n{done.stderr}"
    assert done.stdout
    assert "Traceback" not in done.stderr
