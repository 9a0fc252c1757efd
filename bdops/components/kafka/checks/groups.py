"""Consumer groups: stopped, stalled, rewound, lagging."""

from __future__ import annotations

from collections.abc import Callable

from bdops.components.kafka.checks.common import unread_parts
from bdops.components.kafka.lag import Condition, GroupLag, Rules, judged_groups, window_s
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, plural


def rules_of(limits: Limits) -> Rules:
    """The rules with the limits of a check."""
    default = Rules()

    def limit(name: str, otherwise: float) -> float:
        return limits[name].warning if name in limits and limits[name].warning is not None else otherwise  # type: ignore[return-value]

    return Rules(
        floor=int(limit("floor", default.floor)),
        window_s=limit("window", default.window_s),
        enough_s=limit("enough", default.enough_s),
    )


def group_lags(state: KafkaState, rules: Rules) -> tuple[GroupLag, ...]:
    """Every group of the state, judged."""
    return judged_groups(state.groups or (), state.group_samples or (), rules)


def _judge(condition: Condition, severity: Severity) -> Callable[[KafkaState, Limits], Verdict]:
    def judge(state: KafkaState, limits: Limits) -> Verdict:
        lags = group_lags(state, rules_of(limits))
        findings = [
            _finding(g, condition, severity) for g in lags if any(p.condition is condition for p in g.partitions)
        ]
        bad = len(findings)
        unknown = [
            Finding(
                g.group.name,
                Severity.UNKNOWN,
                f"the log end of {plural(_count(g, Condition.UNKNOWN), 'partition')} is not known",
            )
            for g in lags
            if _count(g, Condition.UNKNOWN)
        ]
        summary = (
            f"{bad} of {plural(len(lags), 'group')} {condition.value}"
            if bad
            else f"none of {plural(len(lags), 'group')} {condition.value}"
        )
        summary += f" ({_window(state)}"
        short = sum(g.condition is Condition.SHORT_WINDOW for g in lags)
        if short and condition is not Condition.STOPPED:
            summary += f", too short to judge {plural(short, 'group')} yet"
        return Verdict(
            summary + ")",
            (*findings, *unknown, *_unlisted(state), *unread_parts(state, "groups")),
            (Metric(f"groups_{condition.value}", bad), Metric("lag", sum(g.lag for g in lags))),
        )

    return judge


def _window(state: KafkaState) -> str:
    span_s = window_s(state.group_samples or ())
    return f"window {format_duration(span_s)}" if span_s else "one sample: no window yet"


def _count(group: GroupLag, condition: Condition) -> int:
    return sum(p.condition is condition for p in group.partitions)


def _finding(group: GroupLag, condition: Condition, severity: Severity) -> Finding:
    bad = [p for p in group.partitions if p.condition is condition]
    worst = max(bad, key=lambda p: p.lag or 0)
    return Finding(
        group.group.name,
        severity,
        f"{len(bad)} of {plural(len(group.partitions), 'partition')}, lag {group.lag}; worst {worst.partition}: "
        f"{worst.why}",
    )


def _unlisted(state: KafkaState) -> tuple[Finding, ...]:
    """Groups whose coordinator's partition has no leader are listed by nobody."""
    return tuple(
        Finding(
            f"{t.name}-{p.id}", Severity.UNKNOWN, "it has no leader, so the groups that are kept in it are not listed"
        )
        for t, p in state.partitions()
        if t.name == "__consumer_offsets" and p.leader is None
    )


_FLOOR = Threshold("floor", "", 100, None)
_WINDOW = Threshold("window", "s", 600, None)
_ENOUGH = Threshold("enough", "s", 60, None)
_HOW = (
    "\n\n- `bdops kafka groups --lagging` shows each group's lag and condition; `-v` each partition.\n"
    "- `kafka-consumer-groups.sh --describe --group G --members` shows who consumes what.\n"
    "- Thresholds: `floor` (records of lag below which a partition is well), `window` (how far back is looked) and "
    "`enough` (how "
    "much of it there must be)."
)

CHECKS: tuple[Check[KafkaState], ...] = (
    Check(
        code="KAFKA_GROUP_STOPPED",
        meaning="A group has no members and is behind: nobody consumes for it. (Burrow's STOP.)",
        remedy="Start the application, or delete the group when it is not used any more "
        "(`kafka-consumer-groups.sh --delete --group G`)." + _HOW,
        judge=_judge(Condition.STOPPED, Severity.CRITICAL),
        needs=("groups", "group_samples"),
        thresholds=(_FLOOR, _WINDOW, _ENOUGH),
    ),
    Check(
        code="KAFKA_GROUP_STALLED",
        meaning="A group has members, is behind, and has not committed anything new over the whole window: it hangs, "
        "or it fails "
        "on one record again and again. (Burrow's STALL.)",
        remedy="Look at the application's log: a record that it cannot take, a dependency that hangs, endless "
        "rebalances." + _HOW,
        judge=_judge(Condition.STALLED, Severity.CRITICAL),
        needs=("groups", "group_samples"),
        thresholds=(_FLOOR, _WINDOW, _ENOUGH),
    ),
    Check(
        code="KAFKA_GROUP_REWOUND",
        meaning="A group's committed offset went back: records are consumed twice. (Burrow's REWIND.)",
        remedy="Find out who reset it: `--reset-offsets` on purpose, auto.offset.reset after a gap, or two "
        "applications that share "
        "one group." + _HOW,
        judge=_judge(Condition.REWOUND, Severity.CRITICAL),
        needs=("groups", "group_samples"),
        thresholds=(_FLOOR, _WINDOW, _ENOUGH),
    ),
    Check(
        code="KAFKA_GROUP_LAGGING",
        meaning="A group consumes, and its lag has not shrunk once over the whole window: it is slower than its "
        "producers. (Burrow's WARN.)",
        remedy="Add consumers (up to the number of partitions), or find what slows them down." + _HOW,
        judge=_judge(Condition.LAGGING, Severity.WARNING),
        needs=("groups", "group_samples"),
        thresholds=(_FLOOR, _WINDOW, _ENOUGH),
    ),
)
