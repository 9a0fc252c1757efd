"""The JSON Schema of playbooks, for editors: generated from the models and from what each operation takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdops.core.said import said_of_fields
from bdops.playbooks import edge
from bdops.playbooks.edge import PlaybookDoc, StepDoc
from bdops.playbooks.model import Operation, Option

_TEMPLATE = {"type": "string", "pattern": r"\{\{"}
_TYPES = {"text": ["string", "number", "boolean"], "int": "integer", "number": "number", "bool": "boolean"}


def playbook_schema(operations: Mapping[str, Operation]) -> dict[str, Any]:
    """The schema of a playbook; `with` is that of the step's operation."""
    schema = PlaybookDoc.model_json_schema(ref_template="#/$defs/{model}")
    for name, definition in ((PlaybookDoc.__name__, schema), *schema["$defs"].items()):
        for field, text in said_of_fields(getattr(edge, name)).items():
            # A field whose key is a word of Python has an underscore: `with_`.
            definition["properties"][field.rstrip("_")]["description"] = text
    step = schema["$defs"][StepDoc.__name__]
    step["properties"]["do"]["enum"] = sorted(operations)
    step["properties"]["do"].pop("anyOf", None)
    step["oneOf"] = [{"required": [kind]} for kind in ("do", "wait_for", "approve", "archive")]
    step["allOf"] = [_if_it_is(operation) for _, operation in sorted(operations.items())]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "bdops playbook"}
    return {**head, **schema}


def _if_it_is(operation: Operation) -> dict[str, Any]:
    required = [o.key for o in operation.options if o.required]
    given: dict[str, Any] = {
        "type": "object",
        "description": operation.help,
        "properties": {o.key: _value(o) for o in operation.options},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }
    then: dict[str, Any] = {"properties": {"with": given}, **({"required": ["with"]} if required else {})}
    return {"if": {"properties": {"do": {"const": operation.name}}, "required": ["do"]}, "then": then}


def _value(option: Option) -> dict[str, Any]:
    one: dict[str, Any] = {"type": _TYPES[option.type]}
    forms = [one] if option.type == "text" else [one, _TEMPLATE]
    if option.many:
        forms.append({"type": "array", "items": {"anyOf": list(forms)}, "minItems": 1})
    return {"description": option.help, "anyOf": forms}
