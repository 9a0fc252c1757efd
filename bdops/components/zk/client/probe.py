"""A write on one server, proved: create, read and delete a znode there. It is ephemeral, so that a kill leaves none."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bdops.components.zk.client.session import session
from bdops.core.model import Instance
from bdops.errors import BdopsError, ConfigError, NotAuthorised, OperationFailed, Unreachable

if TYPE_CHECKING:
    from kazoo.client import KazooClient

PREFIX = "bdops-probe-"
SESSION_S = 10.0
"""The longest that a probe's session, and with it its znode, outlives a bdops that was killed."""


def verify_write(instance: Instance, *, under: str, timeout_s: float) -> str:
    """Create, read and delete an ephemeral znode below `under`, in one session on this one server.

    Returns the znode's path. Raises NotAuthorised (ZK_NO_AUTH), ConfigError (ZK_NO_NODE: there is no `under`),
    Unreachable (ZK_SESSION_LOST: the session did not survive; ZK_NO_SESSION) and OperationFailed
    (ZK_PROBE_FAILED: what is read is not what was written).
    """
    path = f"{under.rstrip('/')}/{PREFIX}{instance.host.name}-{secrets.token_hex(4)}"
    value = instance.name.encode()
    with session([instance], timeout_s=min(SESSION_S, timeout_s)) as client:
        owner = client.client_id[0]
        _answer(client.create_async(path, value, ephemeral=True), path, timeout_s)
        read, stat = _answer(client.get_async(path), path, timeout_s)
        if read != value or stat.ephemeralOwner != owner:
            raise OperationFailed(
                f"the znode {path} has {read!r} of session {stat.ephemeralOwner:#x}, where {value!r} of session "
                f"{owner:#x} was written",
                where=instance.name,
                code="ZK_PROBE_FAILED",
            )
        _answer(client.delete_async(path), path, timeout_s)
        if _answer(client.exists_async(path), path, timeout_s) is not None:
            raise OperationFailed(
                f"the znode {path} is still there after its deletion", where=instance.name, code="ZK_PROBE_FAILED"
            )
        if not client.connected or client.client_id[0] != owner:
            raise Unreachable(
                f"session {owner:#x} did not survive a write", where=instance.name, code="ZK_SESSION_LOST"
            )
    return path


def read_probes(instances: Sequence[Instance], *, under: str, timeout_s: float) -> dict[str, str]:
    """Probes that are there now, path to session (hex). Raises what `verify_write` does."""
    root = "/" + under.strip("/")
    with session(instances, timeout_s=timeout_s) as client:
        names = _answer(client.get_children_async(root), root, timeout_s)
        found = {}
        for name in sorted(n for n in names if n.startswith(PREFIX)):
            path = f"{root.rstrip('/')}/{name}"
            if stat := _answer(client.exists_async(path), path, timeout_s):
                found[path] = f"{stat.ephemeralOwner:#x}"
    return found


def delete_probe(instances: Sequence[Instance], path: str, *, timeout_s: float) -> None:
    """Delete a probe; nothing happens when it is gone. Raises what `verify_write` does."""
    assert path.rpartition("/")[2].startswith(PREFIX), path

    def delete(client: KazooClient) -> None:
        _answer(client.delete_async(path), path, timeout_s)

    with session(instances, timeout_s=timeout_s) as client:
        _unless_gone(delete, client)


def _unless_gone(act: Callable[[KazooClient], None], client: KazooClient) -> None:
    try:
        act(client)
    except ConfigError as e:
        if e.code != "ZK_NO_NODE":
            raise


def _answer(answer: Any, path: str, timeout_s: float) -> Any:
    from kazoo.exceptions import ConnectionLoss, KazooException, NoAuthError, NoNodeError, SessionExpiredError
    from kazoo.handlers.threading import KazooTimeoutError

    error: BdopsError
    try:
        return answer.get(timeout=timeout_s)
    except NoAuthError:
        error = NotAuthorised(
            f"the ACL does not let us write {path}",
            hint="set `user` and `password` in the zk settings, or `restart: {probe_under: /a/znode/that/we/may}`, or "
            "`restart: {verify_write: false}`",
            code="ZK_NO_AUTH",
        )
    except NoNodeError:
        error = ConfigError(
            f"there is no znode {path}, or none above it",
            hint="`restart.probe_under` of the zk settings must be a znode that exists",
            code="ZK_NO_NODE",
        )
    except (KazooTimeoutError, ConnectionLoss, SessionExpiredError) as e:
        error = Unreachable(f"the session was lost at {path}: {type(e).__name__}", code="ZK_SESSION_LOST")
    except KazooException as e:
        error = OperationFailed(f"{path}: {type(e).__name__} {e}".strip(), code="ZK_PROBE_FAILED")
    raise error
