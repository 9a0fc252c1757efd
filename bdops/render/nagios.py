"""Nagios and Icinga: a status line, performance data, and a line for each check that is not OK.

The format is the Monitoring Plugins Development Guidelines': `text | 'label'=value[UOM];warn;crit`.
"""

from __future__ import annotations

from bdops.core.checks import Metric, Severity
from bdops.core.survey import Survey

_UNITS = {"": "", "%": "%", "s": "s", "ms": "ms", "bytes": "B"}


def nagios_text(survey: Survey) -> str:
    """The whole output of the plugin. The exit code is the survey's severity's."""
    from bdops.render.checks import summary_line

    lines = [f"BDOPS {_clean(summary_line(survey))}"]
    lines += [
        f"{r.severity.value.upper()} {r.subject} {r.code}: {_clean(r.summary)}"
        for r in survey.results
        if r.severity is not Severity.OK
    ]
    performance = " ".join(
        _performance(f"{r.subject} {r.code} {metric.name}", metric) for r in survey.results for metric in r.metrics
    )
    lines[0] += f" | {performance}" if performance else ""
    return "\n".join(lines) + "\n"


def _performance(label: str, metric: Metric) -> str:
    name = label.replace("'", "").replace("=", "_")
    limits = ";".join("" if limit is None else f"{limit:g}" for limit in (metric.warning, metric.critical))
    return f"'{name}'={metric.value:g}{_UNITS.get(metric.unit, '')};{limits}".rstrip(";")


def _clean(text: str) -> str:
    """A bar would start performance data, a newline the long output."""
    return text.replace("|", "/").replace("\n", " ")
