"""The verbs that snapshots of every component have: list, show, prune, hold, release.

What differs (how one is made, restored, proved) is in the component's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.errors import BdopsError, ConfigError, UsageError

if TYPE_CHECKING:
    from bdops.core.backups import BackupRecord, Vault
    from bdops.core.plan import Target
    from bdops.core.result import Column, Report
    from bdops.core.retention import Fate
    from bdops.jobs.launch import Site

Name = Annotated[str | None, typer.Option("--name", help="Its name; cluster and time if absent.")]
Destination = Annotated[
    str | None,
    typer.Option(
        "--destination", "--repository", metavar="NAME", help="Where the snapshots are: a repository, a folder."
    ),
]
SnapshotArgument = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Its name, or a part of it.")]
NewestByDefault = Annotated[
    str | None, typer.Argument(metavar="[SNAPSHOT]", help="Its name, or a part of it; the newest good one if absent.")
]
AllByDefault = Annotated[
    str | None, typer.Argument(metavar="[SNAPSHOT]", help="Its name, or a part of it; all if absent.")
]
Match = Annotated[
    str | None, typer.Option("--match", metavar="PATTERN", help="Only those with a name like this: 'nightly-*'.")
]
HOMES = "`kafka_home`, `zookeeper_home` or `hadoop_home` in the inventory: the folder of an unpacked server"
ExitOnDifference = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 6 when something differs.")]


def snapshots_app(app: frame.App, component: str, title: str) -> frame.App:
    """Give a component's application `snapshot` with the shared verbs, and return that for its own ones."""
    snapshots = frame.App(help=f"Snapshots of {title}: made, kept, restored, and proved by restoring them.")
    app.add_typer(snapshots, name="snapshot")

    @snapshots.command(
        "list", help=f"Every snapshot: when, how it ended, held, proved.\n\nExample: bdops {component} snapshot list"
    )
    def list_snapshots(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        match: Match = None,
        older_than: Annotated[
            float | None,
            typer.Option("--older-than", metavar="TIME", parser=frame.parse_time, help="Only those: 30d."),
        ] = None,
        newer_than: Annotated[
            float | None,
            typer.Option("--newer-than", metavar="TIME", parser=frame.parse_time, help="Only those: 36h."),
        ] = None,
        destination: Destination = None,
    ) -> None:
        session = frame.session(ctx)
        now = datetime.now(UTC)
        with opened_vault(session, component, selector, destination) as vault:
            records = named(vault.records(), match)
        ages = {r.id: (now - r.taken_at).total_seconds() for r in records}
        least = float("-inf") if older_than is None else older_than
        most = float("inf") if newer_than is None else newer_than
        session.show(records_report([r for r in records if least <= ages[r.id] <= most], now))

    @snapshots.command(
        help=f"One snapshot with all that is known of it.\n\nExample: bdops {component} snapshot show nightly-1"
    )
    def show(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        from bdops.components.backups import find_record

        session = frame.session(ctx)
        with opened_vault(session, component, selector, destination) as vault:
            session.show(record_report(find_record(vault.records(), snapshot)))

    @snapshots.command(
        help="Delete what no rule keeps; shows why each one stays or goes, and asks."
        f"\n\nExample: bdops {component} snapshot prune --keep '24h 7d 4w 12m' --min-good 3 --dry-run"
    )
    def prune(
        ctx: typer.Context,
        keep: Annotated[str, typer.Option("--keep", metavar="RULE", help="24h 7d 4w 12m: one of each of the last.")],
        min_good: Annotated[int, typer.Option("--min-good", min=1, help="So many good ones stay in any case.")] = 3,
        match: Match = None,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        from bdops.components.backups import prune_targets
        from bdops.core.retention import decide, parse_keep

        try:
            rule = parse_keep(keep)
        except ValueError as e:
            raise UsageError(f"--keep {keep}: {e}", hint="--keep '24h 7d 4w 12m'") from None
        session = frame.session(ctx)
        with opened(session, component, selector) as site:
            vault = vault_of(site, component, destination)
            fates = decide([r.for_retention() for r in named(vault.records(), match)], rule, min_good=min_good)
            going = sum(1 for f in fates if not f.stays)
            if session.output == "table" or session.dry_run or not going:
                session.show(fates_report(fates))
            if going and not session.dry_run:
                targets = prune_targets(fates, vault.destination)
                change(session, component, selector, "prune", lambda actor: targets, site=site)

    @snapshots.command(
        help="Keep a snapshot whatever the rules say, until it is released."
        f"\n\nExample: bdops {component} snapshot hold nightly-1 --reason 'audit 2026'"
    )
    def hold(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        from bdops.components.backups import find_record, hold_target

        session = frame.session(ctx)
        if not session.reason:
            raise UsageError("why is it held?", hint="--reason 'audit 2026'")
        change(
            session,
            component,
            selector,
            "hold",
            lambda actor: (hold_target(find_record(actor.vault(destination).records(), snapshot), session.reason),),
        )

    @snapshots.command(
        help=f"Let go of a snapshot that is held.\n\nExample: bdops {component} snapshot release nightly-1"
    )
    def release(
        ctx: typer.Context,
        snapshot: SnapshotArgument,
        selector: frame.SelectorArgument = None,
        destination: Destination = None,
    ) -> None:
        from bdops.components.backups import find_record, hold_target

        change(
            frame.session(ctx),
            component,
            selector,
            "release",
            lambda actor: (hold_target(find_record(actor.vault(destination).records(), snapshot), None),),
        )

    return snapshots


def named(records: Sequence[BackupRecord], pattern: str | None) -> list[BackupRecord]:
    """Those with a name like a pattern; all without one."""
    from fnmatch import fnmatchcase

    return [r for r in records if pattern is None or fnmatchcase(r.id, pattern)]


def opened(session: frame.Session, component: str, selector: str | None) -> AbstractContextManager[Site]:
    """The cluster of one deployment, with its actor."""
    from bdops.cli.jobs_frame import opened_site

    return opened_site(session, session.selection(component, selector).deployment.cluster, [component])


def vault_of(site: Site, component: str, destination: str | None) -> Vault:
    """The backups of a deployment whose cluster is open."""
    actor: Any = site.actors[component]
    vault: Vault = actor.vault(destination)
    return vault


@contextmanager
def opened_vault(
    session: frame.Session, component: str, selector: str | None, destination: str | None
) -> Iterator[Vault]:
    """The backups of one deployment, for what changes nothing."""
    with opened(session, component, selector) as site:
        yield vault_of(site, component, destination)


def change(
    session: frame.Session,
    component: str,
    selector: str | None,
    verb: str,
    targets: Callable[[Any], Sequence[Target]],
    *,
    nameless: bool = False,
    site: Site | None = None,
) -> None:
    """Carry targets out as a job. They are made with the actor at hand. `nameless`: see jobs.planning.Part. `site`: the
    cluster, where it is open already."""
    from bdops.cli.rolling import carry_out

    def of_actor(actor: Any, state: Any, names: Collection[str]) -> Sequence[Target]:
        return targets(actor)

    command = f"{component} snapshot {verb}"
    carry_out(session, component, selector, of_actor, command=command, nameless=nameless, site=site)


def type_name(session: frame.Session, cluster: str, what: str) -> None:
    """Before something is replaced: have the cluster's name typed, unless `--yes`. Raises UsageError when it is not."""
    import sys

    if session.yes or session.dry_run or not sys.stdin.isatty():
        return
    print(f"This replaces {what}. Type the name of the cluster: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != cluster:
        raise UsageError("not confirmed: nothing was done", code="NOT_CONFIRMED")


def dated(name: str) -> str:
    """A name with the time in it."""
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def create_one(
    session: frame.Session,
    component: str,
    selector: str | None,
    id: str,
    open_vault: Callable[[Any], Vault],
    note: str,
    *,
    verb: str = "create",
    args: Mapping[str, Any] | None = None,
) -> None:
    """Have one made by a job, in the vault of an actor; the {} of `note` is where. Raises Refused when there is one.

    `args` are what the component's own CREATE needs to know, besides who asks, and why.
    """

    def targets(actor: Any) -> tuple[Target, ...]:
        from bdops.components.backups import create_target, require_new
        from bdops.jobs.launch import who

        vault = open_vault(actor)
        require_new(vault.records(), id)
        of_all = {"by": who(), "reason": session.reason}
        told = note.replace("{}", vault.destination)
        return (create_target(id, vault.destination, of_all | dict(args or {}), told),)

    change(session, component, selector, verb, targets)


def throwaway_args(component: str, record: BackupRecord, home: str | None) -> dict[str, str]:
    """With what a drill runs a server of its own here: Java, jars (of `home`, else of the lab), a folder.

    Raises ConfigError when there is no Java, or no jar.
    """
    from bdops.lab.java import require
    from bdops.lab.paths import state_dir

    folder = f"{component}-{record.id[:40]}-{datetime.now(UTC):%Y%m%d%H%M%S}"
    return {
        "java": require(),
        "class_path": ":".join(f"{f}/*" for f in _jar_folders(component, home)),
        "folder": str(state_dir() / "drills" / folder),
    }


def _jar_folders(component: str, home: str | None) -> list[Path]:
    if home:
        root = Path(home).expanduser()
        hadoop = (root / "share" / "hadoop" / f for f in ("common", "common/lib", "hdfs", "hdfs/lib"))
        if not (found := [f for f in (root / "libs", root / "lib", root, *hadoop) if any(f.glob("*.jar"))]):
            raise ConfigError(f"there are no jars in {root}, its lib, its libs or its share/hadoop", hint=HOMES)
        return found
    from importlib import import_module

    from bdops.lab.jars import folder_of
    from bdops.lab.paths import cache_dir

    folder = folder_of(component, import_module(f"bdops.lab.{component}").ARTIFACTS, cache_dir())
    if not folder.is_dir():
        raise ConfigError(
            "a drill runs a server on this machine, and there are no jars of it",
            hint=HOMES,
            code="NO_SERVER_HERE",
        )
    return [folder]


def difference_report(
    rows: Sequence[Mapping[str, Any]], between: tuple[str, str], not_compared: Iterable[str], **facts: str | None
) -> Report:
    """What differs between two: part, name, change, what, before, after. Unknown when not all was compared."""
    from bdops.core.result import Column, Report, Table
    from bdops.core.units import plural

    missing = "; ".join(not_compared)
    columns = tuple(Column(name) for name in ("part", "name", "change", "what", "before", "after"))
    return Report(
        facts={"before": between[0], "after": between[1], **facts, "not compared": missing or None},
        tables=(Table(name="differences", columns=columns, rows=rows, empty="no differences"),),
        summary=plural(len(rows), "difference") + (", and not all could be compared" if missing else ""),
        status="unknown" if missing else "ok",
    )


def verified_report(
    records: Sequence[BackupRecord],
    verify: Callable[[BackupRecord], Mapping[str, Any]],
    columns: Sequence[Column] = (),
    facts: Mapping[str, Any] | None = None,
) -> Report:
    """Whether each is whole, the newest first. `verify` reads one to its end, and gives what `columns` show of it."""
    from bdops.core.result import Column, Report, Table

    rows = []
    for record in sorted(records, key=lambda r: (r.taken_at, r.id), reverse=True):
        row: dict[str, Any] = {"snapshot": record.id, "whole": record.good, "why": record.error}
        if record.good:
            try:
                row |= verify(record)
            except ConfigError as e:  # what cannot be read now is not known to be damaged
                row |= {"whole": None, "why": e.message}
            except BdopsError as e:
                row |= {"whole": False, "why": e.message}
        rows.append(row)
    found = {r["whole"] for r in rows}
    shown = (Column("snapshot"), Column("whole"), *columns, Column("why"))
    return Report(
        status="failed" if False in found else "unknown" if None in found else "ok",
        facts=dict(facts or {}),
        tables=(Table(name="snapshots", columns=shown, rows=rows, empty="no snapshots"),),
        summary=f"{sum(r['whole'] is True for r in rows)} of {len(rows)} snapshots are whole",
    )


def records_report(records: Sequence[BackupRecord], now: datetime) -> Report:
    """One row a backup, the newest first."""
    from bdops.core.backups import newest_good, newest_proved
    from bdops.core.result import Column, Report, Table
    from bdops.core.units import format_duration

    ordered = sorted(records, key=lambda r: (r.taken_at, r.id), reverse=True)
    rows = [
        {
            "snapshot": r.id,
            "status": r.status,
            "counts": r.good,
            "taken_at": r.taken_at.isoformat(timespec="seconds"),
            "age_s": round((now - r.taken_at).total_seconds()),
            "duration_s": r.duration_s,
            "size_bytes": r.size_bytes,
            "what": len(r.what),
            "hold": r.hold,
            "proved_at": r.proved_at.isoformat(timespec="seconds") if r.proved_at else None,
            "error": r.error,
        }
        for r in ordered
    ]
    good, proved = newest_good(ordered), newest_proved(ordered)
    columns = (
        Column("snapshot"), Column("status"), Column("taken_at", unit="time"), Column("age_s", "age", unit="s"),
        Column("duration_s", "took", unit="s"), Column("size_bytes", "size", unit="bytes"), Column("what", "parts"),
        Column("hold"), Column("proved_at", "proved"), Column("error"), Column("counts", wide=True),
    )  # fmt: skip
    facts = {
        "newest good": f"{good.id}, {format_duration((now - good.taken_at).total_seconds())} old" if good else None,
        "newest proved": proved.id if proved else None,
    }
    return Report(
        facts=facts,
        tables=(Table(name="snapshots", columns=columns, rows=rows, empty="no snapshots"),),
        summary=f"{sum(r.good for r in ordered)} of {len(ordered)} snapshots are good",
    )


def record_report(record: BackupRecord) -> Report:
    from bdops.core.result import Report

    facts: dict[str, Any] = {
        "snapshot": record.id,
        "destination": record.destination,
        "status": record.status,
        "counts": record.good,
        "taken_at": record.taken_at.isoformat(timespec="seconds"),
        "duration_s": record.duration_s,
        "size_bytes": record.size_bytes,
        "what": list(record.what),
        "by": record.by,
        "reason": record.reason,
        "hold": record.hold,
        "proved_at": record.proved_at.isoformat(timespec="seconds") if record.proved_at else None,
        "proof": record.proof,
        "error": record.error,
        **{f"state {k}": v for k, v in record.state.items()},
    }
    return Report(facts=facts)


def fates_report(fates: Sequence[Fate]) -> Report:
    """Why each backup stays or goes."""
    from bdops.core.result import Column, Report, Table

    rows = [
        {
            "snapshot": f.backup.id,
            "taken_at": f.backup.taken_at.isoformat(timespec="seconds"),
            "good": f.backup.good,
            "fate": "stays" if f.stays else "goes",
            "why": "; ".join(f.reasons),
        }
        for f in fates
    ]
    columns = (Column("snapshot"), Column("taken_at"), Column("good"), Column("fate"), Column("why"))
    going = sum(1 for f in fates if not f.stays)
    return Report(
        tables=(Table(name="snapshots", columns=columns, rows=rows, empty="no snapshots"),),
        summary=f"{going} of {len(fates)} snapshots go",
    )
