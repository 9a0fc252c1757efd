"""Why a replica moves, told from plan.json alone: what was wrong where it was, and why it goes where it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bdops.components.kafka.planner.domains import rack_cap
from bdops.components.kafka.planner.plan_file import Move, PlanFile
from bdops.components.kafka.state import split_partition
from bdops.core.result import Column, Report, Table
from bdops.core.units import format_size, plural
from bdops.errors import UsageError

_NOUNS = {"count": "replicas", "bytes": "bytes", "leaders": "leaders", "bytes-in": "bytes a second"}


def explain(plan: PlanFile, partition: str) -> Report:
    """One row for every replica that leaves, comes, or begins to lead. Raises UsageError for what is no partition."""
    try:
        topic, number = split_partition(partition)
    except ValueError:
        raise UsageError(
            f"{partition!r} is not a partition", hint="expected TOPIC-PARTITION, such as orders-3"
        ) from None
    move = next((m for m in plan.moves if m.partition == number and m.topic == topic), None)
    if move is None:
        return Report(
            summary=f"{partition} is not in the plan: its replicas and its preferred leader stay as they are",
            facts={"partition": partition, "_changes": False},
        )
    rows = list(_rows(plan, move))
    facts = {
        "partition": partition,
        "size": format_size(move.size_bytes),
        "_size_bytes": move.size_bytes,
        "_changes": True,
        "before": list(move.old),
        "after": list(move.new),
    }
    columns = (Column("change"), Column("why"))
    return Report(
        summary=f"{partition}: {plural(len(move.added), 'replica')} to copy, {format_size(move.size_bytes)} each",
        facts=facts,
        tables=(Table(name="reasons", columns=columns, rows=rows),),
    )


def _rows(plan: PlanFile, move: Move) -> Iterator[dict[str, Any]]:
    """What happens to the row, replica by replica: each added one takes the place of a removed one."""
    removed, added = list(move.removed), list(move.added)
    for source, target in zip(removed, added, strict=False):
        yield {
            "change": f"broker {source} -> broker {target}",
            "why": f"{_why_from(plan, move, source)}; {_why_to(plan, move, target)}",
            "from": source,
            "to": target,
        }
    for target in added[len(removed) :]:
        yield {
            "change": f"-> broker {target}",
            "why": f"{_factor(move)}; {_why_to(plan, move, target)}",
            "from": None,
            "to": target,
        }
    for source in removed[len(added) :]:
        reason = _fault(plan, move, source) or _load_from(plan, source)
        yield {"change": f"broker {source} ->", "why": f"{_factor(move)}; {reason}", "from": source, "to": None}
    leader = move.leader if move.leader >= 0 else move.old[0]
    if move.new[0] != leader:
        yield {
            "change": f"leader {leader} -> {move.new[0]}",
            "why": _why_leader(plan, move, leader),
            "from": leader,
            "to": move.new[0],
        }
    elif not removed and not added:
        yield {
            "change": f"order {list(move.old)} -> {list(move.new)}",
            "why": f"broker {leader} leads now and becomes the preferred leader",
            "from": None,
            "to": None,
        }


def _factor(move: Move) -> str:
    return f"the replication factor goes from {len(move.old)} to {len(move.new)}"


def _why_from(plan: PlanFile, move: Move, broker: int) -> str:
    return _fault(plan, move, broker) or _load_from(plan, broker)


def _fault(plan: PlanFile, move: Move, broker: int) -> str | None:
    """What makes a replica leave whatever the loads are: its broker is drained, or its rack has too many."""
    row = plan.brokers[broker]
    if row.get("draining"):
        return f"broker {broker} is being drained"
    for level, noun in (("rack", "rack"), ("update_domain", "update domain")):
        domain = row.get(level)
        if domain is None:
            continue
        there = sum(plan.brokers[b].get(level) == domain for b in move.old)
        cap = _cap(plan, level, len(move.new))
        if there > cap:
            return f"{there} of its replicas are in {noun} {domain}, where {cap} may be"
    return None


def _cap(plan: PlanFile, level: str, factor: int) -> int:
    """The most replicas that one domain must hold, from the brokers that may receive some."""
    receiving = [b for b in plan.brokers.values() if b.get("live", True) and not (b["draining"] or b["excluded"])]
    sizes = Counter(b[level] if b.get(level) is not None else f"broker {b['id']}" for b in receiving)
    return rack_cap(factor, np.array(list(sizes.values()), dtype=np.int64))


def _measures(plan: PlanFile) -> Sequence[str]:
    return [m for m in plan.request.get("balance", []) if m != "leaders"]


def _load_from(plan: PlanFile, broker: int) -> str:
    """What the loads of the broker that it leaves have to do with it."""
    for measure in _measures(plan):
        load = plan.brokers[broker]["loads"][measure]
        if load["before"] > load["high"]:
            over, most = _amount(measure, load["before"] - load["high"]), _amount(measure, load["high"])
            return (
                f"broker {broker} has {_amount(measure, load['before'])}, {over} over its band (at most {most},"
                f" its share is {_amount(measure, load['share'])})"
            )
    for measure in _measures(plan) or ["count"]:
        load = plan.brokers[broker]["loads"][measure]
        if load["before"] > load["share"]:
            return (
                f"broker {broker} has {_amount(measure, load['before'])}, more than its share of"
                f" {_amount(measure, load['share'])}, and others lack some"
            )
    return f"broker {broker} gives it in exchange for another one that had no other place"


def _why_to(plan: PlanFile, move: Move, broker: int) -> str:
    """What speaks for the broker that gets it: what it lacks, its rack, its disk."""
    row = plan.brokers[broker]
    said = []
    for measure in _measures(plan) or ["count"]:
        load = row["loads"][measure]
        has = f"broker {broker} has {_amount(measure, load['before'])}"
        if "low" in load and load["before"] < load["low"]:
            said.append(f"{has}, {_amount(measure, load['low'] - load['before'])} below its band")
            break
        if load["before"] < load["share"]:
            said.append(f"{has}, less than its share of {_amount(measure, load['share'])}")
            break
    if not said:
        measure = (*_measures(plan), "count")[0]
        said.append(f"broker {broker} has room: it ends with {_amount(measure, row['loads'][measure]['after'])}")
    rack = row.get("rack")
    if rack is not None:
        others = sum(plan.brokers[b].get("rack") == rack for b in move.new if b != broker)
        said.append(
            f"its rack {rack} has {'no other copy' if not others else plural(others, 'other copy', 'other copies')}"
        )
    if row.get("total_bytes"):
        peak, watermark = row["peak_bytes"] / row["total_bytes"], plan.request.get("watermark", 1.0)
        said.append(f"its disks are {peak:.0%} full at the peak (watermark {watermark:.0%})")
    return ", ".join(said)


def _why_leader(plan: PlanFile, move: Move, leader: int) -> str:
    if leader not in move.new:
        return f"broker {leader} has no copy any more"
    row = plan.brokers[leader]
    if not row.get("live", True):
        return f"broker {leader} is dead"
    load = row["loads"]["leaders"]
    return f"broker {leader} leads {_leaders(load)}, broker {move.new[0]} {_leaders(_load(plan, move.new[0]))}"


def _load(plan: PlanFile, broker: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = plan.brokers[broker]["loads"]["leaders"]
    return found


def _leaders(load: Mapping[str, Any]) -> str:
    return f"{load['before']:g} and then {load['after']:g} (share {load['share']:.1f})"


def _amount(measure: str, value: float) -> str:
    return (
        format_size(value) if measure.startswith("bytes") else f"{value:.1f}".removesuffix(".0") + f" {_NOUNS[measure]}"
    )
