"""What is done to which instance, and in which order. Pure.

JournalNodes; the failover controller of the standby; the standby; the failover, and the former active one; its
controller; DataNodes, rack by rack. A controller gives up its lock in ZooKeeper when it ends, and with it the
active NameNode: each is restarted while its NameNode is a standby, so that there is one failover, the wanted one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bdops.components.hdfs.standing import View
from bdops.components.hdfs.state import RoleName, datanode_at
from bdops.core.plan import Target
from bdops.core.units import plural

ACTS: Mapping[tuple[RoleName, str], tuple[str, ...]] = {
    ("journalnode", "restart"): ("restart", "roll-edits"),
    ("journalnode", "stop"): ("stop",),
    ("journalnode", "start"): ("start", "roll-edits"),
    ("namenode", "restart"): ("failover", "restart"),
    ("namenode", "stop"): ("failover", "stop"),
    ("namenode", "start"): ("start",),
    ("zkfc", "restart"): ("failover", "restart"),
    ("zkfc", "stop"): ("failover", "stop"),
    ("zkfc", "start"): ("start",),
    ("datanode", "restart"): ("shutdown-upgrade", "restart"),
    ("datanode", "stop"): ("stop",),
    ("datanode", "start"): ("start",),
}
"""A JournalNode that was away takes edits again with the next segment of the edit log only, hence `roll-edits`."""
DOWN_RANKS: Mapping[RoleName, int] = {"journalnode": 0, "namenode": 1, "zkfc": 2, "datanode": 3}
"""What is down is started before anything that is up is touched; what others need first."""


def targets(view: View, instances: Collection[str], verb: str) -> tuple[Target, ...]:
    """The targets of `restart`, `stop` or `start`; `instances` that the inventory does not have are left out."""
    known = [view.by_name[name] for name in instances if name in view.by_name]
    can_fail_over = len(view.of_role("namenode")) > 1

    def target(name: str, role: RoleName) -> Target:
        acts = ACTS[role, verb]
        leads = leads_now(view, name)
        return Target(
            name=name,
            instance=name,
            acts=tuple(a for a in acts if a != "failover" or can_fail_over),
            rank=_rank(view, name, role, verb),
            rack=rack_of(view, name),
            role=role,
            leader_last=role in ("namenode", "zkfc"),
            note="active now" if leads and role == "namenode" else "",
        )

    found = [target(e.name, e.role) for e in known]
    return tuple(sorted(found, key=lambda t: (t.rank, t.rack or "", t.name)))


def _rank(view: View, name: str, role: RoleName, verb: str) -> int:
    if verb == "start" or view.how(name) == "down":
        return DOWN_RANKS[role]
    if role == "journalnode":
        return 10 if view.why_not_in_sync(name) else 11
    if role == "zkfc":
        return 40 if leads_now(view, name) else 20
    return 30 if role == "namenode" else 50


def rack_of(view: View, name: str) -> str | None:
    """The rack by which blocks are placed: the NameNode's, and the inventory's for what it does not know."""
    record = view.datanodes.get(name)
    return record.rack if record and record.rack else view.by_name[name].rack


def leads_now(view: View, name: str) -> bool | None:
    """Whether it is the active NameNode, or the controller of that; None when the NameNode does not say."""
    expected = view.by_name.get(name)
    if expected is None:
        return None
    namenode = view.partner(name, "namenode") if expected.role == "zkfc" else name
    if expected.role not in ("namenode", "zkfc") or namenode is None:
        return False
    node = view.namenodes.get(namenode)
    return None if node is None or node.error else node.state == "active"


def consequences(view: View, instances: Collection[str], verb: str) -> tuple[str, ...]:
    """What clients will notice of it."""
    by_role: dict[RoleName, list[str]] = {}
    for name in instances:
        if name in view.by_name:
            by_role.setdefault(view.by_name[name].role, []).append(name)
    lines = []
    if verb != "start":
        if journals := by_role.get("journalnode"):
            lines.append(f"{plural(len(journals), 'JournalNode')}, one at a time: {_journal_words(view)}")
        moved = [n for role in ("namenode", "zkfc") for n in by_role.get(role, ()) if leads_now(view, n)]
        if moved:
            lines.append(
                f"one failover, away from {view.active[0]}: clients try again for some seconds, and wait meanwhile"
            )
        if datanodes := by_role.get("datanode"):
            lines.append(_datanode_words(view, datanodes, verb))
            lines += _single_words(view, datanodes)
    return tuple(lines)


def _journal_words(view: View) -> str:
    quorum = view.journal_quorum
    return f"{len(quorum.caught_up)} of {len(quorum.configured)} take edits now, {quorum.needed} must"


def _datanode_words(view: View, datanodes: Collection[str], verb: str) -> str:
    racks = {rack_of(view, n) for n in datanodes}
    blocks = sum(view.datanodes[n].blocks for n in datanodes if n in view.datanodes)
    away = "writers wait for theirs to come back (it announces its restart), readers read other copies"
    if verb == "stop":
        away = "writers go on without it, readers read other copies; the NameNode makes new ones when it counts as dead"
    return (
        f"{plural(len(datanodes), 'DataNode')} on {plural(len(racks), 'rack')} with {blocks} copies of blocks: {away}"
    )


def _single_words(view: View, datanodes: Collection[str]) -> list[str]:
    survey = view.state.survey
    mine = [s for s in (survey.single if survey else ()) if datanode_at(view.state, s.address) in datanodes]
    if not mine:
        return []
    files = [f for s in mine for f in s.files]
    shown = ", ".join(files[:5]) + (", ..." if len(files) > 5 else "")
    return [f"{plural(sum(s.blocks for s in mine), 'block')} of one copy cannot be read meanwhile: {shown}"]
