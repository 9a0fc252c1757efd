"""`bdops hdfs snapshot`: snapshots of directories, and images of the NameNode, made, compared and proved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.cli.snapshots import (
    Destination,
    Name,
    NewestByDefault,
    SnapshotArgument,
    change,
    create_one,
    dated,
    opened,
    opened_vault,
    snapshots_app,
    throwaway_args,
)
from bdops.errors import ExitCode, Refused, UsageError

if TYPE_CHECKING:
    from bdops.components.hdfs.snapshot.planning import RestorePlan
    from bdops.components.hdfs.snapshot.vault import HdfsVault
    from bdops.core.backups import BackupRecord, Vault
    from bdops.core.plan import Target

DirectoryArgument = Annotated[str, typer.Argument(metavar="DIR", help="A directory in HDFS.")]


def register(app: frame.App) -> None:
    """Give `bdops hdfs` its snapshots."""
    snapshots = snapshots_app(app, "hdfs", "HDFS")

    @snapshots.command()
    def create(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        name: Name = None,
        destination: Destination = None,
    ) -> None:
        """Make a snapshot of a directory: whole at once, and without copying anything.

        Example: bdops hdfs snapshot create --destination /data --reason 'before the migration'
        """
        session = frame.session(ctx)
        id = checked_name(name or dated(session.selection("hdfs", selector).deployment.cluster))
        create_one(session, "hdfs", selector, id, lambda actor: of_directory(actor.vault(destination)), "of {}")

    @snapshots.command()
    def dirs(ctx: typer.Context, selector: frame.SelectorArgument = None) -> None:
        """Every directory of which snapshots may be made, how many there are, and how many there may be.

        Example: bdops hdfs snapshot dirs prod/hdfs
        """
        from bdops.components.hdfs.snapshot.calls import snapshot_roots
        from bdops.components.hdfs.snapshot.lists import directories
        from bdops.components.hdfs.source import nameservice

        session = frame.session(ctx)
        with nameservice(session.deployment("hdfs", selector), timeout_s=session.timeout_s) as service:
            session.show(directories(service.on_active(snapshot_roots)))

    @snapshots.command()
    def allow(ctx: typer.Context, directory: DirectoryArgument, selector: frame.SelectorArgument = None) -> None:
        """Let snapshots be made of a directory. None may be within it, or above it, of which they are made already.

        Example: bdops hdfs snapshot allow /data
        """
        change_directory(ctx, selector, "snapshot-allow", directory, "snapshots may be made")

    @snapshots.command()
    def disallow(ctx: typer.Context, directory: DirectoryArgument, selector: frame.SelectorArgument = None) -> None:
        """Let no snapshots be made of a directory any more; refused while it has any.

        Example: bdops hdfs snapshot disallow /data
        """
        change_directory(ctx, selector, "snapshot-disallow", directory, "no snapshots may be made any more")

    @snapshots.command()
    def rename(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        to: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        """Rename a snapshot; that it is held, needed or proved stays noted.

        Example: bdops hdfs snapshot rename prod-20261126-0400 before-migration
        """

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import find_good, require_new
            from bdops.core.plan import Target

            vault = of_directory(actor.vault(destination))
            known = vault.records()
            record = find_good(known, snapshot)
            require_new(known, to)
            args = {"id": record.id, "to": checked_name(to), "destination": vault.destination}
            return (Target(name=record.id, acts=("snapshot-rename",), role="backup", note=f"-> {to}", args=args),)

        change(frame.session(ctx), "hdfs", selector, "rename", targets)

    @snapshots.command()
    def diff(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        selector: frame.SelectorArgument = None,
        to: Annotated[
            str | None, typer.Option("--to", metavar="SNAPSHOT", help="A later one; what is there now if absent.")
        ] = None,
        no_sizes: Annotated[bool, typer.Option("--no-sizes", help="Do not look up how big everything is.")] = False,
        totals: Annotated[bool, typer.Option("--totals", help="Only how many changes of each kind.")] = False,
        destination: Destination = None,
    ) -> None:
        """What was added, removed, renamed and modified since a snapshot, with sizes, streamed.

        Example: bdops hdfs snapshot diff nightly-1 --to nightly-2 --destination /data
        """
        from bdops.components.backups import find_record
        from bdops.components.hdfs.snapshot import lists
        from bdops.components.hdfs.snapshot.diff import snapshot_changes

        session = frame.session(ctx)
        with opened_vault(session, "hdfs", selector, destination) as opened:
            vault = of_directory(opened)
            there = [r for r in vault.records() if r.good]
            older, newer = find_record(there, snapshot), find_record(there, to) if to else None
            if newer and newer.taken_at < older.taken_at:
                raise UsageError(f"{newer.id} is older than {older.id}", hint=f"diff {newer.id} --to {older.id}")
            found = snapshot_changes(
                vault.service, vault.destination, older.id, newer.id if newer else "", sized=not no_sizes
            )
            session.show(lists.difference(found, listed=not totals))

    @snapshots.command()
    def image(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        name: Name = None,
        folder: Annotated[
            str | None,
            typer.Option("--to", metavar="FOLDER", help="A folder here; the inventory's if absent."),
        ] = None,
    ) -> None:
        """Fetch the NameNode's newest image into a file, with its MD5 checked. `--destination image` lists these.

        Example: bdops hdfs snapshot image --to /mnt/backups/hdfs
        """
        from bdops.components.backup_files import checked_name as file_name

        session = frame.session(ctx)
        cluster = session.selection("hdfs", selector).deployment.cluster
        id = file_name(name or dated(f"{cluster}-image"))
        where = f"file:{Path(folder).expanduser().absolute()}" if folder else "image"
        note = "the newest image, to {}"
        create_one(session, "hdfs", selector, id, lambda actor: actor.vault(where), note, verb="image")

    @snapshots.command()
    def drill(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        files: Annotated[int, typer.Option("--files", min=1, max=1000, help="How many files are restored.")] = 20,
        size: Annotated[
            str, typer.Option("--size", metavar="SIZE", help="How much is restored at the most: it goes through here.")
        ] = "256MB",
        destination: Destination = None,
    ) -> None:
        """Prove a snapshot: restore some files beside the data, compare, note the proof, clean up.

        Every file is looked at for lost blocks; a sample, chosen by chance, is copied, read back and compared. Of an
        image (`--destination image`) a throw-away NameNode on this machine loads all.

        Example: bdops hdfs snapshot drill --destination /data --files 50
        """
        from bdops.core.units import parse_size

        try:
            size_bytes = parse_size(size)
        except ValueError as e:
            raise UsageError(f"--size {size}: {e}") from None
        session = frame.session(ctx)
        home = session.selection("hdfs", selector).deployment.settings.hadoop_home

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import drill_target, find_good
            from bdops.components.hdfs.snapshot.image import ImageVault

            now = datetime.now(UTC)
            vault: Any = actor.vault(destination)
            record = find_good(vault.records(), snapshot)
            if isinstance(vault, ImageVault):
                of_image = throwaway_args("hdfs", record, home)
                how = "loaded by a NameNode"
                return (drill_target(record, of_image, "a throw-away NameNode loads it, is asked, removed", now, how),)
            stamp = f"{now:%Y%m%d%H%M%S}-{record.state['snapshot_id']}"
            args = {
                "files": files,
                "size_bytes": size_bytes,
                "seed": stamp,
                "folder": f"{vault.notes_path}/drills/{stamp}",
            }
            return (drill_target(record, args, f"{files} files restored beside, compared, removed", now),)

        change(session, "hdfs", selector, "drill", targets)

    @snapshots.command()
    def verify(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        """Look at the blocks of every file of a snapshot, or read an image (`--destination image`) to its end.

        Exits 1 when a file is lost or damaged, and when a snapshot that was noted is gone.

        Example: bdops hdfs snapshot verify nightly-2 --destination /data
        """
        from bdops.components.backups import find_record
        from bdops.core.result import Report
        from bdops.errors import OperationFailed

        session = frame.session(ctx)
        with opened_vault(session, "hdfs", selector, destination) as vault:
            known = vault.records()
            record = find_record(known, snapshot)
            found = vault.verify(record, Unhurried())  # type: ignore[attr-defined]
        bad = [r for r in known if not r.good and snapshot is None]
        if bad:
            raise OperationFailed("; ".join(f"{r.id}: {r.error}" for r in bad), where=vault.destination)
        session.show(Report(facts={"snapshot": record.id}, summary=found))

    @snapshots.command()
    def restore(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        path: Annotated[str, typer.Option("--path", metavar="PATH", help="What of it, below the directory.")] = "",
        to: Annotated[
            str | None, typer.Option("--to", metavar="DIR", help="Where in HDFS; beside the directory if absent.")
        ] = None,
        in_place: Annotated[
            bool, typer.Option("--in-place", help="Back into place: what is missing. What differs is left, and named.")
        ] = False,
        overwrite: Annotated[
            list[str] | None,
            typer.Option(
                "--overwrite", metavar="PATH", help="With --in-place: this file too, which differs; may be repeated."
            ),
        ] = None,
        compare: Annotated[
            bool, typer.Option("--compare", help="Restore nothing: compare what is there with the snapshot.")
        ] = False,
        files: Annotated[
            int | None,
            typer.Option("--files", min=0, help="Compare the checksums of so many files; of all if absent."),
        ] = None,
        destination: Destination = None,
    ) -> None:
        """Restore a path of a snapshot: to a new place, or with --in-place what of it is missing.

        Hadoop's own program copies, on a host of the cluster; then all is compared with the snapshot, and gets its
        name. Where no host has the program, the commands are printed, and it exits 3. --compare exits 1 when anything
        differs.

        Example: bdops hdfs snapshot restore nightly-1 --path orders --to /restored/orders
        """
        from bdops.components.backups import find_good
        from bdops.core.result import Report

        session = frame.session(ctx)
        inside = path.strip("/")
        if in_place and to:
            raise UsageError("either --to or --in-place")
        if overwrite and not in_place:
            raise UsageError("--overwrite is for --in-place")
        if to and not to.startswith("/"):
            raise UsageError(f"--to {to}: no full path in HDFS", hint=f"--to /{to}")
        with opened(session, "hdfs", selector) as site:
            actor: Any = site.actors["hdfs"]
            vault = of_directory(actor.vault(destination))
            record = find_good(vault.records(), snapshot)
            beside = (to or f"{vault.destination.rstrip('/')}-restored/{record.id}/{inside}").rstrip("/")
            if compare:
                live = f"{vault.destination.rstrip('/')}/{inside}".rstrip("/")
                compared_with(session, vault, record, inside, live if in_place else beside, files)
                return
            plan = actor.restore_plan(
                record, inside, to=None if in_place else beside, overwrite=overwrite or (), checksums=files
            )
            if plan.left:
                named = ", ".join(plan.left)
                session.say(f"{plan.differing} differ from the snapshot; left as they are: {named} (--overwrite PATH)")
            if plan.no_host is not None:
                print_commands(session, record.id, plan)
            elif not plan.targets:
                session.show(Report(summary="nothing of it is missing", facts={"differ": plan.differing}))
            else:
                change(session, "hdfs", selector, "restore", lambda actor: plan.targets, site=site)

    @snapshots.command()
    def need(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        selector: frame.SelectorArgument = None,
        by: Annotated[str | None, typer.Option("--by", metavar="TEXT", help="What cannot do without it.")] = None,
        none: Annotated[bool, typer.Option("--none", help="Nothing needs it any more.")] = False,
        destination: Destination = None,
    ) -> None:
        """Note that something needs a snapshot (the next incremental copy): it is not pruned until nothing does.

        Example: bdops hdfs snapshot need nightly-2 --by 'the next copy to hdfs://dr/data'
        """
        if bool(by) == none:
            raise UsageError("either --by TEXT or --none")

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import find_record
            from bdops.core.backups import MARK
            from bdops.core.plan import Target

            record = find_record(of_directory(actor.vault(destination)).records(), snapshot)
            mark = {"kind": "needed", **({"why": by} if by else {})}
            args = {"id": record.id, "destination": record.destination, "mark": mark}
            note = f"needed: {by}" if by else "not needed any more"
            return (Target(name=record.id, acts=(MARK,), role="backup", note=note, args=args),)

        change(frame.session(ctx), "hdfs", selector, "need", targets)

    @snapshots.command()
    def distcp(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="URI", help="The copy: hdfs://NAMESERVICE/DIR.")],
        selector: frame.SelectorArgument = None,
        older: Annotated[
            str | None, typer.Option("--from", metavar="SNAPSHOT", help="Both sides have it; found if absent.")
        ] = None,
        newer: Annotated[
            str | None, typer.Option("--to", metavar="SNAPSHOT", help="What the copy shall be; the newest if absent.")
        ] = None,
        options: Annotated[str, typer.Option("--options", metavar="TEXT", help="More options of distcp.")] = "",
        destination: Destination = None,
    ) -> None:
        """The exact command that copies what changed to another cluster, with what it needs looked at first.

        Nothing is run: the copy is a job of the cluster's own YARN. Exits 5 when something is missing, 3 when that is
        not known because no cluster of the inventory has the target's nameservice.

        Example: bdops hdfs snapshot distcp hdfs://dr/data --destination /data --options '-m 20 -bandwidth 50'
        """
        import shlex
        from urllib.parse import urlsplit

        from bdops.components.hdfs.snapshot.distcp import LOOKED_AT, plan, report, side
        from bdops.components.hdfs.source import nameservice

        session = frame.session(ctx)
        parts = urlsplit(target)
        if parts.scheme not in ("hdfs", "webhdfs", "swebhdfs") or not parts.netloc or not parts.path.strip("/"):
            raise UsageError(f"{target} is no directory of a cluster", hint="hdfs://NAMESERVICE/DIR")
        other = next(
            (
                d
                for c in session.inventory().clusters
                for d in c.deployments
                if d.component == "hdfs" and d.settings.nameservice == parts.netloc
            ),
            None,
        )
        with opened_vault(session, "hdfs", selector, destination) as opened:
            vault = of_directory(opened)
            ours = session.deployment("hdfs", selector).settings.nameservice
            here = side(vault.service, f"hdfs://{ours}{vault.destination}")
            there = None
            if other is not None:
                with nameservice(other, timeout_s=session.timeout_s) as service:
                    there = side(service, target, looked_at=LOOKED_AT)
        found = plan(here, there, target, older=older, newer=newer, options=shlex.split(options))
        session.show(report(found))
        if found.holds is not True:
            session.exit_code = ExitCode.REFUSED if found.holds is False else ExitCode.CONFIG


def compared_with(
    session: frame.Session, vault: HdfsVault, record: BackupRecord, inside: str, target: str, files: int | None
) -> None:
    """Whether all of a path of a snapshot is at a place. Raises OperationFailed when it is not."""
    from bdops.components.hdfs.snapshot.calls import entry_of, snapshot_path
    from bdops.components.hdfs.snapshot.restore import compare_paths
    from bdops.core.result import Report
    from bdops.errors import OperationFailed

    source = f"{snapshot_path(vault.destination, record.id)}/{inside}".rstrip("/")
    service = vault.service
    if service.on_active(lambda n: entry_of(n, source)) is None:
        raise UsageError(f"there is no {inside or '/'} in {record.id}", code="HDFS_NO_SUCH_PATH")
    if service.on_active(lambda n: entry_of(n, target)) is None:
        raise OperationFailed(f"there is no {target}: nothing was restored", code="HDFS_NO_SUCH_PATH")
    found = compare_paths(service, vault.web, source, target, files=files, patience=Unhurried())
    if found.different:
        raise OperationFailed(f"{found}: {'; '.join(found.named)}", where=target, code="RESTORE_DIFFERS")
    session.show(Report(facts={"snapshot": record.id, "from": source, "to": target}, summary=str(found)))


def print_commands(session: frame.Session, id: str, plan: RestorePlan) -> None:
    """What a person is to run on a host of the cluster, where bdops cannot; exits 3."""
    from bdops.core.result import Column, Report, Table

    facts = {"snapshot": id, "pieces": plan.pieces, "size_bytes": plan.size_bytes}
    rows = [{"command": line} for line in plan.commands]
    hint = "run these on a host of the cluster, then the same again with --compare"
    session.show(
        Report(
            status="failed",
            facts=facts,
            tables=(Table(name="commands", columns=(Column("command"),), rows=rows, empty="nothing is missing"),),
            summary=f"nothing was restored: {plan.no_host}; {hint} (`hadoop_command` in the inventory names it)",
        )
    )
    session.exit_code = ExitCode.CONFIG


class Unhurried:
    """A walk that nobody waits for in a job: it tells nothing, and is left by ^C."""

    def wait(self, seconds: float) -> None:
        return None

    def waiting(self, text: str) -> None:
        return None


def of_directory(vault: Vault) -> HdfsVault:
    """The snapshots of a directory. Raises UsageError for images: `image` fetches these, and NameNodes restore them."""
    from bdops.components.hdfs.snapshot.vault import HdfsVault

    if not isinstance(vault, HdfsVault):
        raise UsageError(
            f"{vault.destination} has images of the NameNode, and no snapshots of a directory",
            hint="--destination DIR, a directory in HDFS",
        )
    return vault


def change_directory(ctx: typer.Context, selector: str | None, act: str, directory: str, note: str) -> None:
    """One act on one directory, as a job."""
    if not directory.startswith("/"):
        raise UsageError(f"{directory} is no full path in HDFS", hint=f"/{directory}")
    args: Mapping[str, str] = {"destination": directory.rstrip("/") or "/"}

    def targets(actor: Any) -> tuple[Target, ...]:
        from bdops.components.hdfs.snapshot.calls import entry_of
        from bdops.core.plan import Target

        found = actor.service().on_active(lambda n: entry_of(n, args["destination"]))
        if found is None or found.kind != "dir":
            raise Refused(f"there is no directory {directory} in HDFS", code="HDFS_NO_SUCH_PATH")
        return (Target(name=directory, acts=(act,), role="backup", note=note, args=args),)

    change(frame.session(ctx), "hdfs", selector, act.removeprefix("snapshot-"), targets)


def checked_name(name: str) -> str:
    """A name that HDFS takes for a snapshot. Raises UsageError for another."""
    if not name or "/" in name or ":" in name or name in (".", "..", ".snapshot"):
        raise UsageError(f"{name!r} cannot be the name of a snapshot: no / and no : in it")
    return name
