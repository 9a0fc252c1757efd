"""States as files: what the checks read, saved and loaded strictly, and the JSON Schemas of the formats.

A state is a frozen dataclass; pydantic validates a file into it. Unknown keys are errors; a key that may be
absent is None, which checks read as UNKNOWN.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bdops.errors import ConfigError, ConfigErrors
from bdops.files import writing


def save_state(state: Any, path: Path) -> None:
    """Write a component's state as JSON, whole or not at all, readable by its owner alone. Raises OperationFailed."""
    from pydantic import TypeAdapter

    data = TypeAdapter(type(state)).dump_json(state, indent=1, exclude_none=True)
    with writing(path, "the state") as file:
        file.write(data + b"\n")


def load_state(path: Path, types: dict[str, type]) -> Any:
    """Read a state file. `types` maps a file's `component` to its state type.

    Raises ConfigError naming the file, the path in it, and what was expected there.
    """
    try:
        text = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"cannot read the state file: {e.strerror}", where=str(path)) from None
    try:
        head = json.loads(text)
    except ValueError as e:
        raise ConfigError(f"the state file is not JSON: {e}", where=str(path), code="STATE_INVALID") from None
    return parse_state(head, path, types)


def parse_state(head: Any, path: Path, types: dict[str, type]) -> Any:
    """The state in a file's parsed JSON. Raises like `load_state`; `path` is named in the errors."""
    from pydantic import TypeAdapter, ValidationError

    name = head.get("component") if isinstance(head, dict) else None
    if not isinstance(name, str) or name not in types:
        raise ConfigError(
            f'the state file must be an object with "component" one of {", ".join(types)}; it has {name!r}',
            where=str(path),
            code="STATE_INVALID",
        )
    try:
        return TypeAdapter(types[name]).validate_python(head, strict=False)
    except ValidationError as e:
        raise ConfigErrors(
            [
                ConfigError(
                    f"at {_path(error['loc'])}: {error['msg']}",
                    where=str(path),
                    code="STATE_INVALID",
                    hint=f"the format is docs/state-{name}.schema.json",
                )
                for error in e.errors(include_url=False, include_context=False, include_input=False)
            ]
        ) from None


def state_schema(state_type: type) -> dict[str, Any]:
    """The JSON Schema of a component's state file."""
    from pydantic import TypeAdapter

    return TypeAdapter(state_type).json_schema()


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".") or "the top"
