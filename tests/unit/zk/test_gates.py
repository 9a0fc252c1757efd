"""What may be stopped: one hand-made state for every rule, and random ensembles against a model by brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.state_file import load_state
from bdops.components.zk.component import COMPONENT
from bdops.components.zk.gates import RULES, gate_facts
from bdops.components.zk.state import Member, ZkState
from bdops.core.gate import Answer, Verdict, judge
from bdops.core.waves import largest_safe_set
from tests.unit.zk.kit import ERRORS, Condition, change, name_of, state_of

DATA = Path(__file__).parent / "data"
DOCS = Path(__file__).parents[3] / "docs" / "zk.md"
ALL_RULES = tuple(RULES)


def saved(name: str) -> ZkState:
    return load_state(DATA / f"{name}.json", {"zk": ZkState})


def ask(state: ZkState, *numbers: int, accepted: tuple[str, ...] = ()) -> Answer:
    return judge(gate_facts(state), [name_of(n) for n in numbers], accepted)


def told(answer: Answer) -> set[tuple[str, str, bool]]:
    """Rule, verdict and whether it may be accepted, of every reason."""
    return {(r.rule, r.verdict.value, r.acceptable) for r in answer.reasons}


def no_leader() -> ZkState:
    return state_of("looking", "looking", "looking")


def follows_another() -> ZkState:
    return change(state_of("leader", "follower", "follower"), 3, leader_id=9)


def untold(**fields: object) -> ZkState:
    return change(state_of("leader", "follower", "follower"), 1, **fields)


def other_members(number: int, *members: Member) -> ZkState:
    return change(state_of("leader", "follower", "follower"), number, members=members)


# State, who is asked about, and every reason against it.
TABLE: dict[str, tuple[Callable[[], ZkState], tuple[int, ...], set[tuple[str, str, bool]]]] = {
    "a follower of three": (lambda: saved("healthy"), (1,), set()),
    "the leader of three": (lambda: saved("healthy"), (3,), set()),
    "two of three": (lambda: saved("healthy"), (1, 2), {("ZK_QUORUM", "refuse", False)}),
    "two of five": (lambda: state_of("leader", *["follower"] * 4), (2, 3), set()),
    "three of five": (lambda: state_of("leader", *["follower"] * 4), (2, 3, 4), {("ZK_QUORUM", "refuse", False)}),
    "two of four is no majority": (
        lambda: state_of("leader", *["follower"] * 3),
        (2, 3),
        {("ZK_QUORUM", "refuse", False)},
    ),
    "one more where one is down": (lambda: saved("follower_down"), (1,), {("ZK_QUORUM", "refuse", False)}),
    "the one that is down": (lambda: saved("follower_down"), (2,), set()),
    "an observer costs no vote": (lambda: saved("observer"), (4,), set()),
    "an observer and a follower": (lambda: saved("observer"), (4, 1), set()),
    "all observers at once": (
        lambda: state_of("leader", "follower", "follower", "observer", "observer"),
        (4, 5),
        {("ZK_OBSERVERS", "refuse", False)},
    ),
    "the last observer that serves": (
        lambda: state_of("leader", "follower", "follower", "observer", "observer refused"),
        (4,),
        set(),
    ),
    "a follower beside one that is synchronizing": (
        lambda: saved("synchronizing"),
        (1,),
        {("ZK_QUORUM", "wait", False)},
    ),
    "two beside one that is synchronizing": (
        lambda: saved("synchronizing"),
        (1, 3),
        {("ZK_QUORUM", "wait", False), ("ZK_QUORUM", "refuse", False)},
    ),
    "the one that is synchronizing": (lambda: saved("synchronizing"), (2,), {("ZK_RECOVERING", "wait", True)}),
    "one far behind": (
        lambda: state_of("leader", "follower", "behind"),
        (3,),
        {("ZK_LAGGING", "wait", True)},
    ),
    "another than the one far behind": (
        lambda: state_of("leader", "follower", "behind"),
        (2,),
        {("ZK_QUORUM", "wait", False)},
    ),
    "one whose vote holds the quorum, far behind": (
        lambda: state_of("leader", "refused", "behind"),
        (3,),
        {("ZK_LAGGING", "wait", True), ("ZK_QUORUM", "wait", False), ("ZK_QUORUM", "refuse", False)},
    ),
    "another than a silent one": (
        lambda: state_of("leader", *["follower"] * 3, "silent"),
        (2,),
        {("ZK_UNREAD", "unknown", True)},
    ),
    "the silent one itself": (lambda: state_of("leader", "follower", "silent"), (3,), set()),
    "the silent one where it may be what holds the quorum": (
        lambda: state_of("leader", "refused", "silent"),
        (3,),
        {("ZK_QUORUM", "refuse", False)},
    ),
    "another than one that speaks another protocol": (
        lambda: state_of("leader", *["follower"] * 3, "garbage"),
        (2,),
        {("ZK_UNREAD", "unknown", True)},
    ),
    "another than one whose zxid is missing": (
        lambda: state_of("leader", *["follower"] * 3, "zxid missing"),
        (2,),
        {("ZK_UNREAD", "unknown", True)},
    ),
    "beside a member that the inventory does not have": (
        lambda: state_of("leader", *["follower"] * 3, "stranger"),
        (2,),
        {("ZK_STRANGER", "unknown", True)},
    ),
    "one of the inventory that is missing from the state": (
        lambda: replace(saved("healthy"), servers=(saved("healthy").servers or ())[1:]),
        (3,),
        {("ZK_UNREAD", "unknown", True), ("ZK_QUORUM", "refuse", False)},
    ),
    "nothing was read": (
        lambda: replace(saved("healthy"), servers=None, unread={"servers": "no answer"}),
        (1,),
        {("ZK_STATE_UNREAD", "unknown", False)},
    ),
    "groups and weights": (
        lambda: change(saved("healthy"), 1, weighted=True),
        (2,),
        {("ZK_WEIGHTED", "unknown", False)},
    ),
    "a membership that is not told": (
        lambda: change(saved("healthy"), 1, members=None),
        (2,),
        {("ZK_CONFIG_UNREAD", "unknown", False)},
    ),
    "a version that is not told": (
        lambda: change(saved("healthy"), 1, config_version=None),
        (2,),
        {("ZK_CONFIG_UNREAD", "unknown", True)},
    ),
    "whether there are weights is not told": (
        lambda: change(saved("healthy"), 1, weighted=None),
        (2,),
        {("ZK_CONFIG_UNREAD", "unknown", True)},
    ),
    "another membership": (lambda: saved("other_voters"), (1,), {("ZK_CONFIG_DIFFERS", "refuse", True)}),
    "the one with another membership": (lambda: saved("other_voters"), (2,), set()),
    "an older version": (lambda: saved("older_configuration"), (1,), {("ZK_CONFIG_VERSION", "wait", True)}),
    "the one with the older version": (lambda: saved("older_configuration"), (2,), set()),
    "an election": (
        no_leader,
        (1,),
        {
            ("ZK_LEADER", "wait", False),
            ("ZK_RECOVERING", "wait", True),
            ("ZK_QUORUM", "wait", False),
        },
    ),
    "the leader is paused": (lambda: saved("leader_paused"), (3,), {("ZK_LEADER", "unknown", False)}),
    "two leaders": (
        lambda: saved("two_leaders"),
        (2,),
        {("ZK_LEADER", "wait", False), ("ZK_SYNCED_FOLLOWERS", "wait", True)},
    ),
    "one that stands alone beside the ensemble": (
        lambda: saved("instance_without_a_vote"),
        (1,),
        {("ZK_LEADER", "refuse", False)},
    ),
    "one that follows another leader": (follows_another, (2,), {("ZK_LEADER", "wait", False)}),
    "no synced followers told": (
        lambda: untold(synced_followers=None),
        (2,),
        {("ZK_LEADER_UNTOLD", "unknown", True)},
    ),
    "no pending syncs told": (lambda: untold(pending_syncs=None), (2,), {("ZK_LEADER_UNTOLD", "unknown", True)}),
    "the leader counts fewer": (lambda: untold(synced_followers=1), (2,), {("ZK_SYNCED_FOLLOWERS", "wait", True)}),
    "the leader counts one that refuses connections": (
        lambda: change(state_of("leader", "follower", "refused"), 1, synced_followers=2),
        (3,),
        {("ZK_SYNCED_FOLLOWERS", "unknown", True)},
    ),
    "syncs are pending": (lambda: untold(pending_syncs=3), (2,), {("ZK_PENDING_SYNCS", "wait", True)}),
    "one that stands alone": (lambda: saved("standalone"), (1,), {("ZK_NO_SPARE", "refuse", True)}),
    "one of two": (lambda: state_of("leader", "follower"), (2,), {("ZK_NO_SPARE", "refuse", True)}),
    "one of two where the other is down": (
        lambda: state_of("leader", "refused"),
        (1,),
        {("ZK_QUORUM", "refuse", False)},
    ),
    "read-only": (
        lambda: change(saved("read_only"), 1, members=saved("healthy").servers[0].members, weighted=False),  # type: ignore[index]
        (1,),
        {
            ("ZK_LEADER", "wait", False),
            ("ZK_RECOVERING", "wait", True),
            ("ZK_QUORUM", "wait", False),
            ("ZK_QUORUM", "refuse", False),
        },
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_state_is_judged_as_expected(case: str) -> None:
    make, numbers, expected = TABLE[case]
    assert told(ask(make(), *numbers)) == expected


def test_every_rule_has_a_state_that_shows_it_and_a_line_in_the_docs() -> None:
    shown = {rule for _, _, reasons in TABLE.values() for rule, _, _ in reasons}
    assert shown == set(RULES)
    page = DOCS.read_text()
    assert [rule for rule in RULES if f"| {rule} |" not in page] == []


def test_a_refusal_names_the_numbers_who_is_missing_and_why() -> None:
    (reason,) = ask(saved("follower_down"), 1).reasons
    assert "2 of 3 voters in step, 2 needed, none may stop" in reason.harm
    assert "node2: connection refused" in reason.harm


def test_no_saved_state_breaks_the_gate_and_what_is_down_costs_nothing() -> None:
    for file in DATA.glob("*.json"):
        state = saved(file.stem)
        facts = gate_facts(state)
        assert facts.names == {e.name for e in state.expected or ()} | {s.name for s in state.servers or ()}
        for server in state.servers or ():
            if server.error_code == "ZK_REFUSED":
                assert judge(facts, [server.name]).verdict is Verdict.OK, file.stem


def test_the_component_asks_the_same_gate() -> None:
    assert COMPONENT.gate is not None
    assert COMPONENT.gate(saved("follower_down")) == gate_facts(saved("follower_down"))


# -- random ensembles ------------------------------------------------------------------------------------------

VOTERS: tuple[Condition, ...] = (
    "follower",
    "follower",
    "follower",
    "behind",
    "joining",
    "looking",
    "refused",
    "silent",
    "garbage",
    "zxid missing",
    "stranger",
)
OBSERVERS: tuple[Condition, ...] = ("observer", "observer refused")


@st.composite
def ensembles(draw: st.DrawFn) -> list[Condition]:
    """Up to seven voters, most often with a leader, and observers."""
    first = draw(st.sampled_from(["leader", "leader", "leader", "looking", "silent"]))
    voters = draw(st.lists(st.sampled_from(VOTERS), max_size=6))
    observers = draw(st.lists(st.sampled_from(OBSERVERS), max_size=2))
    return draw(st.permutations([first, *voters])) + observers  # type: ignore[return-value]


def candidates(conditions: list[Condition]) -> list[int]:
    return [n for n, c in enumerate(conditions, start=1) if c != "stranger"]


def votes_left(conditions: list[Condition], gone: tuple[int, ...]) -> int:
    """The model: voters known to be in step with a leader that is known, once `gone` are down."""
    if "leader" not in conditions:
        return 0
    return sum(c in ("leader", "follower") for n, c in enumerate(conditions, start=1) if n not in gone)


def voters_of(conditions: list[Condition]) -> int:
    return sum(not c.startswith("observer") for c in conditions)


def takes_a_vote(conditions: list[Condition], gone: tuple[int, ...]) -> bool:
    """Whether a voter's process is among those that go."""
    return any(conditions[n - 1] != "refused" and not conditions[n - 1].startswith("observer") for n in gone)


@settings(deadline=None)
@given(ensembles(), st.booleans())
def test_what_is_ok_never_takes_the_quorum_whatever_risks_are_accepted(
    conditions: list[Condition], accepts: bool
) -> None:
    facts = gate_facts(state_of(*conditions))
    everyone = candidates(conditions)
    # Ensembles without a spare by design are accepted with ZK_NO_SPARE, and then do lose their quorum.
    accepted = tuple(set(ALL_RULES) - {"ZK_NO_SPARE"}) if accepts else ()
    majority = voters_of(conditions) // 2 + 1
    for size in range(1, len(everyone) + 1):
        for gone in combinations(everyone, size):
            if judge(facts, [name_of(n) for n in gone], accepted).verdict is not Verdict.OK:
                continue
            if takes_a_vote(conditions, gone):
                assert votes_left(conditions, gone) >= majority, (conditions, gone)


@settings(deadline=None)
@given(ensembles())
def test_what_is_not_known_forbids_stopping_anyone_else(conditions: list[Condition]) -> None:
    facts = gate_facts(state_of(*conditions))
    told = not all(c in ERRORS or c in ("stranger", "observer refused") for c in conditions)
    # That there is a stranger is known as long as anyone tells the configuration.
    doubtful = ("silent", "garbage", "zxid missing", *(("stranger",) if told else ()))
    unknown = {n for n, c in enumerate(conditions, start=1) if c in doubtful}
    for n in candidates(conditions):
        if unknown - {n} and not conditions[n - 1].endswith("refused"):
            assert judge(facts, [name_of(n)]).verdict is Verdict.UNKNOWN, (conditions, n)


@settings(deadline=None)
@given(st.integers(3, 9), st.integers(0, 4))
def test_of_a_healthy_ensemble_as_many_may_stop_as_are_to_spare_and_no_more(voters: int, down: int) -> None:
    spare = voters - down - (voters // 2 + 1)
    conditions: list[Condition] = ["leader", *["follower"] * (voters - 1 - down), *["refused"] * down]  # type: ignore[list-item]
    if len(conditions) != voters:
        return
    facts = gate_facts(state_of(*conditions))
    alive = [name_of(n) for n, c in enumerate(conditions, start=1) if c != "refused"]
    best = largest_safe_set(alive, facts)
    assert best.proved
    assert len(best.names) == max(0, spare)
