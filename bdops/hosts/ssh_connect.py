"""One connection to one host: socket, key exchange, the host's strict key. Every phase has a deadline."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.core.model import Host
from bdops.errors import NotAuthorised, Unreachable
from bdops.hosts import known_hosts
from bdops.hosts.outcomes import PhaseTimeout, where
from bdops.hosts.ssh_auth import authenticate

if TYPE_CHECKING:
    import paramiko

# Signature algorithms by the type of key that known_hosts has.
_RSA_ALGORITHMS = ("rsa-sha2-512", "rsa-sha2-256")


def open_socket(host: Host, timeout_s: float) -> socket.socket:
    """A TCP connection to the host's sshd. Raises Unreachable."""
    try:
        sock = socket.create_connection((host.address, host.ssh.port), timeout=timeout_s)
        # A command is several small packets: each would wait for the answer to the one before, 40 ms (RFC 896, 1122).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    except TimeoutError:
        raise PhaseTimeout(host, "connect", timeout_s) from None
    except ConnectionRefusedError:
        raise Unreachable("connection refused: no sshd listens there", where=where(host), code="SSH_REFUSED") from None
    except socket.gaierror as e:
        raise Unreachable(f"the name does not resolve: {e.strerror}", where=where(host), code="SSH_NO_NAME") from None
    except OSError as e:
        raise Unreachable(f"no connection: {e.strerror or e}", where=where(host), code="SSH_NO_ROUTE") from None


def open_channel(host: Host, jump: Host, through: paramiko.Transport, timeout_s: float) -> paramiko.Channel:
    """A channel to the host's sshd through a jump host's connection. Raises Unreachable SSH_JUMP."""
    import paramiko

    try:
        target = (host.address, host.ssh.port)
        return through.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=timeout_s)
    except paramiko.ChannelException as e:
        raise Unreachable(
            f"the jump host {jump.name} cannot connect to it: {e.text}", where=where(host), code="SSH_JUMP"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as e:
        raise Unreachable(
            f"no connection through the jump host {jump.name}: {e}", where=where(host), code="SSH_JUMP"
        ) from None


def connect(host: Host, sock: Any, timeout_s: float) -> paramiko.Transport:
    """Key exchange, the host's key, authentication: a transport that is ready for commands.

    Raises Unreachable and NotAuthorised; see docs/hosts.md for their codes.
    """
    import paramiko

    silence()
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
        authenticate(transport, host, wait_s)
    except BaseException:
        hang_up(transport)
        raise
    return transport


def hang_up(transport: paramiko.Transport) -> None:
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

    started = time.monotonic()
    try:
        transport.start_client(timeout=timeout_s)
    except (paramiko.SSHException, OSError, EOFError) as e:
        if not transport.remote_version:
            if "banner" in str(e) and isinstance(e.__cause__ or e.__context__, TimeoutError):
                raise PhaseTimeout(host, "ssh banner", timeout_s) from None
            raise Unreachable(
                f"what listens there is not an sshd, or it closed the connection: {e}",
                where=where(host),
                hint="check the port; sshd also does so when MaxStartups is reached",
                code="SSH_BANNER",
            ) from None
        if time.monotonic() - started >= 0.9 * timeout_s:
            raise PhaseTimeout(host, "key exchange", timeout_s) from None
        why = str(e) or "the server closed the connection"
        raise Unreachable(f"the key exchange failed: {why}", where=where(host), code="SSH_KEX") from None
    if not transport.initial_kex_done:
        raise PhaseTimeout(host, "key exchange" if transport.remote_version else "ssh banner", timeout_s)


def _check_host_key(key: paramiko.PKey, known: Sequence[known_hosts.KnownKey], host: Host, path: Path) -> None:
    blob = key.asbytes()
    kind = key.get_name()
    address, port = host.address, host.ssh.port
    shown = f"{kind} {known_hosts.fingerprint(blob)}"
    add = known_hosts.accepting_command(path, address, port)
    if any(k.revoked and k.blob == blob for k in known):
        raise NotAuthorised(
            f"the host key {shown} is revoked in {path}",
            where=where(host),
            hint="the host needs a new host key",
            code="HOST_KEY_REVOKED",
        )
    if any(k.blob == blob for k in known):
        return
    if any(k.type == kind and not k.revoked for k in known):
        forget = known_hosts.forgetting_command(path, address, port)
        raise NotAuthorised(
            f"the host key has changed: it is now {shown}; somebody may be in between, or the host is new",
            where=where(host),
            hint=f"only if you know why: {forget} && {add}",
            code="HOST_KEY_CHANGED",
        )
    others = ", ".join(sorted({k.type for k in known}))
    raise NotAuthorised(
        f"the host key is not known: {shown}" + (f" (known are: {others})" if others else ""),
        where=where(host),
        hint=f"compare the fingerprint on the host, then accept it: {add}",
        code="HOST_KEY_UNKNOWN",
    )


def silence() -> None:
    """paramiko logs what it also raises, and its threads log what nobody waits for any more."""
    logger = logging.getLogger("paramiko")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
