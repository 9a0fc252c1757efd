"""bdops host: everything that runs on one host, in the right order across components."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, rolling

if TYPE_CHECKING:
    from bdops.core.actor import Actor
    from bdops.core.model import Cluster, Deployment, Instance
    from bdops.core.plan import Target
    from bdops.hosts.ssh import SshPool
    from bdops.jobs.launch import Site
    from bdops.jobs.planning import Part

app = frame.App(help="Restart or maintain everything on one host.")

HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="One host of the inventory.")]

STOP_ORDER = ("kafka", "es", "hdfs", "zk")
"""Who depends on others stops first and starts last: HDFS's failover controllers need ZooKeeper."""


@app.command()
def restart(ctx: typer.Context, host: HostArgument, accept_risk: rolling.AcceptRisk = None) -> None:
    """Stop all that runs on a host, start it again, and verify: the gates of all components first.

    Example: bdops host restart node3 --dry-run
    """
    _maintain(ctx, host, (), accept_risk, command=f"host restart {host}")


@app.command()
def maintain(
    ctx: typer.Context,
    host: HostArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run while all is stopped.")],
    accept_risk: rolling.AcceptRisk = None,
) -> None:
    """Stop all that runs on a host, run a command there, start it again, and verify.

    Example: bdops host maintain node3 -- reboot
    """
    _maintain(ctx, host, tuple(command), accept_risk, command=f"host maintain {host}")


@app.command()
def look(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    lines: Annotated[int, typer.Option("--lines", min=1, max=5000, help="Of each log, so many from its end.")] = 200,
    no_stacks: Annotated[bool, typer.Option("--no-stacks", help="Without the stacks of the JVMs.")] = False,
) -> None:
    """The end of the logs, the configuration files and the stacks of what a selector names, secrets hidden.

    Which files: those that the services name in the inventory. `-o json` has it all; playbooks/first-look.yaml puts
    it into an archive.

    Example: bdops host look prod/kafka/node3 -o json
    """
    from concurrent.futures import ThreadPoolExecutor

    from bdops.cli import on_hosts
    from bdops.core.result import Column, Report, Table
    from bdops.hosts.evidence import Evidence, gather
    from bdops.hosts.fanout import Target
    from bdops.inventory.selectors import select
    from bdops.playbooks.redact import redacted_text

    session = frame.session(ctx)
    by_host: dict[str, list[Instance]] = {}
    for instance in select(session.inventory(), selector, cluster=session.cluster):
        by_host.setdefault(f"{instance.cluster}/{instance.host.name}", []).append(instance)
    targets = [Target(name, mine[0].host) for name, mine in by_host.items()]

    def work(pool: SshPool, target: Target) -> list[Evidence]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda i: gather(pool, i, lines=lines, stacks=not no_stacks), by_host[target.name]))

    results = on_hosts.run_on_hosts(session, [targets], work, parallel=16)
    rows = [
        {
            "instance": e.instance,
            "pid": e.pid,
            "has": sorted(e.texts),
            "missing": "; ".join(f"{name}: {why}" for name, why in e.missing.items()),
            "texts": {name: redacted_text(text) for name, text in e.texts.items()},
        }
        for result in results
        for e in result.value or ()
    ]
    on_hosts.tell_errors(results)
    columns = (Column("instance"), Column("pid"), Column("has"), Column("missing"))
    bad = any(r["missing"] for r in rows) or any(r.outcome != "ok" for r in results)
    session.show(
        Report(tables=(Table(name="instances", columns=columns, rows=rows),), status="failed" if bad else "ok")
    )


def _maintain(
    ctx: typer.Context, name: str, argv: Sequence[str], risks: Collection[str] | None, *, command: str
) -> None:
    from bdops.cli.jobs_frame import opened_site, plan_for, run_planned
    from bdops.jobs.executor import Limits

    session = frame.session(ctx)
    cluster, host = _one_host(session, name)
    deployments = _on_host(cluster, host)
    names = [d.component for d in deployments]
    accepted = rolling.accepted_risks(names, risks)
    components = names + (["host"] if argv else [])
    with opened_site(session, cluster.name, components) as site:
        parts = _parts(site, deployments, host, argv)
        planned = plan_for(session, site, command, parts, {"accepted": accepted, "mode": "serial"})
        run_planned(session, planned, site, Limits())


def _one_host(session: frame.Session, name: str) -> tuple[Cluster, str]:
    from bdops.errors import UsageError
    from bdops.inventory.selectors import select_cluster_hosts

    found = select_cluster_hosts(session.inventory(), name, cluster=session.cluster)
    if len(found) != 1:
        raise UsageError(f"{name!r} is {len(found)} hosts, and this command takes one", hint="bdops inventory hosts")
    cluster_name, host = found[0]
    cluster = next(c for c in session.inventory().clusters if c.name == cluster_name)
    return cluster, host.name


def _on_host(cluster: Cluster, host: str) -> list[Deployment]:
    """The deployments with an instance on the host, in the order in which they are stopped."""
    there = [d for d in cluster.deployments if any(i.host.name == host for i in d.instances)]
    return sorted(there, key=lambda d: STOP_ORDER.index(d.component) if d.component in STOP_ORDER else 0)


def _parts(site: Site, deployments: Sequence[Deployment], host: str, argv: Sequence[str]) -> list[Part]:
    from bdops.core.plan import GATE, Target
    from bdops.jobs.planning import Part

    def part(deployment: Deployment, verb: str, *, ask: bool = False) -> Part:
        def targets(actor: Actor[Any], state: Any, names: Collection[str]) -> Sequence[Target]:
            if ask:
                name = f"gate of {deployment.name}"
                return [Target(name=name, acts=(GATE,), role="gate", args={"instances": sorted(names)})]
            return actor.targets(state, names, verb)

        return Part(
            component=deployment.component,
            actor=site.actors[deployment.component],
            instances=deployment.instances,
            names=tuple(i.name for i in deployment.instances if i.host.name == host),
            targets=targets,
            verb="" if ask else verb,
            together=verb == "stop",
        )

    parts = [part(d, "stop", ask=True) for d in deployments]
    parts += [part(d, "stop") for d in deployments]
    if argv:
        actor = site.actors["host"]
        parts.append(
            Part(
                component="host",
                actor=actor,
                instances=(),
                names=(),
                targets=lambda actor, state, names: [actor.command(host, argv)],  # type: ignore[attr-defined]
            )
        )
    return parts + [part(d, "start") for d in reversed(deployments)]
