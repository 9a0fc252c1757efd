"""What is to move, in batches, and how far each partition has come. Pure: a state and a step's moves in, phases out.

What a partition's replicas are now, and what is being added and removed, tells all that a resume needs (KIP-455):
nothing is remembered of what was asked for before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bdops.components.kafka.state import KafkaState, Partition, Reassignment, partition_name

Phase = Literal["done", "moving", "waiting", "foreign", "gone"]
"""`foreign`: its replicas are, or are becoming, neither what the plan found nor what it wants. `gone`: deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A partition's replicas (numbers, in order of preference) before and after, and the bytes of one of them."""

    partition: str
    old: tuple[int, ...]
    new: tuple[int, ...]
    size_bytes: int

    @property
    def added(self) -> tuple[int, ...]:
        return tuple(b for b in self.new if b not in self.old)

    @property
    def removed(self) -> tuple[int, ...]:
        return tuple(b for b in self.old if b not in self.new)

    @property
    def copied_bytes(self) -> int:
        return self.size_bytes * len(self.added)

    @property
    def brokers(self) -> frozenset[int]:
        return frozenset((*self.old, *self.new))

    def data(self) -> dict[str, Any]:
        """What a plan keeps of it, as JSON values."""
        return {"old": list(self.old), "new": list(self.new), "bytes": self.size_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far one partition has come. `replicas` are those that it has when nothing is in flight any more."""

    move: Move
    phase: Phase
    replicas: tuple[int, ...] = ()
    leader: int | None = None


def moves_of(args: Mapping[str, Any]) -> tuple[Move, ...]:
    """The moves of a step."""
    return tuple(
        Move(partition=name, old=tuple(m["old"]), new=tuple(m["new"]), size_bytes=m["bytes"])
        for name, m in args["moves"].items()
    )


def batches(moves: Iterable[Move], *, max_bytes: int, max_moves: int) -> list[list[Move]]:
    """The moves in their order, cut where a batch is full. One that is larger than a whole batch is one by itself.

    Large ones come first, and those of like size next to each other, so that a batch does not wait long for its last
    one; what only changes the order of replicas is last. Within that, brokers take turns.
    """
    found: list[list[Move]] = []
    batch: list[Move] = []
    size = 0
    for move in _taking_turns(moves):
        if batch and (size + move.copied_bytes > max_bytes or len(batch) >= max_moves):
            found.append(batch)
            batch, size = [], 0
        batch.append(move)
        size += move.copied_bytes
    return [*found, batch] if batch else found


def _taking_turns(moves: Iterable[Move]) -> list[Move]:
    """The largest first, in classes of powers of two; within a class the busiest brokers take turns."""
    classes: dict[int, list[Move]] = {}
    for move in moves:
        classes.setdefault(move.copied_bytes.bit_length(), []).append(move)
    ordered: list[Move] = []
    for key in sorted(classes, reverse=True):
        by_target: dict[int, list[Move]] = {}
        for move in sorted(classes[key], key=lambda m: (-m.copied_bytes, m.partition)):
            by_target.setdefault(move.added[0] if move.added else -1, []).append(move)
        queues = sorted(by_target.values(), key=lambda q: (-len(q), q[0].partition))
        while queues:
            for queue in queues:
                ordered.append(queue.pop(0))
            queues = [q for q in queues if q]
    return ordered


def stands(state: KafkaState, moves: Sequence[Move]) -> tuple[Stand, ...]:
    """How far each move has come. Topics and reassignments must have been read."""
    wanted = {m.partition for m in moves}
    now = {name: p for t, p in state.partitions() if (name := partition_name(t.name, p.id)) in wanted}
    flying = {r.partition: r for r in state.reassignments or ()}
    return tuple(
        _stand(m, now[m.partition], flying.get(m.partition)) if m.partition in now else Stand(move=m, phase="gone")
        for m in moves
    )


def _stand(move: Move, now: Partition, flying: Reassignment | None) -> Stand:
    final = tuple(b for b in now.replicas if flying is None or b not in flying.removing)
    if not set(final) <= move.brokers or len(final) < min(len(move.old), len(move.new)):
        phase: Phase = "foreign"
    elif flying is not None:
        phase = "moving" if flying.adding or flying.removing else "waiting"
    else:
        phase = "done" if final == move.new else "waiting"
    return Stand(move=move, phase=phase, replicas=final, leader=now.leader)


def next_replicas(stand: Stand, *, one_at_a_time: bool) -> tuple[int, ...]:
    """What is asked for next of a partition that waits: all that is wanted, or one replica exchanged."""
    now, new = stand.replicas, stand.move.new
    added = [b for b in new if b not in now]
    removed = [b for b in now if b not in new]
    if not one_at_a_time or (len(added) <= 1 and len(removed) <= 1):
        return new
    if not added:
        return tuple(b for b in now if b != removed[0])
    if not removed:
        return (*now, added[0])
    return tuple(added[0] if b == removed[0] else b for b in now)


def startable(found: Sequence[Stand], *, slots: int) -> list[Stand]:
    """Those that wait and may begin now: no broker takes in, or gives, more than `slots` replicas at a time.

    What copies nothing needs no slot. A copy comes from the leader.
    """
    taking: dict[int, int] = {}
    giving: dict[int, int] = {}

    def givers(stand: Stand) -> tuple[int, ...]:
        return (stand.leader,) * len(stand.move.added) if stand.leader is not None else ()

    def room(stand: Stand) -> bool:
        # A partition that needs more slots than there are goes alone.
        gives = givers(stand)
        return all(taking.get(b, 0) < slots for b in stand.move.added) and (
            not gives or giving.get(gives[0], 0) + min(len(gives), slots) <= slots
        )

    def take(stand: Stand) -> None:
        for b in stand.move.added:
            taking[b] = taking.get(b, 0) + 1
        for b in givers(stand):
            giving[b] = giving.get(b, 0) + 1

    for stand in found:
        if stand.phase == "moving":
            take(stand)
    chosen = []
    for stand in found:
        if stand.phase == "waiting" and room(stand):
            take(stand)
            chosen.append(stand)
    return chosen
