"""Backups that are files in a folder, with their catalogue beside them: `NAME.json` tells of `NAME.SUFFIX`.

Whatever is written has another name until it is whole and on the disk. A file without its record does not count, and
a record whose file is gone, or is not as long as it was, is one of a failed backup. One that cannot be read now is
none: it raises. A folder may be shared: what is another component's, or another cluster's, is never written over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import Any

from bdops.components import throwaway
from bdops.components.backups import require_unneeded
from bdops.core.actor import DONE, Progress, pending
from bdops.core.backups import CLEAN_UP, CREATE, DELETE, MARK, BackupRecord, marked
from bdops.core.plan import Step
from bdops.errors import BdopsError, ConfigError, OperationFailed, UsageError
from bdops.files import partial_of, replacing, sync_folder

FORMAT = "bdops_backup"
FILE, SHA256 = "file", "sha256"
"""Keys of a record's `state`: the name of its file, and the digest of that."""

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "kafka": (".metadata", ".metadata.gz"),
    "zk": (".zksnap",),
    "hdfs": (".fsimage",),
}
"""How the files of each component's backups end: by that those in a shared folder are told apart."""

CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,199}")
_TIMES = ("taken_at", "proved_at")


def checked_name(name: str) -> str:
    """The name, if it is fit for files; raises UsageError. Without dots, `NAME.*` are the files of one backup alone."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: letters, digits, - and _, at most 200 of them")
    return name


def default_folder(cluster: str, component: str) -> Path:
    """Where backups go that no setting gives a place: this user's state folder, on this machine alone."""
    base = os.environ.get("BDOPS_STATE_DIR")
    if base:
        return Path(base).expanduser().absolute() / "backups" / cluster / component
    from platformdirs import user_state_path

    return user_state_path("bdops") / "backups" / cluster / component


class Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, source: RawIOBase) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes or fewer, none at the end; without a size all that are left."""
        part = self._source.read(size) or b""
        self._digest.update(part)
        return part

    def sha256(self) -> str:
        """Of what was read."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """The backups of one component of one cluster in a folder; those of others in it are not seen."""

    folder: Path
    component: str
    cluster: str

    # -- reading -----------------------------------------------------------------------------------------------

    def records(self) -> tuple[BackupRecord, ...]:
        """All of them, by name. A folder that is not there has none. Raises BdopsError when it cannot be read."""
        try:
            names = sorted(p.name for p in self.folder.iterdir() if p.suffix == ".json" and p.name[0] != ".")
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise self._error(e, "read", "DESTINATION_UNREADABLE") from None
        return tuple(r for name in names if (r := self._record(name)) is not None)

    def _record(self, name: str) -> BackupRecord | None:
        file = self.folder / name
        try:
            text = file.read_text()
            modified = datetime.fromtimestamp(file.stat().st_mtime).astimezone()
            body = json.loads(text)
            if not isinstance(body, dict) or FORMAT not in body:
                return None
            if (body.get("component"), body.get("cluster")) != (self.component, self.cluster):
                return None
            return self._seen(_from_json(body, str(self.folder)))
        except FileNotFoundError:
            return None  # deleted meanwhile
        except OSError as e:
            raise self._error(e, "read", "DESTINATION_UNREADABLE") from None
        except (ValueError, KeyError, TypeError) as e:
            id = name.removesuffix(".json")
            if not any((self.folder / f"{id}{suffix}").exists() for suffix in SUFFIXES[self.component]):
                return None  # somebody else's file
            return BackupRecord(
                id=id,
                destination=str(self.folder),
                what=(),
                taken_at=modified,
                status="failed",
                error=f"its record {name} is damaged: {e}",
            )

    def _seen(self, record: BackupRecord) -> BackupRecord:
        """The record with what its file says now."""
        if not record.good or FILE not in record.state:
            return record
        try:
            size = self.file_of(record).stat().st_size
        except FileNotFoundError:
            return replace(record, status="failed", error=f"its file {record.state[FILE]} is gone")
        if size != record.size_bytes:
            why = f"its file {record.state[FILE]} has {size} bytes, and had {record.size_bytes}"
            return replace(record, status="failed", error=why)
        return record

    def find(self, id: str) -> BackupRecord | None:
        return self._record(f"{id}.json")

    def existing(self, id: str) -> BackupRecord:
        """Raises OperationFailed when it is gone, or no good one."""
        record = self.find(id)
        if record is None:
            raise OperationFailed(f"{id} is gone: somebody deleted it", where=str(self.folder), code="BACKUP_GONE")
        if not record.good:
            raise OperationFailed(f"{id} is {record.status}: {record.error}", where=str(self.folder))
        return record

    def file_of(self, record: BackupRecord) -> Path:
        return self.folder / str(record.state[FILE])

    def files_of(self, id: str) -> list[Path]:
        """All that there is of a backup, its record first, and what was being written of it; nothing of another's."""
        if self._is_anothers(id):
            return []
        names = [f"{id}{suffix}" for suffix in (".json", *SUFFIXES[self.component])]
        try:
            there = list(self.folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        mine = (file for file in there if (partial_of(file.name) or file.name) in names)
        return sorted(mine, key=lambda file: (file.name != names[0], file.name))

    def strays(self) -> tuple[str, ...]:
        """Files of backups that a killed job has left here, and that no record tells of."""
        try:
            names = [p.name for p in self.folder.iterdir()]
        except OSError:
            return ()
        known = {n.removesuffix(".json") for n in names if n.endswith(".json")}
        mine = SUFFIXES[self.component]
        whole = (n for n in names if n.endswith(mine) and n[0] != "." and n.partition(".")[0] not in known)
        partial = (n for n in names if (partial_of(n) or "").endswith(mine))
        return tuple(sorted({*whole, *partial}))

    def verify(self, record: BackupRecord) -> None:
        """Read the file and compare its digest. Raises as `opened` does."""
        with self.opened(record):
            pass

    @contextmanager
    def opened(self, record: BackupRecord) -> Iterator[Hashed]:
        """The file of a backup, to be read once: at the end all of it is held against its digest.

        Raises OperationFailed (BACKUP_DAMAGED), also instead of the ValueError of a reader that does not understand
        the damaged bytes, and ConfigError when it cannot be read: a share that is away damages nothing.
        """
        file = self.file_of(record)
        with self.reading(file), file.open("rb", buffering=0) as source:
            hashed = Hashed(source)
            try:
                yield hashed
            except ValueError:
                self._compare(record, hashed)
                raise
            self._compare(record, hashed)

    def _compare(self, record: BackupRecord, hashed: Hashed) -> None:
        while hashed.read(CHUNK_BYTES):
            pass
        if (found := hashed.sha256()) != record.state[SHA256]:
            raise OperationFailed(
                f"the file of {record.id} is not what was written: its SHA-256 is {found[:16]}..., "
                f"and was {record.state[SHA256][:16]}...",
                where=str(self.file_of(record)),
                hint="it is no backup any more: take a new one, and look at the disk",
                code="BACKUP_DAMAGED",
            )

    @contextmanager
    def noting(self, record: BackupRecord) -> Iterator[None]:
        """While a backup is read: damage that is found is noted in its record, which does not count any more."""
        try:
            yield
        except OperationFailed as e:
            if e.code == "BACKUP_DAMAGED":
                self._note_damage(record.id, e.message)
            raise

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """What a file of a backup's reading raises: OperationFailed when it is gone, else ConfigError."""
        try:
            yield
        except FileNotFoundError:
            raise OperationFailed(f"{file.name} is gone", where=str(self.folder), code="BACKUP_GONE") from None
        except OSError as e:
            raise self._error(e, "read", "DESTINATION_UNREADABLE", file) from None

    # -- writing -----------------------------------------------------------------------------------------------

    def write_file(self, name: str, chunks: Iterable[bytes]) -> tuple[int, str]:
        """Write a file that is there whole or not at all; its size in bytes and SHA-256. Raises OperationFailed."""
        digest = hashlib.sha256()
        size = 0
        with self._writing():
            if self._is_anothers(id := name.partition(".")[0]):
                raise OperationFailed(
                    f"{id}.json is there, and is no backup of {self.cluster}/{self.component}",
                    where=str(self.folder),
                    hint="--name another one, or another folder",
                    code="NAME_TAKEN",
                )
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replacing(self.folder / name) as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
        return size, digest.hexdigest()

    def write(self, record: BackupRecord) -> None:
        """Put a record in, or instead of an earlier one. Raises OperationFailed."""
        body = _to_json(record) | {FORMAT: 1, "component": self.component, "cluster": self.cluster}
        self.write_file(f"{record.id}.json", [json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"])

    def remove(self, id: str) -> None:
        """Delete a backup, the record first: what is half deleted does not count."""
        with self._writing():
            for file in self.files_of(id):
                file.unlink(missing_ok=True)
            if self.folder.is_dir():
                sync_folder(self.folder)

    def _note_damage(self, id: str, why: str) -> None:
        """Where that cannot be noted, it is not: what was found is told all the same."""
        with suppress(BdopsError):
            # Read anew: reading the file took its time, and somebody may hold the backup by now.
            record = self.find(id)
            if record is not None and record.good:
                self.write(replace(record, status="failed", error=why))

    def discard_unfinished(self, id: str) -> None:
        """Remove what a killed job has written of a backup that has no record yet. Raises OperationFailed."""
        with self._writing():
            for file in self.files_of(id):
                if partial_of(file.name) or not (self.folder / f"{id}.json").exists():
                    file.unlink(missing_ok=True)

    def mark(self, id: str, mark: Mapping[str, Any]) -> None:
        """Note a hold, its end, or a proof. One that is gone needs none."""
        record = self.find(id)
        if record is None:
            return
        if mark["kind"] == "hold":
            self.write(replace(record, hold=mark.get("reason")))
        else:
            self.write(replace(record, proved_at=datetime.fromisoformat(mark["at"]), proof=mark["how"]))

    def _is_anothers(self, id: str) -> bool:
        return (self.folder / f"{id}.json").exists() and self.find(id) is None

    # -- the acts of jobs that are the same for all ---------------------------------------------------------------

    def create(self, step: Step, make: Callable[[BackupRecord], BackupRecord], **more: Any) -> BackupRecord:
        """Carry CREATE out: `make` writes the file, and gives the record that is asked for back with what it is now.

        Raises what that raises; that there was to be one is noted.
        """
        id = step.args["id"]
        self.discard_unfinished(id)
        asked = BackupRecord(
            id=id,
            destination=str(self.folder),
            what=(),
            taken_at=datetime.now(UTC),
            status="failed",
            by=step.args.get("by"),
            reason=step.args.get("reason"),
            **more,
        )
        try:
            record = make(asked)
        except BdopsError as e:
            # Where even that cannot be written the error is all there is.
            with suppress(BdopsError):
                self.write(replace(asked, error=e.message))
            raise
        self.write(record)
        return record

    def perform(self, step: Step, act: str) -> None:
        """Carry DELETE, MARK or CLEAN_UP out. Raises BdopsError."""
        id = step.args["id"]
        if act == CLEAN_UP:
            throwaway.remove(Path(step.args["folder"]))
        elif act == DELETE:
            if record := self.find(id):
                require_unneeded(record, self.records(), step)
            self.remove(id)
        elif act == MARK:
            self.mark(id, step.args["mark"])
        else:
            raise BdopsError(f"a folder of backups knows no act {act!r}", code="BUG")

    def progress(self, step: Step, act: str) -> Progress:
        """Whether CREATE, DELETE, MARK or CLEAN_UP has had its effect; any other act is pending."""
        id = step.args["id"]
        if act == CLEAN_UP:
            return throwaway.removed(Path(step.args["folder"]))
        if act == CREATE:
            return self.created(id)
        if act == DELETE:
            return self.removed(id)
        return self.marked(id, step.args["mark"]) if act == MARK else pending(act)

    def abandon(self, step: Step) -> None:
        """The job is closed with this step half done: a drill's server goes; so does what is half written."""
        if CLEAN_UP in step.acts:
            throwaway.remove(Path(step.args["folder"]))
        if CREATE in step.acts and not self.created(step.args["id"]).done:
            self.discard_unfinished(step.args["id"])

    # -- whether an act has had its effect ------------------------------------------------------------------------

    def created(self, id: str) -> Progress:
        """One that failed is made again by a job that is resumed."""
        record = self.find(id)
        return DONE if record is not None and record.good else pending("the backup to be written")

    def removed(self, id: str) -> Progress:
        return pending("its files to be gone") if self.files_of(id) else DONE

    def marked(self, id: str, mark: Mapping[str, Any]) -> Progress:
        return marked(self.find(id), mark)

    # -- errors ------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            full = e.errno in (errno.ENOSPC, errno.EDQUOT)
            raise self._error(e, "written to", "DESTINATION_FULL" if full else "DESTINATION_UNWRITABLE") from None

    def _error(self, error: OSError, what: str, code: str, where: Path | None = None) -> BdopsError:
        kind = ConfigError if code == "DESTINATION_UNREADABLE" else OperationFailed
        return kind(
            f"the destination cannot be {what}: {error.strerror or error}",
            where=str(where or self.folder),
            hint="--destination names another folder",
            code=code,
        )


def _to_json(record: BackupRecord) -> dict[str, Any]:
    body = {k: v for k, v in asdict(record).items() if v is not None and k not in ("destination", "needed")}
    return body | {k: body[k].isoformat() for k in _TIMES if k in body}


def _from_json(body: Mapping[str, Any], destination: str) -> BackupRecord:
    known = {f.name: body[f.name] for f in fields(BackupRecord) if f.name in body}
    times = {k: datetime.fromisoformat(known[k]) for k in _TIMES if k in known}
    return BackupRecord(**{**known, **times, "what": tuple(known["what"]), "destination": destination})
