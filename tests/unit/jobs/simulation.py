"""A simulated ensemble for the engine: servers with processes, a leader, a quorum; restarts take a few readings.

Nothing of it stands for a client library: it is an Actor like any component's, over a world that is plain data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bdops.core.actor import DONE, ActContext, Borrowed, InstanceActs, Leftover, Progress, RestartRules, pending
from bdops.core.gate import Budget, GateFacts
from bdops.core.model import Host, Instance, Service
from bdops.core.plan import Plan, Step, Target, steps_in_waves
from bdops.core.quorum import Quorum
from bdops.hosts.processes import ProcessIdentity, ServiceProcess
from bdops.hosts.service_acts import as_data
from bdops.hosts.services import ServiceStatus
from bdops.jobs import steps
from bdops.jobs.control import Control
from bdops.jobs.executor import Limits, Outcome, execute
from bdops.jobs.fold import fold
from bdops.jobs.journal import Event, Journal
from bdops.jobs.run import Run

WARM_UP_READINGS = 2
SETTING = ("cluster", "allocation")


@dataclass
class World:
    """The servers: who runs (by a number that is new at each start), who leads, what is set, what ever happened."""

    names: list[str]
    processes: dict[str, int | None] = field(default_factory=dict)
    warming: dict[str, int] = field(default_factory=dict)
    setting: str | None = None
    starts: dict[str, int] = field(default_factory=dict)
    fewest_up: int = 99
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))
    bdops_is_dead: bool = False
    before_setting: Callable[[], None] = lambda: None
    """What happens between the ledger's entry and the change that it announces."""

    def require_life(self) -> None:
        """A process that was killed does nothing more, whatever its threads were about to."""
        if self.bdops_is_dead:
            raise Killed

    def __post_init__(self) -> None:
        self.processes = {n: next(self.numbers) for n in self.names}
        self.starts = dict.fromkeys(self.names, 0)

    @property
    def serving(self) -> set[str]:
        return {n for n in self.names if self.processes[n] is not None and not self.warming.get(n)}

    @property
    def leader(self) -> str | None:
        return max(self.serving, default=None)

    def stop(self, name: str) -> None:
        self.processes[name] = None
        self.fewest_up = min(self.fewest_up, len(self.serving))

    def start(self, name: str) -> None:
        if self.processes[name] is None:
            self.processes[name] = next(self.numbers)
            self.starts[name] += 1
            self.warming[name] = WARM_UP_READINGS

    def pass_time(self) -> None:
        self.warming = {n: left - 1 for n, left in self.warming.items() if left > 1}


@dataclass(frozen=True)
class Seen:
    serving: frozenset[str]
    leader: str | None
    setting: str | None
    cluster: str = "sim"
    taken_at: datetime = datetime(2026, 12, 1, tzinfo=UTC)
    unread: Mapping[str, str] = field(default_factory=dict)


class SimActor(InstanceActs):
    component = "sim"
    rules = RestartRules(
        gate_timeout_s=2, interval_s=0.001, verify_timeout_s=2, act_timeout_s=5, stable_reads=2
    )  # fmt: skip

    def __init__(self, world: World) -> None:
        self.world = world

    def read(self, *, timeout_s: float) -> Seen:
        self.world.pass_time()
        return Seen(frozenset(self.world.serving), self.world.leader, self.world.setting)

    def identity(self, state: Seen) -> str | None:
        return "sim"

    def baseline(self, state: Seen) -> Mapping[str, Any]:
        return {}

    def gate(self, state: Seen, baseline: Mapping[str, Any]) -> GateFacts:
        quorum = Quorum.of(self.world.names, state.serving)
        budget = Budget(rule="SIM_QUORUM", members=quorum.caught_up, spare=quorum.spare, objects=("q",), harm="too few")
        return GateFacts(names=frozenset(self.world.names), budgets=(budget,))

    def down(self, state: Seen) -> Mapping[str, str]:
        return {n: "down" for n in self.world.names if n not in state.serving}

    def leads(self, state: Seen, instance: str) -> bool | None:
        return state.leader == instance

    def targets(self, state: Seen, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        return tuple(
            Target(name=n, instance=n, acts=("off", verb, "on"), role="server", leader_last=True)
            for n in sorted(instances)
        )

    def consequences(self, state: Seen, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return ()

    def progress(self, state: Seen, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        if act == "off":
            return DONE if state.setting == "primaries" else pending("the setting")
        if act == "on":
            return DONE
        return DONE if step.instance in state.serving else pending("it serves")

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        self.world.require_life()
        if act == "off":
            context.borrow(*SETTING, previous=self.world.setting, value="primaries")
            self.world.before_setting()
            self.world.setting = "primaries"
        else:
            context.give_back(*SETTING)

    def restore(self, borrowed: Borrowed) -> None:
        self.world.require_life()
        self.world.setting = borrowed.previous

    def leftovers(self, state: Seen) -> tuple[Leftover, ...]:
        return ()

    def clear(self, leftover: Leftover) -> None:
        return None

    def close(self) -> None:
        return None


class SimLease:
    def check(self) -> None:
        return None

    def drop(self) -> None:
        return None


class Killed(BaseException):
    """The process died: nothing after this moment was done."""


class MortalJournal(Journal):
    """Dies right before (even) or right after (odd) an event; a dead process' threads do nothing more."""

    def __init__(self, path: Path, world: World, dies_at: int | None) -> None:
        super().__init__(path)
        self.world = world
        self.dies_at = dies_at

    def append(self, event: str, **fields: Any) -> Event:
        self.world.require_life()
        moment = 2 * (len(self.events) + 1)
        self.world.bdops_is_dead = moment == self.dies_at
        self.world.require_life()
        written = super().append(event, **fields)
        self.world.bdops_is_dead = moment + 1 == self.dies_at
        self.world.require_life()
        return written


@contextmanager
def simulated_services(world: World) -> Iterator[None]:
    """The host's side: a restart that was begun is finished there, whoever has died meanwhile."""

    def act(pool: Any, instance: Instance, name: str, act_id: str, **_: Any) -> None:
        world.require_life()
        if name in ("stop", "restart"):
            world.stop(instance.name)
        if name in ("start", "restart"):
            world.start(instance.name)

    def process(pool: Any, instance: Instance) -> ServiceProcess:
        number = world.processes[instance.name]
        status = ServiceStatus("running" if number else "stopped", "simulated")
        return ServiceProcess(status, None if number is None else identity(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.services, "act_on_service", act)
        patch.setattr(steps.services, "read_process", process)
        patch.setattr(steps.services, "still_runs", lambda pool, instance, p: world.processes[instance.name] == p.pid)
        patch.setattr(steps.services, "settle_act", lambda *a, **k: None)
        patch.setattr(steps.services, "log_tail", lambda *a: ("last words",))
        yield


def identity(number: int) -> ProcessIdentity:
    return ProcessIdentity(number, number, "boot", datetime(2026, 12, 1, tzinfo=UTC))


def plan_of(world: World, verb: str = "restart", **more: Any) -> Plan:
    actor = SimActor(world)
    state = actor.read(timeout_s=1)
    targets = actor.targets(state, world.names, verb)
    numbers = {n: world.processes[n] for n in world.names}
    return Plan(
        command=f"sim {verb}",
        cluster="sim",
        waves=steps_in_waves("sim", targets, actor.gate(state, {}), **more),
        made_at="2026-12-01T00:00:00+00:00",
        by="test",
        processes={n: None if p is None else as_data(identity(p)) for n, p in numbers.items()},
    )


def carry_out(
    world: World,
    plan: Plan,
    path: Path,
    dies_at: int | None = None,
    limits: Limits | None = None,
    control: Control | None = None,
) -> tuple[Outcome | None, Journal]:
    """One run of a job over the world; None for an outcome when it died."""
    world.bdops_is_dead = False
    journal = MortalJournal(path, world, dies_at)
    instances = {}
    for name in world.names:
        host = Host(name=name.rpartition("/")[2], address="127.0.0.1")
        instances[name] = Instance(
            cluster="sim", component="sim", host=host, roles=frozenset(), settings=None, service=Service()
        )
    run = Run(
        job_id="job",
        plan=plan,
        journal=journal,
        state=fold(journal.events),
        lease=SimLease(),  # type: ignore[arg-type]
        pool=None,  # type: ignore[arg-type]
        actors={"sim": SimActor(world)},
        instances=instances,
        control=control or Control(),
    )
    try:
        run.note("started", by="test", plan=plan.digest)
        return execute(run, limits or Limits(), {}), journal
    except Killed:
        return None, journal
    finally:
        journal.close()
