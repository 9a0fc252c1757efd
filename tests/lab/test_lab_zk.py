"""The lab's ZooKeeper, and that every fault of it is found by the checks that it names and gone after healing."""

from __future__ import annotations

from typing import Any

import pytest

from bdops.lab import zk
from bdops.lab.recipe import Fault
from tests.sampling import faults

pytestmark = pytest.mark.lab("zk")


def severities(bdops: Any) -> dict[str, str]:
    return {r["code"]: r["severity"] for r in bdops("zk", "check", "-o", "json").json["data"]["checks"]}


def test_the_ensemble_has_one_leader_and_its_data(lab, bdops) -> None:
    assert zk.healthy(lab) is None
    assert int(zk.field(lab, "node1", "Node count") or 0) > 2000
    assert set(severities(bdops).values()) == {"ok"}


def test_snapshots_and_transactions_are_in_two_data_dirs(lab) -> None:
    for host in zk.HOSTS:
        data, data_log = zk.data_dirs(lab, host)
        assert (data / "version-2" / "currentEpoch").exists()
        assert list((data_log / "version-2").glob("log.*"))


SLOW = {"zk-lagging", "zk-no-admin"}


@pytest.mark.parametrize("fault", faults(zk.RECIPE, thorough=SLOW))
def test_a_fault_is_shown_by_the_checks_it_names_and_by_none_after_healing(
    fault: Fault, bdops, eventually, lab
) -> None:
    try:
        put_in = bdops("lab", "fault", fault.name, "--name", lab.name)
        assert put_in.returncode == 0, put_in.stderr
        found = severities(bdops)
        assert {code for code in fault.shows if found[code] in ("ok", "unknown")} == set(), found
    finally:
        healed = bdops("lab", "fault", fault.name, "--heal", "--name", lab.name)
    assert healed.returncode == 0, healed.stderr
    eventually(lambda: set(severities(bdops).values()) == {"ok"}, 60)


def test_a_paused_server_is_named_as_down(bdops, lab, eventually) -> None:
    bdops("lab", "pause", "zk/node2", "--name", lab.name)
    try:
        found = bdops("zk", "check", "-o", "json").json["data"]["checks"]
        down = next(r for r in found if r["code"] == "ZK_SERVER_DOWN")
        assert down["severity"] == "critical"
        assert [f["object"] for f in down["objects"]] == ["node2"]
    finally:
        bdops("lab", "resume", "zk/node2", "--name", lab.name)
    eventually(lambda: set(severities(bdops).values()) == {"ok"}, 60)
