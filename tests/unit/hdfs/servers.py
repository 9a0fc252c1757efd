"""A tiny Hadoop RPC server, to be given to `tests.servers.serving`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import BytesIO

from google.protobuf.message import Message

from bdops.components.hdfs.proto import ipc_pb2 as ipc
from bdops.components.hdfs.rpc import PREAMBLE, frame, take
from tests.servers import Handler


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


def hadoop(respond: Respond, calls: int | None = None) -> Handler:
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
