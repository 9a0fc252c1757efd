"""What is installed is used, and what is used is declared."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.contract.test_arrows import SOURCES, imports_of

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name, maxsplit=1)[0]).lower()


def test_every_library_that_is_imported_is_declared_and_every_declared_one_is_imported() -> None:
    declared = {normal(d) for d in PROJECT["dependencies"]}
    optional = {normal(d) for name in ("keyring", "lab", "notify") for d in PROJECT["optional-dependencies"][name]}
    distributions = packages_distributions()
    used = set()
    for path in SOURCES:
        for name, _ in imports_of(path):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != "bdops":
                used |= {normal(d) for d in distributions.get(top, [top])}
    generated = {"protobuf"}  # imported by the generated code
    assert used - optional <= declared
    assert declared <= used | generated
