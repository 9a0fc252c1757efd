"""The commands of bdops as the operations of playbooks: which there are, what they take, and how one is called.

An operation is the command itself, called in this process with its words: what a person and a playbook ask for goes
through one function. What differs is the session: it collects what is shown, and hands a plan to the playbook's job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from bdops.cli.frame import Session, _common_params
from bdops.errors import BdopsError, UsageError
from bdops.playbooks.model import Operation, OperationKind, Option, OptionType
from bdops.registry import COMPONENTS

if TYPE_CHECKING:
    from bdops.core.result import Report
    from bdops.jobs.launch import Site
    from bdops.jobs.planning import Planned

MAX_ROWS = 10_000
_OF_THE_JOB = frozenset({"detailed_exitcode", "stop_after", "within", "help"})
"""Options of a command line that mean nothing to a step: the job of a playbook has them, or nobody."""

_CHANGES = ("restart", "stop", "start", "snapshot create", "snapshot prune", "snapshot drill", "snapshot hold",
            "snapshot release")  # fmt: skip
_READS = ("check", "status", "can-stop", "snapshot list", "snapshot verify")
_MORE: dict[str, OperationKind] = {
    "check": "reads", "why": "reads", "exec": "reads", "pull": "reads", "host look": "reads",
    "host restart": "changes", "host maintain": "changes",
    "kafka rebalance": "changes", "kafka drain": "changes", "kafka add": "changes", "kafka decommission": "changes",
    "kafka set-replication": "changes", "kafka disks": "changes", "kafka leaders balance": "changes",
    "kafka leaders elect": "changes", "kafka groups": "reads", "kafka log-dirs": "reads", "es why": "reads",
    "hdfs failover": "changes",
}  # fmt: skip


def _kinds() -> dict[str, OperationKind]:
    found = dict(_MORE)
    for component in COMPONENTS:
        found |= {f"{component} {verb}": "changes" for verb in _CHANGES}
        found |= {f"{component} {verb}": "reads" for verb in _READS}
    return found


@cache
def operations() -> dict[str, Operation]:
    """Every operation that a playbook may call, by its words."""
    from bdops.cli.app import root_command

    root = root_command()
    found = {}
    for name, kind in sorted(_kinds().items()):
        command: Any = root
        for word in name.split():
            command = command.get_command(None, word)
        options = tuple(o for p in command.params if (o := _option(p)) is not None)
        if kind == "reads":
            options = tuple(o for o in options if o.key != "reason")
        if name.endswith("check"):
            # Its own answer is taken, before it is shown, recorded or told to anybody.
            options = tuple(o for o in options if o.key == "selector")
        found[name] = Operation(name=name, kind=kind, options=options, help=(command.help or "").split("\n")[0])
    return found


def _option(param: Any) -> Option | None:
    """What a playbook may say of a parameter of a command: files of this machine are no part of it."""
    positional = param.param_type_name == "argument"
    written = param.type_descriptor
    common = {p.name for p in _common_params()} - {"reason"}
    is_file = Path in (written.annotation, *get_args(written.annotation))
    if not positional and (param.name in common | _OF_THE_JOB or is_file):
        return None
    key = param.name if positional else max(param.opts, key=len).removeprefix("--").replace("-", "_")
    counted = written.annotation is int and written.parameter_info.parser is None
    kind: OptionType = "bool" if getattr(param, "is_flag", False) else "int" if counted else "text"
    return Option(
        key=key,
        flag=None if positional else max(param.opts, key=len),
        type=kind,
        many=param.nargs == -1 or bool(getattr(param, "multiple", False)),
        required=param.required,
        help=param.help or "",
    )


@dataclass
class Collector(Session):
    """The session of an operation: what is shown is collected, what is said is passed on, a plan is handed over."""

    tell: Callable[[str], None] = print
    reports: list[Report] = field(default_factory=list)

    def show(self, report: Report) -> None:
        from dataclasses import replace

        # Rows may come from a connection that is closed when the command returns.
        tables = tuple(replace(t, rows=list(islice(t.rows, MAX_ROWS))) for t in report.tables)
        self.reports.append(replace(report, tables=tables))
        self._take_status(report)

    def say(self, text: str) -> None:
        self.tell(text)

    def take_defaults(self) -> None:
        """The parent has taken them; what a step is told, no config file says otherwise."""


def call(
    parent: Session,
    operation: Operation,
    given: Mapping[str, Any],
    take: Callable[[Planned, Site], None] | None,
    tell: Callable[[str], None],
) -> Collector:
    """Call an operation on the parent's inventory and cluster; what it showed is in the session that it had.

    Raises what the command raises: UsageError for words that do not fit, Refused, StateUnknown.
    """
    from typer.exceptions import TyperException

    from bdops.cli.app import root_command

    session = Collector(
        inventory_path=parent.inventory_path,
        cluster=parent.cluster,
        output="json",
        timeout_s=parent.timeout_s,
        yes=True,
        reason=parent.reason,
        loaded=parent.inventory(),
        take_plan=take,
        tell=tell,
    )
    try:
        root_command().main(
            args=[*operation.name.split(), *words(operation, given)],
            prog_name="bdops",
            standalone_mode=False,
            obj=session,
        )
    except TyperException as e:
        raise UsageError(
            f"`{operation.name}`: {e.format_message()}", hint=f"see `bdops {operation.name} --help`"
        ) from None
    return session


def words(operation: Operation, given: Mapping[str, Any]) -> list[str]:
    """The command line's words of an operation's options. Nothing given can become another option: see `--`.

    A value that comes to "" is left out; in a list of words it is one. Raises UsageError for a value whose type is not
    the option's, and for a word after one that is left out: it would take its place.
    """
    options: list[str] = []
    positional: list[str] = []
    absent: str | None = None
    for option in operation.options:
        value = given.get(option.key)
        found = value if isinstance(value, list) else [value]
        in_order = option.flag is None and isinstance(value, list)
        values = [v for v in found if v is not None and (v != "" or in_order)]
        if not values:
            absent = absent or (option.key if option.flag is None else None)
            continue
        if option.flag is None and absent:
            raise UsageError(f"`{operation.name}`: {option.key} is given, and {absent} before it is not")
        if option.type == "bool":
            if not all(isinstance(v, bool) for v in values):
                raise UsageError(f"`{operation.name}`: {option.key} is true or false, and not {values[0]!r}")
            options += [option.flag or ""] if values[0] else []
        elif option.flag is None:
            positional += [str(v) for v in values]
        else:
            options += [f"{option.flag}={v}" for v in values]
    return [*options, "--", *positional] if positional else options


def data_of(session: Collector) -> tuple[str, dict[str, Any]]:
    """What an operation showed: its summary, and its facts and rows as JSON values."""
    from bdops.render.envelope import plain

    data: dict[str, Any] = {}
    for report in session.reports:
        data |= {name.lstrip("_"): plain(value) for name, value in report.facts.items()}
        data |= {table.name: plain(table.rows) for table in report.tables}
    return (session.reports[-1].summary if session.reports else ""), data


def stderr_line(text: str) -> None:
    """One line of talk, under the step that it belongs to."""
    print(f"  {text}", file=sys.stderr, flush=True)


def require_operation(name: str) -> Operation:
    """Raises BdopsError for one that a plan of another bdops knows."""
    found = operations().get(name)
    if found is None:
        raise BdopsError(f"this bdops has no operation {name!r}", code="PLAN_INVALID")
    return found


def surveyed(parent: Session, component: str | None, selector: str | None) -> Any:
    """The checks of what a selector names, as `bdops check` makes them."""
    from datetime import UTC, datetime

    from bdops.cli.check import subjects_of
    from bdops.components.survey import survey

    return survey(subjects_of(parent, component, selector), timeout_s=parent.timeout_s, now=datetime.now(UTC))


def check_data(result: Any, codes: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
    """The worst severity of a survey (of those checks), and what the checks that are not ok say."""
    from fnmatch import fnmatchcase

    from bdops.core.checks import Severity, worst
    from bdops.render.envelope import plain

    found = [r for r in result.results if not codes or any(fnmatchcase(r.code, c) for c in codes)]
    severity = worst(r.severity for r in found) if found else Severity.UNKNOWN
    bad = [plain(r) for r in found if r.severity is not Severity.OK]
    return severity, {"severity": severity.value, "checked": len(found), "checks": bad}
