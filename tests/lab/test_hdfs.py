"""The lab's HDFS: its reader, lists and clients, and that every fault is found by the checks that it names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.components.hdfs.component import COMPONENT
from bdops.components.hdfs.http import HttpServer
from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.read import ALL, read_state
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.servers import ZKFC, DataNodeServer
from bdops.components.hdfs.source import nameservice
from bdops.core.checks import run_checks
from bdops.core.model import Deployment
from bdops.errors import NotAuthorised, OperationFailed, Unreachable
from bdops.lab import hdfs, hdfs_faults
from bdops.lab.recipe import Fault
from tests import needs
from tests.sampling import faults

pytestmark = pytest.mark.lab("hdfs")


@pytest.fixture(scope="module")
def deployment(lab) -> Deployment:
    return lab.deployment("hdfs")


@pytest.fixture
def service(deployment: Deployment) -> Iterator[Nameservice]:
    with nameservice(deployment, timeout_s=10) as client:
        yield client


def with_settings(deployment: Deployment, **changes: Any) -> Deployment:
    return replace(
        deployment,
        settings=replace(deployment.settings, **changes),
        instances=tuple(replace(i, settings=replace(i.settings, **changes)) for i in deployment.instances),
    )


def severities(bdops: Any) -> dict[str, str]:
    return {r["code"]: r["severity"] for r in bdops("hdfs", "check", "-o", "json").json["data"]["checks"]}


def address_of(lab: Any, state: str) -> str:
    """The address of the NameNode that is active, or standby."""
    first = hdfs_faults.active_host(lab)
    hosts = hdfs.NAMENODES.values()
    return lab.host(first if state == "active" else next(h for h in hosts if h != first)).address


class TestReading:
    def test_everything_is_read_and_all_is_well(self, deployment: Deployment) -> None:
        state = read_state(deployment, timeout_s=10)
        assert state.unread == {}
        assert {name for name in ALL if getattr(state, name) is None} == set()
        found = run_checks(COMPONENT.checks, state, component="hdfs", overrides=deployment.checks)
        assert {r.code: r.summary for r in found if r.severity.value != "ok"} == {}
        assert set(COMPONENT.serving(state).values()) == {True}
        assert len(COMPONENT.serving(state)) == 11

    def test_datanodes_have_their_own_addresses_racks_and_two_volumes(self, lab, deployment: Deployment) -> None:
        state = read_state(deployment, timeout_s=10)
        known = {d.address: (d.rack, len(d.volumes)) for d in state.datanodes or ()}
        assert known == {host.address: (f"/{host.rack}", 2) for host in lab.hosts}

    def test_a_user_who_is_nobody_is_told_so(self, deployment: Deployment) -> None:
        state = read_state(with_settings(deployment, user="nobody"), timeout_s=10)
        assert "user nobody may not do this" in state.unread["datanodes"]

    def test_kerberos_is_refused_in_clear_words(self, deployment: Deployment) -> None:
        state = read_state(with_settings(deployment, security="kerberos"), timeout_s=10)
        assert "does not speak Kerberos" in state.unread["namenodes"]

    def test_the_web_port_in_place_of_the_rpc_port_is_named(self, lab) -> None:
        web = Connection(lab.host("node1").address, 9870, user="hdfs", timeout_s=5)
        with web as connection, pytest.raises(Unreachable, match="speaks HTTP"):
            connection.versions(ZKFC)

    def test_the_rpc_port_in_place_of_the_web_port_is_no_crash(self, lab, deployment: Deployment) -> None:
        state = read_state(with_settings(deployment, http_port=8020), timeout_s=10)
        assert state.namenodes
        assert all(n.http_error and n.state for n in state.namenodes)
        assert state.replicated_blocks is not None

    def test_tls_against_a_plain_port_is_named(self, lab) -> None:
        web = HttpServer(lab.host("node1").address, 9870, user="hdfs", timeout_s=5, scheme="https")
        with web, pytest.raises(Unreachable, match="no TLS"):
            web.get("/jmx")

    def test_a_hung_standby_costs_its_own_checks_and_not_the_run(self, lab, deployment: Deployment) -> None:
        host = hdfs_faults.standby_host(lab)
        lab.pause("namenode", host)
        try:
            started = time.monotonic()
            state = read_state(deployment, timeout_s=2)
            assert time.monotonic() - started < 3
        finally:
            lab.resume("namenode", host)
        found = {r.code: r for r in run_checks(COMPONENT.checks, state, component="hdfs")}
        assert found["HDFS_NAMENODE_DOWN"].severity.value == "critical"
        assert "no answer" in found["HDFS_NAMENODE_DOWN"].objects[0].detail
        assert found["HDFS_UNDER_REPLICATED"].severity.value == "ok"


class TestClients:
    def test_fsck_of_a_standby_is_a_clear_error(self, lab) -> None:
        standby = HttpServer(address_of(lab, "standby"), 9870, user="hdfs", timeout_s=10)
        with standby, pytest.raises(OperationFailed, match="not supported in state standby"):
            list(standby.fsck("/"))

    def test_fsck_of_the_active_namenode_is_healthy(self, lab) -> None:
        with HttpServer(address_of(lab, "active"), 9870, user="hdfs", timeout_s=10) as active:
            assert any("is HEALTHY" in line for line in active.fsck("/"))

    def test_calls_follow_a_failover(self, lab, deployment: Deployment, service: Nameservice) -> None:
        before = service.active()
        assert hdfs_faults.fail_over(lab) != hdfs.NAMENODES[before]
        # The client still believes in the old one, which is a standby now.
        assert service.on_active(lambda n: list(n.listing("/")))
        assert service.active() != before
        state = read_state(deployment, timeout_s=10)
        assert state.replicated_blocks is not None

    def test_a_datanode_tells_of_itself(self, lab) -> None:
        with Connection(lab.host("node4").address, 9867, user="hdfs", timeout_s=5) as connection:
            datanode = DataNodeServer(connection)
            assert datanode.info().version == hdfs.VERSION
            datanode.trigger_block_report()

    def test_an_ordinary_user_may_not_save_the_namespace(self, lab) -> None:
        nobody = Connection(address_of(lab, "active"), 8020, user="nobody", timeout_s=5)
        with nobody as connection, pytest.raises(NotAuthorised, match="nobody"):
            NameNode(connection).save_namespace(timeout_s=5)

    def test_a_checkpoint_can_be_made(self, lab, service: Nameservice) -> None:
        service.on_active(lambda n: n.enter_safe_mode())
        try:
            service.on_active(lambda n: n.save_namespace(timeout_s=30))
        finally:
            service.on_active(lambda n: n.leave_safe_mode())
        assert not service.on_active(lambda n: n.in_safe_mode())


class TestLists:
    def test_all_blocks_are_listed_with_their_copies(self, bdops, deployment: Deployment) -> None:
        rows = bdops("hdfs", "blocks", "-o", "json").json["data"]["blocks"]
        state = read_state(deployment, timeout_s=10)
        assert state.pending
        assert len(rows) == state.pending.total_blocks
        assert {r["state"] for r in rows} == {"ok"}
        striped = [r for r in rows if r["striped"]]
        assert striped
        assert {(r["live"], r["wanted"]) for r in striped} <= {(2, 2), (3, 3)}

    def test_blocks_under_a_path_that_is_not_there(self, bdops) -> None:
        done = bdops("hdfs", "blocks", "--path", "/nope", "-o", "json")
        assert (done.returncode, done.json["errors"][0]["code"]) == (3, "HDFS_NO_SUCH_PATH")

    def test_status_and_datanodes(self, bdops) -> None:
        assert bdops("hdfs", "status", "-o", "json").json["data"]["live_datanodes"] == 4
        rows = bdops("hdfs", "datanodes", "-o", "json").json["data"]["datanodes"]
        assert [r["datanode"] for r in rows] == list(hdfs.DATANODES)

    def test_a_saved_state_answers_as_the_cluster_does(self, bdops, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        assert bdops("hdfs", "state", "save", str(file)).returncode == 0
        saved = bdops("hdfs", "check", "--state", str(file), "-o", "json").json["data"]["checks"]
        assert {r["code"]: r["severity"] for r in saved} == severities(bdops)


SLOW = {"hdfs-no-active", "hdfs-namenode-killed", "hdfs-journalnode-killed", "hdfs-volume-failed"}


@pytest.mark.parametrize("fault", faults(hdfs.RECIPE, thorough=SLOW))
def test_a_fault_is_shown_by_the_checks_it_names_and_by_none_after_healing(
    fault: Fault, bdops, eventually, lab
) -> None:
    if fault.name == "hdfs-volume-full" and not lab.has_small_volume("hdfs", hdfs.SMALL_VOLUME_HOST):
        needs.root("mounting a small volume")
    try:
        put_in = bdops("lab", "fault", fault.name, "--name", lab.name)
        assert put_in.returncode == 0, put_in.stderr
        found = severities(bdops)
        assert {code for code in fault.shows if found[code] in ("ok", "unknown")} == set(), found
    finally:
        healed = bdops("lab", "fault", fault.name, "--heal", "--name", lab.name)
    assert healed.returncode == 0, healed.stderr
    eventually(lambda: set(severities(bdops).values()) == {"ok"}, 120)


def test_a_file_without_a_good_copy_is_named(bdops, lab) -> None:
    bdops("lab", "fault", "hdfs-missing-block", "--name", lab.name)
    try:
        found = bdops("hdfs", "check", "-o", "json").json["data"]["checks"]
        missing = next(r for r in found if r["code"] == "HDFS_MISSING_BLOCKS")
        assert [f["object"] for f in missing["objects"]] == [hdfs_faults.ONLY_COPY]
        rows = bdops("hdfs", "blocks", "--missing", "-o", "json").json["data"]["blocks"]
        assert [r["file"] for r in rows] == [hdfs_faults.ONLY_COPY]
    finally:
        bdops("lab", "fault", "hdfs-missing-block", "--heal", "--name", lab.name)
