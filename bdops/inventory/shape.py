"""Says what is wrong with the shape of an inventory, in an operator's words, and goes on with the rest.

pydantic finds the errors; here they get their path, what was expected and a likely spelling. What is wrong
is then taken out of the data, so that the rest is still judged and one run names every error.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from bdops.core.component import ComponentSettings
from bdops.core.model import SecretRef
from bdops.inventory.edge import ComponentDoc, FileDoc, InstanceDoc, RoleDoc
from bdops.inventory.problems import Problems, likely_or_known, looks_secret
from bdops.inventory.yaml_source import Key, plain

D = TypeVar("D", bound=BaseModel)
_MAX_PASSES = 20
_SECRET_FORMS = "{file: PATH}, {env: NAME}, {keyring: SERVICE/USER} or {command: [PROGRAM, ARGUMENT, ...]}"
_EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number", "float_type": "a number", "float_parsing": "a number",
    "string_type": "text (quote a number that is meant as text)", "bool_type": "true or false",
    "bool_parsing": "true or false", "tuple_type": "a list", "list_type": "a list", "set_type": "a list",
    "frozen_set_type": "a list", "dict_type": "a mapping (key: value)", "mapping_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)", "dataclass_type": "a mapping (key: value)", "none_required": "null",
    "string_too_short": "text that is not empty", "too_short": "at least one entry", "missing": "",
}  # fmt: skip


def checked_file(root: Any, problems: Problems) -> FileDoc | None:
    """The document with what is wrong in it reported and left out; None when nothing can be made of it."""
    if not isinstance(root, dict):
        found = "nothing: the file is empty" if root is None else _kind(root)
        problems.add((), f"expected a mapping with version and clusters, found {found}", hint=_STARTER)
        return None
    data = plain(root)
    version = data.get("version")
    if version is not None and (type(version) is not int or version != 1):
        problems.add(("version",), f"expected 1, found {_found(version, ())}", hint="this bdops reads version 1")
        data["version"] = 1
    return checked(FileDoc, data, problems)


def checked(model: type[D], data: dict[str, Any], problems: Problems) -> D | None:
    """Plain data as a model, with what is wrong in it reported and left out; None when nothing can be made of it."""
    for attempt in range(_MAX_PASSES):
        try:
            return model.model_validate(data)
        except ValidationError as e:
            for path in _report(e, (), model, data, problems, again=attempt > 0):
                if not _take_out(data, path):
                    return None
    return None


_STARTER = "begin with `version: 1` and `clusters:`; inventory/three-hosts.yaml is an example"


class SettingsReader:
    """Validates one component's settings, level by level and merged."""

    def __init__(self, settings: ComponentSettings) -> None:
        self.type: type = settings.type
        self._adapter: TypeAdapter[Any] = TypeAdapter(settings.type)
        self.names = frozenset(field.name for field in dataclasses.fields(settings.type))

    def level(
        self, data: Mapping[str, Any], path: Sequence[Key], section: type[BaseModel], problems: Problems
    ) -> dict[str, Any]:
        """What one level says, with what is wrong in it reported and left out.

        `section` is the model of the level, whose own fields are likely spellings too. Rules about several
        settings together are left to `merged`: another level may hold the other half.
        """
        rest: dict[str, Any] = plain(data)
        known = self.names | set(section.model_fields)
        for attempt in range(_MAX_PASSES):
            try:
                value = self._adapter.validate_python(rest)
            except ValidationError as e:
                if all(_is_rule(error) for error in e.errors(include_url=False)):
                    return rest
                wrong = _report(e, path, self.type, rest, problems, known=known, again=attempt > 0)
            else:
                wrong = _bad_secrets(value, path, problems)
            if not wrong:
                return rest
            for at in wrong:
                _take_out(rest, at)
        return rest

    def merged(self, data: Mapping[str, Any], path: Sequence[Key], owner: str, problems: Problems) -> Any | None:
        """The settings of all levels together; None with the errors reported."""
        try:
            return self._adapter.validate_python(data)
        except ValidationError as e:
            for error in e.errors(include_url=False):
                at = ".".join(str(part) for part in error["loc"])
                reason = str(error.get("ctx", {}).get("error", error["msg"]))
                problems.add_consequence(path, f"for {owner}: {f'{at}: ' if at else ''}{reason}")
            return None

    def merge(self, lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
        """`upper` over `lower`; nested settings merge field by field, anything else (secrets too) is replaced."""
        return _merge(self.type, lower, upper)


def _merge(kind: Any, lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(lower)
    for key, value in upper.items():
        inner = _dataclass_in(_inside(kind, key))
        below = result.get(key)
        if inner and inner is not SecretRef and isinstance(value, dict) and isinstance(below, dict):
            result[key] = _merge(inner, below, value)
        else:
            result[key] = value
    return result


def _is_rule(error: Any) -> bool:
    """Whether an error is a dataclass's own rule about its fields rather than one value's type."""
    return error["type"] in ("value_error", "assertion_error") and isinstance(error["input"], dict)


def _report(
    error: ValidationError,
    prefix: Sequence[Key],
    kind: Any,
    data: Any,
    problems: Problems,
    known: frozenset[str] | None = None,
    again: bool = False,
) -> list[tuple[Key, ...]]:
    """Add pydantic's errors to the problems; the paths (under `data`) to take out before going on.

    `again`: something was taken out before, so an error around it is its consequence and not named.
    """
    add = problems.add_consequence if again else problems.add
    wrong = []
    by_path: dict[tuple[Key, ...], list[Any]] = {}
    for each in error.errors(include_url=False):
        if _is_rule(each) and not issubclass(kind, BaseModel):
            continue
        by_path.setdefault(_path_in(data, each["loc"], each["type"] == "missing"), []).append(each)
    for path, errors in by_path.items():
        message, hint = _words(path, errors, kind, prefix, known)
        add((*prefix, *path), message, hint=hint)
        wrong.append(path[:-1] if errors[0]["type"] == "missing" else path)
    return wrong


def _words(
    path: tuple[Key, ...], errors: list[Any], kind: Any, prefix: Sequence[Key], known: frozenset[str] | None
) -> tuple[str, str | None]:
    first = errors[0]
    name = str(path[-1]) if path else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = known if known is not None and len(path) == 1 else _fields(_at(kind, path[:-1]))
        return "unknown field", likely_or_known(name, names, "known fields")
    if first["type"] == "missing":
        return "is required and is not there", _REQUIRED_HINTS.get(name)
    if first["type"] == "dataclass_type" and first["ctx"]["class_name"] == "SecretRef":
        # The value is a secret in clear text: it is not repeated.
        return f"expected a reference to a secret, not the secret itself: {_SECRET_FORMS}", None
    if _is_rule(first):
        return str(first["ctx"]["error"]), None
    expected = " or ".join(dict.fromkeys(_expected(each) for each in errors))
    hint = None
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        hint = likely_or_known(first["input"], _literals(_at(kind, path)), "known values")
        if hint.startswith("known values"):
            hint = None
    return f"expected {expected}, found {_found(first['input'], (*prefix, *path))}", hint


_REQUIRED_HINTS = {
    "version": "add `version: 1` at the top",
    "clusters": "add `clusters:` with a cluster's name below it",
    "hosts": "add `hosts:` with a range such as `node[1-3]: {}`",
    "until": "a mute ends: add `until: 2026-12-31`",
    "reason": "a mute says why: add `reason: ...`",
    "warning": "say both warning and critical; null stands for none",
    "critical": "say both warning and critical; null stands for none",
}


def _expected(error: Any) -> str:
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return str(ctx["expected"])
    if kind in ("value_error", "assertion_error"):
        return str(ctx.get("error", error["msg"])).removeprefix("expected ")
    if kind in ("greater_than_equal", "greater_than"):
        return f"a number of at least {ctx.get('ge', ctx.get('gt'))}"
    if kind in ("less_than_equal", "less_than"):
        return f"a number of at most {ctx.get('le', ctx.get('lt'))}"
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    message: str = error["msg"]
    return message.removeprefix("Input should be ").removeprefix("Value should be ")


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "text" if isinstance(value, str) else "a number"


def _found(value: Any, path: Sequence[Key]) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or any(looks_secret(p) for p in path):
        return _kind(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path_in(data: Any, loc: Sequence[Key], missing: bool) -> tuple[Key, ...]:
    """pydantic's location as a path in the data: parts that name a union's member are left out."""
    path: list[Key] = []
    for index, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            path.append(part)
        elif missing and index == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _take_out(data: Any, path: Sequence[Key]) -> bool:
    """Remove what is at `path`, and of a list all of it: the other items would move to other lines.

    False when there is nothing to remove but the whole.
    """
    parent, last = None, None
    for part in path:
        if isinstance(data, list):
            break
        parent, last = data, part
        data = data.get(part) if isinstance(data, dict) else None
    if isinstance(parent, dict):
        parent.pop(last, None)
    return bool(path)


def _bad_secrets(value: Any, path: Sequence[Key], problems: Problems) -> list[tuple[Key, ...]]:
    """References that name no source or several. The paths are relative to the level."""
    wrong: list[tuple[Key, ...]] = []

    def visit(inner: Any, at: tuple[Key, ...]) -> None:
        if isinstance(inner, SecretRef):
            given = [f.name for f in dataclasses.fields(inner) if getattr(inner, f.name) not in (None, (), "")]
            if len(given) != 1:
                problems.add_consequence((*path, *at), f"expected exactly one of {_SECRET_FORMS}, found {len(given)}")
                wrong.append(at)
        elif dataclasses.is_dataclass(inner):
            for field in dataclasses.fields(inner):
                visit(getattr(inner, field.name), (*at, field.name))
        elif isinstance(inner, dict):
            for key, each in inner.items():
                visit(each, (*at, key))
        elif isinstance(inner, list | tuple):
            for index, each in enumerate(inner):
                visit(each, (*at, index))

    visit(value, ())
    return wrong


def bad_ssh_secrets(doc: Any, path: Sequence[Key], problems: Problems) -> None:
    """The same rule for the one secret of an `ssh` section."""
    if doc.password is not None:
        _bad_secrets(doc.password, (*path, "password"), problems)


# Walking types for likely spellings -------------------------------------------------------------------------


def _at(kind: Any, path: Sequence[Key]) -> Any:
    for part in path:
        kind = _inside(kind, part)
    return kind


def _members(kind: Any) -> list[Any]:
    """A type's alternatives without Annotated and None."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _members(typing.get_args(kind)[0])
    if origin in (typing.Union, UnionType):
        return [inner for each in typing.get_args(kind) if each is not type(None) for inner in _members(each)]
    return [kind]


def _inside(kind: Any, part: Key) -> Any:
    for member in _members(kind):
        origin, args = typing.get_origin(member), typing.get_args(member)
        if isinstance(member, type) and issubclass(member, BaseModel) and part in _written(member):
            return _written(member)[str(part)].annotation
        if isinstance(member, type) and dataclasses.is_dataclass(member):
            hints = _hints(member)
            if part in hints:
                return hints[str(part)]
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(args) == 2:
            return args[1]
        if origin in (list, tuple, set, frozenset) and args and isinstance(part, int):
            return args[0]
    return Any


def _written(model: type[BaseModel]) -> dict[str, Any]:
    """A model's fields by the names that a file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass_in(kind: Any) -> type | None:
    found = [m for m in _members(kind) if isinstance(m, type) and dataclasses.is_dataclass(m)]
    return found[0] if found else None


def _fields(kind: Any) -> set[str]:
    names: set[str] = set()
    for member in _members(kind):
        if isinstance(member, type) and issubclass(member, BaseModel):
            names |= set(_written(member))
        elif isinstance(member, type) and dataclasses.is_dataclass(member):
            names |= {field.name for field in dataclasses.fields(member)}
    return names


def _literals(kind: Any) -> tuple[Any, ...]:
    return tuple(v for m in _members(kind) for v in typing.get_args(m) if typing.get_origin(m) is typing.Literal)


SECTIONS: dict[str, type[BaseModel]] = {"component": ComponentDoc, "role": RoleDoc, "instance": InstanceDoc}
