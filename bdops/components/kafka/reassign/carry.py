"""Carries out the moves of a step against the cluster: throttle, begin, watch, adapt; cancel and put back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bdops.components.kafka import alter, questions
from bdops.components.kafka.checks.common import down_brokers
from bdops.components.kafka.read import read_state
from bdops.components.kafka.reassign import throttle
from bdops.components.kafka.reassign.delay import WithConnection, led_by, replication_delay_s
from bdops.components.kafka.reassign.moves import Move, Stand, moves_of, next_replicas, stands, startable
from bdops.components.kafka.reassign.obstacles import READINGS
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import ActContext, Borrowed
from bdops.core.model import Deployment
from bdops.core.plan import Step
from bdops.core.units import format_duration, format_size, parse_rate, plural
from bdops.errors import BdopsError, OperationFailed, StateUnknown

THROTTLE, MOVE, UNTHROTTLE = "throttle", "move", "unthrottle"
ACTS = (THROTTLE, MOVE, UNTHROTTLE)

WATCHED = READINGS - {"topic_configs", "broker_configs"}
"""What is read again and again while moves go on."""
READ_TIMEOUT_S = 15.0
ALTER_TIMEOUT_S = 30.0
INTERVAL_S = 1.0
ADAPT_S = 10.0
STALLED_S = 900.0
UNREADABLE_S = 60.0
DOWN_READINGS = 2
RATE_WINDOW_S = 60.0
WISH = "throttle"
"""What `bdops jobs throttle` leaves in the job's folder: a rate such as 80MB/s, `auto` or `none`."""

_TOPIC, _BROKER = 2, 4


@dataclass
class Reassigner:
    """One cluster's moves. `ours` are the partitions that this process knows to be in flight for the job."""

    deployment: Deployment
    with_connection: WithConnection
    ours: set[str] = field(default_factory=set)
    rate_bytes_per_s: int | None = None

    def read(self, readings: frozenset[str] = READINGS) -> KafkaState:
        return read_state(self.deployment, timeout_s=READ_TIMEOUT_S, readings=readings)

    # -- acts --------------------------------------------------------------------------------------------------

    def throttle(self, step: Step, context: ActContext) -> None:
        """Borrow what the throttle of these moves sets, and set it."""
        wish = self._wish(step, context)
        if wish == "none":
            context.say("not throttled")
            return
        # For `auto` what has been found to be good so far.
        rate = (self.rate_bytes_per_s or throttle.START_BYTES_PER_S) if wish == "auto" else parse_rate(wish)
        state = self.read()
        if state.topic_configs is None or state.broker_configs is None:
            raise StateUnknown("whether throttles are set already cannot be read", where=self.deployment.name)
        found = throttle.settings(state, moves_of(step.args), rate)
        for setting in found:
            loan = context.borrowed(setting.object, setting.key)
            # What is set already may be ours, of an attempt that was cut off: the ledger knows what was there before.
            previous = loan.previous if loan else setting.previous
            context.borrow(setting.object, setting.key, previous=previous, value=setting.value)
            self.set_configs(setting.object, {setting.key: setting.value})
        theirs = [
            f"broker {b}: {value} B/s"
            for b in sorted({b for m in moves_of(step.args) for b in m.brokers})
            if (value := throttle.foreign_rate(state, b, throttle.FOLLOWER_RATE))
            and not context.borrowed(f"broker {b}", throttle.FOLLOWER_RATE)
        ]
        if theirs:
            context.say(f"throttles of others are left as they are: {'; '.join(theirs)}")
        self.rate_bytes_per_s = rate
        context.say(f"throttle: {throttle.words(rate)}")

    def move(self, step: Step, context: ActContext) -> None:
        """Begin what waits, as the slots allow, and watch until all has come. Raises BdopsError to pause the job."""
        moves = moves_of(step.args)
        self.ours |= {m.partition for m in moves}
        if self.rate_bytes_per_s is None:
            self.rate_bytes_per_s = self._lent_rate(step, context)
        watch = _Watch(moves)
        usual: tuple[float, float | None] | None = None
        adapted_at = time.monotonic()

        def next_rate(rate_bytes_per_s: int) -> tuple[int, str] | None:
            nonlocal adapted_at
            if usual is None or time.monotonic() - adapted_at < ADAPT_S:
                return None
            answer_s, delay_s = self._times_s(state, moves)
            adapted_at = time.monotonic()
            signals = throttle.Signals(
                shrunk=watch.shrunk(state),
                answer_s=answer_s,
                usual_answer_s=usual[0],
                delay_s=delay_s,
                usual_delay_s=usual[1],
            )
            return throttle.adapt(rate_bytes_per_s, signals)

        while True:
            began = time.monotonic()
            state = self.read(WATCHED)
            found = watch.look(state)
            if found and all(s.phase in ("done", "gone") for s in found):
                self.ours -= {m.partition for m in moves}
                if gone := [s.move.partition for s in found if s.phase == "gone"]:
                    context.say(f"deleted meanwhile: {', '.join(gone)}")
                return
            if found:
                if THROTTLE in step.acts and usual is None and self._wish(step, context) == "auto":
                    usual = self._times_s(state, moves)
                self._begin(startable(found, slots=step.args["slots"]), step.args["one_at_a_time"])
                if THROTTLE in step.acts:
                    self._steer(step, context, next_rate)
                context.waiting(watch.words(found, self.rate_bytes_per_s))
            # A large cluster's log directories take a while to tell.
            context.wait(max(INTERVAL_S, 2 * (time.monotonic() - began)))

    def _lent_rate(self, step: Step, context: ActContext) -> int | None:
        """The rate that a former run has set, by the ledger."""
        loans = (context.borrowed(object, key) for object, key in _throttled(moves_of(step.args)))
        return next((int(x.value) for x in loans if x and x.key in throttle.RATES and x.value), None)

    def unthrottle(self, step: Step, context: ActContext) -> None:
        """Give back what the throttle of these moves has set."""
        self.ours -= {m.partition for m in moves_of(step.args)}
        for object, key in _throttled(moves_of(step.args)):
            if context.borrowed(object, key):
                context.give_back(object, key)

    def await_empty(self, broker: int, context: ActContext) -> None:
        """Wait until no log directory of a broker holds a replica. Raises OperationFailed when some stay there."""
        deadline = time.monotonic() + context.timeout_s
        while True:
            state = self.read(frozenset({"servers", "brokers", "log_dirs"}))
            mine = [d for d in state.log_dirs or () if d.broker == broker]
            held = sorted({p for d in mine for p in (*d.replicas, *d.moving_in)})
            if mine and not held and not any(d.error for d in mine):
                return
            why = (
                f"it still holds {plural(len(held), 'replica')}: {', '.join(held[:3])}"
                if held
                else "its log directories cannot be read"
            )
            if time.monotonic() >= deadline - 1:
                raise OperationFailed(
                    f"broker {broker} is not empty: {why}",
                    hint="bdops kafka log-dirs; topics made since the drain have to be moved as well",
                    code="BROKER_NOT_EMPTY",
                )
            context.waiting(why)
            context.wait(INTERVAL_S)

    # -- outside of a step -------------------------------------------------------------------------------------

    def restore(self, borrowed: Borrowed) -> None:
        """Put a throttle's setting back. Raises OperationFailed while moves of ours go on under it."""
        if self.ours:
            state = self.read(frozenset({"servers", "brokers", "reassignments"}))
            if state.reassignments is None:
                raise StateUnknown("what is in flight cannot be read", where=borrowed.object)
            if flying := sorted(r.partition for r in state.reassignments if r.partition in self.ours):
                raise OperationFailed(
                    f"{plural(len(flying), 'move')} of ours go on under it: {', '.join(flying[:3])}",
                    where=borrowed.object,
                    hint="resume the job, or abort it, which cancels them",
                    code="MOVES_UNDER_WAY",
                )
        value = borrowed.previous
        if borrowed.key in (throttle.LEADER_REPLICAS, throttle.FOLLOWER_REPLICAS):
            topic = borrowed.object.removeprefix("topic ")
            deadline = time.monotonic() + ALTER_TIMEOUT_S
            configs = self.with_connection(deadline, lambda c: questions.configs_of_topic(c, topic, deadline))
            if configs is None:
                return  # it was deleted, and its configuration with it
            value = throttle.without_entries(configs.get(borrowed.key), borrowed.value, borrowed.previous)
        self.set_configs(borrowed.object, {borrowed.key: value})

    def cancel(self, step: Step) -> None:
        """Cancel what is in flight of a step: those partitions go back to the replicas that they had."""
        state = self.read()
        if state.topics is None or state.reassignments is None:
            raise StateUnknown("what is in flight cannot be read", where=self.deployment.name)
        flying = {s.move.partition for s in stands(state, moves_of(step.args)) if s.phase == "moving"}
        flying &= {r.partition for r in state.reassignments}
        if flying:
            deadline = time.monotonic() + ALTER_TIMEOUT_S
            self.with_connection(deadline, lambda c: alter.reassign(c, dict.fromkeys(flying), deadline))
        self.ours -= flying

    # -- parts -------------------------------------------------------------------------------------------------

    def _begin(self, ready: Sequence[Stand], one_at_a_time: bool) -> None:
        if ready:
            wanted = {s.move.partition: next_replicas(s, one_at_a_time=one_at_a_time) for s in ready}
            deadline = time.monotonic() + ALTER_TIMEOUT_S
            self.with_connection(deadline, lambda c: alter.reassign(c, wanted, deadline))

    def _wish(self, step: Step, context: ActContext) -> str:
        """What the operator has asked for since, else the plan's: `auto`, `none` or a rate."""
        return context.wish(WISH) or str(step.args["throttle"])

    def _steer(self, step: Step, context: ActContext, next_rate: Callable[[int], tuple[int, str] | None]) -> None:
        """Bring the throttle to what is wished for; for `auto` to what `next_rate` makes of the present one."""
        wish, before = self._wish(step, context), self.rate_bytes_per_s
        if before is None:
            if wish != "none":
                self.throttle(step, context)
            return
        # Not throttled at all any more is as good as a rate that nobody reaches: what was set is in the ledger.
        asked = throttle.MAX_BYTES_PER_S if wish == "none" else None if wish == "auto" else parse_rate(wish)
        found = next_rate(before) if asked is None else (asked, "asked for")
        if found is None or found[0] == before:
            return
        self.rate_bytes_per_s, why = found
        for object, key in _throttled(moves_of(step.args)):
            if key in throttle.RATES and context.borrowed(object, key):
                self.set_configs(object, {key: str(self.rate_bytes_per_s)})
        now, then = throttle.words(self.rate_bytes_per_s), throttle.words(before)
        context.say(f"throttle: {now}, was {then}: {why}")

    def _times_s(self, state: KafkaState, moves: Sequence[Move]) -> tuple[float, float | None]:
        """How long the servers take to answer a small question (the median of three), and records to be replicated."""
        times = []
        for _ in range(3):
            began = time.monotonic()
            read_state(self.deployment, timeout_s=READ_TIMEOUT_S, readings=frozenset({"servers"}))
            times.append(time.monotonic() - began)
        led = led_by(state, (b for m in moves for b in m.brokers))
        return statistics.median(times), replication_delay_s(self.with_connection, led)

    def set_configs(self, object: str, configs: Mapping[str, str | None]) -> None:
        """Set or (None) delete dynamic configurations. A broker's own are taken by that broker alone."""
        kind, _, name = object.partition(" ")
        deadline = time.monotonic() + ALTER_TIMEOUT_S
        only = int(name) if kind == "broker" else None
        number = _BROKER if kind == "broker" else _TOPIC
        self.with_connection(deadline, lambda c: alter.set_configs(c, number, name, configs, deadline), only)


def _throttled(moves: Sequence[Move]) -> list[tuple[str, str]]:
    """Every object and key that a throttle of these moves may have borrowed; the rates first."""
    brokers = sorted({b for m in moves for b in m.brokers})
    topics = sorted({m.partition.rpartition("-")[0] for m in moves})
    return [
        *((f"broker {b}", key) for b in brokers for key in throttle.RATES),
        *((f"topic {t}", key) for t in topics for key in (throttle.LEADER_REPLICAS, throttle.FOLLOWER_REPLICAS)),
    ]


@dataclass
class _Watch:
    """What is seen of a batch's moves over time: phases, bytes, who went down, whether it gets on at all."""

    moves: Sequence[Move]
    copied: list[tuple[float, int]] = field(default_factory=list)
    in_sync_before: Mapping[str, int] | None = None
    down_readings: int = 0
    last_seen_s: float = field(default_factory=time.monotonic)
    last_change_s: float = field(default_factory=time.monotonic)
    last_sign: tuple[int, int] = (0, 0)

    def look(self, state: KafkaState) -> tuple[Stand, ...]:
        """Every move's stand; none when the cluster cannot be read for the moment. Raises BdopsError to pause."""
        now = time.monotonic()
        if state.topics is None or state.reassignments is None or state.brokers is None:
            if now - self.last_seen_s > UNREADABLE_S:
                why = next(iter(state.unread.values()), "no answer")
                raise StateUnknown(f"the moves cannot be watched any more: {why}", where=state.cluster)
            return ()
        self.last_seen_s = now
        if self.in_sync_before is None:
            self.in_sync_before = throttle.in_sync(state)
        found = stands(state, self.moves)
        self._require_ours(found)
        self._require_brokers(state, found)
        copied = self._copied_bytes(state, found)
        self.copied = [(at, n) for at, n in self.copied if now - at <= RATE_WINDOW_S] + [(now, copied)]
        sign = (copied, sum(1 for s in found if s.phase == "done"))
        if sign != self.last_sign:
            self.last_sign, self.last_change_s = sign, now
        elif now - self.last_change_s > STALLED_S:
            left = [s.move.partition for s in found if s.phase == "moving"]
            raise OperationFailed(
                f"nothing was copied for {format_duration(STALLED_S)}: {', '.join(left[:4])}",
                hint="a throttle below the write rate, or a full disk: bdops kafka check",
                code="MOVES_STALLED",
            )
        return found

    def shrunk(self, state: KafkaState) -> tuple[str, ...]:
        """Partitions that lost an in-sync replica since, but for those that are moved by whomever."""
        moving = {m.partition for m in self.moves} | {r.partition for r in state.reassignments or ()}
        before = self.in_sync_before or {}
        return tuple(p for p, n in throttle.in_sync(state).items() if p not in moving and n < before.get(p, 0))

    def words(self, found: Sequence[Stand], rate_bytes_per_s: int | None) -> str:
        """`3 of 12 partitions, 1.2 of 4.0 GB, 48 MB/s, about 1 m left; throttle 50 MB/s a broker`."""
        total = sum(m.copied_bytes for m in self.moves)
        done = sum(1 for s in found if s.phase == "done")
        copied = self.copied[-1][1] if self.copied else 0
        text = f"{done} of {plural(len(found), 'partition')}, {format_size(copied)} of {format_size(total)}"
        if len(self.copied) > 1:
            (first_s, first), (last_s, last) = self.copied[0], self.copied[-1]
            speed = (last - first) / max(0.001, last_s - first_s)
            if speed > 0:
                text += f", {format_size(int(speed))}/s, about {format_duration((total - copied) / speed)} left"
        return text + f"; {throttle.words(rate_bytes_per_s)}"

    def _copied_bytes(self, state: KafkaState, found: Sequence[Stand]) -> int:
        there = {(d.broker, p): size for d in state.log_dirs or () for p, size in d.replicas.items()}
        copied = 0
        for s in found:
            for broker in s.move.added:
                size = s.move.size_bytes
                copied += size if s.phase == "done" else min(size, there.get((broker, s.move.partition), 0))
        return copied

    def _require_ours(self, found: Sequence[Stand]) -> None:
        foreign = [s for s in found if s.phase == "foreign"]
        if foreign:
            s = foreign[0]
            raise OperationFailed(
                f"{plural(len(foreign), 'partition')} were moved by somebody else meanwhile: "
                f"{s.move.partition} has, or will have, {list(s.replicas)}",
                hint="abort the job and plan anew",
                code="KAFKA_MOVE_FOREIGN",
            )

    def _require_brokers(self, state: KafkaState, found: Sequence[Stand]) -> None:
        down = down_brokers(state)
        needed = {b for s in found if s.phase in ("moving", "waiting") for b in s.move.new if b in down}
        self.down_readings = self.down_readings + 1 if needed else 0
        if self.down_readings >= DOWN_READINGS:
            error = BdopsError(
                f"broker {', '.join(str(b) for b in sorted(needed))} went down, and moves need it; what is in flight "
                "goes on by itself when it is back",
                where=", ".join(f"broker {b}" for b in sorted(needed)),
                hint="start it and resume; or abort the job, which cancels what is in flight, and plan anew",
                code="KAFKA_MOVE_BROKER",
            )
            raise error
