"""Commands on hosts over SSH: one connection a host, kept and shared. Modules called ssh... alone use paramiko.

Host keys are strict: a key that known_hosts does not have, or has otherwise, refuses with the command that
would accept it. Every phase has a deadline, and every failure says which phase it was in.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.core.model import Host
from bdops.errors import ConfigError, Unreachable
from bdops.hosts.outcomes import CommandTimeout, Completed, PhaseTimeout, where
from bdops.hosts.ssh_command import OnOutput, run_command
from bdops.hosts.ssh_config import settings_of
from bdops.hosts.ssh_connect import connect, hang_up, open_channel, open_socket

if TYPE_CHECKING:
    import paramiko

__all__ = ["MAX_OUTPUT_BYTES", "CommandTimeout", "Completed", "PhaseTimeout", "SshPool"]

MAX_OUTPUT_BYTES = 1 << 20
# sshd's MaxStartups (10:30:100) drops connections that are not let in yet, a jump host's sshd those to it and, as a
# rule, those to the hosts behind it too, where they meet in one firewall.
MAX_CONNECTS = 32
MAX_CONNECTS_PER_JUMP = 8
# sshd's MaxSessions is 10; a push may want one beside the commands.
MAX_SESSIONS_PER_HOST = 8


class SshPool:
    """The connections of one run of bdops, by host. Safe to use from several threads; close it at the end.

    `hosts` are those that a `jump` may name.
    """

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self._hosts = {h.name: h for h in hosts}
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, int, str], threading.Lock] = {}
        self._transports: dict[tuple[str, int, str], paramiko.Transport] = {}
        self._connects = threading.BoundedSemaphore(MAX_CONNECTS)
        self._connects_by_jump: dict[tuple[str, int, str], threading.BoundedSemaphore] = {}
        self._sessions: dict[tuple[str, int, str], threading.BoundedSemaphore] = {}
        self._closed = False

    def __enter__(self) -> SshPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Their threads see it and end by themselves."""
        with self._lock:
            self._closed = True
            # Those that came through a jump host before the jump host's own.
            for transport in reversed(self._transports.values()):
                hang_up(transport)
            self._transports.clear()

    def drop(self, host: Host) -> None:
        """Forget the connection to a host, which may be dead without saying so: the next command makes a new one."""
        with self._lock:
            transport = self._transports.pop(_key(host), None)
        if transport is not None:
            hang_up(transport)

    def run(
        self,
        host: Host,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        on_output: OnOutput | None = None,
    ) -> Completed:
        """Run a command on a host and wait for its end, connecting first where that is still to do.

        With `on_output` each piece goes there as it comes, all of it; what Completed keeps is bounded all the same.
        Raises Unreachable (SSH_REFUSED, SSH_NO_ROUTE, SSH_LOST, or SSH_TIMEOUT with the phase in the
        message), NotAuthorised (SSH_AUTH, HOST_KEY_UNKNOWN, HOST_KEY_CHANGED, HOST_KEY_REVOKED),
        CommandTimeout (SSH_COMMAND_TIMEOUT) when the command does not end by its deadline; it may then
        still run on the host. An exit status other than 0 is not an error here.
        """
        end = time.monotonic() + timeout_s
        with self.session(host, timeout_s=timeout_s) as transport:
            return run_command(
                transport,
                host,
                argv,
                stdin,
                end=end,
                timeout_s=timeout_s,
                limit=max_output_bytes,
                on_output=on_output,
            )

    @contextmanager
    def session(self, host: Host, *, timeout_s: float) -> Iterator[paramiko.Transport]:
        """The host's connection, with room for one more session on it. Raises what `run` does on its way there."""
        end = time.monotonic() + timeout_s
        transport = self._transport(host, timeout_s)
        with self._lock:
            room = self._sessions.setdefault(_key(host), threading.BoundedSemaphore(MAX_SESSIONS_PER_HOST))
        with _room(room, host, "waiting for a session", max(0.0, end - time.monotonic()), timeout_s):
            yield transport

    def _transport(self, host: Host, timeout_s: float) -> paramiko.Transport:
        key = _key(host)
        with self._lock:
            transport = self._transports.get(key)
            lock = self._locks.setdefault(key, threading.Lock())
        if transport is not None and transport.is_active():
            return transport
        # Another thread may be connecting to the same host; it has deadlines of its own.
        with _room(lock, host, "waiting for its connection", timeout_s, timeout_s):
            transport = self._transports.get(key)
            if transport is None or not transport.is_active():
                transport = self._connect(host, time.monotonic() + timeout_s, timeout_s)
                self._keep(key, transport, host)
            return transport

    def _connect(self, host: Host, end: float, timeout_s: float) -> paramiko.Transport:
        """A new connection, in its turn. A jump host's comes first: who waits for it keeps no place from it."""

        def left_s() -> float:
            return max(0.01, end - time.monotonic())

        jump = self._jump_host(host)
        with ExitStack() as places:
            through = None
            if jump is not None:
                self._refuse_circles(host)
                through = self._transport(jump, left_s())
                with self._lock:
                    limit = threading.BoundedSemaphore(MAX_CONNECTS_PER_JUMP)
                    of_jump = self._connects_by_jump.setdefault(_key(jump), limit)
                waiting = f"waiting for a place among those that connect through {jump.name}"
                places.enter_context(_room(of_jump, host, waiting, left_s(), timeout_s))
            waiting = "waiting for a place among those that connect"
            places.enter_context(_room(self._connects, host, waiting, left_s(), timeout_s))
            sock = self._socket(host, jump, through, left_s())
            return connect(host, sock, left_s())

    def _keep(self, key: tuple[str, int, str], transport: paramiko.Transport, host: Host) -> None:
        with self._lock:
            # Whoever asked may have given up while this thread was connecting.
            if self._closed:
                hang_up(transport)
                raise Unreachable("the connections were closed", where=where(host), code="SSH_LOST")
            self._transports[key] = transport

    def _socket(
        self, host: Host, jump: Host | None, through: paramiko.Transport | None, timeout_s: float
    ) -> socket.socket | paramiko.Channel:
        """A connected socket to the host's sshd, or a channel through its jump host."""
        wait_s = min(host.ssh.connect_timeout_s, timeout_s)
        if jump is None or through is None:
            return open_socket(host, wait_s)
        return open_channel(host, jump, through, wait_s)

    def _refuse_circles(self, host: Host) -> None:
        """Raise ConfigError when the jump hosts lead back to one that was passed already."""
        passed = [host.name]
        at = self._jump_host(host)
        while at:
            passed.append(at.name)
            if passed.count(at.name) > 1:
                raise ConfigError(f"the jump hosts go in a circle: {' -> '.join(passed)}", code="SSH_JUMP")
            at = self._jump_host(at)

    def _jump_host(self, host: Host) -> Host | None:
        """The host that `jump` names: another one of the inventory, else `[user@]address[:port]`."""
        text = host.ssh.jump
        if not text or text == host.name:
            return None
        if text in self._hosts:
            return self._hosts[text]
        user, _, rest = text.rpartition("@")
        address, _, port = rest.partition(":")
        if not address or (port and not port.isdigit()):
            raise ConfigError(f"the jump host {text!r} of {host.name} is not user@host:port", code="SSH_JUMP")
        said: dict[str, Any] = {"user": user or host.ssh.user}
        if port:
            said["port"] = int(port)
        # Its own settings, else those of the host behind it.
        configured = dict(settings_of(Path(host.ssh.config).expanduser(), address)) if host.ssh.config else {}
        if "user" in configured and not user:
            said.pop("user")
        name, address = address, configured.pop("address", address)
        if configured.get("jump") in (name, address):
            configured.pop("jump")
        ssh = replace(host.ssh, **{"port": 22, "jump": None, "password": None, **configured, **said})
        return Host(name=name, address=address, ssh=ssh)


def _key(host: Host) -> tuple[str, int, str]:
    return (host.address, host.ssh.port, host.ssh.user or "")


@contextmanager
def _room(
    lock: threading.Lock | threading.Semaphore, host: Host, phase: str, wait_s: float, timeout_s: float
) -> Iterator[None]:
    """Hold the lock, or a place of the semaphore. Raises PhaseTimeout."""
    if not lock.acquire(timeout=wait_s):
        raise PhaseTimeout(host, phase, timeout_s)
    try:
        yield
    finally:
        lock.release()
