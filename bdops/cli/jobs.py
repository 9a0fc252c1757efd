"""bdops jobs: what is being done, was done, and is to be gone on with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, rolling
from bdops.errors import BdopsError

if TYPE_CHECKING:
    from bdops.cli.frame import Session
    from bdops.jobs.store import Job

app = frame.App(help="Jobs: list, show, follow, resume, abort, undo.")

JobArgument = Annotated[
    str | None, typer.Argument(metavar="[JOB]", help="Its id, or a part of it; the only open one if absent.")
]
JOB = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or a part of it.")]


def _status(job: Job) -> tuple[str, Any]:
    """What is to be said of a job, and its state: one that says it runs and holds no lock was killed."""
    state = job.state()
    if state.status == "running":
        return ("running" if job.is_running() else "interrupted"), state
    return state.status, state


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that can be resumed, or run.")] = False,
) -> None:
    """Every job of this user, the newest first.

    Example: bdops jobs list --open
    """
    from bdops.cli.jobs_frame import store
    from bdops.core.result import Column, Report, Table

    def rows() -> Iterator[dict[str, Any]]:
        for job in store().jobs():
            if open_only and job.is_over():
                continue
            try:
                status, state = _status(job)
                plan = job.plan()
            except BdopsError as e:
                yield {"job": job.id, "status": "damaged", "why": f"{e.where}: {e.message}"}
                continue
            steps = state.counted(plan.steps)
            yield {
                "job": job.id,
                "status": status,
                "command": plan.command,
                "cluster": plan.cluster,
                "done": f"{sum(state.step(s.id).done for s in steps)}/{len(steps)}",
                "made_at": plan.made_at,
                "by": plan.by,
                "why": state.why,
                "borrowed": len(state.open_loans),
            }

    columns = (
        Column("job"), Column("status"), Column("command"), Column("cluster"), Column("done"), Column("made_at"),
        Column("by", wide=True), Column("borrowed", wide=True), Column("why"),
    )  # fmt: skip
    frame.session(ctx).show(Report(tables=(Table(name="jobs", columns=columns, rows=rows(), empty="no jobs"),)))


@app.command()
def show(ctx: typer.Context, job: JobArgument = None) -> None:
    """One job: its plan, how far each step is, what it has borrowed, and why it paused.

    Example: bdops jobs show
    """
    from bdops.cli.jobs_frame import store
    from bdops.core.result import Column, Report, Table

    found = store().look_up(job)
    status, state = _status(found)
    plan = found.plan()
    rows = [
        {
            "wave": number,
            "name": s.name,
            "acts": " > ".join(s.acts),
            "status": "done" if (at := state.step(s.id)).done else "begun" if at.started else "to do",
            "verified": sorted(at.verified),
            "seconds": at.seconds,
            "failure": at.failure,
            "job": at.child,
        }
        for number, wave in enumerate(plan.waves, start=1)
        for s in wave
    ]
    loans = [
        {"object": x.borrowed.object, "key": x.borrowed.key, "previous": x.borrowed.previous, "restored": x.restored}
        for x in state.loans.values()
    ]
    columns = (
        Column("wave"), Column("name"), Column("acts"), Column("status"), Column("verified", wide=True),
        Column("seconds", unit="s"), Column("failure"), Column("job", wide=True),
    )  # fmt: skip
    ledger = (Column("object"), Column("key"), Column("previous"), Column("restored"))
    tables = [Table(name="steps", columns=columns, rows=rows)]
    if loans:
        tables.append(Table(name="ledger", columns=ledger, rows=loans, title="borrowed settings"))
    facts = {"job": found.id, "status": status, "command": plan.command, "cluster": plan.cluster, "why": state.why}
    frame.session(ctx).show(Report(facts={**facts, "runs": state.runs, "reason": plan.reason}, tables=tuple(tables)))


@app.command()
def follow(ctx: typer.Context, job: JobArgument = None) -> None:
    """Print what a job does, until it ends or pauses.

    Example: bdops jobs follow
    """
    from bdops.cli.jobs_frame import store
    from bdops.jobs.journal import read_journal
    from bdops.render.jobs import Indented, JobProgress

    found = store().look_up(job)
    session = frame.session(ctx)
    progress = JobProgress(found.plan(), ())
    followed = {found.id: (found, progress)}
    seen: dict[str, int] = {}
    while True:
        running = found.is_running()
        for child in reversed(found.children()):
            if child.id not in followed:
                followed[child.id] = child, JobProgress(child.plan(), (), Indented())
        for id, (job_of, shown) in followed.items():
            events = read_journal(job_of.journal_path)
            for event in events[seen.get(id, 0) :]:
                shown.event(event)
            seen[id] = len(events)
        if not running:
            break
        time.sleep(0.3)
    progress.close()
    status, state = _status(found)
    session.say(f"{found.id}: {status}" + (f": {state.why}" if state.why else ""))


@app.command()
def resume(
    ctx: typer.Context,
    job: JobArgument = None,
    stop_after: rolling.StopAfter = None,
    within: rolling.Within = None,
) -> None:
    """Go on with a job that paused or was killed, from what is true on the servers now.

    Example: bdops jobs resume
    """
    from bdops.cli.jobs_frame import opened_site, run_and_conclude, store
    from bdops.errors import UsageError
    from bdops.jobs.executor import Limits

    session = frame.session(ctx)
    found = _find(store(), job)
    state = found.state()
    if state.is_over:
        raise UsageError(f"job {found.id} is {state.status}: there is nothing to resume")
    plan = _with_inventory_of(session, found)
    if within is not None and "playbook" in plan.components:
        raise UsageError("--within is not for a playbook: how long its steps take is not known", hint="--stop-after")
    with opened_site(session, plan.cluster, plan.components) as site:
        run_and_conclude(session, found, site, Limits(stop_after=stop_after, within_s=within))


@app.command()
def throttle(
    ctx: typer.Context,
    job: JOB,
    rate: Annotated[
        str, typer.Argument(callback=frame.parse_throttle, metavar="RATE", help="80MB/s a broker; auto; none.")
    ],
) -> None:
    """Change what a job that moves data may copy, while it runs or before it is resumed.

    Example: bdops jobs throttle kafka-rebalance 80MB/s
    """
    from bdops.cli.jobs_frame import store
    from bdops.core.result import Report
    from bdops.errors import UsageError

    found = _find(store(), job)
    state = found.state()
    if state.is_over:
        raise UsageError(f"job {found.id} is {state.status} already")
    moving = [
        j
        for j in (found, *found.children())
        if not j.is_over() and any("throttle" in step.acts for step in j.plan().steps)
    ]
    if not moving:
        raise UsageError(f"job {found.id} moves nothing that could be throttled")
    moving[0].leave_wish("throttle", rate)
    frame.session(ctx).show(Report(summary=f"asked for: {rate}", facts={"job": found.id}))


@app.command()
def abort(ctx: typer.Context, job: JobArgument = None) -> None:
    """Close a job for good: what it borrowed is put back, instances stay as they are.

    Example: bdops jobs abort
    """
    _close_job(frame.session(ctx), job)


@app.command()
def undo(ctx: typer.Context, job: JOB) -> None:
    """Close a job and take back what it did: settings, what it stopped, replicas that it moved.

    A restart has nothing else to take back. Example: bdops jobs undo 20261201-180000-kafka-stop
    """
    from bdops.cli.jobs_frame import opened_site, plan_for, run_planned, store
    from bdops.core.result import Report
    from bdops.errors import UsageError
    from bdops.jobs.executor import Limits
    from bdops.jobs.planning import Part

    session = frame.session(ctx)
    found = _find(store(), job)
    if "playbook" in found.plan().components:
        hint = f"`bdops jobs show {found.id} -v` names the job of each step; `bdops jobs abort` closes it as it is"
        raise UsageError("a playbook is not taken back as a whole", hint=hint)
    if not found.state().is_over:
        _close_job(session, found.id, quiet=True)
    state = found.state()
    plan = _with_inventory_of(session, found)
    begun = [step for step in plan.steps if state.step(step.id).started]
    with opened_site(session, plan.cluster, plan.components) as site:
        parts = [
            Part(
                component=d.component,
                actor=site.actors[d.component],
                instances=d.instances,
                names=names,
                targets=lambda actor, state, names: actor.targets(state, names, "start"),
                verb="start",
            )
            for d in site.deployments
            if (names := tuple(i.name for i in d.instances if i.name in state.stopped))
        ]
        parts += [
            Part(
                component=d.component,
                actor=site.actors[d.component],
                instances=d.instances,
                names=(),
                targets=lambda actor, state, names: actor.reversal(state, begun),
            )
            for d in site.deployments
        ]
        planned = plan_for(session, site, f"undo {plan.command}", parts, {})
        if not planned.plan.steps:
            session.show(Report(summary="nothing else to take back", facts={"job": found.id}))
            return
        run_planned(session, planned, site, Limits())


def _find(jobs: Any, name: str | None) -> Job:
    found: Job = jobs.find(name)
    return found


def _with_inventory_of(session: Session, job: Job) -> Any:
    """The job's plan; where no inventory is named, the one that the plan was made with is taken."""
    import os
    from pathlib import Path

    plan = job.plan()
    if session.inventory_path is None and not os.environ.get("BDOPS_INVENTORY") and plan.options.get("inventory"):
        session.inventory_path = Path(plan.options["inventory"])
    return plan


def _close_job(session: Session, name: str | None, *, quiet: bool = False) -> None:
    from bdops.cli.jobs_frame import conclude, opened_site, store
    from bdops.errors import UsageError
    from bdops.jobs.launch import Listener, abort_job
    from bdops.render.jobs import JobProgress

    found = _find(store(), name)
    state = found.state()
    if state.is_over:
        raise UsageError(f"job {found.id} is {state.status} already")
    plan = _with_inventory_of(session, found)
    with opened_site(session, plan.cluster, plan.components) as site:
        progress = JobProgress(plan, ())
        listener = Listener(event=progress.event, waiting=progress.waiting, say=progress.say)
        outcome = abort_job(found, site, listener)
    if not quiet or outcome.error:
        conclude(session, found, outcome, "aborted")
