"""The reference in docs/inventory.md: every key with its type, unit, default and meaning, from the JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bdops.core.component import ComponentSettings
from bdops.core.said import said_of_fields
from bdops.inventory.edge import ComponentDoc, InstanceDoc, PlacedDoc, RoleDoc
from bdops.inventory.schema import inventory_schema
from bdops.registry import COMPONENTS, settings

HEAD = """
Every key, generated from the model by `make generate`. A key with a dot is one of a mapping: `tls.ca` is `ca` below
`tls`. Where nothing is said the default counts.
"""
SECTIONS = (
    ("A file", "", "at the top"),
    ("A cluster", "ClusterDoc", "below `clusters.NAME`"),
    ("A host", "HostDoc", "below `hosts.NAME` of a cluster"),
    ("ssh", "SshDoc", "below `ssh` of a cluster or host"),
    ("service", "ServiceDoc", "below `service` of a cluster, host, component, role or instance"),
    ("A check", "CheckDoc", "below `checks.CODE` of a cluster or component"),
    ("A limit", "LimitsDoc", "below `limits.NAME` of a check"),
    ("A mute", "MuteDoc", "in the list `mutes` of a cluster or component"),
    ("A secret", "SecretRef", "wherever the type is a secret: exactly one of these"),
)
UNITS = {
    "_ms": "ms", "_s": "s", "_h": "hours", "_d": "days", "_txns": "transactions", "_behind": "transactions",
    "_reads": "readings", "_share": "0 to 1", "_slack": "copies", "_files": "files", "_objects": "objects",
    "port": "port", "_id": "id", "myid": "id", "version": "version",
}  # fmt: skip
"""How a number is counted, by the end of its key's name."""
SIMPLE = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


def inventory_reference() -> str:
    """The whole of it, after its heading. Raises ValueError for a number whose unit nobody knows."""
    known = {name: settings(name) for name in COMPONENTS}
    schema = inventory_schema(known)
    defs = schema["$defs"]
    parts = [HEAD]
    for title, name, where in SECTIONS:
        section = defs[name] if name else schema
        rows = _rows(section["properties"], set(section.get("required", ())), {})
        parts.append(_table(title, where, rows))
    components = _mapping(defs["ClusterDoc"]["properties"]["components"])["properties"]
    own = said_of_fields(ComponentDoc)
    anywhere = _mapping(components[next(iter(components))])["properties"]
    rows = _rows({key: anywhere[key] for key in own}, set(), defs)
    parts.append(_table("A component", "below `components.NAME` of a cluster, beside its settings", rows))
    parts.append("\n" + _elsewhere() + "\n")
    for name, title in COMPONENTS.items():
        fields = _mapping(components[name])["properties"]
        mine = {key: value for key, value in fields.items() if key not in own}
        rows = _rows(mine, set(), defs, of_roles=_role_defaults(known[name]))
        where = f"below `components.{name}`, a role, a host of it or an instance"
        parts.append(_table(f"Settings of {title}", where, rows))
        parts.append(f"\nRoles: {', '.join(f'`{role.name}`' for role in known[name].roles)}.\n")
    return "".join(parts)


def _elsewhere() -> str:
    """Which of a component's keys there are further below."""
    named = {"a role": RoleDoc, "a mapping of `hosts`": PlacedDoc, "an instance": InstanceDoc}
    said = [f"{where} has {_keys(said_of_fields(model))}" for where, model in named.items()]
    return f"Below it, {', '.join(said)}, and each has the component's settings."


def _keys(names: Mapping[str, str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"


def _table(title: str, where: str, rows: Iterator[str]) -> str:
    head = "| key | type | unit | default | what it is for |\n| --- | --- | --- | --- | --- |\n"
    return f"\n### {title}\n\n{where[0].upper()}{where[1:]}.\n\n{head}{''.join(rows)}"


def _rows(
    fields: Mapping[str, Any],
    required: set[str],
    defs: Mapping[str, Any],
    *,
    of_roles: Mapping[str, Mapping[str, Any]] | None = None,
    prefix: str = "",
    seen: dict[str, str] | None = None,
) -> Iterator[str]:
    """A row for each key, and for those of the mappings that settings have. `seen` are the mappings that were told."""
    told: dict[str, str] = {} if seen is None else seen
    for key, field in fields.items():
        name = prefix + key
        nested = _nested(field, defs)
        kind = f"as `{told[nested]}`" if nested in told else "mapping" if nested else _type(field)
        default = "" if nested and field.get("default") else _default(field, key in required)
        if of_roles and key in of_roles:
            default = ", ".join(f"{role} `{value}`" for role, value in of_roles[key].items())
        yield f"| `{name}` | {kind} | {_unit(name, kind)} | {default} | {_described(field, name)} |\n"
        if nested and nested not in told:
            told[nested] = name
            yield from _rows(defs[nested]["properties"], set(), defs, prefix=f"{name}.", seen=told)


def _role_defaults(component: ComponentSettings) -> dict[str, dict[str, Any]]:
    """The defaults of settings that differ by role."""
    found: dict[str, dict[str, Any]] = {}
    for role in component.roles:
        for key, value in role.defaults.items():
            found.setdefault(key, {})[role.name] = value
    return found


def _forms(field: Any) -> list[Any]:
    """What a value may be, without null."""
    return [f for f in field.get("anyOf", [field]) if f.get("type") != "null"]


def _mapping(field: Any) -> Any:
    return _forms(field)[0]


def _nested(field: Any, defs: Mapping[str, Any]) -> str | None:
    """The definition of a mapping of a component's settings; secrets and sections have a table of their own."""
    names = [f["$ref"].rpartition("/")[2] for f in _forms(field) if "$ref" in f]
    return next((n for n in names if n in defs and "-" in n and not n.endswith("SecretRef")), None)


def _type(field: Any) -> str:
    return " or ".join(dict.fromkeys(_form(form) for form in _forms(field)))


def _form(form: Any) -> str:
    if "$ref" in form:
        name = form["$ref"].rpartition("/")[2].rpartition("-")[2]
        title = next(title for title, section, _ in SECTIONS if section == name)
        return f"[{title.removeprefix('A ')}](#{title.lower().replace(' ', '-')})"
    if "enum" in form or "const" in form:
        return ", ".join(f"`{value}`" for value in form.get("enum", [form.get("const")]))
    kinds = [kind for kind in _list(form.get("type")) if kind != "null"]
    if kinds == ["array"]:
        return f"list of {_type(form['items'])}s" if "$ref" not in form["items"] else f"list of {_type(form['items'])}"
    if kinds == ["object"]:
        return "mapping"
    bounds = [form.get("minimum", form.get("exclusiveMinimum")), form.get("maximum")]
    between = f", {bounds[0]} to {bounds[1]}" if None not in bounds else ""
    # Text takes numbers too, as in `rack: 1`; only where the number comes first is it one.
    shown = ["string"] if kinds[0] == "string" else kinds
    return " or ".join(SIMPLE[kind] for kind in shown) + between


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unit(name: str, kind: str) -> str:
    if not re.search(r"\bnumber\b", kind) or "text" in kind:
        return ""
    last = name.rpartition(".")[2]
    unit = next((unit for end, unit in UNITS.items() if last.endswith(end)), None)
    if unit is None:
        raise ValueError(f"which unit has the inventory's {name}? tools/generate_inventory.py has them")
    return unit


def _default(field: Any, required: bool) -> str:
    if required:
        return "required"
    if "default" not in field:
        field = next((form for form in _forms(field) if "default" in form), {})
    value = field.get("default", {})
    if value == [] or isinstance(value, dict):
        return "none"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`" if value else '`""`'


def _described(field: Any, name: str) -> str:
    text = field.get("description") or next((f["description"] for f in _forms(field) if "description" in f), None)
    if not text:
        raise ValueError(f"what is the inventory's {name} for? say it below the field")
    return str(text).replace("|", "\\|")
