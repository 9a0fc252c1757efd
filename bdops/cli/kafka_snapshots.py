"""`bdops kafka snapshot`: how backups of Kafka's metadata are made, compared, restored, verified and proved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.cli.rolling import DetailedExitcode
from bdops.cli.snapshots import (
    AllByDefault,
    Destination,
    ExitOnDifference,
    Name,
    NewestByDefault,
    change,
    create_one,
    dated,
    difference_report,
    opened_vault,
    snapshots_app,
    throwaway_args,
    verified_report,
)
from bdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bdops.components.kafka.snapshot.content import Metadata
    from bdops.components.kafka.snapshot.vault import KafkaVault
    from bdops.core.backups import BackupRecord
    from bdops.core.plan import Target

Part = Annotated[
    list[str] | None,
    typer.Option("--part", metavar="PART", help="Only these: topics, brokers, acls, quotas, groups, resources, ..."),
]
Topic = Annotated[str | None, typer.Option("--topic", metavar="PATTERN", help="Of topics only those like this.")]


def register(app: frame.App) -> None:
    """Give `bdops kafka` its snapshots."""
    snapshots = snapshots_app(app, "kafka", "Kafka's metadata")

    @snapshots.command()
    def create(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        name: Name = None,
        allow_partial: Annotated[
            bool, typer.Option("--allow-partial", help="One without what cannot be read counts as well.")
        ] = False,
        no_timestamps: Annotated[
            bool, typer.Option("--no-timestamps", help="Do not ask for the times of committed offsets.")
        ] = False,
        destination: Destination = None,
    ) -> None:
        """Write topics, configs, ACLs, quotas, SCRAM user names, features and committed offsets to one file.

        No secret is in it. Example: bdops kafka snapshot create --destination /backup/kafka
        """
        from bdops.components.backup_files import checked_name

        session = frame.session(ctx)
        deployment = session.selection("kafka", selector).deployment
        if not destination and not deployment.settings.snapshot_dir:
            session.say("note: it goes to a folder of this machine alone; `snapshot_dir` may name a shared one")
        id = checked_name(name or dated(deployment.cluster))
        args = {"partial_allowed": allow_partial, "timestamps": not no_timestamps}
        create_one(
            session, "kafka", selector, id, lambda actor: actor.vault(destination), "all metadata to {}", args=args
        )

    @snapshots.command()
    def diff(
        ctx: typer.Context,
        before: Annotated[
            str | None, typer.Argument(metavar="[A]", help="A backup or its file; the newest good one if absent.")
        ] = None,
        after: Annotated[
            str | None, typer.Argument(metavar="[B]", help="Another one; the live cluster if absent.")
        ] = None,
        part: Part = None,
        topic: Topic = None,
        detailed_exitcode: ExitOnDifference = False,
        destination: Destination = None,
    ) -> None:
        """What has changed since a backup, or between two: a check for drift.

        Leaders are left out, and committed offsets unless --part groups asks for them.
        Example: bdops kafka snapshot diff nightly-1 --detailed-exitcode
        """
        from bdops.components.kafka.snapshot.difference import DRIFT_PARTS, differences, unknown_parts

        parts = _parts(part, (*DRIFT_PARTS, "groups"), DRIFT_PARTS)
        session = frame.session(ctx)
        with opened_vault(session, "kafka", None, destination) as opened:
            vault: KafkaVault = opened  # type: ignore[assignment]
            names, pair = _pair(vault, before, after)
        found = differences(*pair, parts, topic)
        unknown = unknown_parts(*pair, parts)
        rows = [
            {"part": d.part, "name": d.name, "change": d.kind, "what": d.field, "before": d.before, "after": d.after}
            for d in found
        ]
        session.show(difference_report(rows, names, (f"{key}: {why}" for key, why in unknown.items())))
        if detailed_exitcode and found and not unknown:
            session.exit_code = ExitCode.CHANGES_PENDING

    @snapshots.command()
    def restore(
        ctx: typer.Context,
        snapshot: Annotated[
            str | None,
            typer.Argument(metavar="[SNAPSHOT]", help="A backup or its file; the newest good one if absent."),
        ] = None,
        selector: frame.SelectorArgument = None,
        part: Part = None,
        topic: Topic = None,
        offsets: Annotated[
            str,
            typer.Option(
                "--offsets",
                metavar="HOW",
                help="Of groups: auto (by time where a topic was made anew), offset, timestamp or none.",
            ),
        ] = "auto",
        delete: Annotated[
            list[str] | None,
            typer.Option(
                "--delete", metavar="WHAT", help="topic=NAME, config=topic/NAME/KEY, acl=TEXT, quota=TEXT; several."
            ),
        ] = None,
        destination: Destination = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Bring back what a backup has: topics, partitions, configs, quotas, ACLs, offsets of stopped groups.

        Nothing is deleted that is not named.
        Example: bdops kafka snapshot restore nightly-1 --topic 'orders*' --dry-run
        """
        from bdops.cli.rolling import carry_out
        from bdops.components.kafka.snapshot.restore import OFFSETS, RESTORED, Deletions, Wish, plan_restore

        if offsets not in OFFSETS:
            raise UsageError(f"--offsets {offsets}", hint=f"one of {', '.join(OFFSETS)}")
        wish = Wish(
            parts=_parts(part, RESTORED, RESTORED),
            topic=topic,
            offsets=offsets,  # type: ignore[arg-type]
            delete=Deletions.parse(delete or ()),
        )
        session = frame.session(ctx)

        def targets(actor: Any, state: Any, names: Any) -> Sequence[Target]:
            from bdops.core.backups import RESTORE
            from bdops.core.plan import Target

            vault: KafkaVault = actor.vault(destination)
            name, backup = _loaded(vault, snapshot)
            live = vault.live()
            planned = plan_restore(backup, live, wish, vault.logs(backup, live, wish))
            for note in planned.notes:
                session.say(f"note: {note}")
            return [
                Target(
                    name=work.name,
                    acts=(RESTORE,),
                    rank=number,
                    role="restore",
                    note=work.note,
                    args={"id": name, "destination": vault.destination, "kind": work.kind, "items": work.items},
                )
                for number, work in enumerate(planned.work, 1)
            ]

        carry_out(
            session, "kafka", selector, targets, command="kafka snapshot restore", detailed_exitcode=detailed_exitcode
        )

    @snapshots.command()
    def drill(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        topic: Topic = None,
        destination: Destination = None,
    ) -> None:
        """Prove a backup: restore it to a throw-away broker on this machine, compare, note the proof, remove it.

        Example: bdops kafka snapshot drill
        """
        session = frame.session(ctx)
        home = session.selection("kafka", selector).deployment.settings.kafka_home

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import drill_target, find_good
            from bdops.components.kafka.snapshot.drill import chosen, told_of

            vault: KafkaVault = actor.vault(destination)
            record = find_good(vault.records(), snapshot)
            told = told_of(chosen(vault.load(record), topic))
            args = {**throwaway_args("kafka", record, home), "topic": topic}
            how = f"restored to a broker of its own and compared: {told}"
            return (drill_target(record, args, f"{told}, on a throw-away broker", datetime.now(UTC), how),)

        change(session, "kafka", selector, "drill", targets)

    @snapshots.command()
    def verify(
        ctx: typer.Context,
        snapshot: AllByDefault = None,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        """Read backups to their end: digests, and whether they can be understood. Exits 1 when one cannot.

        Example: bdops kafka snapshot verify
        """
        from bdops.components.backups import find_record
        from bdops.core.result import Column

        session = frame.session(ctx)
        with opened_vault(session, "kafka", selector, destination) as opened:
            vault: KafkaVault = opened  # type: ignore[assignment]
            every = vault.files.records()
            chosen = (find_record(every, snapshot),) if snapshot else every
            strays = ", ".join(vault.files.strays()) or None
            facts = {"destination": vault.destination, "files of no backup": strays}

            def read(record: BackupRecord) -> dict[str, Any]:
                return {"topics": len(vault.load(record).part("topics"))}

            session.show(verified_report(chosen, read, (Column("topics"),), facts))


def _parts(given: list[str] | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    if wrong := [p for p in given or () if p not in known]:
        raise UsageError(f"--part {wrong[0]}", hint=f"one of {', '.join(known)}")
    return tuple(p for p in known if p in (given or default))


def _loaded(vault: KafkaVault, name: str | None) -> tuple[str, Metadata]:
    """A backup by its name, or by a path to its file."""
    from pathlib import Path

    from bdops.components.backups import find_good
    from bdops.components.kafka.snapshot.vault import load_file

    if name and "/" in name:
        return name, load_file(Path(name).expanduser())
    record = find_good(vault.records(), name)
    return record.id, vault.load(record)


def _pair(
    vault: KafkaVault, before: str | None, after: str | None
) -> tuple[tuple[str, str], tuple[Metadata, Metadata]]:
    old, first = _loaded(vault, before)
    if after is None:
        return (old, "the live cluster"), (first, vault.live())
    new, second = _loaded(vault, after)
    return (old, new), (first, second)
