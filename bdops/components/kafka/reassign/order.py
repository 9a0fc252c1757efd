"""Moves as targets of a plan: batches one after the other, then the preferred leaders; and the way back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bdops.components.kafka import order
from bdops.components.kafka.reassign.carry import MOVE, THROTTLE, UNTHROTTLE
from bdops.components.kafka.reassign.moves import Move, batches, moves_of, stands
from bdops.components.kafka.standing import Cluster
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import DONE, Progress, pending
from bdops.core.plan import GATE, Step, Target
from bdops.core.units import format_size, plural
from bdops.errors import StateUnknown, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How moves are carried out.

    `throttle` is `auto`, `none` or a rate a broker (`50MB/s`). A batch has at most so many bytes and moves: between two
    of them a job can pause with nothing in flight. `slots`: so many replicas at a time into, and out of, a broker.
    `one_at_a_time`: of each partition one replica is exchanged after the other. `watermark`: no disk fuller than this.
    """

    throttle: str = "auto"
    batch_bytes: int = 20_000_000_000
    batch_moves: int = 200
    slots: int = 5
    one_at_a_time: bool = False
    watermark: float = 0.85


def move_targets(cluster: str, moves: Iterable[Move], pace: Pace) -> tuple[Target, ...]:
    """One target a batch, in their order, and one for the leaders that change with them."""
    changed = list(moves)
    cut = batches(changed, max_bytes=pace.batch_bytes, max_moves=pace.batch_moves)
    found = []
    for number, batch in enumerate(cut, 1):
        size = sum(m.copied_bytes for m in batch)
        kept = {k: v for k, v in asdict(pace).items() if not k.startswith("batch_")}
        found.append(
            Target(
                name=f"{cluster}/kafka batch {number}",
                acts=(GATE, THROTTLE, MOVE, UNTHROTTLE) if size else (GATE, MOVE),
                rank=number,
                role="batch",
                note=f"{plural(len(batch), 'partition')}, {format_size(size)}",
                args={**kept, "moves": {m.partition: m.data() for m in batch}},
            )
        )
    leaders = sorted(m.partition for m in changed if m.new[0] != m.old[0] or m.new[0] in m.added)
    if leaders:
        found.append(
            Target(
                name=f"{cluster}/kafka leaders",
                acts=(order.ELECT,),
                rank=len(cut) + 1,
                role="leaders",
                note=f"{plural(len(leaders), 'partition')} with another preferred leader",
                args={"partitions": leaders},
            )
        )
    return tuple(found)


EMPTY = "require-empty"
"""No log directory of the broker holds a replica."""
UNREGISTER = "unregister"
"""The controllers forget the broker."""


def decommission_target(cluster: Cluster, broker: str, *, rank: int) -> Target:
    """After a drain: the broker (by number or name) is empty, is stopped, is forgotten. Raises UsageError."""
    named = {n for n, number in cluster.numbers.items() if broker in (str(number), n, n.rpartition("/")[2])}
    found = [n for n in named if cluster.is_broker(n)]
    if len(found) != 1:
        raise UsageError(f"{broker} is {len(found)} brokers of the inventory", hint="bdops kafka status")
    name = found[0]
    return Target(
        name=name,
        instance=name,
        acts=(EMPTY, "stop", UNREGISTER),
        rank=rank,
        role="broker",
        note="for good: take it out of the inventory afterwards",
        args={"broker": cluster.numbers[name]},
    )


def batch_progress(state: KafkaState, args: Mapping[str, Any]) -> Progress:
    """Whether all moves of a step are done."""
    if state.topics is None or state.reassignments is None:
        return pending("the moves to be readable")
    left = [s.move.partition for s in stands(state, moves_of(args)) if s.phase not in ("done", "gone")]
    return pending(f"{plural(len(left), 'partition')} to be moved: {', '.join(left[:3])}") if left else DONE


def way_back(state: KafkaState, steps: Sequence[Step]) -> tuple[Target, ...]:
    """Targets that take back what steps have moved, whether they were finished or not. Raises StateUnknown."""
    if state.topics is None or state.reassignments is None:
        raise StateUnknown("topics cannot be read", where=state.cluster)
    back = []
    pace = Pace()
    for step in steps:
        if MOVE not in step.acts:
            continue
        kept = {k: v for k, v in step.args.items() if k in ("throttle", "slots", "one_at_a_time", "watermark")}
        pace = Pace(**kept)
        for s in stands(state, moves_of(step.args)):
            if s.phase in ("done", "waiting", "moving") and s.replicas != s.move.old:
                back.append(
                    Move(partition=s.move.partition, old=s.replicas, new=s.move.old, size_bytes=s.move.size_bytes)
                )
    return move_targets(state.cluster, back, pace)
