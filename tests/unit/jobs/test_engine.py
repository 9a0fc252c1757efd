"""The engine over a simulated ensemble: killed at every event, disturbed, refused, paused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bdops.errors import ExitCode
from bdops.jobs import executor
from bdops.jobs.control import Control
from bdops.jobs.executor import Limits
from bdops.jobs.fold import fold
from tests.unit.jobs.simulation import World, carry_out, plan_of, simulated_services

# A thread of a process that was killed ends with it, without a word.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

THREE = ["sim/sim/a", "sim/sim/b", "sim/sim/c"]
FIVE = [*THREE, "sim/sim/d", "sim/sim/e"]


def is_good(world: World) -> None:
    """Everybody was restarted once, the quorum never lost, and the setting is what it was."""
    assert set(world.starts.values()) == {1}, world.starts
    assert world.fewest_up >= len(world.names) // 2 + 1
    assert world.setting == "all"
    assert world.serving == set(world.names)


def test_a_restart_goes_wave_by_wave_with_the_leader_last(tmp_path: Path) -> None:
    world = World(THREE, setting="all")
    plan = plan_of(world)
    with simulated_services(world):
        outcome, journal = carry_out(world, plan, tmp_path / "j")
    assert outcome is not None
    assert outcome.exit_code is ExitCode.OK
    is_good(world)
    done = [e["instance"] for e in journal.events if e["event"] == "step_done"]
    assert done == ["sim/sim/a", "sim/sim/b", "sim/sim/c"]
    assert journal.events[-1]["event"] == "done"


@pytest.mark.parametrize("names", [THREE, FIVE])
def test_killed_at_any_event_a_resume_comes_to_the_same_end(names: list[str], tmp_path: Path) -> None:
    world = World(names, setting="all")
    with simulated_services(world):
        _, journal = carry_out(world, plan_of(world), tmp_path / "whole")
    events = len(journal.events)
    for moment in range(4, 2 * events + 2):
        world = World(names, setting="all")
        plan = plan_of(world)
        path = tmp_path / f"j{moment}"
        with simulated_services(world):
            died, _ = carry_out(world, plan, path, dies_at=moment)
            outcome, after = carry_out(world, plan, path)
        assert outcome is not None, moment
        assert outcome.exit_code is ExitCode.OK, (moment, outcome.error)
        is_good(world)
        assert not fold(after.events).open_loans
        assert died is None or len(names) > 3, "waves of two may order their events otherwise"


def test_killed_again_and_again_it_ends_all_the_same(tmp_path: Path) -> None:
    world = World(THREE, setting="all")
    plan = plan_of(world)
    outcome = None
    runs = 0
    with simulated_services(world):
        while outcome is None and runs < 40:
            runs += 1
            seen = len((tmp_path / "j").read_text().splitlines()) if runs > 1 else 0
            outcome, _ = carry_out(world, plan, tmp_path / "j", dies_at=2 * (seen + 9))
    assert 3 < runs < 40
    is_good(world)


def test_a_server_that_goes_down_meanwhile_pauses_the_job_and_nothing_more_is_taken_down(tmp_path: Path) -> None:
    world = World(FIVE, setting="all")
    plan = plan_of(world, mode="serial")
    with simulated_services(world):
        paused, _ = carry_out(world, plan, tmp_path / "j", limits=Limits(stop_after=1))
        assert paused is not None
        assert paused.exit_code is ExitCode.PAUSED
        world.processes["sim/sim/d"] = None
        outcome, journal = carry_out(world, plan, tmp_path / "j")
        assert outcome is not None
        assert outcome.exit_code is ExitCode.PAUSED
        assert outcome.error is not None
        assert "sim/sim/d" in outcome.error.message
        assert world.setting == "all"
        assert world.starts["sim/sim/c"] == world.starts["sim/sim/e"] == 0
        world.start("sim/sim/d")
        outcome, journal = carry_out(world, plan, tmp_path / "j")
    assert outcome is not None
    assert outcome.exit_code is ExitCode.OK
    # The one that was repaired has a new process already: it is not restarted again.
    is_good(world)
    assert journal.events[-1]["event"] == "done"


def test_a_gate_that_refuses_before_anything_was_changed_closes_the_job(tmp_path: Path) -> None:
    world = World(THREE, setting="all")
    plan = plan_of(world)
    world.processes["sim/sim/c"] = None
    with simulated_services(world):
        outcome, journal = carry_out(world, plan, tmp_path / "j")
    assert outcome is not None
    assert outcome.exit_code in (ExitCode.REFUSED, ExitCode.PAUSED)
    assert world.starts["sim/sim/a"] == 0
    assert not [e for e in journal.events if e["event"] == "act_announced"]


def test_a_stop_leaves_down_what_it_stopped_and_says_so(tmp_path: Path) -> None:
    world = World(THREE, setting="all")
    plan = plan_of(world, verb="stop", mode="serial")
    with simulated_services(world):
        outcome, journal = carry_out(world, plan, tmp_path / "j", limits=Limits(stop_after=1))
    assert outcome is not None
    assert outcome.exit_code is ExitCode.PAUSED
    assert fold(journal.events).stopped == {"sim/sim/a"}
    assert world.serving == {"sim/sim/b", "sim/sim/c"}
    assert world.setting == "all"


@pytest.mark.parametrize("leave_timeout_s", [10, 0.1])
def test_told_to_leave_between_the_ledgers_entry_and_the_change_it_leaves_nothing_set(
    leave_timeout_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put back before it was set would be set after it: an act in hand is waited for, or its loan kept."""
    monkeypatch.setattr(executor, "LEAVE_TIMEOUT_S", leave_timeout_s)
    world = World(THREE, setting="all")
    plan = plan_of(world)
    control = Control()
    over = threading.Event()

    def leave() -> None:
        control.leave.set()
        over.wait(0.7)

    world.before_setting = leave
    with simulated_services(world):
        left, journal = carry_out(world, plan, tmp_path / "j", control=control)
        kept = fold(journal.events).open_loans
        over.set()
        assert left is not None
        assert left.exit_code is ExitCode.INTERRUPTED
        assert bool(kept) == bool(left.left) == (leave_timeout_s < 0.7)
        assert kept or world.setting == "all"
        world.before_setting = lambda: None
        done, after = carry_out(world, plan, tmp_path / "j")
    assert done is not None
    assert done.exit_code is ExitCode.OK, done.error
    is_good(world)
    assert not fold(after.events).open_loans
