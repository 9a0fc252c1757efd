"""What a test needs of the machine: a continuous integration must have all of it, elsewhere the test is left out."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    if found is None:
        _missing(f"no {name} here")
    return str(found)


def root(what: str) -> None:
    """To be root, for something that takes it."""
    if os.getuid() != 0:
        _missing(f"{what} takes root")


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
