"""Hadoop RPC: one connection to one server, one protobuf message out and one back.

The wire format is Hadoop's IPC version 9 (org.apache.hadoop.ipc.Client and Server, `RpcHeader.proto`): a
seven-byte preamble and a connection context, then calls as length-prefixed frames of varint-delimited
messages. The user's name is stated, not proved (SIMPLE authentication); Kerberos is refused.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from google.protobuf import proto
from google.protobuf.message import DecodeError, Message

from bdops.components.hdfs.proto import ipc_pb2 as ipc
from bdops.core.units import format_duration
from bdops.errors import BdopsError, NotAuthorised, Unreachable

M = TypeVar("M", bound=Message)

PREAMBLE = b"hrpc" + bytes([9, 0, 0])
"""Magic, IPC version 9, service class 0, authentication protocol NONE (that is: SIMPLE)."""
CONTEXT_CALL_ID = -3
SASL_CALL_ID = 2**32 - 33
"""-33 as the response header's unsigned number: the server talks SASL."""
LARGEST_RESPONSE_BYTES = 128 * 1024 * 1024
"""Hadoop's `ipc.maximum.response.length`."""
CLOSED = "the server closed the connection without an answer (it stopped, or the port speaks TLS or something else)"
IDLE_LIMIT_S = 5.0
"""Servers close idle connections (`ipc.client.connection.maxidletime`, 10 s): bdops opens a new one before that."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A Java interface that a server offers over RPC."""

    name: str
    version: int = 1


META = Protocol("org.apache.hadoop.ipc.ProtocolMetaInfoPB")


class NotListening(Unreachable):
    """Nothing listens on the server's port, and its host says so: it does not run."""


class RemoteError(BdopsError):
    """The server executed the call and threw. `exception` is the Java class, `message` the first line of its text."""

    default_code = "HDFS_REMOTE_ERROR"

    def __init__(self, exception: str, text: str, *, where: str) -> None:
        self.exception = exception
        self.text = text
        first = text.strip().splitlines()[0] if text.strip() else "no message"
        super().__init__(f"{exception.rpartition('.')[2]}: {first}", where=where)

    @property
    def is_standby(self) -> bool:
        """The NameNode does not serve this call because it is not the active one (or is not ready yet)."""
        return self.exception.endswith((".StandbyException", ".RetriableException", ".ObserverRetryOnActiveException"))


class Connection:
    """A connection to one server, opened at the first call and kept; opened anew after a failure or a pause.

    `timeout_s` is the default deadline of a call, connecting included; `until` a moment of time.monotonic()
    after which no call goes on. Thread-safe: one call at a time.
    """

    def __init__(self, address: str, port: int, *, user: str, timeout_s: float, until: float | None = None) -> None:
        self.where = f"{address}:{port}"
        self._target = (address, port)
        self._user = user
        self._timeout_s = timeout_s
        self._until = until
        self._socket: socket.socket | None = None
        self._client_id = os.urandom(16)
        self._calls = 0
        self._used_at = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(
        self, protocol: Protocol, method: str, request: Message, answer: type[M], *, timeout_s: float | None = None
    ) -> M:
        """Call one method and return its answer.

        Raises Unreachable when the server cannot be reached, is late, or does not speak Hadoop RPC (NotListening
        when its host answers for it);
        NotAuthorised when it wants Kerberos or denies the user; RemoteError for what it throws otherwise.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if self._until is not None:
            limit_s = max(0.0, min(limit_s, self._until - time.monotonic()))
        deadline = time.monotonic() + limit_s
        with self._lock:
            try:
                self._open(protocol, deadline)
                call_id = self._send(protocol, method, request)
                return self._receive(call_id, answer, deadline)
            except TimeoutError:
                self.close()
                raise Unreachable(
                    f"no answer to {method} within {format_duration(limit_s)}", where=self.where
                ) from None
            except (ConnectionResetError, BrokenPipeError):
                self.close()
                raise Unreachable(CLOSED, where=self.where) from None
            except ConnectionRefusedError as e:
                self.close()
                raise NotListening(e.strerror or "Connection refused", where=self.where) from None
            except OSError as e:
                self.close()
                raise Unreachable(e.strerror or str(e) or type(e).__name__, where=self.where) from None
            except (Unreachable, NotAuthorised):
                self.close()
                raise

    def versions(self, protocol: Protocol, *, timeout_s: float | None = None) -> tuple[int, ...]:
        """The versions of a protocol that the server offers: a question that every Hadoop server answers."""
        request = ipc.GetProtocolSignatureRequestProto(protocol=protocol.name, rpcKind="RPC_PROTOCOL_BUFFER")
        answer = ipc.GetProtocolSignatureResponseProto
        response = self.call(META, "getProtocolSignature", request, answer, timeout_s=timeout_s)
        return tuple(signature.version for signature in response.protocolSignature)

    def _open(self, protocol: Protocol, deadline: float) -> None:
        if self._socket is not None and time.monotonic() - self._used_at > IDLE_LIMIT_S:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._target, timeout=_left(deadline))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = ipc.IpcConnectionContextProto(
                userInfo=ipc.UserInformationProto(effectiveUser=self._user), protocol=protocol.name
            )
            self._socket.sendall(PREAMBLE + frame(self._header(CONTEXT_CALL_ID), context))
        self._socket.settimeout(_left(deadline))

    def _header(self, call_id: int) -> ipc.RpcRequestHeaderProto:
        return ipc.RpcRequestHeaderProto(
            rpcKind=ipc.RpcRequestHeaderProto.RPC_PROTOCOL_BUFFER,
            rpcOp=ipc.RpcRequestHeaderProto.RPC_FINAL_PACKET,
            callId=call_id,
            clientId=self._client_id,
            retryCount=0 if call_id >= 0 else -1,
        )

    def _send(self, protocol: Protocol, method: str, request: Message) -> int:
        assert self._socket is not None
        call_id = self._calls
        self._calls += 1
        what = ipc.RequestHeaderProto(
            methodName=method, declaringClassProtocolName=protocol.name, clientProtocolVersion=protocol.version
        )
        self._socket.sendall(frame(self._header(call_id), what, request))
        return call_id

    def _receive(self, call_id: int, answer: type[M], deadline: float) -> M:
        start = self._read(4, deadline)
        if problem := foreign_protocol(start):
            raise Unreachable(
                f"this is no Hadoop RPC port: {problem}",
                where=self.where,
                hint="check the port: NameNode RPC is 8020, ZKFC 8019, DataNode IPC 9867, JournalNode RPC 8485",
            )
        (length,) = struct.unpack(">I", start)
        if length > LARGEST_RESPONSE_BYTES:
            raise Unreachable(f"garbage instead of Hadoop RPC: a frame of {length} bytes", where=self.where)
        data = self._read(length, deadline)
        self._used_at = time.monotonic()
        stream = BytesIO(data)
        try:
            header = take(stream, ipc.RpcResponseHeaderProto)
            self._raise_error(header, call_id)
            return take(stream, answer)
        except DecodeError as e:
            raise Unreachable(f"garbage instead of Hadoop RPC: {e}", where=self.where) from None

    def _raise_error(self, header: ipc.RpcResponseHeaderProto, call_id: int) -> None:
        if header.callId == SASL_CALL_ID:
            raise self._kerberos("")
        if header.status == ipc.RpcResponseHeaderProto.SUCCESS:
            if header.callId != call_id:
                raise Unreachable(f"the server answered call {header.callId}, not {call_id}", where=self.where)
            return
        if header.status == ipc.RpcResponseHeaderProto.FATAL:
            self.close()  # the server closes its end after a fatal error
        exception, text = header.exceptionClassName, header.errorMsg
        if exception.endswith(".AccessControlException") and "SIMPLE authentication is not enabled" in text:
            raise self._kerberos(text)
        if exception.endswith((".AccessControlException", ".AuthorizationException")):
            raise NotAuthorised(
                f"user {self._user} may not do this: {text.strip().splitlines()[0] if text.strip() else exception}",
                where=self.where,
                hint="set `user` of the hdfs component in the inventory to an HDFS superuser",
            )
        raise RemoteError(exception, text, where=self.where)

    def _kerberos(self, text: str) -> NotAuthorised:
        methods = text.partition("Available:")[2].strip() or "SASL"
        return NotAuthorised(
            f"the server demands {methods} authentication, and bdops does not speak Kerberos yet: only SIMPLE",
            where=self.where,
            code="HDFS_KERBEROS",
        )

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._socket is not None
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(_left(deadline))
            part = self._socket.recv(min(count - len(data), 1 << 20))
            if not part:
                # A short plain-text or TLS answer can end before four bytes have come.
                kind = foreign_protocol(bytes(data)) if data else None
                raise Unreachable(kind or CLOSED, where=self.where)
            data += part
        return bytes(data)


def frame(*messages: Message) -> bytes:
    """Messages, each with its varint length, under one four-byte length: what one call looks like on the wire."""
    body = BytesIO()
    for message in messages:
        proto.serialize_length_prefixed(message, body)
    return struct.pack(">I", len(body.getvalue())) + body.getvalue()


def take(stream: BytesIO, kind: type[M]) -> M:
    """The next message of a frame. Raises DecodeError when there is none of that kind."""
    try:
        message = proto.parse_length_prefixed(kind, stream)
    except ValueError as e:  # a truncated message
        raise DecodeError(str(e)) from None
    if message is None:
        raise DecodeError(f"no {kind.DESCRIPTOR.name} in the frame")
    if not message.IsInitialized():
        raise DecodeError(f"{kind.DESCRIPTOR.name} lacks {', '.join(message.FindInitializationErrors())}")
    return message


def foreign_protocol(start: bytes) -> str | None:
    """What a server speaks whose first bytes are these, when it is plainly not Hadoop RPC."""
    if start[:2] in (b"\x15\x03", b"\x16\x03"):
        return "the server speaks TLS"
    if start[:4] in (b"HTTP", b"<htm", b"<!DO"):
        return "the server speaks HTTP"
    if start[:4] == b"SSH-":
        return "the server speaks SSH"
    return None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
