"""A playbook with its parameters as the steps of a job: gone through, filled in, and decided as far as can be now.

What speaks of `results` is filled in when its step is reached (`ready`); everything else is in the plan as it will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from typing import Any

from bdops.core.plan import Target
from bdops.errors import ConfigError, UsageError
from bdops.inventory.problems import likely_or_known
from bdops.playbooks import values
from bdops.playbooks.load import INVALID, parse_value
from bdops.playbooks.model import ForEach, Operation, Parameter, Phase, Playbook, PlaybookStep

SKIP = "skip"
MAX_STEPS = 1_000
"""Of a plan, each turn of a for_each counted."""
RESULTS = "results"
_FILLED = ("given", "wait", "approve", "archive")
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The cluster that a playbook works on. `hosts` and `instances` are what a selector names there, each with `name`.

    Both raise UsageError as selectors do.
    """

    cluster: str
    components: tuple[str, ...]
    hosts: Callable[[str], Sequence[Item]]
    instances: Callable[[str], Sequence[Item]]


def parameters_of(playbook: Playbook, given: Sequence[str]) -> dict[str, Any]:
    """The value of every parameter, from `name=value` words and the defaults. Raises UsageError."""
    known = {p.name: p for p in playbook.parameters}
    found: dict[str, Any] = {}
    see = f"see `bdops run {playbook.source} --help`"
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"-e {word}: expected name=value", hint=see)
        if name not in known:
            hint = likely_or_known(name, known, "parameters")
            raise UsageError(f"-e {name}: the playbook {playbook.name} has no such parameter", hint=hint)
        if name in found:
            raise UsageError(f"-e {name} is given twice")
        try:
            found[name] = parse_value(known[name], text)
        except ValueError as e:
            raise UsageError(f"-e {name}: {e}", hint=see) from None
    missing = [p for p in playbook.parameters if p.name not in found and p.default is None]
    if missing:
        words = ", ".join(f"{p.name} ({p.help.splitlines()[0]})" for p in missing)
        raise UsageError(f"the playbook {playbook.name} must be told {words}", hint=f"-e {missing[0].name}=...; {see}")
    return {p.name: found.get(p.name, p.default) for p in playbook.parameters}


def targets_of(
    playbook: Playbook,
    parameters: Mapping[str, Any],
    around: Surroundings,
    operations: Mapping[str, Operation],
) -> tuple[Target, ...]:
    """Every step in its order, as a job's target; `args` is all that carrying it out needs, without the file.

    Raises ConfigError at the step's file and line, UsageError for a selector that names nothing.
    """
    context: dict[str, Any] = {
        **parameters,
        "cluster": {"name": around.cluster, "components": list(around.components)},
    }
    targets: list[Target] = []
    taken: set[str] = set()
    for phase, steps in playbook.phases.items():
        for step in steps:
            for target in _targets_of(step, phase, context, around, operations):
                names = chain([target.name], (f"{target.name} #{n}" for n in count(2)))
                name = next(name for name in names if name not in taken)
                taken.add(name)
                targets.append(replace(target, name=name, rank=len(targets)))
                if len(targets) > MAX_STEPS:
                    raise ConfigError(f"the playbook comes to more than {MAX_STEPS} steps", where=step.where)
    return tuple(targets)


def ready(args: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any] | None:
    """The step's `args` with what was left for now filled in; None when its condition does not hold.

    Raises ConfigError at the step's file and line.
    """
    context = {**args["context"], RESULTS: results}
    try:
        if args["when"] is not None and not values.holds(args["when"], context):
            return None
        return {**args, **{key: values.render(args[key], context) for key in args["left"]}, "when": None, "left": []}
    except ValueError as e:
        raise ConfigError(str(e), where=args["where"], code=INVALID) from None


def _targets_of(
    step: PlaybookStep,
    phase: Phase,
    context: Mapping[str, Any],
    around: Surroundings,
    operations: Mapping[str, Operation],
) -> Iterator[Target]:
    try:
        for item in _items(step, context, around):
            yield _target(step, phase, {**context, **({} if item is None else {"item": item})}, operations)
    except UsageError as e:
        e.where = e.where or step.where
        raise
    except ValueError as e:
        raise ConfigError(str(e), where=step.where, code=INVALID) from None


def _items(step: PlaybookStep, context: Mapping[str, Any], around: Surroundings) -> Sequence[Any]:
    """What the step is gone through for: not for what its condition can be told now not to hold for.

    One None without a for_each, and where the condition says no without an item.
    """
    if step.for_each is None or (_decided(step.when, {"item"}) and not values.holds(step.when or "", context)):
        return (None,)
    items = _all_items(step.for_each, context, around)
    if not _decided(step.when, set()):
        return items
    return [item for item in items if values.holds(step.when or "", {**context, "item": item})]


def _all_items(each: ForEach, context: Mapping[str, Any], around: Surroundings) -> Sequence[Any]:
    value = values.render(each.value, context)
    if each.over == "hosts":
        return around.hosts(str(value))
    if each.over == "instances":
        return around.instances(str(value))
    if not isinstance(value, list):
        raise ValueError(f"for_each: expected a list, found {str(value)[:60]!r}")
    return value


def _decided(condition: str | None, without: set[str]) -> bool:
    """Whether there is a condition that can be told now, without these names."""
    return condition is not None and not values.names_in_condition(condition) & ({RESULTS} | without)


def _target(
    step: PlaybookStep, phase: Phase, context: Mapping[str, Any], operations: Mapping[str, Operation]
) -> Target:
    operation = operations[step.do] if step.do else None
    item = context.get("item")
    key = None if item is None else str(item.get("name", item) if isinstance(item, Mapping) else item)
    when, skipped = step.when, False
    if _decided(step.when, set()):
        when, skipped = None, not values.holds(step.when or "", context)
    args: dict[str, Any] = {
        "do": step.do,
        "reads": operation is not None and operation.kind == "reads",
        "given": dict(step.given),
        "wait": asdict(step.wait) if step.wait else None,
        "approve": step.approve,
        "archive": step.archive,
        "when": when,
        "late": step.late,
        # What is filled in now is not filled in again: a parameter's value is no template.
        "left": [],
        "register": step.register,
        "key": key,
        "exit_codes": list(step.exit_codes),
        "go_on": step.go_on,
        "where": step.where,
        "context": dict(context),
    }
    name = step.name
    if not skipped:
        left = [f for f in _FILLED if RESULTS in values.names_in(args[f])]
        if left or when is not None:
            args["late"] = step.late or "it depends on what earlier steps find"
        elif phase:
            args["late"] = step.late or "it depends on how the steps before it went"
        args |= {f: values.render(args[f], context) for f in _FILLED if f not in left} | {"left": left}
        if RESULTS not in values.names_in(name):
            name = str(values.render(name, context))
    return Target(
        name=readable(" ".join(name.split())[:80] + (f" ({key})" if key else "")),
        acts=(SKIP if skipped else step.kind,),
        role={"": "", "failure": "on failure", "end": "finally"}[phase],
        phase=phase,
        note=readable(f"skipped: not ({step.when})" if skipped else _note(args)),
        args=args,
    )


def readable(text: str) -> str:
    """What is shown of a command must not move the cursor, or turn the line around."""
    return "".join(c if c.isprintable() else "\ufffd" if c != "\n" else " " for c in text)


def _note(args: Mapping[str, Any]) -> str:
    """What a step does, in a line of the plan."""
    when = f"; if {args['when']}" if args["when"] else ""
    late = f"; planned when it is reached: {args['late']}" if args["late"] and args["do"] and not args["reads"] else ""
    if args["do"]:
        given = " ".join(f"{k}={_words(v)}" for k, v in args["given"].items() if v != "")
        return f"{args['do']} {given}".strip() + when + late
    if wait := args["wait"]:
        checks = ", ".join(wait["codes"]) or "all checks"
        of = f" of {wait['selector']}" if wait["selector"] else ""
        say = f"at least {wait['at_least']}" if wait["at_least"] else wait["at_most"]
        return f"until {checks}{of} say {say}, {wait['timeout_s']:g} s at the most{when}"
    if args["approve"]:
        return f"asks a person: {args['approve']}{when}"
    return f"all results to {args['archive']}{when}"


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def help_of(playbook: Playbook) -> str:
    """What `bdops run FILE --help` says: what it is for, its parameters, its steps."""
    lines = [f"Usage: bdops run {playbook.source} [-e name=value]...", "", *(f"  {x}" for x in _paragraph(playbook))]
    if playbook.parameters:
        lines += ["", "Parameters (-e name=value):"]
        width = max(len(p.name) for p in playbook.parameters)
        lines += [f"  {p.name:<{width}}  {_parameter_help(p)}" for p in playbook.parameters]
    for phase, title in (("", "Steps"), ("failure", "On failure"), ("end", "Finally")):
        if steps := playbook.phases[phase]:  # type: ignore[index]
            lines += ["", f"{title}:"]
            lines += [f"  {number}. {_step_help(step)}" for number, step in enumerate(steps, 1)]
    return "\n".join(lines) + "\n"


def _paragraph(playbook: Playbook) -> list[str]:
    return playbook.help.strip().splitlines()


def _parameter_help(parameter: Parameter) -> str:
    kind = "|".join(map(str, parameter.choices)) or parameter.type
    default = "required" if parameter.default is None else f"default: {parameter.default}"
    return f"{' '.join(parameter.help.split())} [{kind}; {default}]"


def _step_help(step: PlaybookStep) -> str:
    each = f", for each of {_words(step.for_each.value)}" if step.for_each else ""
    when = f", if {step.when}" if step.when else ""
    what = f" ({step.do})" if step.do and step.do != step.name else " (asks)" if step.approve else ""
    return f"{' '.join(step.name.split())}{what}{each}{when}"
