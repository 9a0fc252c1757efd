"""What `make test` leaves to `make test-all`: tests like one that stands beside them, in another place or moment."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from bdops.lab.recipe import Recipe


def faults(recipe: Recipe, *, thorough: Collection[str]) -> list[object]:
    """The faults of a component as a test's parameters; those that take long are left out, but for a few."""
    unknown = set(thorough) - {f.name for f in recipe.faults}
    assert not unknown, unknown
    return [
        pytest.param(f, id=f.name, marks=[pytest.mark.thorough] if f.name in thorough else []) for f in recipe.faults
    ]


def some(*usual: str, thorough: Collection[str]) -> list[object]:
    """Words as a test's parameters, of which some are left out."""
    return [*usual, *(pytest.param(word, marks=pytest.mark.thorough) for word in thorough)]
