"""The verbs that every component has and that change something: restart, stop, start; and can-stop, which asks.

Nothing but names is imported before one of them runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.cli.frame import App, Session
    from bdops.core.actor import Actor
    from bdops.core.model import Deployment, Instance
    from bdops.core.plan import Target
    from bdops.hosts.ssh import SshPool
    from bdops.jobs.executor import Limits
    from bdops.jobs.launch import Site

WAVES = ("auto", "serial", "rack")


def _waves(text: str | None) -> str | None:
    if text is not None and text not in WAVES:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(WAVES)}")
    return text


Waves = Annotated[
    str | None,
    typer.Option(
        "--waves", callback=_waves, metavar="MODE", help="auto (what is safe together), serial or rack; auto if absent."
    ),
]
MaxParallel = Annotated[int | None, typer.Option("--max-parallel", min=1, help="At most so many at once.")]
Canary = Annotated[bool, typer.Option("--canary", help="The first wave is one instance.")]
StopAfter = Annotated[int | None, typer.Option("--stop-after", min=1, help="Pause after so many instances.")]
Only = Annotated[
    str | None,
    typer.Option("--only", metavar="WHICH", help="stale, not-restarted-since=TIME, or a selector of hosts."),
]
Within = Annotated[
    float | None,
    typer.Option(
        "--within", metavar="TIME", parser=frame.parse_time, help="A window: begin no wave that would not end in it."
    ),
]
AcceptRisk = Annotated[
    list[str] | None, typer.Option("--accept-risk", metavar="CODE", help="Override this one rule; may be repeated.")
]
DetailedExitcode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="With --dry-run: exit 6 when there is something to do.")
]


def add_verbs(app: App, component: str, title: str) -> None:
    """Give a component's application the shared verbs."""

    @app.command(
        help=f"Restart {title} without anyone noticing: in waves that are safe together, each instance verified."
        f"\n\nExample: bdops {component} restart prod/{component} --dry-run"
    )
    def restart(
        ctx: typer.Context,
        selector: frame.SelectorArgument = None,
        waves: Waves = None,
        max_parallel: MaxParallel = None,
        canary: Canary = False,
        stop_after: StopAfter = None,
        only: Only = None,
        within: Within = None,
        accept_risk: AcceptRisk = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        roll(
            frame.session(ctx),
            component,
            "restart",
            selector,
            waves=waves or "auto",
            max_parallel=max_parallel,
            canary=canary,
            stop_after=stop_after,
            only=only,
            within_s=within,
            accepted=accepted_risks([component], accept_risk),
            detailed_exitcode=detailed_exitcode,
        )

    @app.command(
        help=f"Stop instances of {title}, with the same gates as a restart."
        f"\n\nExample: bdops {component} stop node3 --reason 'new disk'"
    )
    def stop(
        ctx: typer.Context,
        selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="Which instances; never all by default.")],
        accept_risk: AcceptRisk = None,
    ) -> None:
        roll(frame.session(ctx), component, "stop", selector, accepted=accepted_risks([component], accept_risk))

    @app.command(
        help=f"Start instances of {title} and wait until they are whole.\n\nExample: bdops {component} start node3"
    )
    def start(
        ctx: typer.Context,
        selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="Which instances.")],
    ) -> None:
        roll(frame.session(ctx), component, "start", selector)

    @app.command(
        "can-stop",
        help="May these instances go down now, together? Exits 0 yes, 1 not now, 2 no, 3 unknown; names all that would"
        f" be hurt.\n\nExample: bdops {component} can-stop node3 --max",
    )
    def can_stop(
        ctx: typer.Context,
        instances: Annotated[
            list[str] | None, typer.Argument(metavar="[INSTANCE]...", help="Selectors; with --max all if none.")
        ] = None,
        largest: Annotated[bool, typer.Option("--max", help="The largest set of them that is safe together.")] = False,
        accept_risk: AcceptRisk = None,
        state: frame.StateOption = None,
    ) -> None:
        from bdops.cli.can_stop import answer_can_stop

        answer_can_stop(
            frame.session(ctx),
            component,
            instances or [],
            largest=largest,
            accepted=accepted_risks([component], accept_risk),
            file=state,
        )


def roll(
    session: Session,
    component: str,
    verb: str,
    selector: str | None,
    *,
    waves: str = "auto",
    max_parallel: int | None = None,
    canary: bool = False,
    stop_after: int | None = None,
    only: str | None = None,
    within_s: float | None = None,
    accepted: tuple[str, ...] = (),
    detailed_exitcode: bool = False,
) -> None:
    """Restart, stop or start what a selector names: plan, show, ask, carry out."""
    from bdops.jobs.executor import Limits

    def targets(actor: Actor[Any], state: Any, names: Collection[str]) -> Sequence[Target]:
        return actor.targets(state, names, verb)

    carry_out(
        session,
        component,
        selector,
        targets,
        command=f"{component} {verb}",
        verb=verb,
        only=only,
        options={"mode": waves, "max_parallel": max_parallel, "canary": canary, "accepted": accepted},
        limits=Limits(stop_after=stop_after, within_s=within_s),
        detailed_exitcode=detailed_exitcode,
    )


def accepted_risks(components: Sequence[str], codes: Collection[str] | None) -> tuple[str, ...]:
    """The rules of `--accept-risk`. Raises UsageError for one that no gate of these components has."""
    if not codes:
        return ()
    from difflib import get_close_matches

    from bdops.registry import component as component_of

    known = {rule: meaning for name in components for rule, meaning in component_of(name).gate_rules.items()}
    for code in codes:
        if code not in known:
            near = get_close_matches(code.upper(), known, n=1)
            hint = f"did you mean {near[0]} ({known[near[0]]})?" if near else f"the rules: {', '.join(known)}"
            raise UsageError(f"--accept-risk {code}: no gate of {', '.join(components)} has such a rule", hint=hint)
    return tuple(codes)


def carry_out(
    session: Session,
    component: str,
    selector: str | None,
    targets: Callable[[Actor[Any], Any, Collection[str]], Sequence[Target]],
    *,
    command: str,
    verb: str = "",
    only: str | None = None,
    options: dict[str, Any] | None = None,
    limits: Limits | None = None,
    detailed_exitcode: bool = False,
    nameless: bool = False,
    site: Site | None = None,
) -> None:
    """Plan what `targets(actor, state, instance names)` gives for one deployment, show it, ask, run it as a job.

    For every changing command of a component: `--dry-run`, `--yes` and `--reason` are the session's. Targets
    without `instance` are acts on the cluster as a whole, and are not gated. `site`: the cluster, where it is open
    already.
    """
    from contextlib import nullcontext

    from bdops.cli.jobs_frame import opened_site, plan_for, run_planned
    from bdops.jobs.executor import Limits
    from bdops.jobs.planning import Part

    selection = session.selection(component, selector)
    opening = nullcontext(site) if site else opened_site(session, selection.deployment.cluster, [component])
    with opening as site:
        names = narrowed(session, selection.names, selection.deployment, only, site.pool)
        part = Part(
            component=component,
            actor=site.actors[component],
            instances=selection.deployment.instances,
            names=tuple(names),
            targets=targets,
            verb=verb,
            nameless=nameless,
        )
        planned = plan_for(session, site, command, [part], options or {})
        run_planned(session, planned, site, limits or Limits(), detailed_exitcode=detailed_exitcode)


def narrowed(
    session: Session, names: Sequence[str], deployment: Deployment, only: str | None, pool: SshPool
) -> list[str]:
    """What `--only` leaves of the instances. Raises UsageError for a word that it does not know."""
    if only is None:
        return list(names)
    chosen: list[Instance] = [i for i in deployment.instances if i.name in names]
    if only == "stale":
        return _stale(chosen, pool)
    since, equals, moment = only.partition("=")
    if since == "not-restarted-since":
        from bdops.hosts.service_acts import read_all_processes
        from bdops.inventory.edge import moment as parse_moment
        from bdops.jobs.planning import older_than

        try:
            at = parse_moment(moment if equals else "")
        except ValueError as e:
            raise UsageError(f"--only {only}: {e}", hint="--only not-restarted-since=2026-12-01T18:00Z") from None
        return older_than(read_all_processes(pool, chosen), at)
    from bdops.inventory.selectors import select

    picked = {i.name for i in select(session.inventory(), only, cluster=deployment.cluster)}
    return [name for name in names if name in picked]


def _stale(instances: Sequence[Instance], pool: SshPool) -> list[str]:
    from bdops.hosts.service_acts import read_all_stale

    if not any(i.service and i.service.files for i in instances):
        raise UsageError(
            "no service of these instances names its files, so none can be stale",
            hint="add `files: [/etc/kafka/server.properties, ...]` to the service in the inventory",
        )
    stale = read_all_stale(pool, instances)
    for name, files in stale.items():
        if files:
            print(f"{name}: {', '.join(files)} changed after its start", file=sys.stderr)
    return [name for name, files in stale.items() if files]
