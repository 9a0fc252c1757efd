"""Running the real bdops as a person, cron or a monitoring system would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.stdout)


def environment(home: Path) -> dict[str, str]:
    """That of a person who has nothing but a home."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "XDG_"))}
    return {**clean, "HOME": str(home), "BDOPS_STATE_DIR": str(home / "state")}


def bdops(*argv: str, home: Path, timeout_s: float = 60, **env: str) -> Ran:
    """Run bdops with a home of its own, so that nobody's config file, lab or inventory plays a part."""
    done = subprocess.run(
        [sys.executable, "-m", "bdops", *argv],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**environment(home), **env},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
