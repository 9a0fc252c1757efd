"""Files in HDFS by WebHDFS: their checksums, and the contents of small ones. The NameNode sends us to a DataNode."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bdops.core.model import Deployment
from bdops.errors import OperationFailed, StateUnknown, Unreachable

TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Checksum:
    """A file's checksum. Two are to be compared only if the algorithm is the same: it names the sizes of blocks."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class WebFiles:
    """The NameNodes' HTTP ports, as `host:port`, and who asks."""

    namenodes: tuple[str, ...]
    user: str
    scheme: str = "http"
    ca_file: str | None = None

    @classmethod
    def of(cls, deployment: Deployment) -> WebFiles:
        s = deployment.settings
        servers = (i for i in deployment.instances if "namenode" in i.roles)
        return cls(tuple(f"{i.host.address}:{i.settings.http_port}" for i in servers), s.user, s.http_scheme, s.ca_file)

    def checksum(self, path: str) -> Checksum:
        """Computed by a DataNode from the checksums of the blocks. Raises OperationFailed, Unreachable."""
        with self._asked("GET", path, {"op": "GETFILECHECKSUM"}) as response:
            found = json.loads(response.read())["FileChecksum"]
        return Checksum(found["algorithm"], found["bytes"])

    def read(self, path: str) -> Iterator[bytes]:
        """A file's content as it comes; the DataNode checks its checksums. Raises OperationFailed, Unreachable."""
        with self._asked("GET", path, {"op": "OPEN"}) as response:
            try:
                while part := response.read(CHUNK_BYTES):
                    yield part
                left = response.length
            except (OSError, http.client.HTTPException) as e:
                raise OperationFailed(f"{path} cannot be read: {e}", code="HDFS_READ_FAILED") from None
        if left:
            raise OperationFailed(f"{path} ends {left} bytes too soon", code="HDFS_READ_FAILED")

    def write(self, path: str, parts: Iterable[bytes], *, size_bytes: int, block_bytes: int, replication: int) -> None:
        """Create a file that is not there, in a directory that is. Raises OperationFailed, Unreachable.

        The DataNode may do it after this has failed: it tries for as long as it finds no NameNode.
        """
        options: dict[str, Any] = {
            "op": "CREATE", "overwrite": "false", "createparent": "false", "replication": replication,
        }  # fmt: skip
        if block_bytes:
            options["blocksize"] = block_bytes
        with self._asked("PUT", path, options, data=parts, size_bytes=size_bytes, expected=201) as response:
            response.read()

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        options: dict[str, Any],
        *,
        data: Iterable[bytes] | None = None,
        size_bytes: int = 0,
        expected: int = 200,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer of the DataNode that the active NameNode names."""
        target = urlsplit(self._redirected(method, path, options))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)} if data else {}
        server = target.netloc
        connection = self._connection(server)
        try:
            try:
                connection.request(method, f"{target.path}?{target.query}", body=data, headers=headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as e:
                raise Unreachable(f"{method} {path}: {e or type(e).__name__}", where=server) from None
            if response.status != expected:
                raise _failure(method, path, server, response)
            yield response
        finally:
            connection.close()

    def _redirected(self, method: str, path: str, options: dict[str, Any]) -> str:
        query = urlencode({**options, "user.name": self.user})
        said: list[str] = []
        for server in self.namenodes:
            connection = self._connection(server)
            try:
                connection.request(method, f"/webhdfs/v1{quote(path)}?{query}")
                response = connection.getresponse()
                if response.status == 307:
                    return response.headers["Location"]
                error = _failure(method, path, server, response)
            except (OSError, http.client.HTTPException) as e:
                said.append(f"{server}: {e or type(e).__name__}")
                continue
            finally:
                connection.close()
            if error.code != "HDFS_STANDBY":
                raise error
            said.append(f"{server}: standby")
        raise StateUnknown(f"no NameNode is active ({'; '.join(said)})", code="HDFS_NO_ACTIVE")

    def _connection(self, server: str) -> http.client.HTTPConnection:
        if self.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            return http.client.HTTPSConnection(server, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(server, timeout=TIMEOUT_S)


def _failure(method: str, path: str, server: str, response: http.client.HTTPResponse) -> OperationFailed:
    """What the server says is wrong, by the exception in its answer."""
    try:
        remote = json.loads(response.read(1 << 20))["RemoteException"]
        why = f"{remote['exception']}: {str(remote['message']).splitlines()[0]}"
    except (ValueError, KeyError, TypeError, IndexError, OSError, http.client.HTTPException):
        why = f"HTTP {response.status}"
    code = "HDFS_STANDBY" if why.startswith("StandbyException") else "HDFS_WEB_FAILED"
    return OperationFailed(f"{method} {path}: {why}", where=server, code=code)
