"""The levels of an inventory that say something of one instance, put over each other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from bdops.core.model import Host
from bdops.inventory import edge
from bdops.inventory.origins import Layer
from bdops.inventory.placement import Path, Scope
from bdops.inventory.problems import likely_or_known

FILLED = ("unit", "config", "start", "stop", "status", "pid", "files")
"""Fields of a service in which {host} and its like are filled in."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Level:
    """One section of the file: what it is called, where it is, and what it says."""

    name: str
    path: Path
    settings: Mapping[str, Any]
    service: edge.ServiceDoc
    vars: Mapping[str, Any]

    def settings_layer(self) -> Layer:
        return Layer(self.name, self.settings, self.path)

    def service_layer(self, fill: Callable[[str, Path], str] | None = None) -> Layer:
        """What it says of the service, with {host} and its like filled in by `fill`."""
        path = (*self.path, "service")
        said = said_in(self.service)
        if fill:
            said |= {key: _filled(said[key], (*path, key), fill) for key in FILLED if key in said}
        return Layer(self.name, said, path)

    def vars_layer(self) -> Layer:
        return Layer(self.name, self.vars, (*self.path, "vars"))


def cluster_level(scope: Scope) -> Level:
    """What the cluster says of every instance in it."""
    return Level(f"cluster {scope.name}", scope.path, {}, scope.doc.service, scope.doc.vars)


def host_level(scope: Scope, host: Host) -> Level:
    """What a host's section says of every instance on it."""
    key, section = scope.sections[host.name]
    return Level(f"host {key}", (*scope.path, "hosts", key), {}, section.service, section.vars)


def filler(scope: Scope, words: Mapping[str, str]) -> Callable[[str, Path], str]:
    """Fills {host} and its like into a text; a word that is none of them is an error at the text's path."""

    def fill(text: str, path: Path) -> str:
        def word(match: re.Match[str]) -> str:
            if match[1] not in words:
                hint = likely_or_known(match[1], words, "known words")
                scope.problems.add(path, f"{match[0]} cannot be filled in", hint=hint)
            return words.get(match[1], match[0])

        return _PLACEHOLDER.sub(word, text)

    return fill


def _filled(value: Any, path: Path, fill: Callable[[str, Path], str]) -> Any:
    return fill(value, path) if isinstance(value, str) else tuple(fill(each, path) for each in value)


def over(layers: Sequence[Layer]) -> dict[str, Any]:
    """The layers' values, the later over the earlier."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer.values
    return merged


def said_in(section: BaseModel, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The fields that a section of the file gives a value to; null says nothing."""
    names = [name for name in type(section).model_fields if name in section.model_fields_set]
    found = {name: getattr(section, name) for name in names if only is None or name in only}
    return {name: value for name, value in found.items() if value is not None}


def default_values(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested dataclasses as mappings."""
    values = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return {key: default_values(inner) if dataclasses.is_dataclass(inner) else inner for key, inner in values.items()}
