"""Images of the NameNode: the last checkpoint of the namespace, fetched over HTTP into a file, with its MD5 checked.

An image is as old as its checkpoint, whenever it was fetched: that is what its record says when it was taken. What
came after it is in the edits of the JournalNodes.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bdops.components.backup_files import CHUNK_BYTES, FILE, SHA256, SUFFIXES, BackupFolder
from bdops.components.backup_standing import MADE_AT
from bdops.components.hdfs.http import HttpServer
from bdops.components.hdfs.snapshot import image_drill
from bdops.components.hdfs.snapshot.drill import Patience
from bdops.core.actor import ActContext, Progress
from bdops.core.backups import COMPARE, CREATE, DRILL, BackupRecord
from bdops.core.model import Deployment, Instance
from bdops.core.plan import Step
from bdops.core.units import format_size
from bdops.errors import BdopsError, OperationFailed, Unreachable

SCHEME = "file:"
"""Before the destination of images: a folder of this machine, not of HDFS."""
MAGIC = b"HDFSIMG1"
"""How an image begins (FSImageUtil.MAGIC_HEADER); its last four bytes are the length of the summary before them."""
LATEST = "/imagetransfer?getimage=1&txid=latest"
FSNAMESYSTEM = "Hadoop:service=NameNode,name=FSNamesystem"
TIMEOUT_S = 60.0
MD5 = "md5"
_NAME = re.compile(r"fsimage_(\d{19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The newest image of one NameNode. `checkpoint_at`: of which moment the namespace in it is."""

    instance: Instance
    txid: int
    md5: str
    size_bytes: int | None
    checkpoint_at: datetime
    ahead_txns: int | None


@dataclass(frozen=True, slots=True)
class ImageVault:
    """The images of one nameservice in a folder on this machine (or mounted on it)."""

    files: BackupFolder
    deployment: Deployment

    @classmethod
    def of(cls, folder: Path, deployment: Deployment) -> ImageVault:
        return cls(BackupFolder(folder, "hdfs", deployment.cluster), deployment)

    @property
    def destination(self) -> str:
        return f"{SCHEME}{self.files.folder}"

    def records(self) -> tuple[BackupRecord, ...]:
        return tuple(replace(r, destination=self.destination) for r in self.files.records())

    def verify(self, record: BackupRecord, patience: Patience) -> str:
        """Read an image to its end; in words what was found. Raises OperationFailed (BACKUP_DAMAGED).

        What is found is noted: a damaged one does not count any more.
        """
        if not record.good:
            raise OperationFailed(f"{record.id}: {record.error}", where=self.destination, code="BACKUP_GONE")
        file = self.files.file_of(record)
        patience.waiting(f"{file} to be read")
        with self.files.noting(record):
            ends = Ends()
            with self.files.opened(record) as source:
                while part := source.read(CHUNK_BYTES):
                    ends.add(part)
            ends.check()
        return f"{format_size(record.size_bytes or 0)}, SHA-256 as written, and as long as its summary says"

    def progress(self, step: Step, act: str) -> Progress:
        return self.files.progress(step, act)

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        if act == CREATE:
            self.files.create(step, lambda asked: self._fetched(asked, context))
        elif act == DRILL:
            record = self.files.existing(step.args["id"])
            self.verify(record, context)
            user = self.deployment.settings.user
            image_drill.start(step, record, self.files.file_of(record), user, context)
        elif act == COMPARE:
            record = self.files.existing(step.args["id"])
            image_drill.compare(step, record, self.files.file_of(record), context)
        else:
            self.files.perform(step, act)

    def abandon(self, step: Step) -> None:
        self.files.abandon(step)

    def _fetched(self, asked: BackupRecord, context: ActContext) -> BackupRecord:
        """From the NameNode with the newest image; from the other one when that fails."""
        found, problems = offers(self.deployment)
        if not found:
            raise Unreachable(f"no NameNode gives an image: {'; '.join(problems)}", where=self.deployment.name)
        for number, offer in enumerate(found, 1):
            began = time.monotonic()
            name = f"{asked.id}{SUFFIXES['hdfs'][0]}"
            try:
                with web(offer.instance) as server:
                    headers, parts = server.stream(f"/imagetransfer?getimage=1&txid={offer.txid}")
                    told = _header(headers, "X-MD5-Digest") or offer.md5
                    watched = checked(parts, told, offer.size_bytes, context.waiting)
                    size, sha256 = self.files.write_file(name, watched)
                break
            except BdopsError as e:
                if e.code.startswith("DESTINATION_") or number == len(found):
                    raise
                context.say(f"{offer.instance.name}: {e.message}")
        context.say(
            f"{asked.id}: {format_size(size)} of {offer.instance.name}, up to transaction {offer.txid}"
            + (f"; {offer.ahead_txns} came since" if offer.ahead_txns is not None else "")
        )
        return replace(
            asked,
            status="complete",
            what=("the namespace",),
            taken_at=offer.checkpoint_at,
            size_bytes=size,
            duration_s=round(time.monotonic() - began, 3),
            state={
                FILE: name,
                SHA256: sha256,
                MD5: told,
                "txid": offer.txid,
                "server": offer.instance.name,
                MADE_AT: asked.taken_at.isoformat(timespec="seconds"),
            },
        )


def offers(deployment: Deployment) -> tuple[list[Offer], list[str]]:
    """The newest image of each NameNode, the newest of all first; and what those said that gave none."""
    found, problems = [], []
    for instance in deployment.instances:
        if "namenode" not in instance.roles:
            continue
        try:
            with web(instance) as server:
                bean, _ = server.bean(FSNAMESYSTEM)
                headers, _ = server.stream(LATEST)
            found.append(offer_of(instance, headers, bean))
        except BdopsError as e:
            problems.append(f"{instance.name}: {e.message}")
    return sorted(found, key=lambda o: (-o.txid, o.ahead_txns is None, o.instance.name)), problems


def offer_of(instance: Instance, headers: Mapping[str, str], bean: Mapping[str, object]) -> Offer:
    """What a NameNode's answer says of its image. Raises Unreachable when that is not what a NameNode says."""
    name = _NAME.search(_header(headers, "X-Image-Edits-Name") or "")
    md5 = _header(headers, "X-MD5-Digest")
    if name is None or md5 is None:
        raise Unreachable("the answer has no image's name and MD5", where=instance.name, code="HDFS_NO_IMAGE")
    txid, length = int(name[1]), _header(headers, "Content-Length")
    written = bean.get("LastWrittenTransactionId")
    checkpoint_ms = bean.get("LastCheckpointTime")
    return Offer(
        instance=instance,
        txid=txid,
        md5=md5,
        size_bytes=int(length) if length else None,
        checkpoint_at=datetime.fromtimestamp(float(str(checkpoint_ms or 0)) / 1000, UTC),
        ahead_txns=int(str(written)) - txid if written else None,
    )


def checked(parts: Iterable[bytes], md5: str, size_bytes: int | None, tell: Callable[[str], None]) -> Iterator[bytes]:
    """The bytes of an image as they come. Raises OperationFailed at the end when they are not what was promised."""
    digest = hashlib.md5(usedforsecurity=False)
    ends = Ends()
    for part in parts:
        digest.update(part)
        ends.add(part)
        yield part
        tell(f"the image: {format_size(ends.size_bytes)}" + (f" of {format_size(size_bytes)}" if size_bytes else ""))
    if digest.hexdigest() != md5:
        raise OperationFailed(
            f"the image that came is not the one that was sent: its MD5 is {digest.hexdigest()}, not {md5}",
            hint="fetch it again; if it stays so, look at the NameNode's disk",
            code="IMAGE_DAMAGED",
        )
    ends.check()


@dataclass(slots=True)
class Ends:
    """How a file that comes in parts begins and ends."""

    first: bytes = b""
    last: bytes = b""
    size_bytes: int = 0

    def add(self, part: bytes) -> None:
        self.size_bytes += len(part)
        self.first = self.first if len(self.first) >= len(MAGIC) else self.first + part[: len(MAGIC)]
        self.last = (self.last + part[-4:])[-4:]

    def check(self) -> None:
        """Raises OperationFailed (BACKUP_DAMAGED) when they are not those of an image."""
        length = struct.unpack(">i", self.last)[0] if len(self.last) == 4 else -1
        if self.first[: len(MAGIC)] != MAGIC or not 0 < length <= self.size_bytes - len(MAGIC) - 4:
            raise OperationFailed("it is no image of a NameNode, or a part of one", code="BACKUP_DAMAGED")


def web(instance: Instance) -> HttpServer:
    """The HTTP port of one NameNode."""
    s = instance.settings
    return HttpServer(
        instance.host.address, s.http_port, user=s.user, timeout_s=TIMEOUT_S, scheme=s.http_scheme, ca_file=s.ca_file
    )


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((v for k, v in headers.items() if k.lower() == name.lower()), None)
