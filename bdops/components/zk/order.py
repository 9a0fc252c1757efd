"""In which order servers go, what clients notice, and when one is whole again. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bdops.components.zk import ensemble
from bdops.components.zk.ensemble import short
from bdops.components.zk.standing import Standing, server_of, standings, why_not_in_step
from bdops.components.zk.state import Server, ZkState
from bdops.core.actor import DONE, Progress, pending
from bdops.core.plan import Target
from bdops.core.quorum import Quorum
from bdops.core.units import plural

VERIFY_WRITE = "verify-write"
REBUILD = "ensemble-"
"""So begin the acts by which an ensemble that has lost its data is made again (`snapshot.rebuild`)."""
ACTS: Mapping[str, tuple[str, ...]] = {
    "restart": ("restart", VERIFY_WRITE),
    "stop": ("stop",),
    "start": ("start", VERIFY_WRITE),
}
# Ranks: those that are down or silent, observers, followers, the leader.
_UNREADY, _OBSERVER, _FOLLOWER, _LEADER = range(4)


def targets(
    state: ZkState, instances: Collection[str], verb: str, *, max_behind: int, verify_write: bool
) -> tuple[Target, ...]:
    """The targets of `restart`, `stop` or `start`: the unready, observers, followers (lagging first), the leader.

    A server that recovers keeps its role's place: its gate waits for it.
    """
    acts = tuple(a for a in ACTS[verb] if verify_write or a != VERIFY_WRITE)
    standing = standings(state, max_behind=max_behind)
    racks = {e.name: e.rack for e in state.expected or ()}
    found = []
    for name in instances:
        rank = _rank(state, name, standing.get(name))
        observer = _is_observer(state, name)
        target = Target(
            name=name,
            acts=acts,
            instance=name,
            rank=rank,
            rack=racks.get(name),
            role="observer" if observer else "voter",
            leader_last=not observer,
            note=_note(state, name, standing.get(name)),
        )
        found.append((rank, -_behind(state, name), name, target))
    return tuple(target for *_, target in sorted(found, key=lambda f: f[:3]))


def _rank(state: ZkState, name: str, standing: Standing | None) -> int:
    if standing in (None, Standing.DOWN, Standing.UNKNOWN):
        return _UNREADY
    if _is_observer(state, name):
        return _OBSERVER
    return _LEADER if leads(state, name) else _FOLLOWER


def _is_observer(state: ZkState, name: str) -> bool:
    server = server_of(state, name)
    if server and server.mode in ("leader", "follower", "observer"):
        return server.mode == "observer"
    configured = ensemble.configured(state, "observer") or frozenset()
    return name in configured or any(e.name == name and e.role == "observer" for e in state.expected or ())


def _behind(state: ZkState, name: str) -> int:
    first, server = ensemble.newest(state), server_of(state, name)
    return (ensemble.lag(server, first) or 0) if first and server else 0


def _note(state: ZkState, name: str, standing: Standing | None) -> str:
    if standing is Standing.IN_STEP:
        server = server_of(state, name)
        behind = _behind(state, name)
        return f"{server.mode if server else ''}{f', {behind} behind' if behind else ''}"
    return why_not_in_step(state, name)


def leads(state: ZkState, name: str) -> bool | None:
    """Whether this server leads; None where no leader is known and it may be this one."""
    server = server_of(state, name)
    if server and server.serving and server.mode:
        return server.mode in ("leader", "standalone")
    if ensemble.leader(state) or (server and server.error_code == "ZK_REFUSED"):
        return False
    return None


def down(state: ZkState) -> dict[str, str]:
    """Servers without a process that answers, and those of which that is not known, each with why.

    One that runs and does not serve (an election, a synchronisation) is not down: all of them are so for a moment
    when the leader goes. The gates count it out.
    """
    return {
        s.name: s.error or "not read"
        for s in ensemble.servers(state)
        if s.serving is None or (s.serving is False and s.error_code != "ZK_NOT_SERVING")
    }


def whole(state: ZkState, name: str, *, max_behind: int) -> Progress:
    """Whether a server that was started is a full member again, by its own word and the leader's."""
    server = server_of(state, name)
    if server is None or standings(state, max_behind=max_behind)[name] is not Standing.IN_STEP:
        return pending(f"{short(name)} to be in step: {why_not_in_step(state, name)}")
    first = ensemble.leader(state)
    if first is None:
        return pending("a leader")
    if None not in (server.leader_id, first.myid) and server.leader_id != first.myid:
        return pending(f"{short(name)} to follow {short(first.name)}; it follows server {server.leader_id}")
    if None not in (server.config_version, first.config_version) and server.config_version != first.config_version:
        return pending(
            f"{short(name)} to have configuration version {first.config_version}; it has {server.config_version}"
        )
    return _counted(state, first, max_behind=max_behind)


def _counted(state: ZkState, first: Server, *, max_behind: int) -> Progress:
    """Whether the leader counts as many followers in step as there seem to be."""
    in_step = {n for n, where in standings(state, max_behind=max_behind).items() if where is Standing.IN_STEP}
    followers = len(in_step & (ensemble.configured(state) or frozenset())) - 1
    if first.synced_followers is not None and first.synced_followers < followers:
        return pending(
            f"the leader {short(first.name)} to count {plural(followers, 'follower')} in step; it counts "
            f"{first.synced_followers}"
        )
    return DONE


def consequences(state: ZkState, instances: Collection[str], verb: str, *, max_behind: int) -> tuple[str, ...]:
    """What clients notice of a `restart` or `stop`, with numbers; of a `start`, nothing."""
    if verb not in ("restart", "stop"):
        return ()
    names = set(instances)
    said = []
    clients = [(s.name, s.connections) for s in ensemble.servers(state) if s.name in names and s.connections]
    if clients:
        listed = ", ".join(f"{short(name)} {count}" for name, count in sorted(clients))
        total = plural(sum(count for _, count in clients if count), "client connection")
        said.append(f"{total} will move to another server ({listed}); sessions and their ephemerals stay")
    first = ensemble.leader(state)
    if first and first.name in names:
        how = "stands alone: nothing is served until it is back" if first.mode == "standalone" else "one election"
        said.append(f"{short(first.name)} leads, and stops last: {how}; no writes meanwhile")
    if verb == "stop":
        said.append(_left_over(state, names, max_behind=max_behind))
    return tuple(s for s in said if s)


def _left_over(state: ZkState, names: set[str], *, max_behind: int) -> str:
    voters = ensemble.configured(state) or frozenset()
    if not voters & names:
        return ""
    in_step = {n for n, where in standings(state, max_behind=max_behind).items() if where is Standing.IN_STEP}
    left = Quorum.of(voters, in_step - names)
    return (
        f"{len(left.caught_up)} of {plural(len(voters), 'voter')} stay in step, {left.needed} are needed: "
        f"{max(0, left.spare)} more may fail"
    )
