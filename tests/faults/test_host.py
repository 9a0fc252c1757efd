"""Everything on one host, across components: the gates of all first, then stop, act, start, verify."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

COMPONENTS = ("zk", "kafka", "es", "hdfs")
pytestmark = [pytest.mark.lab(*COMPONENTS), pytest.mark.timeout(900)]


def spawns(lab: Lab) -> dict[str, int]:
    return {name: n for component in COMPONENTS for name, n in jobs.spawns(lab, component).items()}


def on_host(lab: Lab, host: str) -> set[str]:
    return {i.name for c in COMPONENTS for i in lab.deployment(c).instances if i.host.name == host}


@pytest.mark.thorough
def test_everything_on_a_host_is_stopped_a_command_run_and_all_is_whole_again(
    lab: Lab, bdops: Bdops, tmp_path: Path
) -> None:
    before = spawns(lab)
    proof = tmp_path / "proof"
    command = ["sh", "-c", f"echo $$ >> {proof}; test $(wc -l < {proof}) = 2"]  # the first time it fails
    failing = bdops("host", "maintain", "node1", "--yes", "--", *command, timeout_s=800)
    assert failing.returncode == 7, failing.stderr
    running = {name for c in COMPONENTS for name, pid in jobs.pids(lab, c).items() if pid is not None}
    assert running == set(before) - on_host(lab, "node1")
    done = bdops("jobs", "resume", timeout_s=800)
    assert done.returncode == 0, done.stderr
    assert len(proof.read_text().split()) == 2
    after = spawns(lab)
    assert {n for n in after if after[n] > before[n]} == on_host(lab, "node1")
    steps = jobs.newest_plan(lab).steps
    stops = [i for i, s in enumerate(steps) if "stop" in s.acts]
    gates = [i for i, s in enumerate(steps) if s.acts == ("gate",)]
    (run,) = [i for i, s in enumerate(steps) if s.acts == ("run",)]
    starts = [i for i, s in enumerate(steps) if "start" in s.acts]
    assert max(gates) < min(stops) <= max(stops) < run < min(starts)
    assert [steps[i].component for i in stops][-1] == "zk"
    assert steps[starts[0]].component == "zk"
    assert not jobs.remains(lab)
    assert not jobs.settings_left(bdops)


def test_a_host_that_one_component_cannot_spare_is_refused_whole(lab: Lab, bdops: Bdops) -> None:
    before = spawns(lab)
    assert bdops("lab", "kill", "zk/node3", "--name", lab.name).returncode == 0
    try:
        refused = bdops("host", "restart", "node2", "--yes", timeout_s=200)
        assert refused.returncode == 5, refused.stderr
        assert "ZK_" in refused.stderr
        assert spawns(lab) == before
    finally:
        assert bdops("lab", "up", "zk", "--name", lab.name).returncode == 0
