"""`bdops es`: status and lists of Elasticsearch clusters."""

from __future__ import annotations

from typing import Annotated

import typer

from bdops.cli import es_repositories, es_snapshots, frame

app = frame.component_app("es")
es_snapshots.register(app)
es_repositories.register(app)


@app.command()
def status(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """Colour, master, nodes, shards, and the indices that are not green.

    Example: bdops es status prod/es
    """
    from bdops.components.es import lists

    session = frame.session(ctx)
    session.show(lists.status(session.state("es", selector, state, lists.STATUS_READINGS)))


@app.command()
def nodes(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """Every node: master, roles, shards, heap, disks, and what is wrong with it.

    Example: bdops es nodes prod/es
    """
    from bdops.components.es import lists

    session = frame.session(ctx)
    session.show(lists.nodes(session.state("es", selector, state, lists.NODES_READINGS)))


@app.command()
def shards(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Only copies without a node.")] = False,
    index: Annotated[str | None, typer.Option("--index", metavar="PATTERN", help="Only of these indices.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="Only on this node.")] = None,
) -> None:
    """Every shard copy with its node, documents and size.

    Example: bdops es shards --unassigned --index 'logs-*'
    """
    from bdops.components.es import lists

    session = frame.session(ctx)
    found = session.state("es", selector, state, lists.SHARDS_READINGS)
    session.show(lists.shards(found, unassigned=unassigned, index=index, node=node))


@app.command()
def why(
    ctx: typer.Context,
    index: Annotated[str, typer.Argument(metavar="INDEX", help="An index, or a pattern such as 'logs-*'.")],
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
) -> None:
    """Why shards of an index have no node: every rule that says no, node by node.

    Example: bdops es why logs-2026
    """
    from bdops.components.es import lists

    session = frame.session(ctx)
    found = session.state("es", selector, state, lists.WHY_READINGS)
    if not state:
        from bdops.components.es.read import with_explanations

        found = with_explanations(session.deployment("es", selector), found, index, timeout_s=session.timeout_s)
    session.show(lists.why(found, index))
