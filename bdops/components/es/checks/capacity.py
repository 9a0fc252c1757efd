"""Is there room? Disk watermarks and heap."""

from __future__ import annotations

from bdops.components.es.checks.common import silent
from bdops.components.es.state import EsState
from bdops.components.es.watermarks import Level, Watermark, watermarks
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_size, listed, plural

_EFFECT: dict[Level, tuple[Severity, str]] = {
    "low": (Severity.WARNING, "no new replicas come here"),
    "high": (Severity.WARNING, "shards are being moved away"),
    "flood_stage": (Severity.CRITICAL, "indices with a shard here are made read-only"),
}


def _disk(state: EsState, limits: Limits) -> Verdict:
    assert state.servers is not None
    assert state.settings is not None
    try:
        marks = watermarks(state.settings)
    except (KeyError, ValueError) as e:
        return Verdict(f"not known: the watermarks cannot be read: {e}", severity=Severity.UNKNOWN)
    frozen = {m.name for m in state.members or () if _only_frozen(m.roles)}
    findings: list[Finding] = []
    metrics: list[Metric] = []
    least = None
    for server in state.servers:
        if not server.disks:
            findings.append(silent(state, server, "its disks are", "disks"))
            continue
        for disk in server.disks:
            used = 100 * (1 - disk.available_bytes / disk.total_bytes) if disk.total_bytes else 100.0
            least = disk.available_bytes if least is None else min(least, disk.available_bytes)
            metrics.append(Metric(f"disk_used {server.name}:{disk.path}", round(used, 1), "%"))
            level = marks.exceeded(disk, frozen=server.name in frozen)
            if level is None or not marks.enabled:
                continue
            mark = marks.frozen if server.name in frozen and marks.frozen else getattr(marks, level)
            severity, effect = _EFFECT[level]
            findings.append(
                Finding(
                    f"{server.name}:{disk.path}",
                    severity,
                    f"over the {level.replace('_', ' ')} watermark: {format_size(disk.available_bytes)} free of "
                    f"{format_size(disk.total_bytes)} ({used:.0f} % used), {_wanted(mark, disk.total_bytes)}: {effect}",
                    (server.instance,),
                )
            )
    if not marks.enabled:
        findings.append(
            Finding("cluster.routing.allocation.disk.threshold_enabled", Severity.WARNING, "false: disks may fill up")
        )
    over = [f.object.partition(":")[0] for f in findings if "watermark:" in f.detail]
    if over:
        summary = f"{plural(len(over), 'data path')} over a watermark, on {listed(dict.fromkeys(over))}"
    elif findings:
        summary = "; ".join(f"{f.object}: {f.detail}" for f in findings)
    else:
        summary = f"every data path below the low watermark ({marks.low.text}); least free {format_size(least or 0)}"
    return Verdict(summary, tuple(findings), tuple(metrics))


def _wanted(mark: Watermark, total_bytes: int) -> str:
    needed = format_size(mark.free_needed_bytes(total_bytes))
    return f"{mark.text} asks for {needed} free" if mark.used_percent is not None else f"{needed} free asked for"


def _only_frozen(roles: tuple[str, ...]) -> bool:
    return {r for r in roles if r == "data" or r.startswith("data_")} == {"data_frozen"}


def _heap(state: EsState, limits: Limits) -> Verdict:
    assert state.servers is not None
    findings: list[Finding] = []
    metrics: list[Metric] = []
    for server in state.servers:
        if server.heap_used_bytes is None or not server.heap_max_bytes:
            findings.append(silent(state, server, "its heap is", "servers"))
            continue
        percent = round(100 * server.heap_used_bytes / server.heap_max_bytes, 1)
        metrics.append(limits["used"].metric(percent, f"heap_used {server.name}"))
        severity = limits["used"].severity(percent)
        if severity is not Severity.OK:
            text = (
                f"{percent:.0f} % of the heap in use ({format_size(server.heap_used_bytes)} of "
                f"{format_size(server.heap_max_bytes)})"
            )
            findings.append(Finding(server.instance, severity, text, (server.instance,)))
    full = [f.object for f in findings if f.severity is not Severity.UNKNOWN]
    if full:
        summary = f"{plural(len(full), 'node')} short of heap: {listed(full)}"
    elif findings:
        summary = f"not known of {listed(f.object for f in findings)}"
    else:
        summary = f"at most {max((m.value for m in metrics), default=0):.0f} % in use"
    return Verdict(summary, tuple(findings), tuple(metrics))


CHECKS: tuple[Check[EsState], ...] = (
    Check(
        code="ES_DISK",
        meaning="Each data path against the cluster's own watermarks, be they shares, free bytes or shares with a "
        "headroom. Over the low one a node gets no new shards, over the high one its shards are moved "
        "away, and over the flood stage every index with a shard there is made read-only.",
        remedy="make room, or add nodes; then see that indices are writable again (ES_READ_ONLY_BLOCK)\n\n"
        "- Delete or move what is old: `bdops es shards` shows sizes and nodes.\n"
        "- Other things on the same volume count too: logs, heap dumps, snapshots.\n"
        "- `GET _cat/allocation?v`, `GET _cluster/settings?include_defaults&filter_path=*.cluster*disk*`.",
        judge=_disk,
        needs=("servers", "settings"),
    ),
    Check(
        code="ES_HEAP",
        meaning="The share of the JVM heap in use. Over 85 % the collector is near its limit; at 95 % the parent "
        "circuit breaker rejects requests, and a node that collects for long drops out of the cluster.",
        remedy="look at what uses it: `GET _nodes/NODE/stats/breaker,indices`\n\n"
        "- Too many shards (ES_SHARD_LIMIT), large aggregations and field data are the usual causes.\n"
        "- One reading may be just before a collection: trust it when it stays.",
        judge=_heap,
        needs=("servers",),
        thresholds=(Threshold("used", "%", 85, 95),),
    ),
)
