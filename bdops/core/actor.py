"""What a component brings to a job: how it reads, judges, acts and verifies. Types alone.

The engine (`bdops.jobs`) owns the loop, the journal, the ledger, deadlines and the service manager; a
component owns what is particular to it. Everything but `read`, `perform` and `restore` is pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from bdops.core.gate import GateFacts, Reason
from bdops.core.plan import Step, Target

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRules:
    """How patient a job is with one component; every one is a setting (`restart:`) of the inventory."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic from the class

    gate_timeout_s: float = 60.0
    """How long a gate that says `wait` is asked again before it counts as a refusal."""
    interval_s: float = 1.0
    """Between two readings while something is waited for."""
    verify_timeout_s: float = 600.0
    """For an instance to be whole again after its act."""
    act_timeout_s: float = 180.0
    """For an act itself: a stop, a start."""
    stable_reads: int = 2
    """So many readings in a row must say that an instance is whole again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Whether an act has had its effect, by a fresh reading. `waiting_for` says in words what is missing yet."""

    done: bool
    waiting_for: str = ""


DONE = Progress(True)


def pending(what: str) -> Progress:
    """Not done; `what` is waited for: `12 of 40 partitions are back in sync`."""
    return Progress(False, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """A setting that a job has changed and will put back. `previous` None: it was not set.

    `object` and `key` are the component's (`cluster`, `persistent/cluster.routing.allocation.enable`).
    """

    component: str
    object: str
    key: str
    previous: str | None
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A temporary setting that somebody left behind, for `bdops doctor`. `harm`: what it does while it is there.

    `fixable`: `clear` can remove it without hurting anything.
    """

    component: str
    object: str
    key: str
    value: str
    harm: str
    fixable: bool = True


class ActContext(Protocol):
    """What an act may ask of the engine."""

    @property
    def timeout_s(self) -> float:
        """How much time the act has left."""
        ...

    @property
    def act_id(self) -> str:
        """The act's name on its host, the same in a resume that adopts it."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep. Raises when the job is told to leave at once: let it pass."""
        ...

    def waiting(self, text: str) -> None:
        """Tell the operator what is being waited for; nothing of it goes to the journal."""
        ...

    def wish(self, name: str) -> str | None:
        """What the operator has asked of the running job since (`bdops jobs throttle`), by its name."""
        ...

    def say(self, text: str) -> None:
        """Tell the operator and the journal."""
        ...

    def borrow(self, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        """Write down that a setting is about to change, before it does. Of several steps that borrow the same the
        first one's `previous` is kept, and it is given back when the last of them gives it back."""
        ...

    def borrowed(self, object: str, key: str) -> Borrowed | None:
        """This job's open entry of a setting."""
        ...

    def give_back(self, object: str, key: str) -> None:
        """This step needs it no more. When no other does either, the engine calls `restore` and notes it."""
        ...


class Actor(Protocol[S]):
    """One deployment's side of a job. Made by the component's `actor(deployment, pool)`; used from several threads."""

    component: str
    rules: RestartRules

    def read(self, *, timeout_s: float) -> S:
        """A fresh state with all that the methods below look at. Never raises for servers that do not answer."""
        ...

    def identity(self, state: S) -> str | None:
        """The cluster's own id (cluster id, UUID, nameservice and cluster id); None when it is not known."""
        ...

    def baseline(self, state: S) -> Mapping[str, Any]:
        """Measurements (JSON values) that gates and verifications compare with, taken when the plan is made."""
        ...

    def gate(self, state: S, baseline: Mapping[str, Any]) -> GateFacts:
        """What may go down now. Unknown readings become obstacles with the verdict UNKNOWN."""
        ...

    def down(self, state: S) -> Mapping[str, str]:
        """The instances of the inventory that do not serve, or of which that is not known, each with why."""
        ...

    def leads(self, state: S, instance: str) -> bool | None:
        """Whether it is the leader of its kind now; None when that is not known."""
        ...

    def targets(self, state: S, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        """The targets of `restart`, `stop` or `start` of these instances, by the component's rules of order."""
        ...

    def consequences(self, state: S, instances: Collection[str], verb: str) -> tuple[str, ...]:
        """What clients will notice, in words with numbers: elections, failovers, what goes without redundancy."""
        ...

    def progress(self, state: S, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        """Whether `act` has had its effect. It is asked before the act too: what is done already is not done again.

        For `restart` and `start`: whether the instance is whole again (the engine itself sees that its process
        is a new one). For `stop` it is not asked.
        """
        ...

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """Carry out one of the component's own acts. It must be safe to do again: a killed job repeats it.

        Raises BdopsError; the job then pauses with it.
        """
        ...

    def obstacles(self, step: Step) -> tuple[Reason, ...]:
        """The gate of a step that is about no instance: why it must not go on now, by a fresh reading."""
        ...

    def abandon(self, step: Step) -> str | None:
        """The job is closed with this step half done: cancel what is still going on of it, and say what stands of it
        where that is to be known. Raises BdopsError."""
        ...

    def reversal(self, state: S, steps: Sequence[Step]) -> tuple[Target, ...]:
        """Targets that take back what these steps did, beside starting what they stopped."""
        ...

    def restore(self, borrowed: Borrowed) -> None:
        """Put a borrowed setting back to its previous value; when it is that already, do nothing. Raises BdopsError."""
        ...

    def leftovers(self, state: S) -> tuple[Leftover, ...]:
        """Settings of the kind that jobs borrow which are in force now, whoever set them."""
        ...

    def clear(self, leftover: Leftover) -> None:
        """Remove a leftover: the setting goes back to its default. Raises BdopsError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class InstanceActs:
    """For actors all of whose acts are about an instance, or are over when they return."""

    def obstacles(self, step: Step) -> tuple[Reason, ...]:
        return ()

    def abandon(self, step: Step) -> str | None:
        return None

    def reversal(self, state: Any, steps: Sequence[Step]) -> tuple[Target, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """What an actor reads whose steps look at nothing of the cluster, at a moment (UTC)."""

    cluster: str
    taken_at: datetime
    unread: Mapping[str, str] = field(default_factory=dict)


class StatelessActs(InstanceActs):
    """For actors that have no state of a cluster: no gate, no baseline, nothing borrowed, nothing left behind."""

    def __init__(self, cluster: str) -> None:
        self.cluster_name = cluster

    def identity(self, state: Nothing) -> str | None:
        return self.cluster_name

    def baseline(self, state: Nothing) -> Mapping[str, Any]:
        return {}

    def gate(self, state: Nothing, baseline: Mapping[str, Any]) -> GateFacts:
        return GateFacts(names=frozenset())

    def down(self, state: Nothing) -> Mapping[str, str]:
        return {}

    def leads(self, state: Nothing, instance: str) -> bool | None:
        return False

    def targets(self, state: Nothing, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        return ()

    def consequences(self, state: Nothing, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return ()

    def restore(self, borrowed: Borrowed) -> None:
        raise AssertionError(f"{borrowed.component} borrows nothing")

    def leftovers(self, state: Nothing) -> tuple[Leftover, ...]:
        return ()

    def clear(self, leftover: Leftover) -> None:
        raise AssertionError(f"{leftover.component} leaves nothing")

    def close(self) -> None:
        pass
