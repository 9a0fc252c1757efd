"""bdops hdfs: what there is to see of a nameservice."""

from __future__ import annotations

from typing import Annotated

import typer

from bdops.cli import frame, hdfs_snapshots

app = frame.component_app("hdfs")


@app.command()
def status(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """The NameNodes with their states and transactions, the journal, and the counts of blocks in trouble.

    Example: bdops hdfs status prod/hdfs
    """
    from bdops.components.hdfs import lists
    from bdops.components.hdfs.read import ALL

    session = frame.session(ctx)
    session.show(lists.status(session.state("hdfs", selector, state, ALL)))


@app.command()
def datanodes(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    problems: Annotated[bool, typer.Option("--problems", help="Only those that are not as they should be.")] = False,
) -> None:
    """The DataNodes as the active NameNode knows them: state, room, blocks, volumes.

    Example: bdops hdfs datanodes prod/hdfs --problems
    """
    from bdops.components.hdfs import lists
    from bdops.components.hdfs.read import ALL

    session = frame.session(ctx)
    session.show(lists.datanodes(session.state("hdfs", selector, state, ALL), with_problems=problems))


@app.command()
def blocks(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="Only files under this path.")] = "/",
    under_replicated: Annotated[
        bool, typer.Option("--under-replicated", help="Blocks with fewer good copies than wanted.")
    ] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Blocks with no good copy.")] = False,
    corrupt: Annotated[bool, typer.Option("--corrupt", help="Blocks whose every copy is corrupt.")] = False,
) -> None:
    """The blocks of all files, where their copies are, streamed: any number in little memory.

    From a saved state only the blocks in trouble are known.

    Example: bdops hdfs blocks prod/hdfs --path /data --under-replicated
    """
    from bdops.components.hdfs import lists
    from bdops.components.hdfs.source import live_blocks, saved_blocks

    session = frame.session(ctx)
    only = lists.BlockFilter(under_replicated=under_replicated, missing=missing, corrupt=corrupt)
    if state:
        session.show(lists.blocks(saved_blocks(session.state("hdfs", selector, state), path), only))
        return
    with live_blocks(session.deployment("hdfs", selector), path, timeout_s=session.timeout_s) as found:
        session.show(lists.blocks(found, only))


@app.command()
def failover(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="HOST", help="The NameNode that is to be active, by host or id.")
    ] = None,
) -> None:
    """Make a standby NameNode the active one, by its failover controller; refused while none could take over at once.

    Example: bdops hdfs failover prod/hdfs --to node2 --reason "new memory in node1"
    """
    from collections.abc import Collection
    from typing import Any

    from bdops.cli.rolling import carry_out
    from bdops.components.hdfs.actor import failover_targets
    from bdops.core.actor import Actor
    from bdops.core.plan import Target

    def targets(actor: Actor[Any], state: Any, names: Collection[str]) -> tuple[Target, ...]:
        return failover_targets(actor.view(state), to)  # type: ignore[attr-defined]

    carry_out(frame.session(ctx), "hdfs", selector, targets, command="hdfs failover")


hdfs_snapshots.register(app)
