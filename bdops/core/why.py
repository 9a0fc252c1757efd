"""From symptom to cause: which finding explains which, over components, with the evidence of each link. Pure.

A link is made of what two findings have in common: an instance or the host that it runs on, an object that both name,
or a rule that one trouble of a whole cluster brings the other about. The table of `Causation` says what can explain
what; nothing is guessed from the order of events. A link is evidence, and no proof.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bdops.core.checks import CheckResult, Finding, Severity

By = Literal["place", "object", "cluster"]

_TOKEN = re.compile(r"[\w./-]+[\w/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Causation:
    """What can explain what. `tiers` maps a code to its tier: a cause is of a lower tier than what it explains.

    Codes without a tier explain nothing and are explained by nothing. Of the others:
    - those up to the tier `by_place_up_to` explain what blames the same instance, or an instance on the same host;
    - `same_object` maps a code to those that explain it when they name the same object;
    - `cluster_wide` maps a code to those that explain it by being critical in the same cluster, or by being not ok at
      all, if they are in `any_severity`.
    Those in `only_critical` explain something while they are critical alone: a disk that is 82 % full stops no broker.
    """

    tiers: Mapping[str, int]
    by_place_up_to: int
    same_object: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cluster_wide: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only_critical: frozenset[str] = frozenset()
    any_severity: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a check that is not ok (or the check itself, where it names no objects)."""

    subject: str
    code: str
    object: str
    severity: Severity
    detail: str
    blames: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def cluster(self) -> str:
        return self.subject.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Link:
    """What explains something, and by what: `via` is the place, the object or the cluster that both have."""

    cause: Problem
    by: By
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Problems of one check that have the same causes, and those. `via` is what each of `because` has in common."""

    subject: str
    code: str
    severity: Severity
    objects: tuple[str, ...]
    detail: str
    hint: str | None
    via: tuple[str, ...] = ()
    because: tuple[Explained, ...] = ()

    @property
    def depth(self) -> int:
        return 1 + max((one.depth for one in self.because), default=0)


def problems_of(results: Iterable[CheckResult]) -> tuple[Problem, ...]:
    """What is wrong in the results of checks. What could not be read is not wrong: see `CheckResult.severity`."""
    found = []
    for result in results:
        if result.severity in (Severity.OK, Severity.UNKNOWN) and not any(_is_wrong(f) for f in result.objects):
            continue
        wrong = [f for f in result.objects if _is_wrong(f)]
        if not wrong:
            wrong = [Finding(result.subject, result.severity, result.summary)]
        found += [
            Problem(result.subject, result.code, f.object, f.severity, f.detail, f.blames, result.hint) for f in wrong
        ]
    return tuple(found)


def host_of(name: str) -> str:
    """`prod/node3` of the instance `prod/kafka/node3`; a host is its own."""
    parts = name.split("/")
    return f"{parts[0]}/{parts[2]}" if len(parts) > 2 else name


class Causes:
    """The causes of each of some problems, found by what they share; made once, asked as often as wanted."""

    def __init__(self, problems: Sequence[Problem], causation: Causation) -> None:
        self.problems = problems
        self._rules = causation
        self._by_place: dict[str, list[Problem]] = defaultdict(list)
        self._by_object: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        self._by_code: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in problems:
            tier = causation.tiers.get(problem.code)
            if tier is None or not self._explains(problem):
                continue
            if tier <= causation.by_place_up_to:
                for place in problem.blames:
                    self._by_place[place].append(problem)
            self._by_object[problem.subject, problem.object].append(problem)
            # A shard is named by its index: logs[0] replica.
            index, bracket, _ = problem.object.partition("[")
            if bracket:
                self._by_object[problem.subject, index].append(problem)
        for problem in problems:
            self._by_code[problem.cluster, problem.code].append(problem)
        self._links: dict[Problem, tuple[Link, ...]] = {}

    def of(self, problem: Problem) -> tuple[Link, ...]:
        """The nearest causes: the same object's first, else one for each place that is blamed, else the cluster's."""
        if problem not in self._links:
            self._links[problem] = self._find(problem)
        return self._links[problem]

    def symptoms(self) -> tuple[Problem, ...]:
        """The problems that explain no other one: where the looking begins."""
        causes = {link.cause for problem in self.problems for link in self.of(problem)}
        return tuple(p for p in self.problems if p not in causes)

    def explain(self, problems: Iterable[Problem]) -> tuple[Explained, ...]:
        """The problems with their causes, down to the last ones; like ones together, the worst and deepest first."""
        groups: dict[Hashable, list[Problem]] = defaultdict(list)
        for problem in problems:
            groups[self._shape(problem)].append(problem)
        found = [self._explained(group) for group in groups.values()]
        return tuple(sorted(found, key=lambda e: (-e.severity.rank, -e.depth, e.subject, e.code, e.objects)))

    def _shape(self, problem: Problem) -> Hashable:
        """Equal for problems that are told together: of one check, and for the same reasons.

        Where the reason is another finding about the same object, that one may differ in its object too.
        """
        reasons = tuple(
            (link.by, self._shape(link.cause)) if link.by == "object" else (link.by, link.via, link.cause)
            for link in self.of(problem)
        )
        return problem.subject, problem.code, problem.severity, reasons

    def _explained(self, group: Sequence[Problem]) -> Explained:
        first = group[0]
        links = [self.of(problem) for problem in group]
        return Explained(
            subject=first.subject,
            code=first.code,
            severity=first.severity,
            objects=tuple(dict.fromkeys(p.object for p in group)),
            detail=first.detail,
            hint=first.hint,
            via=tuple(link.via if link.by != "object" or len(group) == 1 else "" for link in links[0]),
            because=tuple(
                self.explain(dict.fromkeys(each[i].cause for each in links))[0] for i in range(len(links[0]))
            ),
        )

    def _find(self, problem: Problem) -> tuple[Link, ...]:
        tier = self._rules.tiers.get(problem.code)
        if tier is None:
            return ()
        if (same := self._same_object(problem, tier)) is not None:
            return (same,)
        links = []
        for place in problem.blames:
            candidates = [(p, place) for p in self._by_place.get(place, ())]
            if host_of(place) != place:
                candidates += [(p, host_of(place)) for p in self._by_place.get(host_of(place), ())]
            if nearest := self._nearest(problem, tier, candidates):
                links.append(Link(nearest[0], "place", nearest[1]))
        if links:
            # One cause may be to blame for several places, as a host is for its instances.
            found = {link.cause: link for link in links}
            return tuple(sorted(found.values(), key=lambda link: (link.cause.code, link.cause.object)))
        return self._of_cluster(problem, tier)

    def _same_object(self, problem: Problem, tier: int) -> Link | None:
        codes = self._rules.same_object.get(problem.code, ())
        names = [problem.object, *_TOKEN.findall(problem.detail)] if codes else []
        candidates = [
            (p, name) for name in names for p in self._by_object.get((problem.subject, name), ()) if p.code in codes
        ]
        nearest = self._nearest(problem, tier, candidates)
        return Link(nearest[0], "object", nearest[1]) if nearest else None

    def _of_cluster(self, problem: Problem, tier: int) -> tuple[Link, ...]:
        candidates = [
            (p, problem.cluster)
            for code in self._rules.cluster_wide.get(problem.code, ())
            for p in self._by_code.get((problem.cluster, code), ())
            if p.severity is Severity.CRITICAL or code in self._rules.any_severity
        ]
        nearest = self._nearest(problem, tier, candidates)
        return (Link(nearest[0], "cluster", nearest[1]),) if nearest else ()

    def _nearest(
        self, problem: Problem, tier: int, candidates: Sequence[tuple[Problem, str]]
    ) -> tuple[Problem, str] | None:
        tiers = self._rules.tiers
        below = [c for c in candidates if c[0].code in tiers and tiers[c[0].code] < tier and c[0] != problem]
        return max(below, key=lambda c: (tiers[c[0].code], c[0].severity.rank, c[0].object), default=None)

    def _explains(self, problem: Problem) -> bool:
        return problem.severity is Severity.CRITICAL or problem.code not in self._rules.only_critical


def matching(problems: Iterable[Problem], target: str) -> tuple[Problem, ...]:
    """The problems that a word means: a cluster, `cluster/component`, a code, an object, or a place.

    A host or an instance may be without its cluster and component (`node3`), an object is named whole.
    """
    found = tuple(problems)
    for is_meant in (
        lambda p: target in (p.cluster, p.subject, p.code),
        lambda p: p.object == target,
        lambda p: target in p.blames or any(host_of(name) == target for name in p.blames),
        lambda p: any(name.endswith(f"/{target}") or f"/{target}/" in name for name in p.blames),
        lambda p: p.object.partition("[")[0] == target,
    ):
        if chosen := tuple(p for p in found if is_meant(p)):
            return chosen
    return ()


def _is_wrong(finding: Finding) -> bool:
    return finding.severity in (Severity.WARNING, Severity.CRITICAL)
