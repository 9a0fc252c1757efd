"""What somebody switched off or set and did not put back: allocation, excludes, read-only blocks."""

from __future__ import annotations

from collections import Counter

from bdops.components.es.checks.common import instances
from bdops.components.es.leftovers import ENABLE, FILTERS, cluster_filters, index_excludes, switched_off
from bdops.components.es.state import EsState
from bdops.components.es.watermarks import watermarks
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Verdict
from bdops.core.units import listed, plural


def _allocation(state: EsState, limits: Limits) -> Verdict:
    assert state.settings is not None
    findings: list[Finding] = []
    for left in switched_off(state):
        if left.level == "index":
            findings.append(Finding(left.object, Severity.WARNING, f"{left.name}: {left.value}"))
            continue
        in_force = state.settings.value(left.name)
        text = f"{left.value} ({'elasticsearch.yml' if left.level == 'defaults' else left.level})"
        if in_force != left.value:
            text += f", overruled by {in_force} for now"
        severity = Severity.CRITICAL if left.name == ENABLE and in_force == "none" else Severity.WARNING
        findings.append(Finding(left.name, severity, text))
    if not findings:
        return Verdict("allocation and rebalancing are on", metrics=(Metric("leftover_settings", 0),))
    return Verdict(
        listed((f"{f.object} is {f.detail}" for f in findings), 3),
        tuple(findings),
        (Metric("leftover_settings", len(findings)),),
    )


def _excludes(state: EsState, limits: Limits) -> Verdict:
    findings: list[Finding] = []
    counts = Counter(s.node for s in state.shards or () if s.node)
    for left in cluster_filters(state):
        text = f"{left.value} ({left.level})"
        excludes = left.name.startswith(FILTERS[0])
        if excludes:
            still = sum(counts[n] for n in left.nodes)
            held = f", {plural(still, 'shard')} still there" if state.shards is not None else ""
            text += f": {listed(left.nodes)}{held}" if left.nodes else ": no node in the cluster matches"
        blamed = instances(state, left.nodes) if excludes else ()
        findings.append(Finding(left.name, Severity.WARNING, text, blamed))
    for left in index_excludes(state):
        findings.append(
            Finding(left.object, Severity.WARNING, f"{left.name}: {left.value}", instances(state, left.nodes))
        )
    if not findings:
        return Verdict("no node is excluded from allocation", metrics=(Metric("excludes", 0),))
    return Verdict(
        f"{plural(len(findings), 'allocation filter')} set: "
        + listed((f"{f.object}: {f.detail}" for f in findings), 3),
        tuple(findings),
        (Metric("excludes", len(findings)),),
    )


def _blocks(state: EsState, limits: Limits) -> Verdict:
    assert state.indices is not None
    assert state.settings is not None
    findings: list[Finding] = []
    for name in ("cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"):
        if (state.settings.value(name) or "false").lower() == "true":
            findings.append(Finding(name, Severity.CRITICAL, "the whole cluster refuses changes"))
    full = _flooded(state)
    for index in state.indices:
        if "index.blocks.read_only_allow_delete" in index.blocks:
            holders = {s.node for s in state.shards or () if s.index == index.name}
            guilty = sorted(full & {h for h in holders if h})
            why = f"; over the flood stage: {listed(guilty)}" if guilty else "; no disk is over the flood stage now"
            findings.append(
                Finding(
                    index.name,
                    Severity.CRITICAL,
                    f"index.blocks.read_only_allow_delete: writes are refused{why if state.servers else ''}",
                    instances(state, guilty),
                )
            )
        elif "index.blocks.read_only" in index.blocks:
            findings.append(
                Finding(
                    index.name, Severity.WARNING, "index.blocks.read_only: neither data nor settings can be changed"
                )
            )
    if not findings:
        return Verdict("no index is read-only", metrics=(Metric("read_only", 0),))
    return Verdict(
        f"read-only: {listed(f.object for f in findings)}", tuple(findings), (Metric("read_only", len(findings)),)
    )


def _flooded(state: EsState) -> set[str]:
    assert state.settings is not None
    try:
        marks = watermarks(state.settings)
    except (KeyError, ValueError):
        return set()
    return {s.name for s in state.servers or () for d in s.disks or () if marks.exceeded(d) == "flood_stage"}


CHECKS: tuple[Check[EsState], ...] = (
    Check(
        code="ES_ALLOCATION_SETTINGS",
        meaning="Shard allocation or rebalancing is not fully on: left behind by a restart that was broken off, "
        "or set in elasticsearch.yml. The cluster looks well until the next node goes or the next index "
        "is made; then its shards stay unassigned.",
        remedy="put it back: `bdops doctor --fix`, or `PUT _cluster/settings` with `null` for the named setting\n\n"
        '- `{"persistent": {"cluster.routing.allocation.enable": null}, "transient": '
        '{"cluster.routing.allocation.enable": null}}`\n'
        "- First make sure that no restart or upgrade is under way that needs it.",
        judge=_allocation,
        needs=("settings",),
    ),
    Check(
        code="ES_ALLOCATION_EXCLUDES",
        meaning="Nodes are kept from holding shards by allocation filters of the cluster or of an index, usually "
        "left behind by a decommissioning that was broken off or forgotten.",
        remedy="when no drain is under way, remove the filter: set it to `null` with `PUT _cluster/settings` or "
        "`PUT INDEX/_settings`\n\n"
        "- A node that is being drained on purpose: mute this check for the setting until it is gone.",
        judge=_excludes,
        needs=("settings", "indices"),
    ),
    Check(
        code="ES_READ_ONLY_BLOCK",
        meaning="Indices that refuse writes. Elasticsearch sets `read_only_allow_delete` when a disk passes the "
        "flood stage, and takes it away again, at its next look at the disks, once they are below the "
        "high watermark.",
        remedy="make room first (ES_DISK); a block that stays is removed with `PUT INDEX/_settings "
        '{"index.blocks.read_only_allow_delete": null}`',
        judge=_blocks,
        needs=("indices", "settings"),
    ),
)
