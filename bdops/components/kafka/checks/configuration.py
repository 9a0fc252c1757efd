"""Settings that lose data or stop writes one day."""

from __future__ import annotations

from bdops.components.kafka.checks.common import (
    adding_replicas,
    instance_names,
    min_isr,
    name_of,
    named,
    not_of,
    short,
)
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import plural

UNCLEAN = "unclean.leader.election.enable"


def _judge_unclean(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    topics = [t for t, c in (state.topic_configs or {}).items() if c.get(UNCLEAN) == "true"]
    brokers = [b for b, c in (state.broker_configs or {}).items() if c.get(UNCLEAN) == "true"]
    findings = [Finding(f"topic {t}", Severity.WARNING, f"{UNCLEAN} is true") for t in topics]
    for b in brokers:
        number = int(b) if b else None
        who = "all brokers" if number is None else f"broker {short(number, names)}"
        blames = () if number is None else named((number,), names)
        findings.append(
            Finding(who, Severity.WARNING, f"{UNCLEAN} is true for topics that do not say otherwise", blames)
        )
    summary = (
        f"unclean leader election is on for {plural(len(topics), 'topic')} and {plural(len(brokers), 'broker default')}"
        if findings
        else "unclean leader election is off everywhere"
    )
    return Verdict(summary + not_of(state, "broker_configs"), tuple(findings), (Metric("unclean_topics", len(topics)),))


def _judge_replication_factor(state: KafkaState, limits: Limits) -> Verdict:
    limit = limits["replicas"]
    adding = adding_replicas(state)
    findings = []
    for topic in state.topics or ():
        if not topic.partitions:
            continue
        lowest = min(len(p.replicas) - len(adding.get(name_of(topic, p), ())) for p in topic.partitions)
        minimum = min_isr(state, topic.name)
        severity = limit.severity(lowest)
        problems = [plural(lowest, "replica")]
        if minimum is not None and lowest <= minimum:
            problems.append(f"min.insync.replicas {minimum}: one broker down stops its writes")
            severity = Severity.WARNING if severity is Severity.OK else severity
        if severity is not Severity.OK:
            findings.append(Finding(topic.name, severity, ", ".join(problems)))
    total = len(state.topics or ())
    summary = (
        f"{len(findings)} of {plural(total, 'topic')} have too few replicas"
        if findings
        else f"{plural(total, 'topic')} well replicated"
    )
    return Verdict(summary, tuple(findings), (Metric("topics_low", len(findings)),))


CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_RF_LOW",
        meaning="A topic has so few replicas that the loss of one broker loses data (one replica), or stops writes "
        "(as many replicas as min.insync.replicas).",
        remedy="Raise its replication factor: `bdops kafka set-replication 3 --topic T`.\n\n"
        "- `bdops kafka topics` shows replicas and minimum of each topic.\n"
        "- Where one replica is meant, mute it: a mute of KAFKA_RF_LOW for that topic, with a reason.",
        judge=_judge_replication_factor,
        needs=("topics",),
        thresholds=(Threshold("replicas", "", 2, None, bad="below"),),
    ),
    Check(
        code="KAFKA_UNCLEAN_ELECTION",
        meaning="A replica that lags may become leader when no other is left: what it had not copied is lost without "
        "a word.",
        remedy="Turn it off: `kafka-configs.sh --alter --entity-type topics --entity-name T --delete-config "
        "unclean.leader.election.enable`.\n\n- For a broker default: remove it from server.properties, or from the "
        "dynamic configuration.",
        judge=_judge_unclean,
        needs=("topic_configs", "broker_configs"),
    ),
)
