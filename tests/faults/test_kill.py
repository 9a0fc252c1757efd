"""bdops is killed at the events of its journal; whatever the moment, a resume comes to the same end.

`make test` takes a fair sample of the moments; `make test-all` sets BDOPS_EVERY_EVENT and takes them all, before and
after each event of each kind of restart, and a restart of the whole ensemble besides.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

MOMENTS = 1
CASES = [
    pytest.param("zk", "node[1-3]", marks=pytest.mark.thorough),
    pytest.param("zk", "node3", marks=pytest.mark.thorough),
    ("kafka", "node4"),
    ("es", "node3"),
    pytest.param("hdfs", "node1/journalnode", marks=pytest.mark.thorough),
    pytest.param("hdfs", "@namenode", marks=pytest.mark.thorough),
    pytest.param("hdfs", "@zkfc", marks=pytest.mark.thorough),
    pytest.param("hdfs", "node4/datanode", marks=pytest.mark.thorough),
]

pytestmark = pytest.mark.lab("zk", "kafka", "es", "hdfs")


@pytest.mark.timeout(3 * 3600 if jobs.EVERY else 900)
@pytest.mark.parametrize(("component", "selector"), CASES, ids=lambda word: word.replace("/", "-"))
def test_a_restart_that_is_killed_at_any_event_is_resumed_to_the_same_end(
    component: str, selector: str, lab: Lab, home: Path, bdops: Bdops
) -> None:
    undisturbed = bdops(component, "restart", selector, "--yes", timeout_s=900)
    assert undisturbed.returncode == 0, undisturbed.stderr
    events = len(jobs.newest_events(lab))
    restarted = {s.instance for s in jobs.newest_plan(lab).steps if "restart" in s.acts}
    for when, number in jobs.moments(events, MOMENTS):
        before = jobs.spawns(lab, component)
        status = jobs.killed(lab, home, when, number, component, "restart", selector, "--yes")
        moment = f"{component} {selector}: killed {when} event {number} of {events} ({jobs.job_folders(lab)[0].name})"
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", timeout_s=900)
        # A run may have had an event less than the undisturbed one, and have ended; or its last event was written.
        over = "no job is paused" in resumed.stderr
        assert resumed.returncode == 0 or over, f"{moment}: {resumed.stderr}"
        state = jobs.newest_state(lab)
        assert state.status == "done", moment
        assert not state.open_loans, moment
        restarts = {name: n - before[name] for name, n in jobs.spawns(lab, component).items() if n > before[name]}
        assert restarts == dict.fromkeys(restarted, 1), f"{moment}: {restarts}"
        assert not jobs.remains(lab), moment
        assert not jobs.settings_left(bdops), moment
