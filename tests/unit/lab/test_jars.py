"""Maven coordinates, the generated project, and the cache: one folder for each set of pinned versions."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bdops.errors import BdopsError
from bdops.lab import jars
from bdops.lab.jars import Coordinate

NS = {"m": "http://maven.apache.org/POM/4.0.0"}


def test_a_coordinate_has_three_or_four_parts() -> None:
    assert Coordinate.parse("a.b:c:1.0").file_name == "c-1.0.jar"
    assert Coordinate.parse("a.b:c:1.0:zip").file_name == "c-1.0.zip"
    for wrong in ("a:b", "a::1", "a:b:c:d:e", ""):
        with pytest.raises(ValueError):
            Coordinate.parse(wrong)


def test_the_project_depends_on_exactly_the_artifacts_and_a_zip_brings_nothing_with_it() -> None:
    root = ET.fromstring(jars.pom("x", ["g:a:1", "g.h:b&c:2:zip"]))
    found = root.findall(".//m:dependency", NS)
    assert [d.findtext("m:artifactId", namespaces=NS) for d in found] == ["a", "b&c"]
    assert [d.findtext("m:type", namespaces=NS) for d in found] == ["jar", "zip"]
    assert [d.find("m:exclusions", NS) is not None for d in found] == [False, True]


def test_another_version_is_another_folder_and_another_order_is_not(tmp_path: Path) -> None:
    one = jars.folder_of("x", ["g:a:1", "g:b:1"], tmp_path)
    assert jars.folder_of("x", ["g:b:1", "g:a:1"], tmp_path) == one
    assert jars.folder_of("x", ["g:a:1", "g:b:2"], tmp_path) != one


def fake_mvn(folder: Path, script: str) -> str:
    mvn = folder / "mvn"
    mvn.write_text(f"#!/bin/sh\n{script}\n")
    mvn.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_failed_mvn_is_shown_with_its_last_lines_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_mvn(tmp_path, "echo '[ERROR] Could not find artifact g:a:jar:1'; exit 1"))
    with pytest.raises(BdopsError, match="Could not find artifact g:a"):
        jars.resolve("x", ["g:a:1"], cache=tmp_path / "cache", say=print)
    assert [p.name for p in (tmp_path / "cache" / "jars").iterdir()] == [".lock"]


def test_a_mvn_that_succeeds_without_jars_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_mvn(tmp_path, "exit 0"))
    with pytest.raises(BdopsError):
        jars.resolve("x", ["g:a:1"], cache=tmp_path / "cache", say=print)
    assert not jars.is_resolved("x", ["g:a:1"], tmp_path / "cache")


def test_what_is_resolved_is_not_resolved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = 'case $word in -DoutputDirectory=*) mkdir "${word#*=}"; touch "${word#*=}/a-1.jar";; esac'
    into = f'for word in "$@"; do {case}; done'
    monkeypatch.setenv("PATH", fake_mvn(tmp_path, into))
    folder = jars.resolve("x", ["g:a:1"], cache=tmp_path / "cache", say=print)
    assert jars.class_path(folder) == str(folder / "a-1.jar")
    monkeypatch.setenv("PATH", "/nowhere")
    assert jars.resolve("x", ["g:a:1"], cache=tmp_path / "cache", say=print) == folder
    with pytest.raises(BdopsError, match="mvn is needed"):
        jars.resolve("x", ["g:a:2"], cache=tmp_path / "cache", say=print)
