"""Reading the hosts of a cluster: one SSH command each, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from bdops.components.host.script import HostAnswer, host_script, parse_answer
from bdops.components.host.state import ExpectedHost, HostState, ObservedHost
from bdops.components.reading import read_all
from bdops.core.model import Cluster, Host, Service
from bdops.errors import BdopsError, OperationFailed
from bdops.hosts.services import status_questions
from bdops.hosts.ssh import CommandTimeout, Completed, SshPool

# Of the time for all, what one host may take: its own reason then comes before the deadline of all.
_SHARE = 0.95


def read_state(cluster: Cluster, *, timeout_s: float, readings: frozenset[str] | None = None) -> HostState:
    """All hosts of the cluster as they are now; back by `timeout_s`, whatever hangs.

    Takes a Cluster where other components take a Deployment: hosts belong to no component. `readings` is of
    no use here: one command a host tells everything. `serving` is left None for the caller to fill in.
    """
    directories = {h.name: data_dirs(cluster, h) for h in cluster.hosts}
    services = {h.name: services_on(cluster, h) for h in cluster.hosts}
    with SshPool(cluster.hosts) as pool:
        read = read_all(
            {
                h.name: partial(read_host, pool, h, directories[h.name], services[h.name], timeout_s=timeout_s * _SHARE)
                for h in cluster.hosts
            },
            timeout_s=timeout_s,
        )
    hosts = tuple(
        read.values.get(h.name) or ObservedHost(name=h.name, error=read.unread[h.name], error_code="SSH_TIMEOUT")
        for h in cluster.hosts
    )
    return HostState(
        cluster=cluster.name,
        taken_at=datetime.now(UTC),
        unread={f"hosts/{h.name}": h.error for h in hosts if h.error},
        expected=tuple(
            ExpectedHost(
                name=h.name,
                address=h.address,
                rack=h.rack,
                data_dirs=directories[h.name],
                services=tuple(services[h.name]),
            )
            for h in cluster.hosts
        ),
        hosts=hosts,
    )


def data_dirs(cluster: Cluster, host: Host) -> tuple[str, ...]:
    """The data and log directories of every instance on the host, without doubles."""
    found: dict[str, None] = {}
    for deployment in cluster.deployments:
        for instance in deployment.instances:
            if instance.host.name == host.name:
                found |= dict.fromkeys(getattr(instance.settings, "data_dirs", ()))
                if log_dir := getattr(instance.settings, "log_dir", None):
                    found[log_dir] = None
    return tuple(found)


def services_on(cluster: Cluster, host: Host) -> Mapping[str, Service]:
    """The services of the instances on the host, by instance; without those that the inventory names no service for."""
    return {
        i.name: i.service
        for d in cluster.deployments
        for i in d.instances
        if i.host.name == host.name and i.service is not None
    }


def read_host(
    pool: SshPool, host: Host, directories: tuple[str, ...], services: Mapping[str, Service], *, timeout_s: float
) -> ObservedHost:
    """One host. What goes wrong on the way is in the answer.

    A script that is cut off by the deadline has told something all the same: the host is reached, and what
    comes last, the service managers, is unknown.
    """
    questions = status_questions(services)
    try:
        try:
            done = pool.run(host, ["sh", "-c", host_script(directories, questions)], timeout_s=timeout_s)
        except CommandTimeout as e:
            if "@clock" not in e.partial.stdout:
                raise
            done = e.partial
        if "@clock" not in done.stdout:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OperationFailed(
                f"the host's shell did not run our script (exit {done.exit_status}): {said[-1] if said else 'silent'}",
                where=host.address,
                code="SSH_SHELL",
            )
    except BdopsError as e:
        where = f" ({e.where})" if e.where else ""
        return ObservedHost(name=host.name, error=f"{e.message}{where}", error_code=e.code, hint=e.hint)
    answer = parse_answer(done.stdout, directories, questions)
    offset_s, error_s = _clock(done, answer)
    return ObservedHost(
        name=host.name,
        clock_offset_s=offset_s,
        clock_error_s=error_s,
        data_dirs=answer.data_dirs,
        services=answer.services,
    )


def _clock(done: Completed, answer: HostAnswer) -> tuple[float | None, float | None]:
    """The host's clock against the middle of the round trip, and half the round trip as what that may be wrong by."""
    if answer.clock_s is None or done.answered_at is None:
        return None, None
    middle = (done.sent_at + done.answered_at) / 2
    half = max(0.0, done.answered_at - done.sent_at) / 2
    return answer.clock_s - middle, half + answer.clock_resolution_s
