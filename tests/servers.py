"""Tiny real servers that misbehave on purpose."""

from __future__ import annotations

import datetime
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
    """A certificate for an address that signs itself: the file to trust, and a server's side of TLS with it.

    Its key is beside it, in `key.pem`.
    """
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context
