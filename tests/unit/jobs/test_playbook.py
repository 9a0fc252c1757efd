"""A playbook's job over a simulated ensemble: killed at every event of all its journals, failed, paused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bdops.core.gate import GateFacts
from bdops.core.model import Cluster, Deployment, Host, Instance, Service
from bdops.core.plan import Phase, Plan, Target, steps_in_waves
from bdops.errors import BdopsError, ExitCode, OperationFailed
from bdops.jobs import launch
from bdops.jobs.control import Control
from bdops.jobs.executor import Limits, Outcome, execute
from bdops.jobs.fold import JobState, fold
from bdops.jobs.journal import Event, Journal, read_journal
from bdops.jobs.launch import Listener, Site
from bdops.jobs.planning import Planned, fingerprint
from bdops.jobs.playbook import Finding, PlaybookActor
from bdops.jobs.run import Run
from bdops.jobs.store import JobStore
from tests.unit.jobs.simulation import Killed, SimActor, SimLease, World, plan_of, simulated_services
from tests.unit.jobs.test_engine import THREE, is_good

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@dataclass
class Script:
    """What the operations of the simulated playbook did, and what they are to do."""

    world: World
    seen: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    appended: int = 0
    dies_at: int | None = None
    on_append: Callable[[str], None] = lambda event: None
    on_check: Callable[[], None] = lambda: None


class Lease(SimLease):
    cluster = "sim"
    owner = None


class SimOperations:
    """`sim restart` changes; everything else reads, by its word, and fails when it is told to."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def ready(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> Mapping[str, Any] | None:
        wanted = args.get("needs")
        return args if wanted is None or not results[wanted]["failed"] else None

    def call(self, args: Mapping[str, Any], take: Callable[[Planned, Site], None]) -> Finding:
        self.script.world.require_life()
        word = args["do"]
        if word == "sim restart":
            plan = plan_of(self.script.world)
            facts = {i.name: fingerprint(i) for i in cluster_of(self.script.world).deployments[0].instances}
            with self.site(plan) as site:
                take(Planned(plan=replace(plan, inventory=facts)), site)
            return Finding(exit_code=0, data={})
        self.script.seen.append(word)
        if word in self.script.fails:
            raise OperationFailed(f"{word} fails")
        return Finding(exit_code=0, data={"word": word})

    @contextmanager
    def site(self, plan: Plan) -> Iterator[Site]:
        yield Site(cluster=cluster_of(self.script.world), actors={"sim": SimActor(self.script.world)}, pool=None)  # type: ignore[arg-type]

    def listener(self, plan: Plan, waiting: Callable[[str], None]) -> Listener:
        return Listener(event=lambda e: None, waiting=lambda step, what: None, say=lambda text: None)

    def check(self, wait: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        self.script.on_check()
        return ("not well" if self.script.fails else None), {}

    def approve(self, question: str, told_to_stop: Callable[[], bool]) -> str:
        if "approve" in self.script.fails:
            raise BdopsError("no", code="NOT_APPROVED")
        return "me"

    def archive(self, path: str, name: str, results: Mapping[str, Any]) -> str:
        return path


def cluster_of(world: World) -> Cluster:
    instances = tuple(
        Instance(
            cluster="sim",
            component="sim",
            host=Host(name=name.rpartition("/")[2], address="127.0.0.1"),
            roles=frozenset(),
            settings=None,
            service=Service(),
        )
        for name in world.names
    )
    deployment = Deployment(cluster="sim", component="sim", instances=instances, settings=None)
    return Cluster(name="sim", hosts=tuple(i.host for i in instances), deployments=(deployment,))


def step(do: str, phase: Phase = "", act: str = "operation", **more: Any) -> Target:
    args = {"register": None, "key": None, "exit_codes": [0], "go_on": False, "where": "book.yaml:1", "when": None}
    own = {"wait": {"timeout_s": 0.05, "interval_s": 0.01}, "approve": "go on?", "archive": "/x"}
    return Target(name=f"{do} {phase}", acts=(act,), phase=phase, args={"do": do, **args, **own, **more})


WHOLE = (
    step("look", register="first"),
    step("sim restart"),
    step("after", needs="first"),
    step("sure", act="approve"),
    step("failed", "failure"),
    step("end", "end"),
)


def book(steps: Sequence[Target]) -> Plan:
    ranked = [replace(t, rank=n) for n, t in enumerate(steps)]
    waves = steps_in_waves("playbook", ranked, GateFacts(names=frozenset()))
    return Plan(command="run book", cluster="sim", waves=waves, made_at="2026-12-01T00:00:00+00:00", by="test")


@contextmanager
def mortal(script: Script) -> Iterator[None]:
    """The process dies right before (even) or right after (odd) an event of whichever journal."""

    class Mortal(Journal):
        def append(self, event: str, **fields: Any) -> Event:
            script.world.require_life()
            script.appended += 1
            script.world.bdops_is_dead = 2 * script.appended == script.dies_at
            script.world.require_life()
            written = super().append(event, **fields)
            script.world.bdops_is_dead = 2 * script.appended + 1 == script.dies_at
            script.world.require_life()
            script.on_append(event)
            return written

    with pytest.MonkeyPatch.context() as patch, simulated_services(script.world):
        patch.setattr(launch, "Journal", Mortal)
        yield


def play(
    script: Script, plan: Plan, folder: Path, dies_at: int | None = None, control: Control | None = None
) -> Outcome | None:
    """One run of the playbook's job, new or resumed; None when it was killed."""
    script.world.bdops_is_dead = False
    script.appended, script.dies_at = 0, dies_at
    folder.mkdir(exist_ok=True)
    with mortal(script):
        journal = launch.Journal(folder / "journal.jsonl")
        actor = PlaybookActor("sim", SimOperations(script))
        run = Run(
            job_id=folder.name,
            plan=plan,
            journal=journal,
            state=fold(journal.events),
            lease=Lease(),  # type: ignore[arg-type]
            pool=None,  # type: ignore[arg-type]
            actors={"playbook": actor},
            instances={},
            control=control or Control(),
        )
        try:
            run.note("started", by="test", plan=plan.digest)
            return execute(run, Limits(), {})
        except Killed:
            return None
        finally:
            journal.close()


def state_of(folder: Path) -> JobState:
    return fold(read_journal(folder / "journal.jsonl"))


def children_are_over(folder: Path) -> bool:
    return all(j.is_over() for j in JobStore(folder).jobs() if j.journal_path.exists())


def test_a_playbook_goes_step_by_step_and_ends(tmp_path: Path) -> None:
    script = Script(World(THREE, setting="all"))
    outcome = play(script, book(WHOLE), tmp_path / "j")
    assert outcome is not None
    assert outcome.exit_code is ExitCode.OK, outcome.error
    assert script.seen == ["look", "after", "end"]
    is_good(script.world)


@pytest.mark.parametrize("fails", [False, True])
def test_killed_at_any_event_a_resume_comes_to_the_same_end(fails: bool, tmp_path: Path) -> None:
    plan = book(WHOLE)

    def script_of() -> Script:
        return Script(World(THREE, setting="all"), fails={"after"} if fails else set())

    whole = script_of()
    play(whole, plan, tmp_path / "whole")
    assert whole.appended > 40
    for moment in range(4, 2 * whole.appended + 2):
        script, folder = script_of(), tmp_path / f"j{moment}"
        play(script, plan, folder, dies_at=moment)
        script.fails.clear()
        before = list(script.seen)
        outcome = play(script, plan, folder)
        assert outcome is not None, moment
        assert outcome.exit_code is ExitCode.OK, (moment, outcome.error)
        is_good(script.world)
        assert state_of(folder).status == "done", moment
        assert children_are_over(folder), moment
        assert "failed" not in script.seen[len(before) :], moment
        assert script.seen[-1] == "end", moment
        # What was done is not done again; what only reads may have been cut off.
        assert script.seen.count("look") <= 2, moment


def test_a_failure_runs_its_steps_and_each_later_one_runs_them_again(tmp_path: Path) -> None:
    script = Script(World(THREE, setting="all"), fails={"after", "failed"})
    plan, folder = book(WHOLE), tmp_path / "j"
    for _ in range(2):
        outcome = play(script, plan, folder)
        assert outcome is not None
        assert (outcome.exit_code, outcome.error and outcome.error.message) == (ExitCode.PAUSED, "after fails")
    assert script.seen == ["look", "after", "failed", "end", "after", "failed", "end"], "a failing one hides nothing"
    script.fails.clear()
    outcome = play(script, plan, folder)
    assert outcome is not None
    assert outcome.exit_code is ExitCode.OK
    assert script.seen[7:] == ["after", "end"]
    is_good(script.world)


@pytest.mark.parametrize("fails", ["approve", "signal"])
def test_a_pause_that_was_asked_for_is_no_failure_and_no_end(fails: str, tmp_path: Path) -> None:
    script, control = Script(World(THREE, setting="all"), fails={fails}), Control()

    def signalled(event: str) -> None:
        if fails == "signal" and event == "child":
            control.signals_seen += 1
            control.ask_to_pause("SIGTERM")

    script.on_append = signalled
    plan, folder = book(WHOLE), tmp_path / "j"
    outcome = play(script, plan, folder, control=control)
    assert outcome is not None
    assert outcome.exit_code is ExitCode.PAUSED
    assert not {"failed", "end"} & set(script.seen)
    assert script.world.setting == "all"
    script.fails.clear()
    script.on_append = lambda event: None
    resumed = play(script, plan, folder)
    assert resumed is not None
    assert resumed.exit_code is ExitCode.OK, resumed.error
    is_good(script.world)
    assert script.seen == ["look", "after", "end"]


def test_what_a_step_found_is_there_for_later_ones_and_a_failure_that_may_be_is_noted(tmp_path: Path) -> None:
    script = Script(World(THREE, setting="all"), fails={"look"})
    steps = (step("look", register="first", go_on=True), step("after", needs="first"), step("end", "end"))
    outcome = play(script, book(steps), tmp_path / "j")
    assert outcome is not None
    assert outcome.exit_code is ExitCode.OK
    assert script.seen == ["look", "end"], "it was skipped, for what it needs has failed"


def test_a_wait_ends_with_what_is_missing(tmp_path: Path) -> None:
    script = Script(World(THREE, setting="all"), fails={"x"})
    outcome = play(script, book((step("wait", act="wait-for"),)), tmp_path / "j")
    assert outcome is not None
    assert outcome.error is not None
    assert (outcome.error.code, "not well" in outcome.error.message) == ("WAITED_IN_VAIN", True)


def test_a_signal_ends_a_wait_soon(tmp_path: Path) -> None:
    script, control = Script(World(THREE, setting="all"), fails={"x"}), Control()

    def signalled() -> None:
        control.signals_seen += 1
        control.ask_to_pause("SIGTERM")

    script.on_check = signalled
    long = step("wait", act="wait-for", wait={"timeout_s": 3600, "interval_s": 3600})
    began = time.monotonic()
    outcome = play(script, book((long, step("failed", "failure"))), tmp_path / "j", control=control)
    assert outcome is not None
    assert outcome.exit_code is ExitCode.PAUSED
    assert script.seen == []
    assert time.monotonic() - began < 30
