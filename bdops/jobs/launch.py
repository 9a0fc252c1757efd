"""Starting, resuming, aborting and undoing jobs: the lock, the lease, the journal, then the executor."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bdops.core.actor import Actor
from bdops.core.model import Cluster, Deployment, Instance
from bdops.core.plan import Plan, Step
from bdops.errors import BdopsError, ExitCode, OperationFailed, Refused, StateUnknown
from bdops.hosts.ssh import SshPool
from bdops.jobs import forecast
from bdops.jobs.control import Control, ControlWithin
from bdops.jobs.executor import Limits, Outcome, execute
from bdops.jobs.fold import fold
from bdops.jobs.journal import Event, Journal
from bdops.jobs.lease import Lease, LentLease, Owner, by_this_process
from bdops.jobs.planning import READ_TIMEOUT_S, stale_differences
from bdops.jobs.run import Run
from bdops.jobs.steps import settle
from bdops.jobs.store import Job, JobStore


class StalePlan(Refused):
    """The inventory, or the cluster behind it, is not the one that the plan was made for."""

    default_code = "PLAN_STALE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told how a job goes: `event` each entry of the journal, `waiting` what a step waits for, `say` a line."""

    event: Callable[[Event], None]
    waiting: Callable[[Step, str], None]
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a plan is carried out: the cluster as the inventory has it, its deployments' actors, the connections."""

    cluster: Cluster
    actors: Mapping[str, Actor[Any]]
    pool: SshPool

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        return tuple(d for d in self.cluster.deployments if d.component in self.actors)

    @property
    def instances(self) -> dict[str, Instance]:
        return {i.name: i for d in self.deployments for i in d.instances}


def who() -> str:
    """`ops@admin1 (pid 4711)`: this process, for people."""
    return by_this_process(getpass.getuser(), socket.gethostname(), os.getpid())


def run_job(job: Job, site: Site, listener: Listener, limits: Limits, store: JobStore) -> Outcome:
    """Carry out a job, or what is left of it.

    Raises JobRunning, LeaseHeld, StalePlan, StateUnknown, or OperationFailed when the journal cannot be
    written: in all of these nothing was changed by this run.
    """
    plan = job.plan()
    control = Control()
    with job.locked(), control.signals(listener.say), opened(job, plan, site, listener, control) as run:
        before = earlier_measurements(store, plan)
        return execute(run, limits, before)


def run_within(job: Job, site: Site, listener: Listener, parent: Run) -> Outcome:
    """Carry out a job, or what is left of it, that is a step of another one: in its lease, and with its signals.

    Raises what `run_job` does.
    """
    plan = job.plan()
    control = ControlWithin(parent.control)
    with job.locked(), opened(job, plan, site, listener, control, LentLease(parent.lease)) as run:
        return execute(run, Limits(), {})


def abort_within(job: Job, site: Site, listener: Listener, parent: Run) -> Outcome:
    """As `abort_job`, of a job that is a step of another one."""
    control = ControlWithin(parent.control)
    with job.locked(), opened(job, job.plan(), site, listener, control, LentLease(parent.lease)) as run:
        return _close(run, "aborted")


@contextmanager
def opened(
    job: Job, plan: Plan, site: Site, listener: Listener, control: Control, lease: Lease | None = None
) -> Iterator[Run]:
    """A run of the job with its journal open and the lease taken; whoever uses it gives the lease back."""
    require_fresh(plan, site)
    by = who()
    journal = Journal(job.journal_path, listener.event)
    try:
        owner = Owner(job=job.id, command=plan.command, by=by)
        lease = lease or Lease(site.pool, plan.cluster, site.cluster.hosts, owner)
        lease.take()
        try:
            run = Run(
                job_id=job.id,
                plan=plan,
                journal=journal,
                state=fold(journal.events),
                lease=lease,
                pool=site.pool,
                actors=site.actors,
                instances=site.instances,
                control=control,
                waiting=listener.waiting,
            )
            run.note("started", by=by, plan=plan.digest)
        except BaseException:
            lease.drop()
            raise
        yield run
    finally:
        journal.close()


def require_fresh(plan: Plan, site: Site) -> None:
    """Raises StalePlan with every difference, StateUnknown when a cluster's id cannot be read."""
    if differences := stale_differences(plan, site.deployments):
        raise StalePlan(
            f"the inventory is not the one that the plan was made for: {'; '.join(differences[:8])}"
            + (f"; and {len(differences) - 8} more" if len(differences) > 8 else ""),
            hint="`bdops jobs abort` it and plan anew, or give back the inventory that it was made with: -i FILE",
        )
    for component, planned in plan.identities.items():
        if planned is None:
            continue  # the plan is for what has lost its data, and maybe its id
        found = site.actors[component].identity(site.actors[component].read(timeout_s=READ_TIMEOUT_S))
        if found is None:
            raise StateUnknown(f"the id of the {component} cluster cannot be read", code="CLUSTER_ID_UNKNOWN")
        if found != planned:
            raise StalePlan(f"the {component} cluster is {found}, and the plan was made for {planned}")


def earlier_measurements(store: JobStore, plan: Plan) -> dict[forecast.Kind, list[float]]:
    """What steps of the kinds of this plan took in the last jobs on the same cluster."""
    wanted = {forecast.kind(s) for s in plan.steps}
    found: dict[forecast.Kind, list[float]] = {}
    for job in store.jobs()[:20]:
        try:
            other = job.plan()
            if other.cluster != plan.cluster:
                continue
            for kind, seconds in forecast.measured(other.steps, job.state()).items():
                if kind in wanted:
                    found.setdefault(kind, []).extend(seconds)
        except BdopsError:
            continue  # a damaged job tells nothing
    return found


def abort_job(job: Job, site: Site, listener: Listener) -> Outcome:
    """Give back what the job borrowed, and close it. Instances stay as they are. Raises what `run_job` does."""
    plan = job.plan()
    control = Control()
    with job.locked(), control.signals(listener.say), opened(job, plan, site, listener, control) as run:
        try:
            return _close(run, "aborted")
        finally:
            run.lease.drop()


def _close(run: Run, how: str) -> Outcome:
    for step in run.plan.steps:
        if run.state.step(step.id).attempts and not run.state.step(step.id).done:
            for act in step.acts:
                settle(run, step, act)
            if stands := run.actors[step.component].abandon(step):
                run.note("said", step=step.id, text=stands)
    left = run.restore_all()
    if left:
        what, why = left[0]
        error = OperationFailed(f"{what.object} {what.key} could not be put back: {why.message}", code="NOT_RESTORED")
        run.note("paused", why=error.message, code=error.code)
        return Outcome(exit_code=ExitCode.FAILED, error=error, left=tuple(left))
    run.note(how)
    return Outcome(exit_code=ExitCode.OK)
