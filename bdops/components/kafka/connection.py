"""One blocking connection to one Kafka server, with a deadline on everything and an error that says why.

The message formats are kafka-python's own protocol classes. Its admin client is not used here because it
hides which server answered and why one did not: a wrong password, TLS against plaintext and a stopped
process all end there in one timeout.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka.errors import for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from bdops import __version__
from bdops.core.units import format_duration
from bdops.errors import BdopsError, ConfigError, NotAuthorised, OperationFailed, Unreachable

if TYPE_CHECKING:
    from bdops.components.kafka.settings import Sasl, Security

MAX_FRAME_BYTES = 512 * 1024 * 1024
"""A longer answer is taken for something that is not Kafka: the first four bytes of most other protocols are one."""

_UNSUPPORTED_VERSION = 35
_UNSUPPORTED_MECHANISM = 33
_ILLEGAL_SASL_STATE = 34
_AUTHORISATION_FAILED = {29, 30, 31, 53, 58, 65}
"""TOPIC_, GROUP_, CLUSTER_, TRANSACTIONAL_ID_, SASL and DELEGATION_TOKEN authorisation errors of the protocol."""


class NothingListens(Unreachable):
    """The host answers and the port is closed: whatever else it does, that server does not serve."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens. `name` is the instance's, for messages."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name} at {self.address}:{self.port}"


class Connection:
    """An authenticated connection. One call at a time; threads may share it and then wait for each other.

    After an error the connection is of no use, as an answer may still be on its way: every later call
    raises the same error.
    """

    def __init__(self, endpoint: Endpoint, sock: socket.socket, deadline: float) -> None:
        self.endpoint = endpoint
        self._socket = sock
        self._lock = threading.Lock()
        self._broken: BdopsError | None = None
        self._correlation = 0
        self._answered = False
        self._versions: dict[int, tuple[int, int]] = {}
        self._read_versions(deadline)

    def call(self, request: Any, *, deadline: float, max_version: int | None = None) -> Any:
        """Send a request in the newest version that both sides know and return the response.

        `deadline` is of time.monotonic(). Raises Unreachable when the server does not answer by then or
        closes the connection, and OperationFailed when it does not know the request. Error codes inside
        the response are the caller's.
        """
        low, high = self._versions.get(request.API_KEY, (1, 0))
        version = min(high, request.max_version, max_version if max_version is not None else high)
        if version < low:
            raise OperationFailed(
                f"the server does not support {type(request).__name__} in a version that bdops knows",
                where=str(self.endpoint),
                code="UNSUPPORTED_BY_SERVER",
            )
        return self._exchange(request, version, deadline)

    def close(self) -> None:
        self._socket.close()

    def authenticate(self, sasl: Sasl, protocol: str, deadline: float) -> None:
        """Prove who we are. Raises NotAuthorised with what the server said, ConfigError when no password is set."""
        from bdops.hosts.secrets import reveal

        if sasl.password is None:
            raise ConfigError(f"no sasl.password for user {sasl.user!r}", where=self.endpoint.name)
        handshake = self.call(SaslHandshakeRequest(mechanism=sasl.mechanism), deadline=deadline)
        if handshake.error_code == _UNSUPPORTED_MECHANISM:
            raise NotAuthorised(
                f"the server does not take SASL {sasl.mechanism}; it offers {', '.join(handshake.mechanisms)}",
                where=str(self.endpoint),
                hint="set security.sasl.mechanism in the inventory",
            )
        if handshake.error_code == _ILLEGAL_SASL_STATE:
            raise NotAuthorised(
                "this listener does not ask for SASL",
                where=str(self.endpoint),
                hint="set security.protocol without SASL_",
            )
        raise_for(handshake.error_code, None, f"SASL handshake with {self.endpoint}")
        mechanism = get_sasl_mechanism(sasl.mechanism)(
            sasl_plain_username=sasl.user,
            sasl_plain_password=reveal(sasl.password),
            sasl_mechanism=sasl.mechanism,
            security_protocol=protocol,
        )
        while not mechanism.is_done():
            answer = self.call(SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes()), deadline=deadline)
            if answer.error_code:
                raise NotAuthorised(
                    f"user {sasl.user!r} was refused: {answer.error_message or for_code(answer.error_code).__name__}",
                    where=str(self.endpoint),
                    hint=f"check security.sasl.user, and the password in {sasl.password}",
                )
            try:
                mechanism.receive(answer.auth_bytes)
            except (ValueError, KeyError) as e:
                raise NotAuthorised(f"the server's part of SCRAM is wrong: {e}", where=str(self.endpoint)) from None

    def _read_versions(self, deadline: float) -> None:
        version = ApiVersionsRequest.max_version
        response = self._exchange(_api_versions_request(), version, deadline)
        if response.error_code == _UNSUPPORTED_VERSION:
            known = {a.api_key: a.max_version for a in response.api_keys}
            version = min(version, known.get(ApiVersionsRequest.API_KEY, 0))
            response = self._exchange(_api_versions_request(), version, deadline)
        raise_for(response.error_code, None, f"ApiVersions of {self.endpoint}")
        self._versions = {a.api_key: (a.min_version, a.max_version) for a in response.api_keys}

    def _exchange(self, request: Any, version: int, deadline: float) -> Any:
        with self._lock:
            if self._broken:
                raise self._broken
            try:
                return self._exchange_once(request, version, deadline)
            except BdopsError as e:
                self._broken = e
                raise

    def _exchange_once(self, request: Any, version: int, deadline: float) -> Any:
        self._correlation += 1
        request.API_VERSION = version
        request.with_header(correlation_id=self._correlation, client_id=f"bdops-{__version__}")
        try:
            self._socket.settimeout(_remaining(deadline))
            self._socket.sendall(request.encode(version=version, header=True, framed=True))
            frame = self._frame(deadline)
        except TimeoutError:
            asked = type(request).__name__.removesuffix("Request")
            raise Unreachable(f"connected, but no answer to {asked}", where=str(self.endpoint)) from None
        except ssl.SSLError as e:
            raise _tls_error(e, self.endpoint) from None
        except OSError as e:
            raise Unreachable(f"the connection broke: {e.strerror or e}", where=str(self.endpoint)) from None
        return self._decoded(request, version, frame)

    def _decoded(self, request: Any, version: int, frame: bytes) -> Any:
        response_type = request.header.get_response_class()
        if len(frame) < 4 or struct.unpack_from(">i", frame)[0] != self._correlation:
            raise _not_kafka(self.endpoint, frame[:12])
        try:
            response = response_type.decode(frame, version=version, header=True)
        except Exception as e:
            # The decoder meets whatever bytes the server sent: any error of it means that they are not the protocol.
            raise Unreachable(
                f"cannot decode the answer to {type(request).__name__}: {type(e).__name__}", where=str(self.endpoint)
            ) from None
        self._answered = True
        return response

    def _frame(self, deadline: float) -> bytes:
        head = self._receive(4, deadline)
        (size,) = struct.unpack(">i", head)
        if head[:2] == b"\x15\x03" and not self._answered:
            raise Unreachable(
                "the server speaks TLS here and was addressed in plaintext",
                where=str(self.endpoint),
                hint="set security.protocol to SSL or SASL_SSL in the inventory",
            )
        if not 0 < size <= MAX_FRAME_BYTES:
            raise _not_kafka(self.endpoint, head)
        return self._receive(size, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        filled = 0
        while filled < size:
            self._socket.settimeout(_remaining(deadline))
            count = self._socket.recv_into(view[filled:])
            if not count:
                raise self._closed_by_peer()
            filled += count
        return bytes(buffer)

    def _closed_by_peer(self) -> Unreachable:
        if self._answered:
            message = "the server closed the connection, as a listener that asks for SASL does to a client without"
        else:
            message = "the server closed the connection without an answer, as a TLS listener does to plaintext"
        return Unreachable(message, where=str(self.endpoint), hint="check security.protocol and the port")


def connect(endpoint: Endpoint, security: Security, *, deadline: float) -> Connection:
    """Connect, over TLS and with SASL as `security` says, and learn what the server speaks.

    `deadline` is of time.monotonic(). Raises Unreachable, NotAuthorised or ConfigError.
    """
    started = time.monotonic()
    try:
        sock = socket.create_connection((endpoint.address, endpoint.port), timeout=_remaining(deadline))
    except TimeoutError:
        waited = format_duration(time.monotonic() - started)
        raise Unreachable(f"no connection within {waited}", where=str(endpoint)) from None
    except OSError as e:
        kind = NothingListens if isinstance(e, ConnectionRefusedError) else Unreachable
        raise kind(f"cannot connect: {e.strerror or e}", where=str(endpoint)) from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if security.protocol.endswith("SSL"):
            sock = _over_tls(sock, endpoint, security, deadline)
        connection = Connection(endpoint, sock, deadline)
        if security.protocol.startswith("SASL"):
            connection.authenticate(security.sasl, security.protocol, deadline)
        return connection
    except BaseException:
        sock.close()
        raise


def raise_for(error_code: int, message: str | None, what: str, *, needs: str | None = None) -> None:
    """Turn an error code of the protocol into an error of ours; 0 passes. `needs`: the ACL that it takes."""
    if not error_code:
        return
    name, code = for_code(error_code).__name__, f"KAFKA_{error_code}"
    if error_code in _AUTHORISATION_FAILED:
        # What the server says of it is its own view of the request, objects of Java and all.
        raise lacking(f"{what}: {name}", needs, code=code)
    raise OperationFailed(f"{what}: {name}{f': {message}' if message else ''}", code=code)


def lacking(text: str, needs: str | None, *, code: str | None = None) -> NotAuthorised:
    """The error of a user who may not do this, with the ACL that would let them."""
    return NotAuthorised(
        f"{text}; the user lacks {needs}" if needs else text,
        hint="docs/security.md has the ACLs that each command needs",
        code=code,
    )


def _over_tls(sock: socket.socket, endpoint: Endpoint, security: Security, deadline: float) -> ssl.SSLSocket:
    try:
        context = ssl.create_default_context(cafile=security.ca)
        if not security.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if security.cert:
            from bdops.hosts.secrets import reveal

            password = reveal(security.key_password) if security.key_password else ""
            context.load_cert_chain(security.cert, security.key, password=password)
    except (OSError, ssl.SSLError) as e:
        files = ", ".join(f for f in (security.ca, security.cert, security.key) if f)
        raise ConfigError(f"cannot use the TLS files {files}: {e.strerror or e}", where=endpoint.name) from None
    sock.settimeout(_remaining(deadline))
    try:
        return context.wrap_socket(sock, server_hostname=endpoint.address)
    except TimeoutError:
        raise Unreachable("connected, but no answer to the TLS handshake", where=str(endpoint)) from None
    except ssl.SSLError as e:
        raise _tls_error(e, endpoint) from None
    except OSError as e:
        raise Unreachable(f"the TLS handshake broke: {e.strerror or e}", where=str(endpoint)) from None


def _tls_error(error: ssl.SSLError, endpoint: Endpoint) -> BdopsError:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the server's certificate is not accepted: {error.verify_message}",
            where=str(endpoint),
            hint="set security.ca to the authority that signed it; its names must include the address in the inventory",
        )
    if "certificate required" in reason or "bad certificate" in reason or "unknown ca" in reason:
        return NotAuthorised(
            f"the server wants a client certificate that it trusts ({reason})",
            where=str(endpoint),
            hint="set security.cert and security.key",
        )
    return Unreachable(
        f"the TLS handshake failed ({reason}): a plaintext listener does that",
        where=str(endpoint),
        hint="check security.protocol and the port",
    )


def _not_kafka(endpoint: Endpoint, head: bytes) -> Unreachable:
    return Unreachable(
        f"what answers does not speak the Kafka protocol (it begins {head!r})",
        where=str(endpoint),
        hint="check the port in the inventory",
    )


def _api_versions_request() -> Any:
    return ApiVersionsRequest(client_software_name="bdops", client_software_version=__version__)


def _remaining(deadline: float) -> float:
    """Seconds left; raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
