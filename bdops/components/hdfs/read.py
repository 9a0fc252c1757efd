"""Reading a live nameservice into an HdfsState: all servers at once, one RPC and one HTTP connection each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bdops.components.hdfs import beans
from bdops.components.hdfs.active import ActiveSource
from bdops.components.hdfs.http import HttpServer
from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.rpc import Connection, RemoteError
from bdops.components.hdfs.servers import DataNodeServer, FailoverController, JournalServer
from bdops.components.hdfs.settings import Settings
from bdops.components.hdfs.state import (
    DataNodeState,
    ExpectedInstance,
    HdfsState,
    JournalNodeState,
    NameNodeState,
    RoleName,
    ZkfcState,
    instance_of,
)
from bdops.components.reading import read_all, why_unread
from bdops.core.model import Deployment, Instance
from bdops.errors import BdopsError

ROLES: tuple[RoleName, ...] = ("namenode", "zkfc", "journalnode", "datanode")
OF_ACTIVE = (
    "journal_streams", "datanodes", "replicated_blocks", "ec_groups", "pending", "corrupt_files", "degraded_blocks",
)  # fmt: skip
"""Readings that only the active NameNode can give."""
NAMES = frozenset({"corrupt_files", "degraded_blocks"})
ALL = frozenset({"namenodes", "zkfcs", "journalnodes", *OF_ACTIVE})
MARGIN = 0.9
"""The part of the time that a server's calls may take: the rest is for putting together what there is."""
SCAN_SHARE = 0.5
"""The part of the time that looking for the names of degraded blocks may take."""


@dataclass(frozen=True, slots=True)
class Server:
    """An instance to ask, and until when."""

    instance: Instance
    role: RoleName
    timeout_s: float
    until: float

    @property
    def settings(self) -> Settings:
        settings = self.instance.settings
        assert isinstance(settings, Settings)
        return settings

    def rpc(self) -> Connection:
        s = self.settings
        port = s.ipc_port if self.role == "datanode" else s.rpc_port
        address = self.instance.host.address
        return Connection(address, port, user=s.user, timeout_s=self.timeout_s, until=self.until)

    def http(self) -> HttpServer:
        s = self.settings
        return HttpServer(
            self.instance.host.address,
            s.http_port,
            user=s.user,
            timeout_s=self.timeout_s,
            scheme=s.http_scheme,
            ca_file=s.ca_file,
            until=self.until,
        )


def read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> HdfsState:
    """Read what is asked (None: all). Never raises for a server that does not answer; back by `timeout_s`."""
    wanted = (ALL if readings is None else readings & ALL) | {"namenodes"}
    if wanted & {"replicated_blocks", "ec_groups"}:
        wanted |= {"datanodes", *NAMES}  # what names and explains the counts; asked for when they are not zero
    taken_at = datetime.now(UTC)
    settings = deployment.settings
    expected = expected_instances(deployment)
    base = HdfsState(cluster=deployment.cluster, taken_at=taken_at, nameservice=settings.nameservice, expected=expected)
    if settings.security == "kerberos":
        why = "security: kerberos is set in the inventory, and bdops does not speak Kerberos yet"
        return replace(base, unread=dict.fromkeys(sorted(wanted), why))
    started = time.monotonic()
    until = started + timeout_s * MARGIN
    servers = {
        (role, i.name): Server(i, role, timeout_s * MARGIN, until)
        for i in deployment.instances
        for role in ROLES
        if role in i.roles
    }
    tasks: dict[str, Callable[[], Any]] = {}
    for (role, name), server in servers.items():
        if role == "namenode":
            tasks[f"{role} {name}"] = partial(read_namenode, server, wanted, started + timeout_s * SCAN_SHARE)
        elif role == "zkfc" and "zkfcs" in wanted:
            tasks[f"{role} {name}"] = partial(read_zkfc, server)
        elif role == "journalnode" and "journalnodes" in wanted:
            tasks[f"{role} {name}"] = partial(read_journalnode, server, journal_id(server.settings))
    found = read_all(tasks, timeout_s=timeout_s)

    def of(role: RoleName, late: Callable[..., Any]) -> list[Any]:
        names = [name for kind, name in servers if kind == role]
        return [
            found.values[key] if key in found.values else late(instance=name, error=found.unread[key])
            for name in names
            if (key := f"{role} {name}") in tasks
        ]

    answers = of("namenode", lambda instance, error: NameNodeAnswer(NameNodeState(instance=instance, error=error)))
    state = _with_active(replace(base, namenodes=tuple(a.state for a in answers)), answers, wanted)
    if "zkfcs" in wanted:
        state = replace(state, zkfcs=tuple(of("zkfc", ZkfcState)))
    if "journalnodes" in wanted:
        state = replace(state, journalnodes=tuple(of("journalnode", JournalNodeState)))
    if state.datanodes is not None:
        left_s = started + timeout_s - time.monotonic()
        state = replace(state, datanodes=_probed(state, deployment, left_s))
    return replace(state, unread={**state.unread, **_server_errors(state)})


def journal_id(settings: Settings) -> str:
    return settings.journal_id or settings.nameservice


def expected_instances(deployment: Deployment) -> tuple[ExpectedInstance, ...]:
    """The inventory's instances as plain data."""
    return tuple(
        ExpectedInstance(
            name=i.name,
            role=role,
            host=i.host.name,
            address=i.host.address,
            port=i.settings.data_port if role == "datanode" else i.settings.rpc_port,
            rack=i.host.rack,
            nn_id=i.settings.nn_id if role == "namenode" else None,
        )
        for i in deployment.instances
        for role in ROLES
        if role in i.roles
    )


@dataclass(frozen=True, slots=True)
class NameNodeAnswer:
    """A NameNode's own state, and the readings that it gave, by name, with why others failed."""

    state: NameNodeState
    readings: dict[str, Any] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def read_namenode(server: Server, wanted: Iterable[str], scan_until: float) -> NameNodeAnswer:
    """Ask one NameNode who it is, and the active one all that only it knows."""
    with server.rpc() as connection, server.http() as http:
        namenode = NameNode(connection)
        state = NameNodeState(instance=server.instance.name)
        pages: dict[str, beans.Bean] = {}
        clock: datetime | None = None
        try:
            status = namenode.service_status()
            state = replace(
                state,
                state=status.state,
                ready=status.ready,
                not_ready_reason=status.not_ready_reason,
                safe_mode=namenode.in_safe_mode(),
            )
        except BdopsError as e:
            return NameNodeAnswer(replace(state, error=why_unread(e)))
        try:
            for bean in (beans.NAMENODE_INFO, beans.NAMESYSTEM_STATE, beans.NAMESYSTEM, beans.MEMORY):
                pages[bean], clock = http.bean(bean)
            state = _with_beans(state, pages)
        except (BdopsError, ValueError, KeyError, TypeError) as e:
            state = replace(state, http_error=why_unread(e))
        source = ActiveSource(namenode, pages, state.http_error, clock, server.settings, scan_until, http)
        readings: dict[str, Any] = {}
        unread: dict[str, str] = {}
        # A standby hears from all DataNodes too; who is there is known even when nobody is active.
        for name in OF_ACTIVE if state.state == "active" else ("datanodes",):
            if name not in wanted:
                continue
            try:
                readings[name] = getattr(source, name)(readings)
            except (BdopsError, ValueError, KeyError, TypeError) as e:
                unread[name] = why_unread(e)
        return NameNodeAnswer(state, readings, unread)


def _with_beans(state: NameNodeState, pages: dict[str, beans.Bean]) -> NameNodeState:
    info = pages[beans.NAMENODE_INFO]
    last, checkpoint = beans.txids(info)
    used, largest = beans.heap(pages[beans.MEMORY])
    started_ms = info.get("NNStartedTimeInMillis")
    return replace(
        state,
        safe_mode_reason=info.get("Safemode") or None,
        heap_used_bytes=used,
        heap_max_bytes=largest,
        last_txid=last,
        checkpoint_txid=checkpoint,
        checkpoint_at=beans.checkpoint_at(pages[beans.NAMESYSTEM]),
        failed_name_dirs=beans.failed_name_dirs(info),
        started_at=beans.from_ms(int(started_ms)) if started_ms else None,
        version=info.get("SoftwareVersion"),
    )


def read_zkfc(server: Server) -> ZkfcState:
    # A server that throws answers, and that is all that is asked.
    with server.rpc() as connection, suppress(RemoteError):
        FailoverController(connection).versions()
    return ZkfcState(instance=server.instance.name)


def read_journalnode(server: Server, journal: str) -> JournalNodeState:
    with server.rpc() as connection, server.http() as http:
        state = JournalNodeState(
            instance=server.instance.name, promised_epoch=JournalServer(connection).promised_epoch(journal)
        )
        try:
            bean, _ = http.bean(beans.journal_bean(journal))
            return replace(state, last_txid=int(bean["LastWrittenTxId"]))
        except (BdopsError, ValueError, KeyError, TypeError) as e:
            return replace(state, http_error=why_unread(e))


def _with_active(state: HdfsState, answers: list[NameNodeAnswer], wanted: Iterable[str]) -> HdfsState:
    """The active NameNode's readings; of two that both say they are active, those of the one that wrote last."""
    active = [a for a in answers if a.state.state == "active"]
    if active:
        best = max(active, key=lambda a: a.state.last_txid or 0)
        return replace(state, **best.readings, unread={**state.unread, **best.unread})
    readings: dict[str, Any] = next((a.readings for a in answers if a.readings), {})
    missing = [name for name in OF_ACTIVE if name in wanted and name not in readings]
    why = "no NameNode is active" if answers else "the inventory has no NameNode"
    return replace(state, **readings, unread={**state.unread, **dict.fromkeys(missing, why)})


def _probed(state: HdfsState, deployment: Deployment, left_s: float) -> tuple[DataNodeState, ...]:
    """The DataNodes, those of the inventory that are not live with what they say themselves."""
    datanodes = state.datanodes or ()
    by_name = {i.name: i for i in deployment.instances}
    silent = {d.name: e for d in datanodes if not d.live and (e := instance_of(state, d))}
    if not silent or left_s <= 0.05:
        return datanodes
    until = time.monotonic() + left_s * MARGIN

    def probe(expected: ExpectedInstance) -> str:
        with Server(by_name[expected.name], "datanode", left_s * MARGIN, until).rpc() as connection:
            info = DataNodeServer(connection).info()
        return f"it runs (up for {info.uptime_s} s), but the NameNode does not hear from it"

    found = read_all({name: partial(probe, e) for name, e in silent.items()}, timeout_s=left_s)
    said = {**found.unread, **found.values}
    return tuple(replace(d, probe=said[d.name]) if d.name in said else d for d in datanodes)


def _server_errors(state: HdfsState) -> dict[str, str]:
    errors: dict[str, str] = {}
    for reading in ("namenodes", "zkfcs", "journalnodes"):
        for server in getattr(state, reading) or ():
            problem = server.error or getattr(server, "http_error", None)
            if problem:
                errors[f"{reading}/{server.instance}"] = problem
    return errors
