"""What a restore of a path is: beside, to a new place, or back into place, where something of it is missing."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace

from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.calls import Entry, snapshot_path
from bdops.components.hdfs.snapshot.copying import (
    Batch,
    Item,
    batches,
    copy_argv,
    copy_targets,
    find_host,
    literal,
    stage_of,
)
from bdops.components.hdfs.snapshot.missing import is_same, missing
from bdops.core.backups import BackupRecord
from bdops.core.model import Deployment
from bdops.core.plan import Target
from bdops.errors import Refused, UsageError
from bdops.hosts.ssh import SshPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """`targets` are empty where nothing is to be done, or (`no_host` says why) no host has Hadoop's program: then the
    `commands` are for a person. `left` names what is there, differs, and is left as it is; `differing` counts it."""

    source: str
    target: str
    targets: tuple[Target, ...] = ()
    commands: tuple[str, ...] = ()
    no_host: str | None = None
    size_bytes: int = 0
    pieces: int = 0
    differing: int = 0
    left: tuple[str, ...] = ()


def plan_restore(
    service: Nameservice,
    deployment: Deployment,
    pool: SshPool,
    record: BackupRecord,
    inside: str,
    *,
    to: str | None,
    overwrite: Collection[str] = (),
    checksums: int | None,
    stamp: str,
) -> RestorePlan:
    """The plan for a path of a snapshot, `inside` its directory: to `to`, or (None) back into place.

    Back into place comes what is missing, and of what differs the files that `overwrite` names (by their paths below
    the directory). Raises UsageError, and Refused when `to` is there already.
    """
    root = record.destination.rstrip("/")
    source = f"{snapshot_path(record.destination, record.id)}/{inside}".rstrip("/")
    entry = service.on_active(lambda n: calls.entry_of(n, source))
    if entry is None:
        raise UsageError(f"there is no {inside or '/'} in {record.id}", code="HDFS_NO_SUCH_PATH")
    target = to or f"{root}/{inside}".rstrip("/")
    differing, left = 0, tuple[str, ...]()
    if to is not None:
        if service.on_active(lambda n: n.exists(to)):
            raise Refused(
                f"{to} is there already: nothing is restored over what lives",
                hint="--to another path, --in-place for what is missing, or --compare what is there",
                code="HDFS_PATH_EXISTS",
            )
        pieces = [(_parent(to), Item(source=source, name=_name(to)), entry)]
    else:
        pieces, differing, left = _in_place(service, source, target, entry, _below(overwrite, inside))
    found = batches((folder, item) for folder, item, _ in pieces)
    by_source = {item.source: e for _, item, e in pieces}
    sizes = [sum(_size(service, i.source, by_source[i.source]) for i in batch.items) for batch in found]
    host, program = find_host(deployment, pool)
    plan = RestorePlan(
        source=source, target=target, size_bytes=sum(sizes), pieces=len(pieces), differing=differing, left=left
    )
    if host is None:
        return replace(plan, commands=_by_hand(found, sizes, deployment, stamp), no_host=program)
    args = {
        "id": record.id,
        "destination": record.destination,
        "stamp": stamp,
        "host": host.name,
        "program": program,
        "checksums": checksums,
    }
    made = [service.on_active(lambda n, f=b.folder: _topmost_absent(n, f)) for b in found]  # type: ignore[misc]
    return replace(plan, targets=copy_targets(found, args, sizes, made))


def _by_hand(found: list[Batch], sizes: list[int], deployment: Deployment, stamp: str) -> tuple[str, ...]:
    """The command lines for a person: into a folder beside, then each to its name."""
    settings = deployment.settings
    program = settings.hadoop_command
    lines: list[str] = []

    def fs(*words: str) -> None:
        lines.append(shlex.join(("env", f"HADOOP_USER_NAME={settings.user}", program, "fs", *words)))

    for number, (batch, size) in enumerate(zip(found, sizes, strict=True), 1):
        stage = stage_of(batch.folder, stamp, number)
        sources = [i.source for i in batch.items]
        fs("-mkdir", "-p", literal(stage))
        copy = copy_argv(program, settings.user, settings.nameservice, sources, stage, size_bytes=size)
        lines.append(shlex.join(copy))
        for item in batch.items:
            target = f"{batch.folder.rstrip('/')}/{item.name}"
            if item.overwrite:
                # Aside, and not away: the commands after a failed one run too.
                fs("-mv", literal(target), literal(f"{target}.before-{stamp}"))
            fs("-mv", literal(f"{stage}/{_name(item.source)}"), literal(target))
        fs("-rmdir", literal(stage))
    return tuple(lines)


Piece = tuple[str, Item, Entry]


def _in_place(
    service: Nameservice, source: str, target: str, entry: Entry, overwrite: frozenset[str]
) -> tuple[list[Piece], int, tuple[str, ...]]:
    """What is to be brought back below a path that is there, how much of it differs, and what of that is left."""
    namenode = service.namenodes[service.active()]
    live = calls.entry_of(namenode, target)
    if live is None:
        return [(_parent(target), Item(source=source, name=_name(target)), entry)], 0, ()
    if entry.kind != "dir" or live.kind != "dir":
        if is_same(entry, live):
            return [], 0, ()
        if "" in overwrite and entry.kind == live.kind == "file":
            return [(_parent(target), Item(source=source, name=_name(target), overwrite=True), entry)], 1, ()
        return [], 1, (target,)
    found = missing(
        lambda folder: calls.entries_of(namenode, f"{source}/{folder}".rstrip("/")),
        lambda folder: calls.entries_of(namenode, f"{target}/{folder}".rstrip("/")),
        overwrite,
    )
    if unknown := overwrite - found.wanted.keys():
        raise UsageError(
            f"--overwrite {', '.join(sorted(unknown))}: no file that is there and differs from the snapshot's",
            hint="paths below the directory, as they are listed",
        )

    def piece(path: str, one: Entry, *, over: bool) -> Piece:
        full = f"{target}/{path}"
        return _parent(full), Item(source=f"{source}/{path}", name=_name(path), overwrite=over), one

    pieces = [piece(path, one, over=False) for path, one in found.lost]
    pieces += [piece(path, one, over=True) for path, one in found.wanted.items()]
    return pieces, found.differing, tuple(found.named)


def _below(paths: Collection[str], inside: str) -> frozenset[str]:
    """Paths below the directory, as they are below a path in it. Raises UsageError for one that is not."""
    below = set()
    for path in paths:
        clean = path.strip("/")
        if inside and clean != inside and not clean.startswith(f"{inside}/"):
            raise UsageError(f"--overwrite {path} is not below --path {inside}")
        below.add(clean.removeprefix(inside).strip("/") if inside else clean)
    return frozenset(below)


def _size(service: Nameservice, path: str, entry: Entry) -> int:
    if entry.kind == "file":
        return entry.size_bytes
    return service.on_active(lambda n: calls.summary_of(n, path)).size_bytes


def _topmost_absent(namenode: NameNode, folder: str) -> str | None:
    """The highest directory that a copy into a folder has to make; None when the folder is there."""
    absent = None
    while folder and not namenode.exists(folder):
        absent, folder = folder, folder.rpartition("/")[0]
    return absent


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _name(path: str) -> str:
    return path.rpartition("/")[2]
