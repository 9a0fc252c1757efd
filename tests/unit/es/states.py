"""States of small clusters for the tests of gate, order and progress, made from few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bdops.components.es.state import (
    ClusterSettings,
    Coordination,
    Disk,
    EsState,
    ExpectedNode,
    Health,
    Index,
    Member,
    Server,
    Shard,
    Unassigned,
)

WATERMARKS = {
    "cluster.routing.allocation.enable": "all",
    "cluster.routing.allocation.disk.watermark.low": "85%",
    "cluster.routing.allocation.disk.watermark.high": "90%",
    "cluster.routing.allocation.disk.watermark.flood_stage": "95%",
}
ALL_ROLES = ("data", "ingest", "master")
ROOM = (Disk(path="/data", total_bytes=1000, available_bytes=900),)

UP = "up"
REFUSED = "refused"
"""Its process is down, and the cluster has not noticed yet."""
GONE = "gone"
"""Its process is down, and the cluster knows."""
SILENT = "silent"
"""It hangs, and the cluster still counts it."""
HUNG_OUT = "hung_out"
"""It hangs, and the cluster has removed it."""


def instance(name: str) -> str:
    return f"prod/es/{name}"


def server(name: str, status: str, master: str) -> Server:
    if status in (REFUSED, GONE):
        return Server(
            instance=instance(name), name=name, error="connection refused", error_kind="unreachable", refused=True
        )
    if status in (SILENT, HUNG_OUT):
        return Server(instance=instance(name), name=name, error="no answer within 10 s", error_kind="unreachable")
    return Server(instance=instance(name), name=name, master=master, disks=ROOM)


def member(name: str, roles: Sequence[str] = ALL_ROLES) -> Member:
    return Member(name=name, id=f"id-{name}", ephemeral_id=f"start-1-{name}", roles=tuple(roles))


def copies(index: str, number: int, nodes: Sequence[str | None], **first: Any) -> list[Shard]:
    """Copies of one shard: the first is the primary, None is one without a node."""
    found = []
    for position, node in enumerate(nodes):
        lost = None if node else Unassigned(reason="NODE_LEFT")
        fields: dict[str, Any] = {"state": "STARTED" if node else "UNASSIGNED", "node": node, "unassigned": lost}
        if position == 0:
            fields |= first
        found.append(Shard(index=index, shard=number, primary=position == 0, **fields))
    return found


def cluster(
    nodes: Mapping[str, str] | Iterable[str] = ("node1", "node2", "node3"),
    shards: Iterable[Shard] = (),
    *,
    roles: Mapping[str, Sequence[str]] | None = None,
    voting: Sequence[str] | None = None,
    master: str | None = None,
    indices: Iterable[Index] | None = None,
    racks: Mapping[str, str] | None = None,
    **changed: Any,
) -> EsState:
    """A cluster of these nodes (all up, unless a mapping says how each is) with nothing wrong but what is said."""
    status = dict(nodes) if isinstance(nodes, Mapping) else dict.fromkeys(nodes, UP)
    roles = roles or {}
    present = [n for n, s in status.items() if s not in (GONE, HUNG_OUT)]
    up = [n for n, s in status.items() if s == UP]
    elected = master or (up[0] if up else "")
    every = tuple(shards)
    replicas: dict[str, int] = {}
    for shard in every:
        mine = sum(s.index == shard.index and s.shard == shard.shard for s in every)
        replicas[shard.index] = max(replicas.get(shard.index, 0), mine - 1)
    lost = [s for s in every if not s.is_active]
    health = "red" if any(s.primary for s in lost) else "yellow" if lost else "green"
    fields: dict[str, Any] = {
        "cluster_uuid": "u1",
        "expected": tuple(
            ExpectedNode(
                instance=instance(n),
                name=n,
                host=n,
                rack=(racks or {}).get(n),
                roles=tuple(roles.get(n, ALL_ROLES)),
            )
            for n in status
        ),
        "servers": tuple(server(n, s, elected) for n, s in status.items()),
        "master": elected,
        "members": tuple(member(n, roles.get(n, ALL_ROLES)) for n in present),
        "health": Health(status=health),
        "shards": every,
        "indices": tuple(indices)
        if indices is not None
        else tuple(Index(name=i, replicas=r) for i, r in replicas.items()),
        "settings": ClusterSettings(defaults=WATERMARKS),
        "coordination": Coordination(
            voting=tuple(voting)
            if voting is not None
            else tuple(n for n in status if "master" in roles.get(n, ALL_ROLES))
        ),
        "running_snapshots": (),
    }
    return EsState(cluster="prod", taken_at=datetime(2026, 11, 25, tzinfo=UTC), **{**fields, **changed})
