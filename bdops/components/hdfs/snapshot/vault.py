"""One directory's snapshots as a vault: the acts of jobs that make, delete, mark and prove them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from bdops.components.backups import require_unneeded
from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.rpc import RemoteError
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.calls import Snapshot, SnapshotRoot
from bdops.components.hdfs.snapshot.catalogue import KINDS, MADE, Catalogue, records
from bdops.components.hdfs.snapshot.drill import Drill, Patience, Sample, look_at
from bdops.components.hdfs.web_files import WebFiles
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.backups import CLEAN_UP, COMPARE, CREATE, DELETE, DRILL, MARK, BackupRecord, marked
from bdops.core.plan import Step
from bdops.core.units import plural
from bdops.errors import BdopsError, OperationFailed

LIMIT_NEAR = 0.9
"""So full a directory is warned about: past its limit no snapshot can be made."""
OPEN_FILES = 1000
"""How many files that are being written are counted."""


@dataclass
class HdfsVault:
    """The snapshots of the directory `destination`. `notes_path` is where in HDFS bdops keeps its notes."""

    destination: str
    service: Nameservice
    web: WebFiles
    notes_path: str

    # -- reading -----------------------------------------------------------------------------------------------

    def root(self) -> SnapshotRoot:
        """The directory. Raises OperationFailed when no snapshots of it may be made."""
        found = self.service.on_active(calls.snapshot_roots)
        for root in found:
            if root.path == self.destination:
                return root
        raise OperationFailed(
            f"no snapshots may be made of {self.destination}",
            where=self.destination,
            hint=f"bdops hdfs snapshot allow {self.destination}; `bdops hdfs snapshot dirs` shows where they may",
            code="HDFS_NOT_SNAPSHOTTABLE",
        )

    def records(self) -> tuple[BackupRecord, ...]:
        return self._records(self.root())

    def _records(self, root: SnapshotRoot) -> tuple[BackupRecord, ...]:
        def read(namenode: NameNode) -> tuple[BackupRecord, ...]:
            notes = self._catalogue(root).read(namenode)
            return records(root, calls.snapshots_of(namenode, root.path), notes)

        return self.service.on_active(read)

    def verify(self, record: BackupRecord, patience: Patience) -> str:
        """Look at the blocks of every file; in words what was found. Raises OperationFailed when one is lost."""
        if not record.good:
            raise OperationFailed(f"{record.id}: {record.error}", where=self.destination, code="BACKUP_GONE")
        path = calls.snapshot_path(self.destination, record.id)
        return str(look_at(self.service, path, Sample("", 0, 0), patience))

    def progress(self, step: Step, act: str) -> Progress:
        if act == CLEAN_UP:
            return self._drill(step).cleaned_up()
        record = next((r for r in self.records() if r.id == step.args["id"]), None)
        if act == DELETE:
            return DONE if record is None else pending("it to be gone")
        if act == CREATE:
            return DONE if record and record.status == "complete" and record.by else pending("the snapshot")
        if act == MARK:
            return marked(record, step.args["mark"])
        return pending(act)

    # -- acts --------------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        acts: Mapping[str, Callable[[Step, ActContext], None]] = {
            CREATE: self._create,
            DELETE: self._delete,
            MARK: self._mark,
            DRILL: lambda s, c: self._drill(s).restore(s, c),
            COMPARE: lambda s, c: self._drill(s).compare(s, c),
            CLEAN_UP: lambda s, c: self._drill(s).clean_up(),
        }
        acts[act](step, context)

    def abandon(self, step: Step) -> None:
        """A drill's copies are removed. A snapshot is whole or not there: one that was made stays."""
        if CLEAN_UP in step.acts:
            self._drill(step).clean_up()

    def _drill(self, step: Step) -> Drill:
        return Drill.of(self.service, self.web, step)

    def _create(self, step: Step, context: ActContext) -> None:
        """One call, which is whole or has no effect; then what is in it is counted and noted."""
        root, name = self.root(), step.args["id"]
        began = time.monotonic()
        snapshot = self._find(root, name)
        if snapshot is None:
            if root.snapshots >= root.limit:
                raise OperationFailed(
                    f"{root.path} has {root.snapshots} snapshots, and may have no more",
                    where=root.path,
                    hint="bdops hdfs snapshot prune --keep '24h 7d 4w 12m'",
                    code="HDFS_SNAPSHOT_LIMIT",
                )
            if root.snapshots >= LIMIT_NEAR * root.limit:
                context.say(f"{root.path} has {root.snapshots} snapshots of {root.limit} that it may have: prune them")
            self._make(root, name)
            snapshot = self._find(root, name)
        if snapshot is None:
            raise OperationFailed(f"the snapshot {name} is gone: somebody deleted it", where=root.path)
        path = calls.snapshot_path(root.path, name)
        note = {
            "by": step.args.get("by") or "bdops",
            "reason": step.args.get("reason"),
            "duration_s": round(time.monotonic() - began, 3),
            "open_files": self._open_files(root.path, context),
        }
        try:
            summary = self.service.on_active(lambda n: calls.summary_of(n, path))
            note |= {"size_bytes": summary.size_bytes, "files": summary.files}
        except BdopsError as e:
            context.say(f"what is in {path} could not be counted: {e.message}")
        made = snapshot
        self.service.on_active(lambda n: self._catalogue(root).write(n, made, MADE, note))

    def _make(self, root: SnapshotRoot, name: str) -> None:
        """Make it; one that a call made whose answer was lost is there already."""
        try:
            self.service.on_active(lambda n: calls.create_snapshot(n, root.path, name))
        except RemoteError as e:
            if self._find(root, name) is None:
                raise OperationFailed(
                    f"the snapshot {name} could not be made: {e.message}", where=root.path, code="SNAPSHOT_NOT_MADE"
                ) from None

    def _open_files(self, path: str, context: ActContext) -> int | None:
        """How many files are being written: without dfs.namenode.snapshot.capture.openfiles their ends still grow in
        the snapshot (HDFS-11402)."""
        try:
            count = self.service.on_active(lambda n: sum(1 for _ in islice(n.open_files(path), OPEN_FILES)))
        except BdopsError as e:
            context.say(f"whether files are being written is not known: {e.message}")
            return None
        if count:
            context.say(
                f"{plural(count, 'file')} under {path} {'is' if count == 1 else 'are'} being written: what is written "
                "from now on shows in the snapshot too, unless dfs.namenode.snapshot.capture.openfiles is true"
            )
        return count

    def _delete(self, step: Step, context: ActContext) -> None:
        """The snapshot first, then its notes: what is noted and gone is seen, the other way round it is not."""
        root = self.root()
        known = self._records(root)
        record = next((r for r in known if r.id == step.args["id"]), None)
        if record is None:
            return
        require_unneeded(record, known, step)
        if record.status == "complete":
            try:
                self.service.on_active(lambda n: calls.delete_snapshot(n, root.path, record.id))
            except RemoteError as e:
                if self._find(root, record.id) is not None:
                    raise OperationFailed(
                        f"the snapshot {record.id} could not be deleted: {e.message}", where=root.path
                    ) from None
        self.service.on_active(lambda n: self._catalogue(root).forget(n, record.state["snapshot_id"]))

    def _mark(self, step: Step, context: ActContext) -> None:
        root, mark = self.root(), dict(step.args["mark"])
        snapshot = self._find(root, step.args["id"])
        if snapshot is None:
            raise OperationFailed(f"there is no snapshot {step.args['id']} any more", where=root.path)
        kind = KINDS[mark.pop("kind")]
        self.service.on_active(lambda n: self._catalogue(root).write(n, snapshot, kind, mark))

    def renamed(self, old: str, new: str) -> None:
        """Rename a snapshot, its notes with it; one that is renamed already is left as it is."""
        root = self.root()
        if self._find(root, old) is not None:
            self.service.on_active(lambda n: calls.rename_snapshot(n, root.path, old, new))
        snapshot = self._find(root, new)
        if snapshot is None:
            raise OperationFailed(f"there is no snapshot {old}", where=root.path, code="NO_BACKUP")
        self.service.on_active(lambda n: self._catalogue(root).name(n, snapshot))

    def _find(self, root: SnapshotRoot, name: str) -> Snapshot | None:
        there = self.service.on_active(lambda n: calls.snapshots_of(n, root.path))
        return next((s for s in there if s.name == name), None)

    def _catalogue(self, root: SnapshotRoot) -> Catalogue:
        return Catalogue(self.notes_path, root)
