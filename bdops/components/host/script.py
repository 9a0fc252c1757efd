"""The one command that tells everything of a host, and what its output means. Pure.

POSIX sh. Each part begins with a line `@part argument`; `@exit N` follows the output of a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bdops.components.host.state import DataDir, HostService
from bdops.hosts.services import StatusQuestion, statuses

_START = """\
export LC_ALL=C
echo "@clock"; date +%s.%N
"""
# A directory below one that we may not enter looks as if it were not there.
_DATA_DIR = """\
d={path}
echo "@dir {index}"
if [ -d "$d" ]; then echo "@bytes"; df -P -k -- "$d"; echo "@inodes"; df -P -i -- "$d"; else echo "@missing"; fi
"""
_QUESTION = """\
echo "@service {index}"
{command} </dev/null 2>&1
echo "@exit $?"
"""


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the script told. `clock_s`: seconds since the epoch by the host's clock, None when it was no number."""

    clock_s: float | None
    clock_resolution_s: float
    data_dirs: tuple[DataDir, ...]
    services: tuple[HostService, ...]


def host_script(data_dirs: Sequence[str], questions: Sequence[StatusQuestion]) -> str:
    """The script for one host; run it as `sh -c SCRIPT`."""
    parts = [_START]
    parts += [_DATA_DIR.format(index=i, path=shlex.quote(path)) for i, path in enumerate(data_dirs)]
    parts += [_QUESTION.format(index=i, command=shlex.join(q.argv)) for i, q in enumerate(questions)]
    return "".join(parts)


def parse_answer(output: str, data_dirs: Sequence[str], questions: Sequence[StatusQuestion]) -> HostAnswer:
    """The script's output in terms of what it was made of. What is missing from it is unknown, not fine."""
    parts = list(_parts(output))
    clock = next((body for name, _, body in parts if name == "clock"), [])
    clock_s, resolution_s = _clock(clock)
    return HostAnswer(clock_s, resolution_s, _data_dirs(parts, data_dirs), _services(parts, questions))


Part = tuple[str, str, list[str]]


def _parts(output: str) -> Iterator[Part]:
    name, argument, body = "", "", list[str]()
    for line in output.splitlines():
        if match := re.fullmatch(r"@(clock|dir|bytes|inodes|missing|service|exit)(?: (\d+))?", line):
            if name:
                yield name, argument, body
            name, argument, body = match[1], match[2] or "", []
        else:
            body.append(line)
    if name:
        yield name, argument, body


def _clock(lines: list[str]) -> tuple[float | None, float]:
    """Seconds, and how fine they are: a `date` without %N prints whole seconds, cut off."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?.*", lines[0]) if lines else None
    if not match:
        return None, 0.0
    if match[2]:
        return float(f"{match[1]}.{match[2]}"), 0.0
    return float(match[1]) + 0.5, 0.5


def _data_dirs(parts: list[Part], paths: Sequence[str]) -> tuple[DataDir, ...]:
    found: list[DataDir] = []
    for position, (name, argument, _) in enumerate(parts):
        if name != "dir" or int(argument) >= len(paths):
            continue
        path = paths[int(argument)]
        following = {
            n: body for n, _, body in parts[position + 1 : position + 3] if n in ("bytes", "inodes", "missing")
        }
        if position + 1 < len(parts) and parts[position + 1][0] == "missing":
            found.append(DataDir(path=path, exists=False))
        elif "bytes" in following:
            found.append(_filesystem(path, following.get("bytes", []), following.get("inodes", [])))
    return tuple(found)


def _filesystem(path: str, sizes: list[str], inodes: list[str]) -> DataDir:
    size, used, available, mount = _df(sizes)
    all_inodes, used_inodes, _, _ = _df(inodes)
    kib = 1024
    return DataDir(
        path=path,
        exists=True,
        mount=mount,
        size_bytes=None if size is None else size * kib,
        used_bytes=None if used is None else used * kib,
        available_bytes=None if available is None else available * kib,
        # Filesystems that make inodes as they go (btrfs) say 0.
        inodes=all_inodes or None,
        inodes_used=used_inodes if all_inodes else None,
    )


def _df(lines: list[str]) -> tuple[int | None, int | None, int | None, str | None]:
    """Total, used, available and mount point of `df -P`: device, three numbers, a percentage, the mount point."""
    for line in lines[1:]:
        if match := re.search(r"\s(\d+|-)\s+(\d+|-)\s+(-?\d+|-)\s+(?:\d+%|-)\s+(/.*)$", line):
            total, used, available = (None if v == "-" else max(0, int(v)) for v in match.groups()[:3])
            return total, used, available, match[4]
    return None, None, None, None


def _services(parts: list[Part], questions: Sequence[StatusQuestion]) -> tuple[HostService, ...]:
    found: dict[str, HostService] = {}
    for position, (name, argument, body) in enumerate(parts[:-1]):
        after = parts[position + 1]
        if name != "service" or after[0] != "exit" or int(argument) >= len(questions):
            continue
        told = statuses(questions[int(argument)], int(after[1] or 1), "\n".join(body))
        for instance, status in told.items():
            found[instance] = HostService(instance=instance, state=status.state, detail=status.detail, pid=status.pid)
    for question in questions:
        for instance in question.services:
            found.setdefault(instance, HostService(instance=instance, state="unknown", detail="not told by the host"))
    return tuple(found.values())
