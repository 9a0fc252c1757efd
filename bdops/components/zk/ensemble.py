"""Questions about a whole ensemble, answered from its state: who leads, who votes, who is caught up. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bdops.components.zk.state import Member, Server, ZkState, Zxid
from bdops.core.quorum import Quorum


def short(name: str) -> str:
    """`node2` of the instance name `prod/zk/node2`."""
    return name.rsplit("/", 1)[-1]


def servers(state: ZkState) -> tuple[Server, ...]:
    """All servers that were looked at, with one that says so for each that should have been and was not."""
    seen = state.servers or ()
    names = {s.name for s in seen}
    absent = (e for e in state.expected or () if e.name not in names)
    return seen + tuple(Server(name=e.name, error="not in the state") for e in absent)


def leaders(state: ZkState) -> tuple[Server, ...]:
    """The servers that say that they lead, or stand alone."""
    return tuple(s for s in state.servers or () if s.mode in ("leader", "standalone"))


def leader(state: ZkState) -> Server | None:
    """The one leader; of two (an old one that has not noticed yet) the one of the newer epoch; None for none."""
    return max(leaders(state), key=lambda s: Zxid.of(s.zxid or "0"), default=None)


def reference(state: ZkState) -> Server | None:
    """The server whose copy of the configuration counts: the leader, else the one with the newest copy."""
    first = leader(state)
    if first and first.members:
        return first
    known = (s for s in state.servers or () if s.members)
    return max(known, key=lambda s: int(s.config_version or "0", 16), default=None)


def ids(state: ZkState) -> Mapping[int, str]:
    """Instance names by server id: as the servers say themselves, else as the inventory or an address says."""
    found = {e.myid: e.name for e in state.expected or () if e.myid is not None}
    copy = reference(state)
    for member in (copy.members if copy else None) or ():
        for e in state.expected or ():
            if member.id not in found and e.name not in found.values() and e.address in _hosts(member):
                found[member.id] = e.name
    for server in state.servers or ():
        if server.myid is not None:
            # What a server says of itself beats the inventory, which may be wrong.
            found = {i: n for i, n in found.items() if n != server.name}
            found[server.myid] = server.name
    return found


def strangers(state: ZkState) -> list[str]:
    """Members of the ensemble that the inventory does not have: a restore would not reach them."""
    copy, known = reference(state), ids(state)
    return [f"server.{m.id}" for m in (copy.members if copy else None) or () if m.id not in known]


def _hosts(member: Member) -> set[str]:
    quorum = [part.rsplit(":", 2)[0] for part in (member.address or "").split("|")]
    client = (member.client or "").rsplit(":", 1)[0]
    return {h.strip("[]") for h in (*quorum, client) if h}


def configured(state: ZkState, role: str = "participant") -> frozenset[str] | None:
    """The names of the configured voters (or observers); None when nothing tells who they are.

    The ensemble's own configuration counts, not the inventory, unless no server could be asked. A voter
    that the inventory does not know is `server.5`.
    """
    first = leader(state)
    if first and first.mode == "standalone":
        return frozenset({first.name} if role == "participant" else ())
    copy = reference(state)
    if copy and copy.members:
        names = ids(state)
        return frozenset(names.get(m.id, f"server.{m.id}") for m in copy.members if m.role == role)
    if state.expected is not None:
        return frozenset(e.name for e in state.expected if e.role == role)
    return None


def lag(server: Server, first: Server) -> int | None:
    """The leader's transactions that this server has not applied; None when either zxid is unknown."""
    if server.zxid is None or first.zxid is None:
        return None
    return Zxid.of(server.zxid).behind(Zxid.of(first.zxid))


def newest(state: ZkState) -> Server | None:
    """The server to compare with: the leader; where it cannot be read, the follower that has most of its writes.

    A follower in the broadcast phase has a leader, whoever that is: it stops serving when it loses it.
    """
    following = (s for s in state.servers or () if s.serving and s.mode == "follower" and s.zxid)
    return leader(state) or max(following, key=lambda s: Zxid.of(s.zxid or "0"), default=None)


def caught_up(server: Server, first: Server | None, *, behind: float) -> bool:
    """Whether the server's vote counts: it serves, takes part in the broadcast, and is less than `behind` behind."""
    if not server.serving or server.read_only or server.mode not in ("leader", "follower", "standalone"):
        return False
    if server.peer_state is not None and "broadcast" not in server.peer_state and server.mode != "standalone":
        return False
    if first is None or server is first:
        return first is not None
    missing = lag(server, first)
    return missing is not None and missing < behind


def quorum(state: ZkState, *, behind: float) -> Quorum | None:
    """The shared arithmetic on this ensemble; None when the voters are not known."""
    voters = configured(state)
    if not voters:
        return None
    first = newest(state)
    return Quorum.of(voters, (s.name for s in state.servers or () if caught_up(s, first, behind=behind)))
