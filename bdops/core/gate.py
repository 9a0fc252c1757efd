"""Gates: may these instances go down now, together? Pure arithmetic over facts that a component reads off its state.

A component turns its state into `GateFacts`: budgets (of these members at most so many more may go down),
domains (only members of one of them may go down together) and obstacles (whoever goes, this forbids it).
One function judges any set of instances by them, so `can-stop`, the waves of a restart and the gate right
before each act cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from bdops.core.units import listed


class Verdict(Enum):
    """In order of badness. `exit_code` is that of `can-stop`."""

    OK = "ok"
    WAIT = "wait"
    """Not now, but it is expected to pass by itself; a job waits for a while, then refuses."""
    REFUSE = "refuse"
    UNKNOWN = "unknown"
    """It cannot be told, hence refused."""

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "wait": 1, "refuse": 2, "unknown": 3}[self.value]

    @property
    def rank(self) -> int:
        return self.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Of `members` at most `spare` more may go down at once; those that are down already are counted in `spare`.

    `objects` are what is hurt beyond that (partitions, shards, `the quorum`), in the component's own words.
    `spare` is negative when it is overdrawn already. `harm` says what would happen, with the numbers.
    `acceptable`: `--accept-risk RULE` may override it.
    """

    rule: str
    members: frozenset[str]
    spare: int
    objects: tuple[str, ...] = ()
    harm: str
    verdict: Verdict = Verdict.REFUSE
    acceptable: bool = False


def with_objects(shared: Mapping[Budget, Iterable[str]]) -> Iterator[Budget]:
    """Budgets that many objects share, each once, with all of its own. `shared` has them without."""
    for budget, objects in shared.items():
        yield replace(budget, objects=tuple(objects))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneDomain:
    """Members of one domain only (a rack, an update domain) may be down at the same time.

    `domain_of` maps each member to its domain; `down` are those that are down already, with their domains.
    """

    rule: str
    domain_of: Mapping[str, str]
    harm: str
    down: frozenset[str] = frozenset()
    verdict: Verdict = Verdict.REFUSE
    acceptable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What forbids a stop of `instances` (None: of any) by itself: a red cluster, a reading that is missing.

    `about` is the instance that it is about, where it is one's own state (silent, recovering) that is in the way.
    """

    rule: str
    object: str
    harm: str
    verdict: Verdict
    instances: frozenset[str] | None = None
    acceptable: bool = False
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """Everything that a component's gate knows of one state. `names` are the instances that it can speak about."""

    names: frozenset[str]
    budgets: tuple[Budget, ...] = ()
    domains: tuple[OneDomain, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why not: the rule, what would be hurt, how, and by which of the candidates. `override`: its option, if any."""

    rule: str
    verdict: Verdict
    objects: tuple[str, ...]
    harm: str
    instances: tuple[str, ...]
    acceptable: bool = False

    @property
    def override(self) -> str | None:
        return f"--accept-risk {self.rule}" if self.acceptable else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A gate's answer about `candidates` going down together. `accepted` are reasons that the operator overrode."""

    candidates: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()
    accepted: tuple[Reason, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        return worst_verdict(r.verdict for r in self.reasons)


def describe(reason: Reason) -> str:
    """`KAFKA_MIN_ISR: 3 objects (orders-1, orders-2, ...): 2 of 3 in sync, min ISR 2`."""
    return f"{reason.rule}: {listed(reason.objects, 4)}: {reason.harm}"


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; OK for none."""
    return max(verdicts, key=lambda v: v.rank, default=Verdict.OK)


def judge(
    facts: GateFacts, candidates: Collection[str], accepted: Collection[str] = (), *, in_flight: Collection[str] = ()
) -> Answer:
    """May all `candidates` (instance names) be down at the same time, besides what is down already?

    `in_flight` are those of them that are being restarted: that they are silent or recovering is no news, and
    is not held against the others. The budgets count them as down.

    `accepted` are the rules that the operator overrides; only acceptable ones are. An instance that the facts
    do not know is UNKNOWN.
    """
    chosen = frozenset(candidates)
    reasons = [*_strangers(facts, chosen)]
    for obstacle in facts.obstacles:
        if obstacle.about in in_flight:
            continue
        if obstacle.instances is None or obstacle.instances & chosen:
            hit = chosen if obstacle.instances is None else obstacle.instances & chosen
            reasons.append(_reason(obstacle, (obstacle.object,), hit))
    for budget in facts.budgets:
        hit = budget.members & chosen
        # An overdrawn budget is not hurt by those who are no part of it.
        if hit and len(hit) > budget.spare:
            reasons.append(_reason(budget, budget.objects, hit))
    for domain in facts.domains:
        touched = {domain.domain_of[name] for name in (chosen | domain.down) & domain.domain_of.keys()}
        hit = chosen & domain.domain_of.keys()
        if hit and len(touched) > 1:
            reasons.append(_reason(domain, tuple(sorted(touched)), hit))
    return answer(sorted(chosen), reasons, accepted)


def answer(candidates: Iterable[str], reasons: Iterable[Reason], accepted: Collection[str]) -> Answer:
    """The reasons, but for those that the operator overrides by their rules (`accepted`); only acceptable ones are."""
    against: list[Reason] = []
    overridden: list[Reason] = []
    for reason in reasons:
        (overridden if reason.acceptable and reason.rule in accepted else against).append(reason)
    return Answer(candidates=tuple(candidates), reasons=tuple(against), accepted=tuple(overridden))


def _strangers(facts: GateFacts, chosen: frozenset[str]) -> Iterable[Reason]:
    if strangers := tuple(sorted(chosen - facts.names)):
        yield Reason(
            rule="INSTANCE_UNKNOWN",
            verdict=Verdict.UNKNOWN,
            objects=strangers,
            harm="the state says nothing about it",
            instances=strangers,
        )


def _reason(constraint: Budget | OneDomain | Obstacle, objects: tuple[str, ...], hit: Iterable[str]) -> Reason:
    return Reason(
        rule=constraint.rule,
        verdict=constraint.verdict,
        objects=objects,
        harm=constraint.harm,
        instances=tuple(sorted(hit)),
        acceptable=constraint.acceptable,
    )
