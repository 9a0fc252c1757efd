"""What all parts of a running job share: plan, journal, state, lease, feeds, and what it borrowed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bdops.core.actor import Actor, Borrowed
from bdops.core.model import Instance
from bdops.core.plan import Plan, Step
from bdops.errors import BdopsError, OperationFailed
from bdops.hosts.ssh import SshPool
from bdops.jobs.control import Control, Deadline
from bdops.jobs.feed import Feed
from bdops.jobs.fold import JobState, Loan
from bdops.jobs.journal import Event, Journal
from bdops.jobs.lease import Lease

Waiting = Callable[[Step, str], None]
"""Told what a step is waiting for, again and again; nothing of it is in the journal."""


@runtime_checkable
class RunsJobs(Protocol):
    """An actor whose acts are jobs of their own, in the lease of this one: it is told of the run."""

    def joined(self, run: Run) -> None: ...


@dataclass(slots=True, kw_only=True)
class Run:
    """One process' carrying out of a job. `in_flight` are the steps that are being worked on."""

    job_id: str
    plan: Plan
    journal: Journal
    state: JobState
    lease: Lease
    pool: SshPool
    actors: Mapping[str, Actor[Any]]
    instances: Mapping[str, Instance]
    control: Control
    waiting: Waiting = lambda step, what: None
    feeds: dict[str, Feed] = field(default_factory=dict)
    in_flight: dict[str, Step] = field(default_factory=dict)
    seen_down: dict[str, int] = field(default_factory=dict)
    """How many readings in a row each instance that should serve did not."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    acting: set[str] = field(default_factory=set)
    """The steps whose component is changing something right now."""
    act_ended: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.feeds = {name: Feed(actor) for name, actor in self.actors.items()}
        for actor in self.actors.values():
            if isinstance(actor, RunsJobs):
                actor.joined(self)

    def note(self, event: str, **fields: Any) -> Event:
        """Into the journal, and into the state. Raises OperationFailed (JOURNAL_UNWRITABLE)."""
        with self.lock:
            entry = self.journal.append(event, **fields)
            self.state.apply(entry)
            return entry

    def baseline(self, component: str) -> Mapping[str, Any]:
        return self.plan.baseline.get(component, {})

    @contextmanager
    def component_acts(self, step: Step) -> Iterator[None]:
        """Around an act of a component. Raises LeaveNow instead of beginning one when told to leave."""
        with self.act_ended:
            self.acting.add(step.id)
        try:
            self.control.check()
            yield
        finally:
            with self.act_ended:
                self.acting.discard(step.id)
                self.act_ended.notify_all()

    def await_acts(self, timeout_s: float) -> None:
        """Let the components' acts come to an end, or not: some wait for a server."""
        with self.act_ended:
            self.act_ended.wait_for(lambda: not self.acting, timeout_s)

    # -- the ledger ----------------------------------------------------------------------------------------

    def loan(self, component: str, object: str, key: str) -> Loan | None:
        found = self.state.loans.get((component, object, key))
        return found if found and not found.restored else None

    def borrow(self, step: Step, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        """Into the journal before the setting is changed. A second borrower keeps the first one's `previous`."""
        with self.lock:
            loan = self.loan(step.component, object, key)
            if loan and step.id in loan.holders:
                return
            self.note(
                "borrowed",
                step=step.id,
                component=step.component,
                object=object,
                key=key,
                previous=loan.borrowed.previous if loan else previous,
                value=loan.borrowed.value if loan else value,
            )

    def give_back(self, step: Step, object: str, key: str) -> None:
        """The step needs it no more; restored when no other step does."""
        with self.lock:
            loan = self.loan(step.component, object, key)
            if loan is None:
                return
            if step.id in loan.holders:
                self.note("given_back", step=step.id, component=step.component, object=object, key=key)
            if not loan.holders:
                self.restore(loan)

    def restore(self, loan: Loan) -> None:
        """Put a setting back and note it. Raises BdopsError when the server will not have it."""
        b = loan.borrowed
        self.actors[b.component].restore(b)
        self.note("restored", component=b.component, object=b.object, key=b.key)

    def restore_all(self) -> list[tuple[Borrowed, BdopsError]]:
        """Put back everything that is still borrowed; what could not be put back, and why.

        What an act may be about to change stays in the ledger: put back before that, it would be set after.
        """
        failed: list[tuple[Borrowed, BdopsError]] = []
        with self.lock:
            for loan in self.state.open_loans:
                try:
                    if loan.holders & self.acting:
                        raise OperationFailed("its step is changing it at this moment", code="NOT_RESTORED")
                    self.restore(loan)
                except BdopsError as e:
                    failed.append((loan.borrowed, e))
        return failed


@dataclass(slots=True)
class Context:
    """What an act of a component may ask of the engine: core.actor.ActContext."""

    run: Run
    step: Step
    act_id: str
    deadline: Deadline

    @property
    def timeout_s(self) -> float:
        return self.deadline.left_s

    def wait(self, seconds: float) -> None:
        self.run.control.wait(seconds)

    def waiting(self, text: str) -> None:
        self.run.waiting(self.step, text)

    def wish(self, name: str) -> str | None:
        try:
            return (self.run.journal.path.parent / name).read_text().strip() or None
        except OSError:
            return None

    def say(self, text: str) -> None:
        self.run.note("said", step=self.step.id, text=text)

    def borrow(self, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        self.run.lease.check()
        self.run.borrow(self.step, object, key, previous=previous, value=value)

    def borrowed(self, object: str, key: str) -> Borrowed | None:
        loan = self.run.loan(self.step.component, object, key)
        return loan.borrowed if loan else None

    def give_back(self, object: str, key: str) -> None:
        self.run.give_back(self.step, object, key)
