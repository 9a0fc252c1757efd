"""Plans of random small clusters and random requests, by whichever planner makes them: replayed by the checker, and
planned again, which must change nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner.compact import write_compact
from bdops.components.kafka.planner.figures import outcome
from bdops.components.kafka.planner.model import Layout, Proposal, Request
from bdops.components.kafka.planner.plan_file import write_plan
from bdops.components.kafka.planner.propose import possible, propose
from bdops.errors import UsageError
from tests.plans.checker import problems
from tests.unit.kafka.planner.layouts import layouts

BALANCES: list[tuple[Any, ...]] = [(), ("count",), ("leaders",), ("count", "leaders"), ("bytes",), ("bytes", "count")]
BALANCES += [("bytes-in",), ("count", "leaders", "bytes-in"), ("bytes", "count", "leaders", "bytes-in")]


@st.composite
def requests(draw: st.DrawFn, found: Layout) -> Request:
    some = st.sets(st.integers(0, len(found.brokers) - 1), max_size=2).map(frozenset)
    balance = draw(st.sampled_from(BALANCES))
    return Request(
        balance=balance,
        tolerance={m: draw(st.sampled_from([0.0, 0.1, 0.5])) for m in balance},
        drain=draw(some),
        exclude=draw(some),
        factors=draw(st.dictionaries(st.integers(0, len(found.topics) - 1), st.integers(1, 3), max_size=2)),
    )


def checked(found: Layout, request: Request, plan: Proposal, folder: Path) -> list[str]:
    out = io.BytesIO()
    write_compact(found, out)
    write_plan(outcome(found, possible(found, request)[0], plan), folder / "plan.json", command="")
    return problems(json.loads(out.getvalue()), json.loads((folder / "plan.json").read_bytes()))


def done(found: Layout, plan: Proposal) -> Layout:
    """The layout once the plan is carried out and preferred leaders lead."""
    return replace(found, replicas=plan.replicas, leader=plan.replicas[:, 0].copy())


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_plan_of_anything_is_good_and_its_second_is_empty(tmp_path: Path, data: st.DataObject) -> None:
    found = data.draw(layouts(most_brokers=7, most_rows=15, dead=True))
    rates = data.draw(st.lists(st.floats(0, 100), min_size=len(found), max_size=len(found)))
    found = replace(found, bytes_in=np.array(rates))
    request = data.draw(requests(found))
    try:
        plan = propose(found, request)
    except UsageError:
        return
    assert checked(found, request, plan, tmp_path) == []
    after = done(found, plan)
    again = propose(after, request)
    assert np.array_equal(again.replicas[:, : after.replicas.shape[1]], after.replicas)
    assert np.array_equal(propose(found, request).replicas, plan.replicas)
