"""Partitions: are they replicated, led and writable?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bdops.components.kafka.checks.common import (
    adding_replicas,
    down_brokers,
    instance_names,
    min_isr,
    name_of,
    named,
    shorts,
)
from bdops.components.kafka.state import KafkaState, Partition, Topic
from bdops.core.checks import Check, Finding, Limits, Severity, Threshold, Verdict, worst
from bdops.core.units import plural


def _count(state: KafkaState) -> int:
    return sum(len(t.partitions) for t in state.topics or ())


def under_replicated(state: KafkaState) -> Iterator[tuple[Topic, Partition, tuple[int, ...]]]:
    """Partitions with fewer replicas in sync than they should have, and which are missing.

    Replicas that a reassignment is still adding are not missing yet (as kafka-topics.sh counts since KIP-455).
    """
    adding = adding_replicas(state)
    for topic, partition in state.partitions():
        new = adding.get(name_of(topic, partition), frozenset())
        if len(partition.isr) < len(partition.replicas) - len(new):
            yield topic, partition, tuple(b for b in partition.replicas if b not in partition.isr and b not in new)


def leaderless(state: KafkaState) -> Iterator[tuple[Topic, Partition]]:
    """Partitions without a leader: nobody can read or write them."""
    return ((t, p) for t, p in state.partitions() if p.leader is None)


def _if_current(judge: Callable[[KafkaState, Limits], Verdict]) -> Callable[[KafkaState, Limits], Verdict]:
    """Without an active controller brokers repeat what they last heard: good news is then no news."""

    def judged(state: KafkaState, limits: Limits) -> Verdict:
        verdict = judge(state, limits)
        if state.quorum is None or state.quorum.leader_id is not None:
            return verdict
        known = verdict.severity or worst(f.severity for f in verdict.findings)
        return replace(
            verdict,
            summary=f"no controller is active; as last known: {verdict.summary}",
            severity=worst((Severity.UNKNOWN, known)),
        )

    return judged


def _judge_under_replicated(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    found = list(under_replicated(state))
    severity = limits["partitions"].severity(len(found))
    findings = tuple(
        Finding(
            name_of(t, p),
            severity,
            f"{len(p.isr)} of {len(p.replicas)} replicas in sync; missing: {shorts(missing, names)}",
            named(missing, names),
        )
        for t, p, missing in found
    )
    total = _count(state)
    return Verdict(
        f"{len(found)} of {plural(total, 'partition')} under-replicated"
        if found
        else f"{plural(total, 'partition')} in sync",
        findings,
        (limits["partitions"].metric(len(found), "under_replicated"),),
    )


def _judge_offline(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    down = down_brokers(state)
    findings = []
    for topic, partition in leaderless(state):
        culprits = tuple(b for b in partition.replicas if b in down or b in partition.offline) or partition.replicas
        findings.append(
            Finding(
                name_of(topic, partition),
                Severity.CRITICAL,
                f"no leader; its replicas are on {shorts(partition.replicas, names)}"
                + (f", down: {shorts(culprits, names)}" if culprits != partition.replicas or down else ""),
                named(culprits, names),
            )
        )
    total = _count(state)
    return Verdict(
        f"{len(findings)} of {plural(total, 'partition')} without a leader"
        if findings
        else f"{plural(total, 'partition')} led",
        tuple(findings),
        (limits["partitions"].metric(len(findings), "offline"),),
    )


def _by_min_isr(
    state: KafkaState, bad: Callable[[int, int, int], bool], severity: Severity, words: str
) -> tuple[list[Finding], list[str]]:
    """Findings of the led partitions for which bad(in sync, minimum, replicas), and topics of unknown minimum."""
    names = instance_names(state)
    findings: list[Finding] = []
    unknown: list[str] = []
    for topic in state.topics or ():
        minimum = min_isr(state, topic.name)
        if minimum is None:
            unknown.append(topic.name)
            continue
        for p in topic.partitions:
            if p.leader is None or not bad(len(p.isr), minimum, len(p.replicas)):
                continue
            missing = tuple(b for b in p.replicas if b not in p.isr)
            detail = f"{len(p.isr)} in sync, min.insync.replicas {minimum}, {len(p.replicas)} replicas: {words}"
            findings.append(Finding(name_of(topic, p), severity, detail, named(missing, names)))
    findings += [Finding(t, Severity.UNKNOWN, "its min.insync.replicas is not in the state") for t in unknown]
    return findings, unknown


def _judge_under_min_isr(state: KafkaState, limits: Limits) -> Verdict:
    findings, unknown = _by_min_isr(
        state, lambda isr, minimum, _: isr < minimum, Severity.CRITICAL, "writes with acks=all are refused"
    )
    bad = len(findings) - len(unknown)
    summary = f"{plural(bad, 'partition')} under min.insync.replicas" if bad else "every partition takes writes"
    return Verdict(summary, tuple(findings), (limits["partitions"].metric(bad, "under_min_isr"),))


def _judge_at_min_isr(state: KafkaState, limits: Limits) -> Verdict:
    findings, unknown = _by_min_isr(
        state,
        # A partition with as many replicas as the minimum is always at it: that is KAFKA_RF_LOW's matter.
        lambda isr, minimum, replicas: isr == minimum and isr < replicas,
        Severity.WARNING,
        "one more loss stops writes",
    )
    bad = len(findings) - len(unknown)
    summary = f"{plural(bad, 'partition')} at min.insync.replicas" if bad else "every partition has replicas to spare"
    return Verdict(summary, tuple(findings), (limits["partitions"].metric(bad, "at_min_isr"),))


CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_OFFLINE_PARTITIONS",
        meaning="A partition has no leader: it can be neither read nor written. All replicas that are allowed to "
        "lead are "
        "down, or their log directories are offline.",
        remedy="Start the brokers that are named; the last one that was in sync can lead again without loss.\n\n"
        "- `bdops kafka partitions --offline` lists them, `bdops kafka check` names the brokers that they share.\n"
        "- Is the broker down (KAFKA_SERVER_UNREACHABLE), or is its log directory offline (KAFKA_LOG_DIR_OFFLINE)?\n"
        "- Only when those replicas are lost for good: `kafka-leader-election.sh --election-type unclean --topic T "
        "--partition N` elects one that lags. What it had not copied is lost.",
        judge=_if_current(_judge_offline),
        needs=("topics",),
        thresholds=(Threshold("partitions", "", None, 1),),
    ),
    Check(
        code="KAFKA_UNDER_MIN_ISR",
        meaning="Fewer replicas are in sync than min.insync.replicas asks for: producers with acks=all get "
        "NotEnoughReplicas, and consumers do not see what was written since.",
        remedy="Bring the missing replicas back: start or repair the brokers that are named.\n\n"
        "- `bdops kafka partitions --under-min-isr`\n"
        "- A topic with fewer replicas than its min.insync.replicas never takes such writes: raise its replication "
        "(`bdops kafka set-replication`) or lower its minimum (`kafka-configs.sh --alter --topic T --add-config "
        "min.insync.replicas=1`).",
        judge=_if_current(_judge_under_min_isr),
        needs=("topics", "topic_configs"),
        thresholds=(Threshold("partitions", "", None, 1),),
    ),
    Check(
        code="KAFKA_UNDER_REPLICATED",
        meaning="Replicas are missing from the in-sync set. Data is still served, with less to spare.",
        remedy="Look at the broker that most of them miss: down, paused, slow disk, or full.\n\n"
        "- `bdops kafka partitions --under-replicated` shows which replicas are missing.\n"
        "- All on one broker: that broker (its log, its disk, its network). Spread over all: the load, or a network "
        "between racks.\n"
        "- After a restart this passes by itself as the replicas catch up; a throttle left behind slows that "
        "(KAFKA_THROTTLE_LEFT).",
        judge=_if_current(_judge_under_replicated),
        needs=("topics",),
        thresholds=(Threshold("partitions", "", 1, None),),
    ),
    Check(
        code="KAFKA_AT_MIN_ISR",
        meaning="Exactly min.insync.replicas are in sync though the partition has more replicas: the loss of one "
        "more stops writes.",
        remedy="Restart nothing now; bring the missing replicas back first.\n\n- `bdops kafka partitions --at-min-isr`",
        judge=_if_current(_judge_at_min_isr),
        needs=("topics", "topic_configs"),
        thresholds=(Threshold("partitions", "", 1, None),),
    ),
)
