"""The JSON Schema of inventory files, for editors: generated from the models and the components' settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from bdops.core.component import ComponentSettings
from bdops.inventory.edge import ClusterDoc, ComponentDoc, FileDoc, InstanceDoc, PlacedDoc, RoleDoc

_REF = "#/$defs/{model}"


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
        placed["properties"]["roles"] = {"anyOf": [{"enum": roles}, {"type": "array", "items": {"enum": roles}}]}
        component = _section(ComponentDoc, fields, defs)
        component["properties"]["hosts"] = {
            "description": "Host expressions, or a mapping of them to what is particular to those hosts.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": _or_null(placed)},
            ],
        }
        component["properties"]["roles"] = {
            "type": "object",
            "properties": {role: _or_null(section) for role in roles},
            "additionalProperties": False,
        }
        component["properties"]["instances"] = {"type": "object", "additionalProperties": _or_null(instance)}
        components[name] = _or_null(component)
    defs[ClusterDoc.__name__]["properties"]["components"] = {
        "type": "object",
        "properties": components,
        "additionalProperties": False,
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "bdops inventory"}
    whole: dict[str, Any] = _accept_what_the_loader_does({**head, **schema, "$defs": defs})
    return whole


def _settings_fields(name: str, kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    """The properties of a component's settings; what they refer to is added to `defs` under a name of its own."""
    prefix = f"{name}-"
    schema = TypeAdapter(kind).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for inner, definition in schema.get("$defs", {}).items():
        defs[prefix + inner] = definition
    properties: dict[str, Any] = schema["properties"]
    return properties


def _section(model: type[BaseModel], fields: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    own = model.model_json_schema(ref_template=_REF)
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
