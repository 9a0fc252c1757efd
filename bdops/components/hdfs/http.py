"""The HTTP side of Hadoop's servers: /jmx of all of them, /fsck of the NameNode. One kept connection a server."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from bdops.core.units import format_duration
from bdops.errors import NotAuthorised, OperationFailed, StateUnknown, Unreachable

LARGEST_JMX_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Page:
    """A response: its text, and the server's own clock (to the second) where it says so."""

    body: bytes
    server_time: datetime | None


class HttpServer:
    """The HTTP port of one server. `until` is a moment of time.monotonic() after which no call goes on."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        user: str,
        timeout_s: float,
        scheme: str = "http",
        ca_file: str | None = None,
        until: float | None = None,
    ) -> None:
        self.where = f"{scheme}://{address}:{port}"
        self._user = user
        self._timeout_s = timeout_s
        self._until = until
        if scheme == "https":
            import ssl

            context = ssl.create_default_context(cafile=ca_file)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address, port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(address, port, timeout=timeout_s)

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def bean(self, name: str) -> tuple[Mapping[str, Any], datetime | None]:
        """One JMX bean's attributes, and the server's clock. Raises StateUnknown when there is no such bean."""
        page = self.get("/jmx?" + urlencode({"qry": name}))
        beans = parse_beans(page.body, where=self.where)
        if not beans:
            raise StateUnknown(f"there is no JMX bean {name}", where=self.where, code="HDFS_NO_BEAN")
        return beans[0], page.server_time

    def get(self, target: str) -> Page:
        """GET a page. Raises Unreachable or NotAuthorised."""
        response = self._request(target)
        try:
            body = response.read(LARGEST_JMX_BYTES)
        except (OSError, http.client.HTTPException) as e:
            raise self._unreachable(e, target) from None
        return Page(body, _date(response.headers.get_all("Date")))

    def stream(self, target: str) -> tuple[Mapping[str, str], Iterator[bytes]]:
        """GET something large: its headers, and its bytes as they come. Raises Unreachable when it ends too soon."""
        response = self._request(target)

        def parts() -> Iterator[bytes]:
            left = response.length
            try:
                while part := response.read(CHUNK_BYTES):
                    left = None if left is None else left - len(part)
                    yield part
            except (OSError, http.client.HTTPException) as e:
                raise self._unreachable(e, target) from None
            if left:
                raise self._unreachable(http.client.IncompleteRead(b"", left), target)

        return dict(response.headers.items()), parts()

    def fsck(self, path: str, *options: str) -> Iterator[str]:
        """The lines of `hdfs fsck PATH -OPTION ...`, as they come. Raises OperationFailed when fsck refuses.

        A standby answers 200 and says in the text that it cannot: that is a failure too.
        """
        flags = "".join(f"&{quote(option)}=1" for option in options)
        response = self._request(f"/fsck?ugi={quote(self._user)}&path={quote(path)}{flags}")
        try:
            while line := response.readline(1 << 20):
                text = line.decode(errors="replace").rstrip("\n")
                if problem := fsck_problem(text):
                    raise OperationFailed(
                        f"fsck of {path} failed: {problem}",
                        where=self.where,
                        hint="ask the active NameNode: `bdops hdfs status` says which one that is",
                        code="HDFS_FSCK_FAILED",
                    )
                yield text
        except (OSError, http.client.HTTPException) as e:
            raise self._unreachable(e, "/fsck") from None

    def _request(self, target: str) -> http.client.HTTPResponse:
        try:
            limit_s = self._timeout_s
            if self._until is not None:
                limit_s = min(limit_s, self._until - time.monotonic())
                if limit_s <= 0:
                    raise TimeoutError
            self._connection.timeout = limit_s
            if self._connection.sock is not None:
                self._connection.sock.settimeout(limit_s)
            self._connection.request("GET", target, headers={"Accept": "*/*"})
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as e:
            raise self._unreachable(e, target) from None
        if response.status in (401, 403):
            challenge = response.getheader("WWW-Authenticate", "")
            self.close()
            raise NotAuthorised(
                f"HTTP {response.status} for {target.partition('?')[0]}"
                + (", Kerberos is demanded, which bdops does not speak yet" if "Negotiate" in challenge else ""),
                where=self.where,
            )
        if response.status != 200:
            self.close()
            raise Unreachable(
                f"HTTP {response.status} {reason_of(response)} for {target.partition('?')[0]}", where=self.where
            )
        return response

    def _unreachable(self, error: Exception, target: str) -> Unreachable:
        self.close()
        page = target.partition("?")[0]
        if isinstance(error, TimeoutError):
            return Unreachable(f"no answer to {page} within {format_duration(self._timeout_s)}", where=self.where)
        if type(error).__name__.startswith("SSL"):
            return Unreachable(
                f"no TLS: {getattr(error, 'reason', None) or error}",
                where=self.where,
                hint="set http_scheme (http or https), http_port and ca_file of the hdfs component",
            )
        if isinstance(error, http.client.BadStatusLine):
            return Unreachable(
                "the answer is not HTTP (an RPC port, or TLS against plain text?)",
                where=self.where,
                hint="check http_port and http_scheme of the hdfs component",
            )
        if isinstance(error, OSError):
            return Unreachable(error.strerror or str(error) or type(error).__name__, where=self.where)
        return Unreachable(f"garbage instead of HTTP: {error}", where=self.where)


def reason_of(response: http.client.HTTPResponse) -> str:
    """Why a call failed: Hadoop puts a whole stack trace into the status line."""
    return re.split(r"[?\s]+at ", response.reason, maxsplit=1)[0][:200]


def _date(headers: list[str] | None) -> datetime | None:
    """The server's clock. Hadoop sends the header twice."""
    if not headers:
        return None
    try:
        return parsedate_to_datetime(headers[0])
    except ValueError:
        return None


def parse_beans(body: bytes, *, where: str) -> list[Mapping[str, Any]]:
    """The beans of a /jmx answer. Raises Unreachable when it is none."""
    try:
        beans = json.loads(body)["beans"]
        if not all(isinstance(bean, dict) for bean in beans):
            raise TypeError("a bean that is no object")
    except (ValueError, TypeError, KeyError) as e:
        raise Unreachable(f"the answer of /jmx is not what Hadoop's servers say: {e!r}", where=where) from None
    return list(beans)


def fsck_problem(line: str) -> str | None:
    """What went wrong, where this line of fsck's output says so: its exit is 200 whatever happens."""
    if line.startswith("Operation category ") or "StandbyException" in line:
        return line.strip()
    if line.startswith("Path '") and line.rstrip().endswith("does not exist"):
        return line.strip()
    if line.startswith("Fsck on path ") and line.rstrip().endswith("FAILED"):
        return line.strip()
    if line.startswith(("Access denied", "org.apache.hadoop.security.AccessControlException")):
        return line.strip()
    return None


_BLOCK = re.compile(r"^\d+\. \S+:(blk_-?\d+_\d+) len=")
_REPLICA = re.compile(r"DatanodeInfoWithStorage\[([^,\]]+),[^\]]*\]\(([A-Z_ ]+)\)")


def corrupt_copies(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Where fsck (with -files -blocks -replicaDetails) says that copies are corrupt: host:port by block."""
    found = {}
    for line in lines:
        if block := _BLOCK.match(line):
            where = tuple(address for address, status in _REPLICA.findall(line) if status == "CORRUPT")
            if where:
                found[block[1]] = where
    return found
