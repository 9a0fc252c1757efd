"""What a component tells the rest of bdops about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from bdops.core.actor import Actor
from bdops.core.checks import Check, State
from bdops.core.gate import GateFacts
from bdops.core.model import Deployment

StateT = TypeVar("StateT", bound=State)
StateT_co = TypeVar("StateT_co", bound=State, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of a component's servers. `defaults` are settings of this role; `ports` name the port settings in use.

    `by_default`: a host of the component plays the role when the inventory does not say who plays which.
    """

    name: str
    ports: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    by_default: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSettings:
    """What the inventory may say of a component.

    `type` is a frozen dataclass whose every field has a default; the inventory validates the merged values
    of all levels into it, once for the component and once for each instance. `shared_process`: roles given
    to one host are played by one process (Kafka's combined mode); otherwise each role is a process.
    """

    type: type
    roles: tuple[Role, ...]
    shared_process: bool


class ReadState(Protocol[StateT_co]):
    """Read what is asked from the live servers.

    `readings` are the fields of the state that are wanted (None: all). Never raises for a server that does
    not answer: the reading is then None and `unread` says why. Returns by `timeout_s`, whatever hangs.
    """

    def __call__(
        self, deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None
    ) -> StateT_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Generic[StateT]):
    """A component's reader, state and checks.

    `serving` answers, for each instance by name, whether it serves on its own API; None where that is unknown.
    `gate` gives what may go down in a state, `gate_rules` are the rules that it can name, each with its meaning,
    `gate_readings` the readings that it needs. `actor` makes the deployment's side of a job, of
    it and of the connections to its hosts (hosts.ssh.SshPool); hosts have none of these.
    """

    name: str
    title: str
    state: type[StateT]
    checks: tuple[Check[Any], ...]
    read_state: ReadState[StateT]
    serving: Callable[[StateT], Mapping[str, bool | None]]
    gate: Callable[[StateT], GateFacts] | None = None
    gate_rules: Mapping[str, str] = field(default_factory=dict)
    gate_readings: frozenset[str] = frozenset()
    actor: Callable[[Deployment, Any], Actor[Any]] | None = None
