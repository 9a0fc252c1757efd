"""From symptom to cause on real servers, and what the recorded past says of it."""

from __future__ import annotations

import pytest

from bdops.lab.lab import Lab
from tests.conftest import Bdops

pytestmark = pytest.mark.lab("zk")


def test_a_quorum_without_spare_is_explained_by_a_service_that_was_stopped(lab: Lab, bdops: Bdops, eventually) -> None:
    subject = f"{lab.name}/zk"
    assert bdops("check", subject, "--record").returncode == 0
    assert bdops("lab", "stop", "zk/node1", "--name", lab.name).returncode == 0
    try:
        found = eventually(lambda: bdops("why", "ZK_QUORUM", "-c", lab.name, "-o", "json").json["data"]["why"], 20)
        (quorum,) = found
        (down,) = quorum["because"]
        (service,) = down["because"]
        assert [e["code"] for e in (quorum, down, service)] == ["ZK_QUORUM", "ZK_SERVER_DOWN", "HOST_SERVICE"]
        assert (down["via"], service["via"]) == (f"{subject}/node1",) * 2
        assert service["because"] == []
        news = bdops("check", subject, "--record", "--only-changes")
        assert news.returncode == 2
        assert "ZK_SERVER_DOWN: was ok" in news.stdout
        assert bdops("check", subject, "--record", "--only-changes").stdout == ""
    finally:
        assert bdops("lab", "up", "zk", "--name", lab.name).returncode == 0
    eventually(lambda: bdops("check", subject).returncode == 0, 30)
    past = bdops("check", subject, "--since", "10m", "-o", "json").json["data"]
    assert "ZK_SERVER_DOWN" in {e["code"] for e in past["came_and_went"]}
    assert bdops("why", "ZK_QUORUM", "-c", lab.name).stdout.splitlines()[-1] == "nothing is wrong with it"
