"""ZooKeeper's reader, lists and checks against the lab's ensemble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.components.zk import ensemble
from bdops.components.zk.client.session import session, walk
from bdops.components.zk.read import read_state
from bdops.components.zk.state import ZkState
from bdops.core.model import Deployment, SecretRef
from bdops.errors import NotAuthorised, OperationFailed, Unreachable

pytestmark = pytest.mark.lab("zk")


@pytest.fixture(scope="module")
def deployment(lab) -> Deployment:
    return lab.deployment("zk")


def with_settings(deployment: Deployment, **changes: Any) -> Deployment:
    return replace(
        deployment,
        instances=tuple(replace(i, settings=replace(i.settings, **changes)) for i in deployment.instances),
    )


def servers_of(state: ZkState) -> tuple[Any, ...]:
    assert state.servers
    return state.servers


class TestReading:
    def test_everything_that_a_check_needs_is_read(self, deployment: Deployment) -> None:
        state = read_state(deployment, timeout_s=10)
        assert state.unread == {}
        for server in servers_of(state):
            optional = {"error", "error_code", "admin_error", "words_error"}
            if server.mode != "leader":
                optional |= {"synced_followers", "synced_observers", "pending_syncs"}
            absent = {name for name in server.__dataclass_fields__ if getattr(server, name) is None}
            assert absent == optional
        leader = ensemble.leader(state)
        assert leader is not None
        assert (leader.synced_followers, leader.pending_syncs) == (2, 0)
        assert {s.leader_id for s in servers_of(state)} == {leader.myid}

    def test_the_words_alone_tell_the_same(self, deployment: Deployment) -> None:
        both = read_state(deployment, timeout_s=10)
        words = read_state(with_settings(deployment, admin_port=None), timeout_s=10)
        for a, b in zip(servers_of(both), servers_of(words), strict=True):
            assert (a.name, a.mode, a.myid, a.members, a.config_version) == (
                b.name,
                b.mode,
                b.myid,
                b.members,
                b.config_version,
            )
            assert (a.version, a.znodes, a.max_open_files) == (b.version, b.znodes, b.max_open_files)

    def test_the_admin_server_alone_tells_all_but_the_configurations_version(self, deployment: Deployment) -> None:
        state = read_state(with_settings(deployment, four_letter_words=False), timeout_s=10)
        for server in servers_of(state):
            assert server.serving
            assert server.config_version is None
            assert server.words_error is None
            assert server.members is not None
            assert {m.id for m in server.members} == {1, 2, 3}

    def test_a_port_that_is_not_zookeepers_is_told(self, deployment: Deployment) -> None:
        sshd = deployment.instances[0].host.ssh.port
        state = read_state(with_settings(deployment, admin_port=None, client_port=sshd), timeout_s=4)
        for server in servers_of(state):
            assert server.serving is not True
            assert server.error is not None
            assert "ZooKeeper" in server.error or "did not answer" in server.error

    def test_a_state_saved_to_a_file_is_judged_like_the_ensemble(self, bdops, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        assert bdops("zk", "state", "save", str(file)).returncode == 0
        live = bdops("zk", "check", "-o", "json")
        saved = bdops("zk", "check", "--state", str(file), "-o", "json")
        assert saved.returncode == live.returncode == 0
        codes = [[(r["code"], r["severity"]) for r in x.json["data"]["checks"]] for x in (live, saved)]
        assert codes[0] == codes[1]
        status = bdops("zk", "status", "--state", str(file), "-o", "json").json["data"]
        assert [row["server"] for row in status["servers"]] == ["node1", "node2", "node3"]


class TestTree:
    def test_the_tree_has_what_the_lab_wrote(self, bdops) -> None:
        rows = bdops("zk", "tree", "-o", "json").json["data"]["znodes"]
        paths = [row["path"] for row in rows]
        assert paths[0] == "/"
        assert len(paths) > 2000
        assert len(set(paths)) == len(paths)
        children = {row["path"]: row["children"] for row in rows}
        below = [p for p in paths if p != "/" and (p.rpartition("/")[0] or "/") == "/"]
        assert children["/"] == len(below)

    def test_the_depth_and_the_root_narrow_it(self, bdops) -> None:
        rows = bdops("zk", "tree", "--depth", "1", "-o", "json").json["data"]["znodes"]
        assert all(row["path"].count("/") == 1 for row in rows)
        rows = bdops("zk", "tree", "--root", "/zookeeper", "-o", "json").json["data"]["znodes"]
        assert {"/zookeeper", "/zookeeper/config", "/zookeeper/quota"} <= {row["path"] for row in rows}
        assert all(row["path"].startswith("/zookeeper") for row in rows)

    def test_a_root_that_is_not_there_is_an_error_and_no_traceback(self, bdops) -> None:
        done = bdops("zk", "tree", "--root", "/no/such/znode")
        assert done.returncode == 1
        assert "/no/such/znode" in done.stderr
        assert "Traceback" not in done.stderr

    def test_ephemerals_are_told_with_their_session(self, bdops, deployment: Deployment) -> None:
        with session(deployment.instances, timeout_s=10) as client:
            client.create("/bdops-test-ephemeral", b"x", ephemeral=True)
            owner = hex(client.client_id[0])
            rows = bdops("zk", "tree", "--depth", "1", "--ephemerals", "-o", "json").json["data"]["znodes"]
        assert [(r["path"], r["owner"], r["data_bytes"]) for r in rows] == [("/bdops-test-ephemeral", owner, 1)]

    def test_children_that_an_acl_hides_are_marked_and_the_rest_is_listed(self, deployment: Deployment) -> None:
        from kazoo.security import make_digest_acl

        nobody = with_settings(deployment, user="nobody", password=None)
        with session(deployment.instances, timeout_s=10) as client:
            client.create("/bdops-test-hidden", b"x", acl=[make_digest_acl("owner", "secret", all=True)])
            try:
                client.create("/bdops-test-hidden/child", b"")
                with session(nobody.instances, timeout_s=10) as other:
                    seen = {z.path: z for z in walk(other, "/", depth=2, timeout_s=10)}
            finally:
                client.delete("/bdops-test-hidden", recursive=True)
        assert seen["/bdops-test-hidden"].hidden
        assert "/bdops-test-hidden/child" not in seen
        assert "/zookeeper" in seen

    def test_no_server_that_takes_a_session_is_unreachable(self, deployment: Deployment) -> None:
        elsewhere = with_settings(deployment, client_port=1)
        with pytest.raises(Unreachable, match="no server gave us a session"), session(elsewhere.instances, timeout_s=1):
            pass

    def test_a_missing_znode_is_an_error(self, deployment: Deployment) -> None:
        with session(deployment.instances, timeout_s=10) as client, pytest.raises(OperationFailed):
            list(walk(client, "/absent", timeout_s=10))

    def test_a_password_whose_file_is_missing_is_told_and_not_shown(self, deployment: Deployment) -> None:
        from bdops.errors import BdopsError

        lost = with_settings(deployment, password=SecretRef(file="/no/such/file"))
        with pytest.raises(BdopsError) as caught, session(lost.instances, timeout_s=5):
            pass
        assert "/no/such/file" in f"{caught.value.message} {caught.value.where}"
        assert not isinstance(caught.value, NotAuthorised)
