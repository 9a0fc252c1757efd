"""A drill: sampled files of a snapshot are restored beside the data, read back and compared, and removed.

Every file of the snapshot is looked at for blocks that nobody has any more. The data of the sample alone is read, and
goes through this machine: it is small. Each copy has an attribute that says what it is a copy of once it is whole, so
that a drill that was killed is taken up from what is there. Each attempt has a name of its own: a DataNode that could
not reach its NameNode goes on with a write that we have long given up, and it must not fall on a later one.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from bdops.components.hdfs.blocks import block_state, walk
from bdops.components.hdfs.namenode import FileEntry, NameNode, Nameservice
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.catalogue import PRIVATE, decoded
from bdops.components.hdfs.web_files import WebFiles
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step
from bdops.core.units import format_size, plural
from bdops.errors import OperationFailed

COPY, SAMPLE = "bdops.copy", "bdops.sample"
NAMED = 5
PAGE_FILES = 1000
"""After so many files a walk says how far it is, and can be left."""


@dataclass
class Looked:
    """What a walk through a snapshot has found."""

    files: int = 0
    size_bytes: int = 0
    thin: int = 0
    """Blocks with fewer copies than they should have."""
    unreadable: list[str] = field(default_factory=list)
    """Files with a block that no copy is left of."""

    def __str__(self) -> str:
        thin = f" ({plural(self.thin, 'block')} with fewer copies than wanted)" if self.thin else ""
        return f"all blocks of {plural(self.files, 'file')}, {format_size(self.size_bytes)}, are there{thin}"


@dataclass
class Sample:
    """Files chosen by chance, each alike, as long as they fit: some of `count`, `size_bytes` at the most in all.

    The same seed chooses the same of the same files.
    """

    seed: str
    count: int
    size_bytes: int
    _seen: int = 0
    _chosen: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def offer(self, path: str, size_bytes: int) -> None:
        """One more file. One that is larger than all may be together is never chosen."""
        if size_bytes > self.size_bytes:
            return
        self._seen += 1
        if len(self._chosen) < self.count:
            self._chosen.append((path, size_bytes))
        elif (place := self._random.randrange(self._seen)) < self.count:
            self._chosen[place] = (path, size_bytes)

    def chosen(self) -> tuple[tuple[str, int], ...]:
        """Paths with sizes, in the order of paths, so many of them that they fit."""
        left = self.size_bytes
        found = []
        for path, size in self._random_order():
            if size <= left:
                found.append((path, size))
                left -= size
        return tuple(sorted(found))

    def _random_order(self) -> list[tuple[str, int]]:
        return random.Random(self.seed).sample(self._chosen, len(self._chosen))


class Patience(Protocol):
    """What a walk asks of whoever waits for it: part of core.actor.ActContext."""

    def wait(self, seconds: float) -> None: ...
    def waiting(self, text: str) -> None: ...


def look_at(service: Nameservice, path: str, sample: Sample, patience: Patience) -> Looked:
    """Look at all files of a snapshot. Raises OperationFailed when one has a block that nobody has any more."""
    namenode = service.namenodes[service.active()]
    if calls.entry_of(namenode, path) is None:
        raise OperationFailed(f"there is no {path}: somebody deleted it", code="BACKUP_GONE")
    found = look(path, walk(lambda f: namenode.listing(f, with_blocks=True), path), sample, patience)
    if found.unreadable:
        raise OperationFailed(
            f"{plural(len(found.unreadable), 'file')} of {found.files} cannot be read any more: "
            + ", ".join(found.unreadable[:NAMED]),
            where=path,
            hint=f"bdops hdfs blocks --path {path} --missing",
            code="SNAPSHOT_UNREADABLE",
        )
    return found


def look(path: str, files: Iterable[tuple[str, FileEntry]], sample: Sample, context: Patience) -> Looked:
    """Walk through all files under a path; the sample gets their paths relative to it."""
    found = Looked()
    for full, entry in files:
        found.files += 1
        found.size_bytes += entry.length_bytes
        relative = full.removeprefix(f"{path}/")
        located = entry.located
        states = [block_state(full, entry.replication, located, b) for b in located.blocks] if located else []
        if any(s.missing or s.corrupt for s in states):
            found.unreadable.append(relative)
        else:
            sample.offer(relative, entry.length_bytes)
            found.thin += sum(1 for s in states if s.under_replicated)
        if found.files % PAGE_FILES == 0:
            context.waiting(f"the blocks of all files: {found.files:,} so far")
            context.wait(0)
    return found


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: where from, where to, and with what."""

    service: Nameservice
    web: WebFiles
    source: str
    folder: str

    @classmethod
    def of(cls, service: Nameservice, web: WebFiles, step: Step) -> Drill:
        source = calls.snapshot_path(step.args["destination"], step.args["id"])
        return cls(service, web, source, step.args["folder"])

    def restore(self, step: Step, context: ActContext) -> None:
        """Look at all files, and copy the sample. Raises OperationFailed when a file is lost, or cannot be read."""
        sample = Sample(step.args["seed"], step.args["files"], step.args["size_bytes"])
        looked = look_at(self.service, self.source, sample, context)
        chosen = sample.chosen()
        context.say(str(looked))
        self.service.on_active(lambda n: calls.make_directory(n, self.folder, mode=PRIVATE))
        copied = {path for _, path in self.service.on_active(self._copies)}
        for number, (path, size) in enumerate(chosen):
            context.waiting(f"the sample: {number} of {len(chosen)} files")
            context.wait(0)
            if path not in copied:
                self._copy(f"{self.folder}/{number:04}-{secrets.token_hex(4)}", path, size)
        note = json.dumps({"files": len(chosen), "of": looked.files}).encode()
        self.service.on_active(lambda n: calls.set_attribute(n, self.folder, SAMPLE, note))

    def _copy(self, target: str, path: str, size_bytes: int) -> None:
        original = self.service.on_active(lambda n: calls.entry_of(n, f"{self.source}/{path}"))
        if original is None:
            raise OperationFailed(f"{path} is gone from the snapshot", where=self.source, code="BACKUP_GONE")
        self.web.write(
            target,
            self.web.read(f"{self.source}/{path}"),
            size_bytes=size_bytes,
            block_bytes=original.block_bytes,
            replication=max(1, original.replication),
        )
        note = json.dumps({"path": path, "size_bytes": size_bytes}).encode()
        self.service.on_active(lambda n: calls.set_attribute(n, target, COPY, note))

    def compare(self, step: Step, context: ActContext) -> None:
        """Each copy against its file in the snapshot, by SHA-256 of what is read back; and the snapshot's file against
        the live one, by HDFS's own checksums, where that has not changed. Raises OperationFailed when one differs."""
        copies = self.service.on_active(self._copies)
        whole = decoded(self.service.on_active(lambda n: calls.attributes_of(n, self.folder))).get(SAMPLE, {})
        if whole.get("files") != len(copies):
            raise OperationFailed(
                f"{len(copies)} copies are there, and {whole.get('files')} were made",
                where=self.folder,
                hint="another drill makes them anew",
                code="DRILL_DIFFERS",
            )
        differ: list[str] = []
        size = live = 0
        root = step.args["destination"].rstrip("/")
        for number, (name, path) in enumerate(copies):
            context.waiting(f"the copies to be compared: {number} of {len(copies)}")
            context.wait(0)
            wanted, length = _digest(self.web.read(f"{self.source}/{path}"))
            if (wanted, length) != _digest(self.web.read(f"{self.folder}/{name}")):
                differ.append(path)
            size += length
            if self.service.on_active(lambda n, p=path: _unchanged(n, f"{self.source}/{p}", f"{root}/{p}")):  # type: ignore[misc]
                live += 1
                if self.web.checksum(f"{self.source}/{path}") != self.web.checksum(f"{root}/{path}"):
                    differ.append(f"{path} (the live file, unchanged since)")
        context.say(
            f"{plural(len(copies), 'file')} of {whole.get('of')}, {format_size(size)}, restored beside and read back: "
            f"{len(differ)} differ; {live} also compared with the live files, which have not changed since"
        )
        if differ:
            raise OperationFailed(
                f"{plural(len(differ), 'file')} of the restored copy differ: {', '.join(differ[:NAMED])}",
                where=self.source,
                code="DRILL_DIFFERS",
            )

    def _copies(self, namenode: NameNode) -> list[tuple[str, str]]:
        """The name of each whole copy, and of what it is one."""
        found = []
        for entry in namenode.listing(self.folder):
            note = decoded(calls.attributes_of(namenode, f"{self.folder}/{entry.name}")).get(COPY, {})
            if "path" in note:
                found.append((entry.name, str(note["path"])))
        return found

    def clean_up(self) -> None:
        """Delete what was restored; nothing else is there."""
        self.service.on_active(lambda n: calls.delete_path(n, self.folder))

    def cleaned_up(self) -> Progress:
        left = self.service.on_active(lambda n: n.exists(self.folder))
        return pending("the restored copies to be removed") if left else DONE


def _unchanged(namenode: NameNode, ours: str, live: str) -> bool:
    """Whether the live file is the very one that is in the snapshot."""
    a, b = calls.entry_of(namenode, ours), calls.entry_of(namenode, live)
    return a is not None and b is not None and (a.inode, a.size_bytes, a.modified_ms) == (
        b.inode, b.size_bytes, b.modified_ms,
    )  # fmt: skip


def _digest(parts: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size
