"""What may be stopped in a nameservice now. Pure: a state in, facts for `core.gate.judge` out.

Three things make a stop of DataNodes safe: the NameNode's own counts (nothing missing, nothing new
under-replicated), block placement (a whole block of two copies or more is on two racks:
BlockPlacementPolicyDefault, and the NameNode counts those that are not), and the names of the blocks with fewer
copies than they want. What the inventory has and is known to be down costs nothing when it is stopped: every
rule is about those that are up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bdops.components.hdfs.settings import HdfsRules
from bdops.components.hdfs.standing import View
from bdops.components.hdfs.state import BlockState, HdfsState, datanode_at
from bdops.core.gate import Budget, GateFacts, Obstacle, OneDomain, Verdict
from bdops.core.units import plural

RULES: Mapping[str, str] = {
    "HDFS_UNREAD": "a reading that the gate needs is missing",
    "HDFS_SILENT": "an instance says nothing: whether it runs, and what would be lost with the next one, is unknown",
    "HDFS_STRANGER": "HDFS uses a server that the inventory does not know",
    "HDFS_ACTIVE": "not exactly one NameNode is active",
    "HDFS_SAFE_MODE": "a NameNode is in safe mode: it starts, or somebody put it there",
    "HDFS_STANDBY": "no NameNode would be left that serves or could take over at once",
    "HDFS_FAILOVER_PAIR": "only the NameNode and the failover controller of one host at a time",
    "HDFS_JOURNAL_QUORUM": "too few JournalNodes would take edits; they go one by one in any case",
    "HDFS_ROLLING_UPGRADE": "a rolling upgrade is under way, or being prepared",
    "HDFS_MISSING": "blocks have no good copy",
    "HDFS_CORRUPT": "blocks have a corrupt copy, and not all of these are stale copies of files being written",
    "HDFS_UNDER_REPLICATED": "more blocks than before have fewer copies than they want",
    "HDFS_PENDING": "more copies than before are on the way",
    "HDFS_DATANODE_UNHEARD": "a DataNode runs and the NameNode does not hear from it",
    "HDFS_DRAIN": "a DataNode is being decommissioned, or is in maintenance: its blocks may have few copies elsewhere",
    "HDFS_BLOCK": "an under-replicated block would lose the last copy, or unit, that it needs",
    "HDFS_BLOCKS_UNNAMED": "blocks are under-replicated, and which and where they are is not known",
    "HDFS_SINGLE_COPY": "files that want one copy alone, on that DataNode",
    "HDFS_SURVEY": "not all files were looked at: whether some have one copy alone is not known",
    "HDFS_RACKS": "DataNodes of one rack at a time: the other copies of their blocks are on another rack",
    "HDFS_COPIES": "without two racks: fewer DataNodes at once than a block has copies",
    "HDFS_EC_PARITY": "no more DataNodes at once than an erasure-coded group has parity units",
}
"""Every rule that a gate of HDFS can name, with its meaning."""

NEEDED = ("namenodes", "zkfcs", "journalnodes")
NEEDED_OF_ACTIVE = (
    "datanodes", "datanode_probes", "journal_streams", "replicated_blocks", "ec_groups", "pending",
    "rolling_upgrade", "survey",
)  # fmt: skip
READINGS = frozenset({*NEEDED, *NEEDED_OF_ACTIVE, "corrupt_files", "open_blocks"})
"""What `can-stop` reads."""
GONE = "(down) "
"""Before the name of an instance that is down already, where facts count it and a candidate must not be it."""


def gate_facts(
    state: HdfsState, baseline: Mapping[str, Any] | None = None, rules: HdfsRules | None = None
) -> GateFacts:
    """What forbids stopping whom.

    `baseline` (of `actor.baseline`) tells old wounds from new ones; without one all that is under-replicated now is
    an old wound, which only its own blocks' rules speak of.
    """
    view = View(state, rules)
    before = baseline or {}
    up = view.names - view.down
    return GateFacts(
        names=view.names,
        budgets=(
            *_standby(view),
            *_journal(view),
            *_lost_blocks(view, up),
            *_degraded(view, before),
            *_single_copies(view),
            *_whole_blocks(view),
        ),
        domains=(*_failover_pairs(view), *_racks(view)),
        obstacles=(
            *_unread(view, up),
            *_silent(view, up, before),
            *_strangers(view, up),
            *_active(view, up),
            *_safe_mode(view, up),
            *_upgrade(view, up),
            *_counts(view, up, before),
            *_drains(view),
            *_unnamed(view),
        ),
    )


def _unread(view: View, up: frozenset[str]) -> Iterator[Obstacle]:
    state = view.state
    missing = [name for name in ("expected", *NEEDED) if getattr(state, name) is None]
    if len(view.active) == 1:  # without an active NameNode it is that which is wrong
        missing += [name for name in NEEDED_OF_ACTIVE if getattr(state, name) is None]
    for name in missing:
        why = state.unread.get(name, "absent from the state")
        # A walk through the files is about blocks, and not about who is active or takes edits.
        mine = up & frozenset(view.of_role("datanode")) if name == "survey" else up
        yield _obstacle("HDFS_UNREAD", name, f"not known: {why}", Verdict.UNKNOWN, None if name == "expected" else mine)
    if len(view.active) != 1:
        return
    concerned = frozenset(n for n in (view.active[0], view.partner(view.active[0], "zkfc")) if n)
    for name, node in view.namenodes.items():
        if not node.error and node.state == "standby" and view.lag_txns(name) is None:
            why = node.http_error or view.namenodes[view.active[0]].http_error or "absent from the state"
            yield _obstacle(
                "HDFS_UNREAD", name, f"how far it lags behind is not known: {why}", Verdict.UNKNOWN, concerned
            )


def _silent(view: View, up: frozenset[str], before: Mapping[str, Any]) -> Iterator[Obstacle]:
    old = frozenset(before.get("unheard", ()))
    for name, stands in view.stands.items():
        if stands.how == "silent":
            yield _obstacle("HDFS_SILENT", name, stands.why, Verdict.UNKNOWN, up - {name}, acceptable=True, about=name)
        elif stands.how == "unheard" and name not in old:
            but = up - {name}
            yield _obstacle("HDFS_DATANODE_UNHEARD", name, stands.why, Verdict.WAIT, but, acceptable=True, about=name)


def _strangers(view: View, up: frozenset[str]) -> Iterator[Obstacle]:
    for address in view.strangers:
        harm = "HDFS uses it, and the inventory does not know it"
        yield _obstacle("HDFS_STRANGER", address, harm, Verdict.REFUSE, up, acceptable=True)


def _active(view: View, up: frozenset[str]) -> Iterator[Obstacle]:
    if view.state.namenodes is None or len(view.active) == 1:
        return
    said = ", ".join(f"{n.instance} is {n.state or 'not to be reached'}" for n in view.state.namenodes) or "none known"
    verdict = Verdict.REFUSE if view.active else Verdict.WAIT
    yield _obstacle("HDFS_ACTIVE", view.state.nameservice, f"{len(view.active)} active: {said}", verdict, up)


def _safe_mode(view: View, up: frozenset[str]) -> Iterator[Obstacle]:
    for name, node in view.namenodes.items():
        if node.error:
            continue
        if node.safe_mode is None:
            harm = "whether it is in safe mode is not known"
            yield _obstacle("HDFS_SAFE_MODE", name, harm, Verdict.UNKNOWN, up)
        elif node.safe_mode:
            harm = f"{node.state}, in safe mode: {(node.safe_mode_reason or 'no reason given').strip()}"
            yield _obstacle("HDFS_SAFE_MODE", name, harm, Verdict.WAIT, up)


def _standby(view: View) -> Iterator[Budget]:
    """The NameNode service must outlive the stop: of those that could serve at once, one stays."""
    if len(view.active) != 1:
        return
    configured = view.of_role("namenode")
    able = frozenset((*view.active, *view.ready_standbys))
    unable = {n: why for n in configured if n not in able and (why := view.why_not_ready(n))}
    reasons = "; ".join(f"{n}: {why}" for n, why in unable.items())
    harm = f"{len(able)} of {plural(len(configured), 'NameNode')} could serve" + (f" ({reasons})" if reasons else "")
    starting = any(view.how(n) == "up" for n in unable)
    verdict = Verdict.WAIT if starting else Verdict.REFUSE
    alone = len(configured) == 1
    yield _budget("HDFS_STANDBY", able, len(able) - 1, (view.state.nameservice,), harm, verdict, acceptable=alone)
    zkfc = view.partner(view.active[0], "zkfc")
    if len(able) == 1 and zkfc and view.how(zkfc) == "up":
        harm = f"the active NameNode gives up with its failover controller, and {reasons or 'there is no standby'}"
        yield _budget("HDFS_STANDBY", frozenset({zkfc}), 0, (view.state.nameservice,), harm, verdict, acceptable=alone)


def _failover_pairs(view: View) -> Iterator[OneDomain]:
    """A failover needs the NameNode and the controller of another host, both: one host's at a time."""
    members = [n for role in ("namenode", "zkfc") for n in view.of_role(role)]
    hosts = {n: view.by_name[n].host for n in members}
    if len(set(hosts.values())) < 2:
        return
    gone = {f"{GONE}{n}": host for n, host in hosts.items() if view.how(n) != "up"}
    domain_of = {**{n: host for n, host in hosts.items() if n not in view.down}, **gone}
    yield OneDomain(
        rule="HDFS_FAILOVER_PAIR",
        domain_of=domain_of,
        down=frozenset(gone),
        harm="a failover takes the NameNode and the failover controller of another host, both up"
        + (f"; not up: {', '.join(n.removeprefix(GONE) for n in sorted(gone))}" if gone else ""),
    )


def _journal(view: View) -> Iterator[Budget]:
    """Every edit must reach a majority of the configured JournalNodes, or the active NameNode stops itself."""
    if not view.of_role("journalnode") or view.state.journal_streams is None:
        return
    quorum = view.journal_quorum
    behind = {j: why for j in sorted(quorum.configured - quorum.caught_up) if (why := view.why_not_in_sync(j))}
    harm = (
        f"{len(quorum.caught_up)} of {plural(len(quorum.configured), 'JournalNode')} take edits, "
        f"{quorum.needed} must be left; one goes at a time"
    ) + "".join(f"; {j}: {why}" for j, why in behind.items())
    coming = any(view.how(j) == "up" for j in behind)
    yield _budget(
        "HDFS_JOURNAL_QUORUM",
        quorum.caught_up,
        min(1, quorum.spare),
        ("the edit log",),
        harm,
        Verdict.WAIT if coming else Verdict.REFUSE,
    )


def _upgrade(view: View, up: frozenset[str]) -> Iterator[Obstacle]:
    upgrade = view.state.rolling_upgrade
    if upgrade is None or not upgrade.under_way:
        return
    if not upgrade.rollback_image:
        harm = "its image to roll back to is being made"
        yield _obstacle("HDFS_ROLLING_UPGRADE", "rolling upgrade", harm, Verdict.WAIT, up, acceptable=True)
    else:
        harm = "under way: a restart is one of its steps, and brings the version that is installed"
        yield _obstacle("HDFS_ROLLING_UPGRADE", "rolling upgrade", harm, Verdict.REFUSE, up, acceptable=True)


def _lost_blocks(view: View, up: frozenset[str]) -> Iterator[Budget]:
    """Missing and corrupt blocks forbid all stops: what is still there may be all that is left.

    But not stale copies: what was appended while a DataNode was down makes its copy one of a former generation
    stamp, which counts as corrupt until the file is closed (BlockManager.checkReplicaCorrupt).
    `_degraded` looks after these.
    """
    replicated, groups = view.state.replicated_blocks, view.state.ec_groups
    if replicated is None or groups is None:
        return
    blocks = view.state.survey.degraded if view.state.survey else ()
    files = dict.fromkeys(b.file for b in blocks if b.missing)
    if view.state.corrupt_files:
        files |= dict.fromkeys(view.state.corrupt_files.paths)
    if missing := replicated.missing + groups.missing:
        harm = f"{plural(missing, 'block')} without a good copy"
        yield _budget("HDFS_MISSING", up, 0, tuple(files) or ("/",), harm, acceptable=True)
    if (corrupt := replicated.corrupt + groups.corrupt) > _stale_at_most(view):
        harm = f"{plural(corrupt, 'block')} with a corrupt copy, to be replaced by the NameNode"
        yield _budget("HDFS_CORRUPT", up, 0, tuple(files) or ("/",), harm, Verdict.WAIT, acceptable=True)


def _more_than_before(view: View, before: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Of blocks and of groups, if more of them than before have fewer copies than they want: so many now, and then."""
    for what, now, key in (
        ("blocks", view.state.replicated_blocks, "low_redundancy"),
        ("erasure-coded groups", view.state.ec_groups, "ec_low_redundancy"),
    ):
        if now is not None and key in before and now.low_redundancy > before[key]:
            yield what, now.low_redundancy, before[key]


def _counts(view: View, up: frozenset[str], before: Mapping[str, Any]) -> Iterator[Obstacle]:
    for what, now, then in _more_than_before(view, before):
        harm = f"{now} have fewer copies than they want, {then} before"
        yield _obstacle("HDFS_UNDER_REPLICATED", what, harm, Verdict.WAIT, up, acceptable=True)
    pending = view.state.pending
    if pending is not None and "pending" in before:
        allowed = before["pending"] + view.rules.pending_slack
        if pending.reconstruction > allowed:
            harm = f"{pending.reconstruction} copies on the way, {allowed} allowed ({before['pending']} before)"
            yield _obstacle("HDFS_PENDING", "copies", harm, Verdict.WAIT, up, acceptable=True)


def _drains(view: View) -> Iterator[Obstacle]:
    for name, d in view.datanodes.items():
        if d.admin_state in ("decommissioning", "entering_maintenance", "in_maintenance"):
            harm = f"{d.admin_state.replace('_', ' ')}, with {plural(d.blocks, 'block')}"
            others = view.up_datanodes - {name}
            yield _obstacle("HDFS_DRAIN", name, harm, Verdict.REFUSE, others, acceptable=True)


def _blocks_in_trouble(view: View) -> tuple[tuple[BlockState, ...], bool]:
    """The blocks with fewer copies than they want, and whether these are all that the NameNode counts."""
    state = view.state
    replicated, groups = state.replicated_blocks, state.ec_groups
    if replicated is None or groups is None:
        return (), False
    blocks: tuple[BlockState, ...] = ()
    if state.survey is not None:
        blocks, complete = state.survey.degraded, state.survey.complete and state.survey.degraded_complete
    elif state.degraded_blocks is not None:
        blocks, complete = state.degraded_blocks.blocks, state.degraded_blocks.complete
    else:
        complete = False
    counted = replicated.low_redundancy + groups.low_redundancy
    # A badly distributed block is counted as one of low redundancy, and has all its copies.
    badly = replicated.badly_distributed + groups.badly_distributed
    return blocks, counted == 0 or (complete and len(blocks) + badly >= counted)


def _stale_at_most(view: View) -> int:
    """How many blocks with a corrupt copy may be open ones; none when it is not known which those are."""
    found = view.state.open_blocks
    return sum(1 for b in found.blocks if not b.missing) if found and found.complete else 0


def _degraded(view: View, before: Mapping[str, Any]) -> Iterator[Budget]:
    """Blocks with fewer copies than they want, and those that may have a stale one: so many must stay as each needs.

    Like ones share a budget. While the NameNode is at work on more of them than before, that is waited for: a block
    for which a copy is on the way is not counted among those that lack one (BlockManager.pendingReconstruction).
    """
    pending = view.state.pending
    copying = pending is not None and "pending" in before and pending.reconstruction > before["pending"]
    verdict = Verdict.WAIT if copying or any(True for _ in _more_than_before(view, before)) else Verdict.REFUSE
    blocks, _ = _blocks_in_trouble(view)
    if view.state.open_blocks:
        blocks += view.state.open_blocks.blocks
    alike: dict[tuple[frozenset[str], int], list[str]] = {}
    for block in blocks:
        if block.missing:
            continue
        where = [address for address in block.locations if address not in block.corrupt_on]
        if where:
            holders = {address: datanode_at(view.state, address) for address in where}
            members = frozenset(h for h in holders.values() if h in view.up_datanodes)
            foreign = sum(1 for h in holders.values() if h is None)
            spare = len(members) + foreign - block.needed
        else:
            members = view.up_datanodes
            spare = block.live + block.leaving - block.needed - len(view.gone_with_copies)
        if members and len(members) > spare:
            alike.setdefault((members, spare), []).append(f"{block.file} {block.block}")
    for (members, spare), named in alike.items():
        harm = f"of the copies that serve, {max(0, spare)} may go before it cannot be read"
        yield _budget("HDFS_BLOCK", members, max(0, spare), tuple(named), harm, verdict)


def _unnamed(view: View) -> Iterator[Obstacle]:
    """What is under-replicated and not named may be anywhere."""
    _, known = _blocks_in_trouble(view)
    replicated, groups = view.state.replicated_blocks, view.state.ec_groups
    if known or replicated is None or groups is None:
        return
    last = replicated.highest_priority + groups.highest_priority
    low = replicated.low_redundancy + groups.low_redundancy
    if last or view.gone_with_copies:
        harm = f"{low} are under-replicated, {last} of them with no copy to spare, and they are not all named"
        yield _obstacle("HDFS_BLOCKS_UNNAMED", "/", harm, Verdict.UNKNOWN, view.up_datanodes, acceptable=True)


def _single_copies(view: View) -> Iterator[Budget]:
    survey = view.state.survey
    if survey is None:
        return
    for single in survey.single:
        name = datanode_at(view.state, single.address)
        if name in view.up_datanodes:
            harm = f"{plural(single.blocks, 'block')} of files that want one copy alone cannot be read while it is down"
            objects = single.files or (f"{single.blocks} blocks",)
            yield _budget("HDFS_SINGLE_COPY", frozenset({name}), 0, objects, harm, acceptable=True)
    if not survey.complete:
        harm = f"{plural(survey.scanned_files, 'file')} were looked at, of more: others may want one copy alone"
        yield _budget("HDFS_SURVEY", view.up_datanodes, 0, ("/",), harm, Verdict.UNKNOWN, acceptable=True)


def _whole_blocks(view: View) -> Iterator[Budget]:
    """Blocks that have all their copies: how many DataNodes may go, wherever the copies are."""
    state = view.state
    if state.datanodes is None:
        return
    gone = len(view.gone_with_copies)
    seen = state.survey if state.survey and state.survey.complete else None
    already = f", {gone} not serving already" if gone else ""
    if not _proved_racks(view) and not (seen and seen.lowest_copies is None):
        copies = seen.lowest_copies if seen and seen.lowest_copies else 2
        harm = (
            f"without two racks, or with {_badly(view)} badly distributed blocks, a block of {copies} copies may be on "
        )
        harm += f"any {copies} DataNodes: {copies - 1} at once{already}"
        yield _budget("HDFS_COPIES", view.up_datanodes, max(0, copies - 1 - gone), ("blocks",), harm)
    _, named = _blocks_in_trouble(view)
    replicated, groups = state.replicated_blocks, state.ec_groups
    if not named and replicated and groups:
        low = replicated.low_redundancy + groups.low_redundancy
        harm = f"{low} under-replicated blocks are not all named: one DataNode at a time"
        yield _budget("HDFS_BLOCKS_UNNAMED", view.up_datanodes, 1, ("/",), harm)
    # The placement of groups needs more racks than most clusters have: parity alone is sure.
    if groups is None or groups.total == 0 or (groups.total is None and seen and seen.lowest_parity is None):
        return
    parity = seen.lowest_parity if seen and seen.lowest_parity is not None else 1
    harm = f"an erasure-coded group has {plural(parity, 'parity unit')} and may be on any DataNodes{already}"
    yield _budget("HDFS_EC_PARITY", view.up_datanodes, max(0, parity - gone), ("erasure-coded groups",), harm)


def _racks(view: View) -> Iterator[OneDomain]:
    if not _proved_racks(view):
        return
    rack_of = {n: view.datanodes[n].rack or "" for n in view.up_datanodes}
    gone = {f"{GONE}{n}": view.datanodes[n].rack or "" for n in view.gone_with_copies}
    yield OneDomain(
        rule="HDFS_RACKS",
        domain_of={**rack_of, **gone},
        down=frozenset(gone),
        harm="all copies of a block may be on these racks together"
        + (f"; not serving already: {', '.join(sorted(view.gone_with_copies))}" if gone else ""),
    )


def _proved_racks(view: View) -> bool:
    """Whether every whole block of two copies or more is on two racks: there are two, and none is counted that is not.

    Of a DataNode without a rack that cannot be said.
    """
    if view.state.replicated_blocks is None or _badly(view):
        return False
    racks = {d.rack for d in view.datanodes.values() if d.live}
    return len(racks) > 1 and None not in racks


def _badly(view: View) -> int:
    return view.state.replicated_blocks.badly_distributed if view.state.replicated_blocks else 0


def _obstacle(
    rule: str,
    object: str,
    harm: str,
    verdict: Verdict,
    instances: Iterable[str] | None,
    *,
    acceptable: bool = False,
    about: str | None = None,
) -> Obstacle:
    mine = None if instances is None else frozenset(instances)
    return Obstacle(
        rule=rule, object=object, harm=harm, verdict=verdict, instances=mine, acceptable=acceptable, about=about
    )


def _budget(
    rule: str,
    members: frozenset[str],
    spare: int,
    objects: tuple[str, ...],
    harm: str,
    verdict: Verdict = Verdict.REFUSE,
    *,
    acceptable: bool = False,
) -> Budget:
    return Budget(
        rule=rule,
        members=members,
        spare=spare,
        objects=objects,
        harm=harm,
        verdict=verdict,
        acceptable=acceptable,
    )
