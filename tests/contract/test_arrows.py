"""Arrows between packages point one way, and each client library has one home."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdops

ROOT = Path(bdops.__file__).parent
SOURCES = sorted(p for p in ROOT.rglob("*.py") if not p.name.endswith("_pb2.py"))

MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "registry": {"core"},
    "core": {"core"},
    "hosts": {"hosts", "core", "errors", "files"},
    "inventory": {"inventory", "core", "hosts", "errors"},
    "jobs": {"jobs", "core", "hosts", "errors", "files"},
    "playbooks": {"playbooks", "inventory", "core", "errors"},
    "render": {"render", "core", "errors"},
    "history": {"history", "core", "errors"},
    "components": {"components", "core", "hosts", "errors", "files"},
    "lab": {"lab", "components", "inventory", "hosts", "core", "errors", "files", "registry"},
    "cli": {
        "cli", "components", "inventory", "jobs", "playbooks", "history", "render", "lab", "hosts", "core", "errors",
        "files", "registry",
    },
    "__main__": {"cli", "render", "errors", "registry"},
    "__init__": set(),
}  # fmt: skip

HOME_OF = {
    "paramiko": {"hosts/ssh"},
    "kafka": {"components/kafka", "lab/kafka"},
    "kazoo": {"components/zk", "lab/zk"},
    "elasticsearch": {"components/es", "lab/es"},
    "elastic_transport": {"components/es", "lab/es"},
    "google": {"components/hdfs"},
    "typer": {"cli", "__main__.py"},
    "rich": {"render"},
    "prometheus_client": {"render/prometheus.py"},
    "apprise": {"render/notification.py"},
    "jinja2": {"playbooks/values.py"},
}


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno
            if node.module == "bdops":
                yield from ((f"bdops.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}:{node.lineno}: relative imports hide arrows")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    package = package_of(path)
    for name, line in imports_of(path):
        parts = name.split(".")
        if parts[0] == "bdops" and len(parts) > 1 and parts[1] != "__version__":
            assert parts[1] in MAY_IMPORT[package], f"{path}:{line}: {package} may not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_client_library_has_one_home(path: Path) -> None:
    here = path.relative_to(ROOT).as_posix()
    for name, line in imports_of(path):
        homes = HOME_OF.get(name.split(".")[0])
        if homes:
            assert any(here == home or here.startswith(home) for home in homes), f"{path}:{line} imports {name}"


def test_core_stands_on_the_standard_library_alone() -> None:
    for path in SOURCES:
        if package_of(path) == "core":
            for name, line in imports_of(path):
                top = name.split(".")[0]
                assert top == "bdops" or top in sys.stdlib_module_names, f"{path}:{line} imports {name}"


def test_components_do_not_know_each_other() -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] != "components" or len(parts) < 3:
            continue
        for name, line in imports_of(path):
            other = name.split(".")
            if other[:2] == ["bdops", "components"] and len(other) > 2 and (ROOT / "components" / other[2]).is_dir():
                assert other[2] == parts[1], f"{path}:{line}: {parts[1]} imports {name}"


def test_no_file_wants_to_be_two() -> None:
    long = [(p.name, n) for p in SOURCES if (n := len(p.read_text().splitlines())) > 600]
    assert not long
