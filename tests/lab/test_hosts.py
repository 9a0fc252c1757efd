"""SSH against the lab's own sshd, and the host checks on its hosts."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.components.host.read import read_host
from bdops.core.model import Host, Service, Ssh
from bdops.errors import BdopsError, NotAuthorised, OperationFailed, Unreachable
from bdops.hosts.ssh import MAX_CONNECTS_PER_JUMP, MAX_SESSIONS_PER_HOST, CommandTimeout, Completed, SshPool
from tests.unit.hosts.test_ssh import Silent

pytestmark = pytest.mark.lab("zk")


@pytest.fixture(scope="module")
def host(lab) -> Host:
    return lab.deployment("zk").instances[0].host


@pytest.fixture
def pool(lab) -> Iterator[SshPool]:
    with SshPool([i.host for i in lab.deployment("zk").instances]) as pool:
        yield pool


def with_ssh(host: Host, **changes: Any) -> Host:
    ssh: Ssh = replace(host.ssh, **changes)
    return replace(host, ssh=ssh)


def run(host: Host, *argv: str, timeout_s: float = 10.0) -> Completed:
    with SshPool([host]) as pool:
        return pool.run(host, argv or ("true",), timeout_s=timeout_s)


def suppressed(pool: SshPool, host: Host, timeout_s: float) -> None:
    with suppress(BdopsError):
        pool.run(host, ["true"], timeout_s=timeout_s)


def error_of(call: Callable[[], Any], kind: type[BdopsError]) -> BdopsError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def make_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True, timeout=60)
    return path


class TestCommands:
    def test_words_arrive_as_they_are_and_never_as_shell(self, pool: SshPool, host: Host) -> None:
        words = ["a b", "$HOME", "'", '"', "*", "; false", "ünï", ""]
        done = pool.run(host, ["printf", "%s|", *words], timeout_s=10)
        assert done.stdout == "".join(f"{w}|" for w in words)
        assert done.exit_status == 0

    def test_both_streams_the_input_and_the_exit_status_are_told(self, pool: SshPool, host: Host) -> None:
        done = pool.run(host, ["sh", "-c", "cat; echo oops >&2; exit 7"], stdin=b"hello", timeout_s=10)
        assert (done.exit_status, done.stdout, done.stderr) == (7, "hello", "oops\n")

    def test_commands_of_one_pool_share_one_connection(self, pool: SshPool, host: Host) -> None:
        seen = {pool.run(host, ["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=10).stdout.split()[1] for _ in range(3)}
        assert len(seen) == 1

    def test_small_packets_do_not_wait_for_one_another(self, pool: SshPool, host: Host) -> None:
        took_s = []
        for _ in range(25):
            began = time.monotonic()
            pool.run(host, ["true"], timeout_s=10)
            took_s.append(time.monotonic() - began)
        # A kernel answers the first packets at once, and the others after 40 ms when nothing else is to be sent.
        assert min(took_s[5:]) < 0.03

    def test_threads_share_it_too(self, pool: SshPool, host: Host) -> None:
        seen: list[str] = []

        def ask() -> None:
            seen.append(pool.run(host, ["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=20).stdout)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(seen) == 8
        assert len(set(seen)) == 1

    def test_output_is_bounded(self, pool: SshPool, host: Host) -> None:
        done = pool.run(host, ["head", "-c", "20000000", "/dev/zero"], timeout_s=30, max_output_bytes=1000)
        assert len(done.stdout) == 1000
        assert done.truncated
        assert done.exit_status == 0

    def test_a_command_that_does_not_end_is_given_up_at_the_deadline(self, pool: SshPool, host: Host) -> None:
        pool.run(host, ["true"], timeout_s=10)
        started = time.monotonic()
        error = error_of(lambda: pool.run(host, ["sleep", "30"], timeout_s=1), OperationFailed)
        assert error.code == "SSH_COMMAND_TIMEOUT"
        assert time.monotonic() - started < 3
        assert pool.run(host, ["echo", "still here"], timeout_s=10).stdout == "still here\n"

    def test_what_a_command_said_before_its_deadline_is_kept(self, pool: SshPool, host: Host) -> None:
        with pytest.raises(CommandTimeout) as caught:
            pool.run(host, ["sh", "-c", "echo first; sleep 30"], timeout_s=2)
        assert caught.value.partial.stdout == "first\n"

    def test_a_service_manager_that_hangs_leaves_the_rest_of_the_host_known(self, pool: SshPool, host: Host) -> None:
        hangs = {"x": Service(manager="commands", status=("sleep", "30"))}
        observed = read_host(pool, host, ("/",), hangs, timeout_s=3)
        assert observed.error is None
        assert observed.clock_offset_s is not None
        assert [d.exists for d in observed.data_dirs or ()] == [True]
        assert [(s.instance, s.state) for s in observed.services or ()] == [("x", "unknown")]

    def test_a_child_that_keeps_the_output_open_does_not_keep_us(self, pool: SshPool, host: Host) -> None:
        done = pool.run(host, ["sh", "-c", "sleep 20 & echo done"], timeout_s=10)
        assert done.stdout == "done\n"

    def test_a_command_ended_by_a_signal_is_no_exit_status(self, pool: SshPool, host: Host) -> None:
        error = error_of(lambda: pool.run(host, ["sh", "-c", "kill -9 $$"], timeout_s=10), OperationFailed)
        assert error.code == "SSH_COMMAND_SIGNALLED"

    def test_a_lost_connection_is_told_and_the_next_command_connects_again(self, pool: SshPool, host: Host) -> None:
        # The shell's parent is the sshd process of this connection.
        error = error_of(lambda: pool.run(host, ["sh", "-c", "kill -9 $PPID"], timeout_s=10), BdopsError)
        assert error.code in ("SSH_LOST", "SSH_COMMAND_SIGNALLED")
        assert pool.run(host, ["echo", "again"], timeout_s=10).stdout == "again\n"

    def test_another_host_is_reached_through_a_jump_host(self, lab) -> None:
        first, second = (i.host for i in lab.deployment("zk").instances[:2])
        behind = with_ssh(second, jump=first.name)
        with SshPool([first, behind]) as pool:
            done = pool.run(behind, ["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=10)
        assert done.stdout.split()[2] == second.address

    def test_a_jump_host_may_be_named_by_its_address(self, lab) -> None:
        first, second = (i.host for i in lab.deployment("zk").instances[:2])
        behind = with_ssh(second, jump=f"{first.ssh.user}@{first.address}:{first.ssh.port}")
        assert run(behind, "echo", "hello").stdout == "hello\n"

    def test_a_jump_host_is_found_in_the_ssh_config(self, lab, tmp_path: Path) -> None:
        first, second = (i.host for i in lab.deployment("zk").instances[:2])
        config = tmp_path / "config"
        config.write_text(f"Host bastion\n  HostName {first.address}\n  Port {first.ssh.port}\n")
        behind = with_ssh(second, jump="bastion", config=str(config))
        done = run(behind, "sh", "-c", "echo $SSH_CONNECTION")
        assert done.stdout.split()[0] == second.address or done.stdout.split()[2] == second.address

    def test_so_many_connect_through_one_jump_host_at_once_and_no_more(self, lab, host: Host) -> None:
        with Silent().running() as server:
            behind = [
                replace(
                    with_ssh(host, user=f"u{i}", port=server.port, jump=host.name), name=f"b{i}", address="127.0.0.1"
                )
                for i in range(2 * MAX_CONNECTS_PER_JUMP)
            ]
            with SshPool([host]) as pool:
                threads = [threading.Thread(target=suppressed, args=(pool, each, 4.0)) for each in behind]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
            # A channel's end reaches the far server a moment late.
            assert MAX_CONNECTS_PER_JUMP // 2 <= server.most <= MAX_CONNECTS_PER_JUMP * 1.5

    def test_output_is_handed_on_as_it_comes_and_what_is_kept_stays_bounded(
        self, pool: SshPool, host: Host, tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        script = f"echo first; while [ ! -e {go} ]; do sleep 0.05; done; echo oops >&2; head -c 3000000 /dev/zero"
        heard = {"stdout": bytearray(), "stderr": bytearray()}

        def hear(stream: str, data: bytes) -> None:
            heard[stream] += data
            go.touch()

        done = pool.run(host, ["sh", "-c", script], timeout_s=30, max_output_bytes=1000, on_output=hear)
        assert heard["stdout"] == b"first\n" + bytes(3000000)
        assert heard["stderr"] == b"oops\n"
        assert len(done.stdout) + len(done.stderr) == 1000
        assert done.truncated

    def test_a_command_that_never_falls_silent_does_not_outrun_its_deadline(self, pool: SshPool, host: Host) -> None:
        started = time.monotonic()
        error = error_of(lambda: pool.run(host, ["yes"], timeout_s=2, on_output=lambda *_: None), CommandTimeout)
        assert error.code == "SSH_COMMAND_TIMEOUT"
        assert time.monotonic() - started < 10

    def test_more_commands_than_a_connection_has_sessions_for_take_turns(self, pool: SshPool, host: Host) -> None:
        done: list[Completed] = []

        def ask() -> None:
            done.append(pool.run(host, ["sleep", "0.2"], timeout_s=30))

        threads = [threading.Thread(target=ask) for _ in range(3 * MAX_SESSIONS_PER_HOST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [d.exit_status for d in done] == [0] * len(threads)

    def test_a_dropped_connection_is_made_again(self, pool: SshPool, host: Host) -> None:
        ask = ["sh", "-c", "echo $SSH_CONNECTION"]
        before = pool.run(host, ask, timeout_s=10).stdout
        pool.drop(host)
        assert pool.run(host, ask, timeout_s=10).stdout != before


@pytest.fixture
def authorize(lab) -> Iterator[Callable[[Path], Path]]:
    """Lets a key in on all of the lab's hosts, until the test is over."""
    file = Path(lab.folder) / "ssh" / "authorized_keys"
    before = file.read_text()

    def let_in(key: Path) -> Path:
        with file.open("a") as out:
            out.write(key.with_name(f"{key.name}.pub").read_text())
        return key

    yield let_in
    file.write_text(before)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A real ssh-agent; the fixture adds keys to it."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    deadline = time.monotonic() + 10
    while not (tmp_path / "agent").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)

    def add(key: Path) -> None:
        subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=30, capture_output=True)

    yield add
    process.terminate()
    process.wait(10)


class TestKeys:
    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_keys_of_each_kind_are_let_in(
        self, host: Host, tmp_path: Path, authorize: Callable[[Path], Path], kind: str
    ) -> None:
        key = authorize(make_key(tmp_path / "key", kind))
        assert run(with_ssh(host, keys=(str(key),)), "echo", "in").stdout == "in\n"

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_the_agents_keys_are_let_in(
        self, host: Host, tmp_path: Path, authorize: Callable[[Path], Path], agent: Callable[[Path], None], kind: str
    ) -> None:
        key = authorize(make_key(tmp_path / "key", kind))
        agent(key)
        key.unlink()
        nobody = str(make_key(tmp_path / "nobody"))
        assert run(with_ssh(host, keys=(nobody,), agent=True), "echo", "in").stdout == "in\n"
        error = error_of(lambda: run(with_ssh(host, keys=(nobody,), agent=False)), NotAuthorised)
        assert error.code == "SSH_AUTH"

    def test_many_threads_may_use_one_agent(
        self, lab, tmp_path: Path, authorize: Callable[[Path], Path], agent: Callable[[Path], None]
    ) -> None:
        agent(authorize(make_key(tmp_path / "key")))
        hosts = [with_ssh(i.host, keys=("/nobody",), agent=True) for i in lab.deployment("zk").instances]
        said: list[str] = []
        with SshPool(hosts) as pool:
            threads = [
                threading.Thread(target=lambda h=h: said.append(pool.run(h, ["echo", "in"], timeout_s=20).stdout))
                for h in hosts
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert said == ["in\n"] * len(hosts)


class TestRefusals:
    def test_an_unknown_host_key_refuses_with_the_command_that_accepts_it(self, host: Host, tmp_path: Path) -> None:
        stranger = with_ssh(host, known_hosts=str(tmp_path / "known_hosts"))
        error = error_of(lambda: run(stranger), NotAuthorised)
        assert error.code == "HOST_KEY_UNKNOWN"
        assert "SHA256:" in error.message
        assert error.hint is not None
        command = error.hint[error.hint.index("ssh-keyscan") :]
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=30)
        assert run(stranger, "echo", "accepted").stdout == "accepted\n"

    def test_a_changed_host_key_refuses_with_the_commands_that_accept_it(self, host: Host, tmp_path: Path) -> None:
        other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[1]
        known = tmp_path / "known_hosts"
        known.write_text(f"[{host.address}]:{host.ssh.port} ssh-ed25519 {other}\n")
        changed = with_ssh(host, known_hosts=str(known))
        error = error_of(lambda: run(changed), NotAuthorised)
        assert error.code == "HOST_KEY_CHANGED"
        assert error.hint is not None
        command = error.hint[error.hint.index("ssh-keygen -R") :]
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=30)
        assert run(changed, "echo", "accepted").stdout == "accepted\n"

    def test_a_revoked_host_key_refuses(self, host: Host, tmp_path: Path) -> None:
        name = f"[{host.address}]:{host.ssh.port} "
        lines = Path(host.ssh.known_hosts).read_text().splitlines()
        key = next(line.removeprefix(name) for line in lines if line.startswith(name))
        known = tmp_path / "known_hosts"
        known.write_text(f"{name}{key}\n@revoked * {key}\n")
        error = error_of(lambda: run(with_ssh(host, known_hosts=str(known))), NotAuthorised)
        assert error.code == "HOST_KEY_REVOKED"

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_a_key_that_the_host_does_not_take_is_named(self, host: Host, tmp_path: Path, kind: str) -> None:
        key = make_key(tmp_path / "wrong", kind)
        error = error_of(lambda: run(with_ssh(host, keys=(str(key),))), NotAuthorised)
        assert error.code == "SSH_AUTH"
        assert f"key {key}: not accepted" in error.message

    def test_a_key_that_is_not_there_or_no_key_at_all_is_named(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "garbage").write_text("no key")
        keys = (str(tmp_path / "absent"), str(tmp_path / "garbage"))
        error = error_of(lambda: run(with_ssh(host, keys=keys)), NotAuthorised)
        assert "absent: No such file" in error.message
        assert "garbage: not a private key" in error.message

    def test_a_key_with_a_passphrase_needs_an_agent(self, host: Host, tmp_path: Path) -> None:
        key = tmp_path / "locked"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True, timeout=60)
        error = error_of(lambda: run(with_ssh(host, keys=(str(key),))), NotAuthorised)
        assert "has a passphrase" in error.message

    def test_a_wrong_key_before_the_right_one_does_not_matter(self, host: Host, tmp_path: Path) -> None:
        keys = (str(make_key(tmp_path / "wrong")), *host.ssh.keys)
        assert run(with_ssh(host, keys=keys), "echo", "in").stdout == "in\n"


class TestUnreachable:
    def test_a_port_where_nothing_listens_is_refused(self, host: Host) -> None:
        error = error_of(lambda: run(with_ssh(host, port=1)), Unreachable)
        assert error.code == "SSH_REFUSED"
        assert error.where == f"{host.address}:1"

    def test_a_port_that_accepts_and_says_nothing_is_a_timeout_in_the_banner(self, host: Host) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            half_open = replace(
                with_ssh(host, port=listener.getsockname()[1], connect_timeout_s=0.5), address="127.0.0.1"
            )
            started = time.monotonic()
            error = error_of(lambda: run(half_open), Unreachable)
        assert error.code == "SSH_TIMEOUT"
        assert "ssh banner" in error.message
        assert time.monotonic() - started < 5

    def test_a_server_that_is_not_sshd_is_told_as_such(self, lab, host: Host) -> None:
        port = lab.deployment("zk").instances[0].settings.admin_port
        error = error_of(lambda: run(with_ssh(host, port=port, connect_timeout_s=2)), Unreachable)
        assert error.code in ("SSH_BANNER", "SSH_TIMEOUT")

    def test_a_name_that_does_not_resolve_is_told(self, host: Host) -> None:
        error = error_of(lambda: run(replace(host, address="no-such-host.invalid")), Unreachable)
        assert error.code in ("SSH_NO_NAME", "SSH_NO_ROUTE")

    def test_a_host_behind_a_jump_host_that_cannot_be_reached_names_the_jump_host(self, lab) -> None:
        first, second = (i.host for i in lab.deployment("zk").instances[:2])
        behind = with_ssh(second, jump=first.name, port=1)
        with SshPool([first, behind]) as pool:
            error = error_of(lambda: pool.run(behind, ["true"], timeout_s=10), Unreachable)
        assert error.code == "SSH_JUMP"
        assert first.name in error.message


class TestChecks:
    def results(self, bdops: Any) -> dict[str, dict[str, Any]]:
        found = bdops("check", "--timeout", "10s", "-o", "json").json["data"]["checks"]
        return {r["code"]: r for r in found if r["code"].startswith("HOST_")}

    def service(self, bdops: Any, name: str) -> str | None:
        """What HOST_SERVICE finds of an instance; the others stop serving for a moment when it was the leader."""
        details = {f["object"]: f["detail"] for f in self.results(bdops)["HOST_SERVICE"]["objects"]}
        return details.get(name)

    def test_the_labs_hosts_are_well(self, bdops) -> None:
        found = self.results(bdops)
        assert len(found) == 5
        assert found["HOST_SERVICE"]["severity"] == "ok"
        assert found["HOST_REACHABLE"]["severity"] == "ok"
        assert found["HOST_CLOCK_SKEW"]["severity"] == "ok"

    def test_a_killed_service_is_found_through_its_manager(self, bdops, lab, eventually) -> None:
        bdops("lab", "kill", "zk/node2", "--name", lab.name)
        try:
            detail = eventually(lambda: self.service(bdops, "zk/node2"), 120)
        finally:
            assert bdops("lab", "start", "zk/node2", "--name", lab.name).returncode == 0
        assert "EXITED" in detail

    def test_a_paused_service_runs_for_its_manager_and_does_not_serve(self, bdops, lab, eventually) -> None:
        bdops("lab", "pause", "zk/node3", "--name", lab.name)
        try:
            detail = eventually(lambda: self.service(bdops, "zk/node3"), 120)
        finally:
            assert bdops("lab", "resume", "zk/node3", "--name", lab.name).returncode == 0
        assert "RUNNING" in detail
        assert "does not serve" in detail

    def test_hosts_that_will_not_have_us_cost_their_own_check_only(
        self, bdops, lab, tmp_path: Path, eventually
    ) -> None:
        inventory = tmp_path / "inventory.yaml"
        known = str(Path(lab.folder) / "ssh" / "known_hosts")
        text = lab.inventory.read_text()
        assert known in text
        inventory.write_text(text.replace(known, str(tmp_path / "nobody")))
        # What the tests before this one have killed and paused is whole again: a critical is worse than an unknown.
        eventually(lambda: bdops("check", "--timeout", "10s").returncode == 0, 180)
        done = bdops("check", "--timeout", "10s", "-o", "json", BDOPS_INVENTORY=str(inventory))
        found = {r["code"]: r for r in done.json["data"]["checks"]}
        assert found["HOST_REACHABLE"]["severity"] == "unknown"
        assert "ssh-keyscan" in found["HOST_REACHABLE"]["hint"]
        assert found["ZK_QUORUM"]["severity"] == "ok"
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
