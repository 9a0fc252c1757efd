"""The replication throttle (KIP-73): what is set where, and how the rate is adapted. Pure.

Rates are of brokers, bytes a second; the replicas that they hold for are listed in topics: of each partition the old
replicas for leaders, the new ones for followers, so that ordinary replication is not slowed down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bdops.components.kafka.reassign.moves import Move
from bdops.components.kafka.state import KafkaState, split_partition
from bdops.core.units import format_size

LEADER_RATE = "leader.replication.throttled.rate"
FOLLOWER_RATE = "follower.replication.throttled.rate"
LEADER_REPLICAS = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS = "follower.replication.throttled.replicas"
RATES = (LEADER_RATE, FOLLOWER_RATE)
DIRS_RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
"""What a broker may copy between its own log directories (KIP-113)."""

START_BYTES_PER_S = 20_000_000
STEP_BYTES_PER_S = 10_000_000
MIN_BYTES_PER_S = 1_000_000
MAX_BYTES_PER_S = 1_000_000_000
SLOW_FACTOR = 3.0
"""Brokers that answer, or replicate, so much slower than before the move began are taken to suffer from it."""
SLOW_FLOOR_S = 0.05
"""Below this nobody suffers, whatever it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration to be set. `object` is `broker 3` or `topic orders`; `value` None: to be deleted."""

    object: str
    key: str
    previous: str | None
    value: str | None


def settings(state: KafkaState, moves: Sequence[Move], rate_bytes_per_s: int) -> tuple[Setting, ...]:
    """What has to be set for these moves, beside what others have set: their rates and their `*` stay.

    Topic lists come first: a list without a rate slows nothing down. The configurations must have been read.
    """
    found = []
    leaders: dict[str, set[str]] = {}
    followers: dict[str, set[str]] = {}
    sources: set[int] = set()
    targets: set[int] = set()
    for move in moves:
        if not move.added:
            continue
        topic, number = split_partition(move.partition)
        leaders.setdefault(topic, set()).update(f"{number}:{b}" for b in move.old)
        followers.setdefault(topic, set()).update(f"{number}:{b}" for b in move.added)
        sources |= set(move.old)
        targets |= set(move.added)
    for key, wanted in ((LEADER_REPLICAS, leaders), (FOLLOWER_REPLICAS, followers)):
        for topic in sorted(wanted):
            previous = (state.topic_configs or {}).get(topic, {}).get(key) or None
            merged = with_entries(previous, wanted[topic])
            if merged != previous:
                found.append(Setting(object=f"topic {topic}", key=key, previous=previous, value=merged))
    for key, brokers in ((LEADER_RATE, sources), (FOLLOWER_RATE, targets)):
        for broker in sorted(brokers):
            if foreign_rate(state, broker, key) is None:
                value = str(rate_bytes_per_s)
                found.append(Setting(object=f"broker {broker}", key=key, previous=None, value=value))
    return tuple(found)


def foreign_rate(state: KafkaState, broker: int, key: str) -> str | None:
    """The rate that is in force for a broker already, its own or the default of all."""
    configs = state.broker_configs or {}
    return configs.get(str(broker), {}).get(key) or configs.get("", {}).get(key) or None


def with_entries(previous: str | None, entries: set[str]) -> str | None:
    """A list of throttled replicas with more of them; `*` has them all already."""
    if previous == "*":
        return previous
    there = [e for e in (previous or "").split(",") if e]
    return ",".join((*there, *sorted(entries - set(there), key=_by_number))) or None


def without_entries(current: str | None, value: str | None, previous: str | None) -> str | None:
    """What a list goes back to: without the entries that were added; what others added since stays."""
    if current in (None, "", "*") or current == value:
        return previous if current == value else current
    ours = set((value or "").split(",")) - set((previous or "").split(","))
    return ",".join(e for e in (current or "").split(",") if e and e not in ours) or None


def _by_number(entry: str) -> tuple[int, int]:
    number, _, broker = entry.partition(":")
    return int(number), int(broker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What tells whether the cluster suffers: now, and (`usual`) before the moves began."""

    shrunk: tuple[str, ...] = ()
    """Partitions that lost an in-sync replica since the moves began, and are none of those that move."""
    answer_s: float = 0.0
    usual_answer_s: float = 0.0
    """The median of the brokers' answers to a small question."""
    delay_s: float | None = None
    usual_delay_s: float | None = None
    """How long records wait for the in-sync replicas, as producers with acks=all do (`delay.py`)."""


def adapt(rate_bytes_per_s: int, signals: Signals) -> tuple[int, str]:
    """The next rate and why: a step up while nobody suffers, half of it as soon as somebody does."""
    half = max(MIN_BYTES_PER_S, rate_bytes_per_s // 2)
    if signals.shrunk:
        named = ", ".join(signals.shrunk[:3]) + (" ..." if len(signals.shrunk) > 3 else "")
        return half, f"{len(signals.shrunk)} partitions lost an in-sync replica: {named}"
    if signals.answer_s > max(SLOW_FLOOR_S, SLOW_FACTOR * signals.usual_answer_s):
        return half, f"brokers answer in {signals.answer_s * 1000:.0f} ms, {signals.usual_answer_s * 1000:.0f} before"
    usual_s = signals.usual_delay_s or 0.0
    if signals.delay_s is not None and signals.delay_s > max(SLOW_FLOOR_S, SLOW_FACTOR * usual_s):
        waits = f"{signals.delay_s * 1000:.0f} ms, {usual_s * 1000:.0f} before"
        return half, f"records wait for their in-sync replicas, and acks=all with them: {waits}"
    return min(MAX_BYTES_PER_S, rate_bytes_per_s + STEP_BYTES_PER_S), "nobody suffers"


def words(rate_bytes_per_s: int | None) -> str:
    """`20 MB/s a broker`, or `unthrottled`."""
    return "unthrottled" if rate_bytes_per_s is None else f"{format_size(rate_bytes_per_s)}/s a broker"


def in_sync(state: KafkaState) -> Mapping[str, int]:
    """How many replicas of each partition are in sync."""
    return {f"{t.name}-{p.id}": len(p.isr) for t, p in state.partitions()}
