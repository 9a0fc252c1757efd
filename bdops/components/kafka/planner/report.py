"""A plan for people and for JSON: the figures, every broker and rack before and after, the topics that move most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.disks import DisksPlan
from bdops.components.kafka.planner.figures import Outcome, peak_bytes, racks_of
from bdops.components.kafka.planner.model import Measure
from bdops.components.kafka.planner.plan_file import figures_of, moves_of
from bdops.components.kafka.planner.propose import FrontierPoint
from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, format_size, plural

MOST_TOPICS = 10
MOST_MOVES = 20

_TITLES: dict[Measure, str] = {"count": "replicas", "bytes": "bytes", "leaders": "leaders", "bytes-in": "bytes_in"}


def plan_report(
    found: Outcome,
    *,
    rate_bytes_per_s: float | None = None,
    warnings: Sequence[str] = (),
    moves: bool = False,
    curve: Sequence[FrontierPoint] = (),
) -> Report:
    """What a plan does and costs. `rate_bytes_per_s` is what each broker may fetch and serve; `moves` lists them."""
    change, bound = found.change, found.proposal.bound
    facts: dict[str, Any] = {f"_{name}": value for name, value in figures_of(found).items()}
    facts["_cluster"] = found.layout.cluster
    facts["_residual"] = list(found.proposal.residual)
    facts["_warnings"] = list(warnings)
    if rate_bytes_per_s:
        facts["_rate_bytes_per_s"] = rate_bytes_per_s
        facts["_expected_s"] = round(change.duration_s(rate_bytes_per_s), 1)
    facts["to move"] = f"{plural(change.moved_replicas, 'replica')}, {format_size(change.moved_bytes)}"
    at_least = f"; at least {plural(bound.moved_replicas, 'replica')}" if bound.moved_replicas else ""
    facts["proven bound"] = f"{format_size(bound.moved_bytes)} ({bound.why}){at_least}"
    facts["above the bound"] = _above(found.gap, optimal=found.proposal.optimal)
    facts["leaders to change"] = change.leader_changes
    for measure in found.request.balance or ("count",):
        before, after = (found.imbalance(after=a, measure=measure) for a in (False, True))
        facts[f"unevenness of {_TITLES[measure].replace('_', ' ')}"] = f"{before:.1%} -> {after:.1%}"
    if rate_bytes_per_s:
        took = format_duration(change.duration_s(rate_bytes_per_s))
        facts["time"] = f"{took} at {format_size(rate_bytes_per_s)}/s in and out of each broker"
    facts["planned by"] = found.proposal.method
    tables = [_brokers(found), _racks(found), _topics(found)]
    if moves:
        tables.append(_moves(found))
    if curve:
        tables.append(_curve(curve, found.measure))
    tables.append(_notes(found, warnings))
    return Report(
        status="warning" if found.proposal.residual else "ok",
        summary=_summary(found),
        facts=facts,
        tables=tuple(t for t in tables if t.rows),
    )


def even_enough_report(imbalance: float, limit: float) -> Report:
    """That nothing is planned: brokers are not worse than the limit, both as fractions of a share."""
    facts = {"_moved_replicas": 0, "_moved_bytes": 0, "_leader_changes": 0, "_imbalance_before": round(imbalance, 6)}
    return Report(
        summary=f"nothing to do: the imbalance is {imbalance:.1%}, not worse than {limit:.1%}",
        facts=facts | {"_only_if_worse_than": limit},
    )


def _above(gap: float | None, *, optimal: bool) -> str:
    if optimal:
        return "nothing: this is the optimum"
    if gap is None:
        return "not known: no bound is proved, or the plan falls short of what was asked"
    return f"{gap:.2%} of bytes"


def _summary(found: Outcome) -> str:
    change = found.change
    if not len(change.rows):
        return "nothing to do: the layout is as asked for"
    return (
        f"{plural(len(change.rows), 'partition')} change: {plural(change.moved_replicas, 'replica')}"
        f" and {format_size(change.moved_bytes)} move, {plural(change.leader_changes, 'leader')} change"
    )


def _brokers(found: Outcome) -> Table:
    layout = found.layout
    brokers = layout.brokers
    peaks = peak_bytes(layout, found.change)
    scale = max(float(found.before[found.measure].max()), float(found.after[found.measure].max()), 1.0)
    rows = []
    for n, number in enumerate(brokers.ids.tolist()):
        total = int(brokers.total_bytes[n])
        rows.append(
            {
                "broker": number,
                "rack": brokers.racks[brokers.rack[n]] if brokers.rack[n] >= 0 else None,
                "state": _state(found, n),
                **_loads(found, np.array([n])),
                "before": round(float(found.before[found.measure][n]) / scale, 4),
                "after": round(float(found.after[found.measure][n]) / scale, 4),
                "in_bytes": int(found.change.in_bytes[n]),
                "out_bytes": int(found.change.out_bytes[n]),
                "peak_used": round(float(peaks[n]) * 100 / total, 1) if total else None,
            }
        )
    columns = (
        Column("broker"), Column("rack"), Column("state", wide=True), *_load_columns(found),
        Column("before", f"{_TITLES[found.measure]} before", "bar"), Column("after", "after", "bar"),
        Column("in_bytes", "in", "bytes"), Column("out_bytes", "out", "bytes", wide=True),
        Column("peak_used", "disk at peak", "%"),
    )  # fmt: skip
    return Table(name="brokers", columns=columns, rows=rows)


def _racks(found: Outcome) -> Table:
    rows = []
    for name, members in racks_of(found.layout):
        receivers = int(found.where.receivers[members].sum())
        rows.append({"rack": name, "brokers": len(members), "receiving": receivers, **_loads(found, members)})
    columns = (Column("rack"), Column("brokers"), Column("receiving"), *_load_columns(found))
    return Table(name="racks", columns=columns, rows=rows if found.layout.brokers.racks else [])


def _loads(found: Outcome, members: NDArray[np.int64]) -> dict[str, float]:
    """The loads of some brokers together, before and after, of each measure that is known."""
    row: dict[str, float] = {}
    for measure in found.before:
        for when, load in (("before", found.before), ("after", found.after)):
            value = float(load[measure][members].sum())
            row[f"{_TITLES[measure]}_{when}"] = round(value, 1) if measure == "bytes-in" else int(value)
    return row


def _load_columns(found: Outcome) -> Iterator[Column]:
    for measure in found.before:
        name = _TITLES[measure]
        wide = measure not in ("count", "leaders", *found.request.balance)
        unit: Any = "bytes" if measure in ("bytes", "bytes-in") else ""
        yield Column(f"{name}_before", name.replace("_", " "), unit, wide=wide)
        yield Column(f"{name}_after", "after", unit, wide=wide)


def _state(found: Outcome, n: int) -> str:
    if n in found.request.drain:
        return "draining"
    if not found.layout.brokers.live[n]:
        return "dead"
    return "excluded" if n in found.request.exclude else "live"


def _topics(found: Outcome) -> Table:
    layout, change = found.layout, found.change
    topic = np.searchsorted(layout.first, change.rows, side="right") - 1
    copies = change.added.sum(axis=1)
    count = len(layout.topics)
    moved = np.bincount(topic, weights=copies, minlength=count).astype(np.int64)
    size = np.zeros(count, dtype=np.int64)
    np.add.at(size, topic, copies * layout.size_bytes[change.rows])
    most = [t for t in np.lexsort((np.arange(count), -moved, -size))[:MOST_TOPICS] if moved[t]]
    rows = [
        {
            "topic": layout.topics[t],
            "partitions": int(layout.first[t + 1] - layout.first[t]),
            "moved_replicas": int(moved[t]),
            "moved_bytes": int(size[t]),
        }
        for t in most
    ]
    columns = (Column("topic", "moved most"), Column("partitions"), Column("moved_replicas", "replicas"),
               Column("moved_bytes", "bytes", "bytes"))  # fmt: skip
    return Table(name="topics", columns=columns, rows=rows)


def _moves(found: Outcome) -> Table:
    rows = (
        {
            "partition": f"{m.topic}-{m.partition}",
            "size_bytes": m.size_bytes,
            "old": list(m.old),
            "new": list(m.new),
            "added": list(m.added),
        }
        for m in moves_of(found)
    )
    columns = (Column("partition"), Column("size_bytes", "size", "bytes"), Column("old"), Column("new"),
               Column("added"))  # fmt: skip
    return Table(name="moves", columns=columns, rows=rows)


def _notes(found: Outcome, warnings: Sequence[str]) -> Table:
    rows = [{"note": text} for text in (*warnings, *found.proposal.residual)]
    return Table(name="notes", columns=(Column("note"),), rows=rows)


def _curve(curve: Sequence[FrontierPoint], measure: Measure) -> Table:
    """The curve of bytes moved against imbalance."""
    rows = [
        {
            "imbalance": round(p.imbalance * 100, 3),
            "tolerance": round(p.tolerance * 100, 3),
            "moved_replicas": p.moved_replicas,
            "moved_bytes": p.moved_bytes,
        }
        for p in curve
    ]
    columns = (
        Column("imbalance", f"imbalance of {_TITLES[measure]}", "%"), Column("tolerance", "", "%"),
        Column("moved_replicas", "replicas moved"), Column("moved_bytes", "bytes moved", "bytes"),
    )  # fmt: skip
    return Table(name="frontier", columns=columns, rows=rows)


def disks_report(plan: DisksPlan, *, rate_bytes_per_s: float | None = None, warnings: Sequence[str] = ()) -> Report:
    """What a plan of moves between the log directories of brokers does and costs."""
    layout = plan.layout
    assert layout.log_dirs is not None
    dirs = layout.log_dirs
    facts: dict[str, Any] = {
        "_moved_replicas": len(plan.moves),
        "_moved_bytes": plan.moved_bytes,
        "_lower_bound": plan.bound_bytes,
        "_gap": None if plan.gap is None else round(plan.gap, 6),
        "_optimal": plan.optimal,
        "_imbalance_before": round(plan.imbalance(after=False), 6),
        "_imbalance_after": round(plan.imbalance(after=True), 6),
        "_residual": list(plan.residual),
        "_warnings": list(warnings),
        "to move": f"{plural(len(plan.moves), 'replica')}, {format_size(plan.moved_bytes)}",
        "proven bound": format_size(plan.bound_bytes),
        "above the bound": _above(plan.gap, optimal=plan.optimal),
        "unevenness": f"{plan.imbalance(after=False):.1%} -> {plan.imbalance(after=True):.1%}",
    }
    if rate_bytes_per_s:
        busiest = max(plan.bytes_by_broker.values(), default=0)
        facts["_expected_s"] = round(busiest / rate_bytes_per_s, 1)
        facts["time"] = f"{format_duration(busiest / rate_bytes_per_s)} at {format_size(rate_bytes_per_s)}/s"
    scale = max(float(plan.before.max(initial=0)), float(plan.after.max(initial=0)), 1.0)
    rows = [
        {
            "broker": int(layout.brokers.ids[dirs.broker[n]]),
            "log_dir": dirs.paths[n],
            "offline": bool(dirs.offline[n]),
            "bytes_before": int(plan.before[n]),
            "bytes_after": int(plan.after[n]),
            "before": round(float(plan.before[n]) / scale, 4),
            "after": round(float(plan.after[n]) / scale, 4),
        }
        for n in range(len(dirs))
    ]
    columns = (
        Column("broker"), Column("log_dir"), Column("offline", wide=True), Column("bytes_before", "bytes", "bytes"),
        Column("bytes_after", "after", "bytes"), Column("before", "before", "bar"), Column("after", "after", "bar"),
    )  # fmt: skip
    moves = [
        {
            "partition": layout.partition(m.row),
            "broker": int(layout.brokers.ids[dirs.broker[m.source]]),
            "size_bytes": int(layout.size_bytes[m.row]),
            "from": dirs.paths[m.source],
            "to": dirs.paths[m.target],
        }
        for m in plan.moves
    ]
    move_columns = (
        Column("partition"), Column("broker"), Column("size_bytes", "size", "bytes"), Column("from"), Column("to"),
    )  # fmt: skip
    notes = [{"note": text} for text in (*warnings, *plan.residual)]
    tables = (
        Table(name="log_dirs", columns=columns, rows=rows),
        Table(name="moves", columns=move_columns, rows=moves),
        Table(name="notes", columns=(Column("note"),), rows=notes),
    )
    return Report(
        status="warning" if plan.residual else "ok",
        summary=f"{plural(len(plan.moves), 'replica')} and {format_size(plan.moved_bytes)} change their directory",
        facts=facts,
        tables=tuple(t for t in tables if t.rows),
    )
