"""A snapshot in place of what an ensemble has: the same file to every server, while no client is connected.

ZooKeeper Administrator's Guide, "restore": each server takes the file by itself, and nothing keeps clients away
meanwhile. What is written in between is on some servers only. So nothing is begun while a client is connected, and
afterwards every server's whole tree is read back and held against the file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bdops.components.reading import read_all
from bdops.components.zk import ensemble
from bdops.components.zk.client.admin import AdminServer
from bdops.components.zk.client.session import session
from bdops.components.zk.client.transfer import endpoint_of, patiently, post_restore, snapshot_stream
from bdops.components.zk.read import read_state
from bdops.components.zk.snapshot.format import Damaged, Summary, summarise
from bdops.components.zk.state import ZkState
from bdops.core.actor import ActContext
from bdops.core.gate import Reason, Verdict
from bdops.core.model import Deployment, Instance
from bdops.core.units import plural
from bdops.errors import BdopsError, ConfigError, OperationFailed, Unreachable

READ_S = 20.0
ANSWER_S = 300.0
ATTEMPTS = 3
SERVERS, CLIENTS, YOUNGER = "ZK_RESTORE_SERVERS", "ZK_RESTORE_CLIENTS", "ZK_RESTORE_YOUNGER"
ZXID = "restored_zxid"
"""The argument of the steps of a restore that has the snapshot's last transaction."""
RULES: Mapping[str, str] = {
    SERVERS: "not every server serves: one that is down comes back with the old tree",
    YOUNGER: "its last transaction is older than the snapshot's: it would give the same numbers to others once more",
    CLIENTS: "clients are connected, or a server does not tell: what they write meanwhile is on some servers only",
}
"""The gate before a restore. None of it can be overridden: the servers would not be the same afterwards."""


def obstacles(deployment: Deployment, zxid: str) -> tuple[Reason, ...]:
    """Why a restore of a snapshot up to this zxid must not begin now, by fresh readings."""
    state = read_state(deployment, timeout_s=READ_S)
    down = [s.name for s in ensemble.servers(state) if not s.serving]
    strangers = ensemble.strangers(state)
    found = []
    if down or strangers or not state.servers:
        found.append(_reason(SERVERS, Verdict.REFUSE, [*down, *strangers], deployment))
    newest = max((int(s.zxid, 16) for s in state.servers or () if s.zxid), default=None)
    if newest is not None and newest < int(zxid, 16):
        found.append(_reason(YOUNGER, Verdict.REFUSE, [f"{newest:#x}, before {zxid}"], deployment))
    clients, unread = connected(deployment)
    if unread:
        found.append(_reason(CLIENTS, Verdict.UNKNOWN, [f"{n}: {why}" for n, why in unread.items()], deployment))
    if clients:
        found.append(_reason(CLIENTS, Verdict.WAIT, clients, deployment))
    return tuple(found)


def _reason(rule: str, verdict: Verdict, objects: Sequence[str], deployment: Deployment) -> Reason:
    instances = tuple(i.name for i in deployment.instances)
    return Reason(rule=rule, verdict=verdict, objects=tuple(objects), harm=RULES[rule], instances=instances)


def connected(deployment: Deployment) -> tuple[list[str], dict[str, str]]:
    """The clients' addresses, each with its server; and the servers that do not tell, with why."""
    read = read_all({i.name: partial(_clients_of, i) for i in deployment.instances}, timeout_s=READ_S)
    clients = [f"{c} at {ensemble.short(name)}" for name, found in read.values.items() for c in found]
    return sorted(clients), dict(read.unread)


def _clients_of(instance: Instance) -> list[str]:
    endpoint = endpoint_of(instance)
    with AdminServer(endpoint.address, endpoint.path, timeout_s=READ_S / 2, tls=endpoint.tls) as admin:
        return clients_in(admin.ask("connections"))


def clients_in(answer: Mapping[str, Any]) -> list[str]:
    """The remote addresses of those that have a session, from the AdminServer's `connections`. Pure."""
    both = [*(answer.get("connections") or ()), *(answer.get("secure_connections") or ())]
    return [str(c.get("remote_socket_address", "?")).lstrip("/") for c in both]


def restore(deployment: Deployment, file: Path, context: ActContext) -> None:
    """Post the file to every server, the leader last, until all of them have its tree; raises what keeps them from it.

    A server whose last transaction is the snapshot's own has that tree already: a resume leaves it alone.
    """
    wanted = _summary(file)
    if wanted.last_zxid is None:
        raise OperationFailed(
            "the snapshot has no last zxid in it, and ZooKeeper restores none without", where=str(file), code="ZK_OLD"
        )
    wrong: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        state = read_state(deployment, timeout_s=READ_S)
        servers = _whole(state)
        for instance in _leader_last(deployment, state):
            if servers[instance.name] == wanted.last_zxid and not attempt:
                continue
            _post(instance, file, context)
            context.say(f"{ensemble.short(instance.name)} has taken {file.stem}")
        _new_transaction(deployment, wanted.last_zxid, context)
        trees = {i.name: _tree(i, context) for i in deployment.instances}
        wrong = differing(wanted, trees)
        if not wrong:
            context.say(
                f"all {plural(len(trees), 'server')} have its {wanted.lasting:,} lasting znodes, "
                f"digest {wanted.lasting_digest:#x}, and each has written it to its own disk"
            )
            return
        context.say(f"not the same: {'; '.join(f'{ensemble.short(n)}: {w}' for n, w in wrong.items())}")
        if clients := connected(deployment)[0]:
            raise OperationFailed(
                f"clients came back before all servers were restored: {', '.join(clients[:4])}",
                where=deployment.name,
                hint="hold them off (firewall, or stop them): the servers do not have the same tree",
                code="RESTORE_DISTURBED",
            )
    raise OperationFailed(
        f"the servers do not have the snapshot's tree: {'; '.join(wrong.values())}",
        where=deployment.name,
        code="RESTORE_DIFFERS",
    )


def half_done(deployment: Deployment, file: Path) -> str | None:
    """Which servers have a snapshot's tree while others have not; None when all, or none, have it.

    By their trees: the last zxid moves with the first transaction after a restore. Raises OperationFailed
    (RESTORE_UNKNOWN) when one cannot be read, and what reading the file raises.
    """
    wanted, trees = _summary(file), {}
    for instance in deployment.instances:
        try:
            with snapshot_stream(endpoint_of(instance), timeout_s=ANSWER_S) as stream:
                trees[instance.name] = summarise(stream)
        except (BdopsError, Damaged) as e:
            raise OperationFailed(
                f"which tree it has is not known: {e}",
                where=instance.name,
                hint="bdops jobs resume; or abort again: a server writes a snapshot once in a few minutes",
                code="RESTORE_UNKNOWN",
            ) from None
    others = differing(wanted, trees)
    there = [name for name in trees if name not in others]
    return ", ".join(there) if there and others else None


def _summary(file: Path) -> Summary:
    """What is in a snapshot's file. Raises OperationFailed when it is damaged, ConfigError when it cannot be read."""
    try:
        with file.open("rb") as source:
            return summarise(source)
    except Damaged as e:
        raise OperationFailed(f"the snapshot is damaged: {e}", where=str(file), code="BACKUP_DAMAGED") from None
    except OSError as e:
        raise ConfigError(f"the snapshot cannot be read: {e.strerror or e}", where=str(file)) from None


def differing(wanted: Summary, trees: Mapping[str, Summary]) -> dict[str, str]:
    """Servers whose lasting znodes are not the snapshot's. Ephemerals go when their sessions run out. Pure."""
    return {
        name: f"{found.lasting:,} lasting znodes, digest {found.lasting_digest:#x}; "
        f"wanted {wanted.lasting:,}, {wanted.lasting_digest:#x}"
        for name, found in trees.items()
        if (found.lasting, found.lasting_digest) != (wanted.lasting, wanted.lasting_digest)
    }


def _whole(state: ZkState) -> dict[str, int]:
    """Every server's last zxid. Raises Unreachable when one does not serve."""
    for server in ensemble.servers(state):
        if not server.serving or server.zxid is None:
            raise Unreachable(f"it does not serve: {server.error}", where=server.name, code=SERVERS)
    return {s.name: int(s.zxid or "0", 16) for s in state.servers or ()}


def _leader_last(deployment: Deployment, state: ZkState) -> list[Instance]:
    """The leader ends sessions; as long as it has the old ones nothing of the snapshot's is ended."""
    first = ensemble.leader(state)
    return sorted(deployment.instances, key=lambda i: first is not None and i.name == first.name)


def _post(instance: Instance, file: Path, context: ActContext) -> None:
    def post() -> None:
        with file.open("rb") as source:
            post_restore(endpoint_of(instance), source, file.stat().st_size, timeout_s=ANSWER_S)

    patiently(post, f"{ensemble.short(instance.name)} to take another restore", context)


def _new_transaction(deployment: Deployment, zxid: int, context: ActContext) -> None:
    """A transaction on all servers: what they write to their disks from now on is newer than what they had."""
    with session(deployment.instances, timeout_s=READ_S):
        pass
    deadline = time.monotonic() + READ_S
    while behind := [n for n, z in _whole(read_state(deployment, timeout_s=READ_S)).items() if z <= zxid]:
        if time.monotonic() > deadline:
            raise OperationFailed("a transaction does not reach it", where=", ".join(behind), code="RESTORE_DIFFERS")
        context.wait(0.2)


def _tree(instance: Instance, context: ActContext) -> Summary:
    """The server's tree. That it writes it to its own disk for this makes the restore outlast a restart."""

    def read() -> Summary:
        with snapshot_stream(endpoint_of(instance), timeout_s=ANSWER_S) as stream:
            return summarise(stream)

    try:
        return patiently(read, f"{ensemble.short(instance.name)} to write a snapshot", context)
    except Damaged as e:
        raise OperationFailed(f"what it sent is no snapshot: {e}", where=instance.name) from None
