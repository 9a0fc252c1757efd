"""Log directories: online, not full, evenly used."""

from __future__ import annotations

from collections import defaultdict

from bdops.components.kafka.checks.balance import deviation_percent
from bdops.components.kafka.checks.common import instance_names, named, not_of, short, unread_parts
from bdops.components.kafka.state import KafkaState, LogDir
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_size, plural


def size_bytes(log_dir: LogDir) -> int:
    """What all replicas in a directory take, unfinished ones included."""
    return sum(log_dir.replicas.values()) + sum(log_dir.moving_in.values())


def used_percent(log_dir: LogDir) -> float | None:
    """How full the directory's volume is; None when the broker does not say (before Kafka 3.3, KIP-827)."""
    if not log_dir.total_bytes or log_dir.usable_bytes is None:
        return None
    return 100.0 * (log_dir.total_bytes - log_dir.usable_bytes) / log_dir.total_bytes


def _name(log_dir: LogDir, names: dict[int, str]) -> str:
    return f"{short(log_dir.broker, names)}:{log_dir.path}"


def _judge_offline(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    dirs = state.log_dirs or ()
    findings = tuple(
        Finding(_name(d, names), Severity.CRITICAL, f"the broker took it offline: {d.error}", named((d.broker,), names))
        for d in dirs
        if d.error
    )
    # Where not even the directory is listed, its replicas are offline on a broker that is up.
    live = {b.id for b in state.brokers or () if not b.fenced}
    lost: dict[int, int] = defaultdict(int)
    for _, partition in state.partitions():
        for broker in partition.offline:
            if broker in live and not any(d.broker == broker and d.error for d in dirs):
                lost[broker] += 1
    findings += tuple(
        Finding(
            f"broker {short(b, names)}",
            Severity.CRITICAL,
            f"is up, and {plural(n, 'replica')} on it are offline",
            named((b,), names),
        )
        for b, n in sorted(lost.items())
    )
    online = sum(not d.error for d in dirs)
    summary = f"{online} of {plural(len(dirs), 'log directory', 'log directories')} online"
    return Verdict(summary, (*findings, *unread_parts(state, "log_dirs")), (Metric("offline_log_dirs", len(findings)),))


def _judge_use(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    limit = limits["used"]
    findings: list[Finding] = []
    metrics = []
    fullest = 0.0
    for d in state.log_dirs or ():
        used = used_percent(d)
        if d.error:
            continue
        if used is None:
            findings.append(
                Finding(
                    _name(d, names),
                    Severity.UNKNOWN,
                    "the broker does not tell the volume's size",
                    named((d.broker,), names),
                )
            )
            continue
        fullest = max(fullest, used)
        metrics.append(limit.metric(round(used, 1), f"used_{d.broker}_{d.path}"))
        severity = limit.severity(used)
        if severity is not Severity.OK:
            detail = (
                f"{used:.1f} % used, {format_size(d.usable_bytes or 0)} free; {format_size(size_bytes(d))} are Kafka's"
            )
            findings.append(Finding(_name(d, names), severity, detail, named((d.broker,), names)))
    summary = f"the fullest log directory's volume is {fullest:.0f} % used"
    return Verdict(summary, (*findings, *unread_parts(state, "log_dirs")), tuple(metrics))


def _judge_skew(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    by_broker: dict[int, dict[str, int]] = defaultdict(dict)
    for d in state.log_dirs or ():
        if not d.error:
            by_broker[d.broker][d.path] = size_bytes(d)
    limit, floor = limits["skew"], limits["floor"].warning or 0
    findings = []
    totals = {b: sum(paths.values()) for b, paths in by_broker.items()}
    worst = 0.0
    for broker, percent in deviation_percent(totals, floor=floor).items():
        worst = max(worst, abs(percent))
        severity = limit.severity(abs(percent))
        if severity is not Severity.OK:
            mean = format_size(sum(totals.values()) / len(totals))
            detail = f"{format_size(totals[broker])}, {percent:+.0f} % off the mean of {mean}"
            findings.append(Finding(f"broker {short(broker, names)}", severity, detail, named((broker,), names)))
    for broker, paths in by_broker.items():
        for path, percent in deviation_percent(paths, floor=floor).items():
            worst = max(worst, abs(percent))
            severity = limit.severity(abs(percent))
            if severity is not Severity.OK:
                detail = f"{format_size(paths[path])}, {percent:+.0f} % off the mean of this broker's directories"
                findings.append(Finding(f"{short(broker, names)}:{path}", severity, detail, named((broker,), names)))
    summary = f"bytes differ from the mean by up to {worst:.0f} %" if worst else "bytes are spread evenly"
    return Verdict(summary + not_of(state, "log_dirs"), tuple(findings), (limit.metric(round(worst, 1), "disk_skew"),))


CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_LOG_DIR_OFFLINE",
        meaning="A broker met an I/O error in a log directory and took it offline with all its replicas; it goes on "
        "with the others.",
        remedy="Repair or replace the disk, then restart the broker: a directory comes back at a start alone.\n\n"
        "- `bdops kafka log-dirs --offline`; the broker's log has the I/O error, `dmesg` the disk's.\n"
        "- With an emptied disk the replicas are copied anew; see that their other replicas are in sync first "
        "(`bdops kafka partitions --under-replicated`).",
        judge=_judge_offline,
        needs=("log_dirs",),
    ),
    Check(
        code="KAFKA_DISK_USE",
        meaning="The volume of a log directory is nearly full. A full one takes the directory offline, or the broker "
        "with it.",
        remedy="Free space before it is full: shorten retention of the largest topics, or move replicas away.\n\n"
        "- `bdops kafka log-dirs` shows sizes and what is free, `bdops kafka topics --by-size` the largest topics.\n"
        "- `kafka-configs.sh --alter --entity-type topics --entity-name T --add-config retention.bytes=...`\n"
        "- Never delete segment files by hand.",
        judge=_judge_use,
        needs=("log_dirs",),
        thresholds=(Threshold("used", "%", 80, 90),),
    ),
    Check(
        code="KAFKA_DISK_SKEW",
        meaning="Some broker, or one directory of a broker, holds far more bytes than the mean: it fills first.",
        remedy="Move replicas from the full to the empty.\n\n- `bdops kafka log-dirs`",
        judge=_judge_skew,
        needs=("log_dirs",),
        thresholds=(Threshold("skew", "%", 50, None), Threshold("floor", "bytes", 1 << 30, None)),
    ),
)
