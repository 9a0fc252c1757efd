"""`bdops es repository`: where snapshots of Elasticsearch go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.components.es.client import Node
    from bdops.core.plan import Target

Name = Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its name.")]


def register(app: frame.App) -> None:
    """Give `bdops es` its repositories."""
    repositories = frame.App(help="Where snapshots go: registered for all nodes, verified, cleaned up.")
    app.add_typer(repositories, name="repository")

    @repositories.command("list")
    def list_repositories(ctx: typer.Context, selector: frame.SelectorArgument = None) -> None:
        """Every repository that is registered, with its type and settings.

        Example: bdops es repository list
        """
        from bdops.cli.jobs_frame import opened_site
        from bdops.components.es.snapshot.repository import registered
        from bdops.core.result import Column, Report, Table
        from bdops.core.units import plural

        session = frame.session(ctx)
        cluster = session.selection("es", selector).deployment.cluster
        with opened_site(session, cluster, ["es"]) as site:
            found = registered(site.actors["es"].entry())  # type: ignore[attr-defined]
        rows = [
            {"repository": n, "type": d["type"], "settings": ", ".join(f"{k}={v}" for k, v in d["settings"].items())}
            for n, d in found.items()
        ]
        columns = (Column("repository"), Column("type"), Column("settings"))
        table = Table(name="repositories", columns=columns, rows=rows, empty="no repository is registered")
        session.show(Report(summary=plural(len(rows), "repository", "repositories"), tables=(table,)))

    @repositories.command("register")
    def register_repository(
        ctx: typer.Context,
        repository: Name,
        selector: frame.SelectorArgument = None,
        type: Annotated[str, typer.Option("--type", metavar="TYPE", help="fs, s3, gcs, azure, hdfs, url; fs.")] = "fs",
        setting: Annotated[
            list[str] | None,
            typer.Option("--setting", metavar="KEY=VALUE", help="location=/backups, bucket=es; several."),
        ] = None,
    ) -> None:
        """Register a repository, or change one: all nodes must be able to use it, or it is as it was before.

        Example: bdops es repository register nightly --type fs --setting location=/backups/es
        """
        from bdops.components.es.snapshot.repository import definition, register_target, registered

        pairs = [word.partition("=") for word in setting or ()]
        if wrong := next((key for key, equals, _ in pairs if not key or not equals), None):
            raise UsageError(f"--setting {wrong}", hint="KEY=VALUE, such as location=/backups/es")
        wanted = definition(type, {key: value for key, _, value in pairs})

        def targets(node: Node) -> tuple[Target, ...]:
            before = registered(node).get(repository)
            return () if before == wanted else (register_target(repository, wanted, before),)

        _carry_out(frame.session(ctx), selector, "register", targets)

    @repositories.command("clean-up")
    def clean_up(ctx: typer.Context, repository: Name, selector: frame.SelectorArgument = None) -> None:
        """Remove files of a repository that no snapshot needs: what deletions that were cut off have left.

        Example: bdops es repository clean-up nightly
        """
        from bdops.components.es.snapshot.repository import clean_up_target, registered

        def targets(node: Node) -> tuple[Target, ...]:
            if repository not in (known := registered(node)):
                raise UsageError(f"no repository {repository!r}", hint=f"there is {', '.join(known) or 'none'}")
            return (clean_up_target(repository),)

        _carry_out(frame.session(ctx), selector, "clean-up", targets)


def _carry_out(
    session: frame.Session, selector: str | None, verb: str, targets: Callable[[Node], Sequence[Target]]
) -> None:
    from bdops.cli.rolling import carry_out

    def of_actor(actor: Any, state: Any, names: Collection[str]) -> Sequence[Target]:
        return targets(actor.entry())

    carry_out(session, "es", selector, of_actor, command=f"es repository {verb}")
