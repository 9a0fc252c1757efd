"""The config file: defaults of the common options, for this user. What is on the command line goes before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdops.errors import ConfigError

MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the file says; None is nothing. `yes` and the output have no defaults: they take plans from sight."""

    inventory: Path | None = None
    cluster: str | None = None
    timeout_s: float | None = None
    verbose: int | None = None


def config_file() -> Path:
    """Where the file is, if there is one: `bdops/config.yaml` in the user's configuration folder."""
    from platformdirs import user_config_path

    return user_config_path("bdops") / "config.yaml"


def read_config() -> Config:
    """The config file's content; nothing where there is none.

    Raises ConfigError with file and line for what is not YAML, an unknown key, or a value that is none.
    """
    file = config_file()
    try:
        there = file.exists()
    except PermissionError:  # HOME is somebody else's, as under sudo -u
        return Config()
    if not there:
        return Config()
    from bdops.inventory.problems import Problems, raise_all
    from bdops.inventory.yaml_source import parse_yaml, read_text

    errors: list[ConfigError] = []
    data = parse_yaml(read_text(file, "the config file", MAX_BYTES), str(file), errors)
    raise_all(errors)
    if data is None:
        return Config()
    if not isinstance(data, dict):
        raise ConfigError(
            "the config file must be a mapping", where=f"{file}:1", hint="inventory: /etc/bdops/inventory.yaml"
        )
    problems = Problems(data, str(file), code="CONFIG_INVALID")
    config = _checked(data, file, problems)
    raise_all(problems.errors())
    return config


def _checked(data: dict[str, Any], file: Path, problems: Any) -> Config:
    from bdops.core.units import parse_duration
    from bdops.inventory.problems import likely_or_known

    known = {"inventory", "cluster", "timeout", "verbose"}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            problems.add((key,), "there is no such setting", hint=likely_or_known(key, known, "settings"))
        elif key == "verbose":
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2:
                problems.add((key,), f"{value!r} is not 0, 1 or 2")
            else:
                values["verbose"] = value
        elif key == "timeout":
            try:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                values["timeout_s"] = float(value) if number else parse_duration(str(value))
            except ValueError as e:
                problems.add((key,), str(e))
            else:
                if values["timeout_s"] <= 0:
                    problems.add((key,), f"{value!r} is no time to wait")
        elif not isinstance(value, str) or not value:
            problems.add((key,), f"{value!r} is no text")
        elif key == "inventory":
            # As seen from the file: the command may run anywhere.
            values["inventory"] = file.parent / Path(value).expanduser()
        else:
            values[key] = value
    return Config(**values)
