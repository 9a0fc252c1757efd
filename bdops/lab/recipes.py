"""The recipes that there are, and in which order they may start."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from bdops.errors import UsageError
from bdops.lab.recipe import Recipe
from bdops.registry import COMPONENTS


def recipe(name: str) -> Recipe:
    """The recipe of one component."""
    return cast(Recipe, import_module(f"bdops.lab.{name}").RECIPE)


def securable() -> list[str]:
    """The components of which a lab can be secured."""
    return [name for name in COMPONENTS if recipe(name).securable]


def with_required(names: Iterable[str]) -> list[str]:
    """These components (none: all) and what they require, each after what it requires.

    Raises UsageError for a name that is no component's.
    """
    ordered: list[str] = []

    def add(name: str) -> None:
        if name not in COMPONENTS:
            raise UsageError(f"{name!r} is not a component", hint=f"choose from {', '.join(COMPONENTS)}")
        if name not in ordered:
            for required in recipe(name).requires:
                add(required)
            ordered.append(name)

    for name in list(names) or list(COMPONENTS):
        add(name)
    return ordered
