"""Are the nodes there, who is master, and would the masters survive a loss?"""

from __future__ import annotations

from collections import defaultdict

from bdops.components.es.checks.common import instances, missing_nodes
from bdops.components.es.state import EsState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict, worst
from bdops.core.quorum import Quorum
from bdops.core.units import format_duration, listed, plural


def _nodes(state: EsState, limits: Limits) -> Verdict:
    assert state.expected is not None
    assert state.servers is not None
    servers = {s.name: s for s in state.servers}
    missing = set(missing_nodes(state))
    findings: list[Finding] = []
    for node in state.expected:
        server = servers.get(node.name)
        error = server.error if server else None
        if node.name in missing:
            text = f"not in the cluster{f'; {error}' if error else ', although it answers'}"
            findings.append(Finding(node.instance, Severity.CRITICAL, text, (node.instance,)))
        elif error and server:
            still = " (the cluster still counts it as a member)" if state.members is not None else ""
            severity = Severity.CRITICAL if server.error_kind == "unreachable" else Severity.UNKNOWN
            findings.append(Finding(node.instance, severity, f"{error}{still}", (node.instance,)))
        elif state.members is None:
            why = state.unread.get("members", "absent from the state")
            findings.append(Finding(node.instance, Severity.UNKNOWN, f"membership not known: {why}"))
    known = {n.name for n in state.expected}
    for member in state.members or ():
        if member.name not in known:
            text = f"in the cluster, unknown to the inventory ({member.address or 'address not known'})"
            findings.append(Finding(member.name, Severity.WARNING, text))
    metrics = (Metric("nodes", len(state.members or ())), Metric("expected_nodes", len(state.expected)))
    if not findings:
        return Verdict(f"all {plural(len(state.expected), 'node')} of the inventory in the cluster", metrics=metrics)
    bad = [f.object for f in findings if f.severity is Severity.CRITICAL]
    strangers = [m.name for m in state.members or () if m.name not in known]
    parts = []
    if bad:
        parts.append(f"{len(bad)} of {plural(len(state.expected), 'node')} missing or silent: {listed(bad)}")
    if strangers:
        parts.append(f"unknown to the inventory: {listed(strangers)}")
    others = sum(f.severity is Severity.UNKNOWN for f in findings)
    if others:
        parts.append(f"{plural(others, 'node')} not known")
    return Verdict("; ".join(parts), tuple(findings), metrics)


def _master(state: EsState, limits: Limits) -> Verdict:
    assert state.servers is not None
    views: dict[str, list[str]] = defaultdict(list)
    for server in state.servers:
        if server.master is not None:
            views[server.master].append(server.name)
    if not views:
        return Verdict("not known: no node told who its master is", severity=Severity.UNKNOWN)
    findings = [
        Finding(
            instance,
            Severity.CRITICAL,
            "knows no elected master: it has lost the cluster, or there is no majority of masters",
            (instance,),
        )
        for instance in instances(state, views.get("", ()))
    ]
    masters = sorted(m for m in views if m)
    if len(masters) > 1:
        seen = "; ".join(f"{m} (seen by {listed(views[m])})" for m in masters)
        findings.append(
            Finding("elected master", Severity.CRITICAL, f"nodes disagree: {seen}", instances(state, masters))
        )
    silent = {s.name: s for s in state.servers if s.error_kind == "unreachable"}
    for master in masters:
        if master in silent:
            who = silent[master].instance
            findings.append(
                Finding(
                    who, Severity.CRITICAL, f"is the elected master and does not answer: {silent[master].error}", (who,)
                )
            )
    stability = state.stability
    recent = stability.recent_masters if stability else ()
    if stability and stability.status in ("yellow", "red", "unknown"):
        severity = {"yellow": Severity.WARNING, "red": Severity.CRITICAL}.get(stability.status, Severity.UNKNOWN)
        past = f" (recently: {listed(recent)})" if recent else ""
        findings.append(Finding("master stability", severity, stability.symptom + past, instances(state, set(recent))))
    metrics = (Metric("recent_masters", len(recent)),) if stability else ()
    if findings:
        most = worst(f.severity for f in findings)
        return Verdict(
            "; ".join(f"{f.object}: {f.detail}" for f in findings if f.severity is most), tuple(findings), metrics
        )
    (master,) = masters
    return Verdict(f"{master}, agreed on by {plural(len(views[master]), 'node')}", metrics=metrics)


def _quorum(state: EsState, limits: Limits) -> Verdict:
    assert state.coordination is not None
    assert state.members is not None
    voting = state.coordination.voting
    if not voting:
        return Verdict("not known: the voting configuration is empty", severity=Severity.UNKNOWN)
    hung = {s.name for s in state.servers or () if s.error_kind == "unreachable"}
    quorum = Quorum.of(voting, (m.name for m in state.members if m.name not in hung))
    lost = _by_name(state, sorted(quorum.configured - quorum.caught_up))
    metrics = (
        Metric("voters", len(quorum.configured)),
        Metric("voters_up", len(quorum.caught_up)),
        Metric("voters_needed", quorum.needed),
        Metric("voters_spare", quorum.spare),
    )
    blamed = instances(state, lost) or instances(state, missing_nodes(state))
    text = f"{len(quorum.caught_up)} of {plural(len(quorum.configured), 'voter')} up, {quorum.needed} needed"
    findings = []
    if not quorum.has_majority:
        findings.append(Finding("voting configuration", Severity.CRITICAL, f"{text}; lost: {listed(lost)}", blamed))
    elif lost:
        more = "; the next loss stops the cluster" if quorum.spare == 0 else ""
        findings.append(
            Finding("voting configuration", Severity.WARNING, f"{text}; lost: {listed(lost)}{more}", blamed)
        )
    if state.coordination.exclusions:
        names = state.coordination.exclusions
        findings.append(
            Finding("voting exclusions", Severity.WARNING, f"left behind: {listed(names)}", instances(state, names))
        )
    masters = [n for n in state.expected or () if "master" in n.roles]
    outside = [n.name for n in masters if n.name not in quorum.configured and n.name not in missing_nodes(state)]
    # With an even number of masters Elasticsearch leaves one of them out of the configuration on purpose.
    if len(masters) - len(outside) >= 1 and len(outside) > (1 if len(masters) % 2 == 0 else 0) and not lost:
        findings.append(
            Finding(
                "voting configuration",
                Severity.WARNING,
                f"{listed(outside)} master-eligible by the inventory, but without a vote",
                instances(state, outside),
            )
        )
    return Verdict("; ".join(f.detail for f in findings) or text, tuple(findings), metrics)


def _by_name(state: EsState, voters: list[str]) -> list[str]:
    """An id stands for a voter that is not in the cluster: named when it can only be a node that is missing."""
    expected = {n.name: n for n in state.expected or ()}
    ids = [v for v in voters if v not in expected]
    candidates = [
        name
        for name in missing_nodes(state)
        if name not in voters and "master" in (expected[name].roles or ("master",))
    ]
    return sorted({*voters} - {*ids} | {*candidates}) if ids and len(ids) == len(candidates) else voters


def _pending(state: EsState, limits: Limits) -> Verdict:
    assert state.pending_tasks is not None
    tasks = state.pending_tasks
    oldest_s = tasks.oldest[0].waited_ms / 1000 if tasks.oldest else 0.0
    severity = worst((limits["count"].severity(tasks.count), limits["oldest"].severity(oldest_s)))
    metrics = (limits["count"].metric(tasks.count, "pending_tasks"), limits["oldest"].metric(oldest_s, "oldest_task"))
    text = f"{plural(tasks.count, 'pending task')}"
    if tasks.oldest:
        text += f", the oldest for {format_duration(oldest_s)}: {tasks.oldest[0].source[:120]}"
    findings: tuple[Finding, ...] = ()
    if severity is not Severity.OK:
        findings = tuple(
            Finding(
                t.source[:120],
                severity,
                f"{t.priority}, waits for {format_duration(t.waited_ms / 1000)}",
                instances(state, (state.master,)),
            )
            for t in tasks.oldest[:5]
        ) or (Finding("master's queue", severity, text),)
    return Verdict(text, findings, metrics)


CHECKS: tuple[Check[EsState], ...] = (
    Check(
        code="ES_NODES",
        meaning="Every node of the inventory is a member of the cluster and answers for itself, and the cluster "
        "has no node that the inventory does not know. A node that hangs (paused, out of memory, a dead "
        "disk) stays a member for up to half a minute: here it is seen at once, because each node is "
        "asked itself.",
        remedy="look at the node's own log, then start it: `bdops es nodes`\n\n"
        "- `connection refused`: the process is down. `no answer`: it hangs; look at its disk, heap and "
        "stack (`jstack`) before killing it.\n"
        "- Answers but is not in the cluster: it cannot reach the masters (9300), or has another "
        "`cluster.name`.\n"
        "- A stranger: add it to the inventory, or find out who started it.",
        judge=_nodes,
        needs=("expected", "servers"),
    ),
    Check(
        code="ES_MASTER",
        meaning="There is one elected master, every node that answers knows it, it answers itself, and it has not "
        "changed often of late (Elasticsearch's own `master_is_stable`, where the server has it).",
        remedy="ask each node for itself: `GET _cat/master?local=true` on every master-eligible node\n\n"
        "- No master at all: count the master-eligible nodes that are up against ES_MASTER_QUORUM.\n"
        "- Frequent changes: long garbage collections, slow disks or a flaky network on the masters; look "
        "for `master node changed` in the logs.",
        judge=_master,
        needs=("servers",),
    ),
    Check(
        code="ES_MASTER_QUORUM",
        meaning="How many nodes of the voting configuration are up, against the majority that is needed for every "
        "change of the cluster. At zero to spare the loss of one more stops the cluster. Exclusions left "
        "behind by a decommissioning keep a node from voting.",
        remedy="start the lost master-eligible nodes before anything else is taken down\n\n"
        "- `GET _cluster/state/metadata?filter_path=metadata.cluster_coordination` shows the "
        "configuration.\n"
        "- Exclusions that nobody needs: `DELETE "
        "_cluster/voting_config_exclusions?wait_for_removal=false`.",
        judge=_quorum,
        needs=("coordination", "members"),
    ),
    Check(
        code="ES_PENDING_TASKS",
        meaning="Changes of the cluster state wait in the elected master's queue: it is overloaded, or one change "
        "hangs. Index creation, mappings and shard allocation stand still behind it.",
        remedy="see what is in the queue: `GET _cluster/pending_tasks`, and what the master does: `GET "
        "_nodes/MASTER/hot_threads`",
        judge=_pending,
        needs=("pending_tasks",),
        thresholds=(Threshold("count", "", 50, 500), Threshold("oldest", "s", 10, 60)),
    ),
)
