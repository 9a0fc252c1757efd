"""Commands on hosts over SSH: one connection a host, kept and shared. The only user of paramiko.

Host keys are strict: a key that known_hosts does not have, or has otherwise, refuses with the command that
would accept it. Every phase has a deadline, and every failure says which phase it was in.
"""

from __future__ import annotations

import getpass
import logging
import select
import shlex
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.core.model import Host, Ssh
from bdops.core.units import format_duration
from bdops.errors import BdopsError, ConfigError, NotAuthorised, OperationFailed, Unreachable
from bdops.hosts import known_hosts

if TYPE_CHECKING:
    import paramiko

MAX_OUTPUT_BYTES = 1 << 20
# Of the common public keys, those that are tried when the inventory names none.
_DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
# Signature algorithms by the type of key that known_hosts has.
_RSA_ALGORITHMS = ("rsa-sha2-512", "rsa-sha2-256")
# After a command's exit its output is waited for this long: a child of it may keep the pipe open for ever.
_LINGER_S = 0.5
_SLICE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that has ended. `sent_at` and `answered_at` (its first output) are this machine's clock, in s.

    `truncated`: there was more output than was asked for, and it was dropped.
    """

    exit_status: int
    stdout: str
    stderr: str
    truncated: bool
    sent_at: float
    answered_at: float | None


class CommandTimeout(OperationFailed):
    """A command did not end by its deadline. `partial` is what it had said by then; its exit status is -1."""

    def __init__(self, argv: Sequence[str], host: Host, timeout_s: float, partial: Completed) -> None:
        super().__init__(
            f"{argv[0]} did not end within {format_duration(timeout_s)}; it may still run there",
            where=_where(host),
            code="SSH_COMMAND_TIMEOUT",
        )
        self.partial = partial


class SshPool:
    """The connections of one run of bdops, by host. Safe to use from several threads; close it at the end.

    `hosts` are those that a `jump` may name.
    """

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self._hosts = {h.name: h for h in hosts}
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, int, str], threading.Lock] = {}
        self._transports: dict[tuple[str, int, str], paramiko.Transport] = {}
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
                _hang_up(transport)
            self._transports.clear()

    def run(
        self,
        host: Host,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> Completed:
        """Run a command on a host and wait for its end, connecting first where that is still to do.

        Raises Unreachable (SSH_REFUSED, SSH_NO_ROUTE, SSH_LOST, or SSH_TIMEOUT with the phase in the
        message), NotAuthorised (SSH_AUTH, HOST_KEY_UNKNOWN, HOST_KEY_CHANGED, HOST_KEY_REVOKED),
        CommandTimeout (SSH_COMMAND_TIMEOUT) when the command does not end by its deadline; it may then
        still run on the host. An exit status other than 0 is not an error here.
        """
        end = time.monotonic() + timeout_s
        transport = self._transport(host, timeout_s)
        return _run(transport, host, argv, stdin, end=end, timeout_s=timeout_s, limit=max_output_bytes)

    def _transport(self, host: Host, timeout_s: float) -> paramiko.Transport:
        key = (host.address, host.ssh.port, host.ssh.user or "")
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # Another thread may be connecting to the same host; it has deadlines of its own.
        if not lock.acquire(timeout=timeout_s):
            raise _timeout(host, "waiting for its connection", timeout_s)
        try:
            transport = self._transports.get(key)
            if transport is None or not transport.is_active():
                transport = _connect(host, self._socket(host, timeout_s), timeout_s)
                self._keep(key, transport, host)
            return transport
        finally:
            lock.release()

    def _keep(self, key: tuple[str, int, str], transport: paramiko.Transport, host: Host) -> None:
        with self._lock:
            # Whoever asked may have given up while this thread was connecting.
            if self._closed:
                _hang_up(transport)
                raise Unreachable("the connections were closed", where=_where(host), code="SSH_LOST")
            self._transports[key] = transport

    def _socket(self, host: Host, timeout_s: float) -> Any:
        """A connected socket to the host's sshd, or a channel through its jump host."""
        wait_s = min(host.ssh.connect_timeout_s, timeout_s)
        jump = self._jump_host(host)
        if jump is None:
            return _tcp(host, wait_s)
        self._refuse_circles(host)
        import paramiko

        transport = self._transport(jump, timeout_s)
        try:
            target = (host.address, host.ssh.port)
            return transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=wait_s)
        except paramiko.ChannelException as e:
            raise Unreachable(
                f"the jump host {jump.name} cannot connect to it: {e.text}", where=_where(host), code="SSH_JUMP"
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as e:
            raise Unreachable(
                f"no connection through the jump host {jump.name}: {e}", where=_where(host), code="SSH_JUMP"
            ) from None

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
        ssh = Ssh(
            user=user or host.ssh.user,
            port=int(port or 22),
            keys=host.ssh.keys,
            known_hosts=host.ssh.known_hosts,
            agent=host.ssh.agent,
            connect_timeout_s=host.ssh.connect_timeout_s,
        )
        return Host(name=address, address=address, ssh=ssh)


def _where(host: Host) -> str:
    return f"{host.address}:{host.ssh.port}"


def _timeout(host: Host, phase: str, timeout_s: float) -> BdopsError:
    return Unreachable(
        f"no answer within {format_duration(timeout_s)} in the phase: {phase}", where=_where(host), code="SSH_TIMEOUT"
    )


def _tcp(host: Host, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((host.address, host.ssh.port), timeout=timeout_s)
    except TimeoutError:
        raise _timeout(host, "connect", timeout_s) from None
    except ConnectionRefusedError:
        raise Unreachable("connection refused: no sshd listens there", where=_where(host), code="SSH_REFUSED") from None
    except socket.gaierror as e:
        raise Unreachable(f"the name does not resolve: {e.strerror}", where=_where(host), code="SSH_NO_NAME") from None
    except OSError as e:
        raise Unreachable(f"no connection: {e.strerror or e}", where=_where(host), code="SSH_NO_ROUTE") from None


def _connect(host: Host, sock: Any, timeout_s: float) -> paramiko.Transport:
    """Key exchange, the host's key, authentication: a transport that is ready for commands."""
    import paramiko

    _silence()
    path = Path(host.ssh.known_hosts).expanduser()
    known = known_hosts.known_keys(path, host.address, host.ssh.port)
    transport = paramiko.Transport(sock)
    try:
        transport.daemon = True
        wait_s = min(host.ssh.connect_timeout_s, timeout_s)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = wait_s
        _prefer(transport, known)
        _negotiate(transport, host, wait_s)
        _check_host_key(transport.get_remote_server_key(), known, host, path)
        _authenticate(transport, host, wait_s)
    except BaseException:
        _hang_up(transport)
        raise
    return transport


def _hang_up(transport: paramiko.Transport) -> None:
    """Close without waiting for the transport's thread, which takes up to 0.1 s to see it."""
    import paramiko

    # Over a jump host closing sends a message, which may find the connection gone.
    with suppress(paramiko.SSHException, OSError, EOFError):
        transport.packetizer.close()
        transport.sock.close()


def _prefer(transport: paramiko.Transport, known: Sequence[known_hosts.KnownKey]) -> None:
    """Ask first for a key of a type that is known, as OpenSSH does: a host has several."""
    options = transport.get_security_options()
    types = {t for k in known for t in (_RSA_ALGORITHMS if k.type == "ssh-rsa" else (k.type,))}
    options.key_types = tuple(sorted(options.key_types, key=lambda t: t not in types))


def _negotiate(transport: paramiko.Transport, host: Host, timeout_s: float) -> None:
    import paramiko

    try:
        transport.start_client(timeout=timeout_s)
    except (paramiko.SSHException, OSError, EOFError) as e:
        if not transport.remote_version:
            if "banner" in str(e) and isinstance(e.__cause__ or e.__context__, TimeoutError):
                raise _timeout(host, "ssh banner", timeout_s) from None
            raise Unreachable(
                f"what listens there is not an sshd, or it closed the connection: {e}",
                where=_where(host),
                hint="check the port; sshd also does so when MaxStartups is reached",
                code="SSH_BANNER",
            ) from None
        raise Unreachable(f"the key exchange failed: {e}", where=_where(host), code="SSH_KEX") from None
    if not transport.initial_kex_done:
        raise _timeout(host, "key exchange" if transport.remote_version else "ssh banner", timeout_s)


def _check_host_key(key: paramiko.PKey, known: Sequence[known_hosts.KnownKey], host: Host, path: Path) -> None:
    blob = key.asbytes()
    kind = key.get_name()
    address, port = host.address, host.ssh.port
    shown = f"{kind} {known_hosts.fingerprint(blob)}"
    add = known_hosts.accepting_command(path, address, port)
    if any(k.revoked and k.blob == blob for k in known):
        raise NotAuthorised(
            f"the host key {shown} is revoked in {path}",
            where=_where(host),
            hint="the host needs a new host key",
            code="HOST_KEY_REVOKED",
        )
    if any(k.blob == blob for k in known):
        return
    if any(k.type == kind and not k.revoked for k in known):
        forget = known_hosts.forgetting_command(path, address, port)
        raise NotAuthorised(
            f"the host key has changed: it is now {shown}; somebody may be in between, or the host is new",
            where=_where(host),
            hint=f"only if you know why: {forget} && {add}",
            code="HOST_KEY_CHANGED",
        )
    others = ", ".join(sorted({k.type for k in known}))
    raise NotAuthorised(
        f"the host key is not known: {shown}" + (f" (known are: {others})" if others else ""),
        where=_where(host),
        hint=f"compare the fingerprint on the host, then accept it: {add}",
        code="HOST_KEY_UNKNOWN",
    )


def _authenticate(transport: paramiko.Transport, host: Host, timeout_s: float) -> None:
    """Try the inventory's keys (or the usual ones), the agent's, then the password, until one is accepted."""
    import paramiko

    user = host.ssh.user or getpass.getuser()
    deadline = time.monotonic() + timeout_s
    tried: list[str] = []
    for name, key in _keys(host.ssh, tried):
        if time.monotonic() > deadline:
            raise _timeout(host, "authentication", timeout_s)
        try:
            transport.auth_publickey(user, key)
        except paramiko.BadAuthenticationType as e:
            tried.append(f"{name}: the server takes only {', '.join(e.allowed_types)}")
            break
        except (paramiko.SSHException, OSError, EOFError) as e:
            if not transport.is_active():
                tried.append(f"{name}: the server closed the connection ({e})")
                break
            if "timeout" in str(e).lower():
                raise _timeout(host, "authentication", timeout_s) from None
            tried.append(f"{name}: not accepted")
        if transport.is_authenticated():
            return
    if host.ssh.password is not None and transport.is_active():
        _try_password(transport, host, user, tried)
    if not transport.is_authenticated():
        raise NotAuthorised(
            f"user {user} is not let in; "
            + ("; ".join(tried) if tried else "there is no key, agent or password to try"),
            where=_where(host),
            hint=f"try: ssh -v -p {host.ssh.port} {user}@{host.address}; set ssh.user and ssh.keys in the inventory",
            code="SSH_AUTH",
        )


def _try_password(transport: paramiko.Transport, host: Host, user: str, tried: list[str]) -> None:
    import paramiko

    from bdops.hosts.secrets import reveal

    assert host.ssh.password is not None
    try:
        transport.auth_password(user, reveal(host.ssh.password))
    except (paramiko.SSHException, OSError, EOFError) as e:
        why = "not accepted" if isinstance(e, paramiko.AuthenticationException) else str(e)
        tried.append(f"the password from {host.ssh.password}: {why}")


def _keys(ssh: Ssh, tried: list[str]) -> Iterable[tuple[str, paramiko.PKey]]:
    """Keys with a name for people. A named key that cannot be read is told in `tried` and passed over."""
    import paramiko

    named = ssh.keys or tuple(k for k in _DEFAULT_KEYS if Path(k).expanduser().exists())
    for path in named:
        try:
            yield f"key {path}", paramiko.PKey.from_path(Path(path).expanduser())
        except (paramiko.PasswordRequiredException, TypeError):
            tried.append(f"key {path}: has a passphrase, which only an agent can give")
        except OSError as e:
            tried.append(f"key {path}: {e.strerror}")
        except (paramiko.SSHException, ValueError, paramiko.pkey.UnknownKeyType):
            tried.append(f"key {path}: not a private key that can be used (ed25519, ecdsa, rsa)")
    if ssh.agent:
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                yield f"agent key {key.comment or key.fingerprint}", key
        finally:
            agent.close()


def _run(
    transport: paramiko.Transport,
    host: Host,
    argv: Sequence[str],
    stdin: bytes,
    *,
    end: float,
    timeout_s: float,
    limit: int,
) -> Completed:
    import paramiko

    try:
        channel = transport.open_session(timeout=max(0.01, end - time.monotonic()))
    except (paramiko.SSHException, OSError, EOFError) as e:
        raise Unreachable(f"no session for a command: {e}", where=_where(host), code="SSH_SESSION") from None
    try:
        # Before any data comes: it makes the channel one that poll() can wait for.
        channel.fileno()
        channel.settimeout(max(0.01, end - time.monotonic()))
        sent_at = time.time()
        channel.exec_command(shlex.join(argv))
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
        output, answered_at, ended = _collect(channel, end, limit)
    except TimeoutError:
        raise OperationFailed(
            f"{argv[0]} took no input for {format_duration(timeout_s)}", where=_where(host), code="SSH_COMMAND_TIMEOUT"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as e:
        raise Unreachable(
            f"the connection was lost while {argv[0]} ran: {e or type(e).__name__}", where=_where(host), code="SSH_LOST"
        ) from None
    finally:
        channel.close()
    completed = Completed(
        exit_status=channel.exit_status if ended else -1,
        stdout=bytes(output[0]).decode("utf-8", "replace"),
        stderr=bytes(output[1]).decode("utf-8", "replace"),
        truncated=output[2],
        sent_at=sent_at,
        answered_at=answered_at,
    )
    if not ended:
        raise CommandTimeout(argv, host, timeout_s, completed)
    if completed.exit_status < 0:
        if transport.is_active():
            raise OperationFailed(f"a signal ended {argv[0]}", where=_where(host), code="SSH_COMMAND_SIGNALLED")
        raise Unreachable(f"the connection was lost while {argv[0]} ran", where=_where(host), code="SSH_LOST")
    return completed


def _collect(
    channel: paramiko.Channel, end: float, limit: int
) -> tuple[tuple[bytearray, bytearray, bool], float | None, bool]:
    """Read both streams to their end, or to the deadline `end`: the last value tells whether the command had ended."""
    kept = (bytearray(), bytearray())
    truncated = False
    answered_at: float | None = None
    linger_until: float | None = None
    # Not select(), which cannot wait for a file descriptor above 1,023.
    readable = select.poll()
    readable.register(channel, select.POLLIN)
    while True:
        for stream, ready, receive in (
            (kept[0], channel.recv_ready, channel.recv),
            (kept[1], channel.recv_stderr_ready, channel.recv_stderr),
        ):
            while ready():
                data = receive(65536)
                answered_at = answered_at or time.time()
                room = limit - len(kept[0]) - len(kept[1])
                truncated = truncated or len(data) > room
                stream += data[: max(0, room)]
        now = time.monotonic()
        if channel.exit_status_ready() and (channel.eof_received or channel.closed):
            if not (channel.recv_ready() or channel.recv_stderr_ready()):
                return (*kept, truncated), answered_at, True
            continue
        if channel.exit_status_ready():
            linger_until = linger_until or now + _LINGER_S
            if now >= linger_until:
                return (*kept, truncated), answered_at, True
        if now >= end:
            return (*kept, truncated), answered_at, False
        if channel.eof_received:
            # The channel stays readable from here on; the status is an event.
            channel.status_event.wait(end - now)
        else:
            # In slices: the exit status of a command whose output stays open makes nothing readable.
            readable.poll(1000 * min(end - now, _SLICE_S))


def _silence() -> None:
    """paramiko logs what it also raises, and its threads log what nobody waits for any more."""
    logger = logging.getLogger("paramiko")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
