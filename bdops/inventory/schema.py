"""The JSON Schema of inventory files: generated from the models and the components' settings, for editors and docs.

What a key is for is the text that stands below its field in the source.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any

from pydantic import BaseModel, TypeAdapter

from bdops.core.component import ComponentSettings
from bdops.core.model import WORK_DIR, Service, Ssh
from bdops.core.said import said_of_fields
from bdops.inventory import edge
from bdops.inventory.edge import ClusterDoc, ComponentDoc, FileDoc, InstanceDoc, PlacedDoc, RoleDoc, ServiceDoc, SshDoc

_REF = "#/$defs/{model}"
_RESULTS: Mapping[type[BaseModel], type] = {SshDoc: Ssh, ServiceDoc: Service}
"""Sections whose fields all may be left out: what is said of them, and their defaults, are those of the result."""


def inventory_schema(settings: Mapping[str, ComponentSettings]) -> dict[str, Any]:
    """The schema of one file of an inventory, with the settings of each component under its name."""
    schema = FileDoc.model_json_schema(ref_template=_REF)
    defs: dict[str, Any] = schema.pop("$defs")
    for model in (ComponentDoc, RoleDoc, InstanceDoc, PlacedDoc):
        defs.pop(model.__name__, None)
    components = {}
    for name, each in sorted(settings.items()):
        fields = _settings_fields(name, each.type, defs)
        roles = [role.name for role in each.roles]
        section = _section(RoleDoc, fields, defs)
        instance = _section(InstanceDoc, fields, defs)
        placed = _section(PlacedDoc, fields, defs)
        placed["properties"]["roles"] |= {"anyOf": [{"enum": roles}, {"type": "array", "items": {"enum": roles}}]}
        component = _section(ComponentDoc, fields, defs)
        component["properties"]["hosts"] = {
            "description": component["properties"]["hosts"]["description"],
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": _or_null(placed)},
            ],
        }
        component["properties"]["roles"] = {
            "description": component["properties"]["roles"]["description"],
            "type": "object",
            "properties": {role: _or_null(section) for role in roles},
            "additionalProperties": False,
        }
        component["properties"]["instances"] = {
            "description": component["properties"]["instances"]["description"],
            "type": "object",
            "additionalProperties": _or_null(instance),
        }
        components[name] = _or_null(component)
    for name, definition in defs.items():
        if isinstance(kind := getattr(edge, name, None), type):
            _describe(definition, kind)
    _describe(schema, FileDoc)
    defs[ClusterDoc.__name__]["properties"]["components"] |= {
        "type": "object",
        "properties": components,
        "additionalProperties": False,
    }
    defs[ClusterDoc.__name__]["properties"]["work_dir"]["default"] = WORK_DIR
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "bdops inventory"}
    whole: dict[str, Any] = _accept_what_the_loader_does({**head, **schema, "$defs": defs})
    return whole


def _describe(definition: dict[str, Any], kind: type) -> None:
    """Add to a class's definition what its fields are for, and the defaults of a section's result."""
    result = next((made for section, made in _RESULTS.items() if section is kind), kind)
    said = said_of_fields(result)
    for name, each in definition["properties"].items():
        if name in said:
            each["description"] = said[name]
        if result is not kind and (default := _default(result, name)) is not None:
            each["default"] = list(default) if isinstance(default, tuple) else default
    definition.pop("description", None)


def _default(kind: type, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


def _settings_fields(name: str, kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    """The properties of a component's settings; what they refer to is added to `defs` under a name of its own."""
    prefix = f"{name}-"
    schema = TypeAdapter(kind).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    kinds = {inner.__name__: inner for inner in _dataclasses_in(kind)}
    for inner, definition in schema.get("$defs", {}).items():
        _describe(definition, kinds[inner])
        defs[prefix + inner] = definition
    _describe(schema, kind)
    properties: dict[str, Any] = schema["properties"]
    return properties


def _dataclasses_in(kind: Any) -> Iterator[type]:
    """A dataclass and those that its fields hold."""
    if typing.get_origin(kind) in (typing.Union, UnionType):
        for each in typing.get_args(kind):
            yield from _dataclasses_in(each)
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        for each in typing.get_type_hints(kind).values():
            yield from _dataclasses_in(each)


def _section(model: type[BaseModel], fields: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    own = model.model_json_schema(ref_template=_REF)
    _describe(own, model)
    for inner, definition in own.get("$defs", {}).items():
        if inner not in (RoleDoc.__name__, InstanceDoc.__name__, PlacedDoc.__name__):
            defs[inner] = definition
    return {"type": "object", "properties": {**own["properties"], **fields}, "additionalProperties": False}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _accept_what_the_loader_does(schema: Any) -> Any:
    """Nothing after a key stands for an empty mapping: an editor must not mark what bdops takes."""
    if isinstance(schema, list):
        return [_accept_what_the_loader_does(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _accept_what_the_loader_does(value) for key, value in schema.items()}
    if isinstance(result.get("properties"), dict):
        result["properties"] = {key: _nullable(value) for key, value in result["properties"].items()}
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _nullable(result["additionalProperties"])
    return result


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    is_section = str(schema.get("$ref", "")).endswith("Doc") or schema.get("type") == "object"
    return _or_null(schema) if is_section else schema
