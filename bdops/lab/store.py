"""lab.json: what a lab is, written before anything is started, so that a killed `lab up` can be repeated or undone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bdops.errors import ConfigError, OperationFailed, UsageError
from bdops.files import replacing
from bdops.lab import paths
from bdops.lab.processes import from_pid_file

FORMAT = 1
HOST_RACKS = {"node1": "r1", "node2": "r1", "node3": "r2", "node4": "r2"}
LOCK_WAIT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A small file system of a lab: an image file and where it is mounted."""

    component: str
    host: str
    image: str
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """`network` is the L of the hosts' addresses 127.L.N.1; `up` whether the lab is meant to be running.

    `secure`: its servers take TLS and logins, from its first `up` to its end.
    """

    name: str
    network: int
    components: tuple[str, ...]
    up: bool
    volumes: tuple[Volume, ...] = ()
    faults: tuple[str, ...] = ()
    secure: bool = False


def lab_folder(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,30}", name):
        raise UsageError(
            f"{name!r} is not a lab's name", hint="use at most 31 small letters, digits, - and _, such as: lab"
        )
    return paths.labs_dir() / name


def read(name: str) -> LabRecord | None:
    """The record of a lab; None when there is no such lab. Raises ConfigError for a file that is not one."""
    file = lab_folder(name) / "lab.json"
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise ConfigError(f"{file} cannot be read: {e}", hint=f"remove the lab's folder: {file.parent}") from e
    try:
        if data["format"] != FORMAT:
            raise ConfigError(f"{file} was written by another version of bdops", where=str(file))
        return LabRecord(
            name=data["name"],
            network=data["network"],
            components=tuple(data["components"]),
            up=data["up"],
            volumes=tuple(Volume(**v) for v in data["volumes"]),
            faults=tuple(data["faults"]),
            secure=data.get("secure", False),
        )
    except (KeyError, TypeError) as e:
        raise ConfigError(f"{file} is not a lab's record: {e}", hint=f"remove the lab's folder: {file.parent}") from e


def write(record: LabRecord) -> None:
    """Replace the record in one step."""
    folder = paths.private_folder(lab_folder(record.name))
    with replacing(folder / "lab.json") as file:
        file.write(json.dumps({"format": FORMAT, **asdict(record)}, indent=2).encode() + b"\n")


def change(name: str, **changes: object) -> LabRecord:
    """The record with these fields replaced, written."""
    found = read(name)
    if found is None:
        raise ConfigError(f"there is no lab {name!r}", hint="bdops lab up", code="LAB_UNKNOWN")
    changed: LabRecord = replace(found, **changes)  # type: ignore[arg-type]
    write(changed)
    return changed


def names() -> list[str]:
    """All labs of this state folder, running or not."""
    folder = paths.labs_dir()
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / "lab.json").is_file())


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time brings a lab up or down. Raises OperationFailed after ten minutes of waiting."""
    from filelock import FileLock, Timeout

    labs = paths.private_folder(paths.labs_dir())
    try:
        with FileLock(labs / f".{lab_folder(name).name}.lock", timeout=LOCK_WAIT_S):
            yield
    except Timeout as e:
        raise OperationFailed(
            f"another `bdops lab up` or `down` of lab {name!r} is still at work", where=str(labs / f".{name}.lock")
        ) from e


@dataclass(frozen=True, slots=True)
class RunningLab:
    name: str
    inventory: Path


def running_labs() -> list[RunningLab]:
    """The labs of this state folder that run now. Cheap: reads lab.json, a pid file and /proc."""
    found = []
    for name in names():
        record, folder = read(name), lab_folder(name)
        if record and record.up and (folder / "inventory.yaml").is_file():
            runtime = paths.runtime_dir(folder)
            if any(from_pid_file(runtime / f"{host}.pid", folder / host / "supervisord.conf") for host in HOST_RACKS):
                found.append(RunningLab(name, folder / "inventory.yaml"))
    return found
