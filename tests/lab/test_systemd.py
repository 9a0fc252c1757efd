"""The systemd service manager, on a real systemd over a real sshd."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdops.core.model import Host, Service
from bdops.hosts.acts import forget_act, start_act, wait_act
from bdops.hosts.processes import ServiceProcess, read_processes, read_stale
from bdops.hosts.services import restart_argv, start_argv, stop_argv
from bdops.hosts.ssh import SshPool
from tests.lab.systemd_host import systemd_host, unit

TIMEOUT_S = 30.0
UNITS = {
    "tiny.service": unit("ExecStart=/bin/sleep 1000"),
    "tiny@.service": unit("ExecStart=/bin/sleep %i"),
    "fails.service": unit("ExecStart=/bin/false"),
    "again.service": unit("ExecStart=/bin/false", "Restart=always", "RestartSec=600"),
    "slow.service": unit("Type=notify", "ExecStart=/bin/sleep 1000", "TimeoutStartSec=600"),
    "stubborn.service": unit(
        "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'", "TimeoutStopSec=5", "KillMode=process"
    ),
    "forks.service": unit(
        "Type=forking", "PIDFile=/run/forks.pid", "ExecStart=/bin/sh -c 'sleep 1000 & echo $! >/run/forks.pid'"
    ),
    "oneshot.service": unit("Type=oneshot", "RemainAfterExit=yes", "ExecStart=/bin/true"),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with systemd_host(tmp_path_factory.mktemp("systemd"), UNITS) as host:
        yield host


@pytest.fixture
def pool(host: Host) -> Iterator[SshPool]:
    with SshPool([host]) as pool:
        yield pool


def service(name: str) -> Service:
    return Service(manager="systemd", unit=name)


@pytest.fixture
def read(pool: SshPool, host: Host) -> Callable[[str], ServiceProcess]:
    return lambda name: read_processes(pool, host, {"it": service(name)}, timeout_s=TIMEOUT_S)["it"]


@pytest.fixture
def run(pool: SshPool, host: Host) -> Callable[..., Any]:
    return lambda argv: pool.run(host, argv, timeout_s=TIMEOUT_S)


def test_it_is_not_this_machines_systemd(run: Callable[..., Any], host: Host) -> None:
    assert run(["cat", "/proc/1/comm"]).stdout == "systemd\n"
    assert run(["readlink", "/proc/self/ns/pid"]).stdout.strip() != str(Path("/proc/self/ns/pid").readlink())
    assert run(["ls", "/tmp"]).stdout == ""
    assert "tiny.service" in run(["systemctl", "list-unit-files", "--no-legend"]).stdout
    assert run(["sh", "-c", "touch /usr/x 2>&1; echo 1 2>&1 >/proc/sys/fs/nr_open"]).exit_status != 0


def test_start_restart_and_stop_show_as_processes(read: Callable[..., Any], run: Callable[..., Any]) -> None:
    assert read("tiny").status.state == "stopped"
    assert run(start_argv(service("tiny"))).exit_status == 0
    first = read("tiny")
    assert (first.status.state, first.status.pid) == ("running", first.process.pid)
    assert abs(first.process.started_at.timestamp() - time.time()) < 60
    assert run(start_argv(service("tiny"))).exit_status == 0
    assert read("tiny").process == first.process
    assert run(restart_argv(service("tiny"))).exit_status == 0
    second = read("tiny")
    assert second.status.state == "running"
    assert second.process not in (None, first.process)
    assert second.process.boot_id == first.process.boot_id
    assert run(stop_argv(service("tiny"))).exit_status == 0
    assert (read("tiny").status.state, read("tiny").process) == ("stopped", None)
    assert run(restart_argv(service("tiny"))).exit_status == 0
    assert read("tiny").status.state == "running"


def test_a_killed_process_is_a_failed_unit(
    read: Callable[..., Any], run: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    run(restart_argv(service("tiny")))
    run(["kill", "-9", str(read("tiny").process.pid)])
    found = eventually(lambda: (f := read("tiny")).status.state == "failed" and f, TIMEOUT_S)
    assert found.process is None
    assert "signal" in found.status.detail
    run(["systemctl", "reset-failed", "tiny"])


def test_a_unit_that_fails_and_one_that_is_tried_again_have_failed(
    read: Callable[..., Any], run: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    for name in ("fails", "again"):
        run(start_argv(service(name)))
        found = eventually(lambda name=name: (f := read(name)).status.state == "failed" and f, TIMEOUT_S)
        assert found.process is None
        assert "exit-code" in found.status.detail
    run(stop_argv(service("again")))


def test_a_unit_that_there_is_not_is_absent(read: Callable[..., Any], run: Callable[..., Any]) -> None:
    assert read("nosuch").status.state == "absent"
    assert run(start_argv(service("nosuch"))).exit_status != 0


def test_a_unit_that_starts_and_one_that_stops_have_a_process(
    read: Callable[..., Any], run: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    run(["systemctl", "start", "--no-block", "slow"])
    slow = eventually(lambda: (f := read("slow")).status.state == "starting" and f.process and f, TIMEOUT_S)
    assert slow.process.pid == slow.status.pid
    run(stop_argv(service("slow")))
    run(start_argv(service("stubborn")))
    before = read("stubborn").process
    run(["systemctl", "stop", "--no-block", "stubborn"])
    stopping = eventually(lambda: (f := read("stubborn")).status.state == "stopping" and f, TIMEOUT_S)
    assert stopping.process == before
    eventually(lambda: read("stubborn").process is None, TIMEOUT_S)


def test_the_main_process_of_a_unit_that_forks_is_the_one_that_stays(
    read: Callable[..., Any], run: Callable[..., Any]
) -> None:
    assert run(start_argv(service("forks"))).exit_status == 0
    found = read("forks")
    assert found.process.pid == int(run(["cat", "/run/forks.pid"]).stdout)
    assert run(stop_argv(service("forks"))).exit_status == 0


def test_a_oneshot_that_has_ended_has_no_process(read: Callable[..., Any], run: Callable[..., Any]) -> None:
    run(start_argv(service("oneshot")))
    assert (read("oneshot").status.state, read("oneshot").process) == ("stopped", None)


def test_many_units_are_asked_for_at_once(pool: SshPool, host: Host, run: Callable[..., Any]) -> None:
    run(["systemctl", "start", "tiny", "tiny@900", "tiny@901"])
    names = {"a": "tiny", "b": "tiny@900.service", "c": "tiny@901", "d": "nosuch"}
    found = read_processes(pool, host, {k: service(v) for k, v in names.items()}, timeout_s=TIMEOUT_S)
    assert {name: each.status.state for name, each in found.items()} == {
        "a": "running", "b": "running", "c": "running", "d": "absent",
    }  # fmt: skip
    assert len({each.process for each in found.values()}) == 4


def test_a_changed_file_makes_the_unit_stale(pool: SshPool, host: Host, run: Callable[..., Any]) -> None:
    run(["sh", "-c", "echo old >/tmp/conf"])
    run(restart_argv(service("tiny")))
    tiny = {"tiny": Service(manager="systemd", unit="tiny", files=("/tmp/conf",))}
    assert read_stale(pool, host, tiny, timeout_s=TIMEOUT_S) == {"tiny": ()}
    run(["sh", "-c", "echo new >/tmp/conf"])
    assert read_stale(pool, host, tiny, timeout_s=TIMEOUT_S) == {"tiny": ("/tmp/conf",)}


def test_a_restart_as_a_detached_act_leaves_nothing_behind(
    pool: SshPool, host: Host, read: Callable[..., Any], run: Callable[..., Any]
) -> None:
    run(restart_argv(service("tiny")))
    before = read("tiny").process
    act = f"restart-{os.getpid()}"
    start_act(pool, host, act, restart_argv(service("tiny")), timeout_s=TIMEOUT_S)
    assert wait_act(pool, host, act, timeout_s=TIMEOUT_S).exit_status == 0
    assert read("tiny").process not in (None, before)
    forget_act(pool, host, act, timeout_s=TIMEOUT_S)
    assert run(["ls", host.work_dir]).exit_status != 0
