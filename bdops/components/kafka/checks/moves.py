"""Reassignments that do not get on, and throttles that somebody left behind."""

from __future__ import annotations

from collections.abc import Iterator

from bdops.components.kafka.checks.common import down_brokers, instance_names, named, short, shorts, unread_parts
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, format_size, plural

BROKER_THROTTLES = (
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
)
TOPIC_THROTTLES = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
"""KIP-73 and KIP-113: the rates are of brokers, the replicas they hold for are of topics."""


def throttles(state: KafkaState) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Every throttle that is set: entity in words, key, value, instances to blame."""
    names = instance_names(state)
    for broker, configs in (state.broker_configs or {}).items():
        for key in BROKER_THROTTLES:
            if key in configs:
                number = int(broker) if broker else None
                entity = "all brokers" if number is None else f"broker {short(number, names)}"
                yield entity, key, configs[key], () if number is None else named((number,), names)
    for topic, configs in (state.topic_configs or {}).items():
        for key in TOPIC_THROTTLES:
            if configs.get(key):
                yield f"topic {topic}", key, configs[key], ()


def _judge_throttles(state: KafkaState, limits: Limits) -> Verdict:
    found = list(throttles(state))
    unknown = unread_parts(state, "broker_configs")
    moving = len(state.reassignments or ()) + sum(len(d.moving_in) for d in state.log_dirs or ())
    if found and moving:
        return Verdict(
            f"{plural(len(found), 'throttle')} set while {plural(moving, 'replica move')} are under way",
            unknown,
            (Metric("throttles", len(found)),),
        )
    findings = tuple(
        Finding(
            f"{entity} {key}",
            Severity.WARNING,
            f"is {_rate(value) if 'rate' in key or 'bytes' in key else value}",
            blames,
        )
        for entity, key, value, blames in found
    )
    summary = f"{plural(len(found), 'throttle')} left behind: nothing is moving" if found else "no throttle is set"
    return Verdict(summary, (*findings, *unknown), (Metric("throttles", len(found)),))


def _rate(value: str) -> str:
    return f"{value} B/s ({format_size(int(value))}/s)" if value.isdigit() else value


def stalled_for_s(state: KafkaState, partition: str) -> float:
    """For how long the bytes copied of a partition in flight have not grown, as far as the window tells; else 0."""
    seen = [(s.at, s.copied_bytes[partition]) for s in state.reassignment_samples or () if partition in s.copied_bytes]
    if len(seen) < 2:
        return 0.0
    newest, copied = seen[-1]
    since = newest
    for at, value in reversed(seen):
        if value != copied:
            break
        since = at
    return (newest - since).total_seconds()


def _judge_reassignments(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    down = down_brokers(state)
    findings = []
    for r in state.reassignments or ():
        what = ", ".join(
            f"{verb} {shorts(brokers, names)}"
            for verb, brokers in (("adding", r.adding), ("removing", r.removing))
            if brokers
        )
        dead = tuple(b for b in r.adding if b in down)
        if dead:
            detail = f"{what}; it cannot finish: {shorts(dead, names)} is down"
            findings.append(Finding(r.partition, Severity.CRITICAL, detail, named(dead, names)))
            continue
        still = stalled_for_s(state, r.partition)
        severity = limits["no_progress"].severity(still)
        if severity is not Severity.OK:
            detail = f"{what}; nothing copied for {format_duration(still)}"
            findings.append(Finding(r.partition, severity, detail, named(r.adding, names)))
    total = len(state.reassignments or ())
    summary = (
        f"{len(findings)} of {plural(total, 'reassignment')} stuck"
        if findings
        else (f"{plural(total, 'reassignment')} in flight" if total else "no reassignment in flight")
    )
    return Verdict(summary, tuple(findings), (Metric("reassignments", total), Metric("stuck", len(findings))))


CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_REASSIGNMENT_STUCK",
        meaning="A reassignment is in flight and cannot finish: a broker that is to get a replica is down, or "
        "nothing was copied "
        "for a long time (a throttle below the write rate, a full disk).",
        remedy="Start the broker that is named, raise the throttle, or cancel the move.\n\n"
        "- `bdops kafka partitions --reassigning` shows what is added and removed.\n"
        "- A job's: `bdops jobs list`, then `bdops jobs throttle` or `abort`.\n"
        "- Somebody else's: `kafka-reassign-partitions.sh --list`; `--cancel --reassignment-json-file` takes it back.",
        judge=_judge_reassignments,
        needs=("reassignments", "brokers", "reassignment_samples"),
        thresholds=(Threshold("no_progress", "s", 300, 1800),),
    ),
    Check(
        code="KAFKA_THROTTLE_LEFT",
        meaning="A replication throttle is set and nothing is being moved. It slows the replicas down that catch up "
        "after the next "
        "restart, which can then take for ever.",
        remedy="Remove it, rate and replicas together: `bdops doctor --fix`. By hand:\n\n"
        "- `kafka-configs.sh --alter --entity-type brokers --entity-name N --delete-config "
        "leader.replication.throttled.rate,follower.replication.throttled.rate`\n"
        "- `kafka-configs.sh --alter --entity-type topics --entity-name T --delete-config "
        "leader.replication.throttled.replicas,follower.replication.throttled.replicas`\n"
        "- `kafka-reassign-partitions.sh --verify` removes what its own run had set.",
        judge=_judge_throttles,
        needs=("topic_configs", "broker_configs"),
    ),
)
