"""The order of a restart, what clients notice, and when an act has had its effect; on hand-made states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bdops.components.hdfs import order
from bdops.components.hdfs.actor import HdfsActor, failover_targets, heir
from bdops.components.hdfs.gates import gate_facts
from bdops.components.hdfs.progress import baseline, progress
from bdops.components.hdfs.settings import HdfsRules, Settings
from bdops.components.hdfs.standing import View
from bdops.core.actor import Borrowed
from bdops.core.model import Deployment
from bdops.core.plan import Step, steps_in_waves
from bdops.errors import OperationFailed, Refused, UsageError
from bdops.hosts.ssh import SshPool
from tests.unit.hdfs.test_states import state_of

GONE = {"error": "Connection refused", "error_kind": "not_running"}


def view_of(changes: dict[str, Any], folder: Path) -> View:
    return View(state_of(changes, folder))


def name_of(short: str) -> str:
    return f"prod/hdfs/{short}"


def short(name: str) -> str:
    return name.removeprefix("prod/hdfs/")


def step_of(view: View, name: str, verb: str = "restart") -> Step:
    (target,) = order.targets(view, [name_of(name)], verb)
    return Step(id="0001", component="hdfs", name=target.name, acts=target.acts, instance=target.name, role=target.role)


def waiting(view: View, name: str, act: str, before: dict[str, Any] | None = None) -> str:
    """What is waited for; nothing when the act has had its effect."""
    found = progress(view, step_of(view, name), act, before or {})
    assert found.done == (not found.waiting_for)
    return found.waiting_for


class TestOrder:
    def test_journals_standby_failover_former_active_datanodes_by_rack(self, tmp_path: Path) -> None:
        view = view_of({}, tmp_path)
        targets = order.targets(view, sorted(view.names), "restart")
        waves = steps_in_waves("hdfs", targets, gate_facts(view.state))
        assert [[short(s.name) for s in wave] for wave in waves] == [
            ["node1/journalnode"],
            ["node2/journalnode"],
            ["node3/journalnode"],
            ["node2/zkfc"],
            ["node1/namenode"],  # the engine puts it behind the other: it leads
            ["node2/namenode"],
            ["node1/zkfc"],
            ["node1/datanode", "node2/datanode"],
            ["node3/datanode", "node4/datanode"],
        ]
        assert {s.name: s.leader_last for w in waves for s in w if s.role == "namenode"} == {
            name_of("node1/namenode"): True,
            name_of("node2/namenode"): True,
        }

    def test_a_namenode_and_a_controller_fail_over_before_they_go(self, tmp_path: Path) -> None:
        view = view_of({}, tmp_path)
        acts = {short(t.name): t.acts for t in order.targets(view, sorted(view.names), "restart")}
        assert acts["node1/namenode"] == acts["node2/zkfc"] == ("failover", "restart")
        assert acts["node1/journalnode"] == ("restart", "roll-edits")
        assert acts["node1/datanode"] == ("shutdown-upgrade", "restart")

    def test_what_is_down_is_started_first_in_the_order_that_others_need(self, tmp_path: Path) -> None:
        view = view_of(
            {
                "journalnodes.2": {"instance": name_of("node3/journalnode"), **GONE},
                "namenodes.1": {"instance": name_of("node2/namenode"), **GONE},
                "datanode_probes": [{"instance": name_of("node4/datanode"), **GONE}],
            },
            tmp_path,
        )
        names = [short(t.name) for t in order.targets(view, sorted(view.names), "restart")]
        assert names[:4] == ["node3/journalnode", "node2/namenode", "node4/datanode", "node1/journalnode"]

    def test_a_journalnode_that_was_left_behind_goes_before_the_others(self, tmp_path: Path) -> None:
        view = view_of({"journal_streams.2.out_of_sync": True}, tmp_path)
        first = order.targets(view, sorted(view.names), "restart")[0]
        assert short(first.name) == "node3/journalnode"

    def test_a_start_brings_up_what_others_need_first(self, tmp_path: Path) -> None:
        view = view_of({}, tmp_path)
        roles = [t.role for t in order.targets(view, sorted(view.names), "start")]
        assert list(dict.fromkeys(roles)) == ["journalnode", "namenode", "zkfc", "datanode"]

    def test_a_namenode_without_another_has_nobody_to_fail_over_to(self, tmp_path: Path) -> None:
        view = view_of({"expected.4": "remove", "namenodes.1": "remove"}, tmp_path)
        assert step_of(view, "node1/namenode").acts == ("restart",)

    def test_who_leads(self, tmp_path: Path) -> None:
        view = view_of({"namenodes.1": {"instance": name_of("node2/namenode"), **GONE}}, tmp_path)
        found = {n: order.leads_now(view, name_of(n)) for n in ("node1/namenode", "node1/zkfc", "node1/datanode")}
        assert found == {"node1/namenode": True, "node1/zkfc": True, "node1/datanode": False}
        assert order.leads_now(view, name_of("node2/namenode")) is None

    def test_what_clients_notice_is_told_with_numbers(self, tmp_path: Path) -> None:
        single = [{"address": "10.0.4.1:9866", "blocks": 2, "files": ["/tmp/x", "/tmp/y"]}]
        view = view_of({"survey.single": single}, tmp_path)
        lines = order.consequences(view, sorted(view.names), "restart")
        assert len(lines) == 4
        assert "3 of 3 take edits now, 2 must" in lines[0]
        assert "one failover, away from prod/hdfs/node1/namenode" in lines[1]
        assert "4 DataNodes on 2 racks with 360000 copies" in lines[2]
        assert "2 blocks of one copy cannot be read meanwhile: /tmp/x, /tmp/y" in lines[3]
        assert order.consequences(view, [name_of("node2/namenode")], "restart") == ()


class TestFailover:
    def test_it_is_done_when_another_one_alone_is_active(self, tmp_path: Path) -> None:
        view = view_of({}, tmp_path)
        assert waiting(view, "node2/namenode", "failover") == ""
        assert waiting(view, "node2/zkfc", "failover") == ""
        assert "another NameNode than prod/hdfs/node1/namenode" in waiting(view, "node1/zkfc", "failover")
        nobody = view_of({"namenodes.0.state": "standby"}, tmp_path)
        assert waiting(nobody, "node1/namenode", "failover") == "one active NameNode (0 are)"

    def test_the_heir_is_a_standby_that_is_ready_with_its_controller(self, tmp_path: Path) -> None:
        assert heir(view_of({}, tmp_path)) == (name_of("node2/namenode"), "")
        name, why = heir(view_of({"zkfcs.1": {"instance": name_of("node2/zkfc"), **GONE}}, tmp_path))
        assert name is None
        assert "its failover controller does not answer" in why

    def test_its_target_by_host_id_or_name(self, tmp_path: Path) -> None:
        view = view_of({}, tmp_path)
        for to in (None, "node2", "nn2", "10.0.2.1", name_of("node2/namenode")):
            (target,) = failover_targets(view, to)
            assert target.args["to"] == name_of("node2/namenode")
        assert failover_targets(view, "nn1") == ()
        with pytest.raises(UsageError, match="node4"):
            failover_targets(view, "node4")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"namenodes.0.state": "standby"}, "HDFS_ACTIVE"),
            ({"namenodes.1.state": "active"}, "HDFS_ACTIVE"),
            ({"namenodes.1.safe_mode": True}, "HDFS_STANDBY"),
            ({"namenodes.1.ready": False}, "HDFS_STANDBY"),
            ({"namenodes.1.last_txid": None}, "HDFS_STANDBY"),
            ({"namenodes.0.last_txid": 9_000_000}, "HDFS_STANDBY"),
        ],
    )
    def test_it_is_refused_while_nobody_could_take_over(
        self, changes: dict[str, Any], code: str, tmp_path: Path
    ) -> None:
        with pytest.raises(Refused) as refused:
            failover_targets(view_of(changes, tmp_path), None)
        assert refused.value.code == code


class TestJournalNode:
    def test_it_is_back_when_it_answers_and_takes_edits_when_the_segment_is_new(self, tmp_path: Path) -> None:
        fresh = {"journalnodes.2.txns_written": 0}
        assert waiting(view_of(fresh, tmp_path), "node3/journalnode", "restart") == ""
        assert "after the edit log segment" in waiting(view_of(fresh, tmp_path), "node3/journalnode", "roll-edits")
        rolled = {"journalnodes.2.txns_written": 1}
        before = {"last_txid": 81235}
        assert waiting(view_of(rolled, tmp_path), "node3/journalnode", "roll-edits", before) == ""

    def test_it_lacks_what_was_written_before(self, tmp_path: Path) -> None:
        view = view_of({"journalnodes.2.txns_written": 1, "journalnodes.2.last_txid": 80000}, tmp_path)
        assert "80000, and 81235" in waiting(view, "node3/journalnode", "roll-edits", {"last_txid": 81235})

    def test_what_it_has_written_is_not_known(self, tmp_path: Path) -> None:
        view = view_of({"journalnodes.2.http_error": "HTTP 500"}, tmp_path)
        assert "is not known: HTTP 500" in waiting(view, "node3/journalnode", "roll-edits")


class TestNameNode:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({}, ""),
            ({"namenodes.1": {"instance": "prod/hdfs/node2/namenode", **GONE}}, "it answers and knows its role"),
            ({"namenodes.1.state": "initializing"}, "it answers and knows its role"),
            ({"namenodes.1.safe_mode": True}, "it is in safe mode"),
            ({"namenodes.0.last_txid": 9_000_000}, "transactions behind"),
            ({"namenodes.0.live_datanodes": 4, "namenodes.1.reported_datanodes": 3}, "3 of 4 live DataNodes"),
        ],
    )
    def test_it_is_whole(self, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
        found = waiting(view_of(changes, tmp_path), "node2/namenode", "restart")
        assert words in found
        assert bool(words) == bool(found)


def running(uptime_s: int = 30, **record: Any) -> dict[str, Any]:
    """node4's DataNode after a restart: up for so long, with a block report since."""
    probes = [{"instance": name_of("node4/datanode"), "uptime_s": uptime_s}]
    changes = {"block_report_age_s": 20.0, **record}
    return {"datanode_probes": probes, **{f"datanodes.3.{key}": value for key, value in changes.items()}}


class TestDataNode:
    BEFORE = {  # noqa: RUF012
        "blocks": {name_of("node4/datanode"): 90000},
        "total_blocks": 120000,
        "low_redundancy": 0,
        "missing": 0,
        "failed_volumes": {name_of("node4/datanode"): 0},
    }

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            (running(), ""),
            (running(block_report_age_s=40.0), "its report of all blocks since its start"),
            (running(block_report_age_s=None), "none yet"),
            (running(blocks=80000), "80000 of 89100 blocks"),
            (running(blocks=89200), ""),
            (running(blocks=80000) | {"pending.total_blocks": 60000}, ""),  # half of the files were deleted
            (running(contact_age_s=12.0), "last heard of"),
            (running(live=False), "the NameNode hears from it"),
            (running(failed_volume_count=1), "1 volume that failed"),
            (running() | {"replicated_blocks.missing": 1}, "1 blocks are missing, 0 before"),
            (running() | {"replicated_blocks.low_redundancy": 4}, "4 blocks are under-replicated, 0 before"),
            (running() | {"ec_groups.low_redundancy": 4}, "4 erasure-coded groups are under-replicated"),
            (running() | {"ec_groups": None}, "not known"),
            ({}, "it says since when it runs"),
            ({"datanode_probes": [{"instance": name_of("node4/datanode"), **GONE}]}, "Connection refused"),
        ],
    )
    def test_it_is_whole(self, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
        found = waiting(view_of(changes, tmp_path), "node4/datanode", "restart", self.BEFORE)
        assert words in found
        assert bool(words) == bool(found)

    def test_it_is_shut_down_when_it_does_not_run(self, tmp_path: Path) -> None:
        gone = {"datanode_probes": [{"instance": name_of("node4/datanode"), **GONE}]}
        assert waiting(view_of(gone, tmp_path), "node4/datanode", "shutdown-upgrade") == ""
        assert waiting(view_of(running(), tmp_path), "node4/datanode", "shutdown-upgrade") != ""

    def test_one_that_its_service_manager_has_started_again_is_not_told_to_end_twice(self, tmp_path: Path) -> None:
        before = self.BEFORE | baseline(view_of(running(uptime_s=9000), tmp_path))
        assert waiting(view_of(running(), tmp_path), "node4/datanode", "shutdown-upgrade", before) == ""
        unwell = waiting(view_of(running(blocks=1), tmp_path), "node4/datanode", "shutdown-upgrade", before)
        assert "1 of 89100 blocks" in unwell

    def test_one_that_would_not_obey_is_left_to_its_service_manager(self, tmp_path: Path) -> None:
        view = view_of(running(), tmp_path)
        step = step_of(view, "node4/datanode")
        assert progress(view, step, "shutdown-upgrade", {}, {step.name}).done


class TestActor:
    def actor(self) -> HdfsActor:
        settings = Settings(restart=HdfsRules(standby_lag_txns=5))
        return HdfsActor(Deployment(cluster="prod", component="hdfs", instances=(), settings=settings), SshPool())

    def test_the_numbers_of_the_inventory_count(self, tmp_path: Path) -> None:
        state = state_of({"namenodes.1.last_txid": 81000}, tmp_path)
        view = self.actor().view(state)
        assert "235 transactions behind, of 5 allowed" in (view.why_not_ready(name_of("node2/namenode")) or "")

    def test_the_cluster_is_known_by_its_id_and_two_ids_are_another_cluster(self, tmp_path: Path) -> None:
        actor = self.actor()
        assert actor.identity(state_of({}, tmp_path)) is None
        one = {"namenodes.0.cluster_id": "CID-1", "namenodes.1.cluster_id": "CID-1"}
        assert actor.identity(state_of(one, tmp_path)) == "lab CID-1"
        two = {**one, "namenodes.1.cluster_id": "CID-2"}
        assert actor.identity(state_of(two, tmp_path)) == "lab CID-1 CID-2"

    def test_who_is_down_and_why(self, tmp_path: Path) -> None:
        actor = self.actor()
        assert actor.down(state_of({}, tmp_path)) == {}
        changes = {
            "namenodes.1.state": "initializing",
            "zkfcs.0": {"instance": name_of("node1/zkfc"), **GONE},
            "datanodes.2.contact_age_s": 20.0,
        }
        assert {short(n): why for n, why in actor.down(state_of(changes, tmp_path)).items()} == {
            "node2/namenode": "it is starting",
            "node1/zkfc": "Connection refused",
            "node3/datanode": "last heard of 20 s ago",
        }
        unread = actor.down(state_of({"datanodes": None, "unread": {"datanodes": "no answer"}}, tmp_path))
        assert {short(n) for n in unread} == {f"node{n}/datanode" for n in (1, 2, 3, 4)}

    def test_it_borrows_nothing(self) -> None:
        actor = self.actor()
        with pytest.raises(OperationFailed):
            actor.restore(Borrowed(component="hdfs", object="x", key="y", previous=None, value="z"))

    def test_what_is_measured_before_is_plain_data(self, tmp_path: Path) -> None:
        import json

        found = self.actor().baseline(state_of(running(), tmp_path))
        assert json.loads(json.dumps(found)) == found
        assert found["blocks"][name_of("node1/datanode")] == 90000
        assert found["last_txid"] == 81235
