"""The lists of ZooKeeper: states and znodes in, reports out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bdops.components.zk import ensemble
from bdops.components.zk.client.session import Znode
from bdops.components.zk.state import Server, ZkState
from bdops.core.result import Column, Report, Status, Table
from bdops.core.units import plural

_STATUS_COLUMNS = (
    Column("server"),
    Column("id"),
    Column("mode"),
    Column("zxid"),
    Column("behind"),
    Column("latency_avg_ms", "latency", "ms"),
    Column("latency_max_ms", "slowest", "ms"),
    Column("connections"),
    Column("outstanding_requests", "outstanding"),
    Column("znodes"),
    Column("data_size_bytes", "data", "bytes"),
    Column("watches"),
    Column("uptime_s", "up", "s"),
    Column("version"),
    Column("error", "problem"),
    Column("peer_state", "state", wide=True),
    Column("config_version", "config", wide=True),
    Column("ephemerals", wide=True),
    Column("open_files", "files", wide=True),
    Column("update_latency_p99_ms", "write p99", "ms", wide=True),
    Column("read_latency_p99_ms", "read p99", "ms", wide=True),
    Column("admin_error", "AdminServer", wide=True),
    Column("words_error", "4-letter words", wide=True),
)


def status(state: ZkState) -> Report:
    """One row a server, and who leads, who votes and how many may stop."""
    first = ensemble.leader(state)
    q = ensemble.quorum(state, behind=float("inf"))
    facts: dict[str, Any] = {
        "leader": ensemble.short(first.name) if first else None,
        "voters": sorted(ensemble.short(n) for n in q.configured) if q else None,
        "caught_up": sorted(ensemble.short(n) for n in q.caught_up) if q else None,
        "may_stop": max(0, q.spare) if q else None,
        "synced_followers": first.synced_followers if first else None,
        "pending_syncs": first.pending_syncs if first else None,
    }
    servers = ensemble.servers(state)
    serving = sum(1 for s in servers if s.serving)
    return Report(
        status=_status(serving, len(servers)),
        summary=f"{serving} of {plural(len(servers), 'server')} serving",
        facts=facts,
        tables=(Table(name="servers", columns=_STATUS_COLUMNS, rows=[_row(s, first) for s in servers]),),
    )


def _status(serving: int, of: int) -> Status:
    if serving == 0:
        return "unknown"
    return "ok" if serving == of else "warning"


def _row(server: Server, first: Server | None) -> dict[str, Any]:
    row: dict[str, Any] = {c.key: getattr(server, c.key, None) for c in _STATUS_COLUMNS}
    row |= {
        "server": ensemble.short(server.name),
        "id": server.myid,
        "mode": server.mode or ("down" if server.serving is False else "unknown"),
        "behind": ensemble.lag(server, first) if first else None,
    }
    return row


def tree(znodes: Iterable[Znode], *, ephemerals: bool = False) -> Report:
    """The znodes as they come; `ephemerals`: only those that belong to a session."""
    columns = (
        Column("path"),
        Column("children"),
        Column("data_bytes", "data", "bytes"),
        Column("owner", "session"),
        Column("hidden", wide=True),
        Column("modified_ms", wide=True),
    )
    return Report(tables=(Table(name="znodes", columns=columns, rows=_rows(znodes, ephemerals), empty="no znodes"),))


def _rows(znodes: Iterable[Znode], ephemerals: bool) -> Iterator[dict[str, Any]]:
    for z in znodes:
        if z.owner or not ephemerals:
            yield {
                "path": z.path,
                "children": z.children,
                "data_bytes": z.data_bytes,
                "owner": z.owner,
                "hidden": z.hidden,
                "modified_ms": z.modified_ms,
            }
