"""What somebody switched off or set and did not put back: allocation, excludes, read-only blocks."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

from bdops.components.es.checks.common import instances, listed
from bdops.components.es.state import EsState, Member
from bdops.components.es.watermarks import watermarks
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Verdict
from bdops.core.units import plural

ENABLE = "cluster.routing.allocation.enable"
REBALANCE = "cluster.routing.rebalance.enable"
FILTERS = tuple(f"cluster.routing.allocation.{kind}." for kind in ("exclude", "include", "require"))
INDEX_ENABLE = ("index.routing.allocation.enable", "index.routing.rebalance.enable")
INDEX_EXCLUDE = "index.routing.allocation.exclude."
_LEVELS = ("transient", "persistent", "defaults")


def _allocation(state: EsState, limits: Limits) -> Verdict:
    assert state.settings is not None
    findings: list[Finding] = []
    for name in (ENABLE, REBALANCE):
        in_force = state.settings.value(name)
        for level in _LEVELS:
            value = getattr(state.settings, level).get(name)
            if value is None or value.lower() == "all":
                continue
            where = "elasticsearch.yml" if level == "defaults" else level
            text = f"{value} ({where})"
            if in_force != value:
                text += f", overruled by {in_force} for now"
            severity = Severity.CRITICAL if name == ENABLE and in_force == "none" else Severity.WARNING
            findings.append(Finding(name, severity, text))
    for index in state.indices or ():
        for name in INDEX_ENABLE:
            value = index.allocation.get(name, "all")
            if value.lower() != "all":
                findings.append(Finding(index.name, Severity.WARNING, f"{name}: {value}"))
    if not findings:
        return Verdict("allocation and rebalancing are on", metrics=(Metric("leftover_settings", 0),))
    return Verdict(
        "; ".join(f"{f.object} is {f.detail}" for f in findings[:3])
        + (f" and {len(findings) - 3} more" if len(findings) > 3 else ""),
        tuple(findings),
        (Metric("leftover_settings", len(findings)),),
    )


def _excludes(state: EsState, limits: Limits) -> Verdict:
    assert state.settings is not None
    findings: list[Finding] = []
    counts = Counter(s.node for s in state.shards or () if s.node)
    for level in ("transient", "persistent"):
        for name, value in getattr(state.settings, level).items():
            prefix = next((f for f in FILTERS if name.startswith(f)), None)
            if prefix is None or not value.strip():
                continue
            nodes = [m.name for m in state.members or () if _matches(m, name.removeprefix(prefix), value)]
            text = f"{value} ({level})"
            if prefix.endswith("exclude."):
                still = sum(counts[n] for n in nodes)
                left = f", {plural(still, 'shard')} still there" if state.shards is not None else ""
                text += f": {listed(nodes)}{left}" if nodes else ": no node in the cluster matches"
            blamed = instances(state, nodes) if prefix.endswith("exclude.") else ()
            findings.append(Finding(name, Severity.WARNING, text, blamed))
    for index in state.indices or ():
        for name, value in index.allocation.items():
            if name.startswith(INDEX_EXCLUDE) and value.strip():
                nodes = [m.name for m in state.members or () if _matches(m, name.removeprefix(INDEX_EXCLUDE), value)]
                findings.append(Finding(index.name, Severity.WARNING, f"{name}: {value}", instances(state, nodes)))
    if not findings:
        return Verdict("no node is excluded from allocation", metrics=(Metric("excludes", 0),))
    return Verdict(
        f"{plural(len(findings), 'allocation filter')} set: "
        + listed((f"{f.object}: {f.detail}" for f in findings), 3),
        tuple(findings),
        (Metric("excludes", len(findings)),),
    )


def _matches(member: Member, attribute: str, value: str) -> bool:
    """Whether one of the comma-separated patterns matches the node. Addresses are compared without their port."""
    address = (member.address or "").rsplit(":", 1)[0].strip("[]")
    actual = {
        "_name": member.name,
        "_id": member.id or "",
        "_ip": address,
        "_host_ip": address,
        "_publish_ip": address,
        "_host": address,
    }.get(attribute, member.attributes.get(attribute, ""))
    return any(actual and fnmatchcase(actual, pattern.strip()) for pattern in value.split(","))


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
        remedy="put it back: `PUT _cluster/settings` with `null` for the named setting at the named level\n\n"
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
