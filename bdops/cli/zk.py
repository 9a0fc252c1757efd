"""bdops zk: what there is to see of an ensemble."""

from __future__ import annotations

from typing import Annotated

import typer

from bdops.cli import frame, zk_snapshots

app = frame.component_app("zk")
zk_snapshots.register(app)


@app.command()
def status(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """Each server's mode, zxid, latency, connections and data; who leads, and how many may stop.

    Example: bdops zk status prod/zk
    """
    from bdops.components.zk import lists

    session = frame.session(ctx)
    session.show(lists.status(session.state("zk", selector, state)))


@app.command()
def config(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """The dynamic configuration: voters, observers, version; each server's copy, and what differs from the inventory.

    Example: bdops zk config prod/zk
    """
    from bdops.components.zk import lists

    session = frame.session(ctx)
    session.show(lists.config(session.state("zk", selector, state)))


@app.command()
def tree(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    root: Annotated[str, typer.Option("--root", metavar="PATH", help="Start at this znode.")] = "/",
    depth: Annotated[int | None, typer.Option("--depth", min=0, help="Levels below the root; all without it.")] = None,
    ephemerals: Annotated[bool, typer.Option("--ephemerals", help="Only znodes that a session owns.")] = False,
) -> None:
    """The znodes with their children, bytes and owners, streamed: any size in little memory.

    Example: bdops zk tree prod/zk --root /brokers --depth 2
    """
    from bdops.components.zk import lists
    from bdops.components.zk.client.session import session as zk_session
    from bdops.components.zk.client.session import walk

    session = frame.session(ctx)
    instances = session.deployment("zk", selector).instances
    with zk_session(instances, timeout_s=session.timeout_s) as client:
        znodes = walk(client, root, depth=depth, timeout_s=session.timeout_s)
        session.show(lists.tree(znodes, ephemerals=ephemerals))
