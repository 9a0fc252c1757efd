"""The snapshots of one ensemble in a folder: files in ZooKeeper's own format, each with its record beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bdops.components.backup_files import FILE, SHA256, SUFFIXES, BackupFolder
from bdops.components.zk import ensemble
from bdops.components.zk.client.transfer import SnapshotStream, endpoint_of, patiently, snapshot_stream
from bdops.components.zk.read import read_state
from bdops.components.zk.snapshot import drill, logical, restore
from bdops.components.zk.snapshot.format import Damaged, Node, SnapshotReader, Summary, summarise
from bdops.components.zk.state import Server, ZkState, Zxid
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.backups import COMPARE, CREATE, DRILL, RESTORE, BackupRecord
from bdops.core.model import Deployment, Instance
from bdops.core.plan import Step
from bdops.core.units import format_size
from bdops.errors import BdopsError, OperationFailed, Unreachable

EXPORT = "export"
"""The argument of a restore that is an import: its file."""
READ_S = 20.0
ANSWER_S = 120.0
"""The server writes its snapshot to its own disk before it begins to answer."""
WHAT_MAX = 100
OUR_OWN = ("DESTINATION_FULL", "DESTINATION_UNWRITABLE", "DESTINATION_UNREADABLE", "NAME_TAKEN")
"""What is wrong here, and no other server mends."""


@dataclass(frozen=True, slots=True)
class ZkVault:
    """The snapshots of a deployment in a folder on this machine (or mounted on it)."""

    files: BackupFolder
    deployment: Deployment

    @classmethod
    def of(cls, folder: Path, deployment: Deployment) -> ZkVault:
        return cls(BackupFolder(folder, "zk", deployment.cluster), deployment)

    @property
    def destination(self) -> str:
        return str(self.files.folder)

    # -- reading -------------------------------------------------------------------------------------------------

    def records(self) -> tuple[BackupRecord, ...]:
        return self.files.records()

    def verify(self, record: BackupRecord) -> Summary:
        """Read a snapshot to its end. Raises OperationFailed (BACKUP_DAMAGED) when it is not what was written.

        That is noted in the record: a damaged one does not count any more. Raises ConfigError when it cannot be read.
        """
        with self.files.noting(record):
            try:
                with self.files.opened(record) as source:
                    found = summarise(source)
                if told := differences(record, found):
                    raise Damaged(f"not what its record says: {told}")
            except Damaged as e:
                why = f"{record.id} is damaged: {e}"
                raise OperationFailed(why, where=self.destination, code="BACKUP_DAMAGED") from None
        return found

    @contextmanager
    def nodes(self, record: BackupRecord | None) -> Iterator[Iterator[Node]]:
        """The znodes of a snapshot, or (None) of the most advanced server now, streamed. Raises BdopsError."""
        if record is not None:
            file = self.files.file_of(record)
            with self.files.reading(file):
                source = file.open("rb", buffering=0)
            with source:
                yield self._told(SnapshotReader(source), file)
            return
        instance = self._instance(self._servers()[0])
        with snapshot_stream(endpoint_of(instance), timeout_s=ANSWER_S) as stream:
            yield self._told(SnapshotReader(stream), Path(instance.name))

    def _told(self, reader: SnapshotReader, where: Path) -> Iterator[Node]:
        """What reading raises, as a BdopsError; what is done with the znodes raises its own."""
        try:
            with self.files.reading(where):
                yield from reader
        except Damaged as e:
            raise OperationFailed(f"it is no whole snapshot: {e}", where=str(where), code="BACKUP_DAMAGED") from None

    def progress(self, step: Step, act: str) -> Progress:
        if act == DRILL:
            served = drill.serves(Path(step.args["folder"]))
            return DONE if served else pending("the throw-away server to serve")
        return self.files.progress(step, act)

    # -- acts ----------------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        acts: Mapping[str, Callable[[], None]] = {
            CREATE: lambda: self._create(step, context),
            DRILL: lambda: self._start_drill(step, context),
            COMPARE: lambda: self._compare(step, context),
            RESTORE: lambda: (
                self._import(step, context)
                if EXPORT in step.args
                else restore.restore(self.deployment, self.file(step), context)
            ),
        }
        acts.get(act, lambda: self.files.perform(step, act))()

    def _start_drill(self, step: Step, context: ActContext) -> None:
        record = self.files.existing(step.args["id"])
        drill.start(step, self.files.file_of(record), self.verify(record), context)

    def _compare(self, step: Step, context: ActContext) -> None:
        if not drill.serves(Path(step.args["folder"])):
            # A machine that was started anew has ended it.
            self._start_drill(step, context)
        drill.compare(step, self.file(step), context)

    def abandon(self, step: Step) -> None:
        """A drill's server goes; so does what was written of a snapshot that is not whole.

        Raises OperationFailed when some servers were restored and others not: that must be finished.
        """
        if RESTORE in step.acts and EXPORT not in step.args:
            record = self.files.find(step.args["id"])
            if record and (there := restore.half_done(self.deployment, self.files.file_of(record))):
                raise OperationFailed(
                    f"{there} has been restored, and the others not: finish that",
                    where=self.deployment.name,
                    hint="bdops jobs resume",
                    code="RESTORE_HALF_DONE",
                )
        self.files.abandon(step)

    def file(self, step: Step) -> Path:
        """The file of the snapshot that a step is about. Raises OperationFailed when it is gone."""
        return self.files.file_of(self.files.existing(step.args["id"]))

    def _import(self, step: Step, context: ActContext) -> None:
        total = logical.put_in(
            self.deployment,
            Path(step.args[EXPORT]),
            step.args["under"],
            overwrite=step.args["overwrite"],
            context=context,
        )
        context.say(str(total))

    def _create(self, step: Step, context: ActContext) -> None:
        record = self.files.create(step, lambda asked: self._of_any_server(asked, context))
        state = record.state
        context.say(
            f"{record.id}: {state['znodes']:,} znodes, {format_size(record.size_bytes or 0)} of {state['server']}, "
            f"up to {state['zxid']}"
            + ("" if state["consistent"] else "; written while clients wrote: not the tree of one moment")
        )

    def _servers(self) -> list[Server]:
        """Those that serve, the one to ask first. Raises Unreachable when none does."""
        servers = in_order(read_state(self.deployment, timeout_s=READ_S))
        if not servers:
            raise Unreachable("no server serves", where=self.deployment.name, hint="bdops zk status")
        return servers

    def _instance(self, server: Server) -> Instance:
        return next(i for i in self.deployment.instances if i.name == server.name)

    def _of_any_server(self, asked: BackupRecord, context: ActContext) -> BackupRecord:
        """From the most advanced server; from the next one where that fails, as when it is killed meanwhile."""
        first: BdopsError | None = None
        for server in self._servers():
            try:
                return self._of_server(server, asked, context)
            except BdopsError as e:
                if e.code in OUR_OWN:
                    raise
                first = first or e
                context.say(f"{ensemble.short(server.name)}: {e.message}")
        assert first is not None
        raise first

    def _of_server(self, server: Server, asked: BackupRecord, context: ActContext) -> BackupRecord:
        endpoint = endpoint_of(self._instance(server))
        name = f"{asked.id}{SUFFIXES['zk'][0]}"

        def copied() -> BackupRecord:
            began = time.monotonic()
            top: list[str] = []
            with snapshot_stream(endpoint, timeout_s=ANSWER_S) as stream:
                reader = SnapshotReader(tee := Tee(stream))
                size, sha256 = self.files.write_file(
                    name, chunks(reader, tee, top, lambda n: context.waiting(_how_far(n, stream)))
                )
            return replace(
                asked,
                status="complete",
                what=tuple(top),
                size_bytes=size,
                duration_s=round(time.monotonic() - began, 3),
                state={
                    FILE: name,
                    SHA256: sha256,
                    "server": server.name,
                    "version": server.version,
                    "started_zxid": stream.started_zxid,
                    **facts(reader.summary),
                },
            )

        try:
            return patiently(copied, f"{ensemble.short(server.name)} to take another snapshot", context)
        except Damaged as e:
            raise OperationFailed(
                f"what {server.name} sent is no snapshot: {e}", where=endpoint.where, code="SNAPSHOT_NOT_GOOD"
            ) from None


def in_order(state: ZkState) -> list[Server]:
    """The servers that serve, the most advanced first; of two that are equal the one that does not lead."""
    serving = [s for s in state.servers or () if s.serving and s.zxid and not s.read_only]
    return sorted(serving, key=lambda s: (Zxid.of(s.zxid or "0"), s.mode not in ("leader", "standalone")), reverse=True)


def facts(found: Summary) -> dict[str, Any]:
    """What a record keeps of a snapshot: enough to tell whether another reading finds the same."""
    zxid = found.last_zxid if found.last_zxid is not None else found.newest_zxid
    return {
        "zxid": f"{zxid:#x}",
        "znodes": found.znodes,
        "ephemerals": found.ephemerals,
        "sessions": found.sessions,
        "data_bytes": found.data_bytes,
        "digest": f"{found.digest:#x}",
        "acl_digest": f"{found.acl_digest:#x}",
        "consistent": found.digest_agrees is not False,
    }


def differences(record: BackupRecord, found: Summary) -> str:
    """How a reading differs from the record; nothing when it does not."""
    told = facts(found)
    wrong = [k for k, v in told.items() if k in record.state and record.state[k] != v]
    return "; ".join(f"{k} is {told[k]}, and was {record.state[k]}" for k in wrong)


class Tee:
    """A stream that keeps what was read of it until it is taken."""

    def __init__(self, stream: SnapshotStream) -> None:
        self._stream = stream
        self.read_bytes: list[bytes] = []

    def read(self, size: int, /) -> bytes:
        part = self._stream.read(size)
        if part:
            self.read_bytes.append(part)
        return part

    def taken(self) -> Sequence[bytes]:
        parts, self.read_bytes = self.read_bytes, []
        return parts


def chunks(reader: SnapshotReader, tee: Tee, top: list[str], tell: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes as they come, read as a snapshot meanwhile. Raises Damaged. `top` gets the znodes below the root."""
    for node in reader:
        if node.path.count(b"/") == 1 and len(top) < WHAT_MAX:
            top.append(node.name)
        if tee.read_bytes:
            yield from tee.taken()
            tell(reader.position)
    yield from tee.taken()


def _how_far(position: int, stream: SnapshotStream) -> str:
    of = f" of {format_size(stream.size_bytes)}" if stream.size_bytes else ""
    return f"the snapshot: {format_size(position)}{of}"
