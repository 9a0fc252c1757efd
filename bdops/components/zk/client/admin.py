"""The AdminServer: ZooKeeper's commands over HTTP, all of them on one connection that is kept open.

ZooKeeper Administrator's Guide, "The AdminServer". Off in builds without Jetty, or by admin.enableServer=false.
"""

from __future__ import annotations

import http.client
import json
import ssl
from types import TracebackType
from typing import Any

from bdops.components.zk.client.four_letter import NOT_SERVING
from bdops.components.zk.client.wire import connect, describe_io_error
from bdops.errors import BdopsError, Unreachable

MAX_ANSWER_BYTES = 4 << 20


class AdminServer:
    """A connection to one AdminServer; closes at the end of its `with` block."""

    def __init__(
        self, address: tuple[str, int], path: str, *, timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._path = path.rstrip("/")
        self._timeout_s = timeout_s
        self._tls = tls
        self._http: http.client.HTTPConnection | None = None

    @property
    def where(self) -> str:
        return f"{self._address[0]}:{self._address[1]}{self._path}"

    def __enter__(self) -> AdminServer:
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
        # Connected here rather than by http.client, so that a failure has the same words on every port.
        connection.sock = connect(self._address, timeout_s=self._timeout_s, tls=self._tls)
        connection.auto_open = 0
        self._http = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http:
            self._http.close()

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to a command, as the JSON object that it is.

        Raises Unreachable: code ZK_NOT_SERVING when the server says so, ZK_SILENT, ZK_CLOSED, ZK_GARBAGE
        otherwise.
        """
        assert self._http is not None, "used outside its with block"
        try:
            self._http.request("GET", f"{self._path}/{command}")
            answer = self._http.getresponse()
            status, body = answer.status, answer.read(MAX_ANSWER_BYTES)
        except OSError as e:
            raise describe_io_error(e, where=self.where, asked=command, timeout_s=self._timeout_s) from None
        except (http.client.HTTPException, ValueError) as e:
            raise self._garbage(command, f"{type(e).__name__}: {e}") from None
        return self._data_of(command, status, body)

    def _data_of(self, command: str, status: int, body: bytes) -> dict[str, Any]:
        if status != http.client.OK:
            raise self._garbage(command, f"HTTP {status}")
        try:
            data = json.loads(body)
        except ValueError:
            raise self._garbage(command, repr(body[:40])) from None
        if not isinstance(data, dict) or data.get("command") is None:
            raise self._garbage(command, repr(body[:40]))
        error = data.get("error")
        if error and NOT_SERVING in str(error):
            raise Unreachable(
                "the server is not serving requests: it has no quorum", where=self.where, code="ZK_NOT_SERVING"
            )
        if error:
            raise Unreachable(f"{command} failed: {error}", where=self.where, code="ZK_COMMAND_FAILED")
        return data

    def _garbage(self, command: str, seen: str) -> BdopsError:
        return Unreachable(
            f"the answer to {command} is not an AdminServer's: {seen}",
            where=self.where,
            hint="check `admin_port` and `admin_path` of the zk settings (admin.serverPort, admin.commandURL)",
            code="ZK_GARBAGE",
        )
