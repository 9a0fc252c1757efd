"""Checks of the data: missing, corrupt, under-replicated, erasure-coded, waiting."""

from __future__ import annotations

from collections.abc import Iterable

from bdops.components.hdfs.state import BlockState, HdfsState, datanode_at, instance_of
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import listed, plural


def lost_datanodes(state: HdfsState) -> tuple[str, ...]:
    """The instances whose absence explains lost copies: dead ones, and those that the NameNode never saw."""
    datanodes = state.datanodes or ()
    seen = {e.name: d for d in datanodes if (e := instance_of(state, d))}
    names = [e.name for e in state.expected_of("datanode") if e.name not in seen] if state.datanodes is not None else []
    for d in datanodes:
        if not d.live and d.admin_state in ("normal", "decommissioning"):
            expected = instance_of(state, d)
            names.append(expected.name if expected else d.name)
    if names:
        return tuple(sorted(names))
    # None is lost as a whole: one that lost a volume lost the copies on it, one that leaves takes its copies along.
    partly = [d for d in datanodes if d.live and (d.failed_volume_count or d.admin_state != "normal")]
    return tuple(sorted(e.name if (e := instance_of(state, d)) else d.name for d in partly))


def only_leaving(state: HdfsState, *, striped: bool) -> bool:
    """Whether every block in trouble still has all its copies, some on DataNodes that leave: nothing is lost."""
    if state.degraded_blocks is None or not state.degraded_blocks.complete:
        return False
    mine = _degraded(state, striped=striped)
    return bool(mine) and all(b.live + b.leaving >= b.wanted for b in mine)


def _named(
    state: HdfsState, blocks: Iterable[BlockState], severity: Severity, blames: tuple[str, ...]
) -> tuple[Finding, ...]:
    """One finding a file, with its worst block. To blame are the holders of corrupt copies, else `blames`."""
    by_file: dict[str, list[BlockState]] = {}
    for block in blocks:
        by_file.setdefault(block.file, []).append(block)
    findings = []
    for file, mine in by_file.items():
        worst = min(mine, key=lambda b: b.live)
        what = "units" if worst.striped else "copies"
        detail = f"{plural(len(mine), 'block')}, worst {worst.block}: {worst.live} of {worst.wanted} {what}"
        if worst.leaving:
            detail += f" and {worst.leaving} on DataNodes that leave"
        holders = dict.fromkeys(datanode_at(state, address) or address for b in mine for address in b.corrupt_on)
        findings.append(Finding(file, severity, detail, tuple(holders) or blames))
    return tuple(findings)


def _degraded(state: HdfsState, *, striped: bool) -> list[BlockState]:
    return [b for b in (state.degraded_blocks.blocks if state.degraded_blocks else ()) if b.striped == striped]


def _missing(state: HdfsState, limits: Limits) -> Verdict:
    assert state.replicated_blocks is not None
    count = state.replicated_blocks.missing
    blames = lost_datanodes(state)
    rest = {b.file: b for b in _degraded(state, striped=False) if b.missing}
    paths = dict.fromkeys((*(state.corrupt_files.paths if state.corrupt_files else ()), *rest))
    findings: list[Finding] = []
    if count:
        for path in paths:
            block = rest.get(path)
            detail = (
                f"{block.block}: none of {plural(block.wanted, 'copy', 'copies')} is good"
                if block
                else "a block has no good copy"
            )
            holders = tuple(datanode_at(state, address) or address for address in block.corrupt_on) if block else ()
            findings.append(Finding(path, Severity.CRITICAL, detail, holders or blames))
    metrics = (limits["missing"].metric(count), Metric("missing_rf1", state.replicated_blocks.missing_rf1))
    severity = limits["missing"].severity(count)
    summary = f"{plural(count, 'block')} with no good copy"
    if count and state.replicated_blocks.missing_rf1:
        summary += f" ({state.replicated_blocks.missing_rf1} of them never had a second one)"
    if count and state.corrupt_files and not state.corrupt_files.complete:
        summary += f"; the first {len(state.corrupt_files.paths)} files are named"
    return Verdict(summary, tuple(findings), metrics, severity=severity)


def _corrupt(state: HdfsState, limits: Limits) -> Verdict:
    assert state.replicated_blocks is not None
    count = state.replicated_blocks.corrupt
    severity = limits["corrupt"].severity(count)
    findings: list[Finding] = []
    if count:
        degraded = _degraded(state, striped=False)
        for block in (b for b in degraded if b.corrupt_on):
            holders = tuple(datanode_at(state, address) or address for address in block.corrupt_on)
            detail = f"{block.block}: corrupt on {', '.join(holders)}, {block.live} of {block.wanted} copies good"
            findings.append(Finding(block.file, severity, detail, holders))
        named = {f.object for f in findings}
        paths = state.corrupt_files.paths if state.corrupt_files else ()
        findings += [Finding(p, severity, "no copy of a block is good") for p in paths if p not in named]
        if not findings:  # where it could not be told which copies are corrupt: the files that lack some
            findings += _named(state, [b for b in degraded if b.under_replicated and not b.missing], severity, ())
    summary = f"{plural(count, 'block')} with a corrupt copy"
    return Verdict(summary, tuple(findings), (limits["corrupt"].metric(count),), severity=severity)


def _under_replicated(state: HdfsState, limits: Limits) -> Verdict:
    assert state.replicated_blocks is not None
    counts = state.replicated_blocks
    low, last = limits["low_redundancy"], limits["one_copy_left"]
    severity = max(low.severity(counts.low_redundancy), last.severity(counts.highest_priority), key=lambda s: s.rank)
    summary = f"{plural(counts.low_redundancy, 'block')} under-replicated"
    if severity is Severity.CRITICAL and only_leaving(state, striped=False):
        severity = Severity.WARNING
    if only_leaving(state, striped=False):
        summary += ", all copies being there while DataNodes leave"
    elif counts.highest_priority:
        summary += f", {counts.highest_priority} of them with one copy left"
    findings: tuple[Finding, ...] = ()
    if counts.low_redundancy:
        blames = lost_datanodes(state)
        blocks = [b for b in _degraded(state, striped=False) if b.under_replicated and not b.missing]
        findings = _named(state, blocks, severity, blames)
        if blames:
            summary += f"; look at {listed(blames)}"
    return Verdict(
        summary,
        findings,
        (low.metric(counts.low_redundancy), last.metric(counts.highest_priority)),
        severity=severity,
    )


def _pending(state: HdfsState, limits: Limits) -> Verdict:
    assert state.pending is not None
    rebuild, delete = limits["reconstruction"], limits["deletion"]
    p = state.pending
    severity = max(rebuild.severity(p.reconstruction), delete.severity(p.deletion), key=lambda s: s.rank)
    return Verdict(
        f"{plural(p.reconstruction, 'copy', 'copies')} being made, {plural(p.deletion, 'block')} to be deleted",
        (),
        (rebuild.metric(p.reconstruction), delete.metric(p.deletion)),
        severity=severity,
    )


def _ec_groups(state: HdfsState, limits: Limits) -> Verdict:
    assert state.ec_groups is not None
    counts = state.ec_groups
    parts = (
        limits["missing"].severity(counts.missing),
        limits["low_redundancy"].severity(counts.low_redundancy),
        limits["no_parity_left"].severity(counts.highest_priority),
        limits["corrupt"].severity(counts.corrupt),
    )
    severity = max(parts, key=lambda s: s.rank)
    if severity is Severity.CRITICAL and not counts.missing and only_leaving(state, striped=True):
        severity = Severity.WARNING
    bad = counts.missing or counts.low_redundancy or counts.corrupt
    findings = _named(state, _degraded(state, striped=True), severity, lost_datanodes(state)) if bad else ()
    return Verdict(
        f"erasure-coded groups: {counts.missing} lost, {counts.low_redundancy} with too few units, "
        f"{counts.corrupt} with a corrupt unit",
        findings,
        (
            limits["missing"].metric(counts.missing, "ec_missing"),
            limits["low_redundancy"].metric(counts.low_redundancy, "ec_low_redundancy"),
            limits["no_parity_left"].metric(counts.highest_priority, "ec_no_parity_left"),
            limits["corrupt"].metric(counts.corrupt, "ec_corrupt"),
        ),
        severity=severity,
    )


CHECKS: tuple[Check[HdfsState], ...] = (
    Check(
        code="HDFS_MISSING_BLOCKS",
        meaning="Blocks of which no DataNode has a good copy: these files cannot be read. Either all DataNodes that "
        "hold a copy are down, or every copy is corrupt or gone.",
        remedy="bring back the DataNodes that held them: `bdops hdfs datanodes`, then `bdops hdfs blocks --missing`\n\n"
        "- The copies come back with their DataNode: do *not* delete files before you tried.\n"
        "- Which DataNodes held a block once: `hdfs fsck -blockId blk_N`, and grep the NameNode's log for it.\n"
        "- Really lost: restore from a snapshot or backup; `hdfs fsck PATH -delete` removes what cannot be saved.",
        judge=_missing,
        needs=("replicated_blocks",),
        thresholds=(Threshold("missing", "", None, 1),),
    ),
    Check(
        code="HDFS_CORRUPT_REPLICAS",
        meaning="Blocks of which at least one copy does not match its checksum. Good copies are used and the corrupt "
        "one is replaced; where a block has no good copy HDFS_MISSING_BLOCKS says so too.",
        remedy="see whether one DataNode is behind the copies that are named: `bdops hdfs datanodes -v`\n\n"
        "- It goes away by itself when a new copy could be made; it stays when there is no DataNode left to put it "
        "on.\n"
        "- The same DataNode again and again: check its disk (SMART, dmesg) and its memory.",
        judge=_corrupt,
        needs=("replicated_blocks",),
        thresholds=(Threshold("corrupt", "", 1, None),),
    ),
    Check(
        code="HDFS_UNDER_REPLICATED",
        meaning="Blocks with fewer good copies than their file asks for. With one copy left the next failure loses "
        "data.",
        remedy="`bdops hdfs datanodes` shows who is gone; new copies are made by themselves while there are "
        "DataNodes to take them\n\n"
        "- The count falls: wait. It stays: too few DataNodes or racks for the replication factor, or no room on "
        "them.\n"
        "- `bdops hdfs blocks --under-replicated` lists them; `hdfs fsck / -replicate` queues them once more.",
        judge=_under_replicated,
        needs=("replicated_blocks",),
        thresholds=(Threshold("low_redundancy", "", 1, None), Threshold("one_copy_left", "", None, 1)),
    ),
    Check(
        code="HDFS_EC_GROUPS",
        meaning="Erasure-coded block groups that lost units: with more lost than there are parity units the data "
        "is gone.",
        remedy="bring back DataNodes; `bdops hdfs blocks --under-replicated` lists the groups (striped)\n\n"
        "Units are rebuilt by themselves when as many DataNodes are there as the policy has units.",
        judge=_ec_groups,
        needs=("ec_groups",),
        thresholds=(
            Threshold("missing", "", None, 1),
            Threshold("low_redundancy", "", 1, None),
            Threshold("no_parity_left", "", None, 1),
            Threshold("corrupt", "", 1, None),
        ),
    ),
    Check(
        code="HDFS_PENDING",
        meaning="The NameNode has much copying or deleting before it: after a failure that is the repair at work; "
        "without one, something changes replication factors or deletes a great deal.",
        remedy="see that it falls: `bdops hdfs status`; the repair's speed is dfs.namenode.replication.max-streams",
        judge=_pending,
        needs=("pending",),
        thresholds=(Threshold("reconstruction", "", 10_000, None), Threshold("deletion", "", 1_000_000, None)),
    ),
)
