"""Is every shard where it should be? Cluster status, unassigned shards, shard count and skew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from bdops.components.es.checks.common import instances, missing_nodes
from bdops.components.es.state import EsState, Explanation, Member, Shard
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import listed, plural

DECIDERS = {
    "same_shard": "holds a copy of it already",
    "filter": "an allocation filter forbids it",
    "enable": "allocation is switched off",
    "awareness": "the awareness attributes forbid another copy there",
    "disk_threshold": "its disk is over a watermark",
    "max_retry": "given up after too many failed attempts",
    "data_tier": "not of the tier that the index prefers",
    "node_version": "an older version than the primary's node",
    "replica_after_primary_active": "its primary is not active",
    "throttling": "busy with other recoveries",
    "shards_limit": "a limit of shards per node is reached",
    "restore_in_progress": "the restore of it failed",
    "node_shutdown": "the node is being shut down",
    "store": "the copy on its disk is of no use",
}
"""Elasticsearch's allocation deciders in few words; an unknown one is shown by its own explanation."""

_GONE = ("NODE_LEFT", "NODE_RESTARTING")


def why_not_allocated(explanation: Explanation) -> str:
    """`same_shard: node1, node2 (holds a copy of it already); filter: node3 (...)`."""
    nodes: dict[str, list[str]] = defaultdict(list)
    words: dict[str, str] = {}
    for decision in explanation.decisions:
        nodes[decision.decider].append(decision.node)
        words.setdefault(decision.decider, DECIDERS.get(decision.decider, decision.explanation))
    if not nodes:
        return explanation.summary or explanation.can_allocate
    return "; ".join(f"{decider}: {listed(on)} ({words[decider]})" for decider, on in nodes.items())


def blames(state: EsState, shard: Shard) -> tuple[str, ...]:
    """The instances that explain an unassigned copy: the node that left, or the one on which it failed."""
    lost = shard.unassigned
    if lost is None:
        return ()
    if lost.reason == "ALLOCATION_FAILED":
        return instances(state, (lost.last_node,))
    missing = missing_nodes(state)
    if lost.reason in _GONE:
        # Elasticsearch names a node that left by an id that the inventory does not know.
        return instances(state, (lost.last_node,) if lost.last_node in missing else missing)
    return ()


def _status(state: EsState, limits: Limits) -> Verdict:
    health = state.health
    assert health is not None
    metrics = (
        Metric("active_shards", health.active_shards or 0),
        Metric("unassigned_shards", health.unassigned_shards or 0),
        Metric("relocating_shards", health.relocating_shards or 0),
        Metric("initializing_shards", health.initializing_shards or 0),
    )
    if health.timed_out:
        return Verdict(
            f"not known: the master did not work off its queue in time (last seen {health.status})",
            metrics=metrics,
            severity=Severity.UNKNOWN,
        )
    if health.status == "green":
        return Verdict("green", metrics=metrics)
    severity = Severity.CRITICAL if health.status == "red" else Severity.WARNING
    findings = tuple(_index_findings(state))
    red = [f.object for f in findings if f.severity is Severity.CRITICAL]
    yellow = [f.object for f in findings if f.severity is Severity.WARNING]
    reasons = []
    if red:
        reasons.append(f"{plural(len(red), 'index', 'indices')} without a primary: {listed(red)}")
    if yellow:
        reasons.append(f"{plural(len(yellow), 'index', 'indices')} without all replicas: {listed(yellow)}")
    if not reasons:
        reasons = [f"{health.unassigned_shards} shards unassigned; which ones is not known"]
    return Verdict(f"{health.status}: {'; '.join(reasons)}", findings, metrics, severity)


def _index_findings(state: EsState) -> Iterable[Finding]:
    inactive: dict[str, list[Shard]] = defaultdict(list)
    for shard in state.shards or ():
        if not shard.is_active:
            inactive[shard.index].append(shard)
    for index, shards in sorted(inactive.items(), key=lambda item: (not any(s.primary for s in item[1]), item[0])):
        primaries = sum(s.primary for s in shards)
        missing = [plural(primaries, "primary", "primaries")] if primaries else []
        if len(shards) > primaries:
            missing.append(plural(len(shards) - primaries, "replica"))
        blamed = tuple(dict.fromkeys(name for s in shards for name in blames(state, s)))
        yield Finding(
            index,
            Severity.CRITICAL if primaries else Severity.WARNING,
            f"{' and '.join(missing)} not active ({', '.join(sorted({s.state.lower() for s in shards}))})",
            blamed,
        )


def _unassigned(state: EsState, limits: Limits) -> Verdict:
    assert state.shards is not None
    lost = [s for s in state.shards if s.state == "UNASSIGNED"]
    metrics = (
        limits["unassigned"].metric(len(lost)),
        Metric("unassigned_primaries", sum(s.primary for s in lost)),
    )
    if not lost:
        return Verdict("every shard has a node", metrics=metrics)
    explained = {(e.index, e.shard, e.primary): e for e in state.explanations or ()}
    copies = Counter(s.name for s in lost)
    findings: list[Finding] = []
    rest: dict[tuple[str, bool], list[Shard]] = defaultdict(list)
    for name, shard in {s.name: s for s in lost}.items():
        explanation = explained.get((shard.index, shard.shard, shard.primary))
        if explanation is None:
            rest[_reason(shard), shard.primary].append(shard)
            continue
        times = f"{copies[name]} copies, " if copies[name] > 1 else ""
        findings.append(
            Finding(
                name,
                _severity(shard.primary),
                f"{times}{_reason(shard)}: {why_not_allocated(explanation)}",
                blames(state, shard),
            )
        )
    for (reason, primary), shards in rest.items():
        kind = ("primary", "primaries") if primary else ("replica", "replicas")
        names = f"{reason}, not explained one by one: {listed(s.name for s in shards)}"
        if state.explanations is None:
            names += f" (no explanations: {state.unread.get('explanations', 'absent from the state')})"
        blamed = tuple(dict.fromkeys(name for s in shards for name in blames(state, s)))
        findings.append(Finding(plural(len(shards), *kind), _severity(primary), names, blamed))
    findings.sort(key=lambda f: -f.severity.rank)
    by_reason = Counter(s.unassigned.reason if s.unassigned else "reason not known" for s in lost)
    reasons = ", ".join(f"{n} {reason}" for reason, n in by_reason.most_common())
    return Verdict(
        f"{plural(len(lost), 'shard')} unassigned, {plural(sum(s.primary for s in lost), 'primary', 'primaries')} "
        f"among them: {reasons}",
        tuple(findings),
        metrics,
    )


def _severity(primary: bool) -> Severity:
    return Severity.CRITICAL if primary else Severity.WARNING


def _reason(shard: Shard) -> str:
    lost = shard.unassigned
    if lost is None:
        return "reason not known"
    text = lost.reason + (" (waits for the node to come back)" if lost.delayed else "")
    if lost.reason == "ALLOCATION_FAILED" and lost.details:
        text += f" after {plural(lost.failed_attempts, 'attempt')}: {lost.details[:140]}"
    return text


def _limit(state: EsState, limits: Limits) -> Verdict:
    assert state.shards is not None
    assert state.members is not None
    assert state.settings is not None
    per_node = int(state.settings.value("cluster.max_shards_per_node") or 1000)
    frozen = {m.name for m in state.members if _is_frozen(m)}
    nodes = [m for m in state.members if m.holds_data and m.name not in frozen]
    used = sum(1 for s in state.shards if s.node not in frozen)
    most = per_node * len(nodes)
    percent = 100 * used / most if most else 100.0 if used else 0.0
    severity = limits["used"].severity(percent)
    text = f"{used} of {most} shards ({per_node} for each of {plural(len(nodes), 'data node')}), {percent:.1f} %"
    findings = () if severity is Severity.OK else (Finding("cluster.max_shards_per_node", severity, text),)
    return Verdict(text, findings, (limits["used"].metric(round(percent, 2), "shards_used"), Metric("shards", used)))


def _skew(state: EsState, limits: Limits) -> Verdict:
    assert state.shards is not None
    assert state.members is not None
    counts = Counter(s.node for s in state.shards if s.node is not None)
    attributes = [a for a in _awareness(state).split(",") if a]
    groups: dict[tuple[object, ...], list[Member]] = defaultdict(list)
    for member in state.members:
        if member.holds_data:
            roles = tuple(sorted(r for r in member.roles if r == "data" or r.startswith("data_")))
            groups[(roles, *(member.attributes.get(a) for a in attributes))].append(member)
    findings = []
    worst = 0.0
    for group in groups.values():
        mean = sum(counts[m.name] for m in group) / len(group)
        for member in group:
            count = counts[member.name]
            # A few shards more or less are nothing, however small the mean is.
            if mean == 0 or abs(count - mean) < (limits["shards"].warning or 0):
                continue
            skew = 100 * abs(count - mean) / mean
            worst = max(worst, skew)
            severity = limits["skew"].severity(skew)
            if severity is not Severity.OK:
                text = f"{count} shards, {skew:.0f} % {'over' if count > mean else 'under'} the mean of {mean:.0f}"
                findings.append(Finding(member.name, severity, text, instances(state, (member.name,))))
    metric = limits["skew"].metric(round(worst, 1))
    if findings:
        return Verdict(f"{plural(len(findings), 'node')} out of balance, {worst:.0f} %", tuple(findings), (metric,))
    return Verdict("shards are spread evenly among nodes of a kind", (), (metric,))


def _awareness(state: EsState) -> str:
    return (state.settings and state.settings.value("cluster.routing.allocation.awareness.attributes")) or ""


def _is_frozen(member: Member) -> bool:
    return {r for r in member.roles if r == "data" or r.startswith("data_")} == {"data_frozen"}


CHECKS: tuple[Check[EsState], ...] = (
    Check(
        code="ES_STATUS",
        meaning="The cluster's own colour. Red: at least one primary shard is not active, so a part of an index "
        "can be neither read nor written. Yellow: all data is there, but some replicas are not, so the "
        "next loss may be red. UNKNOWN when the elected master does not work off its queue in time, for "
        "then the colour may be old.",
        remedy="look at which indices, then why: `bdops es shards --unassigned`, `bdops es why INDEX`\n\n"
        "- Nodes down explain most reds: `bdops es nodes`. Start them before anything else; their shards "
        "come back as they are.\n"
        "- Natively: `GET _cluster/health?level=indices`, `GET _cluster/allocation/explain`.\n"
        "- Never use `allocate_empty_primary` before all copies are known to be lost: it deletes what is "
        "left.",
        judge=_status,
        needs=("health",),
    ),
    Check(
        code="ES_UNASSIGNED_SHARDS",
        meaning="Shard copies without a node, each with the rules that keep it off every node, in Elasticsearch's "
        "own judgement (its allocation explanation). Explanations are asked for a limited number of "
        "copies, primaries first; the others are grouped by the reason for which they lost their node.",
        remedy="`bdops es why INDEX` shows the rules node by node\n\n"
        "- `NODE_LEFT`: bring the node back, or wait for `index.unassigned.node_left.delayed_timeout`.\n"
        "- `max_retry`: mend the cause in the details, then `POST _cluster/reroute?retry_failed=true`.\n"
        "- `filter`, `enable`: see ES_ALLOCATION_EXCLUDES and ES_ALLOCATION_SETTINGS.\n"
        "- `disk_threshold`: see ES_DISK.\n"
        "- `same_shard`, `awareness`: more replicas are asked for than there are nodes or racks: lower "
        "`index.number_of_replicas`, or add nodes.",
        judge=_unassigned,
        needs=("shards",),
        thresholds=(Threshold("unassigned", "", 1, None),),
    ),
    Check(
        code="ES_SHARD_LIMIT",
        meaning="How close the cluster is to `cluster.max_shards_per_node` times its data nodes. At the limit no "
        "index can be created, and daily indices stop rolling over.",
        remedy="delete or shrink old indices, or give new ones fewer shards\n\n"
        "- `bdops es shards` lists them with their sizes; shards far below 1 GB are the ones to merge.\n"
        "- Raising `cluster.max_shards_per_node` buys time and costs heap.",
        judge=_limit,
        needs=("shards", "members", "settings"),
        thresholds=(Threshold("used", "%", 80, 95),),
    ),
    Check(
        code="ES_SHARD_SKEW",
        meaning="A node holds many more or fewer shards than the mean of its like: nodes with the same data roles "
        "and the same values of the awareness attributes. Differences below a number of shards do not "
        "count.",
        remedy="look for what keeps shards off or on the node: `bdops es nodes`\n\n"
        "- Excludes (ES_ALLOCATION_EXCLUDES), a full disk (ES_DISK) or rebalancing switched off "
        "(ES_ALLOCATION_SETTINGS) are the usual causes; a node that has just come back fills up by "
        "itself.",
        judge=_skew,
        needs=("shards", "members"),
        thresholds=(Threshold("skew", "%", 50, None), Threshold("shards", "", 10, None)),
    ),
)
