"""What a playbook is, once it is read: parameters, and steps that are operations of bdops. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bdops.core.plan import Phase

ParameterType = Literal["text", "int", "number", "bool", "duration", "size"]
OptionType = Literal["text", "int", "number", "bool"]
OperationKind = Literal["changes", "reads"]
Each = Literal["hosts", "instances", "list"]

RESERVED = frozenset({"item", "results", "cluster", "true", "false", "none", "True", "False", "None"})
"""Names in templates that are not a playbook's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that an operation can be told. `flag` is the option on the command line; None: a positional word.

    `many`: it takes a list.
    """

    key: str
    flag: str | None
    type: OptionType
    many: bool = False
    required: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A command of bdops that a playbook may call. `changes`: it makes a plan, which becomes a job of its own."""

    name: str
    kind: OperationKind
    options: tuple[Option, ...]
    help: str = ""

    def option(self, key: str) -> Option | None:
        return next((o for o in self.options if o.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something that a playbook is told by `-e name=value`. `default` None: it must be given."""

    name: str
    type: ParameterType
    help: str
    default: Any = None
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """A step once for each host or instance that a selector names, or for each value of a list (or template of one)."""

    over: Each
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Ask checks again and again, until none is worse than `at_most`, or one as bad as `at_least`.

    `codes` are patterns; none: all checks.
    """

    selector: str | None
    codes: tuple[str, ...]
    at_most: str
    at_least: str | None
    timeout_s: float
    interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookStep:
    """One step as it was written. Exactly one of `do`, `wait`, `approve` and `archive` is there.

    `given` are the operation's options, with templates. `late`: it is planned when it is reached. `exit_codes`: what
    an operation that reads may end with; `go_on`: a failure is noted, and no more. `where` is file:line.
    """

    name: str
    where: str
    do: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    wait: Wait | None = None
    approve: str | None = None
    archive: str | None = None
    when: str | None = None
    for_each: ForEach | None = None
    register: str | None = None
    exit_codes: tuple[int, ...] = (0,)
    go_on: bool = False
    late: str | None = None

    @property
    def kind(self) -> str:
        """The name of the act that carries it out."""
        return "operation" if self.do else "wait-for" if self.wait else "approve" if self.approve else "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A whole playbook. `phases` has the steps of its course, on failure, and at the end."""

    name: str
    source: str
    help: str
    parameters: tuple[Parameter, ...]
    phases: Mapping[Phase, tuple[PlaybookStep, ...]]

    @property
    def steps(self) -> tuple[PlaybookStep, ...]:
        return tuple(step for steps in self.phases.values() for step in steps)
