"""The order of a restart, what clients notice, and when a server is whole again; on made-up and saved ensembles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.state_file import load_state
from bdops.components.zk import lists, order
from bdops.components.zk.actor import ZkActor
from bdops.components.zk.gates import MAX_BEHIND, gate_facts
from bdops.components.zk.settings import Settings, ZkRestartRules
from bdops.components.zk.state import ExpectedServer, ZkState
from bdops.core.actor import Borrowed
from bdops.core.model import Deployment, Host, Instance
from bdops.core.plan import Step, steps_in_waves
from bdops.errors import OperationFailed
from bdops.hosts.ssh import SshPool
from tests.unit.zk.kit import Condition, change, name_of, state_of
from tests.unit.zk.test_gates import OBSERVERS, VOTERS

DATA = Path(__file__).parent / "data"


def saved(name: str) -> ZkState:
    return load_state(DATA / f"{name}.json", {"zk": ZkState})


def names(state: ZkState) -> list[str]:
    return [e.name for e in state.expected or ()]


def ordered(state: ZkState, verb: str = "restart") -> list[str]:
    found = order.targets(state, names(state), verb, max_behind=MAX_BEHIND, verify_write=True)
    return [t.name for t in sorted(found, key=lambda t: t.rank)]


def whole(state: ZkState, number: int) -> str:
    """What is waited for; nothing when the server is whole."""
    progress = order.whole(state, name_of(number), max_behind=MAX_BEHIND)
    assert progress.done == (not progress.waiting_for)
    return progress.waiting_for


def actor_of(rules: ZkRestartRules | None = None) -> ZkActor:
    settings = Settings(restart=rules or ZkRestartRules())
    host = Host(name="node1", address="127.0.0.1")
    instance = Instance(
        cluster="prod", component="zk", host=host, roles=frozenset({"participant"}), settings=settings
    )  # fmt: skip
    return ZkActor(Deployment(cluster="prod", component="zk", instances=(instance,), settings=settings), SshPool())


class TestOrder:
    def test_the_unready_go_first_then_observers_followers_and_the_leader_last(self) -> None:
        state = state_of("leader", "follower", "silent", "refused", "observer", "follower")
        assert ordered(state) == [name_of(n) for n in (3, 4, 5, 2, 6, 1)]

    def test_followers_that_lag_more_go_before_others(self) -> None:
        state = change(state_of("leader", "follower", "follower", "follower"), 3, zxid="0x30000fff0")
        state = change(state, 4, zxid="0x30000fff8")
        assert ordered(state) == [name_of(n) for n in (3, 4, 2, 1)]

    def test_one_that_recovers_keeps_its_place(self) -> None:
        assert ordered(state_of("leader", "joining", "follower", "looking")) == [name_of(n) for n in (2, 3, 4, 1)]

    def test_voters_are_asked_again_who_leads_and_observers_are_not(self) -> None:
        state = state_of("leader", "follower", "follower", "observer")
        found = order.targets(state, names(state), "restart", max_behind=MAX_BEHIND, verify_write=True)
        assert {(t.role, t.leader_last) for t in found} == {("voter", True), ("observer", False)}

    def test_a_write_follows_a_restart_and_a_start_and_no_stop(self) -> None:
        state = state_of("leader", "follower", "follower")
        acts = {
            (verb, write): {
                t.acts for t in order.targets(state, names(state), verb, max_behind=1, verify_write=write)
            }
            for verb in ("restart", "start", "stop")
            for write in (True, False)
        }  # fmt: skip
        assert acts["restart", True] == {("restart", "verify-write")}
        assert acts["start", True] == {("start", "verify-write")}
        assert acts["restart", False] == {("restart",)}
        assert acts["stop", True] == {("stop",)}

    def test_five_voters_go_two_by_two_and_the_leader_by_itself(self) -> None:
        state = state_of("leader", *["follower"] * 4)
        found = order.targets(state, names(state), "restart", max_behind=MAX_BEHIND, verify_write=True)
        waves = steps_in_waves("zk", found, gate_facts(state))
        assert [[s.name for s in wave] for wave in waves] == [
            [name_of(2), name_of(3)],
            [name_of(4), name_of(5)],
            [name_of(1)],
        ]

    @settings(deadline=None)
    @given(st.permutations(["leader", *VOTERS[:1], *VOTERS[3:]]), st.lists(st.sampled_from(OBSERVERS), max_size=2))
    def test_whatever_the_ensemble_everyone_has_one_place_and_who_leads_the_last(
        self, voters: list[Condition], observers: list[Condition]
    ) -> None:
        state = state_of(*voters, *observers)
        found = ordered(state)
        assert sorted(found) == sorted(names(state))
        assert found[-1] == name_of(voters.index("leader") + 1)
        assert found == ordered(replace(state, expected=tuple(reversed(state.expected or ()))))


class TestLeader:
    def test_who_leads_is_told_and_unknown_stays_unknown(self) -> None:
        healthy = saved("healthy")
        assert [order.leads(healthy, name_of(n)) for n in (1, 2, 3)] == [False, False, True]
        paused = saved("leader_paused")
        assert [order.leads(paused, name_of(n)) for n in (1, 2, 3)] == [False, False, None]
        assert order.leads(saved("quorum_lost"), name_of(2)) is False
        assert order.leads(saved("standalone"), name_of(1)) is True


class TestDown:
    def test_those_without_an_answer_are_down_and_those_in_an_election_are_not(self) -> None:
        down = order.down(state_of("leader", "refused", "silent", "garbage", "looking", "joining"))
        assert set(down) == {name_of(2), name_of(3), name_of(4)}
        assert "connection refused" in down[name_of(2)]

    def test_one_that_is_missing_from_the_state_is_down(self) -> None:
        state = saved("healthy")
        assert order.down(replace(state, servers=(state.servers or ())[1:])) == {name_of(1): "not in the state"}


class TestWhole:
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_server_in_step_is_whole(self, number: int) -> None:
        assert whole(saved("healthy"), number) == ""
        assert whole(saved("new_epoch_nothing_written"), number) == ""

    def test_what_is_missing_yet_is_said_with_numbers(self) -> None:
        assert "connection refused" in whole(state_of("leader", "follower", "refused"), 3)
        assert "following - synchronization" in whole(state_of("leader", "follower", "joining"), 3)
        assert "5000 transactions behind node1" in whole(state_of("leader", "follower", "behind"), 3)
        assert "read-only" in whole(saved("read_only"), 1)
        assert whole(saved("leader_paused"), 1) == "a leader"

    def test_a_server_that_follows_another_or_has_another_version_is_not_whole(self) -> None:
        state = state_of("leader", "follower", "follower")
        assert "follows server 9" in whole(change(state, 3, leader_id=9), 3)
        assert "version 100000000; it has 200000000" in whole(change(state, 3, config_version="200000000"), 3)

    def test_the_leader_must_count_it(self) -> None:
        state = change(state_of("leader", "follower", "follower"), 1, synced_followers=1)
        assert whole(state, 3) == "the leader node1 to count 2 followers in step; it counts 1"

    def test_another_server_that_is_down_does_not_keep_one_from_being_whole(self) -> None:
        assert whole(state_of("leader", "follower", "refused"), 2) == ""


class TestConsequences:
    def said(self, state: ZkState, verb: str, *numbers: int) -> str:
        return "\n".join(order.consequences(state, [name_of(n) for n in numbers], verb, max_behind=MAX_BEHIND))

    def test_clients_that_move_are_counted_and_an_election_is_told(self) -> None:
        state = state_of("leader", "follower", "follower")
        said = self.said(state, "restart", 1, 2)
        assert "30 client connections will move to another server (node1 10, node2 20)" in said
        assert "node1 leads, and stops last: one election" in said
        assert "election" not in self.said(state, "restart", 2, 3)

    def test_what_stays_after_a_stop_is_told_and_a_start_costs_nothing(self) -> None:
        state = state_of("leader", "follower", "follower")
        assert "2 of 3 voters stay in step, 2 are needed: 0 more may fail" in self.said(state, "stop", 2)
        assert self.said(state, "start", 2) == ""
        assert "votes" not in self.said(state_of("leader", "follower", "follower", "observer"), "stop", 4)

    def test_one_that_stands_alone_is_an_outage(self) -> None:
        assert "nothing is served until it is back" in self.said(saved("standalone"), "restart", 1)


class TestActor:
    step = Step(id="0001", component="zk", name=name_of(1), acts=("restart", "verify-write"), instance=name_of(1))

    def test_the_identity_is_the_voters_and_not_known_without_an_answer(self) -> None:
        actor = actor_of()
        healthy = actor.identity(saved("healthy"))
        assert healthy == "1=10.0.0.1:2888:3888 2=10.0.0.2:2888:3888 3=10.0.0.3:2888:3888"
        assert actor.identity(saved("follower_down")) == healthy
        assert actor.identity(saved("member_unknown_to_the_inventory")) != healthy
        assert actor.identity(saved("quorum_lost")) is None
        assert actor.identity(saved("standalone")) == "standalone prod/zk/node1"

    def test_a_write_that_was_not_made_is_pending_whatever_the_state(self) -> None:
        progress = actor_of().progress(saved("healthy"), self.step, "verify-write", {})
        assert not progress.done

    def test_the_limit_of_the_settings_counts(self) -> None:
        state = state_of("leader", "follower", "behind", missing=50)
        assert actor_of().progress(state, replace(self.step, instance=name_of(3)), "restart", {}).done
        strict = actor_of(ZkRestartRules(max_behind=10))
        assert not strict.progress(state, replace(self.step, instance=name_of(3)), "restart", {}).done
        assert strict.gate(state, {}).budgets != actor_of().gate(state, {}).budgets

    def test_nothing_is_borrowed_so_that_nothing_can_be_put_back(self) -> None:
        with pytest.raises(OperationFailed, match="lends nothing"):
            actor_of().restore(Borrowed(component="zk", object="x", key="y", previous=None, value="z"))


class TestConfig:
    def test_equal_copies_are_ok_and_the_numbers_are_told(self) -> None:
        report = lists.config(saved("observer"))
        assert report.status == "ok"
        assert report.facts["voters"] == 3
        assert report.facts["observers"] == 1
        assert report.facts["needed"] == 2
        assert [row["role"] for row in report.tables[0].rows][-1] == "observer"

    def test_a_copy_that_differs_is_shown_beside_the_leaders(self) -> None:
        report = lists.config(saved("other_voters"))
        assert report.status == "warning"
        assert report.facts["differences"] == 1
        rows = {row["server"]: row for row in report.tables[1].rows}
        assert rows["node2"]["same"] is False
        assert "10.0.0.9" in rows["node2"]["note"]
        older = {row["server"]: row for row in lists.config(saved("older_configuration")).tables[1].rows}
        assert "version" in older["node2"]["note"]

    def test_members_and_instances_that_know_nothing_of_each_other_are_told(self) -> None:
        report = lists.config(saved("member_unknown_to_the_inventory"))
        rows = {row["server"]: row for row in report.tables[0].rows}
        assert rows["server.5"]["note"] == "in the configuration, not in the inventory"
        state = saved("healthy")
        extra = ExpectedServer(name="prod/zk/node9", host="node9", address="10.0.0.9")
        report = lists.config(replace(state, expected=(*(state.expected or ()), extra)))
        rows = {row["server"]: row for row in report.tables[0].rows}
        assert rows["node9"]["note"] == "in the inventory, not in the configuration"

    def test_a_server_that_was_not_read_is_no_difference_but_not_ok_either(self) -> None:
        report = lists.config(saved("follower_down"))
        assert (report.status, report.facts["differences"], report.facts["unread"]) == ("warning", 0, ["node2"])

    def test_nothing_read_is_unknown(self) -> None:
        assert lists.config(saved("quorum_lost")).status == "unknown"
