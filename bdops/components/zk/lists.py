"""The lists of ZooKeeper: states and znodes in, reports out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bdops.components.zk import ensemble
from bdops.components.zk.client.session import Znode
from bdops.components.zk.state import Member, Server, ZkState
from bdops.core.quorum import majority
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


_MEMBER_COLUMNS = (
    Column("id"),
    Column("role"),
    Column("server"),
    Column("address"),
    Column("client", "clients"),
    Column("note", "differs"),
)
_COPY_COLUMNS = (
    Column("server"),
    Column("version"),
    Column("voters"),
    Column("observers"),
    Column("same", "as the leader's", "bool"),
    Column("note", "differs"),
)


def config(state: ZkState) -> Report:
    """The ensemble's configuration as the leader has it, and how each server's copy and the inventory differ."""
    copy = ensemble.reference(state)
    if copy is None or copy.members is None:
        why = "; ".join(f"{name}: {reason}" for name, reason in state.unread.items()) or "no copy in the state"
        return Report(status="unknown", summary=f"no server told its configuration: {why}")
    members = [_member_row(state, copy, m) for m in copy.members]
    known = {row["server"] for row in members}
    members += [
        {"server": ensemble.short(e.name), "role": e.role, "note": "in the inventory, not in the configuration"}
        for e in state.expected or ()
        if ensemble.short(e.name) not in known and not (e.role == "observer" and not copy.observers_known)
    ]
    copies = [_copy_row(s, copy) for s in ensemble.servers(state)]
    differences = sum(1 for row in (*members, *copies) if row.get("note") and row.get("same", False) is False)
    unread = [row["server"] for row in copies if row["same"] is None]
    voters = [m for m in copy.members if m.role == "participant"]
    facts = {
        "told_by": ensemble.short(copy.name),
        "version": copy.config_version,
        "voters": len(voters),
        "observers": len(copy.members) - len(voters) if copy.observers_known else None,
        "needed": majority(len(voters)) if voters else None,
        "groups_or_weights": copy.weighted,
        "differences": differences,
        "unread": unread,
    }
    asked = f"the same on {'all servers' if not unread else 'those that were read'} and in the inventory"
    return Report(
        status="warning" if differences or unread else "ok",
        summary=f"{plural(len(copy.members), 'member')}, version {copy.config_version or 'not told'}, "
        + (plural(differences, "difference") if differences else asked)
        + (f"; not read: {', '.join(unread)}" if unread else ""),
        facts=facts,
        tables=(
            Table(name="members", columns=_MEMBER_COLUMNS, rows=members),
            Table(name="copies", columns=_COPY_COLUMNS, rows=copies, title="each server's copy"),
        ),
    )


def _member_row(state: ZkState, copy: Server, member: Member) -> dict[str, Any]:
    name = ensemble.ids(state).get(member.id, f"server.{member.id}")
    known = next((e for e in state.expected or () if e.name == name), None)
    note = None
    if state.expected is not None and known is None:
        note = "in the configuration, not in the inventory"
    elif known and known.role != member.role:
        note = f"{known.role} in the inventory"
    elif known and known.myid is not None and known.myid != member.id:
        note = f"id {known.myid} in the inventory"
    return {
        "id": member.id,
        "role": member.role,
        "server": ensemble.short(name),
        "address": member.address,
        "client": member.client,
        "note": note,
    }


def _copy_row(server: Server, copy: Server) -> dict[str, Any]:
    members = server.members
    row: dict[str, Any] = {"server": ensemble.short(server.name), "version": server.config_version}
    if members is None or copy.members is None:
        told = server.mode == "standalone"
        note = "stands alone: it has no membership" if told else server.error or server.words_error or "not read"
        return row | {"voters": None, "observers": None, "same": None, "note": note}
    observers = _ids(members, "observer") if server.observers_known else None
    row |= {"voters": _ids(members, "participant"), "observers": observers}
    notes = [
        f"{role}s {_listed(members, role)}, {ensemble.short(copy.name)} has {_listed(copy.members, role)}"
        for role in ("participant", "observer")
        if _listed(members, role) != _listed(copy.members, role)
        and (role == "participant" or (server.observers_known and copy.observers_known))
    ]
    if None not in (server.config_version, copy.config_version) and server.config_version != copy.config_version:
        notes.append(f"version {server.config_version}, {ensemble.short(copy.name)} has {copy.config_version}")
    return row | {"same": not notes, "note": "; ".join(notes) or None}


def _ids(members: Iterable[Member], role: str) -> list[int]:
    return [m.id for m in members if m.role == role]


def _listed(members: Iterable[Member], role: str) -> str:
    return " ".join(f"{m.id}={m.address}" for m in members if m.role == role)


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
