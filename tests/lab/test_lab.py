"""Labs themselves: isolated, detached, repeatable, gone without a trace. Mostly on other labs, of ZooKeeper alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bdops.lab import processes, store, volumes, zk
from bdops.lab.lab import Lab
from bdops.lab.paths import cache_dir, runtime_dir
from tests import needs
from tests.contract.cli import Ran
from tests.contract.cli import bdops as run_bdops

pytestmark = pytest.mark.lab("zk")


@dataclass(frozen=True)
class Own:
    """A state folder of its own with a lab `own` in it."""

    home: Path
    state_dir: Path

    @property
    def folder(self) -> Path:
        return self.state_dir / "labs" / "own"

    @property
    def env(self) -> dict[str, str]:
        return {"BDOPS_STATE_DIR": str(self.state_dir), "BDOPS_CACHE_DIR": str(cache_dir())}

    def bdops(self, *argv: str, **env: str) -> Ran:
        return run_bdops("lab", *argv, "--name", "own", home=self.home, timeout_s=240, **{**self.env, **env})

    def states(self) -> dict[str, str]:
        servers = self.bdops("status", "-o", "json").json["data"]["servers"]
        return {s["instance"]: s["state"] for s in servers}

    def open(self, monkeypatch: pytest.MonkeyPatch) -> Lab:
        monkeypatch.setenv("BDOPS_STATE_DIR", str(self.state_dir))
        return Lab.open("own")

    def leftovers(self) -> list[object]:
        """Processes, mounts and runtime folders of the lab that are there."""
        mounted = [m for m in volumes.mounts() if m.startswith(str(self.folder))]
        runtime = runtime_dir(self.folder)
        return [*processes.marked(self.folder), *self.sshds(), *mounted, *([runtime] if runtime.exists() else [])]

    def sshds(self) -> list[str]:
        """sshd writes its title over its environment: found by its configuration file in its command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if str(self.folder) in command and "sshd" in command:
                    found.append(f"{entry.name}: {command}")
        return found


@contextmanager
def own_lab(home: Path, state_dir: Path) -> Iterator[Own]:
    one = Own(home, state_dir)
    yield one
    if one.folder.exists():
        done = one.bdops("down", "--destroy")
        assert done.returncode == 0, done.stderr
    assert one.leftovers() == []


@pytest.fixture
def own(home: Path, new_state_dir: Callable[[], Path]) -> Iterator[Own]:
    """A lab `own` that is not there yet; whatever the test leaves of it is taken down."""
    with own_lab(home, new_state_dir()) as one:
        yield one


@pytest.fixture(scope="module")
def kept(home: Path, new_state_dir: Callable[[], Path]) -> Iterator[Own]:
    with own_lab(home, new_state_dir()) as one:
        yield one


@pytest.fixture
def running(kept: Own) -> Own:
    """A lab `own` that runs, whatever the test before did to it."""
    done = kept.bdops("up", "zk")
    assert done.returncode == 0, done.stderr
    return kept


def test_two_labs_side_by_side_share_nothing(lab, running: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    network_of_the_first = lab.network
    before = zk.field(lab, "node1", "Node count")
    other = running.open(monkeypatch)
    assert other.network != network_of_the_first
    assert int(zk.field(other, "node1", "Node count") or 0) < 20
    running.bdops("kill", "zk/node1", "zk/node2", "zk/node3")
    assert running.states() == {f"zk/node{n}": "dead" for n in (1, 2, 3)}
    assert zk.healthy(lab) is None
    assert zk.field(lab, "node1", "Node count") == before


@pytest.mark.thorough
def test_a_lab_outlives_the_shell_and_keeps_none_of_its_streams(own: Own, eventually) -> None:
    command = f"{sys.executable} -m bdops lab up zk --name own 2>&1 | cat"
    env = {k: v for k, v in os.environ.items() if not k.startswith("BDOPS_")} | own.env
    shell = subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, start_new_session=True
    )
    output, _ = shell.communicate(timeout=120)  # ends only when nobody has the pipe open any more
    assert shell.returncode == 0, output
    left = processes.marked(own.folder)
    assert left
    assert all(os.getsid(one.pid) != shell.pid for one in left)
    assert set(own.states().values()) == {"running"}


def test_data_are_there_again_after_down_and_up(running: Own) -> None:
    loaded = running.bdops("load", "zk", "--factor", "0.1")
    assert loaded.returncode == 0, loaded.stderr
    down = running.bdops("down", "-o", "json")
    assert down.json["data"]["stopped"] == 3
    assert down.json["data"]["killed"] == []
    assert running.leftovers() == []
    assert set(running.states().values()) == {"stopped"}
    assert running.bdops("up", "zk").returncode == 0
    again = run_bdops("zk", "tree", "--depth", "1", "-o", "json", home=running.home, **running.env)
    assert "/services" in again.stdout


@pytest.mark.thorough
def test_down_ends_paused_servers_without_force(running: Own) -> None:
    running.bdops("pause", "node2")
    assert running.bdops("down", "-o", "json").json["data"]["killed"] == []
    assert running.leftovers() == []


def test_down_ends_what_a_dead_supervisord_left_behind(running: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = running.open(monkeypatch)
    supervisord = processes.from_pid_file(lab.host("node1").pid_file, lab.host("node1").supervisor_config)
    assert supervisord
    processes.send(supervisord, signal.SIGKILL)
    assert processes.wait_gone([supervisord], 5) == []
    assert lab.pid(zk.PROGRAM, "node1") is None
    assert running.bdops("down").returncode == 0
    assert running.leftovers() == []


def test_down_of_a_lab_that_is_down_is_no_error_and_of_none_says_so(running: Own) -> None:
    for argv in (("down",), ("down",), ("down", "--destroy")):
        assert running.bdops(*argv).returncode == 0
    unknown = running.bdops("down")
    assert unknown.returncode == 3
    assert "there is no lab 'own'" in unknown.stderr


@pytest.mark.thorough
def test_servers_are_paused_killed_stopped_and_started_by_name(running: Own) -> None:
    running.bdops("pause", "own/zk/node1")
    running.bdops("kill", "zk/node2")
    running.bdops("stop", "node3")
    assert running.states() == {"zk/node1": "paused", "zk/node2": "dead", "zk/node3": "stopped"}
    running.bdops("start", "zk/node2", "zk/node3", "zk/node1")
    assert set(running.states().values()) == {"running"}
    wrong = running.bdops("kill", "zk/node1", "zk/node9")
    assert wrong.returncode == 2
    assert "zk/node9" in wrong.stderr
    assert running.states()["zk/node1"] == "running"
    running.bdops("stop", "zk/node1")
    again = running.bdops("kill", "zk/node1")
    assert again.returncode == 1
    assert "does not run" in again.stderr


@pytest.mark.parametrize("after_s", [*(pytest.param(s, marks=pytest.mark.thorough) for s in (0.2, 0.6, 1.0, 2.4)), 1.6])
def test_a_lab_up_that_was_killed_can_be_undone_and_repeated(own: Own, after_s: float) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("BDOPS_")} | own.env
    started = subprocess.Popen(
        [sys.executable, "-m", "bdops", "lab", "up", "zk", "--name", "own"], env=env, stderr=subprocess.DEVNULL
    )
    time.sleep(after_s)  # the moment is the point: any of them must do
    started.kill()
    started.wait()
    down = own.bdops("down")
    assert down.returncode == (0 if (own.folder / "lab.json").exists() else 3)
    assert own.leftovers() == []
    up = own.bdops("up", "zk")
    assert up.returncode == 0, up.stderr


def test_two_ups_at_once_make_one_lab(own: Own) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("BDOPS_")} | own.env
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "bdops", "lab", "up", "zk", "--name", "own"], env=env, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for one in both:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
    java = [p for p in processes.marked(own.folder) if "java" in processes.describe(p.pid)]
    assert len(java) == 3


def test_a_port_that_is_taken_is_named_with_who_has_it(running: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    address = running.open(monkeypatch).host("node2").address
    running.bdops("down")
    with socket.create_server((address, zk.CLIENT_PORT)):
        refused = running.bdops("up", "zk")
    assert refused.returncode == 3
    assert f"port {zk.CLIENT_PORT} of {address} is taken by pid {os.getpid()}" in refused.stderr
    assert running.leftovers() == []


def test_missing_java_and_mvn_are_both_named_at_once(own: Own, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("ssh-keygen", "sshd"):
        found = next(Path(p) / name for p in ("/usr/bin", "/usr/sbin", "/bin") if (Path(p) / name).exists())
        (tools / name).symlink_to(found)
    refused = own.bdops("up", "zk", PATH=str(tools), JAVA_HOME="", BDOPS_CACHE_DIR=str(tmp_path / "cold"))
    assert refused.returncode == 3
    assert "no java in the PATH" in refused.stderr
    assert "mvn is not on the PATH" in refused.stderr
    assert "apt-get install" in refused.stderr
    assert own.leftovers() == []


def test_a_java_that_is_too_old_is_named(own: Own, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    refused = own.bdops("up", "zk", JAVA_HOME=str(tmp_path))
    assert refused.returncode == 3
    assert "is Java 11" in refused.stderr
    assert "17" in refused.stderr


def test_an_unknown_component_is_a_usage_error(own: Own) -> None:
    refused = own.bdops("up", "zookeper")
    assert refused.returncode == 2
    assert "zk" in refused.stderr


def test_a_server_that_cannot_start_is_named_with_its_last_words(running: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    config = zk.config_file(running.open(monkeypatch), "node2")
    running.bdops("down")
    config.write_text(config.read_text().replace("tickTime=1000", "tickTime=soon"))
    failed = running.bdops("up", "zk")
    assert failed.returncode == 1
    assert "node2" in failed.stderr
    assert "NumberFormatException" in failed.stderr
    config.write_text(config.read_text().replace("tickTime=soon", "tickTime=1000"))
    assert running.bdops("up", "zk").returncode == 0


def test_the_running_lab_is_the_default_inventory(running: Own) -> None:
    shown = run_bdops("zk", "status", "-o", "json", home=running.home, **running.env)
    assert shown.returncode == 0, shown.stderr
    running.bdops("down")
    without = run_bdops("zk", "status", home=running.home, **running.env)
    assert without.returncode == 3
    assert "no inventory" in without.stderr


def test_all_of_a_lab_is_private_to_its_user(running: Own) -> None:
    for path in (running.folder, running.folder / "ssh", running.folder / "node1", runtime_dir(running.folder)):
        assert path.stat().st_mode & 0o077 == 0, path
    for secret in (running.folder / "ssh" / "id_ed25519", running.folder / "security" / "super.password"):
        assert secret.stat().st_mode & 0o077 == 0, secret


@pytest.mark.thorough
def test_a_small_volume_fills_up_keeps_its_data_and_is_unmounted(running: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.root("mounting a small volume")
    lab = running.open(monkeypatch)
    folder = lab.small_volume("zk", "node1", 16)
    assert lab.has_small_volume("zk", "node1")
    (folder / "kept").write_text("kept")
    with pytest.raises(OSError, match="No space left"):
        (folder / "filler").write_bytes(b"\0" * (32 << 20))
    assert running.bdops("down").returncode == 0
    assert running.leftovers() == []
    assert not (folder / "kept").exists()
    assert running.bdops("up", "zk").returncode == 0
    assert (lab.small_volume("zk", "node1", 16) / "kept").read_text() == "kept"


def test_a_lab_json_of_something_else_is_a_clear_error(own: Own) -> None:
    own.folder.mkdir(parents=True)
    for text in ("", "[]", "{}", '{"format": 99}', json.dumps({"format": store.FORMAT, "name": "own"})):
        (own.folder / "lab.json").write_text(text)
        refused = own.bdops("up", "zk")
        assert refused.returncode == 3, text
        assert "lab.json" in refused.stderr
    (own.folder / "lab.json").unlink()
    own.folder.rmdir()
