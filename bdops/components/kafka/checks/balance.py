"""Balance: leaders and replicas over the brokers, and leaders where they were meant to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil
from math import floor as floor_of
from typing import TypeVar

from bdops.components.kafka.checks.common import (
    down_brokers,
    instance_names,
    live_brokers,
    name_of,
    named,
    short,
    shorts,
)
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import Check, Finding, Limits, Severity, Threshold, Verdict
from bdops.core.units import plural

K = TypeVar("K")


def deviation_percent(values: Mapping[K, int], *, floor: float = 0) -> dict[K, float]:
    """How far each value is off what evenness allows, in percent of the mean, with its sign.

    Counts cannot be more even than the mean rounded up or down, so nothing within that is a deviation, and
    neither is a difference from the mean of fewer than `floor`. One value or none has none.
    """
    if len(values) < 2 or not any(values.values()):
        return dict.fromkeys(values, 0.0)
    mean = sum(values.values()) / len(values)
    result = {}
    for key, value in values.items():
        over, under = value - ceil(mean), floor_of(mean) - value
        off = over if over > 0 else -under if under > 0 else 0
        result[key] = 100.0 * off / mean if abs(value - mean) >= floor else 0.0
    return result


def leaders_by_broker(state: KafkaState) -> dict[int, int]:
    """Partitions led, of every live broker."""
    counts = Counter(p.leader for _, p in state.partitions())
    return {b: counts[b] for b in live_brokers(state)}


def replicas_by_broker(state: KafkaState) -> dict[int, int]:
    """Replicas held, of every live broker."""
    counts = Counter(b for _, p in state.partitions() for b in p.replicas)
    return {b: counts[b] for b in live_brokers(state)}


def _judge_skew(state: KafkaState, limits: Limits, counts: dict[int, int], noun: str) -> Verdict:
    names = instance_names(state)
    limit, floor = limits["skew"], limits["floor"].warning or 0
    in_use = {b for _, p in state.partitions() for b in p.replicas}
    down = sorted(down_brokers(state) & in_use)
    if down:
        # Leaders flee from a broker that is down, and come back with it: that is no skew to correct.
        return Verdict(f"not judged while brokers are down: {shorts(down, names)}", severity=Severity.OK)
    off = deviation_percent(counts, floor=floor)
    mean = sum(counts.values()) / len(counts) if counts else 0.0
    findings = tuple(
        Finding(
            f"broker {short(b, names)}",
            limit.severity(abs(percent)),
            f"{plural(counts[b], noun)}, {percent:+.0f} % off the mean of {mean:.1f}",
            named((b,), names),
        )
        for b, percent in off.items()
        if limit.severity(abs(percent)) is not Severity.OK
    )
    worst = max((abs(p) for p in off.values()), default=0.0)
    spread = f"{min(counts.values())} to {max(counts.values())}" if counts else "no"
    return Verdict(
        f"{spread} {noun}s per broker, mean {mean:.1f}", findings, (limit.metric(round(worst, 1), f"{noun}_skew"),)
    )


def _judge_leader_skew(state: KafkaState, limits: Limits) -> Verdict:
    return _judge_skew(state, limits, leaders_by_broker(state), "leader")


def _judge_replica_skew(state: KafkaState, limits: Limits) -> Verdict:
    return _judge_skew(state, limits, replicas_by_broker(state), "replica")


def _judge_off_preferred(state: KafkaState, limits: Limits) -> Verdict:
    names = instance_names(state)
    down = down_brokers(state)
    off = [
        (name_of(t, p), p)
        for t, p in state.partitions()
        if p.replicas and p.leader is not None and p.leader != p.replicas[0]
    ]
    total = sum(1 for _ in state.partitions())
    percent = 100.0 * len(off) / total if total else 0.0
    severity = limits["off"].severity(percent)
    findings = []
    for name, p in off if severity is not Severity.OK else ():
        preferred = p.replicas[0]
        if preferred in down:
            why = "is down"
        else:
            why = "is in sync: an election moves it back" if preferred in p.isr else "is not in sync yet"
        detail = f"led by {short(p.leader or 0, names)}; its preferred leader {short(preferred, names)} {why}"
        findings.append(Finding(name, severity, detail, named((preferred,), names)))
    return Verdict(
        f"{len(off)} of {plural(total, 'partition')} ({percent:.0f} %) not led by their preferred replica",
        tuple(findings),
        (limits["off"].metric(round(percent, 1), "off_preferred"),),
    )


_FLOOR = Threshold("floor", "", 5, None)
"""Differences of fewer than this from the mean are not skew, whatever their percentage: small clusters are lumpy."""

CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_LEADER_SKEW",
        meaning="Some broker leads far more or fewer partitions than the others: all reads and writes go to leaders.",
        remedy="Elect the preferred leaders first (`bdops kafka leaders elect`); if that does not even it out, "
        "`bdops kafka leaders balance`.\n\n"
        "- `bdops kafka status` shows leaders per broker.",
        judge=_judge_leader_skew,
        needs=("topics", "brokers"),
        thresholds=(Threshold("skew", "%", 30, None), _FLOOR),
    ),
    Check(
        code="KAFKA_REPLICA_SKEW",
        meaning="Some broker holds far more or fewer replicas than the others; a new one holds none.",
        remedy="Rebalance the replicas: `bdops kafka rebalance`.\n\n- `bdops kafka status` shows replicas per broker.",
        judge=_judge_replica_skew,
        needs=("topics", "brokers"),
        thresholds=(Threshold("skew", "%", 30, None), _FLOOR),
    ),
    Check(
        code="KAFKA_OFF_PREFERRED",
        meaning="Partitions are not led by the first of their replicas: after a broker was down, leaders stay where "
        "they fled to "
        "until an election moves them back (auto.leader.rebalance.enable does, every "
        "leader.imbalance.check.interval.seconds).",
        remedy="When the preferred leaders are up and in sync: `bdops kafka leaders elect`.\n\n"
        "- `bdops kafka partitions --off-preferred`",
        judge=_judge_off_preferred,
        needs=("topics",),
        thresholds=(Threshold("off", "%", 10, None),),
    ),
)
