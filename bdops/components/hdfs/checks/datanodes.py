"""Checks of the DataNodes: gone, silent, unknown, leaving, full, uneven."""

from __future__ import annotations

from bdops.components.hdfs.state import DataNodeState, HdfsState, instance_of
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, format_size, plural

LEAVING_WORDS = {
    "decommissioning": "is being decommissioned",
    "decommissioned": "is decommissioned and still runs",
    "entering_maintenance": "is entering maintenance",
    "in_maintenance": "is in maintenance",
}


def _all(state: HdfsState) -> tuple[DataNodeState, ...]:
    return state.datanodes or ()


def _live(state: HdfsState) -> list[DataNodeState]:
    return [d for d in _all(state) if d.live]


def _name(state: HdfsState, datanode: DataNodeState) -> str:
    expected = instance_of(state, datanode)
    return expected.name if expected else datanode.name


def _finding(state: HdfsState, datanode: DataNodeState, severity: Severity, detail: str) -> Finding:
    name = _name(state, datanode)
    return Finding(name, severity, detail, (name,))


def _dead(state: HdfsState, limits: Limits) -> Verdict:
    # A decommissioned one that is stopped was meant to go.
    counted = [d for d in _all(state) if d.live or d.admin_state in ("normal", "decommissioning")]
    dead = [d for d in counted if not d.live]
    share = 100 * len(dead) / len(counted) if counted else 0.0
    severity = max(limits["dead"].severity(len(dead)), limits["dead_share"].severity(share), key=lambda s: s.rank)
    findings = []
    for d in dead:
        age = (
            f"last heard of {format_duration(d.contact_age_s)} ago" if d.contact_age_s is not None else "never heard of"
        )
        findings.append(_finding(state, d, severity, f"dead, {age}" + (f"; {d.probe}" if d.probe else "")))
    return Verdict(
        f"{len(dead)} of {plural(len(counted), 'DataNode')} dead",
        tuple(findings),
        (limits["dead"].metric(len(dead)), limits["dead_share"].metric(round(share, 1))),
        severity=severity,
    )


def _missing(state: HdfsState, limits: Limits) -> Verdict:
    seen = {e.name for d in _all(state) if (e := instance_of(state, d))}
    missing = [e for e in state.expected_of("datanode") if e.name not in seen]
    findings = tuple(
        Finding(e.name, Severity.CRITICAL, "in the inventory, and the NameNode does not know it", (e.name,))
        for e in missing
    )
    return Verdict(f"{plural(len(missing), 'DataNode')} of the inventory unknown to the NameNode", findings)


def _unknown(state: HdfsState, limits: Limits) -> Verdict:
    unknown = [d for d in _live(state) if instance_of(state, d) is None]
    findings = tuple(
        Finding(d.name, Severity.WARNING, f"serves at {d.address}:{d.port}, rack {d.rack}, and is not in the inventory")
        for d in unknown
    )
    return Verdict(f"{plural(len(unknown), 'DataNode')} unknown to the inventory", findings)


def _stale(state: HdfsState, limits: Limits) -> Verdict:
    findings, ages = [], []
    for d in _live(state):
        if d.contact_age_s is None:
            findings.append(_finding(state, d, Severity.UNKNOWN, "when it was last heard of is not known"))
            continue
        ages.append(d.contact_age_s)
        severity = limits["contact_age"].severity(d.contact_age_s)
        if severity is not Severity.OK:
            detail = f"last heard of {format_duration(d.contact_age_s)} ago"
            findings.append(_finding(state, d, severity, detail))
    oldest = max(ages, default=0.0)
    stale = sum(1 for f in findings if f.severity is not Severity.UNKNOWN)
    return Verdict(
        f"{plural(stale, 'stale DataNode')}; oldest heartbeat {format_duration(oldest)} ago",
        tuple(findings),
        (limits["contact_age"].metric(oldest), Metric("stale", stale)),
    )


def _leaving(state: HdfsState, limits: Limits) -> Verdict:
    findings = tuple(
        _finding(state, d, Severity.WARNING, f"{LEAVING_WORDS[d.admin_state]}, with {plural(d.blocks, 'block')}")
        for d in _live(state)
        if d.admin_state != "normal"
    )
    return Verdict(f"{plural(len(findings), 'DataNode')} decommissioned, in maintenance, or on the way", findings)


def _volumes(state: HdfsState, limits: Limits) -> Verdict:
    findings = []
    failed = 0
    for d in _live(state):
        failed += d.failed_volume_count
        findings += [_finding(state, d, Severity.WARNING, f"failed volume {path}") for path in d.failed_volumes]
        unnamed = d.failed_volume_count - len(d.failed_volumes)
        if unnamed > 0:
            findings.append(_finding(state, d, Severity.WARNING, plural(unnamed, "failed volume")))
    return Verdict(plural(failed, "failed volume"), tuple(findings), (Metric("failed_volumes", failed, "", 1),))


def _used_share(capacity_bytes: int, remaining_bytes: int) -> float:
    """Percent of what HDFS may not use any more: its own data and others'."""
    return 100 * (1 - remaining_bytes / capacity_bytes) if capacity_bytes else 0.0


def _capacity(state: HdfsState, limits: Limits) -> Verdict:
    live = [d for d in _live(state) if d.admin_state == "normal"]
    capacity = sum(d.capacity_bytes for d in live)
    remaining = sum(d.remaining_bytes for d in live)
    if not capacity:
        return Verdict("no live DataNode has any capacity", severity=Severity.CRITICAL)
    share = _used_share(capacity, remaining)
    return Verdict(
        f"{share:.0f}% used, {format_size(remaining)} of {format_size(capacity)} left",
        (),
        (limits["used"].metric(round(share, 1)), Metric("remaining", remaining, "bytes")),
        severity=limits["used"].severity(share),
    )


def _full(state: HdfsState, limits: Limits) -> Verdict:
    findings = []
    worst_share = 0.0
    for d in _live(state):
        parts = [(f"volume {v.uuid}", v.capacity_bytes, v.remaining_bytes) for v in d.volumes if not v.failed]
        for what, capacity, remaining in [("all volumes", d.capacity_bytes, d.remaining_bytes), *parts]:
            share = _used_share(capacity, remaining)
            worst_share = max(worst_share, share)
            severity = limits["used"].severity(share)
            if severity is not Severity.OK:
                findings.append(
                    _finding(state, d, severity, f"{what}: {share:.0f}% used, {format_size(remaining)} left")
                )
                if what == "all volumes":
                    break
    return Verdict(
        f"the fullest volume is {worst_share:.0f}% used",
        tuple(findings),
        (limits["used"].metric(round(worst_share, 1)),),
    )


def _skew(state: HdfsState, limits: Limits) -> Verdict:
    live = [d for d in _live(state) if d.admin_state == "normal" and d.capacity_bytes]
    if len(live) < 2:
        return Verdict("fewer than two DataNodes in service")
    shares = {d.name: 100 * d.used_bytes / d.capacity_bytes for d in live}
    average = 100 * sum(d.used_bytes for d in live) / sum(d.capacity_bytes for d in live)
    findings = []
    for d in live:
        off = shares[d.name] - average
        severity = limits["deviation"].severity(abs(off))
        if severity is not Severity.OK:
            detail = f"{shares[d.name]:.0f}% used by HDFS, {off:+.0f} points from the average {average:.0f}%"
            findings.append(_finding(state, d, severity, detail))
    most = max(abs(share - average) for share in shares.values())
    return Verdict(
        f"DataNodes are within {most:.0f} points of the average use",
        tuple(findings),
        (limits["deviation"].metric(round(most, 1)),),
    )


def _block_reports(state: HdfsState, limits: Limits) -> Verdict:
    findings, ages = [], []
    for d in _live(state):
        if d.block_report_age_s is None:
            findings.append(_finding(state, d, Severity.WARNING, "has not sent a block report yet"))
            continue
        ages.append(d.block_report_age_s)
        severity = limits["age"].severity(d.block_report_age_s)
        if severity is not Severity.OK:
            detail = f"last block report {format_duration(d.block_report_age_s)} ago"
            findings.append(_finding(state, d, severity, detail))
    oldest = max(ages, default=0.0)
    return Verdict(
        f"oldest block report {format_duration(oldest)} ago", tuple(findings), (limits["age"].metric(round(oldest)),)
    )


CHECKS: tuple[Check[HdfsState], ...] = (
    Check(
        code="HDFS_DATANODE_DEAD",
        meaning="DataNodes that the NameNode has heard nothing from for so long (10.5 minutes by default) that it "
        "makes "
        "new copies of their blocks. Decommissioned ones that were stopped are not counted.",
        remedy="look at the process and its log on that host, then start it: its blocks count again at once\n\n"
        '- "Connection refused" in the finding: the process is gone. "it runs": look at the network to the NameNode.\n'
        "- Gone for good: remove it from the inventory and from the include file, `hdfs dfsadmin -refreshNodes`.",
        judge=_dead,
        needs=("datanodes",),
        thresholds=(Threshold("dead", "", 1, None), Threshold("dead_share", "%", None, 10)),
    ),
    Check(
        code="HDFS_DATANODE_MISSING",
        meaning="DataNodes of the inventory that the active NameNode does not know at all, neither live nor dead: they "
        "have not registered since it started.",
        remedy="start the DataNode; if it runs, its log says why it was not let in\n\n"
        "- Not in the include file (dfs.hosts), or another cluster's id in its data directories.\n"
        "- Registered under another address: `bdops hdfs datanodes` shows addresses; compare with the inventory.",
        judge=_missing,
        needs=("datanodes", "expected"),
    ),
    Check(
        code="HDFS_DATANODE_UNKNOWN",
        meaning="A live DataNode that the inventory does not know: bdops would not count it in a restart or a plan.",
        remedy="add it to the inventory, or decommission it",
        judge=_unknown,
        needs=("datanodes", "expected"),
    ),
    Check(
        code="HDFS_DATANODE_STALE",
        meaning="Live DataNodes whose last heartbeat is old (dfs.namenode.stale.datanode.interval, 30 s): reads avoid "
        "them, and soon they will be dead.",
        remedy="look at that host: hung disk I/O, long garbage collection, or the network",
        judge=_stale,
        needs=("datanodes",),
        thresholds=(Threshold("contact_age", "s", 30, None),),
    ),
    Check(
        code="HDFS_DATANODE_LEAVING",
        meaning="DataNodes that are decommissioned, in maintenance, or on the way there. Meant for a while; left "
        "behind, it takes capacity away without anyone noticing.",
        remedy="if nobody works on it: take it out of dfs.hosts.exclude, then `hdfs dfsadmin -refreshNodes`\n\n"
        "A decommissioning that never ends: files open for write, or too few DataNodes to take the copies.",
        judge=_leaving,
        needs=("datanodes",),
    ),
    Check(
        code="HDFS_VOLUME_FAILED",
        meaning="Data directories that a DataNode has given up after I/O errors. Their blocks are copied "
        "elsewhere; one "
        "more than dfs.datanode.failed.volumes.tolerated and the DataNode stops.",
        remedy="replace the disk, then restart the DataNode or `hdfs dfsadmin -reconfig datanode HOST:9867 start`",
        judge=_volumes,
        needs=("datanodes",),
    ),
    Check(
        code="HDFS_CAPACITY",
        meaning="The space that is left on all DataNodes in service together. Full DataNodes fail writes, and "
        "nothing can "
        "be repaired when there is no room for copies.",
        remedy="delete or archive data, empty the trash, or add DataNodes; `bdops hdfs datanodes` shows who has room",
        judge=_capacity,
        needs=("datanodes",),
        thresholds=(Threshold("used", "%", 80, 90),),
    ),
    Check(
        code="HDFS_DATANODE_FULL",
        meaning="A DataNode, or one of its volumes, has next to no room: writes go around it, and other programs "
        "on that disk begin to fail.",
        remedy="`hdfs balancer` between DataNodes, `hdfs diskbalancer` between the volumes of one",
        judge=_full,
        needs=("datanodes",),
        thresholds=(Threshold("used", "%", 92, 97),),
    ),
    Check(
        code="HDFS_SKEW",
        meaning="HDFS uses some DataNodes far more than others: the full ones take no more writes, and reads crowd "
        "on them.",
        remedy="run the balancer: `hdfs balancer -threshold 10`",
        judge=_skew,
        needs=("datanodes",),
        thresholds=(Threshold("deviation", "%", 20, None),),
    ),
    Check(
        code="HDFS_BLOCK_REPORT_AGE",
        meaning="A live DataNode has not sent a full block report for long (six hours are usual): what the NameNode "
        "believes of its blocks may be wrong.",
        remedy="`hdfs dfsadmin -triggerBlockReport HOST:9867`, and look at the DataNode's log for refused reports",
        judge=_block_reports,
        needs=("datanodes",),
        # dfs.blockreport.intervalMsec is six hours.
        thresholds=(Threshold("age", "s", 13 * 3600, 25 * 3600),),
    ),
)
