"""`bdops check`: everything, or what a selector names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame
from bdops.cli.frame import Session
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.components.survey import Subject
    from bdops.inventory.load import LoadedInventory

app = frame.App(help="Check everything, or what a selector names; a monitoring plugin.")


@app.command()
def check(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    textfile: Annotated[
        Path | None, typer.Option("--textfile", metavar="FILE", help="Also write a Prometheus textfile, atomically.")
    ] = None,
) -> None:
    """Check everything, or what a selector names; exits 0 ok, 1 warning, 2 critical, 3 unknown.

    Example: bdops check 'prod/kafka,prod/zk' -o nagios
    """
    check_and_show(frame.session(ctx), None, selector, state, textfile)


def check_and_show(
    session: Session, component: str | None, selector: str | None, state: Path | None, textfile: Path | None
) -> None:
    """Run checks live or on a saved state, show them, and set the plugin's exit code."""
    from bdops.components.survey import judge_state, survey
    from bdops.render.checks import show_survey

    session.monitoring = True
    now = datetime.now(UTC)
    if state:
        from bdops.components.state_file import load_state
        from bdops.registry import COMPONENTS
        from bdops.registry import component as component_of

        if selector:
            raise UsageError("a saved state is checked whole: give either a selector or --state")
        known = {name: component_of(name) for name in ([component] if component else [*COMPONENTS, "host"])}
        found = load_state(state, {name: c.state for name, c in known.items()})
        result = judge_state(known[found.component], found)
    else:
        result = survey(_subjects(session, component, selector), timeout_s=session.timeout_s, now=now)
    show_survey(result, session.output, command=session.command, verbose=session.verbose)
    if textfile:
        from bdops.render.prometheus import write_textfile

        write_textfile(result, textfile)
    session.exit_code = result.severity.exit_code


def require_checks_exist(inventory: LoadedInventory) -> None:
    """Raise ConfigError for a check that the inventory speaks of and that is none: it would silently change nothing."""
    from bdops.inventory.known_checks import require_known_checks
    from bdops.registry import COMPONENTS
    from bdops.registry import component as component_of

    levels = [level for c in inventory.clusters for level in (c.checks, *(d.checks for d in c.deployments))]
    mutes = [
        mute.check for c in inventory.clusters for each in (c.mutes, *(d.mutes for d in c.deployments)) for mute in each
    ]
    spoken_of = {code for level in levels for code in level} | set(mutes)
    if not spoken_of:
        return
    # A code begins with its component's name; the others need not be imported, which takes a while.
    known = {*COMPONENTS, "host"}
    named = {code.partition("_")[0].lower() for code in spoken_of}
    checks = {name: component_of(name).checks for name in sorted(named if named <= known else known)}
    units = {name: {c.code: {t.name: t.unit for t in c.thresholds} for c in found} for name, found in checks.items()}
    require_known_checks(inventory, units)


def _subjects(session: Session, component: str | None, selector: str | None) -> list[Subject]:
    from bdops.components.survey import Subject
    from bdops.registry import component as component_of

    require_checks_exist(session.inventory())
    selections = session.selections(component, selector)
    subjects = [
        Subject(
            component=component_of(s.deployment.component),
            target=s.deployment,
            names=frozenset() if len(s.names) == len(s.deployment.instances) else frozenset(s.names),
        )
        for s in selections
    ]
    if component is None:
        for cluster in session.inventory().clusters:
            mine = [s for s in selections if s.deployment.cluster == cluster.name]
            hosts = {f"{cluster.name}/{i.host.name}" for s in mine for i in s.deployment.instances if i.name in s.names}
            if hosts:
                # Findings about a service blame its instance, not its host: what was selected is both.
                named = frozenset(hosts).union(*(s.names for s in mine))
                everything = len(cluster.hosts) + sum(len(d.instances) for d in cluster.deployments)
                names = frozenset() if len(named) == everything else named
                subjects.append(Subject(component=component_of("host"), target=cluster, names=names))
    return subjects
