"""bdops inventory: is it valid, what does it say, and where does it say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bdops.cli import frame

app = frame.App(help="Validate and explain the inventory.")


@app.command()
def validate(ctx: typer.Context) -> None:
    """Check the whole inventory, and name every error in it with its file and line.

    Example: bdops inventory validate -i inventory/
    """
    from datetime import UTC, datetime

    from bdops.cli.check import require_checks_exist
    from bdops.inventory.reports import validate_report

    session = frame.session(ctx)
    inventory = session.inventory()
    require_checks_exist(inventory)
    session.show(validate_report(inventory, datetime.now(UTC)))


@app.command()
def show(ctx: typer.Context, selector: frame.SelectorArgument = None) -> None:
    """Show what the inventory comes to, every default and inherited value filled in.

    Example: bdops inventory show prod/kafka -o yaml
    """
    from bdops.inventory.reports import show_report

    session = frame.session(ctx)
    session.show(show_report(session.inventory(), selector, session.cluster))


@app.command()
def hosts(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    fold: Annotated[bool, typer.Option("--fold", help="One line for each cluster: node[1-60].")] = False,
) -> None:
    """List the hosts that a selector means.

    Example: bdops inventory hosts '@broker !rack:r1' --fold
    """
    from bdops.inventory.reports import hosts_report

    session = frame.session(ctx)
    session.show(hosts_report(session.inventory(), selector, session.cluster, fold))


@app.command()
def explain(
    ctx: typer.Context,
    key: Annotated[list[str], typer.Argument(metavar="KEY...", help="prod/kafka/node4 port, or prod/node4 ssh.user.")],
) -> None:
    """Say which file and line a value came from, and which values it overrode.

    Example: bdops inventory explain prod/kafka/node4 service.unit
    """
    from bdops.inventory.reports import explain_report

    session = frame.session(ctx)
    session.show(explain_report(session.inventory().origins, " ".join(key)))


@app.command("import-ansible")
def import_ansible(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An Ansible inventory, YAML or INI.")],
    name: Annotated[str, typer.Option("--name", metavar="CLUSTER", help="The cluster's name.")] = "imported",
) -> None:
    """Turn an Ansible inventory into one of bdops, on stdout; groups and host variables are kept.

    Example: bdops inventory import-ansible hosts.ini > inventory.yaml
    """
    from bdops.inventory.ansible import import_inventory

    session = frame.session(ctx)
    text, notes = import_inventory(file, name)
    for note in notes:
        session.say(note)
    print(text, end="")
