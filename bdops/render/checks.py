"""Check results for people, JSON and monitoring systems. One summary line says the worst and the common cause."""

from __future__ import annotations

import os
import sys
from collections import Counter
from itertools import groupby
from typing import TextIO

from bdops.core.checks import CheckResult, Severity
from bdops.core.survey import Survey
from bdops.core.units import plural
from bdops.render.envelope import envelope, plain, write_envelope

SHOWN_OBJECTS = 8
"""Objects of one result that a table shows; `-v` and JSON show all."""

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
    if cause := survey.cause:
        text += (
            f"; common cause: {cause.kind} {cause.name} "
            f"({cause.explains} of {plural(cause.of, 'finding')}, {plural(len(cause.codes), 'check')})"
        )
    return text


def _write_table(survey: Survey, verbose: int, stream: TextIO) -> None:
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    for subject, group in groupby(survey.results, key=lambda r: r.subject):
        results = list(group)
        fine = [r for r in results if r.severity is Severity.OK and not r.muted]
        stream.write(f"{subject}\n")
        for result in results:
            if result.severity is not Severity.OK or result.muted or verbose:
                _write_result(result, verbose, stream, colour)
        if fine and not verbose:
            stream.write(f"  {_paint(Severity.OK, colour)} {plural(len(fine), 'check')}\n")
    stream.write(f"{summary_line(survey)}\n")


def _write_result(result: CheckResult, verbose: int, stream: TextIO, colour: bool) -> None:
    stream.write(f"  {_paint(result.severity, colour)} {result.code}: {result.summary}\n")
    shown = result.objects if verbose else result.objects[:SHOWN_OBJECTS]
    for finding in shown:
        blames = f" [{', '.join(finding.blames)}]" if finding.blames and finding.blames != (finding.object,) else ""
        stream.write(f"             {finding.object}: {finding.detail}{blames}\n")
    if len(shown) < len(result.objects):
        stream.write(f"             and {len(result.objects) - len(shown)} more: -v shows all\n")
    for muted in result.muted:
        finding = muted.finding
        stream.write(
            f"             muted until {muted.until:%Y-%m-%d} ({muted.reason}): {finding.object}: {finding.detail}\n"
        )
    if result.hint:
        stream.write(f"             hint: {result.hint}\n")


def _paint(severity: Severity, colour: bool) -> str:
    word = f"{severity.value.upper():<8}"
    return f"\x1b[{_COLOURS[severity]}m{word}\x1b[0m" if colour else word
