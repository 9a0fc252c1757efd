"""`bdops es snapshot`: how snapshots of Elasticsearch are made, compared, restored, verified and proved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.cli.snapshots import (
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
    type_name,
)
from bdops.errors import ExitCode, Refused, UsageError

if TYPE_CHECKING:
    from bdops.components.es.snapshot.difference import Side
    from bdops.components.es.snapshot.global_state import Difference
    from bdops.components.es.snapshot.vault import EsVault
    from bdops.core.backups import BackupRecord
    from bdops.core.plan import Target
    from bdops.core.result import Report

Index = Annotated[
    list[str] | None, typer.Option("--index", metavar="PATTERN", help="Indices like this; several; -x* not.")
]


def register(app: frame.App) -> None:
    """Give `bdops es` its snapshots."""
    snapshots = snapshots_app(app, "es", "Elasticsearch")

    @snapshots.command()
    def create(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        index: Annotated[
            list[str] | None,
            typer.Option(
                "--index", metavar="PATTERN", help="Indices and data streams like this; all if absent; -x* not."
            ),
        ] = None,
        name: Name = None,
        global_state: Annotated[
            bool, typer.Option("--global-state", help="The cluster's settings, templates and policies too.")
        ] = False,
        allow_partial: Annotated[
            bool, typer.Option("--allow-partial", help="One without the shards that fail counts as well.")
        ] = False,
        destination: Destination = None,
    ) -> None:
        """Take a snapshot and wait for it. A partial one is a failure, unless that is allowed.

        Example: bdops es snapshot create --index 'logs-*' --global-state
        """
        from bdops.components.es.snapshot.parse import create_body
        from bdops.jobs.launch import who

        session = frame.session(ctx)
        id = _checked_name(name or dated(session.selection("es", selector).deployment.cluster).lower())
        words = index or ["*"]
        ours = {"by": who(), "reason": session.reason, "partial_allowed": allow_partial}
        body = create_body(words, ours, global_state=global_state, partial=allow_partial)
        note = f"{', '.join(words)} to {{}}"
        create_one(session, "es", selector, id, lambda actor: actor.vault(destination), note, args={"body": body})

    @snapshots.command()
    def restore(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        index: Index = None,
        rename: Annotated[
            str | None,
            typer.Option(
                "--rename", metavar="PREFIX", help="Before the names of what is restored; restored- if absent."
            ),
        ] = None,
        into_place: Annotated[
            bool, typer.Option("--into-place", help="Yes: in place of what lives under the same names.")
        ] = False,
        global_state: Annotated[
            bool,
            typer.Option(
                "--global-state",
                help="Settings, templates, policies, pipelines in place of those that live; alone, no index.",
            ),
        ] = False,
        destination: Destination = None,
    ) -> None:
        """Restore indices of a snapshot beside those that live, under other names, without replicas.

        With --into-place over them: what lives there is kept as a snapshot first.

        Example: bdops es snapshot restore nightly-1 --index orders --rename restored-
        """
        session = frame.session(ctx)
        in_place = into_place or global_state
        if in_place and rename is not None:
            raise UsageError("--rename is for a restore beside what lives, without --into-place and --global-state")
        if in_place and snapshot is None:
            raise UsageError(
                "which snapshot? None is restored into place that is not named", hint="bdops es snapshot list"
            )
        if index and global_state and not into_place:
            raise UsageError("--global-state alone restores no index", hint="--into-place too")
        prefix = "restored-" if rename is None else rename
        if not prefix or any(c in prefix for c in '\\/*?"<>| ,#:') or prefix != prefix.lower():
            raise UsageError(f"--rename {prefix!r} cannot begin an index's name", hint="--rename restored-")
        cluster = session.selection("es", selector).deployment.cluster

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import find_good

            vault = actor.vault(destination)
            record = find_good(vault.records(), snapshot)
            if not in_place:
                return _beside(vault, record, _chosen(record, index), prefix)
            indices = _chosen(record, index) if into_place else []
            return _in_place(session, cluster, vault, record, indices, global_state=global_state)

        change(session, "es", selector, "restore", targets)

    @snapshots.command()
    def diff(
        ctx: typer.Context,
        before: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The earlier one: its name, or a part of it.")],
        after: Annotated[
            str | None, typer.Argument(metavar="[SNAPSHOT]", help="The later one; the cluster as it is if absent.")
        ] = None,
        part: Annotated[
            list[str] | None,
            typer.Option(
                "--part",
                metavar="PART",
                help="indices, settings, component_templates, index_templates, templates, policies, pipelines.",
            ),
        ] = None,
        index: Index = None,
        detailed_exitcode: ExitOnDifference = False,
        destination: Destination = None,
    ) -> None:
        """What differs between two snapshots, or between one and the cluster: indices, and the global state.

        Example: bdops es snapshot diff nightly-1 --part settings --detailed-exitcode
        """
        from dataclasses import replace

        from bdops.components.backups import find_good
        from bdops.components.es.snapshot.difference import ALL_PARTS, INDICES, differences
        from bdops.components.es.snapshot.parse import asked_for

        if wrong := [p for p in part or () if p not in ALL_PARTS]:
            raise UsageError(f"--part {wrong[0]}", hint=f"one of {', '.join(ALL_PARTS)}")
        parts = tuple(part or ALL_PARTS)
        session = frame.session(ctx)
        with opened_vault(session, "es", None, destination) as opened:
            vault: EsVault = opened  # type: ignore[assignment]
            known = vault.records()
            first, second = find_good(known, before), find_good(known, after) if after else None
            old = vault.side(first)
            new = vault.side(second) if second else vault.live_side(old.indices if INDICES in parts else None)
        if index:
            old, new = (
                replace(s, indices={n: i for n, i in s.indices.items() if asked_for(n, index)}) for s in (old, new)
            )
        found, not_compared = differences(old, new, parts)
        session.show(_difference_report(old, new, found, not_compared))
        if detailed_exitcode and found and not not_compared:
            session.exit_code = ExitCode.CHANGES_PENDING

    @snapshots.command()
    def drill(
        ctx: typer.Context,
        snapshot: NewestByDefault = None,
        selector: frame.SelectorArgument = None,
        index: Index = None,
        destination: Destination = None,
    ) -> None:
        """Prove a snapshot: restore it beside what lives, compare documents, note the proof, clean up.

        Example: bdops es snapshot drill --index 'orders*'
        """

        def targets(actor: Any) -> tuple[Target, ...]:
            from bdops.components.backups import drill_target, find_good

            record = find_good(actor.vault(destination).records(), snapshot)
            indices = _chosen(record, index)
            now = datetime.now(UTC)
            args = {"indices": indices, "prefix": f"bdops-drill-{now:%Y%m%d%H%M%S}-"}
            return (drill_target(record, args, f"{len(indices)} indices restored beside, compared, removed", now),)

        change(frame.session(ctx), "es", selector, "drill", targets)

    @snapshots.command()
    def verify(ctx: typer.Context, selector: frame.SelectorArgument = None, destination: Destination = None) -> None:
        """Whether all nodes can read and write the repository, and how its snapshots stand.

        Example: bdops es snapshot verify
        """
        from bdops.cli.snapshots import records_report

        session = frame.session(ctx)
        with opened_vault(session, "es", selector, destination) as vault:
            nodes = vault.verify()  # type: ignore[attr-defined]
            report = records_report(vault.records(), datetime.now(UTC))
        session.say(f"{vault.destination}: {len(nodes)} nodes can read and write it: {', '.join(nodes)}")
        session.show(report)


def _checked_name(name: str) -> str:
    """A name that Elasticsearch takes for a snapshot, and that is none of bdops' own. Raises UsageError for another."""
    if name.startswith("bdops-mark-") or name != name.lower():
        raise UsageError(f"--name {name}: lower case, and not bdops-mark-...")
    return name


def _beside(vault: EsVault, record: BackupRecord, indices: list[str], prefix: str) -> tuple[Target, ...]:
    from bdops.components.backups import restore_target

    # A job takes what is there under these names for what it has restored.
    if there := sorted(vault.live(f"{prefix}{i}" for i in indices)):
        raise Refused(
            f"there is {', '.join(there[:6])} already: nothing is restored over what lives",
            hint="--rename another prefix, or delete what is there; --into-place restores over what lives",
            code="INDEX_EXISTS",
        )
    note = f"{len(indices)} indices as {prefix}..."
    return (restore_target(record, {"indices": indices, "prefix": prefix}, note),)


def _in_place(
    session: frame.Session,
    cluster: str,
    vault: EsVault,
    record: BackupRecord,
    indices: list[str],
    *,
    global_state: bool,
) -> tuple[Target, ...]:
    """What is there is kept first; then the global state, which indices may need; then the indices."""
    from dataclasses import replace

    from bdops.components.backups import create_target, restore_target
    from bdops.components.es.snapshot import parse
    from bdops.components.es.snapshot.replacement import SHOWN, require_no_data_stream, shown
    from bdops.components.es.snapshot.restore import GLOBAL_STATE
    from bdops.jobs.launch import who

    after: list[Target] = []
    kept: list[str] = []
    told: list[str] = []
    lines: list[str] = []
    if global_state:
        if not record.state["global_state"]:
            raise UsageError(f"{record.id} has no global state", hint="`create --global-state` takes it along")
        lines = _overwritten(vault, record)
        target = restore_target(record, {GLOBAL_STATE: True}, shown("the global state", lines))
        after.append(replace(target, name=f"{record.id} (global state)", rank=1))
        told.append("the global state")
    if indices:
        if record.status != "complete":
            # Elasticsearch would find that out when what lives is closed, or deleted.
            raise UsageError(
                f"{record.id} is {record.status}: not all of it can replace what lives",
                hint="without --into-place it is restored beside",
            )
        require_no_data_stream(indices)
        found = vault.replacement(record.id, indices)
        lines += found.lines
        after.append(replace(restore_target(record, found.args(), shown(found.summary, found.lines)), rank=2))
        kept = found.kept
        told.append(found.summary.removesuffix(" replaced"))
    if len(lines) > SHOWN:
        for line in lines:
            session.say(f"note: {line}")
    type_name(session, cluster, f"{' and '.join(told)} of {cluster}")
    if not kept and not global_state:
        return tuple(after)
    ours = {"by": who(), "reason": f"before {record.id} is restored"}
    body = parse.create_body(kept or ["-*"], ours, global_state=global_state) | {"feature_states": ["none"]}
    name = dated(f"{cluster}-before").lower()
    return (create_target(name, vault.destination, {"body": body}, "what is there now"), *after)


def _overwritten(vault: EsVault, record: BackupRecord) -> list[str]:
    """What a restore of the global state changes, line by line; one line when that is nothing, or not known."""
    from bdops.components.es.snapshot.difference import differences
    from bdops.components.es.snapshot.global_state import PARTS

    found, not_compared = differences(vault.live_side(None), vault.side(record), tuple(PARTS))
    lines = [f"{d.part}: {d.name}: {d.change}{_values(d)}" for d in found]
    return [*lines, *(f"what it overwrites is not known: {why}" for why in not_compared)] or ["nothing differs"]


def _values(difference: Difference) -> str:
    if difference.part != "settings":
        return ""
    before, after = ("not set" if v is None else v for v in (difference.before, difference.after))
    return f", {before} -> {after}"


def _difference_report(old: Side, new: Side, found: list[Difference], not_compared: list[str]) -> Report:
    from dataclasses import asdict

    sides = (old, new)
    without = ", ".join(s.name for s in sides if s.without) or None
    changed = ", ".join(s.name for s in sides if s.state and s.state.changed) or None
    facts = {"without global state": without, "changed while it was made": changed}
    rows = [{**asdict(d), "change": d.change} for d in found]
    return difference_report(rows, (old.name, new.name), not_compared, **facts)


def _chosen(record: BackupRecord, patterns: list[str] | None) -> list[str]:
    """The indices of a snapshot that are asked for. Raises UsageError for a pattern that none is like."""
    from bdops.components.es.snapshot.parse import asked_for, indices_of

    indices = indices_of(record)
    for pattern in patterns or ():
        if not any(asked_for(i, [pattern.removeprefix("-")]) for i in indices):
            raise UsageError(
                f"--index {pattern}: {record.id} has none like that", hint=f"it has {', '.join(indices[:6])}"
            )
    if not (found := [i for i in indices if asked_for(i, patterns)]):
        raise UsageError(f"{record.id} has no index that is asked for", hint=f"it has {', '.join(indices[:6])}")
    return found
