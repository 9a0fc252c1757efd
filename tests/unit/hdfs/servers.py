"""Tiny servers that answer one connection with what a test wants: bytes, silence, TLS, or Hadoop RPC."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from google.protobuf.message import Message

from bdops.components.hdfs.proto import ipc_pb2 as ipc
from bdops.components.hdfs.rpc import PREAMBLE, frame, take

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """A server on the loopback address; its port. Each connection is served in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=run, args=(peer,), daemon=True).start()

        def run(peer: socket.socket) -> None:
            with peer:
                try:
                    serve(peer)
                except OSError:
                    return  # the client has gone, which some tests are about

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def answers(data: bytes) -> Serve:
    """Whatever comes, these bytes go back."""

    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(data)

    return serve


def silent(peer: socket.socket) -> None:
    """Takes all and says nothing: a half-open connection."""
    while peer.recv(4096):
        pass


def exact(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def read_frame(peer: socket.socket) -> BytesIO:
    return BytesIO(exact(peer, int.from_bytes(exact(peer, 4), "big")))


Respond = Callable[[ipc.RequestHeaderProto, BytesIO], Message | ipc.RpcResponseHeaderProto]


def hadoop(respond: Respond, calls: int | None = None) -> Serve:
    """A Hadoop RPC server. `respond` gives an answer, or a response header with an error in it.

    After so many `calls` it closes the connection.
    """

    def serve(peer: socket.socket) -> None:
        assert exact(peer, len(PREAMBLE)) == PREAMBLE
        context = read_frame(peer)
        assert take(context, ipc.RpcRequestHeaderProto).callId == -3
        assert take(context, ipc.IpcConnectionContextProto).userInfo.effectiveUser == "tester"
        done = 0
        while calls is None or done < calls:
            done += 1
            request = read_frame(peer)
            header = take(request, ipc.RpcRequestHeaderProto)
            answer = respond(take(request, ipc.RequestHeaderProto), request)
            if isinstance(answer, ipc.RpcResponseHeaderProto):
                answer.callId = header.callId
                peer.sendall(frame(answer))
            else:
                ok = ipc.RpcResponseHeaderProto(callId=header.callId, status=ipc.RpcResponseHeaderProto.SUCCESS)
                peer.sendall(frame(ok, answer))

    return serve


def error(exception: str, text: str, *, fatal: bool = False) -> ipc.RpcResponseHeaderProto:
    kind = ipc.RpcResponseHeaderProto.FATAL if fatal else ipc.RpcResponseHeaderProto.ERROR
    return ipc.RpcResponseHeaderProto(callId=0, status=kind, exceptionClassName=exception, errorMsg=text)
