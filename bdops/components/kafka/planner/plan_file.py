"""plan.json: a plan with all that it takes to argue about it, carry it out and take it back, without the layout.

It holds the request, the figures, the bound, every broker's loads before and after, and each changed partition's old
and new replicas; the old ones are the way back. `layout_digest` tells whether a cluster is still as it was planned for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bdops.components.kafka.planner.assembly import invalid
from bdops.components.kafka.planner.compact import broker_row
from bdops.components.kafka.planner.figures import Outcome, peak_bytes
from bdops.components.kafka.planner.model import Layout
from bdops.components.kafka.planner.rows import as_wide
from bdops.components.kafka.planner.tool_formats import reassignment_json
from bdops.errors import ConfigError
from bdops.files import writing

COMPONENT = "kafka-plan"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A partition whose list of replicas changes. Brokers are numbers; `leader` leads now, -1 for nobody."""

    topic: str
    partition: int
    size_bytes: int
    leader: int
    old: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def added(self) -> tuple[int, ...]:
        return tuple(b for b in self.new if b not in self.old)

    @property
    def removed(self) -> tuple[int, ...]:
        return tuple(b for b in self.old if b not in self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan as it was read. `brokers`: a broker's number -> its row in the file; `content`: all but the moves."""

    where: str
    content: Mapping[str, Any]
    brokers: Mapping[int, Mapping[str, Any]]
    moves: tuple[Move, ...]

    @property
    def request(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content["request"]
        return found

    @property
    def figures(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content["figures"]
        return found


def layout_digest(layout: Layout) -> str:
    """A digest of which replicas are where: brokers with their racks, partitions with their replicas; not of sizes."""
    digest = hashlib.sha256()
    brokers = layout.brokers
    names = [brokers.racks[r] if r >= 0 else None for r in brokers.rack]
    head = [layout.cluster, brokers.ids.tolist(), brokers.live.tolist(), names, list(layout.topics)]
    digest.update(orjson.dumps(head))
    ids = np.append(brokers.ids, np.int32(-1))
    for column in (layout.first.astype("<i8"), layout.numbers.astype("<i4"), ids[layout.replicas].astype("<i4")):
        digest.update(np.ascontiguousarray(column).tobytes())
    return f"sha256:{digest.hexdigest()}"


def figures_of(found: Outcome) -> dict[str, Any]:
    """The figures of a plan, named as everywhere in bdops. Gaps and imbalances are fractions."""
    bound = found.proposal.bound
    return {
        "moved_replicas": found.change.moved_replicas,
        "moved_bytes": found.change.moved_bytes,
        "leader_changes": found.change.leader_changes,
        "lower_bound": bound.moved_bytes,
        "lower_bound_replicas": bound.moved_replicas,
        "bound_why": bound.why,
        "gap": _rounded(found.gap),
        "gap_replicas": _rounded(found.gap_replicas),
        "optimal": found.proposal.optimal,
        "method": found.proposal.method,
        "imbalance_of": found.measure,
        "imbalance_before": round(found.imbalance(after=False), 6),
        "imbalance_after": round(found.imbalance(after=True), 6),
        "imbalances": {m: [round(found.imbalance(after=a, measure=m), 6) for a in (False, True)] for m in found.before},
        "busiest_in_bytes": int(found.change.in_bytes.max(initial=0)),
        "busiest_out_bytes": int(found.change.out_bytes.max(initial=0)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def request_of(found: Outcome) -> dict[str, Any]:
    """The request as files have it: with numbers and names, not indexes."""
    request, layout = found.request, found.layout
    return {
        "balance": list(request.balance),
        "tolerance": {m: request.tolerance[m] for m in request.balance},
        "drain": [int(layout.brokers.ids[b]) for b in sorted(request.drain)],
        "exclude": [int(layout.brokers.ids[b]) for b in sorted(request.exclude)],
        "factors": {layout.topics[t]: f for t, f in sorted(request.factors.items())},
        "pinned_partitions": 0 if request.pinned is None else int(request.pinned.sum()),
        "watermark": request.watermark,
        "max_moves": request.max_moves,
        "max_move_bytes": request.max_move_bytes,
        "topic_spread": request.topic_spread,
        "survive_loss": request.survive_loss,
    }


def moves_of(found: Outcome) -> Iterator[Move]:
    """Every partition that changes, in the layout's order."""
    layout = found.layout
    rows = found.change.rows
    width = max(layout.replicas.shape[1], found.proposal.replicas.shape[1])
    ids = np.append(layout.brokers.ids, np.int32(-1))
    old = ids[as_wide(layout.replicas, width)[rows]].tolist()
    new = ids[as_wide(found.proposal.replicas, width)[rows]].tolist()
    topics = np.searchsorted(layout.first, rows, side="right") - 1
    columns = (
        topics.tolist(),
        layout.numbers[rows].tolist(),
        layout.size_bytes[rows].tolist(),
        ids[layout.leader[rows]].tolist(),
    )
    for topic, number, size, leader, before, after in zip(*columns, old, new, strict=True):
        yield Move(
            topic=layout.topics[topic],
            partition=number,
            size_bytes=size,
            leader=leader,
            old=tuple(b for b in before if b >= 0),
            new=tuple(b for b in after if b >= 0),
        )


def write_plan(found: Outcome, path: Path, *, command: str) -> None:
    """Write plan.json, one move a line. The same outcome gives the same bytes. Raises OperationFailed."""
    head = {
        "component": COMPONENT,
        "version": VERSION,
        "command": command,
        "cluster": found.layout.cluster,
        "layout_digest": layout_digest(found.layout),
        "request": request_of(found),
        "figures": figures_of(found),
        "residual": list(found.proposal.residual),
        "brokers": [_broker(found, n) for n in range(len(found.layout.brokers))],
    }
    with writing(path, "the plan") as file:
        file.write(orjson.dumps(head, option=orjson.OPT_INDENT_2).rstrip()[:-1].rstrip() + b',\n  "moves": [')
        for n, move in enumerate(moves_of(found)):
            row = [move.topic, move.partition, move.size_bytes, move.leader, move.old, move.new]
            file.write((b",\n" if n else b"\n") + orjson.dumps(row))
        file.write(b"\n  ]\n}\n")


def write_reassignment(found: Outcome, path: Path) -> Path:
    """Write the plan as kafka-reassign-partitions takes it, and beside it the way back. Returns the latter's path.

    Raises OperationFailed.
    """
    rollback = path.with_name(f"{path.stem}-rollback{path.suffix or '.json'}")
    moves = list(moves_of(found))
    with writing(rollback, "the way back") as back, writing(path, "the reassignment") as file:
        back.write(reassignment_json((m.topic, m.partition, m.old) for m in moves))
        file.write(reassignment_json((m.topic, m.partition, m.new) for m in moves))
    return rollback


def read_plan(path: Path) -> PlanFile:
    """Read plan.json. Raises ConfigError (STATE_INVALID) naming the file and what is wrong with it."""
    where = str(path)
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as e:
        raise ConfigError(f"cannot read the plan: {e.strerror}", where=where) from None
    except orjson.JSONDecodeError as e:
        raise invalid(f"the plan is not JSON: {e}", where) from None
    if not isinstance(content, dict) or content.get("component") != COMPONENT or content.get("version") != VERSION:
        raise invalid(
            "this is no plan of bdops", where, hint="bdops kafka rebalance --state FILE --plan-out plan.json makes one"
        )
    for key, kind in (("request", dict), ("figures", dict), ("brokers", list), ("moves", list)):
        if not isinstance(content.get(key), kind):
            raise invalid(f"the plan has no {key}", where)
    brokers = {}
    for n, row in enumerate(content["brokers"]):
        if not isinstance(row, dict) or not isinstance(row.get("id"), int) or not isinstance(row.get("loads"), dict):
            raise invalid(f"at brokers[{n}]: expected an object with id and loads", where)
        brokers[row["id"]] = row
    moves = tuple(_move(row, n, brokers, where) for n, row in enumerate(content.pop("moves")))
    return PlanFile(where=where, content=content, brokers=brokers, moves=moves)


def _move(row: Any, n: int, brokers: Mapping[int, Any], where: str) -> Move:
    def numbers(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(b, int) and b in brokers for b in value)

    good = (
        isinstance(row, list)
        and len(row) == 6
        and isinstance(row[0], str)
        and all(isinstance(v, int) for v in row[1:4])
        and numbers(row[4])
        and numbers(row[5])
    )
    if not good:
        raise invalid(
            f"at moves[{n}]: expected [topic, partition, bytes, leader, [old], [new]] of known brokers", where
        )
    topic, number, size, leader, old, new = row
    return Move(topic=topic, partition=number, size_bytes=size, leader=leader, old=tuple(old), new=tuple(new))


def _broker(found: Outcome, n: int) -> dict[str, Any]:
    brokers = found.layout.brokers
    row = broker_row(found.layout, n)
    row |= {"draining": n in found.request.drain, "excluded": n in found.request.exclude}
    if brokers.total_bytes[n]:
        row["peak_bytes"] = int(peak_bytes(found.layout, found.change)[n])
    row["loads"] = {m: _load(found, m, n) for m in found.before}
    return row


def _load(found: Outcome, measure: Any, n: int) -> dict[str, float]:
    load = {
        "before": round(float(found.before[measure][n]), 3),
        "after": round(float(found.after[measure][n]), 3),
        "share": round(float(found.shares[measure][n]), 3),
    }
    if measure in found.bands:
        low, high = found.bands[measure]
        load |= {"low": int(low[n]), "high": int(high[n])}
    return load
