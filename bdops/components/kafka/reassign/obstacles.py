"""The gate before each batch of moves: disks, in-sync replicas, brokers, other people's reassignments. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bdops.components.kafka.checks.common import down_brokers, min_isr
from bdops.components.kafka.reassign.moves import Move, Stand, stands
from bdops.components.kafka.state import KafkaState, partition_name
from bdops.core.gate import Reason, Verdict
from bdops.core.units import format_size, plural

RULES: Mapping[str, str] = {
    "KAFKA_MOVE_UNREAD": "a reading that the gate of a move needs is missing",
    "KAFKA_MOVE_BROKER": "a broker that gives or gets a replica is down, or not known",
    "KAFKA_MOVE_FOREIGN": "replicas are not what the plan found, or somebody else moves them: that is never cancelled",
    "KAFKA_MOVE_ISR": "partitions are under min.insync.replicas, or under-replicated without being moved",
    "KAFKA_MOVE_DISK": "a broker's disks would be fuller than the watermark while old and new copies coexist",
}
"""Every rule that the gate of a move can name, with its meaning."""

READINGS = frozenset({"servers", "brokers", "topics", "topic_configs", "broker_configs", "reassignments", "log_dirs"})
"""What moves need to be read."""

_NEEDED = ("brokers", "topics", "reassignments", "log_dirs", "topic_configs", "broker_configs")


def obstacles(state: KafkaState, moves: Sequence[Move], *, watermark: float) -> tuple[Reason, ...]:
    """Why a batch of moves must not go on now; none when it may."""
    missing = [name for name in _NEEDED if getattr(state, name) is None]
    if missing:
        why = "; ".join(f"{name}: {state.unread.get(name, 'not read')}" for name in missing)
        return (_reason("KAFKA_MOVE_UNREAD", Verdict.UNKNOWN, missing, why),)
    found = stands(state, moves)
    return tuple(
        reason
        for part in (_brokers(state, found), _foreign(found), _in_sync(state, moves), _disks(state, found, watermark))
        for reason in part
    )


def _brokers(state: KafkaState, found: Sequence[Stand]) -> Iterator[Reason]:
    live = {b.id for b in state.brokers or () if not b.fenced} - down_brokers(state)
    needed: dict[int, int] = {}
    for stand in found:
        if stand.phase in ("waiting", "moving"):
            # A dead broker may well lose its replicas: only those that stay, or come, must be there.
            for broker in stand.move.new:
                needed[broker] = needed.get(broker, 0) + 1
    for broker, count in sorted(needed.items()):
        if broker not in live:
            harm = f"it is not serving, and {plural(count, 'partition')} of this batch are to have a replica there"
            yield _reason("KAFKA_MOVE_BROKER", Verdict.WAIT, [f"broker {broker}"], harm)


def _foreign(found: Sequence[Stand]) -> Iterator[Reason]:
    names = [s.move.partition for s in found if s.phase == "foreign"]
    if names:
        first = next(s for s in found if s.phase == "foreign")
        harm = f"{names[0]} has, or will have, {list(first.replicas)}; the plan was made for {list(first.move.old)}"
        yield _reason("KAFKA_MOVE_FOREIGN", Verdict.REFUSE, names, harm)


def _in_sync(state: KafkaState, moves: Sequence[Move]) -> Iterator[Reason]:
    ours = {m.partition for m in moves} | {r.partition for r in state.reassignments or ()}
    under_min, under_replicated = [], []
    for topic, p in state.partitions():
        name = partition_name(topic.name, p.id)
        least = min_isr(state, topic.name)
        if least is not None and len(p.isr) < min(least, len(p.replicas)):
            under_min.append(name)
        elif len(p.isr) < len(p.replicas) and name not in ours:
            under_replicated.append(name)
    if under_min:
        harm = "fewer replicas in sync than min.insync.replicas: writes with acks=all fail"
        yield _reason("KAFKA_MOVE_ISR", Verdict.WAIT, under_min, harm, acceptable=True)
    if under_replicated:
        harm = "replicas are not in sync: moves would slow down their catching up"
        yield _reason("KAFKA_MOVE_ISR", Verdict.WAIT, under_replicated, harm, acceptable=True)


def _disks(state: KafkaState, found: Sequence[Stand], watermark: float) -> Iterator[Reason]:
    """By volume where it is known which replicas share one; the copies that have begun are on the disks already."""
    total: dict[int, int] = {}
    usable: dict[int, int] = {}
    there: dict[int, dict[str, int]] = {}
    for d in state.log_dirs or ():
        if d.error is None and d.total_bytes is not None and d.usable_bytes is not None:
            total[d.broker] = total.get(d.broker, 0) + d.total_bytes
            usable[d.broker] = usable.get(d.broker, 0) + d.usable_bytes
        there.setdefault(d.broker, {}).update(d.replicas)
    coming: dict[int, int] = {}
    for stand in found:
        if stand.phase in ("waiting", "moving"):
            for broker in stand.move.added:
                rest = stand.move.size_bytes - there.get(broker, {}).get(stand.move.partition, 0)
                coming[broker] = coming.get(broker, 0) + max(0, rest)
    for broker, size in sorted(coming.items()):
        if size and broker in total and total[broker] - usable[broker] + size > watermark * total[broker]:
            harm = (
                f"{format_size(total[broker] - usable[broker])} of {format_size(total[broker])} are used, "
                f"{format_size(size)} come: more than {watermark:.0%}"
            )
            yield _reason("KAFKA_MOVE_DISK", Verdict.REFUSE, [f"broker {broker}"], harm, acceptable=True)


def _reason(rule: str, verdict: Verdict, objects: Sequence[str], harm: str, *, acceptable: bool = False) -> Reason:
    return Reason(rule=rule, verdict=verdict, objects=tuple(objects), harm=harm, instances=(), acceptable=acceptable)
