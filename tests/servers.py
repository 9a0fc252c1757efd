"""Tiny real servers that misbehave on purpose."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

Handler = Callable[[socket], None]


@contextmanager
def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port on which every connection is given to `handler` in a thread of its own, then closed."""
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    ended = threading.Event()

    def serve(connection: socket) -> None:
        try:
            connection.settimeout(10)
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            handler(connection)
        except OSError:
            pass  # the client has gone, or cannot speak TLS: both are what some tests are about
        finally:
            connection.close()

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.close()


def answers(text: str | bytes) -> Handler:
    """Reads the question, says this, and closes."""
    data = text.encode() if isinstance(text, str) else text

    def handle(connection: socket) -> None:
        connection.recv(4096)
        connection.sendall(data)

    return handle


def silent(connection: socket) -> None:
    """Accepts and reads for ever, as a paused process seems to."""
    while connection.recv(4096):
        pass


def drips(connection: socket) -> None:
    """Says one byte now and then, so that no single wait is ever too long."""
    connection.recv(4096)
    pause = threading.Event()
    while not pause.wait(0.05):
        connection.sendall(b"z")


def http(answers_by_command: dict[str, str], *, status: str = "200 OK") -> Handler:
    """An AdminServer with these answers, several on one connection; 404 for other commands."""

    def handle(connection: socket) -> None:
        stream = connection.makefile("rb")
        while line := stream.readline():
            while stream.readline().strip():
                pass
            body = answers_by_command.get(line.split()[1].decode().rsplit("/", 1)[-1])
            head = status if body is not None else "404 Not Found"
            data = (body or "").encode()
            connection.sendall(f"HTTP/1.1 {head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)

    return handle


def certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """A certificate for an address: the file of the authority to trust, and a server's side of TLS with it."""
    from bdops.lab.security import Authority

    authority = Authority.make("test")
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    made = authority.issue(folder, "server", (address,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.both)
    return ca, context
