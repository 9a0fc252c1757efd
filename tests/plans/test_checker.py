"""The checker of plans sees what is wrong with one: a good plan is damaged in one place, and it says so."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.plans.checker import problems

LAYOUT: dict[str, Any] = {
    "brokers": [
        {"id": 1, "rack": "a", "total_bytes": 100, "usable_bytes": 70},
        {"id": 2, "rack": "b"},
        {"id": 3, "rack": "b"},
        {"id": 4, "rack": "a", "live": False},
        {"id": 5, "rack": "c"},
    ],
    "topics": [
        {"name": "t", "width": 2, "replicas": [2, 3, 5, 2], "leaders": [2, 5], "size_bytes": [10, 20]},
        {"name": "u", "width": 1, "replicas": [2], "leaders": [2], "size_bytes": [5]},
    ],
}


def load(count: list[int], size: list[int], leaders: list[int]) -> dict[str, Any]:
    pairs = {"count": count, "bytes": size, "leaders": leaders}
    return {m: {"before": before, "after": after} for m, (before, after) in pairs.items()}


PLAN: dict[str, Any] = {
    "request": {"drain": [2], "exclude": [], "factors": {}, "watermark": 0.85},
    "figures": {
        "moved_replicas": 3, "moved_bytes": 35, "leader_changes": 2, "lower_bound": 35, "lower_bound_replicas": 3,
    },
    "residual": [],
    "brokers": [
        {"id": 1, "draining": False, "excluded": False, "peak_bytes": 65, "loads": load([0, 3], [0, 35], [0, 2])},
        {"id": 2, "draining": True, "excluded": False, "loads": load([3, 0], [35, 0], [2, 0])},
        {"id": 3, "draining": False, "excluded": False, "loads": load([1, 1], [10, 10], [0, 0])},
        {"id": 4, "draining": False, "excluded": False, "loads": load([0, 0], [0, 0], [0, 0])},
        {"id": 5, "draining": False, "excluded": False, "loads": load([1, 1], [20, 20], [1, 1])},
    ],
    "moves": [["t", 0, 10, 2, [2, 3], [1, 3]], ["t", 1, 20, 5, [5, 2], [5, 1]], ["u", 0, 5, 2, [2], [1]]],
}  # fmt: skip


def test_a_good_plan_has_no_problems() -> None:
    assert problems(LAYOUT, PLAN) == []


def moves(n: int, new: list[int]) -> Callable[[Any], None]:
    def change(plan: Any) -> None:
        plan["moves"][n][5] = new

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (moves(0, [1, 1]), "t-0 gets a broker twice"),
        (moves(0, [9, 3]), "t-0 gets broker 9, which is not there"),
        (moves(0, [4, 3]), "t-0 gets broker 4, which is dead"),
        (moves(0, [2, 3]), "t-0 is in the plan and does not change"),
        (moves(1, [2, 5]), "t-1 is still on [2]"),
        (moves(1, [2, 5]), "prefers broker 2 as its leader"),
        (moves(1, [5]), "t-1 has 1 copies, not 2"),
        (lambda p: p["moves"].pop(2), "u-0 is still on [2]"),
        (lambda p: p["moves"].append(p["moves"][0]), "a partition is in the plan twice"),
        (lambda p: p["moves"].append(["u", 7, 5, 2, [2], [1]]), "the layout has no u-7"),
        (lambda p: p["moves"][0].__setitem__(4, [3, 2]), "t-0 has [2, 3], the plan takes it for [3, 2]"),
        (lambda p: p["figures"].update(moved_bytes=34), "moved_bytes is 35, the plan says 34"),
        (lambda p: p["figures"].update(leader_changes=0), "leader_changes is 2"),
        (lambda p: p["figures"].update(lower_bound=36), "less is moved than the bound"),
        (lambda p: p["brokers"][0].update(peak_bytes=60), "its disks hold 65 at the peak"),
        (lambda p: p["request"].update(watermark=0.6), "over the watermark"),
        (lambda p: p["brokers"][4]["loads"]["bytes"].update(after=21), "broker 5: bytes after is 20"),
        (lambda p: p["brokers"][4]["loads"]["count"].update(low=2, high=3), "broker 5 ends with 1 of count"),
        (lambda p: p["request"].update(factors={"u": 2}), "u-0 has 1 copies, not 2"),
    ],
)
def test_a_damaged_plan_is_seen(damage: Callable[[Any], Any], said: str) -> None:
    plan = copy.deepcopy(PLAN)
    damage(plan)
    assert any(said in text for text in problems(LAYOUT, plan)), problems(LAYOUT, plan)


def test_a_crowded_rack_and_an_untouchable_topic_are_seen() -> None:
    crowded = copy.deepcopy(LAYOUT)
    crowded["topics"][0]["replicas"] = [3, 5, 3, 2]
    idle: dict[str, Any] = {**PLAN, "moves": [], "request": {**PLAN["request"], "drain": []}}
    assert any("t-1 has more copies in one rack than needed" in text for text in problems(crowded, idle))
    assert any("u-0 must not be touched" in text for text in problems(LAYOUT, PLAN, touched=lambda t: t != "u"))
    assert not any("still on" in text for text in problems(LAYOUT, {**PLAN, "moves": []}, partial=True))
