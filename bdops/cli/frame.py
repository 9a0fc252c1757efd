"""What every command stands on: the options that work anywhere on the line, the session, the shared verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bdops.core.units import parse_duration, parse_rate
from bdops.errors import ConfigError, ExitCode, ReaderGone, UsageError

if TYPE_CHECKING:
    from bdops.core.model import Deployment
    from bdops.core.result import Report
    from bdops.inventory.load import LoadedInventory
    from bdops.inventory.selectors import Selection
    from bdops.jobs.launch import Site
    from bdops.jobs.planning import Planned

OUTPUTS = ("table", "json", "yaml", "name")
SINKS = (*OUTPUTS, "nagios", "prometheus")
"""`check` also speaks to monitoring systems."""

SelectorArgument = Annotated[
    str | None,
    typer.Argument(metavar="[SELECTOR]", help="What to look at: prod/kafka/node[2-4], rack:r1, @role, !x, &y."),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="FILE", help="Answer from a saved state, without the cluster."),
]

TextfileOption = Annotated[
    Path | None, typer.Option("--textfile", metavar="FILE", help="Also write a Prometheus textfile, atomically.")
]
RecordOption = Annotated[
    bool, typer.Option("--record", help="Keep the results, for `--since`: 35 days, 256 MiB at the most.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="Show what changed since then, what flaps, and trends: yesterday, 2d, ..."
    ),
]
OnlyChangesOption = Annotated[
    bool, typer.Option("--only-changes", help="With --record: print only what is new since the last recorded run.")
]
NotifyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="REF",
        help="With --record: send what is new to the URL in file:PATH, env:NAME or keyring:SERVICE/USER; several.",
    ),
]


@dataclass
class Session:
    """One run of bdops: the common options as merged from all over the command line, and the exit code so far."""

    inventory_path: Path | None = None
    cluster: str | None = None
    output: str = "table"
    timeout_s: float = 10.0
    verbose: int = 0
    yes: bool = False
    dry_run: bool = False
    reason: str | None = None
    command: str = ""
    monitoring: bool = False
    exit_code: int = ExitCode.OK
    configured_inventory: Path | None = None
    """The config file's."""
    loaded: LoadedInventory | None = None
    columns: tuple[str, ...] = ()
    given: set[str] = field(default_factory=set)
    """The common options that are on the command line: the config file says nothing to those."""
    take_plan: Callable[[Planned, Site], None] | None = None
    """Of an operation in a playbook: gets the plan instead of a person, and carries it out in its own job's lease."""

    def inventory(self) -> LoadedInventory:
        """The inventory, read once: `-i`, else BDOPS_INVENTORY, else the config file's, else the running lab's.

        Raises ConfigError when there is none, or it is invalid.
        """
        from bdops.inventory.load import load_inventory
        from bdops.registry import COMPONENTS, settings

        if self.loaded is None:
            path = self.inventory_path or _find_inventory(self.configured_inventory)
            self.loaded = load_inventory(path, {name: settings(name) for name in COMPONENTS})
            self._remember_names(self.loaded)
        return self.loaded

    def _remember_names(self, inventory: LoadedInventory) -> None:
        """For TAB, which has no time to read an inventory."""
        from bdops.cli.completing import remember_inventory

        clusters = {
            c.name: {
                "hosts": [h.name for h in c.hosts],
                "components": {d.component: [i.name.split("/", 2)[2] for i in d.instances] for d in c.deployments},
            }
            for c in inventory.clusters
        }
        remember_inventory(self.named_inventory, clusters)

    @property
    def named_inventory(self) -> Path | str | None:
        """The inventory as it was named, by `-i` or BDOPS_INVENTORY; None where it is found without."""
        return self.inventory_path or os.environ.get("BDOPS_INVENTORY")

    def take_defaults(self) -> None:
        """Take the config file's defaults for what is not on the command line. Raises ConfigError for a bad file."""
        from bdops.cli.config import read_config

        config = read_config()
        self.configured_inventory = config.inventory
        for name in ("cluster", "timeout_s", "verbose"):
            value = getattr(config, name)
            if name not in self.given and value is not None:
                setattr(self, name, value)

    def selections(self, component: str | None, selector: str | None) -> Sequence[Selection]:
        """The deployments that a selector touches, each with the instances that it names."""
        from bdops.inventory.selectors import narrow

        return narrow(self.inventory(), component, selector, cluster=self.cluster)

    def selection(self, component: str, selector: str | None) -> Selection:
        """The one deployment that a command works on, and the instances named. Raises UsageError for several."""
        found = self.selections(component, selector)
        if len(found) > 1:
            names = ", ".join(s.deployment.name for s in found)
            raise UsageError(
                f"this command takes one cluster at a time, and these match: {names}", hint="name one: -c CLUSTER"
            )
        return found[0]

    def deployment(self, component: str, selector: str | None) -> Deployment:
        """The one deployment that a command works on. Raises UsageError when the selector leaves several."""
        return self.selection(component, selector).deployment

    def state(
        self, component: str, selector: str | None, file: Path | None, readings: frozenset[str] | None = None
    ) -> Any:
        """The state that the command's answer is made of: from the file if there is one, else read live."""
        from bdops.registry import component as component_of

        known = component_of(component)
        if file:
            from bdops.components.state_file import load_state

            return load_state(file, {component: known.state})
        deployment = self.deployment(component, selector)
        state = known.read_state(deployment, timeout_s=self.timeout_s, readings=readings)
        if topics := getattr(state, "topics", None):
            from bdops.cli.completing import remember_topics

            remember_topics(self.named_inventory, deployment.cluster, (topic.name for topic in topics))
        return state

    def show(self, report: Report) -> None:
        """Print a report in the format asked for, and take its status into the exit code."""
        from bdops.render.report import show_report

        if self.output not in OUTPUTS:
            raise UsageError(f"-o {self.output} is for checks alone", hint=f"choose one of {', '.join(OUTPUTS)}")
        show_report(report, self.output, command=self.command, verbose=self.verbose, columns=self.columns)
        self._take_status(report)

    def _take_status(self, report: Report) -> None:
        if report.status == "unknown":
            self.exit_code = ExitCode.CONFIG
        elif report.status == "failed":
            self.exit_code = ExitCode.FAILED
        elif report.status == "refused":
            self.exit_code = ExitCode.REFUSED

    def say(self, text: str) -> None:
        """Talk: one line on stderr."""
        print(text, file=sys.stderr, flush=True)


def session(ctx: typer.Context) -> Session:
    """The session of this run, for a command's function."""
    found = ctx.find_root().obj
    assert isinstance(found, Session)
    found.command = ctx.command_path.removeprefix("bdops ")
    found.take_defaults()
    return found


def _find_inventory(configured: Path | None) -> Path:
    named = os.environ.get("BDOPS_INVENTORY")
    if named:
        return Path(named)
    if configured:
        return configured
    from bdops.lab.lab import running_labs

    labs = running_labs()
    if len(labs) == 1:
        return labs[0].inventory
    raise ConfigError(
        "no inventory"
        if not labs
        else f"no inventory, and {len(labs)} labs are running: {', '.join(x.name for x in labs)}",
        hint="give one with -i FILE, or set BDOPS_INVENTORY; `bdops lab up` starts a cluster to try things on",
        code="INVENTORY_MISSING",
    )


def parse_time(text: str | float) -> float:
    """Seconds of an option's value: `90`, `10s`, `1h30m`."""
    if isinstance(text, float):
        return text
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from None


def parse_throttle(text: str | None) -> str | None:
    """A throttle as jobs keep it: `auto`, `none`, or a rate such as 80MB/s."""
    if text is None or text in ("auto", "none"):
        return text
    try:
        parse_rate(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none of auto, none, or a rate such as 80MB/s") from None
    return text


def _output(text: str | None) -> str | None:
    if text is not None and text not in SINKS:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(SINKS)}")
    return text


def _columns(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in (text or "").split(",") if word.strip())


def _common(
    inventory_path: Annotated[
        Path | None, typer.Option("--inventory", "-i", metavar="PATH", help="Inventory file or folder.")
    ] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", "-c", help="Only this cluster.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT",
            callback=_output,
            help="table, json, yaml, or name (the first column alone); a check also nagios or prometheus.",
        ),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            parser=parse_time,
            envvar="BDOPS_TIMEOUT",
            show_envvar=True,
            help="Deadline of each reading; 10s unless given.",
        ),
    ] = None,
    verbose: Annotated[int | None, typer.Option("--verbose", "-v", count=True, help="Show more.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the journal.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="NAMES", callback=_columns, help="Only these columns of a table, in this order: a,b,c."
        ),
    ] = None,
) -> None:
    """The options that work before and after a command's name."""


@cache
def _common_params() -> tuple[Any, ...]:
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_common)
    return tuple(typer.main.get_command(carrier).params)


def _validate_only_what_is_given(param: Any) -> None:
    """Typer validates absent values too, with pydantic: its import alone is more than all of a completion may cost."""
    if "process_value" in vars(param):
        return
    process_value = param.process_value

    def process(ctx: Any, value: Any) -> Any:
        if ctx.resilient_parsing:
            return value  # A completion: the line is not finished, and nothing of it will be run.
        if value is None and not param.required and param.nargs == 1 and not param.multiple:
            return param.callback(ctx, param, None) if param.callback else None
        return process_value(ctx, value)

    param.process_value = process


class _CommonOptions:
    """Adds the common options to a command or group, and merges what was given into the session."""

    params: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {word for param in self.params for word in param.opts}
        self.params = [*self.params, *(p for p in _common_params() if not taken.intersection(p.opts))]

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            _validate_only_what_is_given(param)
        return params

    def invoke(self, ctx: Any) -> Any:
        merged = ctx.find_root().obj
        for param in _common_params():
            value = ctx.params.pop(param.name, None)
            if value:
                setattr(merged, param.name, value)
                merged.given.add(param.name)
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except BrokenPipeError:
            # Typer would make it exit code 1.
            raise ReaderGone from None
        except KeyboardInterrupt:
            # Typer would end it with 130 and no word, a monitoring plugin too.
            raise typer.Abort from None


class Command(_CommonOptions, TyperCommand):
    """A command of bdops."""


class Group(_CommonOptions, TyperGroup):
    """A group of commands of bdops. Without a command it shows its help, and that is a usage error (2)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help(), file=sys.stderr)
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A Typer application of bdops' commands: plain help, no tracebacks of its own, the common options everywhere."""

    def __init__(self, *, help: str, cls: type[TyperGroup] = Group) -> None:
        super().__init__(
            help=help, cls=cls, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        kwargs.setdefault("cls", Command)
        return super().command(name, **kwargs)


def component_app(component: str) -> App:
    """The application of one component, with the verbs that all components have: check, restart, stop, start, ..."""
    from bdops.cli.rolling import add_verbs
    from bdops.registry import COMPONENTS

    app = App(help=f"Look after {COMPONENTS[component]}.")
    state_app = App(help="Save the state that checks, lists and planners read.")

    @app.command(
        help="Run this component's checks; exits 0 ok, 1 warning, 2 critical, 3 unknown."
        f"\n\nExample: bdops {component} check prod/{component} -o nagios"
    )
    def check(
        ctx: typer.Context,
        selector: SelectorArgument = None,
        state: StateOption = None,
        textfile: TextfileOption = None,
        record: RecordOption = False,
        since: SinceOption = None,
        only_changes: OnlyChangesOption = False,
        notify: NotifyOption = None,
    ) -> None:
        from bdops.cli.check import check_and_show
        from bdops.cli.check_history import Recording

        recording = Recording(record, since, only_changes, tuple(notify or ()))
        check_and_show(session(ctx), component, selector, state, textfile, recording)

    @state_app.command(
        help="Write all that the checks read to a file, for `--state FILE`."
        f"\n\nExample: bdops {component} state save now.json"
    )
    def save(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the state (JSON).")],
        selector: SelectorArgument = None,
    ) -> None:
        from bdops.components.state_file import save_state
        from bdops.core.result import Report

        current = session(ctx)
        found = current.state(component, selector, None)
        save_state(found, file)
        unread = [{"reading": name, "why": why} for name, why in found.unread.items()]
        current.show(
            Report(
                summary=f"saved the state of {found.cluster}/{component} to {file}"
                + (f"; {len(unread)} readings are missing from it" if unread else ""),
                facts={"file": str(file), "_unread": unread},
            )
        )

    app.add_typer(state_app, name="state")
    add_verbs(app, component, COMPONENTS[component])
    return app
