"""`bdops zk snapshot`: how snapshots of an ensemble are made and proved."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.cli.snapshots import (
    AllByDefault,
    Destination,
    ExitOnDifference,
    Name,
    NewestByDefault,
    change,
    create_one,
    dated,
    opened_vault,
    snapshots_app,
    throwaway_args,
    type_name,
    verified_report,
)
from bdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bdops.components.zk.snapshot.vault import ZkVault
    from bdops.core.backups import BackupRecord
    from bdops.core.plan import Target
    from bdops.core.result import Table


def register(app: frame.App) -> None:
    """Give `bdops zk` its snapshots."""
    snapshots = snapshots_app(app, "zk", "ZooKeeper")

    @snapshots.command()
    def create(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        name: Name = None,
        destination: Destination = None,
    ) -> None:
        """Take a snapshot of the most advanced server into a file, read it to its end, and note its zxid and digests.

        Example: bdops zk snapshot create --destination /backup/zk
        """
        from bdops.components.backup_files import checked_name

        session = frame.session(ctx)
        id = checked_name(name or dated(session.selection("zk", selector).deployment.cluster))
        create_one(session, "zk", selector, id, lambda actor: actor.vault(destination), "the whole tree to {}")

    @snapshots.command()
    def drill(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        """Prove a snapshot: start a throw-away server from it on this machine, compare the tree, note the proof.

        Example: bdops zk snapshot drill
        """
        session = frame.session(ctx)
        home = session.selection("zk", selector).deployment.settings.zookeeper_home

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import drill_target, find_good

            record = find_good(actor.vault(destination).records(), snapshot)
            args = throwaway_args("zk", record, home)
            return (drill_target(record, args, "a throw-away server from it, compared, removed", datetime.now(UTC)),)

        change(session, "zk", selector, "drill", targets)

    @snapshots.command()
    def verify(
        ctx: typer.Context,
        snapshot: AllByDefault = None,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        """Read snapshots to their end: checksum, format, digests. A damaged one is named, and does not count any more.

        Example: bdops zk snapshot verify
        """
        from bdops.components.backups import find_record
        from bdops.core.result import Column

        session = frame.session(ctx)
        with opened_vault(session, "zk", selector, destination) as opened:
            vault: ZkVault = opened  # type: ignore[assignment]
            every = vault.records()
            chosen = (find_record(every, snapshot),) if snapshot else every
            columns = tuple(map(Column, ("zxid", "znodes", "digest")))

            def read(record: BackupRecord) -> dict[str, Any]:
                found = vault.verify(record)
                of_one_moment = record.state.get("consistent")
                return {
                    "zxid": record.state.get("zxid"),
                    "znodes": found.znodes,
                    "digest": f"{found.digest:#x}",
                    "why": None if of_one_moment else "written while clients wrote: not the tree of one moment",
                }

            session.show(verified_report(chosen, read, columns))

    @snapshots.command()
    def diff(
        ctx: typer.Context,
        before: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The earlier one: its name, or a part of it.")],
        after: Annotated[
            str | None, typer.Argument(metavar="[SNAPSHOT]", help="The later one; the live tree if absent.")
        ] = None,
        root: Annotated[str, typer.Option("--root", metavar="PATH", help="This znode and those below it.")] = "/",
        ephemerals: Annotated[bool, typer.Option("--ephemerals", help="Ephemeral znodes too.")] = False,
        detailed_exitcode: ExitOnDifference = False,
        destination: Destination = None,
    ) -> None:
        """What differs between two snapshots, or between one and the live tree: znodes, data, ACLs. Any size.

        Example: bdops zk snapshot diff nightly-1 --root /config
        """
        from bdops.components.backups import find_good
        from bdops.components.zk.snapshot.diff import compared
        from bdops.core.result import Report

        session = frame.session(ctx)
        with opened_vault(session, "zk", None, destination) as opened:
            vault: ZkVault = opened  # type: ignore[assignment]
            known = vault.records()
            first, second = find_good(known, before), find_good(known, after) if after else None
            with (
                vault.nodes(first) as old,
                vault.nodes(second) as new,
                compared(old, new, root=root, ephemerals=ephemerals) as found,
            ):
                session.show(Report(tables=(_differences(found),)))
                total = sum(found.totals.changes.values())
                session.say(
                    f"{found.totals.before:,} znodes in {first.id}, {found.totals.after:,} in "
                    f"{second.id if second else 'the live tree'}; {total:,} differ"
                )
        if total and detailed_exitcode:
            session.exit_code = ExitCode.CHANGES_PENDING

    @snapshots.command()
    def restore(
        ctx: typer.Context,
        snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Its name, or a part of it.")],
        selector: frame.SelectorArgument = None,
        into_place: Annotated[
            bool, typer.Option("--into-place", help="Yes: in place of all that the ensemble has now.")
        ] = False,
        empty_ensemble: Annotated[
            bool,
            typer.Option(
                "--empty-ensemble",
                help="All data is lost: stop every server, put the file into its data folders, start (over SSH).",
            ),
        ] = False,
        destination: Destination = None,
    ) -> None:
        """Put a snapshot in place of the whole tree, on every server, while no client is connected.

        What is there now is kept as a snapshot first. With --empty-ensemble, where every server is down or has nothing,
        it goes into the data folders; what is in these is moved aside and kept.

        Example: bdops zk snapshot restore nightly-1 --into-place
        """
        from dataclasses import replace

        session = frame.session(ctx)
        if into_place == empty_ensemble:
            raise UsageError(
                "a restore replaces the whole tree of the ensemble: say how",
                hint="--into-place where it serves, --empty-ensemble where its data is lost; "
                "`drill` restores beside it, `diff` shows what differs",
            )
        cluster = session.selection("zk", selector).deployment.cluster

        def rebuilt(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import find_good

            vault: ZkVault = actor.vault(destination)
            record = find_good(vault.records(), snapshot)
            found = vault.verify(record)
            digests = {"lasting": found.lasting, "lasting_digest": f"{found.lasting_digest:#x}"}
            targets = actor.rebuild_targets(record, digests, f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
            type_name(session, cluster, f"all that {cluster} has")
            return tuple(targets)

        if empty_ensemble:
            change(session, "zk", selector, "restore", rebuilt, nameless=True)
            return

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import create_target, find_good, restore_target
            from bdops.components.zk.snapshot.restore import ZXID
            from bdops.core.plan import GATE
            from bdops.jobs.launch import who

            vault: ZkVault = actor.vault(destination)
            record = find_good(vault.records(), snapshot)
            vault.verify(record)
            zxid = {ZXID: record.state["zxid"]}
            args = {"by": who(), "reason": f"before {record.id} is restored", **zxid}
            kept = create_target(dated(f"{cluster}-before"), vault.destination, args, "what is there now")
            target = restore_target(
                record, zxid, f"{record.state['znodes']:,} znodes to every server, clients held off"
            )
            type_name(session, cluster, f"all that {cluster} has")
            return replace(kept, acts=(GATE, *kept.acts)), replace(target, acts=(GATE, *target.acts), rank=1)

        change(session, "zk", selector, "restore", targets)

    @snapshots.command("export")
    def export_(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the JSON goes; it must not be there yet.")],
        selector: frame.SelectorArgument = None,
        root: Annotated[str, typer.Option("--root", metavar="PATH", help="This znode and those below it.")] = "/",
        source: Annotated[
            str | None, typer.Option("--from", metavar="SNAPSHOT", help="Out of a snapshot; the live tree if absent.")
        ] = None,
        destination: Destination = None,
    ) -> None:
        """Write a subtree as JSON, with data and ACLs. Ephemeral znodes are told, and left out.

        Example: bdops zk snapshot export config.json --root /config --from nightly-1
        """
        from bdops.components.backups import find_good
        from bdops.components.zk.snapshot.logical import Exported, export_lines, write_new
        from bdops.core.result import Report

        session = frame.session(ctx)
        told = Exported()
        with opened_vault(session, "zk", selector, destination) as opened:
            vault: ZkVault = opened  # type: ignore[assignment]
            record = find_good(vault.records(), source) if source else None
            with vault.nodes(record) as nodes:
                write_new(file, export_lines(nodes, root, record.id if record else "live", told))
        facts = {
            "file": str(file),
            "znodes": told.znodes,
            "ephemerals left out": told.ephemeral_count,
            "containers and TTL znodes": told.others,
            "_ephemerals": told.ephemerals,
        }
        session.show(Report(facts=facts, summary=f"{told.znodes:,} znodes written"))
        if told.ephemeral_count:
            session.say(f"left out, they belong to sessions: {', '.join(told.ephemerals)}")

    @snapshots.command("import")
    def import_(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` has written.")],
        selector: frame.SelectorArgument = None,
        under: Annotated[
            str | None,
            typer.Option("--under", metavar="PATH", help="Its root becomes this znode; as it was if absent."),
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Set data and ACLs of znodes that differ; else they are left.")
        ] = False,
    ) -> None:
        """Create the znodes of an export that are missing. Nothing is deleted, and nothing set unless asked for.

        Example: bdops zk snapshot import config.json --under /restored/config
        """

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.zk.snapshot.logical import check_export
            from bdops.components.zk.snapshot.vault import EXPORT
            from bdops.core.backups import RESTORE
            from bdops.core.plan import Target

            root, count = check_export(file.absolute())
            where = under or root
            args = {
                "id": file.name,
                "destination": str(file.absolute().parent),
                EXPORT: str(file.absolute()),
                "under": where,
                "overwrite": overwrite,
            }
            differing = "those that differ are set" if overwrite else "those that differ are left"
            note = f"{count:,} znodes at {where}; {differing}"
            return (Target(name=file.name, acts=(RESTORE,), role="backup", note=note, args=args),)

        change(frame.session(ctx), "zk", selector, "import", targets)


def _differences(found: Any) -> Table:
    from dataclasses import asdict

    from bdops.core.result import Column, Table

    columns = (
        Column("path"), Column("change"), Column("kind"), Column("bytes_before", "before", unit="bytes"),
        Column("bytes_after", "after", unit="bytes"), Column("acl_before", wide=True), Column("acl_after", wide=True),
        Column("mzxid_after", wide=True),
    )  # fmt: skip
    rows = (asdict(d) for d in found.differences())
    return Table(name="differences", columns=columns, rows=rows, empty="nothing differs")
