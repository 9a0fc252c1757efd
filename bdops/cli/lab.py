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
Instances = Annotated[list[str], typer.Argument(metavar="INSTANCE...", help="zk/node2, hdfs/node1/namenode, node3.")]


@app.command()
def up(ctx: typer.Context, components: Components = None, name: Name = "lab") -> None:
    """Start a lab, or add components to it; returns when all of them serve.

    Example: bdops lab up zk kafka
    """
    from bdops.lab import operations, reports

    session = frame.session(ctx)
    session.show(reports.up(operations.up(name, components or [], say=session.say)))


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
