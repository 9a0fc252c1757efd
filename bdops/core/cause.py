"""The common cause: from many findings to the instance, host or rack that explains most of them.

Forty under-replicated partitions that share broker 3 are one problem, and its name is broker 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bdops.core.checks import CheckResult, Finding, Severity

ENOUGH = 0.6
"""A candidate is a common cause when it explains at least this share of the findings that blame anything."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance is: its host and rack, both named with their cluster (`prod/node3`, `prod/rack:r2`)."""

    host: str
    rack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """`name` is an instance, a host or a rack; it explains `explains` of `of` findings, from the checks `codes`."""

    name: str
    kind: str
    explains: int
    of: int
    codes: tuple[str, ...]


def common_cause(results: Iterable[CheckResult], places: Mapping[str, Place]) -> Cause | None:
    """The most specific place that explains most of what is wrong; None when there is none.

    `places` maps instance names to where they are. A finding that blames several instances is explained by
    any of them. A host counts only for findings of two or more of its instances, a rack only for two or more
    of its hosts: otherwise the instance itself is the better name. Findings that blame nothing do not count,
    nor do those that blame more than half of all instances: they point nowhere.
    """
    blamed = [
        (result.code, finding, _explainers(finding, places))
        for result in results
        if result.severity is not Severity.OK
        for finding in result.objects
        if finding.severity is not Severity.OK and finding.blames
    ]
    if len(blamed) < 2:
        return None
    covered = Counter(name for _, _, names in blamed for name in names)
    below = _distinct_below(blamed, places)
    candidates = [
        name
        for name, count in covered.items()
        if count >= 2 and count >= ENOUGH * len(blamed) and (name not in below or below[name] >= 2)
    ]
    if not candidates:
        return None
    best = min(candidates, key=lambda name: (-covered[name], _breadth(name), name))
    codes = sorted({code for code, _, names in blamed if best in names})
    return Cause(
        name=best,
        kind=("instance", "host", "rack")[_breadth(best)],
        explains=covered[best],
        of=len(blamed),
        codes=tuple(codes),
    )


def _explainers(finding: Finding, places: Mapping[str, Place]) -> frozenset[str]:
    names = set(finding.blames)
    for name in finding.blames:
        if place := places.get(name):
            names.add(place.host)
            if place.rack:
                names.add(place.rack)
    return frozenset(names)


def _distinct_below(blamed: list[tuple[str, Finding, frozenset[str]]], places: Mapping[str, Place]) -> dict[str, int]:
    """For each host the number of its instances that are blamed; for each rack that of its hosts.

    A host that a finding blames by its own name is not here: it needs no instances to be a candidate.
    """
    direct = {name for _, finding, _ in blamed for name in finding.blames}
    instances: dict[str, set[str]] = {}
    for _, finding, _ in blamed:
        for name in finding.blames:
            if place := places.get(name):
                instances.setdefault(place.host, set()).add(name)
                if place.rack:
                    instances.setdefault(place.rack, set()).add(place.host)
    return {name: len(members) for name, members in instances.items() if name not in direct}


def _breadth(name: str) -> int:
    """0 for an instance (`prod/kafka/node3`), 1 for a host (`prod/node3`), 2 for a rack (`prod/rack:r2`)."""
    if "/rack:" in name:
        return 2
    return 1 if name.count("/") == 1 else 0
