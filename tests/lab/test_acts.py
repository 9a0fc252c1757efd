"""Detached acts and processes behind services, over the lab's own sshd and supervisord."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.core.model import Host, Service
from bdops.errors import OperationFailed, StateUnknown, Unreachable
from bdops.hosts.acts import ActState, forget_act, read_act, start_act, wait_act
from bdops.hosts.processes import read_processes, read_stale
from bdops.hosts.services import restart_argv, start_argv, stop_argv
from bdops.hosts.ssh import SshPool

pytestmark = pytest.mark.lab("zk")
TIMEOUT_S = 20.0


@pytest.fixture
def host(lab: Any) -> Host:
    return lab.deployment("zk").instances[0].host


@pytest.fixture
def pool(host: Host) -> Iterator[SshPool]:
    with SshPool([host]) as pool:
        yield pool


@pytest.fixture
def act(pool: SshPool, host: Host, request: pytest.FixtureRequest) -> Iterator[str]:
    """An act's id; nothing is left of it, or of the work folder, at the end."""
    name = f"test-{os.getpid()}-{request.node.name[:40]}".replace("[", "-").replace("]", "")
    yield name
    wait_act(pool, host, name, timeout_s=TIMEOUT_S)
    forget_act(pool, host, name, timeout_s=TIMEOUT_S)
    assert not Path(host.work_dir).exists()


def wait(pool: SshPool, host: Host, act: str, **more: Any) -> ActState:
    return wait_act(pool, host, act, timeout_s=TIMEOUT_S, **more)


def cut(pool: SshPool, host: Host) -> None:
    """Kill the sshd process of this pool's connection."""
    with pytest.raises((Unreachable, OperationFailed)):
        pool.run(host, ["sh", "-c", "kill -9 $PPID"], timeout_s=TIMEOUT_S)


class TestActs:
    def test_an_act_of_the_lab_is_kept_in_the_labs_folder(self, lab: Any, host: Host) -> None:
        assert Path(host.work_dir) == lab.folder / host.name / "bdops"

    def test_an_act_runs_to_its_end(self, pool: SshPool, host: Host, act: str) -> None:
        start_act(pool, host, act, ["sh", "-c", "echo hello; exit 3"], timeout_s=TIMEOUT_S)
        assert wait(pool, host, act) == ActState(state="ended", started=True, exit_status=3, output="hello\n")

    def test_its_output_is_told_as_it_comes(self, pool: SshPool, host: Host, act: str, tmp_path: Path) -> None:
        go = tmp_path / "go"
        script = f"printf 'first \\303'; while [ ! -e {go} ]; do sleep 0.05; done; printf '\\274 last'"
        start_act(pool, host, act, ["sh", "-c", script], timeout_s=TIMEOUT_S)
        said: list[str] = []

        def hear(text: str) -> None:
            said.append(text)
            go.touch()

        assert wait(pool, host, act, on_output=hear, poll_s=0.05).output == "first ü last"
        assert said[0] == "first "
        assert "".join(said) == "first ü last"

    def test_a_cut_connection_neither_ends_nor_repeats_it(
        self, pool: SshPool, host: Host, act: str, tmp_path: Path
    ) -> None:
        script = f"echo ran >>{tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done"
        start_act(pool, host, act, ["sh", "-c", script], timeout_s=TIMEOUT_S)
        cut(pool, host)
        assert read_act(pool, host, act, timeout_s=TIMEOUT_S).state == "running"
        start_act(pool, host, act, ["sh", "-c", script], timeout_s=TIMEOUT_S)
        (tmp_path / "go").touch()
        assert wait(pool, host, act) == ActState(state="ended", started=True, exit_status=0, output="done\n")
        assert (tmp_path / "log").read_text() == "ran\n"

    def test_waiting_goes_on_over_a_new_connection(self, pool: SshPool, host: Host, act: str, tmp_path: Path) -> None:
        script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        start_act(pool, host, act, ["sh", "-c", f"echo $PPID; {script}"], timeout_s=TIMEOUT_S)
        found: list[ActState] = []
        waiting = threading.Thread(target=lambda: found.append(wait(pool, host, act, poll_s=0.02)))
        waiting.start()
        for _ in range(5):
            cut(pool, host)
        (tmp_path / "go").touch()
        waiting.join(TIMEOUT_S)
        assert [f.state for f in found] == ["ended"]

    def test_a_connection_that_died_without_a_word_is_given_up(
        self, pool: SshPool, host: Host, act: str, tmp_path: Path
    ) -> None:
        sshd = int(pool.run(host, ["sh", "-c", "echo $PPID"], timeout_s=TIMEOUT_S).stdout)
        start_act(pool, host, act, ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"], timeout_s=20)
        os.kill(sshd, signal.SIGSTOP)
        try:
            (tmp_path / "go").touch()
            assert wait_act(pool, host, act, timeout_s=60).state == "ended"
        finally:
            os.kill(sshd, signal.SIGKILL)

    def test_an_act_outlives_the_killed_process_that_started_it_and_is_adopted(
        self, pool: SshPool, host: Host, act: str, tmp_path: Path
    ) -> None:
        script = f"echo ran >>{tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4"
        program = f"""
from bdops.core.model import Host, Ssh
from bdops.hosts.acts import start_act, wait_act
from bdops.hosts.ssh import SshPool
host = {host!r}
with SshPool([host]) as pool:
    start_act(pool, host, {act!r}, ["sh", "-c", {script!r}], timeout_s=20)
    print("started", flush=True)
    wait_act(pool, host, {act!r}, timeout_s=60)
"""
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert child.stdout
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGKILL)
        child.wait(TIMEOUT_S)
        child.stdout.close()
        start_act(pool, host, act, ["sh", "-c", script], timeout_s=TIMEOUT_S)
        (tmp_path / "go").touch()
        assert wait(pool, host, act).exit_status == 4
        assert (tmp_path / "log").read_text() == "ran\n"

    def test_its_output_is_bounded(self, pool: SshPool, host: Host, act: str) -> None:
        start_act(pool, host, act, ["sh", "-c", "head -c 5000000 /dev/zero; echo end"], timeout_s=TIMEOUT_S)
        heard = 0

        def hear(text: str) -> None:
            nonlocal heard
            heard += len(text)

        state = wait(pool, host, act, on_output=hear)
        assert len(state.output) == 65536
        assert state.output.endswith("\0end\n")
        assert heard <= 5_000_004

    def test_one_that_still_runs_at_the_deadline_is_told_as_running(
        self, pool: SshPool, host: Host, act: str, tmp_path: Path
    ) -> None:
        start_act(pool, host, act, ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"], timeout_s=20)
        started = time.monotonic()
        assert wait_act(pool, host, act, timeout_s=0.5).state == "running"
        assert time.monotonic() - started < 5
        with pytest.raises(OperationFailed) as caught:
            forget_act(pool, host, act, timeout_s=TIMEOUT_S)
        assert caught.value.code == "ACT_RUNNING"
        (tmp_path / "go").touch()

    def test_a_host_that_is_gone_at_the_deadline_is_an_error(self, host: Host) -> None:
        nowhere = replace(host, ssh=replace(host.ssh, port=1))
        with SshPool([nowhere]) as pool, pytest.raises(Unreachable) as caught:
            wait_act(pool, nowhere, "a", timeout_s=0.5)
        assert caught.value.code == "SSH_REFUSED"

    def test_sudo_is_put_before_the_act_and_never_asks(self, pool: SshPool, host: Host, act: str) -> None:
        start_act(pool, host, act, ["id", "-u"], timeout_s=TIMEOUT_S, sudo=True)
        state = wait(pool, host, act)
        # Where there is a sudo it lets root in; where there is none, its name is what cannot be run.
        assert (state.exit_status, state.output) == (0, "0\n") or (state.exit_status == 127 and "sudo" in state.output)

    def test_a_work_folder_that_is_not_ours_is_refused_with_what_to_change(self, pool: SshPool, host: Host) -> None:
        theirs = replace(host, work_dir="/proc/self")
        for call in (read_act, forget_act):
            with pytest.raises(OperationFailed) as caught:
                call(pool, theirs, "a", timeout_s=TIMEOUT_S)
            assert caught.value.code == "ACT_FOREIGN"
            assert "work_dir" in (caught.value.hint or "")

    def test_a_folder_that_cannot_be_made_is_told(self, pool: SshPool, host: Host) -> None:
        with pytest.raises(OperationFailed, match="Not a directory") as caught:
            start_act(pool, replace(host, work_dir="/etc/passwd/x"), "a", ["true"], timeout_s=TIMEOUT_S)
        assert caught.value.code == "ACT_NOT_STARTED"

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 201, "$HOME"])
    def test_what_is_no_id_is_refused(self, pool: SshPool, host: Host, name: str) -> None:
        with pytest.raises(ValueError, match="not an act's id"):
            start_act(pool, host, name, ["true"], timeout_s=TIMEOUT_S)


@pytest.fixture
def supervised(host: Host, lab: Any, tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    """Two programs under the host's own supervisord, beside the lab's: one that runs, one that does not."""
    zk: Service = lab.deployment("zk").instances[0].service
    assert zk.config
    extra = Path(zk.config).parent / "programs" / "test-processes.conf"
    programs = [
        f"[program:{name}]\ncommand=/bin/sleep 1000\nautostart={start}\nstartsecs=0\nstopsignal=KILL\n"
        for name, start in (("test-up", "true"), ("test-down", "false"))
    ]
    extra.write_text("\n".join(programs))
    ctl = [zk.supervisorctl, "-c", zk.config]
    subprocess.run([*ctl, "update"], check=True, capture_output=True, timeout=60)
    yield replace(zk, unit="test-up"), replace(zk, unit="test-down")
    extra.unlink()
    subprocess.run([*ctl, "update"], check=True, capture_output=True, timeout=60)


class TestProcesses:
    def test_a_restart_shows_as_another_process(
        self, pool: SshPool, host: Host, supervised: tuple[Service, Service]
    ) -> None:
        up, down = supervised

        def read() -> dict[str, Any]:
            return dict(read_processes(pool, host, {"up": up, "down": down}, timeout_s=TIMEOUT_S))

        before = read()
        assert before["up"].status.state == "running"
        assert before["up"].process.pid == before["up"].status.pid
        assert abs(before["up"].process.started_at.timestamp() - time.time()) < 120
        assert (before["down"].status.state, before["down"].process) == ("stopped", None)
        assert read()["up"].process == before["up"].process
        assert pool.run(host, restart_argv(up), timeout_s=TIMEOUT_S).exit_status == 0
        after = read()
        assert after["up"].status.state == "running"
        assert after["up"].process not in (None, before["up"].process)
        assert after["up"].process.boot_id == before["up"].process.boot_id
        assert pool.run(host, stop_argv(up), timeout_s=TIMEOUT_S).exit_status == 0
        assert read()["up"].process is None
        assert pool.run(host, start_argv(up), timeout_s=TIMEOUT_S).exit_status == 0
        assert read()["up"].process is not None

    def test_a_process_that_is_stopping_is_still_one(
        self, pool: SshPool, host: Host, lab: Any, supervised: tuple[Service, Service], eventually: Callable[..., Any]
    ) -> None:
        up, _ = supervised
        assert up.config
        extra = Path(up.config).parent / "programs" / "test-processes.conf"
        stubborn = "/bin/sh -c 'trap : TERM; while :; do sleep 0.1; done'"
        extra.write_text(f"[program:test-up]\ncommand={stubborn}\nstartsecs=0\nstopwaitsecs=4\nstopsignal=TERM\n")
        subprocess.run([up.supervisorctl, "-c", up.config, "update"], check=True, capture_output=True, timeout=60)

        def read() -> Any:
            return read_processes(pool, host, {"up": up}, timeout_s=TIMEOUT_S)["up"]

        before = read().process
        assert before
        stopping = subprocess.Popen([up.supervisorctl, "-c", up.config, "stop", "test-up"], stdout=subprocess.DEVNULL)
        found = eventually(lambda: (s := read()) and s.status.state == "stopping" and s, 20)
        assert found.process == before
        stopping.wait(60)
        assert read().process is None

    def test_plain_commands_name_their_process(self, pool: SshPool, host: Host, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        own = Service(
            manager="commands",
            start=("sh", "-c", f"sleep 1000 >/dev/null 2>&1 & echo $! >{pid}"),
            stop=("sh", "-c", f"kill -9 $(cat {pid})"),
            status=("sh", "-c", f"kill -0 $(cat {pid}) 2>/dev/null"),
            pid=("cat", str(pid)),
        )
        services = {"own": own, "silent": replace(own, pid=())}
        assert pool.run(host, start_argv(own), timeout_s=TIMEOUT_S).exit_status == 0
        first = read_processes(pool, host, services, timeout_s=TIMEOUT_S)
        assert first["own"].process
        assert (first["silent"].status.state, first["silent"].process) == ("running", None)
        assert pool.run(host, restart_argv(own), timeout_s=TIMEOUT_S).exit_status == 0
        second = read_processes(pool, host, services, timeout_s=TIMEOUT_S)
        assert second["own"].process not in (None, first["own"].process)
        assert pool.run(host, stop_argv(own), timeout_s=TIMEOUT_S).exit_status == 0
        assert read_processes(pool, host, services, timeout_s=TIMEOUT_S)["own"].process is None

    def test_a_file_that_changed_since_the_start_makes_a_process_stale(
        self, pool: SshPool, host: Host, supervised: tuple[Service, Service], tmp_path: Path
    ) -> None:
        up, down = supervised
        conf, folder, other = tmp_path / "conf", tmp_path / "jars", tmp_path / "other"
        folder.mkdir()
        for path in (conf, folder / "a.jar", other):
            path.write_text("old")
        files = (str(conf), str(folder), str(other))
        services = {"up": replace(up, files=files), "down": replace(down, files=files), "none": up}

        def read() -> dict[str, tuple[str, ...]]:
            return dict(read_stale(pool, host, services, timeout_s=TIMEOUT_S))

        assert pool.run(host, restart_argv(up), timeout_s=TIMEOUT_S).exit_status == 0
        assert read() == {"up": ()}
        conf.write_text("new")
        # As a package or `cp -p` does it: new content, an old modification time.
        (folder / "a.jar").write_text("new")
        os.utime(folder / "a.jar", (1, 1))
        assert read() == {"up": (str(conf), str(folder))}
        assert pool.run(host, restart_argv(up), timeout_s=TIMEOUT_S).exit_status == 0
        assert read() == {"up": ()}
        conf.unlink()
        with pytest.raises(StateUnknown, match="conf is not there"):
            read()
