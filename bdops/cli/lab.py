"""bdops lab: real clusters of real servers on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from bdops.cli import frame

app = frame.App(help="Real clusters of real servers on this machine.")

Components = Annotated[
    list[str] | None, typer.Argument(metavar="[COMPONENT]...", help="kafka, zk, hdfs, es; all where none is given.")
]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The lab's name.")]
Instances = Annotated[
    list[str], typer.Argument(metavar="INSTANCE...", help="zk/node2, hdfs/node1/namenode, hdfs/node1, node3.")
]


@app.command()
def up(
    ctx: typer.Context,
    components: Components = None,
    secure: Annotated[bool, typer.Option("--secure", help="With TLS and logins; a new lab, and without hdfs.")] = False,
    name: Name = "lab",
) -> None:
    """Start a lab, or add components to it; returns when all of them serve.

    Example: bdops lab up zk kafka
    """
    from bdops.lab import operations, reports

    session = frame.session(ctx)
    session.show(reports.up(operations.up(name, components or [], secure=secure, say=session.say)))


@app.command()
def down(
    ctx: typer.Context,
    destroy: Annotated[bool, typer.Option("--destroy", help="Remove the lab's data too.")] = False,
    name: Name = "lab",
) -> None:
    """Stop everything that belongs to a lab; its data stay, unless it is destroyed.

    Example: bdops lab down --destroy
    """
    from bdops.lab import operations, reports

    session = frame.session(ctx)
    session.show(reports.down(name, operations.down(name, destroy=destroy, say=session.say), destroy))


@app.command()
def status(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only this lab; all by default.")] = None,
) -> None:
    """Every lab and its servers: which run, which are paused or dead, which serve.

    Example: bdops lab status -o json
    """
    from bdops.lab import reports, status

    session = frame.session(ctx)
    session.show(reports.status(status.labs(name, timeout_s=session.timeout_s), one=name is not None))


@app.command()
def load(
    ctx: typer.Context,
    components: Components = None,
    factor: Annotated[float, typer.Option("--factor", min=0.01, help="How much, 1 is enough for the demo.")] = 1.0,
    name: Name = "lab",
) -> None:
    """Write real data into a running lab: topics, groups with lag, files, indices, znodes.

    Example: bdops lab load kafka --factor 3
    """
    from bdops.lab import operations, reports

    session = frame.session(ctx)
    session.show(reports.load(operations.load(name, components or [], factor, say=session.say)))


@app.command()
def fault(
    ctx: typer.Context,
    fault_name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which fault; see --list.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="Where, such as zk/node2.")] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Take it out again; without NAME all that are in.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the faults, and what shows each of them.")] = False,
    name: Name = "lab",
) -> None:
    """Break something on purpose, and heal it again.

    Example: bdops lab fault zk-lagging zk/node3
    """
    from bdops.errors import UsageError
    from bdops.lab import faults, reports
    from bdops.lab.lab import Lab

    session = frame.session(ctx)
    if list_all:
        session.show(reports.faults(faults.known(), faults.active(name)))
    elif heal:
        session.show(reports.healed(faults.heal(Lab.open(name, session.say), fault_name, target)))
    elif fault_name:
        session.show(reports.broken(faults.break_it(Lab.open(name, session.say), fault_name, target)))
    else:
        raise UsageError("which fault?", hint="bdops lab fault --list")


def _signal_command(verb: str, text: str) -> None:
    @app.command(verb, help=f"{text}\n\nExample: bdops lab {verb} zk/node2")
    def act(ctx: typer.Context, instances: Instances, name: Name = "lab") -> None:
        from bdops.lab import operations, reports

        session = frame.session(ctx)
        session.show(reports.acted(verb, operations.act(name, verb, instances, say=session.say)))


for _verb, _text in (
    ("start", "Start servers that are down, and wait until they serve."),
    ("stop", "Stop servers by their service manager."),
    ("kill", "Kill servers with SIGKILL, as a crash would."),
    ("pause", "Pause servers with SIGSTOP: they hang, with their sockets open."),
    ("resume", "Let paused servers run on, and wait until they serve."),
):
    _signal_command(_verb, _text)
