"""`bdops run`: a playbook, planned whole, shown, asked for, and carried out as one job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, rolling
from bdops.errors import BdopsError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bdops.cli.frame import Session
    from bdops.cli.playbook import Commands
    from bdops.core.model import Cluster
    from bdops.core.plan import Step, Target
    from bdops.jobs.planning import Planned
    from bdops.playbooks.model import Playbook
    from bdops.playbooks.planning import Surroundings

app = frame.App(help="Run a playbook: operations, one after the other, as one job.")

_SUFFIXES = (".yaml", ".yml")


class PlaybookCommand(frame.Command):
    """`--help` beside a playbook is that playbook's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [a for a in args if a != "--help"]
        if words and words != args and not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(words)
            word = str(given.get("playbook") or "")
            from bdops.playbooks.planning import help_of
            from bdops.playbooks.shipped import shipped

            if word.endswith(_SUFFIXES) or word in shipped():
                print(help_of(_loaded(Path(word))), end="")
                raise typer.Exit
        return super().parse_args(ctx, args)


@app.command(cls=PlaybookCommand)
def run(
    ctx: typer.Context,
    playbook: Annotated[
        Path,
        typer.Argument(
            metavar="PLAYBOOK",
            help="A file, or the name of a shipped one, as nightly; `bdops run PLAYBOOK --help` tells what it takes.",
        ),
    ],
    extra: Annotated[
        list[str] | None,
        typer.Option("-e", "--extra", metavar="NAME=VALUE", help="A parameter of the playbook; several."),
    ] = None,
    detailed_exitcode: rolling.DetailedExitcode = False,
) -> None:
    """Run a playbook: it is planned whole and shown first, journaled, and can be paused, killed and resumed.

    Example: bdops run nightly -e keep='7d 4w' --dry-run
    """
    from bdops.cli.jobs_frame import confirm, opened_site, plan_for, run_and_conclude, store
    from bdops.cli.operations import operations
    from bdops.jobs.executor import Limits
    from bdops.jobs.planning import Part
    from bdops.playbooks.planning import parameters_of, targets_of

    session = frame.session(ctx)
    book = _loaded(playbook)
    parameters = parameters_of(book, extra or ())
    cluster = _one_cluster(session)
    targets = tuple(map(_found_again, targets_of(book, parameters, _surroundings(session, cluster), operations())))
    with opened_site(session, cluster.name, ["playbook"]) as site:
        actor: Any = site.actors["playbook"]
        part = Part(
            component="playbook", actor=actor, instances=(), names=(), targets=lambda actor, state, names: targets
        )
        planned = plan_for(session, site, f"run {book.name}", [part], {})
        session.say(f"inventory: {session.inventory().source}; cluster: {cluster.name}")
        _require_known_checks(planned, cluster)
        _show(session, planned, _previews(session, actor.operations, planned))
        if session.dry_run:
            session.exit_code = ExitCode.CHANGES_PENDING if detailed_exitcode else ExitCode.OK
            return
        confirm(session, "Carry this out?")
        job = store().create(planned.plan)
        run_and_conclude(session, job, site, Limits())


def _found_again(target: Target) -> Target:
    """The step with its folder of this machine as it is from anywhere: a resume may come from another one."""
    from dataclasses import replace

    folder = target.args["archive"]
    if not folder or "archive" in target.args["left"]:
        return target
    return replace(target, args={**target.args, "archive": str(Path(folder).expanduser().absolute())})


def _loaded(path: Path) -> Playbook:
    from bdops.cli.operations import operations
    from bdops.playbooks.load import load_playbook
    from bdops.playbooks.shipped import shipped

    return load_playbook(shipped().get(str(path), path), operations())


def _one_cluster(session: Session) -> Cluster:
    """The cluster that the playbook works on. Raises UsageError when several are there and none is named."""
    clusters = session.inventory().clusters
    chosen = [c for c in clusters if session.cluster in (None, c.name)]
    if len(chosen) != 1:
        names = ", ".join(c.name for c in clusters)
        what = "a playbook works on one cluster" if chosen else f"there is no cluster {session.cluster!r}"
        raise UsageError(f"{what}, and the inventory has {names}", hint="name one: -c CLUSTER")
    return chosen[0]


def _surroundings(session: Session, cluster: Cluster) -> Surroundings:
    from bdops.inventory.selectors import select, select_hosts
    from bdops.playbooks.planning import Surroundings

    return Surroundings(
        cluster=cluster.name,
        components=tuple(d.component for d in cluster.deployments),
        hosts=lambda selector: [
            {"name": h.name, "address": h.address, "rack": h.rack or ""}
            for h in select_hosts(session.inventory(), selector, cluster=cluster.name)
        ],
        instances=lambda selector: [
            {
                "name": i.name,
                "host": i.host.name,
                "component": i.component,
                "process": i.process or "",
                "roles": sorted(i.roles),
            }
            for i in select(session.inventory(), selector, cluster=cluster.name)
        ],
    )


def _require_known_checks(planned: Planned, cluster: Cluster) -> None:
    """Raise ConfigError for a wait for checks that the cluster does not have: it would wait in vain."""
    from fnmatch import fnmatchcase

    from bdops.errors import ConfigError
    from bdops.registry import component

    waits = [s.args for s in planned.plan.steps if s.acts == ("wait-for",) and s.args["wait"]["codes"]]
    if not waits:
        return
    known = [c.code for name in ("host", *(d.component for d in cluster.deployments)) for c in component(name).checks]
    for args in waits:
        for pattern in args["wait"]["codes"]:
            if not any(fnmatchcase(code, pattern) for code in known):
                raise ConfigError(
                    f"wait_for.codes: no check of {cluster.name} is called {pattern}",
                    where=args["where"],
                    hint="docs/checks.md lists them",
                    code="PLAYBOOK_INVALID",
                )


def _require_something(session: Session, args: Mapping[str, Any]) -> None:
    """Raise UsageError for a selector that is known now, and names nothing."""
    from bdops.inventory.selectors import select_cluster_hosts

    known = [args[f] for f in ("given", "wait") if args[f] and f not in args["left"]]
    for selector in (s for each in known if (s := each.get("selector"))):
        select_cluster_hosts(session.inventory(), str(selector), cluster=session.cluster)


def _previews(session: Session, commands: Commands, planned: Planned) -> list[tuple[Step, Planned]]:
    """The plan of every operation as it is now. Raises what speaks against one, with the step it is of."""
    found: list[tuple[Step, Planned]] = []
    for step in planned.plan.steps:
        args = step.args
        if step.acts == ("skip",):
            continue
        taken: list[Planned] = []
        try:
            _require_something(session, args)
            if step.acts == ("operation",) and not args["reads"] and not args["late"]:
                commands.call(args, lambda p, site, taken=taken: taken.append(p))  # type: ignore[misc]
        except BdopsError as e:
            e.message = f"{step.name}: {e.message}"
            e.where = f"{args['where']}" + (f" ({e.where})" if e.where else "")
            raise
        found += [(step, p) for p in taken]
    return found


def _show(session: Session, planned: Planned, previews: list[tuple[Step, Planned]]) -> None:
    """The steps, and below them the plan of each as it is now; for a program one answer with both."""
    from dataclasses import replace

    from bdops.render.jobs import plan_report

    whole = plan_report(planned.plan)
    reports = [(step, plan_report(p.plan, waits=p.waits, accepted=p.accepted)) for step, p in previews]
    if session.output != "table":
        if session.dry_run:
            plans = [
                {
                    "step": step.id,
                    "name": step.name,
                    **{k.lstrip("_"): v for k, v in r.facts.items()},
                    "waves": list(r.tables[0].rows),
                }
                for step, r in reports
            ]
            session.show(replace(whole, facts={**whole.facts, "_plans": plans}))
        return
    session.show(whole)
    for step, report in reports:
        print(f"\nstep {step.id}, {step.name}, as it is now:")
        session.show(report)
