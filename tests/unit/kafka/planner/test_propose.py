"""What a request may ask for, what fits a budget, and what the files and words about a plan say."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner.domains import band, row_caps, violations
from bdops.components.kafka.planner.explain import explain
from bdops.components.kafka.planner.figures import Outcome, changes, outcome
from bdops.components.kafka.planner.files import read_layout
from bdops.components.kafka.planner.model import Layout, Request
from bdops.components.kafka.planner.plan_file import (
    PlanFile,
    figures_of,
    layout_digest,
    moves_of,
    read_plan,
    write_plan,
    write_reassignment,
)
from bdops.components.kafka.planner.propose import frontier, possible, propose, propose_leaders
from bdops.components.kafka.planner.report import plan_report
from bdops.errors import ConfigError, UsageError
from tests.unit.kafka.planner.layouts import layout, layouts, replicas_of

small = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COUNT = Request(balance=("count",))


def planned(found: Layout, request: Request) -> Any:
    return outcome(found, possible(found, request)[0], propose(found, request))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(drain=frozenset({0, 1, 2})), "no broker is left"),
        (Request(drain=frozenset({9})), "no broker with index 9"),
        (Request(drain=frozenset({0, 1})), "t-0 is to have 2 replicas, and only 1 broker can hold one"),
        (Request(factors={0: 4}), r"t-0 is to have 4 replicas, and only 3 brokers .*\(2 partitions"),
        (Request(factors={0: 0}), "t: a replication factor of 0"),
        (Request(factors={5: 1}), "no topic with index 5"),
        (Request(balance=("bytes-in",)), "rates are not known"),
        (Request(watermark=0.0), "a watermark of 0%"),
        (Request(max_moves=-1), "a budget of -1"),
        (Request(balance=("count",), tolerance={"count": -0.1}), "a tolerance of -0.1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_stands_against_it(request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        propose(layout({"t": [[1, 2], [2, 3]]}), request_)
    assert caught.value.hint


def test_few_partitions_in_question_are_planned_exactly_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bdops.components.kafka.planner.propose.EXACT_PAIRS", 12)
    monkeypatch.setattr("bdops.components.kafka.planner.propose.EXACT_PAIRS_APART", 12)
    found = layout({"a": [[1, 2], [2, 3], [3, 4], [4, 1]] * 5, "b": [[1, 2]] * 3}, brokers=[5])
    three_times_five = Request(factors={1: 3})
    assert "flow" not in propose(found, three_times_five).method
    monkeypatch.setattr("bdops.components.kafka.planner.propose.EXACT_PAIRS_APART", 15)
    assert "flow" in propose(found, three_times_five).method
    assert propose(found, three_times_five).optimal
    assert "flow" not in propose(found, replace(COUNT, factors={1: 3})).method, "all are in question"


def test_the_second_plan_is_empty_where_the_first_falls_short() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 100, 150)
    # A few partitions are larger than whatever a broker may be off by.
    sizes[:6] = rng.integers(3_000, 9_000, 6)
    rows = rng.choice(5, 150, p=np.arange(1, 6) / 15)
    found = layout({"t": [[int(b) + 1] for b in rows]}, sizes={"t": sizes.tolist()})
    request = Request(balance=("bytes", "count", "leaders"), tolerance={"bytes": 0.02, "count": 0.05, "leaders": 0.05})
    plan = propose(found, request)
    assert plan.residual, "or this shows nothing"
    after = replace(found, replicas=plan.replicas, leader=plan.replicas[:, 0].copy())
    assert np.array_equal(propose(after, request).replicas, plan.replicas)


def test_a_partition_without_a_live_copy_stays_and_is_named() -> None:
    found = layout({"t": [[4], [1], [1], [1]]}, brokers=[2], dead=[4])
    plan = propose(found, replace(COUNT, drain=frozenset({2})))
    assert replicas_of(found, plan.replicas)[0] == [4]
    assert any("t-0" in text for text in plan.residual)


def outside(got: Outcome) -> float:
    """How far the worst broker is outside of the whole numbers around its share, as a fraction of the share.

    Which of the two it has says nothing of a plan: with shares of 2.5 and 1.33, 3 3 1 1 1 is nearer to them in the
    worst broker than 3 2 2 1 1, and less even.
    """
    share, load = got.shares["count"], got.after["count"]
    low, high = band(share, got.where.receivers, 0.0)
    having = share > 0
    return float((np.maximum(np.maximum(load - high, low - load), 0)[having] / share[having]).max(initial=0))


@small
@given(found=layouts(most_brokers=5), data=st.data())
def test_more_budget_never_makes_a_worse_plan(found: Layout, data: st.DataObject) -> None:
    drain = frozenset({0}) if data.draw(st.booleans()) and (found.factors < len(found.brokers)).all() else frozenset()
    request = replace(COUNT, drain=drain)
    whole = planned(found, request)
    left, uneven = [], []
    for budget in range(whole.change.moved_replicas + 1):
        got = planned(found, replace(request, max_moves=budget))
        assert got.change.moved_replicas <= budget
        left.append(undone(got))
        if left[-1] == undone(whole):
            uneven.append(outside(got))
    assert left == sorted(left, reverse=True)
    assert uneven == pytest.approx(sorted(uneven, reverse=True))
    assert uneven[-1] == pytest.approx(outside(whole))


@pytest.mark.parametrize("budget", range(0, 21, 2))
def test_a_budget_is_used_for_the_most_even_plan_that_it_affords(budget: int) -> None:
    found = layout({"t": [[1], [2]] * 20}, brokers=[3, 4])
    got = planned(found, replace(COUNT, max_moves=budget))
    assert got.change.moved_replicas == budget
    assert got.imbalance(after=True) == pytest.approx((10 - budget / 2) / 10)


@pytest.mark.parametrize("seed", [1, 2])
def test_more_bytes_never_make_a_worse_plan_where_bytes_are_evened_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [random.choice(8, 2, replace=False, p=np.arange(8) / 28).tolist() for _ in range(400)]
    found = layout({"t": rows}, sizes={"t": (random.pareto(1.5, 400) * 1000).astype(int).tolist()}, brokers=range(8))
    request = Request(balance=("bytes",))
    whole = planned(found, request).change.moved_bytes
    uneven = []
    for part in range(9):
        got = planned(found, replace(request, max_move_bytes=whole * part // 8))
        assert got.change.moved_bytes <= whole * part // 8
        uneven.append(got.imbalance(after=True))
    assert uneven == sorted(uneven, reverse=True)
    assert uneven[0] > 0.9
    assert uneven[-1] < 0.08


def undone(found: Outcome) -> int:
    """Copies on brokers to be drained, and those in excess in a rack."""
    replicas = found.proposal.replicas
    caps = row_caps(found.layout.factors, found.where.rack_sizes)
    there = replicas >= 0
    return int((found.where.leaving[replicas] & there).sum() + violations(replicas, found.where.rack, caps).sum())


@small
@given(found=layouts(), budget=st.integers(0, 3000))
def test_a_budget_of_bytes_is_kept_and_the_rows_stay_good(found: Layout, budget: int) -> None:
    got = planned(found, replace(COUNT, max_move_bytes=budget))
    assert got.change.moved_bytes <= budget
    assert all(len(set(row)) == len(row) for row in replicas_of(found, got.proposal.replicas))
    assert (np.sort((got.proposal.replicas >= 0).sum(axis=1)) == np.sort(found.factors)).all()


@small
@given(found=layouts())
def test_a_frontier_has_no_point_that_another_one_beats(found: Layout) -> None:
    points = frontier(found, COUNT, 5)
    assert points
    assert all(a.imbalance < b.imbalance and a.moved_bytes > b.moved_bytes for a, b in pairwise(points))


def test_a_frontier_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="made even"):
        frontier(layout({"t": [[1, 2]]}), Request())


@small
@given(found=layouts())
def test_leaders_alone_move_no_replica(found: Layout) -> None:
    plan = propose_leaders(found, Request())
    change = changes(found, plan.replicas)
    assert change.moved_replicas == 0
    led = [np.bincount(rows[:, 0], minlength=len(found.brokers)).max() for rows in (found.replicas, plan.replicas)]
    assert led[1] <= led[0]


EXAMPLE = layout(
    {"a": [[1, 2], [1, 2], [1, 2], [1, 3]], "b-1": [[2, 1]]},
    sizes={"a": [100, 200, 300, 400], "b-1": [50]},
    racks={1: "r1", 2: "r1", 3: "r2", 4: "r2"},
    brokers=[4],
    disks=dict.fromkeys((1, 2, 3, 4), (10_000, 8_000)),
)


@pytest.fixture
def plan(tmp_path: Path) -> PlanFile:
    write_plan(planned(EXAMPLE, replace(COUNT, drain=frozenset({0}))), tmp_path / "plan.json", command="kafka drain")
    return read_plan(tmp_path / "plan.json")


def test_a_plan_file_holds_the_request_the_figures_and_the_way_back(plan: PlanFile) -> None:
    assert plan.request["drain"] == [1]
    assert plan.content["layout_digest"] == layout_digest(EXAMPLE)
    assert plan.figures["moved_replicas"] == sum(len(m.added) for m in plan.moves) == 5
    assert plan.figures["moved_bytes"] == 1050
    before = {f"{t}-{n}": row for (t, n), row in zip([("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b-1", 0)],
                                                     replicas_of(EXAMPLE), strict=True)}  # fmt: skip
    assert {f"{m.topic}-{m.partition}": list(m.old) for m in plan.moves} == before
    assert all(1 not in m.new for m in plan.moves)
    assert plan.brokers[1]["loads"]["count"]["after"] == 0
    assert plan.brokers[1]["peak_bytes"] == 2_000


def test_the_same_layout_gives_the_same_file_and_another_one_another_digest(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        write_plan(planned(EXAMPLE, COUNT), tmp_path / name, command="kafka rebalance")
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    other = layout({"a": [[1, 2], [1, 2], [1, 2], [3, 1]], "b-1": [[2, 1]]}, brokers=[4])
    assert layout_digest(other) != layout_digest(EXAMPLE)


def test_the_way_back_leads_back(tmp_path: Path) -> None:
    found = planned(EXAMPLE, COUNT)
    rollback = write_reassignment(found, tmp_path / "moves.json")
    assert rollback == tmp_path / "moves-rollback.json"
    there, back = (read_layout(p).layout for p in (tmp_path / "moves.json", rollback))
    moves = list(moves_of(found))
    assert replicas_of(there) == [list(m.new) for m in moves]
    assert replicas_of(back) == [list(m.old) for m in moves]
    assert moves


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"component": "kafka"}, "no plan of bdops"),
        ({"version": 2}, "no plan of bdops"),
        ({"moves": None}, "has no moves"),
        ({"moves": [["a", 0, 1, 1, [1], [99]]]}, r"at moves\[0\]"),
        ({"moves": [["a", 0, 1, 1, [1]]]}, r"at moves\[0\]"),
        ({"brokers": [{"id": "1"}]}, r"at brokers\[0\]"),
    ],
)
def test_a_damaged_plan_is_refused(change: dict[str, Any], said: str, plan: PlanFile, tmp_path: Path) -> None:
    content = json.loads((tmp_path / "plan.json").read_text()) | change
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=said) as caught:
        read_plan(tmp_path / "plan.json")
    assert caught.value.where == str(tmp_path / "plan.json")


def reasons(plan: PlanFile, partition: str) -> list[dict[str, Any]]:
    return [dict(row) for table in explain(plan, partition).tables for row in table.rows]


def test_a_drain_is_given_as_the_reason(plan: PlanFile) -> None:
    (first, *_) = reasons(plan, "b-1-0")
    assert first["from"] == 1
    assert "broker 1 is being drained" in first["why"]
    assert "its rack r2 has no other copy" in first["why"]
    assert "of 85%" in first["why"] or "watermark 85%" in first["why"]


def test_a_crowded_rack_a_full_broker_and_a_factor_are_given_as_reasons(tmp_path: Path) -> None:
    def explained(found: Layout, request: Request, partition: str) -> str:
        write_plan(planned(found, request), tmp_path / "p.json", command="")
        return " | ".join(row["why"] for row in reasons(read_plan(tmp_path / "p.json"), partition))

    assert "2 of its replicas are in rack r1, where 1 may be" in explained(EXAMPLE, Request(), "a-0")
    full = layout({"t": [[1], [1], [1], [1]]}, brokers=[2], racks={1: "r1", 2: "r2"})
    told = [explained(full, COUNT, f"t-{n}") for n in range(4)]
    assert sum("broker 1 has 4 replicas, 2 replicas over its band" in text for text in told) == 2
    assert not any("are in rack" in text for text in told)
    assert sum("broker 2 has 0 replicas, 2 replicas below its band" in text for text in told) == 2
    assert "the replication factor goes from 1 to 2" in explained(full, Request(factors={0: 2}), "t-0")


def test_what_is_not_in_a_plan_says_so_and_what_is_no_partition_is_refused(plan: PlanFile) -> None:
    assert "not in the plan" in explain(plan, "zzz-0").summary
    with pytest.raises(UsageError, match="not a partition"):
        explain(plan, "orders")


def test_a_report_has_the_figures_before_and_after_of_brokers_and_racks() -> None:
    found = planned(EXAMPLE, replace(COUNT, drain=frozenset({0})))
    report = plan_report(found, rate_bytes_per_s=100, warnings=["sizes are guessed"], moves=True)
    tables = {t.name: [dict(row) for row in t.rows] for t in report.tables}
    assert report.facts["_moved_bytes"] == 1050 == figures_of(found)["lower_bound"]
    one, four = tables["brokers"][0], tables["brokers"][3]
    assert (one["state"], one["replicas_before"], one["replicas_after"], one["out_bytes"]) == ("draining", 5, 0, 1000)
    assert four["in_bytes"] == four["bytes_after"]
    assert sum(row["replicas_before"] for row in tables["racks"]) == 10
    assert report.facts["_expected_s"] == max(max(b["in_bytes"], b["out_bytes"]) for b in tables["brokers"]) / 100
    assert {row["topic"]: row["moved_bytes"] for row in tables["topics"]} == {"a": 1000, "b-1": 50}
    assert len(tables["moves"]) == 5
    assert {"note": "sizes are guessed"} in tables["notes"]


def test_a_plan_that_changes_nothing_says_so() -> None:
    found = planned(layout({"t": [[1, 2], [2, 1]]}), COUNT)
    assert "nothing to do" in plan_report(found).summary
