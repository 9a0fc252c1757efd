"""What jobs, or anyone, left behind on a cluster: settings, leases, acts on hosts, and jobs that were never ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bdops.core.actor import Leftover
from bdops.core.model import Host
from bdops.errors import BdopsError
from bdops.hosts.acts import forget_act, read_act
from bdops.hosts.ssh import SshPool
from bdops.jobs.launch import Site
from bdops.jobs.lease import Held, read_leases
from bdops.jobs.store import Job, JobStore

READ_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A folder of a detached act on a host. `running`: its command is alive."""

    host: str
    id: str
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """All that was found. `lent` has, by (component, object, key), the job whose ledger says that it borrowed it."""

    leftovers: tuple[Leftover, ...]
    lent: Mapping[tuple[str, str, str], str]
    leases: tuple[Held, ...]
    acts: tuple[Act, ...]
    open_jobs: tuple[Job, ...]
    unread: Mapping[str, str]

    @property
    def live_lease(self) -> Held | None:
        return next((h for h in self.leases if h.left_s > 0), None)


def read_remains(site: Site, store: JobStore) -> Remains:
    """Look everywhere. What cannot be read is in `unread` with the reason."""
    unread: dict[str, str] = {}
    leftovers: list[Leftover] = []
    for name, actor in site.actors.items():
        state = actor.read(timeout_s=READ_TIMEOUT_S)
        unread |= {f"{name}: {what}": why for what, why in state.unread.items()}
        leftovers += actor.leftovers(state)
    leases = read_leases(site.pool, site.cluster.name, site.cluster.hosts)
    unread |= {f"lease ({e.where})": e.message for e in leases if isinstance(e, BdopsError)}
    acts: list[Act] = []
    with ThreadPoolExecutor(min(32, len(site.cluster.hosts))) as threads:
        for host, found in zip(
            site.cluster.hosts, threads.map(lambda h: _acts_on(site.pool, h), site.cluster.hosts), strict=True
        ):
            if isinstance(found, BdopsError):
                unread[f"acts on {host.name}"] = found.message
            else:
                acts += found
    open_jobs: list[Job] = []
    lent: dict[tuple[str, str, str], str] = {}
    for job in store.jobs():
        try:
            state = job.state()
            if state.is_over or job.plan().cluster != site.cluster.name:
                continue
        except BdopsError as e:
            unread[f"job {job.id}"] = e.message
            continue
        open_jobs.append(job)
        loans = [*state.open_loans]
        for child in job.children():
            try:
                loans += child.state().open_loans
            except BdopsError as e:
                unread[f"job {child.id} of {job.id}"] = e.message
        lent |= {(x.borrowed.component, x.borrowed.object, x.borrowed.key): job.id for x in loans}
    return Remains(
        leftovers=tuple(leftovers),
        lent=lent,
        leases=tuple(h for h in leases if isinstance(h, Held)),
        acts=tuple(acts),
        open_jobs=tuple(open_jobs),
        unread=unread,
    )


def remove(site: Site, remains: Remains, chosen: Sequence[Leftover]) -> list[tuple[str, BdopsError]]:
    """Clear leftovers, and the folders of acts that have ended. Returns what could not be removed, and why."""
    failed: list[tuple[str, BdopsError]] = []
    for leftover in chosen:
        try:
            site.actors[leftover.component].clear(leftover)
        except BdopsError as e:
            failed.append((f"{leftover.object} {leftover.key}", e))
    hosts = {h.name: h for h in site.cluster.hosts}
    for act in remains.acts:
        if not act.running:
            try:
                forget_act(site.pool, hosts[act.host], act.id, timeout_s=READ_TIMEOUT_S)
            except BdopsError as e:
                failed.append((f"{act.host}: {act.id}", e))
    return failed


def _acts_on(pool: SshPool, host: Host) -> list[Act] | BdopsError:
    listing = ("sh", "-c", 'cd "$1/acts" 2>/dev/null && ls', "sh", host.work_dir)
    try:
        names = pool.run(host, listing, timeout_s=READ_TIMEOUT_S).stdout.split()
        return [
            Act(host=host.name, id=n, running=read_act(pool, host, n, timeout_s=READ_TIMEOUT_S).state == "running")
            for n in names
        ]
    except BdopsError as e:
        return e
