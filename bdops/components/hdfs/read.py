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
from bdops.components.hdfs.rpc import Connection, NotListening, RemoteError
from bdops.components.hdfs.servers import DataNodeServer, FailoverController, JournalServer
from bdops.components.hdfs.settings import Settings
from bdops.components.hdfs.snapshot.health import image_backups, policy_of
from bdops.components.hdfs.standing import View
from bdops.components.hdfs.state import (
    DataNodeProbe,
    DataNodeState,
    ErrorKind,
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
from bdops.errors import BdopsError, NotAuthorised, StateUnknown

ROLES: tuple[RoleName, ...] = ("namenode", "zkfc", "journalnode", "datanode")
OF_ACTIVE = (
    "journal_streams", "datanodes", "replicated_blocks", "ec_groups", "pending", "corrupt_files", "degraded_blocks",
    "open_blocks", "rolling_upgrade", "survey", "backups",
)  # fmt: skip
"""Readings that only the active NameNode can give."""
NAMES = frozenset({"corrupt_files", "degraded_blocks", "open_blocks"})
GATES_ONLY = frozenset({"datanode_probes", "open_blocks", "survey"})
"""What only gates look at: it costs a call to a server in doubt, or a walk through all files."""
ALL = frozenset({"namenodes", "zkfcs", "journalnodes", "images", *OF_ACTIVE}) - GATES_ONLY
MARGIN = 0.9
"""The part of the time that a server's calls may take: the rest is for putting together what there is."""
SCAN_SHARE = 0.5
"""The part of the time that looking for the names of degraded blocks may take."""
DOUBTFUL_S = 4.0
"""A DataNode is asked itself when its last heartbeat is older: one comes every 3 s (dfs.heartbeat.interval)."""
ASK_ALL = 40
"""So few DataNodes are all asked with every reading: one that has just died, or hangs, is then known at once."""
PROBE_S = 3.0
"""How long a DataNode gets to say that it runs: it answers that without touching a disk."""


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
    """Read what is asked (None: all, for checks, lists and gates). Never raises for a server that does not answer.

    Back by `timeout_s`, whatever hangs.
    """
    wanted = ALL | GATES_ONLY if readings is None else readings & (ALL | GATES_ONLY)
    if readings is not None and wanted & {"replicated_blocks", "ec_groups"}:
        # What names and explains the counts; asked for when they are not zero. A survey names the same blocks.
        wanted |= {"datanodes", *NAMES} - ({"degraded_blocks"} if "survey" in wanted else set())
    return read_exactly(deployment, wanted, timeout_s=timeout_s)


def read_exactly(
    deployment: Deployment, readings: frozenset[str], *, timeout_s: float, watched: frozenset[str] = frozenset()
) -> HdfsState:
    """Read these and the NameNodes, and nothing that would explain them. `watched` DataNodes are asked themselves."""
    wanted = readings | {"namenodes"}
    taken_at = datetime.now(UTC)
    settings = deployment.settings
    expected = expected_instances(deployment)
    base = HdfsState(
        cluster=deployment.cluster,
        taken_at=taken_at,
        nameservice=settings.nameservice,
        expected=expected,
        backup_policy=policy_of(settings),
    )
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
    if "images" in wanted:
        tasks["images"] = partial(image_backups, deployment, timeout_s=timeout_s)
    found = read_all(tasks, timeout_s=timeout_s)

    def of(role: RoleName, late: Callable[..., Any]) -> list[Any]:
        names = [name for kind, name in servers if kind == role]
        return [
            found.values[key] if key in found.values else late(instance=name, error=found.unread[key])
            for name in names
            if (key := f"{role} {name}") in tasks
        ]

    answers = of("namenode", _late_namenode)
    state = _with_active(replace(base, namenodes=tuple(a.state for a in answers)), answers, wanted)
    if "zkfcs" in wanted:
        state = replace(state, zkfcs=tuple(of("zkfc", partial(ZkfcState, error_kind="silent"))))
    if "journalnodes" in wanted:
        late = partial(JournalNodeState, error_kind="silent")
        state = replace(state, journalnodes=tuple(of("journalnode", late)))
    if "images" in wanted:
        state = replace(state, images=found.values.get("images"))
        state.unread.update({k: why for k, why in found.unread.items() if k == "images"})
    if state.datanodes is not None:
        left_s = started + timeout_s - time.monotonic()
        asked = watched | _to_ask(state) if "datanode_probes" in wanted else _not_live(state)
        state = _with_probes(state, _probes(state, deployment, asked, min(left_s, PROBE_S)))
        if "datanode_probes" not in wanted:
            state = replace(state, datanode_probes=None)
    return replace(state, unread={**state.unread, **_server_errors(state)})


def _late_namenode(instance: str, error: str) -> NameNodeAnswer:
    return NameNodeAnswer(NameNodeState(instance=instance, error=error, error_kind="silent"))


def error_kind(error: BdopsError) -> ErrorKind:
    """What an error of a call tells of the server: that it does not run, that it answers, or nothing at all."""
    if isinstance(error, NotListening):
        return "not_running"
    return "answered" if isinstance(error, (RemoteError, NotAuthorised)) else "silent"


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
            return NameNodeAnswer(replace(state, error=why_unread(e), error_kind=error_kind(e)))
        try:
            for bean in (beans.NAMENODE_INFO, beans.NAMESYSTEM_STATE, beans.NAMESYSTEM, beans.MEMORY):
                pages[bean], clock = http.bean(bean)
            with suppress(StateUnknown):  # Hadoop 2 has none
                if "ec_groups" in wanted:
                    pages[beans.EC_GROUPS], clock = http.bean(beans.EC_GROUPS)
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
        if (datanodes := readings.get("datanodes")) is not None:
            live = [d for d in datanodes if d.live]
            reported = sum(1 for d in live if d.block_report_age_s is not None)
            state = replace(state, live_datanodes=len(live), reported_datanodes=reported)
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
        cluster_id=info.get("ClusterId"),
    )


def read_zkfc(server: Server) -> ZkfcState:
    state = ZkfcState(instance=server.instance.name)
    try:
        # A server that throws answers, and that is all that is asked.
        with server.rpc() as connection, suppress(RemoteError):
            FailoverController(connection).versions()
    except BdopsError as e:
        return replace(state, error=why_unread(e), error_kind=error_kind(e))
    return state


def read_journalnode(server: Server, journal: str) -> JournalNodeState:
    with server.rpc() as connection, server.http() as http:
        state = JournalNodeState(instance=server.instance.name)
        try:
            state = replace(state, promised_epoch=JournalServer(connection).promised_epoch(journal))
        except BdopsError as e:
            return replace(state, error=why_unread(e), error_kind=error_kind(e))
        try:
            bean, _ = http.bean(beans.journal_bean(journal))
            return replace(state, last_txid=int(bean["LastWrittenTxId"]), txns_written=int(bean["TxnsWritten"]))
        except (BdopsError, ValueError, KeyError, TypeError) as e:
            return replace(state, http_error=why_unread(e))


def _with_active(state: HdfsState, answers: list[NameNodeAnswer], wanted: Iterable[str]) -> HdfsState:
    """The active NameNode's readings; of two that both say they are active, those of the one that wrote last."""
    active = [a for a in answers if a.state.state == "active"]
    if active:
        best = max(active, key=lambda a: a.state.last_txid or 0)
        state = replace(state, **best.readings, unread={**state.unread, **best.unread})
        if state.datanodes is None and (spare := next((a for a in answers if "datanodes" in a.readings), None)):
            state = replace(state, datanodes=spare.readings["datanodes"])
        return state
    readings: dict[str, Any] = next((a.readings for a in answers if a.readings), {})
    missing = [name for name in OF_ACTIVE if name in wanted and name not in readings]
    why = "no NameNode is active" if answers else "the inventory has no NameNode"
    return replace(state, **readings, unread={**state.unread, **dict.fromkeys(missing, why)})


def _not_live(state: HdfsState) -> frozenset[str]:
    """The inventory's DataNodes that the NameNode knows and does not hear from."""
    return frozenset(e.name for d in state.datanodes or () if not d.live and (e := instance_of(state, d)))


def _to_ask(state: HdfsState) -> frozenset[str]:
    """The inventory's DataNodes that are late, dead or unknown to the NameNode; all of them where they are few."""
    names = frozenset(e.name for e in state.expected_of("datanode"))
    if len(names) <= ASK_ALL:
        return names
    view = View(state)
    fresh = {
        name
        for name, d in view.datanodes.items()
        if d.live and d.contact_age_s is not None and d.contact_age_s <= DOUBTFUL_S
    }
    return names - fresh


def _probes(
    state: HdfsState, deployment: Deployment, names: frozenset[str], left_s: float
) -> tuple[DataNodeProbe, ...]:
    """Ask DataNodes themselves, by the names of their instances."""
    by_name = {i.name: i for i in deployment.instances if i.name in names}
    limit_s = max(0.05, left_s * MARGIN)
    until = time.monotonic() + limit_s

    def probe(name: str) -> DataNodeProbe:
        try:
            with Server(by_name[name], "datanode", limit_s, until).rpc() as connection:
                return DataNodeProbe(instance=name, uptime_s=DataNodeServer(connection).info().uptime_s)
        except BdopsError as e:
            return DataNodeProbe(instance=name, error=why_unread(e), error_kind=error_kind(e))

    found = read_all({name: partial(probe, name) for name in sorted(by_name)}, timeout_s=max(0.1, left_s))
    late = {n: DataNodeProbe(instance=n, error=why, error_kind="silent") for n, why in found.unread.items()}
    return tuple(found.values.get(name) or late[name] for name in sorted(by_name))


def _with_probes(state: HdfsState, probes: tuple[DataNodeProbe, ...]) -> HdfsState:
    """The state with the probes, and with what they said in the records of the DataNodes that are not live."""
    by_name = {p.instance: p for p in probes}

    def said(datanode: DataNodeState) -> DataNodeState:
        expected = None if datanode.live else instance_of(state, datanode)
        probe = by_name.get(expected.name) if expected else None
        if probe is None:
            return datanode
        runs = f"it runs (up for {probe.uptime_s} s), but the NameNode does not hear from it"
        return replace(datanode, probe=probe.error or runs)

    return replace(state, datanodes=tuple(said(d) for d in state.datanodes or ()), datanode_probes=probes)


def _server_errors(state: HdfsState) -> dict[str, str]:
    errors: dict[str, str] = {}
    for reading in ("namenodes", "zkfcs", "journalnodes"):
        for server in getattr(state, reading) or ():
            problem = server.error or getattr(server, "http_error", None)
            if problem:
                errors[f"{reading}/{server.instance}"] = problem
    return errors
