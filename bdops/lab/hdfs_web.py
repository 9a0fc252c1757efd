"""Files in the lab's HDFS by WebHDFS: what writes the lab's data and its faults."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from bdops.errors import OperationFailed, StateUnknown
from bdops.lab import hdfs_config as config

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

TIMEOUT_S = 20.0


def write(lab: Lab, path: str, data: bytes, *, replication: int = 3, block_size_bytes: int = 1 << 20) -> None:
    """Create a file, or replace it."""
    options = {"op": "CREATE", "overwrite": "true", "replication": replication, "blocksize": block_size_bytes}
    target = urlsplit(_redirect(lab, "PUT", path, options))
    _ask(target.netloc, "PUT", f"{target.path}?{target.query}", path, expected=201, data=data)


def make_directory(lab: Lab, path: str) -> None:
    _on_active(lab, "PUT", path, {"op": "MKDIRS"})


def delete(lab: Lab, path: str) -> None:
    """Delete a file or folder with all in it; nothing happens when it is not there."""
    _on_active(lab, "DELETE", path, {"op": "DELETE", "recursive": "true"})


def exists(lab: Lab, path: str) -> bool:
    status, _, _ = _on_active(lab, "GET", path, {"op": "GETFILESTATUS"}, expected=(200, 404))
    return status == 200


def read_at(lab: Lab, host: str, path: str) -> bytes:
    """Read a file through one DataNode, which reads its own copy first and reports it when it is corrupt."""
    query = urlencode({"op": "OPEN", "user.name": config.USER, "namenoderpcaddress": config.NAMESERVICE, "offset": 0})
    _, _, body = _ask(f"{lab.host(host).address}:9864", "GET", f"/webhdfs/v1{quote(path)}?{query}", path)
    return body


def _redirect(lab: Lab, method: str, path: str, options: dict[str, Any]) -> str:
    _, headers, _ = _on_active(lab, method, path, options, expected=(307,))
    return headers["Location"]


def _on_active(
    lab: Lab, method: str, path: str, options: dict[str, Any], expected: tuple[int, ...] = (200,)
) -> tuple[int, Any, bytes]:
    from bdops.lab import hdfs

    query = urlencode({**options, "user.name": config.USER})
    for host in hdfs.NAMENODES.values():
        try:
            return _ask(f"{lab.host(host).address}:9870", method, f"/webhdfs/v1{quote(path)}?{query}", path, *expected)
        except OperationFailed as e:
            if e.code != "WEBHDFS_STANDBY":
                raise
        except OSError:
            continue  # the other NameNode may be the active one
    raise StateUnknown("no NameNode is active", code="HDFS_NO_ACTIVE")


def _ask(
    server: str, method: str, target: str, path: str, *more: int, expected: int = 200, data: bytes | None = None
) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(server, timeout=TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/octet-stream"} if data is not None else {}
        connection.request(method, target, body=data, headers=headers)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as e:
        raise OperationFailed(f"{method} {path}: {e!r}", where=server) from None
    finally:
        connection.close()
    if response.status not in (more or (expected,)):
        exception = _exception(body)
        code = "WEBHDFS_STANDBY" if exception.startswith("StandbyException") else "WEBHDFS_FAILED"
        raise OperationFailed(f"{method} {path}: HTTP {response.status}: {exception}", where=server, code=code)
    return response.status, response.headers, body


def _exception(body: bytes) -> str:
    try:
        remote = json.loads(body)["RemoteException"]
        return f"{remote['exception']}: {remote['message'].splitlines()[0]}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
