"""Whether an act has had its effect: from a state alone, and from what was measured before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from bdops.components.hdfs.standing import View
from bdops.core.actor import DONE, Progress, pending
from bdops.core.plan import Step
from bdops.core.units import format_duration, plural

CLOCK_SLACK_S = 1.5
"""Uptimes are whole seconds, and the NameNode's clock is read to the second."""
RESTART_SLACK_S = 5.0
"""A DataNode was restarted when its start lies later than what was measured before by more than this."""


def baseline(view: View) -> dict[str, Any]:
    """What is compared with afterwards: the NameNode's counts; each DataNode's blocks, failed volumes and start."""
    state = view.state
    found: dict[str, Any] = {
        "unheard": sorted(n for n, s in view.stands.items() if s.how == "unheard"),
        "blocks": {n: d.blocks for n, d in view.datanodes.items() if d.live},
        "failed_volumes": {n: d.failed_volume_count for n, d in view.datanodes.items() if d.live},
        "started_at": {
            n: (state.taken_at - timedelta(seconds=p.uptime_s)).timestamp()
            for n, p in view.probes.items()
            if p.uptime_s is not None
        },
    }
    if state.replicated_blocks is not None:
        found["low_redundancy"] = state.replicated_blocks.low_redundancy
        found["missing"] = state.replicated_blocks.missing
    if state.ec_groups is not None:
        found["ec_low_redundancy"] = state.ec_groups.low_redundancy
        found["ec_missing"] = state.ec_groups.missing
    if state.pending is not None:
        found["pending"] = state.pending.reconstruction
        found["total_blocks"] = state.pending.total_blocks
    if view.last_txid is not None:
        found["last_txid"] = view.last_txid
    return found


def progress(view: View, step: Step, act: str, before: Mapping[str, Any], not_obeyed: Collection[str] = ()) -> Progress:
    """Whether `act` of `step` is done. `not_obeyed` are DataNodes that would not be shut down by a call."""
    if act == "failover":
        return failed_over(view, step)
    name = step.instance or ""
    expected = view.by_name.get(name)
    if expected is None:
        return pending(f"{name} is not in the inventory")
    if act == "shutdown-upgrade":
        return DONE if name in not_obeyed else shut_down(view, name, before)
    if act == "roll-edits":
        return takes_edits(view, name, before)
    why = {
        "journalnode": _journalnode,
        "zkfc": _zkfc,
        "namenode": _namenode,
    }
    if expected.role == "datanode":
        return datanode_is_whole(view, name, before)
    missing = why[expected.role](view, name)
    return pending(missing) if missing else DONE


def failed_over(view: View, step: Step) -> Progress:
    """Exactly one NameNode is active, and it is the one that was asked for, or not that of this step."""
    if len(view.active) != 1:
        return pending(f"one active NameNode ({len(view.active)} are)")
    active = view.active[0]
    wanted = step.args.get("to")
    if wanted:
        return DONE if active == wanted else pending(f"{wanted} becomes active")
    name = step.instance or ""
    mine = view.partner(name, "namenode") if name in view.by_name and view.by_name[name].role == "zkfc" else name
    return pending(f"another NameNode than {mine} becomes active") if active == mine else DONE


def shut_down(view: View, name: str, before: Mapping[str, Any]) -> Progress:
    """It does not run. Where its service manager starts it again by itself: it is a new one, and whole."""
    if view.how(name) == "down":
        return DONE
    probe = view.probes.get(name)
    started_before = before.get("started_at", {}).get(name)
    if probe is not None and probe.uptime_s is not None and started_before is not None:
        started = view.state.taken_at.timestamp() - probe.uptime_s
        if started > started_before + RESTART_SLACK_S:
            return datanode_is_whole(view, name, before)
    return pending("it tells its writers and ends")


def takes_edits(view: View, name: str, before: Mapping[str, Any]) -> Progress:
    """The JournalNode writes a segment again that began after its start, and has what the active NameNode wrote."""
    why = view.why_not_in_sync(name)
    if why:
        return pending(why)
    node = view.journalnodes[name]
    if node.txns_written is None or node.last_txid is None:
        return pending(f"what it has written is not known: {node.http_error or 'it does not say'}")
    wanted = before.get("last_txid", 0)
    if node.last_txid < wanted:
        return pending(f"it has transaction {node.last_txid}, and {wanted} was written before")
    return DONE


def _journalnode(view: View, name: str) -> str | None:
    node = view.journalnodes.get(name)
    return "it answers" if node is None or node.error or node.promised_epoch is None else None


def _zkfc(view: View, name: str) -> str | None:
    node = view.zkfcs.get(name)
    if node is None or node.error:
        return "it answers"
    return None if len(view.active) == 1 else f"one active NameNode ({len(view.active)} are)"


def _namenode(view: View, name: str) -> str | None:
    node = view.namenodes.get(name)
    if node is None or node.error or node.state in (None, "initializing"):
        return "it answers and knows its role"
    return view.why_not_ready(name) or view.why_not_reported(name)


def datanode_is_whole(view: View, name: str, before: Mapping[str, Any]) -> Progress:
    """Live, heard of, with its blocks and volumes, reported since its start; and nothing new is lacking copies."""
    why = _datanode(view, name, before) or _lacking(view, before)
    return pending(why) if why else DONE


def _datanode(view: View, name: str, before: Mapping[str, Any]) -> str | None:
    record, probe = view.datanodes.get(name), view.probes.get(name)
    stands = view.stands.get(name)
    if record is None or stands is None or not record.live:
        return "the NameNode hears from it"
    if stands.how != "up":
        return f"it serves: {stands.why}"
    if probe is None or probe.uptime_s is None:
        return "it says since when it runs"
    age_s = record.block_report_age_s
    if age_s is None or age_s > probe.uptime_s + CLOCK_SLACK_S:
        last = "none yet" if age_s is None else f"the last one is {format_duration(age_s)} old"
        return f"its report of all blocks since its start {format_duration(probe.uptime_s)} ago ({last})"
    wanted = _blocks_wanted(view, name, before)
    if record.blocks < wanted:
        return f"{record.blocks} of {wanted} blocks are reported"
    failed = record.failed_volume_count - before.get("failed_volumes", {}).get(name, 0)
    return f"{plural(failed, 'volume')} that failed with its start to be repaired" if failed > 0 else None


def _blocks_wanted(view: View, name: str, before: Mapping[str, Any]) -> int:
    """Of its blocks before; fewer where files have been deleted meanwhile."""
    had = int(before.get("blocks", {}).get(name, 0))
    then, pending_now = before.get("total_blocks"), view.state.pending
    now = pending_now.total_blocks if pending_now else None
    share = min(1.0, now / then) if then and now is not None else 1.0
    return int(had * share * view.rules.blocks_share)


def _lacking(view: View, before: Mapping[str, Any]) -> str | None:
    for kind, now, prefix in (
        ("blocks", view.state.replicated_blocks, ""),
        ("erasure-coded groups", view.state.ec_groups, "ec_"),
    ):
        if now is None:
            return f"the counts of {kind} are not known"
        for what, value in (("missing", now.missing), ("low_redundancy", now.low_redundancy)):
            was = before.get(f"{prefix}{what}", 0)
            if value > was:
                return f"{value} {kind} are {'missing' if what == 'missing' else 'under-replicated'}, {was} before"
    return None
