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
    help: Words
    default: Scalar | None = None
    choices: Annotated[tuple[Scalar, ...], Field(max_length=100)] = ()


class ForEachDoc(Doc):
    """Once for each host or instance that a selector names, or for each value of a list."""

    hosts: Text | None = None
    instances: Text | None = None
    list_: Annotated[LIST | Text | None, Field(alias="list")] = None

    @model_validator(mode="after")
    def _one_of(self) -> ForEachDoc:
        if len(self.model_fields_set) != 1:
            raise ValueError("expected one of hosts, instances and list")
        return self


class WaitDoc(Doc):
    """Checks, until none is worse than `at_most`; or one is `at_least` so bad, of what has to be noticed first."""

    check: Annotated[Text | None, Field(description="A selector; everything if absent.")] = None
    codes: Annotated[Texts, Field(description="Only these checks: KAFKA_*, HDFS_MISSING_BLOCKS.")] = ()
    at_most: Literal["ok", "warning"] = "ok"
    at_least: Literal["warning", "critical"] | None = None
    timeout: Seconds = 600.0
    interval: Seconds = 5.0

    @model_validator(mode="after")
    def _one_bound(self) -> WaitDoc:
        if {"at_most", "at_least"} <= self.model_fields_set:
            raise ValueError("expected at_most or at_least, not both")
        return self


_KINDS = ("do", "wait_for", "approve", "archive")


class StepDoc(Doc):
    """One step: an operation of bdops (`do`, `with`), a wait, the approval of a person, or an archive of results."""

    name: Words | None = None
    do: Annotated[Text | None, Field(description="A command of bdops by its words: zk snapshot create.")] = None
    with_: Annotated[dict[str, Any], Field(alias="with", description="Its options and words.")] = {}
    wait_for: WaitDoc | None = None
    approve: Annotated[Words | None, Field(description="What a person is asked; --yes answers.")] = None
    archive: Annotated[Text | None, Field(description="The folder for one archive (JOB.tar.gz) of all results.")] = None
    when: Annotated[Text | None, Field(description="An expression: without braces.")] = None
    for_each: ForEachDoc | None = None
    register_: Annotated[Name | None, Field(alias="register", description="results.NAME for later steps.")] = None
    exit_codes: Annotated[tuple[int, ...], Field(description="What an operation that reads may exit with.")] = (0,)
    go_on: Annotated[bool, Field(description="A failure of an operation that reads is noted, and no more.")] = False
    plan_late: Annotated[Words | None, Field(description="Why it can be planned only when it is reached.")] = None

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
    version: Literal[1] = 1
    help: Annotated[Words, Field(description="What it is for; the first line is shown in lists.")]
    parameters: Annotated[dict[Name, ParameterDoc], Field(max_length=MAX_PARAMETERS)] = {}
    steps: Steps
    on_failure: Annotated[Steps, Field(description="When a step has failed, before `finally`.")] = ()
    finally_: Annotated[Steps, Field(alias="finally", description="In the end, however it was.")] = ()
