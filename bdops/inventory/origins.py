"""Where each value of an inventory was written, and what it overrode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bdops.core.model import SecretRef
from bdops.errors import UsageError
from bdops.inventory.problems import likely_or_known
from bdops.inventory.yaml_source import Key, Origin, YamlMap, origin_of


@dataclass(frozen=True, slots=True)
class Layer:
    """One level of inheritance: what it says, and its path in the file; no path for built-in defaults."""

    level: str
    values: Mapping[str, Any]
    path: tuple[Key, ...] | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One level's word on a value. `origin` is None for a built-in default."""

    level: str
    value: Any
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A value, who said it, and what the levels below had said (the nearest first)."""

    target: str
    key: str
    said: Said
    overrode: tuple[Said, ...]


@dataclass(slots=True)
class Origins:
    """The layers of everything, lowest first: `layers[name][section]`, and `hosts[name][section]` of hosts.

    Names are `prod/kafka/node1` for instances, `prod/kafka` for components, `prod` for clusters and, in
    `hosts`, `prod/node1`; a host may be called like a component. Sections are settings, service, vars, ssh and
    host (address, rack, ...). `roots` has the document of each cluster.
    """

    roots: dict[str, YamlMap] = field(default_factory=dict)
    layers: dict[str, dict[str, tuple[Layer, ...]]] = field(default_factory=dict)
    hosts: dict[str, dict[str, tuple[Layer, ...]]] = field(default_factory=dict)

    def sections(self, name: str) -> dict[str, tuple[Layer, ...]]:
        """The layers of what is called so; empty when nothing is."""
        return {**self.hosts.get(name, {}), **self.layers.get(name, {})}

    def origin(self, name: str, key: str) -> Origin | None:
        """Where the value in force was written; None for a built-in default or what nobody said."""
        said = self._said(name, key)
        return said[-1].origin if said else None

    def explain(self, target: str, key: str) -> Explanation:
        """The value of `key` (`port`, `tls.ca`, `service.unit`, `vars.x`, `ssh.port`) of a host or instance.

        Raises UsageError for a target or key that is not there, with the likely spelling.
        """
        if not self.sections(target):
            raise UsageError(
                f"no instance, host, component or cluster is called {target!r}",
                hint=likely_or_known(target, (*self.layers, *self.hosts), "names"),
            )
        said = self._said(target, key)
        if not said:
            raise UsageError(
                f"{target} has no value {key!r}", hint=likely_or_known(key, self.keys(target), "its values")
            )
        return Explanation(target, key, said[-1], tuple(reversed(said[:-1])))

    def keys(self, target: str) -> list[str]:
        """Every key of a target that somebody said or that has a default."""
        found: dict[str, None] = {}
        for section, layers in self.sections(target).items():
            prefix = "" if section in ("settings", "host") else f"{section}."
            for layer in layers:
                for key in _leaves(layer.values):
                    found[prefix + key] = None
        return list(found)

    def split(self, words: str) -> tuple[str, str | None]:
        """`prod/kafka/node4.port` or `prod/kafka/node4 port` as target and key; the key is None where there is none."""
        target, _, key = words.strip().partition(" ")
        if key.strip():
            return target, key.strip()
        if self.sections(target):
            return target, None
        for index in range(len(target) - 1, 0, -1):
            if target[index] == "." and self.sections(target[:index]):
                return target[:index], target[index + 1 :]
        return target, None

    def _said(self, target: str, key: str) -> list[Said]:
        sections = self.sections(target)
        head, _, rest = key.partition(".")
        tries: list[tuple[str, str]] = [(name, key) for name in ("settings", "host") if name in sections]
        if rest and head in sections:
            tries.insert(0 if head == "settings" else len(tries), (head, rest))
        root = self.roots.get(target.partition("/")[0])
        for section, inner in tries:
            said = []
            for layer in sections[section]:
                path = _find(layer.values, inner)
                if path is not None:
                    origin = origin_of(root, (*layer.path, *path)) if layer.path is not None else None
                    said.append(Said(layer.level, _value(layer.values, path), origin))
            if said:
                return said
        return []


def _find(values: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """The path of a dotted key whose parts may have dots themselves."""
    if key in values:
        return (key,)
    for name, value in values.items():
        if key.startswith(f"{name}.") and isinstance(value, Mapping):
            inner = _find(value, key[len(name) + 1 :])
            if inner:
                return (name, *inner)
    return None


def _value(values: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        values = values[part]
    return values


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value and not isinstance(value, SecretRef):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key
