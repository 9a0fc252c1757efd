"""What only the active NameNode knows, reading by reading."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from bdops.components.hdfs import beans
from bdops.components.hdfs.blocks import Scanned, block_being_written, blocks_under
from bdops.components.hdfs.http import HttpServer, corrupt_copies
from bdops.components.hdfs.namenode import BlockStats, DataNodeReport, NameNode
from bdops.components.hdfs.settings import Settings
from bdops.components.hdfs.snapshot.health import directory_backups
from bdops.components.hdfs.state import (
    BlockCounts,
    BlockState,
    CorruptFiles,
    DataNodeState,
    DegradedBlocks,
    DirectoryBackups,
    OpenBlocks,
    Pending,
    RollingUpgrade,
    Survey,
    VolumeState,
)
from bdops.components.hdfs.survey import survey
from bdops.errors import BdopsError, StateUnknown

FSCKED_FILES = 20
"""How many files in trouble fsck is asked about, to learn which of their copies are corrupt."""


OPEN_FILES = 1000
"""How many open files are looked at, a call for each, to learn whose copies may merely be stale."""


@dataclass(frozen=True, slots=True)
class ActiveSource:
    """The active NameNode as a source of readings: a method for each, given the readings before it."""

    namenode: NameNode
    pages: dict[str, beans.Bean]
    http_error: str | None
    clock: datetime | None
    settings: Settings
    scan_until: float
    http: HttpServer

    def _page(self, name: str) -> beans.Bean:
        if name not in self.pages:
            raise StateUnknown(self.http_error or f"{name} was not read")
        return self.pages[name]

    def journal_streams(self, _: dict[str, Any]) -> Any:
        return beans.journal_streams(self._page(beans.NAMENODE_INFO))

    def datanodes(self, _: dict[str, Any]) -> tuple[DataNodeState, ...]:
        now_ms = (self.clock or datetime.now(UTC)).timestamp() * 1000
        facts = beans.live_nodes(self.pages[beans.NAMENODE_INFO]) if beans.NAMENODE_INFO in self.pages else {}
        live = self.namenode.datanode_reports("live")
        known = {report.uuid for report in live}
        dead = [report for report in self.namenode.datanode_reports("dead") if report.uuid not in known]
        return tuple(
            datanode_state(report, facts.get(report.uuid), now_ms, live=is_live)
            for reports, is_live in ((live, True), (dead, False))
            for report in sorted(reports, key=lambda r: (r.hostname, r.data_port))
        )

    def replicated_blocks(self, _: dict[str, Any]) -> BlockCounts:
        return _counts(self.namenode.replicated_blocks())

    def ec_groups(self, _: dict[str, Any]) -> BlockCounts:
        total = self.pages.get(beans.EC_GROUPS, {}).get("TotalECBlockGroups")
        return replace(_counts(self.namenode.ec_block_groups()), total=None if total is None else int(total))

    def rolling_upgrade(self, _: dict[str, Any]) -> RollingUpgrade:
        return beans.rolling_upgrade(self._page(beans.NAMENODE_INFO))

    def survey(self, _: dict[str, Any]) -> Survey:
        scanned = Scanned()
        return survey(
            blocks_under(self.namenode, "/", scanned),
            scanned,
            named_blocks=self.settings.named_objects,
            files_limit=self.settings.restart.surveyed_files,
            until=self.scan_until,
        )

    def backups(self, _: dict[str, Any]) -> tuple[DirectoryBackups, ...]:
        return directory_backups(self.namenode, self.settings)

    def pending(self, _: dict[str, Any]) -> Pending:
        bean = self._page(beans.NAMESYSTEM_STATE)
        return Pending(
            reconstruction=int(bean["PendingReconstructionBlocks"]),
            deletion=int(bean["PendingDeletionBlocks"]),
            total_blocks=int(bean["BlocksTotal"]),
        )

    def corrupt_files(self, before: dict[str, Any]) -> CorruptFiles:
        counts = _known_counts(before)
        if counts and not any(c.missing or c.corrupt for c in counts):
            return CorruptFiles(paths=())
        limit = self.settings.named_objects
        paths = list(islice(dict.fromkeys(islice(self.namenode.corrupt_files(), limit * 2)), limit + 1))
        return CorruptFiles(paths=tuple(paths[:limit]), complete=len(paths) <= limit)

    def open_blocks(self, before: dict[str, Any]) -> OpenBlocks:
        counts = _known_counts(before)
        if counts and not any(c.corrupt for c in counts):
            return OpenBlocks(blocks=())
        found: list[BlockState] = []
        for number, path in enumerate(self.namenode.open_files()):
            if number >= OPEN_FILES or time.monotonic() > self.scan_until:
                return OpenBlocks(blocks=tuple(found), complete=False)
            if block := block_being_written(self.namenode, path):
                found.append(block)
        return OpenBlocks(blocks=tuple(found))

    def degraded_blocks(self, before: dict[str, Any]) -> DegradedBlocks:
        """The names behind the counts. There is no call for them: files are looked at, as many as are allowed."""
        counts = _known_counts(before)
        if counts and not any(c.low_redundancy or c.missing for c in counts):
            return DegradedBlocks(blocks=(), scanned_files=0, complete=True)
        scanned = Scanned()
        found: list[BlockState] = []
        complete = False
        for block in blocks_under(self.namenode, "/", scanned):
            if block.missing or block.under_replicated:
                found.append(block)
            full = len(found) >= self.settings.named_objects or scanned.files >= self.settings.scanned_files
            if full or time.monotonic() > self.scan_until:
                break
        else:
            complete = True
        if any(c.corrupt for c in counts):
            found = self._with_corrupt_copies(found)
        return DegradedBlocks(blocks=tuple(found), scanned_files=scanned.files, complete=complete)

    def _with_corrupt_copies(self, blocks: list[BlockState]) -> list[BlockState]:
        """The blocks with where their corrupt copies are, which fsck alone tells: for the first few files."""
        where: dict[str, tuple[str, ...]] = {}
        for file in islice(dict.fromkeys(b.file for b in blocks), FSCKED_FILES):
            if time.monotonic() > self.scan_until:
                break
            with suppress(BdopsError):  # the counts and names are known without
                where |= corrupt_copies(self.http.fsck(file, "files", "blocks", "replicadetails"))
        return [replace(b, corrupt_on=where[b.block]) if b.block in where else b for b in blocks]


def _known_counts(readings: dict[str, Any]) -> list[BlockCounts]:
    """The counts of blocks and of groups, where both are known."""
    counts = [readings.get("replicated_blocks"), readings.get("ec_groups")]
    return [c for c in counts if c] if all(counts) else []


def datanode_state(
    report: DataNodeReport, facts: beans.NodeFacts | None, now_ms: float, *, live: bool
) -> DataNodeState:
    """A DataNode from the RPC report, and from JMX what that does not say. `now_ms` is the NameNode's clock."""
    failed = tuple(v for v in report.volumes if v.failed)
    age_s = max(0.0, (now_ms - report.last_contact_ms) / 1000) if report.last_contact_ms else None
    reported_ms = report.last_block_report_ms
    return DataNodeState(
        hostname=report.hostname,
        address=report.address,
        port=report.data_port,
        live=live,
        uuid=report.uuid or None,
        rack=report.rack or None,
        admin_state=report.admin_state,
        contact_age_s=facts.contact_age_s if facts else age_s,
        block_report_age_s=max(0.0, (now_ms - reported_ms) / 1000) if reported_ms else None,
        capacity_bytes=report.capacity_bytes,
        used_bytes=report.used_bytes,
        remaining_bytes=report.remaining_bytes,
        blocks=report.blocks,
        volumes=tuple(
            VolumeState(
                uuid=v.uuid,
                capacity_bytes=v.capacity_bytes,
                used_bytes=v.used_bytes,
                remaining_bytes=v.remaining_bytes,
                failed=v.failed,
            )
            for v in report.volumes
        ),
        failed_volumes=facts.failed_volumes if facts else (),
        failed_volume_count=max(len(failed), facts.failed_volume_count if facts else 0),
        version=report.version or None,
    )


def _counts(stats: BlockStats) -> BlockCounts:
    return BlockCounts(
        low_redundancy=stats.low_redundancy,
        missing=stats.missing,
        corrupt=stats.corrupt,
        missing_rf1=stats.missing_rf1,
        highest_priority=stats.highest_priority or 0,
        badly_distributed=stats.badly_distributed or 0,
        pending_deletion=stats.pending_deletion,
    )
