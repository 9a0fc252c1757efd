"""How each instance stands in a state: up, down, silent; who could take over, who writes edits. Pure.

What gates, order and verification have in common: they cannot disagree about who is up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bdops.components.hdfs.settings import HdfsRules
from bdops.components.hdfs.state import (
    DataNodeProbe,
    DataNodeState,
    ExpectedInstance,
    HdfsState,
    JournalNodeState,
    JournalStream,
    NameNodeState,
    RoleName,
    ZkfcState,
    instance_at,
    instance_of,
)
from bdops.core.quorum import Quorum
from bdops.core.units import format_duration, plural

Standing = Literal["up", "down", "silent", "unheard"]
"""`down`: it is known not to run. `silent`: it says nothing, which may mean anything. `unheard`: a DataNode that
runs, and that the NameNode does not hear from."""


@dataclass(frozen=True, slots=True)
class Stands:
    """How an instance stands, and why, where that is not `up`."""

    how: Standing
    why: str = ""


UP = Stands("up")


class View:
    """A state with what is asked of it again and again, worked out once."""

    def __init__(self, state: HdfsState, rules: HdfsRules | None = None) -> None:
        self.state = state
        self.rules = rules or HdfsRules()

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(e.name for e in self.state.expected or ())

    @cached_property
    def by_name(self) -> Mapping[str, ExpectedInstance]:
        return {e.name: e for e in self.state.expected or ()}

    def of_role(self, role: RoleName) -> tuple[str, ...]:
        return tuple(e.name for e in self.state.expected or () if e.role == role)

    @cached_property
    def namenodes(self) -> Mapping[str, NameNodeState]:
        return {n.instance: n for n in self.state.namenodes or ()}

    @cached_property
    def zkfcs(self) -> Mapping[str, ZkfcState]:
        return {z.instance: z for z in self.state.zkfcs or ()}

    @cached_property
    def journalnodes(self) -> Mapping[str, JournalNodeState]:
        return {j.instance: j for j in self.state.journalnodes or ()}

    @cached_property
    def probes(self) -> Mapping[str, DataNodeProbe]:
        return {p.instance: p for p in self.state.datanode_probes or ()}

    @cached_property
    def datanodes(self) -> Mapping[str, DataNodeState]:
        """The NameNode's records by the names of the inventory's instances. Of two, the live one."""
        found: dict[str, DataNodeState] = {}
        for d in self.state.datanodes or ():
            expected = instance_of(self.state, d)
            if expected and not (expected.name in found and found[expected.name].live):
                found[expected.name] = d
        return found

    @cached_property
    def strangers(self) -> tuple[str, ...]:
        """Servers that HDFS uses and the inventory does not know: live DataNodes, and JournalNodes that get edits."""
        datanodes = [d.name for d in self.state.datanodes or () if d.live and not instance_of(self.state, d)]
        known = set(self.streams.values())
        return (*datanodes, *(s.address for s in self.state.journal_streams or () if s not in known))

    @cached_property
    def streams(self) -> Mapping[str, JournalStream]:
        """What the active NameNode writes to each JournalNode of the inventory, by instance."""
        found = {}
        for stream in self.state.journal_streams or ():
            host, _, port = stream.address.rpartition(":")
            if expected := instance_at(self.state, host, port, "journalnode"):
                found[expected.name] = stream
        return found

    @cached_property
    def stands(self) -> Mapping[str, Stands]:
        """How every instance of the inventory stands. Those of a reading that failed as a whole are not there."""
        return dict(self._stands())

    def _stands(self) -> Iterator[tuple[str, Stands]]:
        asked: tuple[tuple[RoleName, object, Mapping[str, NameNodeState | ZkfcState | JournalNodeState]], ...] = (
            ("namenode", self.state.namenodes, self.namenodes),
            ("zkfc", self.state.zkfcs, self.zkfcs),
            ("journalnode", self.state.journalnodes, self.journalnodes),
        )
        for role, reading, records in asked:
            if reading is not None:
                for name in self.of_role(role):
                    yield name, _server_stands(records.get(name))
        if self.state.datanodes is not None:
            for name in self.of_role("datanode"):
                yield name, self._datanode_stands(name)

    def _datanode_stands(self, name: str) -> Stands:
        record, probe = self.datanodes.get(name), self.probes.get(name)
        if probe is not None and probe.error:
            if probe.error_kind == "not_running":
                return Stands("down", probe.error)
            if probe.error_kind != "answered":
                return Stands("silent", probe.error)
        runs = probe is not None
        if record is None:
            unknown = "the NameNode does not know it"
            return Stands("unheard", f"it runs, and {unknown}") if runs else Stands("silent", unknown)
        if not record.live:
            return Stands("unheard", "it runs, and is dead to the NameNode") if runs else Stands("down", "dead")
        if record.contact_age_s is None:
            return Stands("silent", "when it was last heard of is not known")
        if record.contact_age_s > self.rules.contact_age_s:
            return Stands("unheard", f"last heard of {format_duration(record.contact_age_s)} ago")
        return UP

    def how(self, name: str) -> Standing | None:
        """None where it is not known, because the reading failed."""
        found = self.stands.get(name)
        return found.how if found else None

    @cached_property
    def down(self) -> frozenset[str]:
        return frozenset(name for name, s in self.stands.items() if s.how == "down")

    @cached_property
    def active(self) -> tuple[str, ...]:
        return tuple(n.instance for n in self.state.namenodes or () if n.state == "active")

    @cached_property
    def last_txid(self) -> int | None:
        """The last transaction that an active NameNode wrote."""
        return max((t for a in self.active if (t := self.namenodes[a].last_txid) is not None), default=None)

    def lag_txns(self, namenode: str) -> int | None:
        """How many transactions a standby has left to apply; None when that is not known."""
        mine = self.namenodes[namenode].last_txid
        return None if mine is None or self.last_txid is None else max(0, self.last_txid - mine)

    def why_not_ready(self, namenode: str) -> str | None:
        """Why a NameNode could not serve, or take over, at once; None when it could. Unknown is a reason too."""
        node = self.namenodes.get(namenode)
        if node is None or node.error:
            return node.error if node else "nothing is known of it"
        if node.state not in ("active", "standby"):
            return f"it is {node.state or 'in no known state'}"
        if node.safe_mode is not False:
            return "it is in safe mode" if node.safe_mode else "whether it is in safe mode is not known"
        if node.state == "active":
            return None
        if node.ready is False:
            return f"it could not become active: {node.not_ready_reason or 'it does not say why'}"
        lag = self.lag_txns(namenode)
        if lag is None:
            return "how far it lags behind is not known"
        if lag > self.rules.standby_lag_txns:
            return f"{plural(lag, 'transaction')} behind, of {self.rules.standby_lag_txns} allowed"
        return self.why_not_reported(namenode)

    def why_not_reported(self, namenode: str) -> str | None:
        """Which part of the DataNodes has not told a NameNode of all their blocks."""
        reported = self.namenodes[namenode].reported_datanodes
        live = max((n.live_datanodes or 0 for n in self.namenodes.values()), default=0)
        if reported is not None and reported < live:
            return f"{reported} of {plural(live, 'live DataNode')} have reported their blocks to it"
        return None

    @cached_property
    def ready_standbys(self) -> tuple[str, ...]:
        return tuple(n for n in self.namenodes if n not in self.active and self.why_not_ready(n) is None)

    def partner(self, name: str, role: RoleName) -> str | None:
        """The NameNode of a failover controller, or the other way round: the one on the same host."""
        host = self.by_name[name].host if name in self.by_name else None
        return next((e.name for e in self.state.expected_of(role) if e.host == host), None)

    def why_not_in_sync(self, journalnode: str) -> str | None:
        """Why a JournalNode does not count as one that takes every edit; None when it does."""
        node, stream = self.journalnodes.get(journalnode), self.streams.get(journalnode)
        if node is None or node.error:
            return node.error if node else "nothing is known of it"
        if stream is None:
            return "the active NameNode does not write to it"
        if stream.out_of_sync:
            return f"left behind at transaction {stream.written_txid} until the edit log is rolled"
        if stream.behind_txns > self.rules.journal_lag_txns:
            return f"{plural(stream.behind_txns, 'transaction')} behind, of {self.rules.journal_lag_txns} allowed"
        # The active NameNode notices only with its next edit that one was restarted in the middle of a segment.
        if node.txns_written == 0:
            return "it was started after the edit log segment in hand, and takes part when that is rolled"
        return None

    @cached_property
    def journal_quorum(self) -> Quorum:
        journals = self.of_role("journalnode")
        return Quorum.of(journals, [j for j in journals if self.why_not_in_sync(j) is None])

    @cached_property
    def up_datanodes(self) -> frozenset[str]:
        return frozenset(n for n in self.of_role("datanode") if self.how(n) == "up")

    @cached_property
    def gone_with_copies(self) -> frozenset[str]:
        """DataNodes that do not serve while the NameNode counts their copies as good ones."""
        return frozenset(
            name
            for name in self.of_role("datanode")
            if self.how(name) != "up" and (record := self.datanodes.get(name)) is not None and record.live
        )


def _server_stands(server: NameNodeState | ZkfcState | JournalNodeState | None) -> Stands:
    if server is None:
        return Stands("silent", "nothing is known of it")
    if server.error is None or server.error_kind == "answered":
        return UP
    return Stands("down" if server.error_kind == "not_running" else "silent", server.error)
