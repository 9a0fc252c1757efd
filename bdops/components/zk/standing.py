"""How each server stands towards the ensemble: what gates, order and verification have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from bdops.components.zk import ensemble
from bdops.components.zk.state import Server, ZkState
from bdops.core.units import plural


class Standing(Enum):
    """Where a server is. Of a voter only IN_STEP counts towards the quorum."""

    IN_STEP = "in step"
    BEHIND = "behind"
    """It takes part in the broadcast, and has too many transactions to catch up with for its vote to help."""
    JOINING = "joining"
    """It runs, and looks for a leader, synchronises with it, or serves read-only: it recovers, or waits for others."""
    DOWN = "down"
    """No process listens."""
    UNKNOWN = "unknown"
    """Silent, or it does not tell enough; it may be in step for all that is known."""


def standing(server: Server, first: Server | None, *, max_behind: int) -> Standing:
    """Of one server, compared with `first` (`ensemble.newest`)."""
    if server.serving is not True:
        if server.serving is False and server.error_code == "ZK_REFUSED":
            return Standing.DOWN
        if server.serving is False and server.error_code == "ZK_NOT_SERVING":
            return Standing.JOINING
        return Standing.UNKNOWN
    if server.read_only or server.mode == "read-only":
        return Standing.JOINING
    if server.mode is None:
        return Standing.UNKNOWN
    if server.mode == "standalone":
        return Standing.IN_STEP
    if server.peer_state is not None and "broadcast" not in server.peer_state:
        return Standing.JOINING
    missing = ensemble.lag(server, first) if first else None
    if missing is None:
        return Standing.UNKNOWN
    return Standing.BEHIND if missing > max_behind else Standing.IN_STEP


def standings(state: ZkState, *, max_behind: int) -> Mapping[str, Standing]:
    """Of every server that was looked at or should have been, by instance name."""
    first = ensemble.newest(state)
    return {s.name: standing(s, first, max_behind=max_behind) for s in ensemble.servers(state)}


def server_of(state: ZkState, name: str) -> Server | None:
    """The server of this instance name, as it was read."""
    return next((s for s in ensemble.servers(state) if s.name == name), None)


def why_not_in_step(state: ZkState, name: str) -> str:
    """In words with numbers, what keeps a server from counting: for reasons and for what is waited for."""
    server = server_of(state, name)
    if server is None:
        return "a member that the inventory does not have: it was not read"
    if server.error:
        return server.error
    if server.serving is not True:
        return "not read"
    if server.read_only or server.mode == "read-only":
        return "serves read-only: it has no quorum"
    if server.peer_state is not None and "broadcast" not in server.peer_state:
        return f"its state is `{server.peer_state}`"
    first = ensemble.newest(state)
    missing = ensemble.lag(server, first) if first else None
    if first is None or missing is None:
        return f"mode {server.mode or 'unknown'}, zxid {server.zxid or 'unknown'}: nothing to compare with"
    return f"{plural(missing, 'transaction')} behind {ensemble.short(first.name)}"
