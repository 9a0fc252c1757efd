"""What a pause puts back, a step that still needs it borrows again when the job is resumed."""

from __future__ import annotations

from typing import Any

from bdops.jobs.fold import fold

SETTING = {"component": "es", "object": "cluster", "key": "persistent/allocation"}
ACT = "allocation-primaries"


def borrowing(step: str = "0001") -> list[dict[str, Any]]:
    return [
        {"event": "act_announced", "step": step, "act": ACT, "attempt": 1},
        {"event": "borrowed", "step": step, **SETTING, "previous": None, "value": "primaries"},
        {"event": "verified", "step": step, "act": ACT},
        {"event": "act_announced", "step": step, "act": "flush", "attempt": 1},
        {"event": "verified", "step": step, "act": "flush"},
    ]


RESTORED = {"event": "restored", **SETTING}
GIVEN_BACK = {"event": "given_back", "step": "0001", **SETTING}
RESTARTING = {"event": "act_announced", "step": "0001", "act": "restart", "attempt": 1}


def test_an_act_that_borrowed_is_done_again_after_a_pause_before_the_server_went_down() -> None:
    assert fold([*borrowing(), RESTORED]).step("0001").verified == {"flush"}


def test_it_is_not_once_the_server_went_down_or_the_step_gave_it_back() -> None:
    assert fold([*borrowing(), RESTARTING, RESTORED]).step("0001").verified == {ACT, "flush"}
    assert fold([*borrowing(), GIVEN_BACK, RESTORED]).step("0001").verified == {ACT, "flush"}


def test_of_several_steps_each_that_still_needs_it_borrows_again() -> None:
    state = fold([*borrowing(), *borrowing("0002"), GIVEN_BACK, RESTORED])
    assert state.step("0001").verified == {ACT, "flush"}
    assert state.step("0002").verified == {"flush"}


def test_what_is_still_borrowed_after_a_kill_is_not_borrowed_again() -> None:
    state = fold(borrowing())
    assert ACT in state.step("0001").verified
    assert len(state.open_loans) == 1
