"""Kafka's side of a job: leaders away, restart, replicas back in sync, leaders back; the active controller last."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bdops.components.backup_files import default_folder
from bdops.components.kafka import alter, leaders, order
from bdops.components.kafka.checks.moves import BROKER_THROTTLES, throttles
from bdops.components.kafka.connection import Connection
from bdops.components.kafka.gates import GATE_READINGS, gate_facts
from bdops.components.kafka.read import connected, read_state
from bdops.components.kafka.reassign import carry, dirs
from bdops.components.kafka.reassign.moves import moves_of
from bdops.components.kafka.reassign.obstacles import obstacles
from bdops.components.kafka.reassign.order import EMPTY, UNREGISTER, batch_progress, way_back
from bdops.components.kafka.settings import KafkaRestartRules, Settings
from bdops.components.kafka.snapshot.vault import KafkaVault
from bdops.components.kafka.standing import Cluster
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import DONE, ActContext, Borrowed, Leftover, Progress, RestartRules, pending
from bdops.core.backups import COMPARE, backup_acts
from bdops.core.gate import GateFacts, Reason
from bdops.core.model import Deployment
from bdops.core.plan import Step, Target
from bdops.core.units import plural
from bdops.errors import BdopsError, ConfigError, OperationFailed, StateUnknown, Unreachable

READINGS = GATE_READINGS | {"dir_errors"}
LEADER_READINGS = frozenset({"servers", "brokers", "topics", "reassignments"})
LEFTOVER_READINGS = frozenset({"servers", "brokers", "broker_configs", "topics", "topic_configs", "reassignments"})
READ_TIMEOUT_S = 15.0
HEARD_S = 10.0
"""By then a broker has heard of a change of its configuration."""
READ_AGAIN_S = 0.5
ALTER_TIMEOUT_S = 30.0
CONNECT_S = 5.0
ATTEMPTS = 3
"""A leadership may move once more while it is being moved: so often the move is planned anew."""

ORDERS = "replicas/"
ORDER_KEYS = tuple(f"{ORDERS}{n}" for n in range(8))
"""Ledger keys of one broker's borrowed orders. A first attempt that was cut off takes one, the next the next."""

_TOPIC, _BROKER = 2, 4


class KafkaActor:
    """One cluster. The order of replicas is what is borrowed: object is the instance, the value a JSON of orders."""

    component = "kafka"

    def __init__(self, deployment: Deployment) -> None:
        settings: Settings = deployment.settings
        self.rules: RestartRules = settings.restart
        self._rules: KafkaRestartRules = settings.restart
        self._deployment = deployment
        # One move at a time: each looks at who leads what, and at what the others have borrowed.
        self._moving = threading.Lock()
        self._leaving: set[int] = set()
        # That elections were held does not show in a state, where the borrowed order makes another the preferred one.
        # A resumed job holds them once more, which costs nothing.
        self._elected: set[str] = set()
        # Likewise of throttles, which may be somebody else's. The ledger makes it harmless to do it again.
        self._performed: set[tuple[str, str]] = set()
        # Which broker an instance is: that does not change while it is in a cluster.
        self._numbers: Mapping[str, int] = {}
        self._reassigner = carry.Reassigner(deployment, self._with_connection)

    def read(self, *, timeout_s: float) -> KafkaState:
        return read_state(self._deployment, timeout_s=timeout_s, readings=READINGS)

    def cluster(self, state: KafkaState) -> Cluster:
        """The state as the rules look at it, with the inventory's limits."""
        return Cluster(state, self._rules.max_behind_ms)

    def identity(self, state: KafkaState) -> str | None:
        return state.cluster_id

    def baseline(self, state: KafkaState) -> Mapping[str, Any]:
        return order.baseline(self.cluster(state))

    def gate(self, state: KafkaState, baseline: Mapping[str, Any]) -> GateFacts:
        return gate_facts(state, baseline, max_behind_ms=self._rules.max_behind_ms)

    def down(self, state: KafkaState) -> Mapping[str, str]:
        return order.down(self.cluster(state))

    def leads(self, state: KafkaState, instance: str) -> bool | None:
        return order.leads(self.cluster(state), instance)

    def targets(self, state: KafkaState, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        return order.targets(self.cluster(state), instances, verb, move_leaders=self._rules.move_leaders)

    def consequences(self, state: KafkaState, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return order.consequences(self.cluster(state), instances, verb)

    def progress(self, state: KafkaState, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        if backup_acts((act,)):
            # Offsets that were set go on as soon as clients do; a comparison leaves no trace.
            at_once = act == COMPARE or step.args.get("kind") == "offsets"
            if at_once and (step.id, act) in self._performed:
                return DONE
            return self.vault(step.args["destination"]).progress(step, act)
        cluster = self.cluster(state)
        if act == order.ELECT:
            return order.elected(cluster, step.args["partitions"])
        if act in carry.ACTS:
            if act == carry.MOVE:
                return batch_progress(state, step.args)
            return DONE if (step.id, act) in self._performed else pending("the throttle")
        if act in dirs.ACTS and act != dirs.MOVE_DIRS:
            return DONE if (step.id, act) in self._performed else pending("the throttle")
        if act == dirs.MOVE_DIRS:
            return dirs.dir_progress(self._reassigner.read(dirs.READINGS), step.args)
        if act == EMPTY:
            return DONE if (step.id, act) in self._performed else pending("its log directories to be empty")
        if act == UNREGISTER:
            gone = state.brokers is not None and step.args["broker"] not in {b.id for b in state.brokers}
            return DONE if gone else pending("the controllers to forget it")
        assert step.instance is not None
        if act in (order.MOVE_LEADERS, order.MOVE_AWAY):
            return order.leaders_moved(cluster, step.instance)
        if act == order.ELECT_PREFERRED:
            if step.id not in self._elected:
                return pending("its leaderships to come back")
            return order.leaders_back(cluster, step.instance)
        return order.whole(cluster, step.instance, baseline)

    # -- acts --------------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """Carry out one of Kafka's own acts. Raises BdopsError, with what the controller said."""
        deadline = time.monotonic() + context.timeout_s
        if backup_acts((act,)):
            self.vault(step.args["destination"]).perform(step, act, context)
        elif act == order.MOVE_LEADERS:
            self._move_leaders(step, context, deadline, for_good=False)
        elif act == order.MOVE_AWAY:
            self._move_leaders(step, context, deadline, for_good=True)
        elif act == order.ELECT_PREFERRED:
            self._elect_preferred(step, context, deadline)
        elif act == order.ELECT:
            self._with_connection(deadline, lambda c: alter.elect_preferred(c, step.args["partitions"], deadline))
        elif act == carry.THROTTLE:
            self._reassigner.throttle(step, context)
        elif act == carry.MOVE:
            self._reassigner.move(step, context)
        elif act == carry.UNTHROTTLE:
            self._reassigner.unthrottle(step, context)
        elif act in dirs.ACTS:
            dirs.perform_dirs(self._reassigner, step, act, context)
        elif act == EMPTY:
            self._reassigner.await_empty(step.args["broker"], context)
        elif act == UNREGISTER:
            self._with_connection(deadline, lambda c: alter.unregister(c, step.args["broker"], deadline))
        else:
            raise BdopsError(f"Kafka knows no act {act!r}", code="BUG")
        self._performed.add((step.id, act))

    def _move_leaders(self, step: Step, context: ActContext, deadline: float, *, for_good: bool) -> None:
        assert step.instance is not None
        left: tuple[str, ...] = ()
        for _ in range(ATTEMPTS):
            with self._moving:
                cluster = self._leaders()
                number = cluster.numbers[step.instance]
                self._leaving.add(number)
                moves = leaders.moves_away(cluster, number, self._leaving | self._lenders(cluster, context))
                if not moves.elect:
                    return
                if for_good:
                    context.say(f"order of replicas until now: {_dumped(moves.before)}")
                else:
                    self._borrow(step.instance, moves, cluster, context)
                left = self._with_connection(deadline, lambda c, m=moves: _move(c, m, deadline))  # type: ignore[misc]
            if not left:
                return
        raise OperationFailed(
            f"{plural(len(left), 'leadership')} cannot be moved away: {', '.join(left[:3])}: the replica that should "
            "lead is not in sync any more",
            where=step.instance,
            hint="bdops kafka partitions --under-replicated; then resume",
            code="NOT_ELECTED",
        )

    def _borrow(self, instance: str, moves: leaders.Moves, cluster: Cluster, context: ActContext) -> None:
        """Write down the orders that are about to change, but for those that the ledger has already."""
        lent: set[str] = set()
        for other in cluster.servers:
            lent |= {p for loan in _loans(other, context) for p in json.loads(loan.previous or "{}")}
        fresh = {p: replicas for p, replicas in moves.before.items() if p not in lent}
        if fresh:
            key = next((k for k in ORDER_KEYS if context.borrowed(instance, k) is None), None)
            if key is None:
                raise OperationFailed("its leaderships were moved away again and again", where=instance)
            after = {p: moves.after[p] for p in fresh}
            context.borrow(instance, key, previous=_dumped(fresh), value=_dumped(after))

    def _lenders(self, cluster: Cluster, context: ActContext) -> set[int]:
        """The brokers whose leaderships are away now: they go down, or are down."""
        return {n for name, n in cluster.numbers.items() if any(True for _ in _loans(name, context))}

    def _elect_preferred(self, step: Step, context: ActContext, deadline: float) -> None:
        assert step.instance is not None
        for loan in list(_loans(step.instance, context)):
            # The engine calls `restore`, if no other step needs it.
            context.give_back(loan.object, loan.key)
        cluster = self._leaders()
        number = cluster.numbers[step.instance]
        self._leaving.discard(number)
        partitions = leaders.off_preferred(cluster, (number,))
        if partitions:
            self._with_connection(deadline, lambda c: alter.elect_preferred(c, partitions, deadline))
        self._elected.add(step.id)

    def obstacles(self, step: Step) -> tuple[Reason, ...]:
        """The gate before a batch of moves."""
        found = moves_of(step.args)
        # Whatever of these is in flight already a former run began.
        self._reassigner.ours |= {m.partition for m in found}
        return obstacles(self._reassigner.read(), found, watermark=step.args["watermark"])

    def abandon(self, step: Step) -> None:
        """Cancel the moves of a step that are in flight: those partitions keep the replicas that they had.

        Remove what it has made of a backup that is not whole, or for a drill.
        """
        if backup_acts(step.acts):
            self.vault(step.args["destination"]).abandon(step)
        elif carry.MOVE in step.acts:
            self._reassigner.cancel(step)
        elif dirs.MOVE_DIRS in step.acts:
            dirs.cancel_dirs(self._reassigner, step)

    def reversal(self, state: KafkaState, steps: Sequence[Step]) -> tuple[Target, ...]:
        """The way back: what has been moved goes where it was when the job began."""
        found = way_back(state, steps)
        if any(dirs.MOVE_DIRS in step.acts for step in steps):
            found += dirs.dirs_back(self._reassigner.read(dirs.READINGS), steps)
        return found

    def restore(self, borrowed: Borrowed) -> None:
        """Put the orders of replicas back: a request that changes nothing but the order, whoever is down now.

        Or a setting of the throttle, unless moves of ours go on under it.
        """
        if not borrowed.key.startswith(ORDERS):
            self._reassigner.restore(borrowed)
            return
        before = {p: tuple(replicas) for p, replicas in json.loads(borrowed.previous or "{}").items()}
        deadline = time.monotonic() + ALTER_TIMEOUT_S
        cluster = self._leaders()
        orders = leaders.to_put_back(cluster, before)
        if moving := leaders.in_flight(cluster) & orders.keys():
            raise OperationFailed(
                f"the replicas of {', '.join(sorted(moving)[:3])} are being moved, which putting their order back "
                "would cancel",
                where=borrowed.object,
                hint="wait for the reassignment (`bdops kafka partitions --reassigning`), then resume or abort the job",
                code="REASSIGNMENT_UNDER_WAY",
            )
        if orders:
            self._with_connection(deadline, lambda c: alter.reassign(c, orders, deadline, same_factor=True))

    def vault(self, destination: str | None) -> KafkaVault:
        """The backups in a folder: the one that is named, else the inventory's, else one of bdops' own."""
        given = destination or self._deployment.settings.snapshot_dir
        folder = Path(given).expanduser().absolute() if given else None
        cluster = self._deployment.cluster
        return KafkaVault.of(folder or default_folder(cluster, self.component), self._deployment)

    # -- what is left behind -----------------------------------------------------------------------------------

    def leftovers(self, state: KafkaState) -> tuple[Leftover, ...]:
        """Throttles of replication. Reads what `read` leaves out, as a job does not need it each second."""
        found = read_state(self._deployment, timeout_s=READ_TIMEOUT_S, readings=LEFTOVER_READINGS)
        moving = plural(len(found.reassignments or ()), "reassignment")
        unknown = (
            Leftover(
                component=self.component,
                object=what,
                key="throttles",
                value="not known",
                harm=f"whether any is set could not be read: {why}",
                fixable=False,
            )
            for what, why in found.unread.items()
            if what.partition("/")[0] in ("broker_configs", "topic_configs")
        )
        return tuple(unknown) + tuple(
            Leftover(
                component=self.component,
                object=entity,
                key=key,
                value=value,
                harm="it slows down replicas that catch up"
                + (f"; {moving} under way, which it may be there for" if found.reassignments else ""),
                fixable=found.reassignments == (),
            )
            for entity, key, value, _ in throttles(found)
        )

    def clear(self, leftover: Leftover) -> None:
        """Delete the dynamic configuration. Raises OperationFailed when it is set in the broker's own file."""
        kind, name = _resource(leftover.object)
        deadline = time.monotonic() + ALTER_TIMEOUT_S
        # A broker's own configuration is taken by that broker alone.
        only = int(name) if kind == _BROKER and name else None
        self._with_connection(
            deadline, lambda c: alter.set_configs(c, kind, name, {leftover.key: None}, deadline), only
        )
        if kind != _BROKER or leftover.key not in BROKER_THROTTLES:
            return
        # A broker hears of its configuration from the controllers, a moment later.
        heard_by = time.monotonic() + HEARD_S
        while any((x.object, x.key) == (leftover.object, leftover.key) for x in self.leftovers(self._leaders().state)):
            if time.monotonic() >= heard_by:
                raise OperationFailed(
                    f"{leftover.key} is still there: it is set in server.properties",
                    where=leftover.object,
                    hint="remove it there and restart the broker",
                    code="SET_IN_FILE",
                )
            time.sleep(READ_AGAIN_S)

    def close(self) -> None:
        """Connections live as long as one request does: a broker that is asked may be the next to go."""

    # -- asking ------------------------------------------------------------------------------------------------

    def _leaders(self) -> Cluster:
        """Who leads what right now. While controllers elect, some of it cannot be read: that is waited for a little.

        Raises StateUnknown when it cannot be read for long.
        """
        deadline = time.monotonic() + READ_TIMEOUT_S
        while True:
            left_s = max(1.0, deadline - time.monotonic())
            state = read_state(self._deployment, timeout_s=left_s, readings=LEADER_READINGS)
            missing = [name for name in ("brokers", "topics", "reassignments") if getattr(state, name) is None]
            if not missing:
                return self.cluster(state)
            if time.monotonic() >= deadline:
                why = state.unread.get(missing[0], "not read")
                raise StateUnknown(f"{missing[0]} cannot be read: {why}", where=self._deployment.name)
            time.sleep(READ_AGAIN_S)

    def _with_connection(self, deadline: float, call: Callable[[Connection], Any], only: int | None = None) -> Any:
        """Ask the first broker that can be connected to. Only a connection that fails makes the next one be asked.

        `only`: none but the broker of this number.
        """
        if only is not None and only not in self._numbers.values():
            self._numbers = self._leaders().numbers
        error: BdopsError = ConfigError("the inventory has no such broker", where=self._deployment.name)
        for instance in self._deployment.instances:
            if "broker" not in instance.roles or (only is not None and self._numbers.get(instance.name) != only):
                continue
            try:
                connection = connected(instance, min(deadline, time.monotonic() + CONNECT_S))
            except Unreachable as e:
                error = e
                continue
            with closing(connection):
                return call(connection)
        raise error


def _move(connection: Connection, moves: leaders.Moves, deadline: float) -> tuple[str, ...]:
    alter.reassign(connection, moves.after, deadline, same_factor=True)
    return alter.elect_preferred(connection, moves.elect, deadline)


def _loans(instance: str, context: ActContext) -> Iterable[Borrowed]:
    return (loan for key in ORDER_KEYS if (loan := context.borrowed(instance, key)) is not None)


def _dumped(orders: leaders.Orders) -> str:
    return json.dumps({p: list(replicas) for p, replicas in orders.items()}, separators=(",", ":"))


def _resource(entity: str) -> tuple[int, str]:
    """The protocol's resource of a throttle's entity: `topic orders`, `broker 3 (node3)`, `all brokers`."""
    if entity.startswith("topic "):
        return _TOPIC, entity.removeprefix("topic ")
    return _BROKER, "" if entity == "all brokers" else entity.split()[1]
