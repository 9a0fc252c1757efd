"""Whole snapshots over the AdminServer: streamed out of a server, and posted back into one (ZooKeeper 3.9).

ZooKeeper Administrator's Guide, "snapshot" and "restore" of the AdminServer. Both want an identity that has all
permissions on the root znode, and `serializeLastProcessedZxid.enabled`.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from bdops.components.zk.client.wire import connect, describe_io_error, tls_context
from bdops.components.zk.settings import Settings
from bdops.core.actor import ActContext
from bdops.core.model import Instance
from bdops.errors import BdopsError, ConfigError, NotAuthorised, OperationFailed, Unreachable

T = TypeVar("T")

MAX_ERROR_BYTES = 64 << 10
RATE_LIMIT_S = 330.0
"""A little more than the AdminServer's own limit, which is five minutes by default."""


class RateLimited(OperationFailed):
    """The AdminServer does so only every now and then (`admin.rateLimiterIntervalInMS`, five minutes by default)."""

    default_code = "ZK_RATE_LIMITED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An AdminServer, and who we are to it. `identity` is `user:password`; it is in no error."""

    address: tuple[str, int]
    path: str = "/commands"
    identity: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def where(self) -> str:
        return f"{self.address[0]}:{self.address[1]}{self.path.rstrip('/')}"

    def __repr__(self) -> str:
        return f"Endpoint({self.where})"


def endpoint_of(instance: Instance) -> Endpoint:
    """How an instance's AdminServer is reached. Raises ConfigError when it has none, or a secret is not to be had."""
    settings: Settings = instance.settings
    if settings.admin_port is None:
        raise ConfigError(
            "snapshots go through the AdminServer, and the inventory says that it is off",
            where=instance.name,
            hint="admin.enableServer=true in zoo.cfg, and `admin_port` of the zk settings",
            code="ZK_NO_ADMIN",
        )
    identity = None
    if settings.user is not None and settings.password is not None:
        from bdops.hosts.secrets import reveal

        identity = f"{settings.user}:{reveal(settings.password)}"
    tls = None
    if settings.admin_tls:
        tls = tls_context(settings.tls) if settings.tls else ssl.create_default_context()
    return Endpoint(
        address=(instance.host.address, settings.admin_port), path=settings.admin_path, identity=identity, tls=tls
    )


class SnapshotStream:
    """A snapshot on its way. `started_zxid`: the last transaction applied when the server began to write it."""

    def __init__(self, answer: http.client.HTTPResponse, endpoint: Endpoint, timeout_s: float) -> None:
        self._answer, self._endpoint, self._timeout_s = answer, endpoint, timeout_s
        self.started_zxid = answer.getheader("last_zxid")
        size = answer.getheader("snapshot_size")
        self.size_bytes = int(size) if size and size.isdigit() else None

    def read(self, size: int, /) -> bytes:
        """Raises Unreachable when the server stops in the middle."""
        try:
            return self._answer.read(size)
        except OSError as e:
            raise describe_io_error(
                e, where=self._endpoint.where, asked="snapshot", timeout_s=self._timeout_s
            ) from None
        except http.client.HTTPException as e:
            raise Unreachable(
                f"the snapshot broke off: {type(e).__name__}", where=self._endpoint.where, code="ZK_CLOSED"
            ) from None


@contextmanager
def snapshot_stream(endpoint: Endpoint, *, timeout_s: float) -> Iterator[SnapshotStream]:
    """Have the server write a snapshot, and read it. `timeout_s` is for each answer, not for the whole.

    Raises Unreachable, NotAuthorised, RateLimited, and OperationFailed with what the server lacks.
    """
    with _request(endpoint, "GET", "snapshot?streaming=true", None, timeout_s=timeout_s) as answer:
        yield SnapshotStream(answer, endpoint, timeout_s)


def post_restore(endpoint: Endpoint, file: BinaryIO, size_bytes: int, *, timeout_s: float) -> None:
    """Put a snapshot in place of all that a server has. Raises as `snapshot_stream`."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
    with _request(endpoint, "POST", "restore", (file, headers), timeout_s=timeout_s) as answer:
        answer.read()


@contextmanager
def _request(
    endpoint: Endpoint, method: str, command: str, body: tuple[BinaryIO, Mapping[str, str]] | None, *, timeout_s: float
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*endpoint.address, timeout=timeout_s)
    connection.sock = connect(endpoint.address, timeout_s=timeout_s, tls=endpoint.tls)
    connection.auto_open = 0
    headers: dict[str, str] = dict(body[1]) if body else {}
    if endpoint.identity:
        headers["Authorization"] = f"digest {endpoint.identity}"
    name = command.partition("?")[0]
    try:
        try:
            connection.request(
                method, f"{endpoint.path.rstrip('/')}/{command}", body=body[0] if body else None, headers=headers
            )
            answer = connection.getresponse()
            text = answer.read(MAX_ERROR_BYTES) if answer.status != http.client.OK else b""
        except OSError as e:
            raise describe_io_error(e, where=endpoint.where, asked=name, timeout_s=timeout_s) from None
        except http.client.HTTPException as e:
            raise Unreachable(
                f"the answer to {name} is not an AdminServer's: {type(e).__name__}",
                where=endpoint.where,
                code="ZK_GARBAGE",
            ) from None
        if answer.status != http.client.OK:
            raise refusal(name, answer.status, text, endpoint.where)
        yield answer
    finally:
        connection.close()


def patiently(call: Callable[[], T], what: str, context: ActContext) -> T:
    """What `call` returns, which is called again while the server says that it is too early. Raises RateLimited."""
    deadline = time.monotonic() + RATE_LIMIT_S
    while True:
        try:
            return call()
        except RateLimited:
            if time.monotonic() > deadline:
                raise
            context.waiting(f"{what}: its rate is limited")
            context.wait(5.0)


def refusal(command: str, status: int, body: bytes, where: str) -> BdopsError:
    """The error that an AdminServer's refusal is. Pure."""
    said = _said(body)
    if status in (401, 403):
        return NotAuthorised(
            f"the AdminServer does not let us {command}: {said or f'HTTP {status}'}",
            where=where,
            hint="`user` and `password` of the zk settings: a digest identity with all permissions on the root znode",
            code="ZK_NO_AUTH",
        )
    if status == 429:
        return RateLimited(
            f"the AdminServer does a {command} only every so often",
            where=where,
            hint="admin.rateLimiterIntervalInMS in zoo.cfg",
        )
    hints = {
        404: f"the command {command} is there since ZooKeeper 3.9",
        503: f"admin.{command}.enabled=true in zoo.cfg; is the server serving?",
        500: "serializeLastProcessedZxid.enabled=true in zoo.cfg; the server's log says more",
    }
    return OperationFailed(
        f"the AdminServer refuses the {command}: HTTP {status}" + (f", {said}" if said else ""),
        where=where,
        hint=hints.get(status, "the server's log says more"),
        code="ZK_COMMAND_FAILED",
    )


def _said(body: bytes) -> str | None:
    import json

    try:
        data: Any = json.loads(body)
    except ValueError:
        return None
    error = data.get("error") if isinstance(data, dict) else None
    return str(error) if error else None
