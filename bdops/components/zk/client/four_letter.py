"""Four-letter words: one question to the client port, one answer, and the server closes the connection.

ZooKeeper Administrator's Guide, "The Four Letter Words"; since 3.5.3 only whitelisted words are answered,
by default `srvr` alone.
"""

from __future__ import annotations

import socket
import ssl
import time

from bdops.components.zk.client.wire import connect, describe_io_error
from bdops.errors import BdopsError, NotAuthorised, Unreachable

MAX_ANSWER_BYTES = 4 << 20

NOT_SERVING = "not currently serving requests"
_NOT_WHITELISTED = "is not executed because it is not in the whitelist"
# For the question whether a silent server speaks TLS.
_PROBE_S = 0.2
_TLS_ALERT_OR_HANDSHAKE = (b"\x15\x03", b"\x16\x03")


def ask(word: str, address: tuple[str, int], *, timeout_s: float, tls: ssl.SSLContext | None = None) -> str:
    """The answer of the server at `address` (host, port) to one word.

    Raises NotAuthorised (code ZK_WORD_NOT_WHITELISTED) when the server refuses the word, Unreachable for
    everything else that is no answer: refused, silent, TLS where none is wanted and the reverse, garbage.
    """
    where = f"{address[0]}:{address[1]}"
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    with connect(address, timeout_s=timeout_s, tls=tls) as connection:
        try:
            connection.sendall(word.encode("ascii"))
            _receive(connection, answer, deadline - min(_PROBE_S, timeout_s / 4))
        except TimeoutError as e:
            if tls is None and not answer and _wants_tls(connection, deadline):
                raise _speaks_tls(where) from None
            if answer:
                raise _garbage(word, answer, where) from None
            raise describe_io_error(e, where=where, asked=f"the word {word}", timeout_s=timeout_s) from None
        except OSError as e:
            raise describe_io_error(e, where=where, asked=f"the word {word}", timeout_s=timeout_s) from None
    return _text_of(word, bytes(answer), where, tls=tls is not None)


def _receive(connection: socket.socket, answer: bytearray, deadline: float) -> None:
    """Add all that comes until the server closes. Raises TimeoutError past the deadline."""
    while len(answer) <= MAX_ANSWER_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        if not (chunk := connection.recv(65536)):
            break
        answer += chunk


def _wants_tls(connection: socket.socket, deadline: float) -> bool:
    """Whether a silent server waits for the rest of a TLS record, of which a word is one byte short.

    A few bytes more are no TLS either: such a server then complains or closes, a hung one stays silent.
    """
    answer = bytearray()
    try:
        connection.sendall(b"\r\n\r\n")
        _receive(connection, answer, deadline)
    except ConnectionError:
        return True
    except OSError:
        return False
    return not answer or answer.startswith(_TLS_ALERT_OR_HANDSHAKE)


def _speaks_tls(where: str) -> BdopsError:
    return Unreachable(
        "the client port speaks TLS", where=where, hint="set `tls` in the inventory's zk settings", code="ZK_TLS"
    )


def _text_of(word: str, answer: bytes, where: str, *, tls: bool) -> str:
    if not tls and answer.startswith(_TLS_ALERT_OR_HANDSHAKE):
        raise _speaks_tls(where)
    if not answer:
        raise _no_answer(word, where, tls)
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        raise _garbage(word, answer, where) from None
    if _NOT_WHITELISTED in text:
        raise NotAuthorised(
            f"the word {word} is not executed because it is not in the whitelist",
            where=where,
            hint=f"add {word} to 4lw.commands.whitelist in zoo.cfg, or switch the AdminServer on",
            code="ZK_WORD_NOT_WHITELISTED",
        )
    return text


def _no_answer(word: str, where: str, tls: bool) -> BdopsError:
    guess = "" if tls else "a port that speaks TLS does so, and "
    return Unreachable(
        f"the connection was closed without an answer to {word}",
        where=where,
        hint=f"{guess}a server that has reached maxCnxns does so: look at the server's log",
        code="ZK_CLOSED",
    )


def expect(answer: str, marker: str, *, word: str, where: str) -> str:
    """The answer, if it has `marker` in it as this word's answers do.

    Raises Unreachable (code ZK_NOT_SERVING) when the server says that it does not serve, Unreachable (code
    ZK_GARBAGE) when the answer is something else altogether.
    """
    if NOT_SERVING in answer:
        raise Unreachable("the server is not serving requests: it has no quorum", where=where, code="ZK_NOT_SERVING")
    if marker not in answer:
        raise _garbage(word, answer.encode(), where)
    return answer


def _garbage(word: str, answer: bytes | bytearray, where: str) -> BdopsError:
    return Unreachable(
        f"the answer to {word} is not ZooKeeper's: {bytes(answer[:40])!r}",
        where=where,
        hint="is this the client port of a ZooKeeper server?",
        code="ZK_GARBAGE",
    )
