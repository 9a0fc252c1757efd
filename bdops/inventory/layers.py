"""Small helpers to put the levels of an inventory over each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel


def said_in(section: Any, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The fields that a section (a pydantic model or a dataclass) gives a value to."""
    if isinstance(section, BaseModel):
        names = [name for name in type(section).model_fields if name in section.model_fields_set]
    else:
        names = [field.name for field in dataclasses.fields(section)]
    return {
        name: getattr(section, name)
        for name in names
        if (only is None or name in only) and getattr(section, name) is not None
    }


def merge_docs(*sections: BaseModel) -> dict[str, Any]:
    """The sections merged field by field, the later over the earlier; null says nothing."""
    merged: dict[str, Any] = {}
    for section in sections:
        merged |= said_in(section)
    return merged
