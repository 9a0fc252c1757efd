"""The backups of one cluster's metadata in a folder: one file each, its record beside it, and the acts of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bdops.components import throwaway
from bdops.components.backup_files import FILE, SHA256, SUFFIXES, BackupFolder
from bdops.components.kafka import questions
from bdops.components.kafka.snapshot import carry, drill
from bdops.components.kafka.snapshot.content import Metadata, OtherVersion, counts, dumps, is_compressed, loads
from bdops.components.kafka.snapshot.read import READ_S, Brokers, opened_brokers, read_metadata
from bdops.components.kafka.snapshot.restore import Logs, Wish, times_wanted
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.backups import COMPARE, CREATE, DRILL, RESTORE, BackupRecord
from bdops.core.model import Deployment
from bdops.core.plan import Step
from bdops.core.units import format_size
from bdops.errors import ConfigError, OperationFailed

ASK_S = 20.0


@dataclass(frozen=True, slots=True)
class KafkaVault:
    """The backups of a deployment in a folder on this machine (or mounted on it)."""

    files: BackupFolder
    deployment: Deployment

    @classmethod
    def of(cls, folder: Path, deployment: Deployment) -> KafkaVault:
        return cls(BackupFolder(folder, "kafka", deployment.cluster), deployment)

    @property
    def destination(self) -> str:
        return str(self.files.folder)

    # -- reading -----------------------------------------------------------------------------------------------

    def records(self) -> tuple[BackupRecord, ...]:
        """All of them. The files are small enough to be read each time: a damaged one does not count."""
        return tuple(self._checked(record) for record in self.files.records())

    def _checked(self, record: BackupRecord) -> BackupRecord:
        if record.good and FILE in record.state:
            try:
                self.files.verify(record)
            except OperationFailed as e:
                return replace(record, status="failed", error=e.message)
        return record

    def load(self, record: BackupRecord) -> Metadata:
        """What is in a backup. Raises OperationFailed (BACKUP_DAMAGED), ConfigError when it cannot be read.

        Damage is noted in the record: a damaged one does not count any more.
        """
        with self.files.noting(record):
            with self.files.opened(record) as source:
                data = source.read()
            return _loaded(data, self.files.file_of(record))

    def live(self) -> Metadata:
        """The cluster as it is now. Raises BdopsError when no broker answers."""
        return read_metadata(self.deployment, timestamps=False)

    def logs(self, backup: Metadata, live: Metadata, wish: Wish) -> Logs:
        """Where the logs of the groups' partitions begin and end now, and the offsets of times in the backup."""
        if "groups" not in wish.parts or wish.offsets == "none":
            return Logs()
        names = {p for g in backup.part("groups").values() for p in g["offsets"]}
        deadline = time.monotonic() + READ_S
        with opened_brokers(self.deployment, READ_S) as brokers:
            ask = partial(_ask, brokers, live, deadline)
            starts = ask(dict.fromkeys(names, questions.EARLIEST))
            ends = ask(dict.fromkeys(names, questions.LATEST))
            ranges = {p: (starts[p], ends[p]) for p in names if p in starts and p in ends}
            by_time: dict[tuple[str, str], int] = {}
            for group, times in times_wanted(backup, live, wish).items():
                found = ask(times)
                # Nothing is as new as that: all of it was read.
                by_time |= {(group, p): found.get(p, ranges[p][1]) for p in times if p in ranges}
        return Logs(ranges=ranges, by_time=by_time)

    def progress(self, step: Step, act: str) -> Progress:
        if act == RESTORE:
            return carry.done(self.live(), step.args)
        if act == DRILL:
            thrown = drill.Throwaway.of(step.args)
            return DONE if thrown.restored() else pending("the throw-away broker to have it all")
        return self.files.progress(step, act)

    # -- acts --------------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        acts: Mapping[str, Callable[[], None]] = {
            CREATE: lambda: self._create(step, context),
            RESTORE: lambda: self._restore(step, context),
            DRILL: lambda: self._drill(step, context),
            COMPARE: lambda: self._compare(step, context),
        }
        acts.get(act, lambda: self.files.perform(step, act))()

    def abandon(self, step: Step) -> None:
        self.files.abandon(step)

    def _create(self, step: Step, context: ActContext) -> None:
        began = time.monotonic()

        def make(asked: BackupRecord) -> BackupRecord:
            return self._written(asked, read_metadata(self.deployment, timestamps=step.args["timestamps"]), began)

        record = self.files.create(step, make, partial_allowed=step.args["partial_allowed"])
        if not record.good:
            raise OperationFailed(
                f"the backup {record.id} is partial: {record.error}",
                where=self.destination,
                hint="it does not count; --allow-partial takes what there is",
                code="SNAPSHOT_NOT_GOOD",
            )
        context.say(f"{record.id}: {', '.join(record.what)}; {format_size(record.size_bytes or 0)}")

    def _written(self, asked: BackupRecord, metadata: Metadata, began: float) -> BackupRecord:
        data = dumps(metadata)
        name = f"{asked.id}{SUFFIXES['kafka'][is_compressed(data)]}"
        size, sha256 = self.files.write_file(name, [data])
        return replace(
            asked,
            taken_at=metadata.taken_at,
            status="partial" if metadata.unread else "complete",
            error="; ".join(f"{k}: {why}" for k, why in metadata.unread.items()) or None,
            what=tuple(f"{n} {what}" for what, n in counts(metadata).items()),
            size_bytes=size,
            duration_s=round(time.monotonic() - began, 3),
            state={
                FILE: name,
                SHA256: sha256,
                "cluster_id": metadata.cluster_id,
                "metadata_version": metadata.part("features").get("metadata.version"),
                "notes": list(metadata.notes),
            },
        )

    def _restore(self, step: Step, context: ActContext) -> None:
        with opened_brokers(self.deployment, ASK_S) as brokers:
            carry.carry_out(brokers, step.args, context.say, context.timeout_s)

    def _drill(self, step: Step, context: ActContext) -> None:
        drill.restore(drill.Throwaway.of(step.args), self._drilled(step), context)

    def _compare(self, step: Step, context: ActContext) -> None:
        """A broker that is gone meanwhile is made again. One that differs is not left running."""
        thrown = drill.Throwaway.of(step.args)
        backup = self._drilled(step)
        if not thrown.restored():
            drill.restore(thrown, backup, context)
        try:
            context.say(f"a broker of its own has all of it: {drill.compare(thrown, backup)}")
        except OperationFailed:
            throwaway.remove(thrown.folder)
            raise

    def _drilled(self, step: Step) -> Metadata:
        return drill.chosen(self.load(self.files.existing(step.args["id"])), step.args.get("topic"))


def load_file(path: Path) -> Metadata:
    """A backup by its file. Raises OperationFailed (BACKUP_DAMAGED), ConfigError when another bdops has written it."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise OperationFailed(f"it cannot be read: {e.strerror}", where=str(path), code="BACKUP_DAMAGED") from None
    return _loaded(data, path)


def _loaded(data: bytes, path: Path) -> Metadata:
    try:
        return loads(data)
    except OtherVersion as e:
        raise ConfigError(f"it cannot be read: {e}", where=str(path), code="BACKUP_VERSION") from None
    except ValueError as e:
        raise OperationFailed(f"it cannot be read: {e}", where=str(path), code="BACKUP_DAMAGED") from None


def _ask(brokers: Brokers, live: Metadata, deadline: float, times: Mapping[str, int]) -> dict[str, int]:
    return {name: offset for name, (offset, _) in brokers.offsets_at(live.part("topics"), times, deadline).items()}
