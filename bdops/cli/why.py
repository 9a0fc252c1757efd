"""`bdops why`: from a symptom to its cause, over components."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame
from bdops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bdops.cli.frame import Session
    from bdops.core.checks import CheckResult

OUTPUTS = ("table", "json", "yaml")

app = frame.App(help="Explain what is wrong: from symptom to cause.")


@app.command()
def why(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="A cluster, cluster/component, a check's code, a host, an instance, or an object such as a partition, "
            "a group or an index; everything if absent.",
        ),
    ] = None,
    states: Annotated[
        list[Path] | None,
        typer.Option("--state", metavar="FILE", help="Answer from saved states, without the clusters; several."),
    ] = None,
) -> None:
    """Explain what is wrong: from symptom to cause over all components of a cluster, with the evidence of each link.

    Everything is checked first, as by `bdops check`. A link is something that two findings have in common.

    Example: bdops why KAFKA_GROUP_LAGGING -c prod
    """
    from bdops.components.causation import CAUSATION
    from bdops.core.checks import Severity
    from bdops.core.why import Causes, matching, problems_of
    from bdops.render.why import unknown_notes, why_report, write_why

    session = frame.session(ctx)
    if session.output not in OUTPUTS:
        raise UsageError(f"-o {session.output} is not for this", hint=f"choose one of {', '.join(OUTPUTS)}")
    results = _saved(states) if states else _live(session, target)
    problems = problems_of(results)
    causes = Causes(problems, CAUSATION)
    meant = matching(problems, target) if target else problems
    if not meant and target:
        _require_known(session, target, results, live=not states)
    is_whole = target is None or any(target in (r.subject, r.subject.partition("/")[0]) for r in results)
    symptoms = set(causes.symptoms())
    explained = causes.explain(p for p in meant if not is_whole or p in symptoms)
    unknown = [
        (r.subject, r.code, r.summary)
        for r in results
        if r.severity is Severity.UNKNOWN and (is_whole or target in (r.code, r.subject))
    ]
    notes = unknown_notes(unknown) if session.verbose or not is_whole else []
    if unknown and not notes:
        notes = [f"{len(unknown)} checks have no answer, and a cause may hide there: -v names them"]
    if session.output == "table":
        write_why(explained, notes, verbose=session.verbose, stream=sys.stdout)
    session.show(why_report(explained, notes))


def _saved(files: Sequence[Path]) -> tuple[CheckResult, ...]:
    from bdops.components.state_file import load_state
    from bdops.components.survey import judge_state
    from bdops.registry import COMPONENTS
    from bdops.registry import component as component_of

    known = {name: component_of(name) for name in (*COMPONENTS, "host")}
    results: tuple[CheckResult, ...] = ()
    for file in files:
        state = load_state(file, {name: c.state for name, c in known.items()})
        results += judge_state(known[state.component], state).results
    return results


def _live(session: Session, target: str | None) -> tuple[CheckResult, ...]:
    """Everything of the clusters is checked: the cause may be in another component than the symptom."""
    from datetime import UTC, datetime

    from bdops.cli.check import subjects_of
    from bdops.components.survey import survey

    cluster = (target or "").partition("/")[0]
    selector = cluster if cluster in {c.name for c in session.inventory().clusters} else None
    subjects = subjects_of(session, None, selector)
    return survey(subjects, timeout_s=session.timeout_s, now=datetime.now(UTC)).results


def _require_known(session: Session, target: str, results: Sequence[CheckResult], *, live: bool) -> None:
    """Raise UsageError for a word that means nothing; one that means something which is well passes."""
    from difflib import get_close_matches

    objects = {f.object for r in results for f in r.objects} | {n for r in results for f in r.objects for n in f.blames}
    known = {r.code for r in results} | {r.subject for r in results} | {r.subject.partition("/")[0] for r in results}
    if live:
        for cluster in session.inventory().clusters:
            hosts = {h.name for h in cluster.hosts}
            known |= hosts | {f"{cluster.name}/{name}" for name in hosts}
            known |= {i.name for d in cluster.deployments for i in d.instances}
    if target in known:
        return
    likely = get_close_matches(target, [*known, *objects], n=1)
    raise UsageError(
        f"no check, cluster, host or instance, and nothing that is wrong, is called {target!r}",
        hint=f"did you mean {likely[0]}?" if likely else "`bdops why` without it explains everything",
    )
