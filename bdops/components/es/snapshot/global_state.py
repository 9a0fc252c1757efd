"""What a snapshot with global state would bring back, noted beside it: no API reads it out of a snapshot.

Noted are short texts: values of settings, digests of templates, policies and pipelines, by name. What Elasticsearch
itself brings along (its names begin with a dot, or it is marked as managed) is one entry of each part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bdops.components.es.client import Node
from bdops.errors import NotAuthorised, StateUnknown

CALL_S = 30.0
BUILT_IN, ALL = "(built in)", "(all)"
CHUNK_CHARS = 640
"""A snapshot's metadata may have 1,024 bytes, and its name 255 of them."""
MAX_CHUNKS = 16
"""Each is a snapshot without an index: more than these, and digests of whole parts must do."""
MAX_VALUE = 60
DIGEST_CHARS = 12
_SECRETIVE = re.compile(r"passw|secret|token|credential|api_?key|private", re.IGNORECASE)
_TIMES = re.compile(r"^(created|modified)_date(_millis)?$")

Part = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GlobalState:
    """By part and name. A part that could not be read is None; one that the server does not have is not there."""

    parts: Mapping[str, Part | None]

    @property
    def digest(self) -> str:
        return _digest(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A global state as it was noted beside a snapshot. `changed`: it was another one when the snapshot was begun."""

    state: GlobalState
    changed: bool = False


def _named(key: str, content: str) -> Callable[[Any], dict[str, Any]]:
    return lambda answer: {e["name"]: e[content] for e in answer.get(key, ())}


PARTS: Mapping[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "settings": ("_cluster/settings?flat_settings=true", lambda answer: dict(answer.get("persistent", {}))),
    "index_templates": ("_index_template", _named("index_templates", "index_template")),
    "component_templates": ("_component_template", _named("component_templates", "component_template")),
    "templates": ("_template", dict),
    "policies": ("_ilm/policy", lambda answer: {name: body["policy"] for name, body in answer.items()}),
    "pipelines": ("_ingest/pipeline", dict),
}
"""What a restore of the global state replaces: where it is read, and how the answer is one by name."""


def read_global_state(node: Node) -> GlobalState:
    """What lives now. A part that we may not read is None. Raises Unreachable, StateUnknown."""
    parts: dict[str, Part | None] = {}
    for part, (path, by_name) in PARTS.items():
        try:
            answer = node.request("GET", path, timeout_s=CALL_S)
        except NotAuthorised:
            parts[part] = None
            continue
        if answer.status in (400, 405):
            continue  # the server does not have such things
        if answer.status not in (200, 404) or not isinstance(answer.body, dict):
            raise StateUnknown(f"GET /{path} failed: HTTP {answer.status}", where=node.where)
        parts[part] = noted_part(part, by_name(answer.body) if answer.status == 200 else {})
    return GlobalState(parts)


def noted_part(part: str, bodies: Mapping[str, Any]) -> Part:
    """Short texts of one part's things. Pure."""
    if part == "settings":
        return {name: _value(name, value) for name, value in sorted(bodies.items())}
    found = {name: _digest(_lasting(body)) for name, body in sorted(bodies.items()) if not _built_in(name, body)}
    own = {name: _digest(_lasting(body)) for name, body in sorted(bodies.items()) if name not in found}
    return {**found, **({BUILT_IN: _digest(own)} if own else {})}


def encode(state: GlobalState) -> list[str]:
    """As texts that fit into the metadata of a snapshot each. Pure."""
    chunks = _chunks(state)
    return (
        chunks if len(chunks) <= MAX_CHUNKS else _chunks(GlobalState({p: _folded(x) for p, x in state.parts.items()}))
    )


def decode(chunks: Iterable[str]) -> GlobalState | None:
    """What `encode` made; None when that is damaged or not all there. Pure."""
    try:
        parts = json.loads(zlib.decompress(base64.b64decode("".join(chunks), validate=True)))
    except (binascii.Error, zlib.error, ValueError):
        return None
    return GlobalState(parts) if isinstance(parts, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing of one part. None: not there. `what` says which figure of it differs."""

    part: str
    name: str
    what: str = ""
    before: str | int | None = None
    after: str | int | None = None

    @property
    def change(self) -> str:
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def global_differences(before: GlobalState, after: GlobalState) -> tuple[list[Difference], list[str]]:
    """What differs, and the parts that could not be read on one side. Pure."""
    found: list[Difference] = []
    unread: list[str] = []
    for part in PARTS:
        old, new = before.parts.get(part, {}), after.parts.get(part, {})
        if old is None or new is None:
            unread.append(part)
            continue
        if ALL in old or ALL in new:
            old, new = _folded(old) or {}, _folded(new) or {}
        found += [
            Difference(part=part, name=name, before=old.get(name), after=new.get(name))
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    return found, unread


def _folded(part: Part | None) -> Part | None:
    """One digest of a whole part."""
    return part if part is None or ALL in part else {ALL: _digest(part)}


def _chunks(state: GlobalState) -> list[str]:
    text = base64.b64encode(zlib.compress(_canonical(state.parts), 9)).decode()
    return [text[i : i + CHUNK_CHARS] for i in range(0, len(text), CHUNK_CHARS)]


def _value(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return _digest(text) if len(text) > MAX_VALUE or _SECRETIVE.search(name) else text


def _built_in(name: str, body: Any) -> bool:
    return name.startswith(".") or bool(isinstance(body, dict) and (body.get("_meta") or {}).get("managed"))


def _lasting(body: Any) -> Any:
    """Without the times that a server notes of its own accord."""
    return {k: v for k, v in body.items() if not _TIMES.match(k)} if isinstance(body, dict) else body


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()[:DIGEST_CHARS]
