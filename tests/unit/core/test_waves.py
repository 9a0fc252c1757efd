"""Gates and waves on arbitrary facts: what may never happen, whatever the cluster looks like."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from bdops.core.gate import Answer, Budget, GateFacts, Obstacle, OneDomain, Verdict, judge
from bdops.core.waves import Candidate, largest_safe_set, plan_waves

NAMES = tuple(f"prod/x/node{i}" for i in range(1, 9))


@st.composite
def facts(draw: st.DrawFn) -> GateFacts:
    budgets = draw(
        st.lists(
            st.builds(
                Budget,
                rule=st.sampled_from(["A", "B"]),
                members=st.frozensets(st.sampled_from(NAMES), max_size=5),
                spare=st.integers(-1, 3),
                objects=st.just(("o-1",)),
                harm=st.just("too few"),
                acceptable=st.booleans(),
            ),
            max_size=6,
        )
    )
    racks = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["r1", "r2", "r3"]), max_size=8))
    obstacles = draw(st.lists(st.sampled_from(NAMES), max_size=2))
    return GateFacts(
        names=frozenset(NAMES),
        budgets=tuple(budgets),
        domains=(OneDomain(rule="R", domain_of=racks, harm="two racks"),) if racks else (),
        obstacles=tuple(
            Obstacle(rule="O", object=n, harm="no", verdict=Verdict.WAIT, instances=frozenset({n})) for n in obstacles
        ),
    )


candidates = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(NAMES),
        rank=st.integers(0, 2),
        rack=st.sampled_from([None, "r1", "r2"]),
    ),
    unique_by=lambda c: c.name,
    max_size=8,
)
modes = st.sampled_from(["auto", "serial", "rack"])


@given(candidates, facts(), modes, st.one_of(st.none(), st.integers(1, 4)), st.booleans())
def test_waves_hold_every_candidate_once_ranks_in_order_and_only_what_may_go_together(
    chosen: list[Candidate], found: GateFacts, mode: str, limit: int | None, canary: bool
) -> None:
    waves = plan_waves(chosen, found, mode=mode, max_parallel=limit, canary=canary)  # type: ignore[arg-type]
    flat = [name for wave in waves for name in wave]
    assert sorted(flat) == sorted(c.name for c in chosen)
    rank = {c.name: c.rank for c in chosen}
    assert [rank[n] for n in flat] == sorted(rank[n] for n in flat)
    for wave in waves:
        assert len(wave) == 1 or judge(found, wave).verdict is Verdict.OK
        assert len(wave) <= (1 if mode == "serial" else limit or len(chosen))
        assert mode != "rack" or len({c.rack for c in chosen if c.name in wave}) == 1
    if canary and waves:
        assert len(waves[0]) == 1


@given(candidates, facts())
def test_the_same_input_gives_the_same_waves(chosen: list[Candidate], found: GateFacts) -> None:
    assert plan_waves(chosen, found) == plan_waves(list(chosen), found)


@given(st.integers(1, 8), st.integers(1, 8))
def test_without_conflicts_the_concurrency_asked_for_is_reached(count: int, limit: int) -> None:
    chosen = [Candidate(name=n) for n in NAMES[:count]]
    waves = plan_waves(chosen, GateFacts(names=frozenset(NAMES)), max_parallel=limit)
    assert len(waves) == -(-count // limit)


@given(facts(), st.lists(st.sampled_from(NAMES), unique=True, max_size=7))
def test_the_largest_safe_set_is_safe_and_none_larger_exists(found: GateFacts, names: list[str]) -> None:
    best = largest_safe_set(names, found)
    assert best.proved
    assert judge(found, best.names).verdict is Verdict.OK
    larger = combinations(names, len(best.names) + 1)
    assert all(judge(found, each).verdict is not Verdict.OK for each in larger)


@given(facts(), st.frozensets(st.sampled_from(NAMES)), st.sampled_from(NAMES))
def test_what_is_not_safe_does_not_become_safe_with_one_more(
    found: GateFacts, names: frozenset[str], more: str
) -> None:
    if names and judge(found, names).verdict is not Verdict.OK:
        assert judge(found, names | {more}).verdict is not Verdict.OK


def quorum(spare: int) -> GateFacts:
    budget = Budget(rule="Q", members=frozenset(NAMES[:3]), spare=spare, objects=("the quorum",), harm="no majority")
    return GateFacts(names=frozenset(NAMES), budgets=(budget,))


def rules(answer: Answer) -> list[str]:
    return [r.rule for r in answer.reasons]


def test_a_quorum_with_one_to_spare_goes_one_by_one() -> None:
    assert judge(quorum(1), NAMES[:1]).verdict is Verdict.OK
    assert judge(quorum(1), NAMES[:2]).verdict is Verdict.REFUSE
    assert plan_waves([Candidate(name=n) for n in NAMES[:3]], quorum(1)) == tuple((n,) for n in NAMES[:3])


def test_an_overdrawn_budget_refuses_its_members_and_nobody_else() -> None:
    assert judge(quorum(0), NAMES[:1]).verdict is Verdict.REFUSE
    assert judge(quorum(-1), NAMES[3:]).verdict is Verdict.OK


def test_only_acceptable_rules_can_be_accepted_and_stay_listed() -> None:
    hard = Budget(rule="HARD", members=frozenset(NAMES), spare=0, objects=("o",), harm="x")
    soft = Budget(rule="SOFT", members=frozenset(NAMES), spare=0, objects=("o",), harm="x", acceptable=True)
    found = GateFacts(names=frozenset(NAMES), budgets=(hard, soft))
    answer = judge(found, NAMES[:1], accepted=("HARD", "SOFT"))
    assert rules(answer) == ["HARD"]
    assert [r.rule for r in answer.accepted] == ["SOFT"]
    assert [r.override for r in judge(found, NAMES[:1]).reasons] == [None, "--accept-risk SOFT"]


def test_those_down_already_keep_other_domains_up() -> None:
    racks = {NAMES[0]: "r1", NAMES[1]: "r1", NAMES[2]: "r2"}
    found = GateFacts(
        names=frozenset(NAMES), domains=(OneDomain(rule="R", domain_of=racks, down=frozenset({NAMES[2]}), harm="x"),)
    )
    assert judge(found, NAMES[:1]).verdict is Verdict.REFUSE
    assert judge(found, (NAMES[3],)).verdict is Verdict.OK


def test_what_is_being_restarted_may_be_silent_without_being_in_the_way_and_still_counts_as_down() -> None:
    silent = Obstacle(
        rule="S", object="node1", harm="silent", verdict=Verdict.UNKNOWN, instances=frozenset(NAMES[1:]), about=NAMES[0]
    )
    found = GateFacts(names=frozenset(NAMES), obstacles=(silent,))
    assert judge(found, NAMES[:2]).verdict is Verdict.UNKNOWN
    assert judge(found, NAMES[:2], in_flight=NAMES[:1]).verdict is Verdict.OK
    tight = GateFacts(names=frozenset(NAMES), obstacles=(silent,), budgets=quorum(1).budgets)
    assert judge(tight, NAMES[:2], in_flight=NAMES[:1]).verdict is Verdict.REFUSE


def test_an_instance_that_the_state_does_not_know_is_unknown() -> None:
    assert judge(GateFacts(names=frozenset()), NAMES[:1]).verdict is Verdict.UNKNOWN


def test_racks_without_common_partitions_go_as_one_wave_each() -> None:
    names = [f"b{i}" for i in range(48)]
    rack = {n: f"r{i % 3}" for i, n in enumerate(names)}
    budgets = tuple(
        Budget(rule="ISR", members=frozenset(trio), spare=1, objects=(f"t-{k}",), harm="under min ISR")
        for k, trio in enumerate(zip(names[0::3], names[1::3], names[2::3], strict=True))
    ) + tuple(
        Budget(rule="ISR", members=frozenset({a, b, c}), spare=1, objects=("t",), harm="under min ISR")
        for a in names[0::3]
        for b in names[1::3][:5]
        for c in names[2::3][:5]
    )
    found = GateFacts(names=frozenset(names), budgets=budgets)
    waves = plan_waves([Candidate(name=n, rack=rack[n]) for n in names], found)
    assert len(waves) == 3
