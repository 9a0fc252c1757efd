from __future__ import annotations

from dataclasses import replace

from bdops.core.plan import Plan, Step
from bdops.jobs.fold import JobState, fold
from bdops.jobs.outlook import outlook

AT = "2026-03-01T12:00:00+00:00"
STEPS = [Step(id=f"s{n}", component="zk", name=f"node{n}", acts=("restart",), role="server") for n in range(1, 6)]
PLAN = Plan(
    command="zk restart",
    cluster="prod",
    made_at=AT,
    by="ops",
    waves=((STEPS[0],), (STEPS[1], STEPS[2]), (STEPS[3], STEPS[4])),
)


def state(*done: tuple[str, float], in_hand: str | None = None) -> JobState:
    events: list[dict[str, object]] = [{"event": "started", "at": AT, "by": "ops"}]
    for step, seconds in done:
        events += [{"event": "step_started", "at": AT, "step": step}]
        events += [{"event": "step_done", "at": AT, "step": step, "seconds": seconds}]
    if in_hand:
        events += [{"event": "step_started", "at": AT, "step": in_hand}]
        events += [{"event": "act_announced", "at": AT, "step": in_hand, "act": "restart", "attempt": 1}]
    return fold(events)


def test_before_anything_was_measured_nobody_knows_how_long_it_takes() -> None:
    found = outlook("j", PLAN, state(), "running")
    assert (found.wave, found.waves, found.done, found.steps, found.left_s) == (1, 3, 0, 5, None)


def test_the_rest_is_a_step_s_time_for_each_wave_that_is_left() -> None:
    found = outlook("j", PLAN, state(("s1", 60), ("s2", 100), in_hand="s3"), "running")
    assert (found.wave, found.done, found.in_hand) == (2, 2, ("node3: restart",))
    assert found.left_s == 2 * 80


def test_at_the_end_nothing_is_left() -> None:
    found = outlook("j", PLAN, state(*((s.id, 10.0) for s in STEPS)), "done")
    assert (found.wave, found.done, found.left_s, found.in_hand) == (3, 5, 0, ())


def test_what_is_for_a_failure_counts_when_it_comes_to_that() -> None:
    mail = Step(id="s9", component="zk", name="mail", acts=("run",), role="on failure", phase="failure")
    plan = replace(PLAN, waves=(*PLAN.waves, (mail,)))
    found = outlook("j", plan, state(*((s.id, 10.0) for s in STEPS)), "running")
    assert (found.wave, found.waves, found.done, found.steps, found.left_s) == (3, 3, 5, 5, 0)
    found = outlook("j", plan, state(("s1", 60), in_hand="s9"), "running")
    assert (found.waves, found.steps) == (4, 6)
