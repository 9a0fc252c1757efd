"""Servers: who answers, who is registered, and can the controllers decide?"""

from __future__ import annotations

from bdops.components.kafka.checks.common import instance_names, named, short, shorts
from bdops.components.kafka.state import KafkaState, Voter
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.quorum import Quorum
from bdops.core.units import format_duration, plural
from bdops.errors import Unreachable


def _judge_unreachable(state: KafkaState, limits: Limits) -> Verdict:
    servers = state.servers or ()
    findings = tuple(
        # Who is not let in, or cannot be for want of a file, does not know how the server is.
        Finding(
            s.name,
            Severity.CRITICAL if s.error_code in (None, Unreachable.default_code) else Severity.UNKNOWN,
            s.error,
            (s.name,),
        )
        for s in servers
        if s.error
    )
    good = len(servers) - len(findings)
    return Verdict(f"{good} of {plural(len(servers), 'server')} answer", findings, (Metric("answering", good),))


def _judge_missing(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    registered = {names.get(b.id) for b in state.brokers or ()}
    brokers = [s for s in state.expected or () if "broker" in s.roles]
    findings = tuple(
        Finding(
            s.name,
            Severity.CRITICAL,
            f"broker {s.node_id} is not registered"
            if s.node_id is not None
            else f"no broker advertises {s.address or s.host}:{s.port}; set node_id if it advertises another name",
            (s.name,),
        )
        for s in brokers
        if s.name not in registered
    )
    good = len(brokers) - len(findings)
    return Verdict(
        f"{good} of {plural(len(brokers), 'broker')} of the inventory registered",
        findings,
        (Metric("registered", good),),
    )


def _judge_fenced(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    findings = tuple(
        Finding(
            names.get(b.id, f"broker {b.id}"),
            Severity.CRITICAL if b.id in names else Severity.WARNING,
            "registered and fenced: it leads nothing and counts in no in-sync set",
            named((b.id,), names),
        )
        for b in state.brokers or ()
        if b.fenced
    )
    return Verdict(
        f"{plural(len(findings), 'broker')} fenced" if findings else "no broker is fenced",
        findings,
        (Metric("fenced", len(findings)),),
    )


def _judge_unknown(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    findings = tuple(
        Finding(
            f"broker {b.id}",
            Severity.WARNING,
            f"registered at {b.host}:{b.port}, rack {b.rack or 'none'}, and not in the inventory",
            (f"broker {b.id}",),
        )
        for b in state.brokers or ()
        if b.id not in names
    )
    summary = (
        f"{plural(len(findings), 'broker')} unknown to the inventory"
        if findings
        else "the inventory knows every broker"
    )
    return Verdict(summary, findings)


def caught_up(voter: Voter, limit_ms: float) -> bool:
    """Whether a voter is so close behind the leader that it counts for a majority."""
    if voter.lag_ms is not None:
        return voter.lag_ms < limit_ms
    return voter.lag is not None and voter.lag == 0


def _judge_quorum(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    assert state.quorum is not None
    if state.quorum.leader_id is None:
        blamed = tuple(s.name for s in state.servers or () if s.error)
        return Verdict(
            "no controller leads the metadata quorum: nothing can be changed and no leader elected",
            (Finding("metadata quorum", Severity.CRITICAL, "the controllers answer and none of them leads", blamed),),
        )
    voters = state.quorum.voters
    if not voters:
        return Verdict("the state names no voters", severity=Severity.UNKNOWN)
    limit = limits["behind"]
    late = [v for v in voters if not caught_up(v, limit.critical or float("inf"))]
    quorum = Quorum.of((str(v.id) for v in voters), (str(v.id) for v in voters if v not in late))
    severity = Severity.CRITICAL if not quorum.has_majority else Severity.WARNING
    findings = [
        Finding(
            f"voter {short(v.id, names)}",
            severity,
            f"{format_duration(v.lag_ms / 1000)} behind" if v.lag_ms is not None else "not seen by the leader",
            named((v.id,), names),
        )
        for v in late
    ]
    findings += _strangers(state, names)
    summary = (
        f"{len(quorum.caught_up)} of {plural(len(voters), 'voter')} caught up, {quorum.needed} needed; "
        f"leader {short(state.quorum.leader_id, names)}"
    )
    metrics = (
        Metric("voters", len(voters)),
        Metric("voters_caught_up", len(quorum.caught_up)),
        Metric("spare", quorum.spare),
    )
    return Verdict(summary, tuple(findings), metrics)


def _strangers(state: KafkaState, names: dict[int, str]) -> list[Finding]:
    """Voters that the inventory does not have as controllers, and the other way round, where numbers are known."""
    assert state.quorum is not None
    controllers = {s.node_id: s.name for s in state.expected or () if "controller" in s.roles and s.node_id is not None}
    if not controllers:
        return []
    ids = {v.id for v in state.quorum.voters}
    return [
        *(
            Finding(f"voter {short(i, names)}", Severity.WARNING, "votes, and is no controller in the inventory")
            for i in sorted(ids - controllers.keys())
        ),
        *(
            Finding(controllers[i], Severity.WARNING, f"controller {i} of the inventory has no vote", (controllers[i],))
            for i in sorted(controllers.keys() - ids)
        ),
    ]


def _judge_voter_lag(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    assert state.quorum is not None
    if state.quorum.leader_id is None:
        return Verdict("not known: no leader to be behind of (KAFKA_QUORUM)", severity=Severity.UNKNOWN)
    limit = limits["lag"]
    findings: list[Finding] = []
    late: list[int] = []
    metrics = []
    for voter in (*state.quorum.voters, *state.quorum.observers):
        votes = voter in state.quorum.voters
        if voter.id == state.quorum.leader_id:
            continue
        what = f"{'voter' if votes else 'observer'} {short(voter.id, names)}"
        if voter.lag_ms is None:
            if votes:
                late.append(voter.id)
                findings.append(
                    Finding(what, Severity.UNKNOWN, "the leader has not heard of it", named((voter.id,), names))
                )
            continue
        severity = limit.severity(voter.lag_ms)
        if not votes and severity is Severity.CRITICAL:
            severity = Severity.WARNING
        metrics.append(limit.metric(voter.lag_ms, f"lag_{voter.id}"))
        if severity is not Severity.OK:
            late.append(voter.id)
            lag = f", {plural(voter.lag, 'record')}" if voter.lag is not None else ""
            findings.append(
                Finding(
                    what, severity, f"{format_duration(voter.lag_ms / 1000)} behind{lag}", named((voter.id,), names)
                )
            )
    summary = f"behind the metadata log: {shorts(late, names)}" if late else "all follow the metadata log closely"
    return Verdict(summary, tuple(findings), tuple(metrics))


CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_SERVER_UNREACHABLE",
        meaning="A server of the inventory does not answer on its own listener: it is down, paused, hung, behind a "
        "firewall, "
        "or it will not have us (TLS, SASL). Other servers may still think that it is well.",
        remedy="Look at the process on that host: does it run, and what does its log say last?\n\n"
        "- `bdops check HOST_SERVICE` and the service manager tell whether the process is there; `kill -CONT PID` "
        "wakes a stopped one.\n"
        "- Several at once: a network, a rack, or a wrong `port` or `security` in the inventory (the message says "
        "which).",
        judge=_judge_unreachable,
        needs=("servers",),
    ),
    Check(
        code="KAFKA_BROKER_MISSING",
        meaning="A broker of the inventory is not registered with the controllers: it has never come up, or was "
        "unregistered.",
        remedy="Start it, and read its log for why it does not register.\n\n"
        "- A wrong `cluster.id` or an unformatted log directory stops it: `kafka-storage.sh info -c "
        "server.properties`.\n"
        "- Is `node_id` in the inventory the broker's `node.id`?",
        judge=_judge_missing,
        needs=("brokers", "expected"),
    ),
    Check(
        code="KAFKA_BROKER_FENCED",
        meaning="The controllers have fenced a broker: its heartbeats stopped for broker.session.timeout.ms, or it "
        "is still "
        "catching up after its start. It stays listed for ever, so a list of brokers does not show this.",
        remedy="Start or wake that broker; it is unfenced when it has caught up with the metadata log.\n\n"
        "- Just started, with many partitions after a crash? It recovers its logs first: leave it alone, its log "
        "says how far it is.\n"
        "- Gone for good: move its replicas away, then `kafka-cluster.sh unregister --id N`.",
        judge=_judge_fenced,
        needs=("brokers",),
    ),
    Check(
        code="KAFKA_BROKER_UNKNOWN",
        meaning="A broker is registered that the inventory does not have: nobody restarts, watches or backs it up "
        "from here.",
        remedy="Add it to the inventory, or drain and unregister it.\n\n"
        "- `bdops kafka status` shows its address and rack.",
        judge=_judge_unknown,
        needs=("brokers", "expected"),
    ),
    Check(
        code="KAFKA_QUORUM",
        meaning="The controllers' Raft quorum: without a leader and a majority of caught-up voters, no leader is "
        "elected, no topic "
        "made, no configuration changed, and clients live on what they knew.",
        remedy="Bring controllers back until a majority of the configured voters runs; restart none of those that "
        "do.\n\n"
        "- `bdops kafka status` shows the voters and their lag; natively `kafka-metadata-quorum.sh describe "
        "--replication`.\n"
        "- With no leader, look at the controllers' logs for elections that fail (disk full, wrong "
        "`controller.quorum` addresses).",
        judge=_judge_quorum,
        needs=("quorum",),
        thresholds=(Threshold("behind", "ms", None, 5000),),
    ),
    Check(
        code="KAFKA_VOTER_LAG",
        meaning="A controller or broker is behind in the metadata log: it acts on an old picture, and as a voter it "
        "does not count "
        "for a majority.",
        remedy="Look at that server: paused, overloaded, or a slow disk under its metadata log.\n\n"
        "- `bdops kafka status`; natively `kafka-metadata-quorum.sh describe --replication`.",
        judge=_judge_voter_lag,
        needs=("quorum",),
        thresholds=(Threshold("lag", "ms", 5000, 30000),),
    ),
)
