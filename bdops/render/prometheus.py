"""The Prometheus textfile collector's format, written atomically, with the time of the last good run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bdops.core.checks import Severity
from bdops.core.survey import Survey
from bdops.errors import OperationFailed

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LAST_SUCCESS = "bdops_check_last_success_timestamp_seconds"


def prometheus_text(survey: Survey, previous: str = "") -> str:
    """The survey as metrics. `previous` is the file's old text: a subject unknown now keeps its last success."""
    from prometheus_client import generate_latest

    return generate_latest(_registry(survey, previous)).decode()


def write_textfile(survey: Survey, path: Path) -> None:
    """Replace the textfile whole. Raises OperationFailed when it cannot be written."""
    from prometheus_client import write_to_textfile

    try:
        previous = path.read_text() if path.exists() else ""
        write_to_textfile(str(path), _registry(survey, previous))
    except OSError as e:
        raise OperationFailed(
            f"cannot write the textfile: {e.strerror}", where=str(path), hint="its folder must exist and be writable"
        ) from None


def _registry(survey: Survey, previous: str) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    severity = Gauge(
        "bdops_check_severity", "0 ok, 1 warning, 2 critical, 3 unknown", ["subject", "code"], registry=registry
    )
    findings = Gauge(
        "bdops_check_findings", "Objects that are not as they should be", ["subject", "code"], registry=registry
    )
    value = Gauge(
        "bdops_check_value", "The numbers that a check judged", ["subject", "code", "name", "unit"], registry=registry
    )
    run = Gauge("bdops_check_last_run_timestamp_seconds", "When the checks ran", ["subject"], registry=registry)
    success = Gauge(LAST_SUCCESS, "When every check of the subject had an answer", ["subject"], registry=registry)
    now = survey.taken_at.timestamp()
    for result in survey.results:
        severity.labels(result.subject, result.code).set(result.severity.exit_code)
        findings.labels(result.subject, result.code).set(len(result.objects))
        for metric in result.metrics:
            value.labels(result.subject, result.code, metric.name, metric.unit).set(metric.value)
    before = _last_successes(previous)
    for subject in dict.fromkeys(r.subject for r in survey.results):
        run.labels(subject).set(now)
        known = all(r.severity is not Severity.UNKNOWN for r in survey.results if r.subject == subject)
        if known or subject in before:
            success.labels(subject).set(now if known else before[subject])
    return registry


def _last_successes(text: str) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        return {}  # not a file of ours: there is no last success to keep
    return {
        sample.labels["subject"]: sample.value
        for family in families
        if family.name == LAST_SUCCESS
        for sample in family.samples
        if "subject" in sample.labels
    }
