"""What several checks ask of a state."""

from __future__ import annotations

from collections.abc import Iterable

from bdops.components.es.state import EsState, Server
from bdops.core.checks import Finding, Severity


def instances(state: EsState, names: Iterable[str | None]) -> tuple[str, ...]:
    """The inventory's instances behind node names; unknown names and None are left out."""
    known = {n.name: n.instance for n in state.expected or ()}
    known.update({s.name: s.instance for s in state.servers or ()})
    return tuple(dict.fromkeys(known[name] for name in names if name in known))


def missing_nodes(state: EsState) -> tuple[str, ...]:
    """Names of the inventory's nodes that the cluster does not count as members; none when that is not known."""
    if state.members is None or state.expected is None:
        return ()
    present = {m.name for m in state.members}
    return tuple(n.name for n in state.expected if n.name not in present)


def silent(state: EsState, server: Server, what: str, reading: str) -> Finding:
    """The finding for a server that did not tell what a check asks of each; `reading` is its name in `unread`."""
    host = next((n.host for n in state.expected or () if n.instance == server.instance), server.name)
    why = server.error or state.unread.get(f"{reading}/{host}", "absent from the state")
    # That its answer hung on another node is no reason to blame this one.
    blamed = (server.instance,) if server.error else ()
    return Finding(server.instance, Severity.UNKNOWN, f"{what} not known: {why}", blamed)
