"""bdops doctor: what jobs, or anyone, left behind, and putting it right."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame

if TYPE_CHECKING:
    from bdops.core.result import Report
    from bdops.jobs.remains import Remains

app = frame.App(help="Find and remove what jobs, or anyone, left behind.")


@app.command()
def doctor(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what can be removed without harm; asks before.")] = False,
) -> None:
    """Temporary settings, leases, acts on hosts and jobs that were never ended; exits 6 when it finds any.

    Example: bdops doctor --fix --dry-run
    """
    from bdops.cli.jobs_frame import confirm, opened_site, store
    from bdops.errors import BdopsError, ExitCode, UsageError
    from bdops.jobs.lease import LeaseHeld
    from bdops.jobs.remains import read_remains, remove

    session = frame.session(ctx)
    selections = session.selections(None, selector)
    clusters = list(dict.fromkeys(s.deployment.cluster for s in selections))
    if len(clusters) != 1:
        raise UsageError(f"this command takes one cluster at a time, and these match: {', '.join(clusters)}")
    components = [s.deployment.component for s in selections if s.deployment.cluster == clusters[0]]
    with opened_site(session, clusters[0], components) as site:
        remains = read_remains(site, store())
        fixable = [x for x in remains.leftovers if x.fixable and (x.component, x.object, x.key) not in remains.lent]
        idle = [a for a in remains.acts if not a.running]
        session.show(report(remains, clusters[0]))
        found = bool(remains.leftovers or remains.acts or remains.open_jobs or remains.live_lease)
        session.exit_code = ExitCode.CONFIG if remains.unread else ExitCode.CHANGES_PENDING if found else ExitCode.OK
        if not fix or session.dry_run or not (fixable or idle):
            return
        if live := remains.live_lease:
            raise LeaseHeld(
                f"job {live.owner.job} of {live.owner.by} is at work on this cluster: what is set may be its own",
                hint="wait for it to end",
            )
        confirm(session, f"Remove {len(fixable)} settings and {len(idle)} folders of ended acts?")
        failed = remove(site, remains, fixable)
        for what, why in failed:
            print(f"bdops: {what}: {why.message}", file=sys.stderr)
        if failed:
            raise BdopsError(f"{len(failed)} could not be removed", code="NOT_REMOVED")
        session.say(f"removed {len(fixable)} settings and {len(idle)} folders of ended acts")
        session.exit_code = ExitCode.OK


def report(remains: Remains, cluster: str) -> Report:
    """One row per thing that was found, with the way to put it right."""
    from bdops.core.result import Column, Report, Table

    rows: list[dict[str, Any]] = []
    for x in remains.leftovers:
        job = remains.lent.get((x.component, x.object, x.key))
        remedy = f"bdops jobs abort {job}" if job else "bdops doctor --fix" if x.fixable else "by hand: it may be meant"
        what = f"{x.component} {x.object}: {x.key} = {x.value}"
        rows.append({"kind": "setting", "what": what, "harm": x.harm, "whose": job, "remedy": remedy})
    for h in remains.leases:
        how = f"runs another {h.left_s} s" if h.left_s > 0 else "has run out"
        rows.append({"kind": "lease", "what": f"{h.host}: {how}", "whose": f"{h.owner.job}, {h.owner.by}"})
    for a in remains.acts:
        remedy = "wait for it" if a.running else "bdops doctor --fix"
        rows.append({"kind": "act", "what": f"{a.host}: {a.id}", "remedy": remedy})
    for j in remains.open_jobs:
        rows.append({"kind": "job", "what": j.id, "harm": j.state().why, "remedy": f"bdops jobs resume {j.id}"})
    rows += [{"kind": "unread", "what": what, "harm": why} for what, why in remains.unread.items()]
    columns = (Column("kind"), Column("what"), Column("harm"), Column("whose"), Column("remedy"))
    status = "unknown" if remains.unread else "warning" if rows else "ok"
    return Report(
        status=status,  # type: ignore[arg-type]
        summary=f"{cluster}: {len(rows)} found" if rows else f"{cluster}: nothing left behind",
        tables=(Table(name="remains", columns=columns, rows=rows, empty="nothing left behind"),),
    )
