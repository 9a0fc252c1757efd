"""The window of earlier observations: a small file in the user's state folder, so that no daemon is needed.

Burrow's rules and the progress of a reassignment want several observations over time. Each live check adds
one here, and so cron makes the window. The file is bounded in age, number and bytes, and only its owner
can read it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bdops.components.kafka.state import Group, LogDir, Reassignment, Topic, partition_name
from bdops.files import replacing

MAX_AGE = timedelta(hours=1)
MAX_OBSERVATIONS = 60
MAX_BYTES = 8 * 1024 * 1024
MIN_GAP = timedelta(seconds=10)
"""Observations closer together than this are thinned, so that checks in quick succession do not push out the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one check adds: offsets as in GroupSample, copied bytes as in ReassignmentSample."""

    at: datetime
    offsets: dict[str, dict[str, tuple[int, int | None]]] = field(default_factory=dict)
    copied_bytes: dict[str, int] = field(default_factory=dict)


def names_by_leader(topics: Iterable[Topic], wanted: Set[str]) -> dict[int, list[str]]:
    """The wanted partitions by the broker that leads them; those without a leader are left out."""
    found: dict[int, list[str]] = defaultdict(list)
    for topic in topics:
        for p in topic.partitions:
            name = partition_name(topic.name, p.id)
            if name in wanted and p.leader is not None:
                found[p.leader].append(name)
    return dict(found)


def copied_bytes(moves: Iterable[Reassignment], log_dirs: Iterable[LogDir]) -> dict[str, int]:
    """How much the replicas that are being added hold so far, by partition."""
    adding = {move.partition: move.adding for move in moves}
    copied = dict.fromkeys(adding, 0)
    for log_dir in log_dirs:
        for name in adding.keys() & log_dir.replicas.keys():
            if log_dir.broker in adding[name]:
                copied[name] += log_dir.replicas[name]
    return copied


def is_behind_with_members(
    groups: Iterable[Group], offsets: Mapping[str, Mapping[str, tuple[int, int | None]]]
) -> bool:
    """Whether a second look could tell anything: some group has members and lag."""
    return any(
        end is not None and end > committed
        for group in groups
        if group.has_members
        for committed, end in offsets.get(group.name, {}).values()
    )


def history_file(cluster: str, cluster_id: str) -> Path:
    """One file a cluster; the id in its name keeps a cluster apart from one that was there before under its name."""
    base = os.environ.get("BDOPS_STATE_DIR")
    if base:
        folder = Path(base)
    else:
        from platformdirs import user_state_path

        folder = user_state_path("bdops")
    return folder / "kafka" / f"{cluster}-{cluster_id}.jsonl"


def read_history(file: Path, now: datetime) -> tuple[Observation, ...]:
    """The observations that are recent enough, oldest first.

    A line that is not one is skipped: the window is then shorter.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
            at = datetime.fromisoformat(entry["at"])
            offsets = {
                group: {name: (int(committed), end) for name, (committed, end) in partitions.items()}
                for group, partitions in entry.get("offsets", {}).items()
            }
            found.append(Observation(at=at, offsets=offsets, copied_bytes=entry.get("copied_bytes", {})))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return tuple(o for o in sorted(found, key=lambda o: o.at) if now - MAX_AGE <= o.at < now)


def kept(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Those worth keeping of an ordered sequence: the newest always, of the others one in MIN_GAP."""
    chosen: list[Observation] = []
    for observation in observations[:-1]:
        if not chosen or observation.at - chosen[-1].at >= MIN_GAP:
            chosen.append(observation)
    return (*chosen, *observations[-1:])[-MAX_OBSERVATIONS:]


def write_history(file: Path, observations: Sequence[Observation]) -> None:
    """Replace the file by what is worth keeping, at most MAX_BYTES. Raises OSError."""
    lines: list[str] = []
    size = 0
    for observation in reversed(kept(observations)):
        line = json.dumps(
            {
                "at": observation.at.isoformat(),
                "offsets": observation.offsets,
                "copied_bytes": observation.copied_bytes,
            },
            separators=(",", ":"),
        )
        size += len(line) + 1
        if lines and size > MAX_BYTES:
            break
        lines.append(line)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(file) as out:
        out.writelines(f"{line}\n".encode() for line in reversed(lines))
