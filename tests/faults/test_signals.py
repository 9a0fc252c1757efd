"""Signals and cut connections in the middle of a restart; ZooKeeper's are in test_jobs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = [pytest.mark.lab("zk", "kafka", "es", "hdfs"), pytest.mark.timeout(900)]

Eventually = Callable[..., Any]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Those that a test started; none of them outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.thorough  # test_jobs.py does as much with ZooKeeper
@pytest.mark.parametrize(
    ("component", "selector"),
    [
        ("kafka", "node[3-4]"),
        ("es", "node[2-3]"),
        ("hdfs", "node[3-4]/datanode"),
    ],
)
def test_a_restart_is_told_to_stop_and_to_leave_and_loses_its_connections(
    component: str,
    selector: str,
    lab: Lab,
    home: Path,
    bdops: Bdops,
    eventually: Eventually,
    processes: list[subprocess.Popen[str]],
) -> None:
    """One signal: the step is finished. Two: bdops leaves, and the act is adopted. Cut: bdops connects again."""
    before = jobs.spawns(lab, component)
    known = jobs.job_folders(lab)

    def at_work(*argv: str) -> subprocess.Popen[str]:
        """bdops in the middle of taking something down, or whatever a former run had left to do of that."""
        seen = len(jobs.events_of(lab, "started")) if jobs.job_folders(lab) != known else 0
        process = jobs.started(lab, home, *argv)
        processes.append(process)

        def there() -> bool:
            assert process.poll() is None, process.communicate()
            kinds = [e["event"] for e in jobs.newest_events(lab)] if jobs.job_folders(lab) != known else []
            if kinds.count("started") <= seen:
                return False
            return {"act_announced", "verified"} & {*kinds[len(kinds) - kinds[::-1].index("started") :]} != set()

        eventually(there, 120)
        return process

    process = at_work(component, "restart", selector, "--waves", "serial", "--yes")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 7, stderr
    assert len(jobs.events_of(lab, "step_done")) == 1

    process = at_work("jobs", "resume")
    process.send_signal(signal.SIGINT)
    assert jobs.signal_again(process, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr

    process = at_work("jobs", "resume")
    cut = jobs.sshd_sessions_of(process.pid)
    assert cut
    for pid in cut:
        os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    if process.returncode == 7:
        done = bdops("jobs", "resume", timeout_s=300)
        assert done.returncode == 0, done.stderr
    else:
        assert process.returncode == 0, stderr

    assert jobs.newest_state(lab).status == "done"
    restarts = {name: n - before[name] for name, n in jobs.spawns(lab, component).items() if n > before[name]}
    wanted = {s.instance: 1 for s in jobs.newest_plan(lab).steps if s.instance}
    assert restarts == wanted
    assert not jobs.remains(lab)
    assert not jobs.settings_left(bdops)
