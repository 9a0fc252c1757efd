"""What a restart of ZooKeeper stands on, against the lab's ensemble: the write, its leftovers, observers, the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.components.zk import ensemble
from bdops.components.zk.actor import ZkActor
from bdops.components.zk.client.probe import PREFIX, read_probes, verify_write
from bdops.components.zk.client.session import session
from bdops.components.zk.read import read_state
from bdops.core.model import Deployment
from bdops.errors import BdopsError
from bdops.hosts.ssh import SshPool
from bdops.lab import zk
from bdops.lab.lab import Lab
from tests.conftest import Bdops

pytestmark = pytest.mark.lab("zk")


@pytest.fixture(scope="module")
def deployment(lab: Lab) -> Deployment:
    return lab.deployment("zk")


def with_settings(deployment: Deployment, **changes: Any) -> Deployment:
    settings = replace(deployment.settings, **changes)
    instances = tuple(replace(i, settings=replace(i.settings, **changes)) for i in deployment.instances)
    return replace(deployment, settings=settings, instances=instances)


def error_of(call: Callable[[], Any]) -> BdopsError:
    with pytest.raises(BdopsError) as caught:
        call()
    return caught.value


class TestWrite:
    def test_a_write_on_each_server_leaves_nothing(self, deployment: Deployment) -> None:
        paths = [verify_write(i, under="/", timeout_s=10) for i in deployment.instances]
        assert len(set(paths)) == 3
        assert all(p.startswith(f"/{PREFIX}{i.host.name}-") for p, i in zip(paths, deployment.instances, strict=True))
        assert read_probes(deployment.instances, under="/", timeout_s=10) == {}

    def test_a_write_below_another_znode_stays_there(self, deployment: Deployment) -> None:
        path = verify_write(deployment.instances[0], under="/zookeeper/quota", timeout_s=10)
        assert path.startswith(f"/zookeeper/quota/{PREFIX}")

    def test_an_acl_that_forbids_it_is_told_with_what_can_be_set(self, deployment: Deployment) -> None:
        from kazoo.security import make_digest_acl

        nobody = with_settings(deployment, user=None, password=None)
        with session(deployment.instances, timeout_s=10) as client:
            client.create("/bdops-test-closed", b"", acl=[make_digest_acl("owner", "secret", all=True)])
            try:
                error = error_of(lambda: verify_write(nobody.instances[0], under="/bdops-test-closed", timeout_s=10))
            finally:
                client.delete("/bdops-test-closed")
        assert error.code == "ZK_NO_AUTH"
        assert "probe_under" in str(error.hint)

    def test_a_folder_that_is_not_there_and_a_server_that_is_not_are_errors(self, deployment: Deployment) -> None:
        first = deployment.instances[0]
        assert error_of(lambda: verify_write(first, under="/no/such", timeout_s=10)).code == "ZK_NO_NODE"
        gone = with_settings(deployment, client_port=1).instances[0]
        assert error_of(lambda: verify_write(gone, under="/", timeout_s=2)).code == "ZK_NO_SESSION"


class TestLeftovers:
    def test_a_probe_of_a_live_session_is_found_and_can_be_removed(self, deployment: Deployment) -> None:
        actor = ZkActor(deployment, SshPool())
        state = actor.read(timeout_s=10)
        assert actor.leftovers(state) == ()
        with session(deployment.instances, timeout_s=10) as client:
            client.create(f"/{PREFIX}left", b"", ephemeral=True)
            owner = f"{client.client_id[0]:#x}"
            (found,) = actor.leftovers(state)
            assert (found.object, found.value, found.fixable) == (f"/{PREFIX}left", f"session {owner}", True)
            actor.clear(found)
            assert actor.leftovers(state) == ()
            actor.clear(found)

    def test_what_cannot_be_read_is_told_and_not_taken_for_nothing(self, deployment: Deployment) -> None:
        settings = replace(deployment.settings.restart, probe_under="/no/such")
        actor = ZkActor(with_settings(deployment, restart=settings), SshPool())
        (found,) = actor.leftovers(actor.read(timeout_s=10))
        assert (found.value, found.fixable) == ("unknown", False)
        assert "/no/such" in found.harm


class TestConfig:
    def test_the_configuration_is_the_same_everywhere(self, bdops: Bdops) -> None:
        done = bdops("zk", "config", "-o", "json")
        assert (done.returncode, done.json["status"]) == (0, "ok")
        data = done.json["data"]
        assert (data["voters"], data["observers"], data["needed"], data["differences"]) == (3, 0, 2, 0)
        assert [row["same"] for row in data["copies"]] == [True, True, True]

    def test_a_membership_that_differs_is_shown_and_forbids_stopping_the_others(self, lab: Lab, bdops: Bdops) -> None:
        assert bdops("lab", "fault", "zk-config-differs", "--name", lab.name).returncode == 0
        try:
            data = bdops("zk", "config", "-o", "json").json["data"]
            (other,) = (row["server"] for row in data["copies"] if row["same"] is False)
            leader = data["told_by"]
            assert bdops("zk", "can-stop", other).returncode == 0
            refused = bdops("zk", "can-stop", leader, "-o", "json")
            assert refused.returncode == 2
            assert "ZK_CONFIG_DIFFERS" in refused.stdout
            assert bdops("zk", "can-stop", leader, "--accept-risk", "ZK_CONFIG_DIFFERS").returncode == 0
        finally:
            assert bdops("lab", "fault", "--heal", "--name", lab.name).returncode == 0


@pytest.fixture
def observer(lab: Lab, eventually: Callable[..., Any]) -> Iterator[str]:
    """node3 is an observer meanwhile, by the ensemble's own reconfiguration."""
    host = "node3"

    def become(role: str) -> None:
        from kazoo.exceptions import KazooException

        member = f"server.3={host}:{zk.PEER_PORT}:{zk.ELECTION_PORT}:{role};{lab.host(host).address}:{zk.CLIENT_PORT}"

        def has_become() -> bool:
            state = read_state(lab.deployment("zk"), timeout_s=5)
            copies = [{m.id: m.role for m in s.members or ()}.get(3) for s in state.servers or ()]
            modes = {s.mode for s in state.servers or ()}
            return copies == [role] * 3 and ("observer" in modes) == (role == "observer") and "leader" in modes

        def change() -> bool:
            if not has_become():
                # The answer is lost with the connection where the one that changes its role was the leader.
                with suppress(KazooException, BdopsError), session(lab.deployment("zk").instances, timeout_s=10) as c:
                    c.reconfig(joining=member, leaving=None, new_members=None)
            return has_become()

        eventually(change, 60)

    become("observer")
    yield host
    become("participant")


def test_an_observer_goes_first_and_two_voters_only_when_that_is_accepted(
    lab: Lab, bdops: Bdops, observer: str, tmp_path: Path
) -> None:
    inventory = yaml.safe_load(lab.inventory.read_text())
    section = inventory["clusters"][lab.name]["components"]["zk"]
    voters = [h for h in zk.HOSTS if h != observer]
    section["roles"] = {"participant": {"hosts": voters}, "observer": {"hosts": [observer]}}
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(inventory))
    mine = {"BDOPS_INVENTORY": str(tmp_path / "inventory.yaml")}
    config = bdops("zk", "config", "-o", "json", **mine).json
    assert (config["status"], config["data"]["voters"], config["data"]["observers"]) == ("ok", 2, 1)
    assert bdops("zk", "can-stop", observer, **mine).returncode == 0
    refused = bdops("zk", "restart", "--yes", **mine)
    assert refused.returncode == 5
    assert "--accept-risk ZK_NO_SPARE" in refused.stderr
    done = bdops("zk", "restart", "--yes", "--accept-risk", "ZK_NO_SPARE", "-o", "json", timeout_s=300, **mine)
    assert done.returncode == 0, done.stderr
    state = read_state(lab.deployment("zk"), timeout_s=10)
    assert ensemble.configured(state, "observer") == {f"{lab.name}/zk/{observer}"}


def test_one_server_is_stopped_and_started_with_the_same_gates(lab: Lab, bdops: Bdops) -> None:
    follower = next(h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "follower")
    other = next(h for h in zk.HOSTS if h != follower)
    assert bdops("zk", "stop", follower, "--yes", "--reason", "a new disk").returncode == 0
    try:
        refused = bdops("zk", "stop", other, "--yes")
        assert refused.returncode == 5, refused.stderr
        assert "ZK_QUORUM" in refused.stderr
        assert bdops("zk", "can-stop", other).returncode == 2
    finally:
        started = bdops("zk", "start", follower, "--yes")
    assert started.returncode == 0, started.stderr
    assert zk.serves(lab, follower)
