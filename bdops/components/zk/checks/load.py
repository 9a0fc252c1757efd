"""Checks of how hard a server works: latency, queues, file descriptors, the size of the data, watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bdops.components.zk import ensemble
from bdops.components.zk.ensemble import short
from bdops.components.zk.state import Server, ZkState
from bdops.core.checks import Check, Finding, Limits, Severity, Threshold, Verdict, worst
from bdops.core.units import format_size

# Averages of fewer requests than this say more about the start of the JVM than about the server.
ENOUGH_REQUESTS = 100


def _readable(state: ZkState) -> Iterable[Server]:
    """Those that a value is due from: a server that is known to be down is ZK_SERVER_DOWN's alone."""
    return (s for s in ensemble.servers(state) if s.serving is not False)


def _gauge(
    state: ZkState, limit: Threshold, value: Callable[[Server], float | None], show: Callable[[float], str]
) -> Verdict:
    """Judge one value of every server by one limit; the summary and the metric are the worst's."""
    findings: list[Finding] = []
    seen: list[float] = []
    for server in _readable(state):
        number = value(server)
        if number is None:
            why = server.error or f"{limit.name} was not read"
            findings.append(Finding(short(server.name), Severity.UNKNOWN, why, (server.name,)))
            continue
        seen.append(number)
        if (severity := limit.severity(number)) is not Severity.OK:
            findings.append(Finding(short(server.name), severity, show(number), (server.name,)))
    if not seen:
        return Verdict("no server told", tuple(findings), severity=Severity.UNKNOWN)
    return Verdict(f"at most {show(max(seen))}", tuple(findings), (limit.metric(max(seen)),))


def _latency(state: ZkState, limits: Limits) -> Verdict:
    few = [s for s in _readable(state) if s.latency_avg_ms is not None and (s.requests_received or 0) < ENOUGH_REQUESTS]
    findings: list[Finding] = []
    average = p99 = 0.0
    judged = [s for s in _readable(state) if s not in few]
    for s in judged:
        if s.latency_avg_ms is None:
            findings.append(Finding(short(s.name), Severity.UNKNOWN, s.error or "latency was not read", (s.name,)))
            continue
        slowest = max(s.read_latency_p99_ms or 0.0, s.update_latency_p99_ms or 0.0)
        average, p99 = max(average, s.latency_avg_ms), max(p99, slowest)
        severity = worst(
            (limits["latency_avg"].severity(s.latency_avg_ms), limits["latency_p99"].severity(slowest)),
        )
        if severity is not Severity.OK:
            numbers = (
                f"{s.latency_avg_ms:.0f} ms on average, p99 {slowest:.0f} ms, at most {s.latency_max_ms or 0:.0f} ms"
            )
            findings.append(Finding(short(s.name), severity, numbers, (s.name,)))
    summary = f"at most {average:.1f} ms on average, p99 {p99:.0f} ms"
    if few:
        summary += f"; too few requests to judge: {', '.join(short(s.name) for s in few)}"
    if not judged and not few:
        return Verdict("no server told", severity=Severity.UNKNOWN)
    metrics = (limits["latency_avg"].metric(average), limits["latency_p99"].metric(p99))
    return Verdict(summary, tuple(findings), metrics)


def _outstanding(state: ZkState, limits: Limits) -> Verdict:
    return _gauge(
        state, limits["outstanding"], lambda s: s.outstanding_requests, lambda v: f"{v:.0f} outstanding requests"
    )


def _files(state: ZkState, limits: Limits) -> Verdict:
    def used(server: Server) -> float | None:
        if server.open_files is None or not server.max_open_files:
            return None
        return 100 * server.open_files / server.max_open_files

    return _gauge(state, limits["open_files"], used, lambda v: f"{v:.1f} % of the file descriptors in use")


def _data_size(state: ZkState, limits: Limits) -> Verdict:
    size = _gauge(state, limits["data_size"], lambda s: s.data_size_bytes, lambda v: f"{format_size(v)} of data")
    count = _gauge(state, limits["znodes"], lambda s: s.znodes, lambda v: f"{v:.0f} znodes")
    findings = dict.fromkeys((*size.findings, *count.findings))
    severity = worst(v.severity or worst(f.severity for f in v.findings) for v in (size, count))
    summary = ", ".join(dict.fromkeys((size.summary, count.summary)))
    return Verdict(summary, tuple(findings), size.metrics + count.metrics, severity)


def _watches(state: ZkState, limits: Limits) -> Verdict:
    return _gauge(state, limits["watches"], lambda s: s.watches, lambda v: f"{v:.0f} watches")


CHECKS: tuple[Check[ZkState], ...] = (
    Check(
        code="ZK_LATENCY",
        needs=("servers",),
        judge=_latency,
        thresholds=(Threshold("latency_avg", "ms", 100, 500), Threshold("latency_p99", "ms", 1000, 5000)),
        meaning=f"How long a server takes to answer its clients, on average since its start (judged after "
        f"{ENOUGH_REQUESTS} "
        "requests) and the 99th percentile of recent reads and writes. Clients lose sessions when it nears their "
        "timeout.",
        remedy="Look at the disk under dataLogDir first: every write waits for its fsync.\n"
        "- `echo mntr | nc HOST 2181 | grep -E 'fsynctime|jvm_pause'`; the log warns of `fsync-ing the write ahead "
        "log`.\n"
        "- The transaction log wants a device of its own; the heap must not swap.",
    ),
    Check(
        code="ZK_OUTSTANDING_REQUESTS",
        needs=("servers",),
        judge=_outstanding,
        thresholds=(Threshold("outstanding", "", 50, 500),),
        meaning="Requests that a server has taken and not answered yet. At globalOutstandingLimit (1,000) it stops "
        "reading.",
        remedy="See ZK_LATENCY; `echo cons | nc HOST 2181` shows which clients send them.",
    ),
    Check(
        code="ZK_FILE_DESCRIPTORS",
        needs=("servers",),
        judge=_files,
        thresholds=(Threshold("open_files", "%", 80, 90),),
        meaning="Open file descriptors (one for each connection) against the process's limit. At the limit new "
        "clients fail.",
        remedy="Find the client that does not close its connections: `echo cons | nc HOST 2181 | cut -d: -f1 | sort | "
        "uniq -c`.\n"
        "- Or raise LimitNOFILE (systemd) or minfds (supervisord) of the service, and restart it.",
    ),
    Check(
        code="ZK_DATA_SIZE",
        needs=("servers",),
        judge=_data_size,
        thresholds=(
            Threshold("data_size", "bytes", 512 << 20, 2 << 30),
            Threshold("znodes", "", 1_000_000, 5_000_000),
        ),
        meaning="All data is in every server's heap, and a follower that starts copies all of it. Large trees make "
        "restarts "
        "slow and elections fail (initLimit).",
        remedy="Find what grew: `bdops zk tree --depth 2` counts children and bytes by path.\n"
        "- Leftovers of old applications are the usual cause; heap and initLimit must fit what is to stay.",
    ),
    Check(
        code="ZK_WATCHES",
        needs=("servers",),
        judge=_watches,
        thresholds=(Threshold("watches", "", 200_000, 1_000_000),),
        meaning="Watches that clients have set on a server: heap for each, and a burst of messages when a common "
        "parent changes.",
        remedy="`echo wchs | nc HOST 2181` sums them up; `wchc` (slow, by session) finds the client that leaks them.",
    ),
)
