"""The shape of a playbook's file, as pydantic models that live while it is read; `load` makes the frozen model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from bdops.core.units import parse_duration
from bdops.inventory.edge import Text, Texts

NAME = r"^[a-z][a-z0-9_]{0,39}$"
MAX_STEPS = 100
MAX_PARAMETERS = 40
LIST = Annotated[list[Any], Field(max_length=1000)]


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _readable(value: str) -> str:
    """What people are shown must be what is there: no control characters, no reversed text."""
    if not all(c.isprintable() or c == "\n" for c in value):
        raise ValueError("expected text without control characters")
    return value


Words = Annotated[Text, AfterValidator(_readable)]
Name = Annotated[str, Field(pattern=NAME)]
Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(gt=0, le=86400 * 7), WithJsonSchema({"type": ["number", "string"]})
]
Scalar = str | int | float | bool


class Doc(BaseModel):
    """Base of all: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ParameterDoc(Doc):
    """Something that a playbook is told by `-e name=value`; without a default it must be."""

    type: Literal["text", "int", "number", "bool", "duration", "size"] = "text"
    """What its value is: 10m is a duration, 5GB a size."""
    help: Words
    """What it is for, in the playbook's own --help."""
    default: Scalar | None = None
    """Its value where it is not given; null: it must be."""
    choices: Annotated[tuple[Scalar, ...], Field(max_length=100)] = ()
    """The only values that it may have."""


class ForEachDoc(Doc):
    """Once for each host or instance that a selector names, or for each value of a list."""

    hosts: Text | None = None
    """A selector: once for each host that it names."""
    instances: Text | None = None
    """A selector: once for each instance that it names."""
    list_: Annotated[LIST | Text | None, Field(alias="list")] = None
    """A list, or a template that comes to one: once for each of its values."""

    @model_validator(mode="after")
    def _one_of(self) -> ForEachDoc:
        if len(self.model_fields_set) != 1:
            raise ValueError("expected one of hosts, instances and list")
        return self


class WaitDoc(Doc):
    """Checks, until none is worse than `at_most`; or one is `at_least` so bad, of what has to be noticed first."""

    check: Text | None = None
    """A selector; everything if absent."""
    codes: Texts = ()
    """Only these checks: KAFKA_*, HDFS_MISSING_BLOCKS."""
    at_most: Literal["ok", "warning"] = "ok"
    """Waits until none of the checks is worse."""
    at_least: Literal["warning", "critical"] | None = None
    """Waits until one of the checks is as bad, for what has to be noticed first."""
    timeout: Seconds = 600.0
    """How long it waits before the step fails: seconds, or 10m."""
    interval: Seconds = 5.0
    """How long after an answer the checks are asked again."""

    @model_validator(mode="after")
    def _one_bound(self) -> WaitDoc:
        if {"at_most", "at_least"} <= self.model_fields_set:
            raise ValueError("expected at_most or at_least, not both")
        return self


_KINDS = ("do", "wait_for", "approve", "archive")


class StepDoc(Doc):
    """One step: an operation of bdops (`do`, `with`), a wait, the approval of a person, or an archive of results."""

    name: Words | None = None
    """What it is called; its operation if absent."""
    do: Text | None = None
    """A command of bdops by its words: zk snapshot create."""
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    """Its options and words."""
    wait_for: WaitDoc | None = None
    """Checks, asked again until they are as they must be."""
    approve: Words | None = None
    """What a person is asked; --yes answers."""
    archive: Text | None = None
    """The folder for one archive (JOB.tar.gz) of all results."""
    when: Text | None = None
    """An expression: without braces."""
    for_each: ForEachDoc | None = None
    """The step once for each of some hosts, instances or values; `item` is it."""
    register_: Annotated[Name | None, Field(alias="register")] = None
    """results.NAME for later steps."""
    exit_codes: tuple[int, ...] = (0,)
    """What an operation that reads may exit with."""
    go_on: bool = False
    """A failure of an operation that reads is noted, and no more."""
    plan_late: Words | None = None
    """Why it can be planned only when it is reached."""

    @model_validator(mode="after")
    def _one_kind(self) -> StepDoc:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(_KINDS)} in a step, found {', '.join(given) or 'none'}")
        if self.with_ and not self.do:
            raise ValueError("`with` is for an operation: `do` is not there")
        return self


Steps = Annotated[tuple[StepDoc, ...], Field(max_length=MAX_STEPS)]


class PlaybookDoc(Doc):
    """A whole file."""

    version: Literal[1] = 1
    """The version of this format."""
    help: Words
    """What it is for; the first line is shown in lists."""
    parameters: Annotated[dict[Name, ParameterDoc], Field(max_length=MAX_PARAMETERS)] = {}
    """What it can be told by `-e name=value`, by name."""
    steps: Steps
    """What is done, one after the other."""
    on_failure: Steps = ()
    """When a step has failed, before `finally`."""
    finally_: Annotated[Steps, Field(alias="finally")] = ()
    """In the end, however it was."""
