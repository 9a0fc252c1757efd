"""The sum of one run of checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bdops.core.cause import Cause, Place, common_cause
from bdops.core.checks import CheckResult, Severity, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The results of one run in the order of what was checked, the worst severity and the common cause."""

    results: tuple[CheckResult, ...]
    severity: Severity
    cause: Cause | None
    taken_at: datetime


def conclude(results: Iterable[CheckResult], where: Mapping[str, Place], taken_at: datetime) -> Survey:
    """Sum up results. `where` says on which host and rack each instance is.

    A run without any check is UNKNOWN: nothing was looked at.
    """
    found = tuple(results)
    return Survey(
        results=found,
        severity=worst(r.severity for r in found) if found else Severity.UNKNOWN,
        cause=common_cause(found, where),
        taken_at=taken_at,
    )
