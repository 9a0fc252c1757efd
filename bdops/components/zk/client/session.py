"""A client session, for what only the ZooKeeper protocol tells: the tree of znodes. The only user of kazoo."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bdops.components.zk.settings import Settings
from bdops.core.model import Instance
from bdops.core.units import format_duration
from bdops.errors import BdopsError, NotAuthorised, OperationFailed, Unreachable

if TYPE_CHECKING:
    from kazoo.client import KazooClient

# Questions on their way at once: hides the round trip, and bounds what is held in memory.
_IN_FLIGHT = 64
TLS_PROBE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Znode:
    """A znode. `owner`: the session (hex) of an ephemeral one.

    `hidden`: its ACL does not let us list its children, or (numbers None) see anything but its name.
    """

    path: str
    children: int | None = None
    data_bytes: int | None = None
    owner: str | None = None
    modified_ms: int | None = None
    hidden: bool = False


@contextmanager
def session(instances: Sequence[Instance], *, timeout_s: float) -> Iterator[KazooClient]:
    """A session with any of the servers, closed at the end. Raises Unreachable when none takes us in time."""
    from kazoo.client import KazooClient
    from kazoo.handlers.threading import KazooTimeoutError

    settings: Settings = instances[0].settings
    client = KazooClient(
        hosts=_hosts(instances),
        timeout=max(4.0, timeout_s),
        auth_data=_identity(settings),
        logger=_silent_logger(),
        **_tls_options(settings),
    )
    try:
        try:
            client.start(timeout=timeout_s)
        except KazooTimeoutError:
            _require_tls(instances)
            raise Unreachable(
                f"no server gave us a session within {format_duration(timeout_s)}",
                where=_hosts(instances),
                hint="`bdops zk status` shows which servers serve, and how they are reached",
                code="ZK_NO_SESSION",
            ) from None
        yield client
    finally:
        client.stop()
        client.close()


def _require_tls(instances: Sequence[Instance]) -> None:
    """Raise what is wrong with TLS, which kazoo keeps to itself; nothing when a server takes a word of ours."""
    from bdops.components.zk.client import four_letter
    from bdops.components.zk.client.wire import tls_context

    error: BdopsError | None = None
    for instance in instances:
        settings: Settings = instance.settings
        address = (instance.host.address, settings.client_port)
        tls = tls_context(settings.tls) if settings.tls else None
        try:
            four_letter.ask("srvr", address, timeout_s=TLS_PROBE_S, tls=tls)
        except BdopsError as e:
            error = e if e.code == "ZK_TLS" else error
        else:
            return
    if error:
        raise error


def walk(client: KazooClient, root: str, *, depth: int | None = None, timeout_s: float) -> Iterator[Znode]:
    """The znodes below and including `root`, parents first, as they are read.

    Holds one list of names for each level of the path it is at, and `_IN_FLIGHT` znodes. `depth` 0 is the
    root alone. Raises OperationFailed when there is no such znode, Unreachable when the servers fall silent.
    """
    root = "/" + root.strip("/")
    top = next(_stats(client, [root], timeout_s=timeout_s), None)
    if top is None:
        raise OperationFailed(f"there is no znode {root}", hint="bdops zk tree --depth 1", code="ZK_NO_NODE")
    levels: list[Iterator[Znode]] = [iter([top])]
    while levels:
        znode = next(levels[-1], None)
        if znode is None:
            levels.pop()
            continue
        names: list[str] = []
        hidden = False
        if znode.children and (depth is None or len(levels) <= depth):
            names, hidden = _children(client, znode.path, timeout_s=timeout_s)
        yield replace(znode, hidden=True) if hidden else znode
        if names:
            base = znode.path.rstrip("/")
            levels.append(_stats(client, [f"{base}/{name}" for name in names], timeout_s=timeout_s))


def _stats(client: KazooClient, paths: list[str], *, timeout_s: float) -> Iterator[Znode]:
    """The znodes of these paths, in order; those that are gone by now are left out."""
    for start in range(0, len(paths), _IN_FLIGHT):
        asked = [(path, client.exists_async(path)) for path in paths[start : start + _IN_FLIGHT]]
        for path, answer in asked:
            try:
                stat = _answer(answer, path, timeout_s)
            except NotAuthorised:
                yield Znode(path=path, hidden=True)
                continue
            if stat is not None:
                yield Znode(
                    path=path,
                    children=stat.numChildren,
                    data_bytes=stat.dataLength,
                    owner=hex(stat.ephemeralOwner) if stat.ephemeralOwner else None,
                    modified_ms=stat.mtime,
                )


def _children(client: KazooClient, path: str, *, timeout_s: float) -> tuple[list[str], bool]:
    """The sorted names of the children, and whether they are hidden from us."""
    from kazoo.exceptions import NoNodeError

    try:
        return sorted(_answer(client.get_children_async(path), path, timeout_s)), False
    except NotAuthorised:
        return [], True
    except NoNodeError:
        return [], False


def _answer(answer: Any, path: str, timeout_s: float) -> Any:
    from kazoo.exceptions import ConnectionLoss, NoAuthError, SessionExpiredError
    from kazoo.handlers.threading import KazooTimeoutError

    try:
        return answer.get(timeout=timeout_s)
    except NoAuthError:
        raise NotAuthorised(
            f"the ACL of {path} does not let us read it",
            hint="set `user` and `password` in the zk settings",
            code="ZK_NO_AUTH",
        ) from None
    except (KazooTimeoutError, ConnectionLoss, SessionExpiredError) as e:
        raise Unreachable(
            f"the connection was lost while reading {path}: {type(e).__name__}", code="ZK_SESSION_LOST"
        ) from None


def _identity(settings: Settings) -> list[tuple[str, str]] | None:
    if settings.user is None or settings.password is None:
        return None
    from bdops.hosts.secrets import reveal

    return [("digest", f"{settings.user}:{reveal(settings.password)}")]


def _tls_options(settings: Settings) -> dict[str, Any]:
    tls = settings.tls
    if tls is None:
        return {}
    from bdops.components.zk.client.wire import key_password

    return {
        "use_ssl": True,
        "ca": tls.ca,
        "certfile": tls.cert,
        "keyfile": tls.key,
        "keyfile_password": key_password(tls) or None,
        "verify_certs": tls.verify,
        "check_hostname": tls.verify,
    }


def _silent_logger() -> logging.Logger:
    """kazoo tells every failed attempt to its log; what matters of it comes as an error."""
    logger = logging.getLogger("bdops.zk.session")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _hosts(instances: Sequence[Instance]) -> str:
    return ",".join(f"{i.host.address}:{i.settings.client_port}" for i in instances)
