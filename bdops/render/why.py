"""Explanations for people: a symptom, and below it what explains it, with the evidence of each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from bdops.core.checks import Severity, worst
from bdops.core.result import Report
from bdops.core.units import plural
from bdops.core.why import Explained
from bdops.render.checks import colours, painted

SHOWN_OBJECTS = 5


def write_why(explained: Sequence[Explained], notes: Sequence[str], *, verbose: int, stream: TextIO) -> None:
    """Write explanations for people, the symptom first. `notes` are lines of what else is to be known."""
    colour = colours(stream)
    told: set[tuple[str, ...]] = set()
    for one in explained:
        _write(one, "", "", stream, colour, verbose, told)
    for note in notes:
        stream.write(f"{note}\n")


def why_report(explained: Sequence[Explained], notes: Sequence[str]) -> Report:
    """Explanations as a command's result: a line of summary, and all of them as data."""
    return Report(
        status=worst(e.severity for e in explained).value,
        summary=_summary(explained),
        facts={"_notes": list(notes), "_why": [_plain(one) for one in explained]},
    )


def _summary(explained: Sequence[Explained]) -> str:
    if not explained:
        return "nothing is wrong with it"
    counts: dict[tuple[str, str], int] = {}
    for one in explained:
        for root in _roots(one):
            name = (root.code, _names(root.objects, 0))
            counts[name] = counts.get(name, 0) + len(one.objects)
    total = sum(len(one.objects) for one in explained)
    (code, names), count = max(counts.items(), key=lambda item: item[1])
    if len(counts) == 1:
        return f"{plural(total, 'finding')}; the last cause that is known: {code} {names}"
    return f"{plural(total, 'finding')}, {len(counts)} last causes; most ({count}) from {code} {names}"


def _roots(one: Explained) -> list[Explained]:
    return [root for cause in one.because for root in _roots(cause)] if one.because else [one]


def _write(
    one: Explained, lead: str, via: str, stream: TextIO, colour: bool, verbose: int, told: set[tuple[str, ...]]
) -> None:
    severity = painted(one.severity, colour)
    link = f" (both: {via})" if via else ""
    stream.write(f"{lead}{severity} {one.subject} {one.code} {_names(one.objects, verbose)}{link}: {one.detail}\n")
    indent = lead.replace("<- ", "   ") + "  "
    key = (one.subject, one.code, *one.objects)
    if one.because and key in told and not verbose:
        stream.write(f"{indent}<- as above\n")
        return
    told.add(key)
    for cause, shared in zip(one.because, one.via, strict=True):
        _write(cause, f"{indent}<- ", shared, stream, colour, verbose, told)
    if not one.because and one.hint:
        stream.write(f"{indent}hint: {one.hint}\n")


def _names(objects: Sequence[str], verbose: int) -> str:
    shown = objects if verbose else objects[:SHOWN_OBJECTS]
    more = len(objects) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _plain(one: Explained) -> Mapping[str, Any]:
    return {
        "subject": one.subject,
        "code": one.code,
        "severity": one.severity.value,
        "objects": list(one.objects),
        "detail": one.detail,
        "hint": one.hint if not one.because else None,
        "because": [{"via": via, **_plain(cause)} for via, cause in zip(one.via, one.because, strict=True)],
    }


def unknown_notes(codes: Sequence[tuple[str, str, str]]) -> list[str]:
    """Lines about checks without an answer, given as (subject, code, summary): a cause may hide there."""
    return [f"{Severity.UNKNOWN.value.upper()} {subject} {code}: {summary}" for subject, code, summary in codes]
