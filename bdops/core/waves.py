"""Waves: which instances go down together, and in which order. Pure; the same input gives the same waves.

First by rank (unready ones, followers, the leader); within a rank as many at once as the gate proves safe
*together*. Packing instances into the fewest waves is graph colouring; a few greedy orders are tried and the
best is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from bdops.core.gate import Budget, GateFacts, OneDomain, Verdict, judge

WaveMode = Literal["auto", "serial", "rack"]

MAX_SEARCH_STEPS = 20_000
"""Steps of the search for the largest safe set after which the best one found is taken, unproved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An instance that is to go down. Lower ranks go first; `rack` is its failure domain, if it has one."""

    name: str
    rank: int = 0
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class SafeSet:
    """A set that may go down together; `proved`: no larger one exists."""

    names: tuple[str, ...]
    proved: bool


def plan_waves(
    candidates: Sequence[Candidate],
    facts: GateFacts,
    *,
    mode: WaveMode = "auto",
    max_parallel: int | None = None,
    canary: bool = False,
    accepted: Collection[str] = (),
) -> tuple[tuple[str, ...], ...]:
    """Every candidate in exactly one wave, ranks in order.

    `auto` packs each rank into the fewest waves found; `rack` keeps the racks apart and packs each; `serial`
    is one by one. `canary` makes the first wave one instance. An instance that may not go down even alone
    gets a wave of its own: the gate before its act decides.
    """
    limit = 1 if mode == "serial" else max(1, max_parallel or len(candidates))
    waves: list[tuple[str, ...]] = []
    ordered = sorted(candidates, key=lambda c: c.rank)
    if canary and ordered:
        waves.append((ordered[0].name,))
        ordered = ordered[1:]
    index = _Index.of(facts, [c.name for c in ordered], accepted)
    for _, same in groupby(ordered, key=lambda c: c.rank):
        rank = list(same)
        if mode == "rack":
            for rack in dict.fromkeys(c.rack for c in rank):
                waves += _pack([c for c in rank if c.rack == rack], index, limit)
        else:
            waves += _pack(rank, index, limit)
    return tuple(waves)


def largest_safe_set(candidates: Sequence[str], facts: GateFacts, accepted: Collection[str] = ()) -> SafeSet:
    """The most candidates that may go down together; of equally large ones the first found.

    Exact by branch and bound while that takes few steps, else the best that was found, unproved.
    """
    index = _Index.of(facts, candidates, accepted)
    alone = [name for name in candidates if name not in index.bad_alone]
    best = max((_first_fit(order, index, len(order))[0] for order in index.orders(alone) if order), key=len, default=[])
    steps = 0

    def search(room: _Room, rest: Sequence[str]) -> None:
        nonlocal best, steps
        steps += 1
        if len(room.chosen) > len(best):
            best = list(room.chosen)
        fitting = [name for name in rest if room.fits(name)]
        for i, name in enumerate(fitting):
            if steps > MAX_SEARCH_STEPS or len(room.chosen) + len(fitting) - i <= len(best):
                return
            room.add(name)
            search(room, fitting[i + 1 :])
            room.remove(name)

    search(_Room(index), alone)
    position = {name: i for i, name in enumerate(candidates)}
    return SafeSet(tuple(sorted(best, key=position.__getitem__)), proved=steps <= MAX_SEARCH_STEPS)


def _pack(candidates: Sequence[Candidate], index: _Index, limit: int) -> list[tuple[str, ...]]:
    names = [c.name for c in candidates]
    if limit == 1:
        return [(name,) for name in names]
    racks = list(dict.fromkeys(c.rack for c in candidates))
    by_rack = [c.name for c in sorted(candidates, key=lambda c: racks.index(c.rack))]
    packings: list[list[tuple[str, ...]]] = []
    for order in (by_rack, *index.orders(names)):
        waves = []
        rest = list(order)
        while rest:
            wave, rest = _first_fit(rest, index, limit)
            waves.append(tuple(wave))
        packings.append(waves)
    position = {name: i for i, name in enumerate(names)}
    return [tuple(sorted(wave, key=position.__getitem__)) for wave in min(packings, key=len)]


def _first_fit(names: Sequence[str], index: _Index, limit: int) -> tuple[list[str], list[str]]:
    """The first wave of an order, and who is left. The first always goes; one that is bad alone goes by itself."""
    room = _Room(index)
    room.add(names[0])
    rest = []
    for name in names[1:]:
        if len(room.chosen) < limit and names[0] not in index.bad_alone and room.fits(name):
            room.add(name)
        else:
            rest.append(name)
    return room.chosen, rest


@dataclass(frozen=True, slots=True)
class _Index:
    """The constraints that can bind, by instance: many waves are tried, and each looks only at what it touches."""

    budgets_of: Mapping[str, tuple[Budget, ...]]
    domains_of: Mapping[str, tuple[OneDomain, ...]]
    bad_alone: frozenset[str]

    @classmethod
    def of(cls, facts: GateFacts, names: Sequence[str], accepted: Collection[str]) -> _Index:
        wanted = frozenset(names)
        budgets: dict[str, list[Budget]] = {name: [] for name in names}
        domains: dict[str, list[OneDomain]] = {name: [] for name in names}
        for budget in facts.budgets:
            hit = budget.members & wanted
            if len(hit) > budget.spare and not (budget.acceptable and budget.rule in accepted):
                for name in hit:
                    budgets[name].append(budget)
        for domain in facts.domains:
            if not (domain.acceptable and domain.rule in accepted):
                for name in domain.domain_of.keys() & wanted:
                    domains[name].append(domain)
        bad = {name for name in names if judge(facts, (name,), accepted).verdict is not Verdict.OK}
        return cls(
            {name: tuple(found) for name, found in budgets.items()},
            {name: tuple(found) for name, found in domains.items()},
            frozenset(bad),
        )

    def orders(self, names: Sequence[str]) -> list[list[str]]:
        """As given, and those with the most neighbours first and last (Welsh and Powell's order for colouring)."""
        near = {name: len({m for b in self.budgets_of[name] for m in b.members}) for name in names}
        return [list(names), sorted(names, key=lambda n: -near[n]), sorted(names, key=lambda n: near[n])]


class _Room:
    """What is left of each budget while a set of instances is put together."""

    def __init__(self, index: _Index) -> None:
        self.chosen: list[str] = []
        self._index = index
        self._taken: dict[int, int] = {}

    def fits(self, name: str) -> bool:
        if name in self._index.bad_alone:
            return False
        if any(self._taken.get(id(b), 0) >= b.spare for b in self._index.budgets_of[name]):
            return False
        return all(
            domain.domain_of.get(other, domain.domain_of[name]) == domain.domain_of[name]
            for domain in self._index.domains_of[name]
            for other in self.chosen
        )

    def add(self, name: str) -> None:
        self.chosen.append(name)
        self._count(name, 1)

    def remove(self, name: str) -> None:
        self.chosen.remove(name)
        self._count(name, -1)

    def _count(self, name: str, by: int) -> None:
        for budget in self._index.budgets_of[name]:
            self._taken[id(budget)] = self._taken.get(id(budget), 0) + by
