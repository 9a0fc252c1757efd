"""Checks of the NameNodes and their failover controllers."""

from __future__ import annotations

from bdops.components.hdfs.state import HdfsState, NameNodeState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, format_size, plural


def _nodes(state: HdfsState) -> tuple[NameNodeState, ...]:
    return state.namenodes or ()


def _active(state: HdfsState) -> list[NameNodeState]:
    return [n for n in _nodes(state) if n.state == "active"]


def _unknown(node: NameNodeState, what: str) -> Finding:
    reason = node.error or node.http_error or "absent from the state"
    return Finding(node.instance, Severity.UNKNOWN, f"{what} is not known: {reason}", (node.instance,))


def _namenode_down(state: HdfsState, limits: Limits) -> Verdict:
    nodes = _nodes(state)
    down = [Finding(n.instance, Severity.CRITICAL, n.error, (n.instance,)) for n in nodes if n.error]
    starting = [
        Finding(n.instance, Severity.WARNING, "it is still starting", (n.instance,))
        for n in nodes
        if n.state == "initializing"
    ]
    if not nodes:
        return Verdict("the inventory has no NameNode", severity=Severity.UNKNOWN)
    up = sum(1 for n in nodes if n.state)
    return Verdict(
        f"{up} of {plural(len(nodes), 'NameNode')} answer",
        (*down, *starting),
        (Metric("namenodes_up", up), Metric("namenodes", len(nodes))),
    )


def _one_active(state: HdfsState, limits: Limits) -> Verdict:
    nodes, active = _nodes(state), _active(state)
    metrics = (Metric("active", len(active)),)
    if len(active) == 1:
        return Verdict(f"{active[0].instance} is active", (), metrics)
    said = ", ".join(f"{n.instance} is {n.state or 'unreachable'}" for n in nodes) or "the inventory has none"
    if active:
        findings = tuple(
            Finding(n.instance, Severity.CRITICAL, "says that it is active, as another does", (n.instance,))
            for n in active
        )
        return Verdict(f"{len(active)} NameNodes say that they are active: {said}", findings, metrics)
    findings = tuple(
        Finding(n.instance, Severity.CRITICAL, n.state or n.error or "unknown", (n.instance,))
        for n in nodes
        if n.state != "observer"
    )
    return Verdict(f"no NameNode is active: {said}", findings, metrics, severity=Severity.CRITICAL)


def _safe_mode(state: HdfsState, limits: Limits) -> Verdict:
    findings = []
    answering = [n for n in _nodes(state) if not n.error]  # of the others HDFS_NAMENODE_DOWN speaks
    for n in answering:
        if n.safe_mode:
            severity = Severity.CRITICAL if n.state == "active" else Severity.WARNING
            reason = (n.safe_mode_reason or "no reason given").strip().rstrip(".")
            findings.append(Finding(n.instance, severity, f"{n.state}, in safe mode: {reason}", (n.instance,)))
        elif n.safe_mode is None:
            findings.append(_unknown(n, "whether it is in safe mode"))
    if not answering:
        return Verdict("no NameNode answers", severity=Severity.UNKNOWN)
    held = sum(1 for n in answering if n.safe_mode)
    return Verdict(f"{plural(held, 'NameNode')} in safe mode", tuple(findings), (Metric("in_safe_mode", held),))


def _standby_lag(state: HdfsState, limits: Limits) -> Verdict:
    standbys = [n for n in _nodes(state) if n.state in ("standby", "observer")]
    written = max((n.last_txid for n in _active(state) if n.last_txid is not None), default=None)
    findings, lags = [], []
    for n in standbys:
        if not n.safe_mode and n.ready is False:
            reason = n.not_ready_reason or "it does not say why"
            findings.append(Finding(n.instance, Severity.WARNING, f"could not take over: {reason}", (n.instance,)))
        if n.last_txid is None:
            findings.append(_unknown(n, "its last transaction"))
        elif written is not None:
            lag = max(0, written - n.last_txid)
            lags.append(lag)
            severity = limits["transactions"].severity(lag)
            if severity is not Severity.OK:
                detail = f"{plural(lag, 'transaction')} behind the active NameNode"
                findings.append(Finding(n.instance, severity, detail, (n.instance,)))
    if not standbys:
        return Verdict("no standby answers")
    if written is None:
        why = "no NameNode is active" if not _active(state) else "the active NameNode's last transaction is not known"
        return Verdict(f"not known: {why}", tuple(findings), severity=Severity.UNKNOWN)
    worst_lag = max(lags, default=0)
    metrics = (limits["transactions"].metric(worst_lag),)
    return Verdict(f"the standby is {plural(worst_lag, 'transaction')} behind", tuple(findings), metrics)


def _checkpoint(state: HdfsState, limits: Limits) -> Verdict:
    threshold = limits["age"]
    nodes = _active(state) or [n for n in _nodes(state) if n.state]
    known = [n for n in nodes if n.checkpoint_at]
    if not known:
        return Verdict(
            "the age of the newest checkpoint is not known",
            tuple(_unknown(n, "it") for n in _nodes(state)),
            severity=Severity.UNKNOWN,
        )
    newest = max(known, key=lambda n: n.checkpoint_at or state.taken_at)
    assert newest.checkpoint_at is not None
    age_s = max(0.0, (state.taken_at - newest.checkpoint_at).total_seconds())
    behind = None
    if newest.last_txid is not None and newest.checkpoint_txid is not None:
        behind = max(0, newest.last_txid - newest.checkpoint_txid)
    severity = threshold.severity(age_s)
    detail = f"newest checkpoint {format_duration(age_s)} old"
    if behind is not None:
        detail += f", {plural(behind, 'transaction')} since"
    # The standby makes checkpoints: while it is down the active's image grows old.
    blames = tuple(n.instance for n in _nodes(state) if n.state != "active") or (newest.instance,)
    findings = () if severity is Severity.OK else (Finding(newest.instance, severity, detail, blames),)
    metrics = [threshold.metric(age_s, "checkpoint_age")]
    if behind is not None:
        metrics.append(Metric("transactions_since_checkpoint", behind))
    return Verdict(detail, findings, tuple(metrics))


def _heap(state: HdfsState, limits: Limits) -> Verdict:
    findings, metrics, shares = [], [], []
    for n in _nodes(state):
        if n.error:
            continue  # HDFS_NAMENODE_DOWN says so
        if n.heap_used_bytes is None or not n.heap_max_bytes:
            findings.append(_unknown(n, "its heap"))
            continue
        share = 100 * n.heap_used_bytes / n.heap_max_bytes
        shares.append(share)
        metrics.append(limits["used"].metric(round(share, 1), f"heap_used_{n.instance.split('/')[2]}"))
        severity = limits["used"].severity(share)
        if severity is not Severity.OK:
            detail = f"{share:.0f}% of {format_size(n.heap_max_bytes)} heap in use"
            findings.append(Finding(n.instance, severity, detail, (n.instance,)))
    if not shares and not findings:
        return Verdict("no NameNode answers", severity=Severity.UNKNOWN)
    return Verdict(f"heap in use: {max(shares, default=0):.0f}% at most", tuple(findings), tuple(metrics))


def _name_dirs(state: HdfsState, limits: Limits) -> Verdict:
    findings = []
    for n in _nodes(state):
        if n.error:
            continue  # HDFS_NAMENODE_DOWN says so
        if n.failed_name_dirs is None:
            findings.append(_unknown(n, "the state of its name directories"))
        findings += [
            Finding(f"{n.instance} {path}", Severity.CRITICAL, "given up for image and edits", (n.instance,))
            for path in n.failed_name_dirs or ()
        ]
    failed = sum(len(n.failed_name_dirs or ()) for n in _nodes(state))
    return Verdict(f"{plural(failed, 'failed name directory', 'failed name directories')}", tuple(findings))


def _zkfc(state: HdfsState, limits: Limits) -> Verdict:
    controllers = state.zkfcs or ()
    down = [z for z in controllers if z.error]
    severity = Severity.CRITICAL if len(down) == len(controllers) else Severity.WARNING
    findings = tuple(Finding(z.instance, severity, z.error or "", (z.instance,)) for z in down)
    if not controllers:
        return Verdict("no failover controllers in the inventory")
    return Verdict(
        f"{len(controllers) - len(down)} of {plural(len(controllers), 'failover controller')} answer", findings
    )


CHECKS: tuple[Check[HdfsState], ...] = (
    Check(
        code="HDFS_ACTIVE_NAMENODE",
        meaning="Exactly one NameNode of the nameservice is active. With none nothing can be read or written; "
        "with two (split brain) each may acknowledge writes that the other does not know.",
        remedy="look at the failover controllers and ZooKeeper: `bdops zk status`, then `bdops hdfs status`\n\n"
        "- None active, ZKFCs running: read their logs; ZooKeeper must have a quorum, and fencing must succeed.\n"
        "- None active, ZKFCs down: start them (they elect); without automatic failover `hdfs haadmin "
        "-transitionToActive nn1`.\n"
        "- A NameNode in safe mode or still loading its image cannot become active: wait for it.\n"
        "- Two active: stop the one that writes nothing (`hdfs status` shows the last transaction), find out why "
        "fencing failed.",
        judge=_one_active,
        needs=("namenodes",),
    ),
    Check(
        code="HDFS_NAMENODE_DOWN",
        meaning="A NameNode of the inventory does not answer RPC. With the other active the service goes on, but "
        "the next failure stops HDFS, and no checkpoints are made while the standby is down.",
        remedy="look at the process and its log on that host, then start it\n\n"
        "- It hangs (no answer in time, the process is there): `jstack PID`; long GC pauses show in "
        "HDFS_NAMENODE_HEAP.\n"
        "- It exited: the log's last FATAL line says why; often a quorum of JournalNodes was lost "
        "(HDFS_JOURNAL_QUORUM).\n"
        "- A connection that is refused on a running process: check rpc_port in the inventory against "
        "`dfs.namenode.rpc-address`.",
        judge=_namenode_down,
        needs=("namenodes",),
    ),
    Check(
        code="HDFS_SAFE_MODE",
        meaning="A NameNode is in safe mode: it serves reads, refuses writes and copies no blocks. The active one in "
        "safe mode is an outage for writers; a standby in safe mode cannot take over.",
        remedy="find out why before you leave it: the reason is in the finding\n\n"
        "- Turned on by hand: ask who did; then `hdfs dfsadmin -safemode leave`.\n"
        '- "reported blocks ... needs additional": DataNodes are missing (HDFS_DATANODE_MISSING, '
        "HDFS_DATANODE_DEAD); start them.\n"
        '- "resources are low": the disk of the name directories is full; make room, then leave.',
        judge=_safe_mode,
        needs=("namenodes",),
    ),
    Check(
        code="HDFS_STANDBY_LAG",
        meaning="The standby NameNode could not take over now, or has that many transactions left to apply first. "
        "It reads finished edit log segments, so some lag (a roll period, two minutes) is normal.",
        remedy="look at the standby's log for failures to tail edits\n\n"
        "- It cannot read from the JournalNodes: HDFS_JOURNAL_QUORUM.\n"
        "- A gap in the edits: `hdfs namenode -bootstrapStandby` on the standby, with its process stopped.",
        judge=_standby_lag,
        needs=("namenodes",),
        thresholds=(Threshold("transactions", "", 1_000_000, 10_000_000),),
    ),
    Check(
        code="HDFS_ZKFC_DOWN",
        meaning="A failover controller does not answer. Its NameNode is no longer watched: if it is active and its "
        "controller's ZooKeeper session ends, the other takes over; if the other's is down too, nobody does.",
        remedy="start the zkfc on that host and read its log\n\n"
        "- It loses its ZooKeeper session again and again: `bdops zk check`.\n"
        "- Its znode was never made: `hdfs zkfc -formatZK` (once, with both controllers stopped).",
        judge=_zkfc,
        needs=("zkfcs",),
    ),
    Check(
        code="HDFS_CHECKPOINT_AGE",
        meaning="The newest checkpoint of the namespace is old. The edits since then must all be replayed when a "
        "NameNode starts, which can take hours, and they fill the JournalNodes' disks.",
        remedy="see that the standby runs and is in sync: it makes the checkpoints\n\n"
        "- Its log names the reason when an upload fails (disk full, HTTP between the NameNodes).\n"
        "- At once, with writes stopped: `hdfs dfsadmin -safemode enter`, `-saveNamespace`, `-safemode leave`.",
        judge=_checkpoint,
        needs=("namenodes",),
        # dfs.namenode.checkpoint.period is an hour.
        thresholds=(Threshold("age", "s", 3 * 3600, 12 * 3600),),
    ),
    Check(
        code="HDFS_NAMENODE_HEAP",
        meaning="A NameNode uses nearly all of its heap. Every file and block is an object there; long pauses for "
        "garbage collection make it seem dead, and at the end it is.",
        remedy="give it a larger heap (about 1 GB for a million blocks), or remove small files\n\n"
        "One high reading may be garbage that is about to be collected: look again, and at the GC log.",
        judge=_heap,
        needs=("namenodes",),
        thresholds=(Threshold("used", "%", 90, 97),),
    ),
    Check(
        code="HDFS_NAME_DIR_FAILED",
        meaning="A NameNode has given up a directory for its image and edits after an I/O error. The others carry on "
        "until the last one fails, and the NameNode with it.",
        remedy="repair the disk, then `hdfs dfsadmin -restoreFailedStorage true` and `-saveNamespace`",
        judge=_name_dirs,
        needs=("namenodes",),
    ),
)
