"""`bdops check`: everything, or what a selector names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bdops.cli import frame
from bdops.cli.frame import Session
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.cli.check_history import Recording
    from bdops.components.survey import Subject
    from bdops.inventory.load import LoadedInventory

PAST_OUTPUTS = ("table", "json", "yaml")

app = frame.App(help="Check everything, or what a selector names; a monitoring plugin.")


@app.command()
def check(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    textfile: frame.TextfileOption = None,
    record: frame.RecordOption = False,
    since: frame.SinceOption = None,
    only_changes: frame.OnlyChangesOption = False,
    notify: frame.NotifyOption = None,
) -> None:
    """Check everything, or what a selector names; exits 0 ok, 1 warning, 2 critical, 3 unknown.

    Example: bdops check 'prod/kafka,prod/zk' -o nagios
    """
    from bdops.cli.check_history import Recording

    recording = Recording(record, since, only_changes, tuple(notify or ()))
    check_and_show(frame.session(ctx), None, selector, state, textfile, recording)


def check_and_show(
    session: Session,
    component: str | None,
    selector: str | None,
    state: Path | None,
    textfile: Path | None,
    recording: Recording,
) -> None:
    """Run checks live or on a saved state, show them or what changed in them, and set the plugin's exit code."""
    from bdops.cli.check_history import (
        keep,
        news_of,
        notify,
        parse_reference,
        parse_since,
        past_of,
        require_taken,
        require_whole,
    )  # fmt: skip
    from bdops.components.survey import judge_state, survey
    from bdops.render.checks import show_survey

    session.monitoring = True
    now = datetime.now(UTC)
    if (recording.only_changes or recording.notify) and not recording.record:
        option = "--only-changes" if recording.only_changes else "--notify"
        raise UsageError(f"{option} compares with the last recorded run", hint="give --record as well")
    receivers = [parse_reference(text) for text in recording.notify]
    if recording.only_changes and (recording.since or session.output not in PAST_OUTPUTS):
        raise UsageError(f"--only-changes is not for --since, and for -o {', '.join(PAST_OUTPUTS)}")
    if recording.record and state:
        raise UsageError("a saved state is not recorded: leave out --record or --state")
    if recording.since and session.output not in PAST_OUTPUTS:
        raise UsageError(f"--since is not for -o {session.output}", hint=f"choose one of {', '.join(PAST_OUTPUTS)}")
    if state:
        from bdops.components.state_file import load_state
        from bdops.registry import COMPONENTS
        from bdops.registry import component as component_of

        if selector:
            raise UsageError("a saved state is checked whole: give either a selector or --state")
        known = {name: component_of(name) for name in ([component] if component else [*COMPONENTS, "host"])}
        found = load_state(state, {name: c.state for name, c in known.items()})
        since = parse_since(recording.since, found.taken_at) if recording.since else None
        result = judge_state(known[found.component], found)
        whole = {r.subject for r in result.results}
    else:
        since = parse_since(recording.since, now) if recording.since else None
        subjects = subjects_of(session, component, selector)
        whole = {s.label for s in subjects if _is_whole(s)}
        if recording.record or since:
            require_whole(whole)
        result = survey(subjects, timeout_s=session.timeout_s, now=now)
    news = news_of(result, whole) if recording.only_changes or receivers else None
    if since or recording.only_changes:
        from bdops.render.history import show_past

        past = past_of(result, whole, since) if since else news
        if past and past.first_at is None and not since:
            show_survey(result, session.output, command=session.command, verbose=session.verbose)
        elif past:
            show_past(result, past, session.output, command=session.command, verbose=session.verbose)
    else:
        show_survey(result, session.output, command=session.command, verbose=session.verbose)
    if textfile:
        from bdops.render.prometheus import write_textfile

        write_textfile(result, textfile)
    failed = notify(receivers, result, news) if news else []
    if recording.record and (not failed or len(failed) < len(receivers)):
        # What could be told to nobody is new in the next run again; one broken receiver is no reason to repeat it.
        keep(result, whole)
    require_taken(failed, len(receivers))
    session.exit_code = result.severity.exit_code


def _is_whole(subject: Subject) -> bool:
    """Whether all of it was selected. Of a cluster's hosts those that nothing runs on are never selected."""
    from bdops.core.model import Cluster

    if not subject.names or not isinstance(subject.target, Cluster):
        return not subject.names
    instances = [i for d in subject.target.deployments for i in d.instances]
    return {f"{i.cluster}/{i.host.name}" for i in instances} | {i.name for i in instances} <= subject.names


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


def subjects_of(session: Session, component: str | None, selector: str | None) -> list[Subject]:
    """What a selector wants checked, the hosts with it. Raises what the inventory and the selector do."""
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
