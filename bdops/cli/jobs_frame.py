"""What the commands that change something share: the site, a plan shown and asked for, a job and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bdops.core.result import Report
from bdops.errors import BdopsError, ExitCode, UsageError
from bdops.hosts.ssh import SshPool
from bdops.jobs.executor import Limits, Outcome
from bdops.jobs.launch import Listener, Site, run_job, who
from bdops.jobs.lease import require_free
from bdops.jobs.planning import Options, Part, Planned, make_plan
from bdops.jobs.store import Job, JobStore
from bdops.lab.paths import state_dir
from bdops.render.jobs import JobProgress, plan_report

if TYPE_CHECKING:
    from bdops.cli.frame import Session
    from bdops.core.actor import Actor


def store() -> JobStore:
    """This user's jobs."""
    return JobStore(state_dir())


@contextmanager
def opened_site(session: Session, cluster: str, components: Sequence[str]) -> Iterator[Site]:
    """The cluster with the actors of some of its components, and the connections; all closed at the end.

    Raises UsageError when the inventory does not have them.
    """
    from bdops.registry import component as component_of

    found = next((c for c in session.inventory().clusters if c.name == cluster), None)
    if found is None:
        raise UsageError(f"the inventory has no cluster {cluster}", hint="bdops inventory show")
    deployments = {d.component: d for d in found.deployments}
    if missing := [name for name in components if name not in deployments and name not in ("host", "playbook")]:
        raise UsageError(f"cluster {cluster} has no {', '.join(missing)}", hint="bdops inventory show")
    with ExitStack() as stack:
        pool = stack.enter_context(SshPool(found.hosts))
        actors: dict[str, Actor[Any]] = {}
        for name in components:
            if name == "host":
                from bdops.components.host.actor import HostActor

                actors[name] = HostActor(found, pool)
                continue
            if name == "playbook":
                from bdops.cli.playbook import actor_of

                actors[name] = actor_of(session, found)
                continue
            make = component_of(name).actor
            assert make is not None
            actors[name] = make(deployments[name], pool)
            stack.callback(actors[name].close)
        yield Site(cluster=found, actors=actors, pool=pool)


def plan_for(session: Session, site: Site, command: str, parts: Sequence[Part], given: dict[str, Any]) -> Planned:
    """Plan, unless another job is at work: what it has in hand would be planned around, or refused without its name.

    `given` are options of the plan. Raises LeaseHeld, and what `make_plan` raises.
    """
    cluster = site.cluster
    if not session.dry_run and session.take_plan is None:
        require_free(site.pool, cluster.name, cluster.hosts)
    return make_plan(command, cluster.name, parts, site.pool, options_of(session, given))


def options_of(session: Session, given: dict[str, Any]) -> Options:
    """The plan's options: those of the command, and who asks, why, and by which inventory."""
    known = {f.name for f in fields(Options)}
    assert set(given) <= known, given
    return Options(**given, reason=session.reason, by=who(), inventory=str(session.inventory().source))


def run_planned(
    session: Session, planned: Planned, site: Site, limits: Limits, *, detailed_exitcode: bool = False
) -> None:
    """Show a plan, ask (unless `--yes`), write it down as a job and carry it out.

    Raises what stopped it, with the exit code that says how: 1, 5, 7, 75, 130.
    """
    if session.take_plan is not None:
        session.take_plan(planned, site)
        return
    session.say(f"inventory: {session.inventory().source}; cluster: {planned.plan.cluster}")
    report = plan_report(planned.plan, waits=planned.waits, accepted=planned.accepted)
    if session.dry_run or not planned.plan.steps:
        session.show(report)
        if detailed_exitcode and planned.plan.steps:
            session.exit_code = ExitCode.CHANGES_PENDING
        return
    if session.output == "table":
        session.show(report)
    confirm(session, "Carry this out?")
    job = store().create(planned.plan)
    run_and_conclude(session, job, site, limits)


def run_and_conclude(session: Session, job: Job, site: Site, limits: Limits) -> None:
    """Carry a job out, with its progress on stderr, and say how it ended."""
    session.say(f"job {job.id}; ^C pauses after the step in hand, twice leaves at once")
    plan, state = job.plan(), job.state()
    progress = JobProgress(plan, {s.id for s in plan.steps if state.step(s.id).done}, sys.stderr)
    listener = Listener(event=progress.event, waiting=progress.waiting, say=progress.say)
    try:
        outcome = run_job(job, site, listener, limits, store())
    except BdopsError as e:
        if not job.discard_unstarted():
            e.data = {**e.data, "job": job.id}
            e.hint = e.hint or f"bdops jobs resume {job.id}"
        raise
    finally:
        progress.close()
    conclude(session, job, outcome, "done")


def conclude(session: Session, job: Job, outcome: Outcome, how: str) -> None:
    """Say how a run of a job ended. Raises its error, if it has one, with the way to go on."""
    state = job.state()
    # What is for a failure counts where it came to that.
    steps = state.counted(job.plan().steps)
    done = [s for s in steps if state.step(s.id).done]
    facts = {
        "job": job.id,
        "done": len(done),
        "of": len(steps),
        "_steps": [{"name": s.name, "seconds": state.step(s.id).seconds} for s in done],
        "settings left behind": [f"{b.object} {b.key}" for b, _ in outcome.left],
    }
    if outcome.error is None:
        session.show(Report(summary=f"{how}: {len(done)} of {len(steps)} steps", facts=facts))
        return
    error = outcome.error
    error.exit_code = outcome.exit_code
    error.data = {name.lstrip("_"): value for name, value in facts.items()} | dict(error.data)
    if outcome.exit_code is not ExitCode.REFUSED:
        resume = f"bdops jobs resume {job.id}"
        error.hint = (
            resume if not error.hint else error.hint if resume in error.hint else f"{error.hint}; then {resume}"
        )
    raise error


def confirm(session: Session, question: str) -> None:
    """Ask, unless `--yes`. Raises UsageError when it is not confirmed, or nobody is there to ask."""
    if session.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "this changes something, and nobody is there to ask", hint="--yes; --dry-run shows what it does"
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed: nothing was done", code="NOT_CONFIRMED")
