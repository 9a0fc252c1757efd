"""Check results for people, JSON and monitoring systems. One summary line says the worst and the common cause."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TextIO

from bdops.core.cause import Cause
from bdops.core.checks import CheckResult, Finding, Severity
from bdops.core.survey import Survey
from bdops.core.units import listed, plural
from bdops.render.envelope import envelope, plain, write_envelope

SHOWN_LINES = 8
"""Lines of findings of one result that a table shows, like ones folded into one; `-v` and JSON show all."""
FOLDED_FROM, FOLDED_NAMES, FOLDED_CHARACTERS = 3, 50, 100
"""So many like findings are folded, so many of their names are looked at, and so much of them is shown."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._/:-]*")
_COLOURS = {Severity.OK: "32", Severity.WARNING: "33", Severity.CRITICAL: "31;1", Severity.UNKNOWN: "35"}


def show_survey(survey: Survey, output: str, *, command: str, verbose: int, stream: TextIO | None = None) -> None:
    """Print a survey in one of the formats of `check`."""
    stream = stream or sys.stdout
    if output in ("json", "yaml"):
        data = {
            "summary": summary_line(survey),
            "taken_at": survey.taken_at,
            "common_cause": survey.cause,
            "checks": (plain(result) for result in survey.results),
        }
        write_envelope(envelope(command, survey.severity.value, data), output, stream)
    elif output == "name":
        stream.writelines(f"{r.code}\n" for r in survey.results if r.severity is not Severity.OK)
    elif output == "nagios":
        from bdops.render.nagios import nagios_text

        stream.write(nagios_text(survey))
    elif output == "prometheus":
        from bdops.render.prometheus import prometheus_text

        stream.write(prometheus_text(survey))
    else:
        _write_table(survey, verbose, stream)


def summary_line(survey: Survey) -> str:
    """`CRITICAL: 2 critical, 1 unknown of 61 checks; common cause: prod/kafka/node3 (41 of 43 findings)`."""
    counts = Counter(r.severity for r in survey.results)
    bad = ", ".join(
        f"{counts[s]} {s.value}" for s in (Severity.CRITICAL, Severity.UNKNOWN, Severity.WARNING) if counts[s]
    )
    total = plural(len(survey.results), "check")
    text = f"{survey.severity.value.upper()}: {bad} of {total}" if bad else f"OK: {total}"
    muted = sum(len(r.muted) for r in survey.results)
    if muted:
        text += f" ({plural(muted, 'finding')} muted)"
    return f"{text}; {_cause_words(survey.cause)}" if survey.cause else text


def _cause_words(cause: Cause) -> str:
    explains = f"{cause.explains} of {plural(cause.of, 'finding')}, {plural(len(cause.codes), 'check')}"
    return f"common cause: {cause.kind} {cause.name} ({explains})"


def _write_table(survey: Survey, verbose: int, stream: TextIO) -> None:
    colour = colours(stream)
    if survey.cause:
        stream.write(f"{_cause_words(survey.cause)}\n")
    for subject, group in groupby(survey.results, key=lambda r: r.subject):
        results = list(group)
        fine = [r for r in results if r.severity is Severity.OK and not r.muted]
        stream.write(f"{subject}\n")
        for result in results:
            if result.severity is not Severity.OK or result.muted or verbose:
                _write_result(result, verbose, stream, colour)
        if fine and not verbose:
            stream.write(f"  {painted(Severity.OK, colour)} {plural(len(fine), 'check')}\n")
    stream.write(f"{summary_line(survey)}\n")


def _write_result(result: CheckResult, verbose: int, stream: TextIO, colour: bool) -> None:
    stream.write(f"  {painted(result.severity, colour)} {result.code}: {result.summary}\n")
    left = len(result.objects)
    groups = [[finding] for finding in result.objects] if verbose else _like_ones(result.objects)
    for group in groups if verbose else groups[:SHOWN_LINES]:
        finding = group[0]
        blames = f" [{listed(finding.blames, 4)}]" if _blames_others(finding) else ""
        stream.write(f"             {_folded(group)}: {finding.detail}{blames}\n")
        left -= len(group)
    if left:
        stream.write(f"             and {left} more: -v shows all\n")
    for muted in result.muted:
        finding = muted.finding
        stream.write(
            f"             muted until {muted.until:%Y-%m-%d} ({muted.reason}): {finding.object}: {finding.detail}\n"
        )
    if result.hint:
        stream.write(f"             hint: {result.hint}\n")


def _blames_others(finding: Finding) -> bool:
    return bool(finding.blames) and finding.blames != (finding.object,)


def _like_ones(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings in their order, those that differ in their object alone together where there are several."""
    groups: dict[tuple[Severity, str, tuple[str, ...]], list[Finding]] = {}
    for finding in findings:
        blames = finding.blames if _blames_others(finding) else ()
        groups.setdefault((finding.severity, finding.detail, blames), []).append(finding)
    return [
        part
        for group in groups.values()
        for part in ([group] if len(group) >= FOLDED_FROM else [[finding] for finding in group])
    ]


def _folded(group: Sequence[Finding]) -> str:
    """`prod/kafka/node[1-3]`; of many the first ones and their number."""
    names = [finding.object for finding in group]
    if len(names) == 1:
        return names[0]
    few = names[:FOLDED_NAMES]
    if all(_NAME.fullmatch(name) for name in few):
        from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

        text = str(NodeSet.fromlist(few, resolver=RESOLVER_NOGROUP))
    else:
        text = ", ".join(few)
    if len(names) == len(few) and len(text) <= FOLDED_CHARACTERS:
        return text
    return f"{text[:FOLDED_CHARACTERS]}... ({len(names)})"


def colours(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def painted(severity: Severity, colour: bool) -> str:
    """The severity as a word of one width."""
    word = f"{severity.value.upper():<8}"
    return f"\x1b[{_COLOURS[severity]}m{word}\x1b[0m" if colour else word
