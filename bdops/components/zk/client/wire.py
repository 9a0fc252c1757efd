"""Sockets to a ZooKeeper server, with TLS where it is set, and the words for all the ways in which they fail."""

from __future__ import annotations

import socket
import ssl

from bdops.components.zk.settings import Tls
from bdops.core.units import format_duration
from bdops.errors import BdopsError, ConfigError, NotAuthorised, Unreachable

_CERTIFICATE_WANTED = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA")
"""What a server's alerts say of a client without a certificate, or with one of an authority unknown to it."""


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The TLS side of the settings. Raises ConfigError for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key, password=key_password(tls))
    except (OSError, ssl.SSLError) as e:
        files = ", ".join(f for f in (tls.ca, tls.cert, tls.key) if f)
        raise ConfigError(
            f"cannot use the TLS files {files}: {e}", hint="check `tls` of the zk settings", code="ZK_TLS_FILES"
        ) from None
    return context


def key_password(tls: Tls) -> str:
    """The password of the client's key, or nothing. Raises ConfigError when the secret is not to be had."""
    if tls.key_password is None:
        # Without this OpenSSL asks at the terminal for the password of an encrypted key.
        return ""
    from bdops.hosts.secrets import reveal

    return reveal(tls.key_password)


def connect(address: tuple[str, int], *, timeout_s: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connected socket, over TLS if asked. Raises Unreachable with the reason in words."""
    where = f"{address[0]}:{address[1]}"
    try:
        plain = socket.create_connection(address, timeout=timeout_s)
    except OSError as e:
        raise describe_connect_error(e, where=where, timeout_s=timeout_s) from None
    if tls is None:
        return plain
    try:
        return tls.wrap_socket(plain, server_hostname=address[0])
    except OSError as e:
        plain.close()
        raise describe_io_error(e, where=where, asked="the TLS handshake", timeout_s=timeout_s) from None


def describe_connect_error(error: OSError, *, where: str, timeout_s: float) -> BdopsError:
    """Why no connection came to be, as an Unreachable: code ZK_REFUSED, ZK_CONNECT_TIMEOUT or ZK_NO_ROUTE."""
    if isinstance(error, ConnectionRefusedError):
        return Unreachable("connection refused: nothing listens there", where=where, code="ZK_REFUSED")
    if isinstance(error, TimeoutError):
        return Unreachable(f"no connection within {format_duration(timeout_s)}", where=where, code="ZK_CONNECT_TIMEOUT")
    if isinstance(error, socket.gaierror):
        return Unreachable(f"the name does not resolve: {error.strerror}", where=where, code="ZK_NO_NAME")
    return Unreachable(f"no connection: {error.strerror or error}", where=where, code="ZK_NO_ROUTE")


def describe_io_error(error: OSError, *, where: str, asked: str, timeout_s: float) -> BdopsError:
    """Why a connected server gave no answer to `asked`, as an Unreachable: code ZK_SILENT, ZK_TLS or ZK_CLOSED."""
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"accepts connections, but did not answer {asked} within {format_duration(timeout_s)}",
            where=where,
            hint="a paused or overloaded process does so: look at it on its host",
            code="ZK_SILENT",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the server's certificate is not accepted: {error.verify_message}",
            where=where,
            hint="set `tls.ca` to the authority that signed it",
            code="ZK_TLS",
        )
    if isinstance(error, ssl.SSLError) and any(sign in str(error).upper() for sign in _CERTIFICATE_WANTED):
        return NotAuthorised(
            f"the server wants a client certificate that it trusts ({error.reason})",
            where=where,
            hint="set `tls.cert` and `tls.key`",
            code="ZK_TLS",
        )
    if isinstance(error, ssl.SSLError) or asked == "the TLS handshake":
        return Unreachable(
            f"the TLS handshake failed: {getattr(error, 'reason', None) or error.strerror or error}",
            where=where,
            hint="does this port speak TLS? Without it, remove `tls` (or `admin_tls`) from the zk settings",
            code="ZK_TLS",
        )
    return Unreachable(f"the connection broke at {asked}: {error.strerror or error}", where=where, code="ZK_CLOSED")
