"""A playbook's side of a job: its steps are operations, each with a plan of its own, and a job within this one's lease.

The job of a step is a folder in the playbook's own (`JOB/jobs/CHILD`), written and noted in the journal (`child`)
before it begins. So a resume finds it: done, it is not done again; half done, it is resumed from its own journal.
What an operation found is kept beside it (`JOB/results/STEP.json`, redacted), for later steps and for a resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bdops.core.actor import DONE, ActContext, Nothing, Progress, RestartRules, StatelessActs, pending
from bdops.core.plan import Plan, Step
from bdops.core.units import format_duration, plural
from bdops.errors import BdopsError, OperationFailed
from bdops.files import replacing
from bdops.jobs.control import Deadline
from bdops.jobs.executor import STOPPED
from bdops.jobs.launch import Listener, Site, abort_within, run_within
from bdops.jobs.planning import Planned
from bdops.jobs.run import Run
from bdops.jobs.store import Job, JobStore

ACT_TIMEOUT_S = 30 * 86400.0
SIGNAL_SLICE_S = 0.3
"""How soon a wait between two checks sees that it is to pause."""
MAX_RESULT_BYTES = 8 << 20
"""Of one operation; what is more is told, and left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an operation that reads has found: JSON values, and the exit code that it would have ended with."""

    exit_code: int
    data: Mapping[str, Any]
    summary: str = ""


class Operations(Protocol):
    """What the commands of bdops do, as the playbook's job needs it; in `bdops.cli`, whose functions they are."""

    def ready(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A step's args with its templates filled in; None when its condition does not hold. Raises ConfigError."""
        ...

    def call(self, args: Mapping[str, Any], take: Callable[[Planned, Site], None]) -> Finding:
        """Call an operation. The plan of one that changes something is given to `take`, with the site open."""
        ...

    def site(self, plan: Plan) -> AbstractContextManager[Site]:
        """Open what a plan needs to be carried out."""
        ...

    def listener(self, plan: Plan, waiting: Callable[[str], None]) -> Listener:
        """Who is told how the job of a step goes."""
        ...

    def check(self, wait: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """Ask the checks of a wait once: what is still worse than it allows (None: nothing), and what they say."""
        ...

    def approve(self, question: str, told_to_stop: Callable[[], bool]) -> str:
        """Who has said yes. Raises BdopsError (NOT_APPROVED) for a no, a stop, and when nobody is there to ask."""
        ...

    def archive(self, path: str, name: str, results: Mapping[str, Any]) -> str:
        """Write all results to one file of this name in a folder; a line about it. Raises BdopsError."""
        ...


class PlaybookActor(StatelessActs):
    """Carries out the steps of one playbook."""

    component = "playbook"
    rules = RestartRules(act_timeout_s=ACT_TIMEOUT_S, stable_reads=1)

    def __init__(self, cluster: str, operations: Operations) -> None:
        super().__init__(cluster)
        self.operations = operations
        self._ended: set[str] = set()
        self._run: Run | None = None

    def joined(self, run: Run) -> None:
        self._run = run

    # -- what is asked of every actor ----------------------------------------------------------------------

    def read(self, *, timeout_s: float) -> Nothing:
        return Nothing(cluster=self.cluster_name, taken_at=datetime.now(UTC))

    # -- the steps -----------------------------------------------------------------------------------------

    def progress(self, state: Nothing, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        """Only a step's own end tells: `perform` finds out what a former run has done of it."""
        return DONE if step.id in self._ended else pending("its end")

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """Carry out a step, or what is left of it. Raises BdopsError when it fails, LeaveNow when told to leave."""
        self._ended.discard(step.id)
        try:
            self._perform(step, act, context)
        except BdopsError as e:
            if e.code not in STOPPED:
                # For the steps that come after a failure.
                self._keep(step, {"failed": True, "error": e.message, "code": e.code})
            raise
        self._ended.add(step.id)

    def _perform(self, step: Step, act: str, context: ActContext) -> None:
        args = self.operations.ready(step.args, self.results())
        if args is None or act == "skip":
            if args is None:
                context.say(f"skipped: not ({step.args['when']})")
            self._keep(step, {"skipped": True, "failed": False})
        elif act == "operation":
            self._operation(step, args, context)
        elif act == "wait-for":
            self._wait_for(step, args["wait"], context)
        elif act == "approve":
            who = self.operations.approve(args["approve"], lambda: self._joined.control.signals_seen > 0)
            context.say(f"approved by {who}")
            self._keep(step, {"approved_by": who, "failed": False})
        else:
            context.say(self.operations.archive(args["archive"], self._joined.job_id, self.results(registered=False)))
            self._keep(step, {"failed": False})

    def abandon(self, step: Step) -> str | None:
        """Close the step's own job, if it has one that is open."""
        child = self._child(step)
        if child is None or child.is_over() or child.discard_unstarted():
            return None
        plan = child.plan()
        with self.operations.site(plan) as site:
            outcome = abort_within(child, site, self.operations.listener(plan, lambda text: None), self._joined)
        if outcome.error:
            raise outcome.error
        return f"its job {child.id} is closed"

    def results(self, *, registered: bool = True) -> dict[str, Any]:
        """What the steps have found, by the names that they register it under, or (all of it) by the steps' own.

        Of a step that was gone through, by what it was gone through for.
        """
        found: dict[str, Any] = {}
        for step in self._joined.plan.steps:
            name = step.args["register"] if registered else f"{step.id}-{step.name}"
            path = self._result_path(step)
            if not name or not path.exists():
                continue
            value = json.loads(path.read_text())
            if registered and step.args["key"] is not None:
                found.setdefault(name, {})[step.args["key"]] = value
            else:
                found[name] = value
        return found

    @property
    def _joined(self) -> Run:
        assert self._run is not None
        return self._run

    def _operation(self, step: Step, args: Mapping[str, Any], context: ActContext) -> None:
        child = self._child(step)
        if child and not child.is_over() and not child.discard_unstarted():
            plan = child.plan()
            with self.operations.site(plan) as site:
                self._carry_out(child, site, context)
            self._keep(step, self._of_job(child))
            return
        if child and child.state().status == "done":
            context.say(f"its job {child.id} is done already")
            self._keep(step, self._of_job(child))
            return
        made: list[Job] = []

        def take(planned: Planned, site: Site) -> None:
            if planned.plan.steps:
                made.append(self._store.create(planned.plan))
                self._joined.note("child", step=step.id, job=made[-1].id, command=planned.plan.command)
                self._carry_out(made[-1], site, context)

        try:
            finding = self.operations.call({**args, "reason": self._joined.plan.reason}, take)
        except BdopsError as e:
            if not args["go_on"]:
                raise
            context.say(f"failed, and the playbook goes on: {e.message}")
            self._keep(step, {"failed": True, "exit_code": int(e.exit_code), "error": e.message})
            return
        failed = finding.exit_code not in args["exit_codes"]
        found = {"failed": failed, "exit_code": finding.exit_code, "summary": finding.summary, **finding.data}
        self._keep(step, {**found, **(self._of_job(made[-1]) if made else {})})
        if finding.summary:
            context.say(finding.summary)
        if failed and not args["go_on"]:
            raise OperationFailed(
                f"`{args['do']}` ends with {finding.exit_code}: {finding.summary or 'no words'}",
                where=args["where"],
                code="STEP_FAILED",
            )

    def _carry_out(self, child: Job, site: Site, context: ActContext) -> None:
        parent = self._joined
        listener = self.operations.listener(child.plan(), context.waiting)
        outcome = run_within(child, site, listener, parent)
        if error := outcome.error:
            if error.hint:
                # What is resumed is the playbook: its steps' jobs are not in the list.
                error.hint = error.hint.replace(child.id, parent.job_id)
            raise error

    def _wait_for(self, step: Step, wait: Mapping[str, Any], context: ActContext) -> None:
        deadline = Deadline(wait["timeout_s"])
        while True:
            try:
                missing, found = self.operations.check(wait)
            except BdopsError as e:
                missing, found = e.message, {}
            if missing is None:
                self._keep(step, {"failed": False, **found})
                return
            if deadline.is_over:
                raise OperationFailed(
                    f"not within {format_duration(wait['timeout_s'])}: {missing}",
                    where=step.args["where"],
                    hint="bdops check",
                    code="WAITED_IN_VAIN",
                )
            if self._joined.control.signals_seen:
                raise BdopsError(f"told to pause while waiting: {missing}", code="PAUSED_ON_REQUEST")
            context.waiting(missing)
            pause = Deadline(min(wait["interval_s"], deadline.left_s))
            while not (pause.is_over or self._joined.control.signals_seen):
                context.wait(min(SIGNAL_SLICE_S, pause.left_s))

    # -- folders -------------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self._joined.journal.path.parent

    @property
    def _store(self) -> JobStore:
        return JobStore(self._folder)

    def _child(self, step: Step) -> Job | None:
        id = self._joined.state.step(step.id).child
        return Job(self._store.folder / id) if id else None

    def _of_job(self, job: Job) -> dict[str, Any]:
        state, steps = job.state(), job.plan().steps
        done = [s.name for s in steps if state.step(s.id).done]
        summary = f"{plural(len(done), 'step')} done"
        return {"failed": False, "job": job.id, "status": state.status, "done": done, "summary": summary}

    def _result_path(self, step: Step) -> Path:
        return self._folder / "results" / f"{step.id}.json"

    def _keep(self, step: Step, value: Mapping[str, Any]) -> None:
        """Write a result down, whole or not at all. Raises OperationFailed (JOURNAL_UNWRITABLE)."""
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > MAX_RESULT_BYTES:
            kept = {k: v for k, v in value.items() if isinstance(v, bool | int | float) or len(json.dumps(v)) < 4096}
            text = json.dumps({**kept, "left_out": sorted(value.keys() - kept.keys())}, ensure_ascii=False)
        path = self._result_path(step)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with replacing(path) as file:
                file.write(text.encode())
        except OSError as e:
            raise OperationFailed(
                f"what a step found cannot be written down: {e.strerror}",
                where=str(path),
                hint="make room, then `bdops jobs resume`",
                code="JOURNAL_UNWRITABLE",
            ) from None
