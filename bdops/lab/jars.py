"""Servers from Maven Central: resolved once by mvn, with pinned versions, into a cache that all labs share."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from bdops.errors import ConfigError, OperationFailed
from bdops.lab.paths import private_folder
from bdops.lab.recipe import Say

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
RESOLVE_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Coordinate:
    """`group:artifact:version[:type]`; the type is `jar` where none is given."""

    group: str
    artifact: str
    version: str
    type: str = "jar"

    @classmethod
    def parse(cls, text: str) -> Coordinate:
        parts = text.split(":")
        if len(parts) not in (3, 4) or not all(parts):
            raise ValueError(f"{text!r} is not group:artifact:version[:type]")
        return cls(*parts)

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.{self.type}"


def folder_of(name: str, artifacts: Sequence[str], cache: Path) -> Path:
    """The cache folder of these artifacts, whether it is there or not; another version is another folder."""
    key = hashlib.sha256("\n".join([COPY, *sorted(artifacts)]).encode()).hexdigest()[:12]
    return cache / "jars" / f"{name}-{key}"


def is_resolved(name: str, artifacts: Sequence[str], cache: Path) -> bool:
    return folder_of(name, artifacts, cache).is_dir()


def pom(name: str, artifacts: Sequence[str]) -> str:
    """A project that depends on these artifacts and nothing else. What is no jar comes without dependencies."""
    dependencies = []
    for one in map(Coordinate.parse, artifacts):
        alone = (
            ""
            if one.type == "jar"
            else "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        )
        dependencies.append(
            f"    <dependency><groupId>{escape(one.group)}</groupId><artifactId>{escape(one.artifact)}</artifactId>"
            f"<version>{escape(one.version)}</version><type>{escape(one.type)}</type>{alone}</dependency>"
        )
    return "\n".join(
        [
            '<project xmlns="http://maven.apache.org/POM/4.0.0">',
            "  <modelVersion>4.0.0</modelVersion>",
            f"  <groupId>bdops.lab</groupId><artifactId>{escape(name)}</artifactId><version>1</version>",
            "  <packaging>pom</packaging>",
            "  <dependencies>",
            *dependencies,
            "  </dependencies>",
            "</project>",
            "",
        ]
    )


def resolve(name: str, artifacts: Sequence[str], *, cache: Path, say: Say) -> Path:
    """The folder with these artifacts and their runtime dependencies; fetched when it is not there yet.

    Safe to call from several processes at once; a killed call leaves nothing that looks finished.
    Raises ConfigError when mvn is needed and missing, OperationFailed with mvn's last lines when it fails.
    """
    from filelock import FileLock

    folder = folder_of(name, artifacts, cache)
    if folder.is_dir():
        return folder
    jars = private_folder(folder.parent)
    # One lock for all: maven's own repository does not like two downloads of one file either.
    with FileLock(jars / ".lock"):
        if folder.is_dir():
            return folder
        mvn = shutil.which("mvn")
        if mvn is None:
            raise ConfigError(
                f"mvn is needed to fetch the jars of {name}, and is not on the PATH",
                hint="apt-get install maven (Fedora: dnf install maven)",
                code="LAB_NO_MAVEN",
            )
        say(f"fetching the jars of {name} with mvn, once")
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=jars))
        try:
            (work / "pom.xml").write_text(pom(name, artifacts))
            _run_mvn(mvn, name, work)
            os.rename(work / "jars", folder)  # noqa: PTH104 - atomic, and never onto another folder's content
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _run_mvn(mvn: str, name: str, work: Path) -> None:
    argv = [mvn, "-B", "-q", "-f", str(work / "pom.xml"), COPY, "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [*argv, f"-DoutputDirectory={work / 'jars'}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=RESOLVE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as e:
        raise OperationFailed(
            f"mvn did not fetch the jars of {name} within {RESOLVE_TIMEOUT_S} s", hint="is Maven Central reachable?"
        ) from e
    if done.returncode != 0 or not (work / "jars").is_dir():
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise OperationFailed(
            f"mvn could not fetch the jars of {name}:\n  " + "\n  ".join(lines[-15:]),
            hint="is Maven Central, or the mirror of ~/.m2/settings.xml, reachable?",
            code="LAB_JARS",
        )


def class_path(folder: Path) -> str:
    """All jars of a folder, in a stable order, as a Java class path."""
    return ":".join(str(jar) for jar in sorted(folder.glob("*.jar")))
