"""The Java of this machine, and the options that make a server small and quick to start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bdops.errors import ConfigError

MINIMUM = 17
INSTALL = "apt-get install openjdk-17-jdk-headless (Fedora: dnf install java-17-openjdk-devel), or set JAVA_HOME"

# One thread collects, the quick compiler compiles: half the memory and half the start-up time of the defaults.
SMALL = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=48m",
    "-Xss512k",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dfile.encoding=UTF-8",
)


def find(program: str = "java") -> str | None:
    """`java` or `javac` of JAVA_HOME, else of the PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        candidate = Path(home) / "bin" / program
        return str(candidate) if os.access(candidate, os.X_OK) else None
    return shutil.which(program)


def require(program: str = "java") -> str:
    """The path of `java` or `javac`. Raises ConfigError when it is missing."""
    found = find(program)
    if found is None:
        where = f"JAVA_HOME ({os.environ['JAVA_HOME']})" if os.environ.get("JAVA_HOME") else "the PATH"
        raise ConfigError(f"no {program} in {where}", hint=INSTALL, code="LAB_NO_JAVA")
    return found


def parse_version(text: str) -> int | None:
    """17 of `openjdk version "17.0.15" 2025-04-15`, 8 of `java version "1.8.0_402"`."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def require_version() -> None:
    """Raises ConfigError unless `java` is there, runs, and is new enough for every server of the lab."""
    java = require()
    try:
        done = subprocess.run(
            [java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=30
        )
        version = parse_version(done.stderr + done.stdout)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise ConfigError(f"{java} does not run: {e}", hint=INSTALL, code="LAB_NO_JAVA") from e
    if version is None or version < MINIMUM:
        raise ConfigError(
            f"{java} is Java {version or 'of an unknown version'}, and the lab's servers need {MINIMUM} or later",
            hint=INSTALL,
            code="LAB_NO_JAVA",
        )


def command(*, heap_mb: int, class_path: str, main: str, args: Sequence[str], options: Sequence[str]) -> list[str]:
    """The argv of a small Java server or tool."""
    start_mb = min(heap_mb, 32)
    return [
        require(),
        f"-Xms{start_mb}m",
        f"-Xmx{heap_mb}m",
        *SMALL,
        *options,
        "-cp",
        class_path,
        main,
        *args,
    ]
