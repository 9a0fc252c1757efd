"""The state of a job: the fold of its journal's events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bdops.core.actor import Borrowed
from bdops.core.plan import TAKES_DOWN, Step

JobStatus = Literal["created", "running", "paused", "done", "aborted"]
"""A job that says `running` and whose lock is free was killed: it is interrupted, and can be resumed."""


@dataclass(slots=True)
class StepState:
    """How far a step has got. `attempts` counts the announcements of each act; `verified` are the acts done.

    `child` is the job that the step is, where it is one (a playbook's): the newest, by its id.
    """

    attempts: dict[str, int] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    last_announced: str = ""
    started: bool = False
    done: bool = False
    failure: str | None = None
    seconds: float | None = None
    child: str | None = None


@dataclass(slots=True)
class Loan:
    """A borrowed setting, and the steps that still need it. It is open until it is restored.

    `acts` are the acts, by step, that borrowed it.
    """

    borrowed: Borrowed
    holders: set[str]
    acts: dict[str, str] = field(default_factory=dict)
    restored: bool = False


@dataclass(slots=True)
class JobState:
    """Everything that the events say. `runs` counts how often the job was started or resumed."""

    status: JobStatus = "created"
    runs: int = 0
    why: str | None = None
    code: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    by: str | None = None
    stopped: set[str] = field(default_factory=set)
    """Instances that this job has taken down and left so, on purpose."""
    steps: dict[str, StepState] = field(default_factory=dict)
    loans: dict[tuple[str, str, str], Loan] = field(default_factory=dict)

    def step(self, step_id: str) -> StepState:
        return self.steps.setdefault(step_id, StepState())

    def counted(self, steps: Iterable[Step]) -> list[Step]:
        """Those of these steps that count for how far the job is: what is for a failure does when it comes to that."""
        return [s for s in steps if s.phase != "failure" or self.step(s.id).started]

    @property
    def open_loans(self) -> list[Loan]:
        return [loan for loan in self.loans.values() if not loan.restored]

    @property
    def is_over(self) -> bool:
        return self.status in ("done", "aborted")

    @property
    def has_acted(self) -> bool:
        """Whether anything was announced, and so may have been changed."""
        return any(step.attempts for step in self.steps.values()) or bool(self.loans)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event. Kinds that say nothing of the state are passed over."""
        kind = event["event"]
        if "step" in event:
            self._apply_to_step(kind, event)
        if kind == "started":
            self.status = "running"
            self.runs += 1
            self.by = event["by"]
            self.started_at = self.started_at or event["at"]
            self.why = self.code = None
        elif kind in ("paused", "aborted", "done"):
            self.status = kind
            self.why = event.get("why")
            self.code = event.get("code")
            self.ended_at = event["at"]
        elif kind == "borrowed":
            self._borrow(event)
        elif kind == "given_back":
            self.loans[_key(event)].holders.discard(event["step"])
        elif kind == "restored":
            self._restore(self.loans[_key(event)])

    def _apply_to_step(self, kind: str, event: Mapping[str, Any]) -> None:
        step = self.step(event["step"])
        if kind == "step_started":
            step.started = True
            step.failure = None
        elif kind == "act_announced":
            step.attempts[event["act"]] = event["attempt"]
            step.last_announced = event["act"]
        elif kind == "verified":
            step.verified.add(event["act"])
        elif kind == "step_done":
            step.done = True
            step.seconds = event.get("seconds")
            if event.get("left_down"):
                self.stopped.add(event["instance"])
            else:
                self.stopped.discard(event.get("instance", ""))
        elif kind == "step_failed":
            step.failure = event["message"]
        elif kind == "child":
            step.child = event["job"]
        elif kind == "reopened":
            self.steps[event["step"]] = StepState()

    def _borrow(self, event: Mapping[str, Any]) -> None:
        key = _key(event)
        loan = self.loans.get(key)
        act = self.step(event["step"]).last_announced
        if loan and not loan.restored:
            loan.holders.add(event["step"])
            loan.acts[event["step"]] = act
            return
        borrowed = Borrowed(
            component=event["component"],
            object=event["object"],
            key=event["key"],
            previous=event["previous"],
            value=event["value"],
        )
        self.loans[key] = Loan(borrowed, {event["step"]}, {event["step"]: act})

    def _restore(self, loan: Loan) -> None:
        """A pause puts back what a step in hand still needs: until its server was taken down, it must borrow again."""
        loan.restored = True
        for holder in loan.holders:
            step = self.step(holder)
            if not TAKES_DOWN & step.attempts.keys():
                step.verified.discard(loan.acts.get(holder, ""))


def fold(events: Iterable[Mapping[str, Any]]) -> JobState:
    """The state after these events."""
    state = JobState()
    for event in events:
        state.apply(event)
    return state


def _key(event: Mapping[str, Any]) -> tuple[str, str, str]:
    return event["component"], event["object"], event["key"]
