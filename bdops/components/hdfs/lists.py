"""The lists of HDFS: states and blocks in, reports out. Pure; the blocks' table is as lazy as its blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bdops.components.hdfs.state import BlockState, DataNodeState, HdfsState, instance_of
from bdops.core.result import Column, Report, Status, Table
from bdops.core.units import plural

_NAMENODES = (
    Column("namenode"),
    Column("id"),
    Column("state"),
    Column("safe_mode", "safe mode"),
    Column("last_txid", "transaction"),
    Column("since_checkpoint", "since checkpoint"),
    Column("checkpoint_age_s", "checkpoint age", "s"),
    Column("heap_used_bytes", "heap", "bytes"),
    Column("heap_max_bytes", "of", "bytes"),
    Column("zkfc"),
    Column("up_s", "up", "s"),
    Column("version"),
    Column("problem"),
    Column("safe_mode_reason", wide=True),
)
_JOURNALS = (
    Column("journalnode"),
    Column("last_txid", "transaction"),
    Column("written_txid", "active wrote"),
    Column("behind_txns", "behind"),
    Column("out_of_sync", "out of sync", "bool"),
    Column("promised_epoch", "epoch", wide=True),
    Column("problem"),
)
_DATANODES = (
    Column("datanode"),
    Column("address"),
    Column("rack"),
    Column("state"),
    Column("contact_age_s", "heartbeat", "s"),
    Column("block_report_age_s", "block report", "s"),
    Column("capacity_bytes", "capacity", "bytes"),
    Column("used_bytes", "HDFS", "bytes"),
    Column("remaining_bytes", "left", "bytes"),
    Column("blocks"),
    Column("volumes"),
    Column("failed_volumes", "failed"),
    Column("version", wide=True),
    Column("instance", wide=True),
    Column("failed_paths", "failed volumes", wide=True),
    Column("problem"),
)
_BLOCKS = (
    Column("file"),
    Column("block"),
    Column("length_bytes", "size", "bytes"),
    Column("live", "copies"),
    Column("wanted", "of"),
    Column("state"),
    Column("locations"),
    Column("leaving", "on leaving", wide=True),
    Column("striped", "erasure-coded", "bool", wide=True),
)


def status(state: HdfsState) -> Report:
    """Who is active, how the namespace and its journal stand, and what is wrong with the data, in numbers."""
    nodes = state.namenodes or ()
    active = [n.instance for n in nodes if n.state == "active"]
    blocks, groups, live = state.replicated_blocks, state.ec_groups, [d for d in state.datanodes or () if d.live]
    facts: dict[str, Any] = {
        "nameservice": state.nameservice,
        "active": active[0] if len(active) == 1 else active or None,
        "live_datanodes": len(live) if state.datanodes is not None else None,
        "dead_datanodes": sum(1 for d in state.datanodes if not d.live) if state.datanodes is not None else None,
        "blocks": state.pending.total_blocks if state.pending else None,
        "under_replicated": blocks.low_redundancy if blocks else None,
        "missing": blocks.missing if blocks else None,
        "corrupt": blocks.corrupt if blocks else None,
        "ec_low_redundancy": groups.low_redundancy if groups else None,
        "ec_missing": groups.missing if groups else None,
        "pending_reconstruction": state.pending.reconstruction if state.pending else None,
        "_unread": dict(state.unread),
    }
    return Report(
        status=_status(state, active),
        summary=_summary(state, active, len(live)),
        facts=facts,
        tables=(
            Table(name="namenodes", columns=_NAMENODES, rows=_namenode_rows(state)),
            Table(name="journalnodes", columns=_JOURNALS, rows=_journal_rows(state), empty="no JournalNodes"),
        ),
    )


def _status(state: HdfsState, active: list[str]) -> Status:
    nodes = state.namenodes
    if not nodes or all(n.error for n in nodes):
        return "unknown"
    if len(active) != 1:
        return "critical"
    return "warning" if any(n.error or n.safe_mode for n in nodes) else "ok"


def _summary(state: HdfsState, active: list[str], live: int) -> str:
    if not active:
        return "no NameNode is active"
    who = ", ".join(_short(a) for a in active)
    if state.datanodes is None:
        return f"{who} active; the DataNodes are not known: {state.unread.get('datanodes', 'absent from the state')}"
    return f"{who} active, {live} of {plural(len(state.datanodes), 'DataNode')} live"


def _short(name: str) -> str:
    """`node1` of `prod/hdfs/node1/namenode`."""
    parts = name.split("/")
    return parts[2] if len(parts) > 2 else name


def _namenode_rows(state: HdfsState) -> list[dict[str, Any]]:
    ids = {e.name: e.nn_id for e in state.expected_of("namenode")}
    controllers = {_short(z.instance): z for z in state.zkfcs or ()}
    rows = []
    for n in state.namenodes or ():
        zkfc = controllers.get(_short(n.instance))
        behind = None
        if n.last_txid is not None and n.checkpoint_txid is not None:
            behind = max(0, n.last_txid - n.checkpoint_txid)
        rows.append(
            {
                "namenode": _short(n.instance),
                "id": ids.get(n.instance),
                "state": n.state or "down",
                "safe_mode": "-" if n.safe_mode is None else "on" if n.safe_mode else "off",
                "last_txid": n.last_txid,
                "since_checkpoint": behind,
                "checkpoint_age_s": (state.taken_at - n.checkpoint_at).total_seconds() if n.checkpoint_at else None,
                "heap_used_bytes": n.heap_used_bytes,
                "heap_max_bytes": n.heap_max_bytes,
                "zkfc": None if zkfc is None else "down" if zkfc.error else "up",
                "up_s": (state.taken_at - n.started_at).total_seconds() if n.started_at else None,
                "version": n.version,
                "problem": n.error or n.http_error or n.not_ready_reason,
                "safe_mode_reason": n.safe_mode_reason,
            }
        )
    return rows


def _journal_rows(state: HdfsState) -> list[dict[str, Any]]:
    streams = {s.address: s for s in state.journal_streams or ()}
    addresses = {e.name: f"{e.address}:{e.port}" for e in state.expected_of("journalnode")}
    rows = []
    for j in state.journalnodes or ():
        stream = streams.get(addresses.get(j.instance, ""))
        rows.append(
            {
                "journalnode": _short(j.instance),
                "last_txid": j.last_txid,
                "written_txid": stream.written_txid if stream else None,
                "behind_txns": stream.behind_txns if stream else None,
                "out_of_sync": stream.out_of_sync if stream else None,
                "promised_epoch": j.promised_epoch,
                "problem": j.error or j.http_error,
            }
        )
    return rows


def datanodes(state: HdfsState, *, with_problems: bool = False) -> Report:
    """One row a DataNode, those of the inventory that the NameNode does not know included."""
    if state.datanodes is None:
        why = state.unread.get("datanodes", "absent from the state")
        return Report(status="unknown", summary=f"the DataNodes are not known: {why}")
    rows = [_datanode_row(state, d) for d in state.datanodes]
    seen = {e.name for d in state.datanodes if (e := instance_of(state, d))}
    rows += [
        {
            "datanode": e.host,
            "address": f"{e.address}:{e.port}",
            "rack": e.rack,
            "state": "missing",
            "instance": e.name,
            "problem": "in the inventory, and the NameNode does not know it",
        }
        for e in state.expected_of("datanode")
        if e.name not in seen
    ]
    bad = [r for r in rows if r["state"] != "live" or r.get("failed_volumes") or r.get("problem")]
    return Report(
        status="warning" if bad else "ok",
        summary=f"{sum(1 for d in state.datanodes if d.live)} of {plural(len(rows), 'DataNode')} live",
        tables=(
            Table(
                name="datanodes",
                columns=_DATANODES,
                rows=bad if with_problems else rows,
                empty="no DataNode has a problem" if with_problems else "no DataNodes",
            ),
        ),
    )


def _datanode_row(state: HdfsState, d: DataNodeState) -> dict[str, Any]:
    expected = instance_of(state, d)
    life = "live" if d.live else "dead"
    unknown = "not in the inventory" if expected is None and state.expected is not None else None
    return {
        "datanode": expected.host if expected else d.hostname,
        "address": f"{d.address}:{d.port}",
        "rack": d.rack,
        "state": life if d.admin_state == "normal" else f"{d.admin_state.replace('_', ' ')}, {life}",
        "contact_age_s": d.contact_age_s,
        "block_report_age_s": d.block_report_age_s,
        "capacity_bytes": d.capacity_bytes,
        "used_bytes": d.used_bytes,
        "remaining_bytes": d.remaining_bytes,
        "blocks": d.blocks,
        "volumes": len(d.volumes),
        "failed_volumes": d.failed_volume_count,
        "version": d.version,
        "instance": expected.name if expected else None,
        "failed_paths": ", ".join(d.failed_volumes) or None,
        "problem": d.probe or unknown,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFilter:
    """Which blocks are wanted: those of which any is true; all when none is set."""

    under_replicated: bool = False
    missing: bool = False
    corrupt: bool = False

    def takes(self, block: BlockState) -> bool:
        return (
            not (self.under_replicated or self.missing or self.corrupt)
            or (self.under_replicated and block.under_replicated and not block.missing)
            or (self.missing and block.missing)
            or (self.corrupt and (block.corrupt or bool(block.corrupt_on)))
        )


def blocks(found: Iterable[BlockState], only: BlockFilter) -> Report:
    """The blocks as they come."""
    rows = (_block_row(b) for b in found if only.takes(b))
    return Report(tables=(Table(name="blocks", columns=_BLOCKS, rows=rows, empty="no blocks"),))


def _block_row(b: BlockState) -> dict[str, Any]:
    return {
        "file": b.file,
        "block": b.block,
        "length_bytes": b.length_bytes,
        "live": b.live,
        "wanted": b.wanted,
        "state": block_word(b),
        "locations": " ".join(b.locations) or None,
        "leaving": b.leaving,
        "striped": b.striped,
    }


def block_word(block: BlockState) -> str:
    """One word for how a block is."""
    if block.corrupt:
        return "corrupt"
    if block.missing:
        return "missing"
    return "under-replicated" if block.under_replicated else "ok"
