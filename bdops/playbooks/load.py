"""Reads a playbook: YAML into the frozen model, with every error at its file and line. A file is hostile until then."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bdops.core.units import parse_duration, parse_size
from bdops.errors import ConfigError
from bdops.inventory.problems import Problems, likely_or_known, looks_secret, position, raise_all
from bdops.inventory.shape import checked
from bdops.inventory.yaml_source import Dialect, Key, origin_of, parse_yaml, plain, read_text
from bdops.playbooks import values
from bdops.playbooks.edge import ForEachDoc, ParameterDoc, PlaybookDoc, StepDoc, WaitDoc
from bdops.playbooks.model import (
    RESERVED,
    ForEach,
    Operation,
    Option,
    Parameter,
    Phase,
    Playbook,
    PlaybookStep,
    Wait,
)

INVALID = "PLAYBOOK_INVALID"
MAX_BYTES = 256 * 1024
MAX_VALUES = 20_000
_STARTER = "begin with `version: 1`, `help:` and `steps:`; docs/playbooks.md has an example"
_PHASES: dict[Phase, str] = {"": "steps", "failure": "on_failure", "end": "finally"}


def load_playbook(path: Path, operations: Mapping[str, Operation]) -> Playbook:
    """Read and validate one playbook. `operations` are those that it may call, by their words.

    Raises ConfigError, or ConfigErrors with all that is wrong, each with file:line (PLAYBOOK_INVALID).
    """
    errors: list[ConfigError] = []
    try:
        text = read_text(path, "the playbook", MAX_BYTES)
        root = parse_yaml(text, str(path), errors, Dialect(max_nodes=MAX_VALUES))
    except ConfigError as e:
        e.code = INVALID
        raise
    problems = Problems(root, str(path), INVALID)
    doc: PlaybookDoc | None = None
    if not isinstance(root, dict):
        problems.add((), "expected a mapping with version, help and steps", hint=_STARTER)
    else:
        doc = checked(PlaybookDoc, plain(root), problems)
    playbook = _Reader(root, str(path), operations, problems).playbook(path.stem, doc) if doc else None
    for error in errors:
        error.code = INVALID
    raise_all(sorted([*errors, *problems.errors()], key=position))
    assert playbook is not None
    return playbook


def parse_value(parameter: Parameter, value: Any) -> Any:
    """A parameter's value from the text of `-e` or from YAML. Raises ValueError with what was expected."""
    found = _PARSERS[parameter.type](value)
    if parameter.choices and found not in parameter.choices:
        raise ValueError(f"expected one of {', '.join(map(str, parameter.choices))}, found {str(found)[:60]!r}")
    return found


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > values.MAX_TEMPLATE_CHARS or "\0" in text:
        raise ValueError(f"expected text of at most {values.MAX_TEMPLATE_CHARS} characters")
    return text


def _bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    found = words.get(str(value).lower())
    if found is None:
        raise ValueError(f"expected true or false, found {str(value)[:60]!r}")
    return found


def _number(kind: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    def parsed(value: Any) -> Any:
        try:
            if isinstance(value, bool) or len(str(value)) > 40:
                raise ValueError
            if not math.isfinite(number := kind(str(value))):
                raise ValueError
            return number
        except ValueError:
            raise ValueError(f"expected {what}, found {str(value)[:60]!r}") from None

    return parsed


def _checked_text(parse: Callable[[str], Any]) -> Callable[[Any], str]:
    """What is kept is the text, as the operations themselves take it."""

    def parsed(value: Any) -> str:
        parse(text := _text(value))
        return text

    return parsed


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "int": _number(int, "a whole number"),
    "number": _number(float, "a number"),
    "bool": _bool,
    "duration": _checked_text(parse_duration),
    "size": _checked_text(parse_size),
}


class _Reader:
    """One file's reading: what the shape does not tell is judged here, and every name that a template speaks of."""

    def __init__(self, root: Any, file: str, operations: Mapping[str, Operation], problems: Problems) -> None:
        self._root = root
        self._file = file
        self._operations = operations
        self._problems = problems
        self._known: set[str] = set()
        self._registered: set[str] = set()

    def playbook(self, name: str, doc: PlaybookDoc) -> Playbook:
        parameters = tuple(self._parameter(key, each) for key, each in doc.parameters.items())
        self._known = {*doc.parameters, "results", "cluster"}
        if not doc.steps:
            self._problems.add(("steps",), "expected at least one step", hint="`- do: check` is one")
        documents = {"": doc.steps, "failure": doc.on_failure, "end": doc.finally_}
        phases: dict[Phase, tuple[PlaybookStep, ...]] = {}
        for phase, section in _PHASES.items():
            steps = documents[phase]
            phases[phase] = tuple(self._step((section, number), step) for number, step in enumerate(steps))
        return Playbook(name=name, source=self._file, help=doc.help, parameters=parameters, phases=phases)

    def _parameter(self, name: str, doc: ParameterDoc) -> Parameter:
        path: tuple[Key, ...] = ("parameters", name)
        if name in RESERVED:
            self._problems.add(path, "this name has a meaning of its own in templates", hint="choose another one")
        if looks_secret(name):
            hint = "the inventory has references to secrets: what a playbook is told is in its job's plan"
            self._problems.add(path, "a playbook takes no secrets", hint=hint)
        try:
            bare = Parameter(name=name, type=doc.type, help=doc.help)
            choices = tuple(parse_value(bare, c) for c in doc.choices)
            parameter = Parameter(name=name, type=doc.type, help=doc.help, choices=choices)
            default = None if doc.default is None else parse_value(parameter, doc.default)
        except ValueError as e:
            self._problems.add(path, str(e))
            return bare
        return Parameter(name=name, type=doc.type, help=doc.help, choices=choices, default=default)

    def _step(self, path: tuple[Key, ...], doc: StepDoc) -> PlaybookStep:
        operation = self._operation(path, doc) if doc.do else None
        item = {"item"} if doc.for_each else set()
        each = self._for_each(path, doc.for_each) if doc.for_each else None
        for key, value in (("name", doc.name), ("approve", doc.approve), ("archive", doc.archive)):
            self._templates((*path, key), value, item)
        if doc.when:
            self._names((*path, "when"), lambda: values.names_in_condition(doc.when or ""), item)
        wait = self._wait(path, doc.wait_for, item) if doc.wait_for else None
        reads = operation is not None and operation.kind == "reads"
        if not reads and ("exit_codes" in doc.model_fields_set or doc.go_on):
            hint = "what changes something must be done before the next step; `on_failure` has steps for when it is not"
            self._problems.add(path, "exit_codes and go_on are for an operation that only reads, or exec", hint=hint)
        if doc.register_:
            if doc.register_ in self._registered:
                self._problems.add((*path, "register"), f"{doc.register_} is registered twice")
            self._registered.add(doc.register_)
        origin = origin_of(self._root, path)
        return PlaybookStep(
            name=doc.name or doc.do or doc.approve or ("wait" if doc.wait_for else "archive"),
            where=str(origin or self._file),
            do=doc.do,
            given=plain(doc.with_),
            wait=wait,
            approve=doc.approve,
            archive=doc.archive,
            when=doc.when,
            for_each=each,
            register=doc.register_,
            exit_codes=doc.exit_codes,
            go_on=doc.go_on,
            late=doc.plan_late,
        )

    def _for_each(self, path: tuple[Key, ...], doc: ForEachDoc) -> ForEach:
        over = "hosts" if doc.hosts else "instances" if doc.instances else "list"
        value = doc.list_ if over == "list" else getattr(doc, over)
        found = self._templates((*path, "for_each", over), value, set())
        if "results" in found:
            hint = "the steps of a job are known before it starts: use parameters here"
            self._problems.add((*path, "for_each"), "what is gone through cannot depend on results", hint=hint)
        return ForEach(over=over, value=value)  # type: ignore[arg-type]

    def _wait(self, path: tuple[Key, ...], doc: WaitDoc, item: set[str]) -> Wait:
        self._templates((*path, "wait_for", "check"), doc.check, item)
        return Wait(
            selector=doc.check,
            codes=doc.codes,
            at_most=doc.at_most,
            at_least=doc.at_least,
            timeout_s=doc.timeout,
            interval_s=doc.interval,
        )

    def _operation(self, path: tuple[Key, ...], doc: StepDoc) -> Operation | None:
        operation = self._operations.get(doc.do or "")
        if operation is None:
            hint = likely_or_known(doc.do, self._operations, "operations")
            self._problems.add((*path, "do"), f"there is no operation {str(doc.do)[:60]!r}", hint=hint)
            return None
        item = {"item"} if doc.for_each else set()
        for key, value in doc.with_.items():
            at: tuple[Key, ...] = (*path, "with", key)
            option = operation.option(key)
            if option is None:
                hint = likely_or_known(key, (o.key for o in operation.options), "options")
                self._problems.add(at, f"`{operation.name}` has no such option", hint=hint)
            elif wrong := _mismatch(option, value):
                self._problems.add(at, wrong)
            else:
                self._templates(at, value, item)
        for option in operation.options:
            if option.required and option.key not in doc.with_:
                what = f"`{operation.name}` needs {option.key}: {option.help}"
                self._problems.add((*path, "do"), what, hint=f"add `with: {{{option.key}: ...}}`")
        words = [o for o in operation.options if o.flag is None]
        for before, after in pairwise(words):
            if after.key in doc.with_ and before.key not in doc.with_:
                self._problems.add((*path, "with", after.key), f"it comes after {before.key}, which is not there")
        return operation

    def _templates(self, path: tuple[Key, ...], value: Any, item: set[str]) -> frozenset[str]:
        return self._names(path, lambda: values.names_in(value), item)

    def _names(self, path: tuple[Key, ...], find: Callable[[], frozenset[str]], item: set[str]) -> frozenset[str]:
        try:
            found = find()
        except ValueError as e:
            self._problems.add(path, str(e))
            return frozenset()
        for name in sorted(found - self._known - item):
            hint = likely_or_known(name, self._known | item, "names")
            self._problems.add(path, f"there is no {name}", hint=hint)
        return found


def _mismatch(option: Option, value: Any) -> str | None:
    """What is wrong with the type of an option's value; None when it fits, or is a template."""
    if isinstance(value, list) and option.many:
        wrong = [each for each in value if isinstance(each, list | dict) or each is None]
        return "expected a list of words" if wrong or not value else None
    if values.is_template(value):
        return None
    if isinstance(value, list | dict) or value is None:
        return "expected a list of words" if option.many else "expected one value"
    fits = {"bool": isinstance(value, bool), "int": type(value) is int, "number": type(value) in (int, float)}
    words = {"bool": "true or false", "int": "a whole number", "number": "a number"}
    if not fits.get(option.type, True):
        return f"expected {words[option.type]}, found {str(value)[:60]!r}"
    return None
