"""What the SSH layer refuses before it opens a connection."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bdops.core.model import Host, Ssh
from bdops.errors import ConfigError, Unreachable
from bdops.hosts.ssh import MAX_CONNECTS, PhaseTimeout, SshPool


def host(name: str, jump: str | None) -> Host:
    return Host(name=name, address="127.0.0.1", ssh=Ssh(port=1, jump=jump, agent=False))


def test_jump_hosts_in_a_circle_are_a_configuration_error() -> None:
    hosts = [host("a", "b"), host("b", "c"), host("c", "b")]
    with SshPool(hosts) as pool, pytest.raises(ConfigError, match="a -> b -> c -> b"):
        pool.run(hosts[0], ["true"], timeout_s=2)


@pytest.mark.parametrize("jump", ["user@", "user@host:port", ":22"])
def test_a_jump_host_that_is_no_address_is_a_configuration_error(jump: str) -> None:
    with SshPool() as pool, pytest.raises(ConfigError, match="user@host:port"):
        pool.run(host("a", jump), ["true"], timeout_s=2)


def test_the_jump_hosts_own_settings_come_from_the_ssh_config(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host bastion\n  HostName 127.0.0.9\n  Port 1\n  User jumper\nHost *\n  ProxyJump bastion\n")
    behind = Host(name="a", address="127.0.0.1", ssh=Ssh(port=1, jump="bastion", agent=False, config=str(config)))
    with SshPool([behind]) as pool, pytest.raises(Unreachable) as caught:
        pool.run(behind, ["true"], timeout_s=2)
    assert (caught.value.code, caught.value.where) == ("SSH_REFUSED", "127.0.0.9:1")


class Silent:
    """Accepts connections, never says a word, and counts how many are there at once."""

    def __init__(self) -> None:
        self.port = 0
        self.most = 0
        self.seen = 0
        self._over = threading.Event()
        self._ready = threading.Event()

    def serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, selectors.DefaultSelector() as selector:
            self.port = listener.getsockname()[1]
            selector.register(listener, selectors.EVENT_READ)
            self._ready.set()
            there: set[socket.socket] = set()
            while not self._over.is_set():
                if not selector.select(0.05):
                    continue
                client, _ = listener.accept()
                client.setblocking(False)
                self.seen += 1
                # Those that hung up before this one came are not there any more.
                there = {each for each in there if not self._hung_up(each)} | {client}
                self.most = max(self.most, len(there))
            for client in there:
                client.close()

    @staticmethod
    def _hung_up(client: socket.socket) -> bool:
        try:
            while client.recv(4096):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        client.close()
        return True

    @contextmanager
    def running(self) -> Iterator[Silent]:
        thread = threading.Thread(target=self.serve)
        thread.start()
        self._ready.wait(10)
        yield self
        self._over.set()
        thread.join(10)


def test_so_many_connect_at_once_and_no_more(tmp_path: Path) -> None:
    with Silent().running() as server, SshPool() as pool:
        known = tmp_path / "known_hosts"
        hosts = [
            Host(
                name=f"n{i}",
                address="127.0.0.1",
                # A user of its own makes it a connection of its own.
                ssh=Ssh(user=f"u{i}", port=server.port, agent=False, known_hosts=str(known), connect_timeout_s=0.5),
            )
            for i in range(2 * MAX_CONNECTS)
        ]
        errors: list[Exception] = []

        def ask(host: Host) -> None:
            try:
                pool.run(host, ["true"], timeout_s=30)
            except Unreachable as e:
                errors.append(e)

        threads = [threading.Thread(target=ask, args=(host,)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert server.seen == len(errors) == len(hosts)
    assert all(isinstance(e, PhaseTimeout) and e.phase == "ssh banner" for e in errors)
    # The kernel ends a connection a moment after its owner let it go, where another thread was reading from it.
    assert MAX_CONNECTS // 2 <= server.most <= MAX_CONNECTS * 1.25


def test_who_waits_too_long_for_a_place_is_told_so() -> None:
    with Silent().running() as server, SshPool() as pool:
        hosts = [
            Host(
                name=f"n{i}",
                address="127.0.0.1",
                ssh=Ssh(user=f"u{i}", port=server.port, agent=False, connect_timeout_s=5),
            )
            for i in range(MAX_CONNECTS + 4)
        ]
        phases: list[str] = []

        def ask(host: Host, timeout_s: float) -> None:
            try:
                pool.run(host, ["true"], timeout_s=timeout_s)
            except PhaseTimeout as e:
                phases.append(e.phase)

        first = [threading.Thread(target=ask, args=(host, 4)) for host in hosts[:MAX_CONNECTS]]
        late = [threading.Thread(target=ask, args=(host, 0.5)) for host in hosts[MAX_CONNECTS:]]
        for thread in first:
            thread.start()
        deadline = time.monotonic() + 3
        while server.most < MAX_CONNECTS and time.monotonic() < deadline:
            time.sleep(0.02)
        for thread in late:
            thread.start()
        for thread in (*first, *late):
            thread.join(60)
    assert phases.count("waiting for a place among those that connect") == len(late)
    assert phases.count("ssh banner") == len(first)


def test_a_server_that_falls_silent_after_its_banner_is_a_timeout_in_the_key_exchange() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                while client.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        ssh = Ssh(port=listener.getsockname()[1], agent=False, connect_timeout_s=0.5)
        with SshPool() as pool, pytest.raises(PhaseTimeout) as caught:
            pool.run(Host(name="n", address="127.0.0.1", ssh=ssh), ["true"], timeout_s=10)
        thread.join(10)
    assert caught.value.phase == "key exchange"
