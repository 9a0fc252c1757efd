"""Repositories of Elasticsearch: registered so that all nodes can use them, or as they were before; cleaned up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdops.lab import es_api, es_load
from bdops.lab.lab import Lab
from tests.conftest import Bdops

NAME = "second"


@pytest.fixture
def folder(lab: Lab) -> Iterator[Path]:
    """One within path.repo that all nodes can write to; unregistered at the end."""
    made = es_load.repository_dir(lab) / NAME
    made.mkdir(exist_ok=True)
    made.chmod(0o777)
    yield made
    es_api.any_node(lab).request("DELETE", f"_snapshot/{NAME}", timeout_s=30)
    shutil.rmtree(made)


def repositories(bdops: Bdops) -> dict[str, str]:
    rows = bdops("es", "repository", "list", "-o", "json").json["data"]["repositories"]
    return {row["repository"]: row["settings"] for row in rows}


def test_registered_changed_and_cleaned_up(bdops: Bdops, folder: Path) -> None:
    argv = ("es", "repository", "register", NAME, "--setting", f"location={folder}")
    planned = bdops(*argv, "--dry-run")
    assert f"location={folder}" in planned.stdout
    assert NAME not in repositories(bdops)
    assert bdops(*argv, "--yes").returncode == 0
    assert repositories(bdops)[NAME] == f"location={folder}"
    again = bdops(*argv, "--yes")
    assert again.returncode == 0, again.stderr
    changed = bdops(*argv, "--setting", "compress=false", "--yes")
    assert changed.returncode == 0, changed.stderr
    assert "compress=false" in repositories(bdops)[NAME]
    cleaned = bdops("es", "repository", "clean-up", NAME, "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "0 files removed" in cleaned.stderr


def test_one_that_nodes_cannot_use_is_not_registered_and_a_change_is_taken_back(bdops: Bdops, folder: Path) -> None:
    argv = ("es", "repository", "register", NAME)
    assert bdops(*argv, "--setting", f"location={folder}", "--yes").returncode == 0
    no_folder = folder / "file"
    no_folder.touch()
    refused = bdops(*argv, "--setting", f"location={no_folder}", "--yes")
    assert refused.returncode in (1, 7), refused.stderr
    assert "path.repo" in refused.stderr
    assert repositories(bdops)[NAME] == f"location={folder}"
    assert bdops("jobs", "abort").returncode == 0
    outside = bdops("es", "repository", "register", "third", "--setting", "location=/nowhere", "--yes")
    assert outside.returncode in (1, 7), outside.stderr
    assert "third" not in repositories(bdops)
    assert bdops("jobs", "abort").returncode == 0
    secret = bdops("es", "repository", "register", "third", "--type", "s3", "--setting", "secret_key=x", "--yes")
    assert secret.returncode == 2
    assert "keystore" in secret.stderr
    unknown = bdops("es", "repository", "clean-up", "nowhere", "--yes")
    assert unknown.returncode == 2, unknown.stderr
