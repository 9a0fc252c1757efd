"""Checks of the JournalNodes: a majority of them must take every edit, or the active NameNode stops itself."""

from __future__ import annotations

from bdops.components.hdfs.state import ExpectedInstance, HdfsState, JournalStream, instance_at
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.quorum import Quorum
from bdops.core.units import format_duration, plural


def _quorum(state: HdfsState, limits: Limits) -> Verdict:
    nodes = state.journalnodes or ()
    if not nodes:
        return Verdict("no JournalNodes in the inventory")
    down = {n.instance: n.error for n in nodes if n.error}
    lost = {e.name for e, s in _streams(state) if s.out_of_sync}
    quorum = Quorum.of((n.instance for n in nodes), (n.instance for n in nodes if n.instance not in down.keys() | lost))
    severity = Severity.WARNING if quorum.has_majority else Severity.CRITICAL
    findings = tuple(
        Finding(name, severity, down.get(name) or "answers, but takes no edits until the next segment", (name,))
        for name in sorted(down.keys() | lost)
    )
    tail = (
        f"{quorum.spare} more may fail"
        if quorum.spare > 0
        else "the next failure stops the NameNodes"
        if quorum.has_majority
        else f"{quorum.needed} are needed: no edit can be written"
    )
    return Verdict(
        f"{len(quorum.caught_up)} of {plural(len(nodes), 'JournalNode')} take edits; {tail}",
        findings,
        (Metric("journalnodes_in_sync", len(quorum.caught_up)), Metric("journalnodes_spare", quorum.spare)),
    )


def _lag(state: HdfsState, limits: Limits) -> Verdict:
    transactions, seconds = limits["transactions"], limits["delay"]
    findings = []
    named = {s.address: e for e, s in _streams(state)}
    streams = state.journal_streams or ()
    down = {n.instance for n in state.journalnodes or () if n.error}
    for stream in streams:
        instance = named.get(stream.address)
        name = instance.name if instance else stream.address
        if stream.out_of_sync:
            severity = Severity.WARNING
            detail = f"left behind at transaction {stream.written_txid}; takes edits again with the next segment"
        else:
            severity = max(
                transactions.severity(stream.behind_txns), seconds.severity(stream.behind_s), key=lambda s: s.rank
            )
            detail = f"{stream.behind_txns} transactions, {format_duration(stream.behind_s)} behind"
        if severity is not Severity.OK and name not in down:  # one that is down is HDFS_JOURNAL_QUORUM's
            findings.append(Finding(name, severity, detail, (name,)))
    unknown = [s.address for s in streams if s.address not in named and state.expected is not None]
    findings += [
        Finding(address, Severity.WARNING, "takes edits and is unknown to the inventory", ()) for address in unknown
    ]
    behind = max((s.behind_txns for s in streams), default=0)
    if not streams:
        return Verdict("the active NameNode writes to no JournalNode")
    return Verdict(
        f"JournalNodes are {plural(behind, 'transaction')} behind at most",
        tuple(findings),
        (transactions.metric(behind),),
    )


def _streams(state: HdfsState) -> list[tuple[ExpectedInstance, JournalStream]]:
    """The active's streams, each with the inventory's JournalNode that it goes to."""
    pairs = []
    for stream in state.journal_streams or ():
        address, _, port = stream.address.rpartition(":")
        if expected := instance_at(state, address, port, "journalnode"):
            pairs.append((expected, stream))
    return pairs


CHECKS: tuple[Check[HdfsState], ...] = (
    Check(
        code="HDFS_JOURNAL_QUORUM",
        meaning="JournalNodes do not answer, or the active NameNode has stopped writing to them. Every edit must reach "
        "a majority of the configured ones; without it the active NameNode shuts itself down, and the standby "
        "cannot start.",
        remedy="start the JournalNode and read its log; then `hdfs dfsadmin -rollEdits` lets it take part again\n\n"
        "- Its disk is full or broken: repair it; an emptied edits directory is filled from another JournalNode "
        "(copy `current/VERSION`, then roll).\n"
        "- Never stop another one while this is not OK.",
        judge=_quorum,
        needs=("journalnodes",),
    ),
    Check(
        code="HDFS_JOURNAL_LAG",
        meaning="A JournalNode answers, but what the active NameNode has written to it lags behind, or it was left "
        "behind and takes part again only with the next edit log segment.",
        remedy="`hdfs dfsadmin -rollEdits` begins a new segment; look at the disk latency of that JournalNode\n\n"
        "The edits directory wants a disk of its own: every edit is synced.",
        judge=_lag,
        needs=("journal_streams",),
        thresholds=(Threshold("transactions", "", 10_000, 100_000), Threshold("delay", "s", 10, 60)),
    ),
)
