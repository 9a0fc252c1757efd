"""Replays a plan from scratch, with code that shares nothing with the planner: plain Python over plan.json and layout.

`problems(layout, plan)` returns what is wrong, one sentence each; nothing wrong is an empty list. The layout is a
parsed compact file; for millions of replicas it takes a while and works as well.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
Row = tuple[str, int, list[int], int, int, float]
"""Topic, partition, replicas, leader (-1: none), size in bytes, bytes in per second."""

MOST = 20


def rows_of(layout: Json) -> Iterator[Row]:
    """Every partition of a compact layout."""
    for topic in layout["topics"]:
        width, count = topic["width"], len(topic["size_bytes"])
        numbers = topic.get("numbers") or range(count)
        rates = topic.get("bytes_in") or [0.0] * count
        for n, number in enumerate(numbers):
            replicas = [b for b in topic["replicas"][n * width : (n + 1) * width] if b >= 0]
            yield topic["name"], number, replicas, topic["leaders"][n], topic["size_bytes"][n], rates[n]


class _Cluster:
    """Brokers by what a plan may do with them."""

    def __init__(self, layout: Json, request: Json) -> None:
        self.brokers = {b["id"]: b for b in layout["brokers"]}
        self.drain, self.exclude = set(request["drain"]), set(request["exclude"])
        self.live = {n for n, b in self.brokers.items() if b.get("live", True)}
        self.receivers = self.live - self.drain - self.exclude
        self.caps: dict[tuple[str, int], int] = {}

    def domain(self, broker: int, level: str) -> object:
        return self.brokers[broker].get(level) or ("alone", broker)

    def cap(self, level: str, factor: int) -> int:
        """The lowest number of copies per domain with which a row of this factor finds a place at all."""
        if (level, factor) not in self.caps:
            sizes = Counter(self.domain(b, level) for b in self.receivers).values()
            cap = 1
            while cap < factor and sum(min(cap, size) for size in sizes) < factor:
                cap += 1
            self.caps[level, factor] = cap
        return self.caps[level, factor]

    def excess(self, replicas: Iterable[int], level: str, factor: int) -> int:
        """Copies beyond the cap, over all domains."""
        cap = self.cap(level, factor)
        return sum(max(0, n - cap) for n in Counter(self.domain(b, level) for b in replicas).values())


def problems(
    layout: Json,
    plan: Json,
    *,
    partial: bool = False,
    touched: Callable[[str], bool] = lambda topic: True,
) -> list[str]:
    """What is wrong with a plan. `partial`: a budget cut it short; `touched`: which topics it may change."""
    request, figures = plan["request"], plan["figures"]
    cluster = _Cluster(layout, request)
    wrong: list[str] = []
    moves = {(m[0], m[1]): m for m in plan["moves"]}
    if len(moves) != len(plan["moves"]):
        wrong.append("a partition is in the plan twice")
    loads = {when: {m: Counter() for m in ("count", "bytes", "leaders", "bytes-in")} for when in ("before", "after")}
    totals: Counter[str] = Counter()
    incoming: Counter[int] = Counter()
    busy = {(t["name"], n) for t in layout["topics"] for n in t.get("busy") or ()}
    for topic, number, old, leader, size, rate in rows_of(layout):
        leads = leader if leader >= 0 else old[0]
        move = moves.pop((topic, number), None)
        new = list(move[5]) if move else old
        name = f"{topic}-{number}"
        if move:
            wrong += _of_row(cluster, request, name, old, new, move, touched(topic) and (topic, number) not in busy)
        added = [b for b in new if b not in old]
        totals["moved_replicas"] += len(added)
        totals["moved_bytes"] += len(added) * size
        totals["leader_changes"] += new[0] != leads
        for broker in added:
            incoming[broker] += size
        for when, replicas, first in (("before", old, leads), ("after", new, new[0])):
            loads[when]["leaders"][first] += 1
            for broker in replicas:
                loads[when]["count"][broker] += 1
                loads[when]["bytes"][broker] += size
                loads[when]["bytes-in"][broker] += rate
        free = touched(topic) and (topic, number) not in busy and any(b in cluster.live for b in old)
        if free and not partial and cluster.brokers.keys() >= set(new):
            wrong += _left_in(cluster, request, topic, name, old, new, size)
        if len(wrong) > MOST:
            return [*wrong, "and so on"]
    wrong += [f"the layout has no {topic}-{number}" for topic, number in moves]
    for figure, value in totals.items():
        if figures[figure] != value:
            wrong.append(f"{figure} is {value}, the plan says {figures[figure]}")
    bounds = (figures["lower_bound"], figures["lower_bound_replicas"])
    if not plan["residual"] and (bounds[0] > totals["moved_bytes"] or bounds[1] > totals["moved_replicas"]):
        # A plan that falls short of what was asked, and says so, may move less than all of it needs.
        wrong.append("less is moved than the bound that is called proven")
    wrong += _of_brokers(cluster, plan, loads, incoming)
    return wrong[:MOST]


def _of_row(
    cluster: _Cluster, request: Json, name: str, old: list[int], new: list[int], move: Any, free: bool
) -> Iterator[str]:
    if not free:
        yield f"{name} must not be touched"
    if list(move[4]) != old:
        yield f"{name} has {old}, the plan takes it for {move[4]}"
    if new == old:
        yield f"{name} is in the plan and does not change"
    if len(set(new)) != len(new):
        yield f"{name} gets a broker twice: {new}"
    for broker in new:
        if broker not in cluster.brokers:
            yield f"{name} gets broker {broker}, which is not there"
        elif broker not in old and broker not in cluster.receivers:
            yield f"{name} gets broker {broker}, which is dead, draining or excluded"
    if not cluster.brokers.keys() >= set(new):
        return
    if cluster.excess(new, "rack", len(new)) > cluster.excess(old, "rack", len(new)):
        yield f"{name} gets more copies in one rack than before and than needed: {new}"
    if new and new[0] not in cluster.receivers and any(b in cluster.receivers for b in new):
        yield f"{name} prefers broker {new[0]} as its leader, which is dead, draining or excluded"


def _left_in(
    cluster: _Cluster, request: Json, topic: str, name: str, old: list[int], new: list[int], size: int
) -> Iterator[str]:
    """What had to be done with a row and was not."""
    if left := [b for b in new if b in cluster.drain]:
        yield f"{name} is still on {left}, to be drained"
    wanted = request["factors"].get(topic, len(old))
    if len(new) != wanted:
        yield f"{name} has {len(new)} copies, not {wanted}"
    stays = [b for b in new if b not in cluster.receivers]
    fixed = cluster.excess(stays, "rack", len(new))
    if cluster.excess(new, "rack", len(new)) > fixed and not stays:
        yield f"{name} has more copies in one rack than needed: {new}"


def _of_brokers(
    cluster: _Cluster, plan: Json, loads: Mapping[str, Mapping[str, Counter[int]]], incoming: Counter[int]
) -> Iterator[str]:
    request, told = plan["request"], " ".join(plan["residual"])
    for row in plan["brokers"]:
        number = row["id"]
        for measure, load in row["loads"].items():
            for when in ("before", "after"):
                found = loads[when][measure][number]
                if not math.isclose(found, load[when], rel_tol=1e-6, abs_tol=0.01):
                    yield f"broker {number}: {measure} {when} is {found}, the plan says {load[when]}"
            if "low" in load and number in cluster.receivers and not load["low"] <= load["after"] <= load["high"]:
                outside = f"broker {number} ends with {load['after']} of {measure}, outside of {load['low']}"
                if not told:
                    yield f"{outside} to {load['high']}, and the plan does not say so"
        total = cluster.brokers[number].get("total_bytes", 0)
        if total and incoming[number]:
            peak = total - cluster.brokers[number]["usable_bytes"] + incoming[number]
            if row.get("peak_bytes") != peak:
                yield f"broker {number}: its disks hold {peak} at the peak, the plan says {row.get('peak_bytes')}"
            if peak > request["watermark"] * total and f"broker {number} " not in told:
                yield f"broker {number}: {peak} bytes of {total} at the peak, over the watermark"


def spread(plan: Json, measure: str = "count") -> float:
    """The difference between the most and the least loaded of the brokers that receive."""
    live = [b for b in plan["brokers"] if b.get("live", True) and not b["draining"] and not b["excluded"]]
    loads = [b["loads"][measure]["after"] for b in live]
    return float(max(loads) - min(loads))


def matching(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Topics like any of some patterns; all when there are none."""
    wanted = list(patterns)
    return lambda topic: not wanted or any(fnmatchcase(topic, p) for p in wanted)


if __name__ == "__main__":
    found = problems(json.loads(Path(sys.argv[1]).read_bytes()), json.loads(Path(sys.argv[2]).read_bytes()))
    print("\n".join(found) or "nothing is wrong")
    sys.exit(bool(found))
