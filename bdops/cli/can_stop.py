"""`bdops COMPONENT can-stop`: a gate, asked by a person, a script or a monitoring system."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.core.gate import Answer, GateFacts, judge
from bdops.core.result import Column, Report, Table
from bdops.core.waves import largest_safe_set
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.cli.frame import Session

_STATUS = {"ok": "ok", "wait": "warning", "refuse": "refused", "unknown": "unknown"}


def answer_can_stop(
    session: Session,
    component: str,
    words: Sequence[str],
    *,
    largest: bool,
    accepted: Collection[str],
    file: Path | None,
) -> None:
    """Judge the named instances, or find the largest safe set of them; sets the exit code to the verdict's."""
    from bdops.registry import component as component_of

    known = component_of(component)
    assert known.gate is not None
    selector = ",".join(words) or None
    state = session.state(component, selector if not file else None, file, known.gate_readings)
    facts: GateFacts = known.gate(state)
    names = _named_in(facts, words) if file else _selected(session, component, selector)
    if not words and not largest:
        raise UsageError(
            "which instances?", hint=f"bdops {component} can-stop node3, or --max for the largest safe set"
        )
    if largest:
        found = largest_safe_set(names, facts, accepted)
        answer = judge(facts, found.names, accepted)
        how = "no larger one exists" if found.proved else "the best found, not proved"
        summary = f"{len(found.names)} of {len(names)} may go down together ({how}): {', '.join(found.names) or 'none'}"
        extra: dict[str, Any] = {"largest": list(found.names), "proved": found.proved}
        if not found.names:
            answer = judge(facts, names, accepted)
    else:
        answer = judge(facts, names, accepted)
        summary = f"{answer.verdict.value.upper()}: {', '.join(answer.candidates)}"
        extra = {}
    session.show(report(answer, summary, extra))
    session.exit_code = answer.verdict.exit_code


def report(answer: Answer, summary: str, extra: dict[str, Any]) -> Report:
    """One row per rule that speaks against it, with all the objects in JSON."""
    rows = [
        {
            "rule": r.rule,
            "verdict": r.verdict.value,
            "count": len(r.objects),
            "objects": list(r.objects),
            "first": ", ".join(r.objects[:5]) + (" ..." if len(r.objects) > 5 else ""),
            "harm": r.harm,
            "instances": list(r.instances),
            "override": r.override,
            "accepted": r in answer.accepted,
        }
        for r in (*answer.reasons, *answer.accepted)
    ]
    columns = (
        Column("rule"), Column("verdict"), Column("count"), Column("first", "objects"), Column("harm"),
        Column("instances"), Column("override"), Column("accepted", wide=True),
    )  # fmt: skip
    return Report(
        status=_STATUS[answer.verdict.value],  # type: ignore[arg-type]
        summary=summary,
        facts={
            "_verdict": answer.verdict.value,
            "_candidates": list(answer.candidates),
            **{f"_{k}": v for k, v in extra.items()},
        },
        tables=(Table(name="reasons", columns=columns, rows=rows, empty="nothing speaks against it"),),
    )


def _selected(session: Session, component: str, selector: str | None) -> list[str]:
    return list(session.selection(component, selector).names)


def _named_in(facts: GateFacts, words: Sequence[str]) -> list[str]:
    """The instances that words mean where there is no inventory: a whole name, or the end of one."""
    known = sorted(facts.names)
    if not words:
        return known
    found: dict[str, None] = {}
    for word in (w for each in words for w in each.split(",")):
        mine = [n for n in known if n == word or n.endswith(f"/{word}") or f"/{word}/" in n]
        if not mine:
            raise UsageError(f"the state has no instance {word!r}", hint=f"it has {', '.join(known[:6])}")
        found |= dict.fromkeys(mine)
    return list(found)
