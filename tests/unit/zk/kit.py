"""Ensembles made up for tests: each server in a condition of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from bdops.components.zk.state import ExpectedServer, Member, Server, ZkState

Condition = Literal[
    "leader",
    "follower",
    "behind",
    "joining",
    "looking",
    "refused",
    "silent",
    "garbage",
    "zxid missing",
    "observer",
    "observer refused",
    "stranger",
]

ZXID = "0x300010000"
ERRORS = {
    "looking": ("the server is not serving requests: it has no quorum", "ZK_NOT_SERVING"),
    "refused": ("connection refused: nothing listens there", "ZK_REFUSED"),
    "silent": ("accepts connections, but did not answer", "ZK_SILENT"),
    "garbage": ("the answer to srvr is not ZooKeeper's", "ZK_GARBAGE"),
}


def name_of(number: int) -> str:
    return f"prod/zk/node{number}"


def state_of(*conditions: Condition, missing: int = 5000, rack: str | None = None) -> ZkState:
    """Servers 1, 2, ... in these conditions; a stranger is a member that the inventory does not have.

    The leader counts as in step whoever follows it in the broadcast, as a real one does.
    """
    members = tuple(
        Member(id=n, role="observer" if c.startswith("observer") else "participant", address=f"10.0.0.{n}:2888:3888")
        for n, c in enumerate(conditions, start=1)
    )
    leader_id = next((n for n, c in enumerate(conditions, start=1) if c == "leader"), None)
    synced = sum(c in ("follower", "behind", "silent", "garbage", "zxid missing") for c in conditions)
    servers = []
    expected = []
    for n, condition in enumerate(conditions, start=1):
        if condition == "stranger":
            continue
        role: Any = "observer" if condition.startswith("observer") else "participant"
        expected.append(
            ExpectedServer(name=name_of(n), host=f"node{n}", address=f"10.0.0.{n}", myid=n, role=role, rack=rack)
        )
        kind = condition.removeprefix("observer ")
        if kind in ERRORS:
            error, code = ERRORS[kind]
            serving = None if kind == "garbage" else False
            servers.append(Server(name=name_of(n), serving=serving, error=error, error_code=code))
            continue
        server = Server(
            name=name_of(n),
            serving=True,
            mode="leader" if kind == "leader" else "observer" if kind == "observer" else "follower",
            peer_state={"leader": "leading", "observer": "observing"}.get(kind, "following") + " - broadcast",
            read_only=False,
            myid=n,
            leader_id=leader_id,
            zxid=ZXID,
            members=members,
            config_version="100000000",
            weighted=False,
            connections=10 * n,
        )
        if kind == "leader":
            server = replace(server, synced_followers=synced, synced_observers=0, pending_syncs=0)
        if kind == "behind":
            server = replace(server, zxid=hex(int(ZXID, 16) - missing))
        if kind == "joining":
            server = replace(server, peer_state="following - synchronization")
        if kind == "zxid missing":
            server = replace(server, zxid=None)
        servers.append(server)
    return ZkState(
        cluster="prod",
        taken_at=datetime(2026, 11, 25, tzinfo=UTC),
        expected=tuple(expected),
        servers=tuple(servers),
    )


def change(state: ZkState, number: int, **fields: Any) -> ZkState:
    """The state with some fields of one server changed."""
    assert state.servers is not None
    return replace(
        state, servers=tuple(replace(s, **fields) if s.name == name_of(number) else s for s in state.servers)
    )
