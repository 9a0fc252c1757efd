"""One step: for each act probe, gate, announce, act, verify. All that a resume needs to know is in the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bdops.core import gate
from bdops.core.actor import DONE, Progress, RestartRules, pending
from bdops.core.gate import Answer, Verdict, describe, judge
from bdops.core.plan import GATE, SERVICE_ACTS, TAKEN_DOWN, Step
from bdops.core.units import format_duration
from bdops.errors import BdopsError, ExitCode, OperationFailed, Refused
from bdops.hosts import service_acts as services
from bdops.hosts.processes import ProcessIdentity
from bdops.jobs.control import Deadline
from bdops.jobs.run import Context, Run

DOWN_READINGS = 2
"""An instance that should serve is taken for down after so many readings in a row; one alone may be a hiccup."""


class GateRefused(Refused):
    """The gate before an act said no, or did not say yes in time. `answer` has the reasons."""

    default_code = "GATE_REFUSED"

    def __init__(self, step: Step, answer: Answer, waited_s: float) -> None:
        first = answer.reasons[0]
        overrides = sorted({r.override for r in answer.reasons if r.override})
        waited = f" for {format_duration(waited_s)}" if waited_s >= 1 else ""
        super().__init__(
            f"the gate refuses{waited} to take {step.name} down: {describe(first)}"
            + (f", and {len(answer.reasons) - 1} more" if len(answer.reasons) > 1 else ""),
            hint=f"if that is acceptable: {' '.join(overrides)}" if overrides else None,
            where=step.name,
            code=first.rule,
        )
        self.answer = answer


class Disturbed(BdopsError):
    """An instance that is no part of the steps in hand went down: nothing more is taken down."""

    exit_code = ExitCode.PAUSED
    default_code = "DISTURBED"


def carry_out_step(run: Run, step: Step) -> None:
    """Do what is left of a step. Raises BdopsError when it cannot be finished; LeaveNow when told to leave."""
    began = time.monotonic()
    actor = run.actors[step.component]
    run.note("step_started", step=step.id, name=step.name, instance=step.instance)
    for index, act in enumerate(step.acts):
        if act == GATE:
            pass_gate(run, step, act, actor.rules)
            continue
        if act in run.state.step(step.id).verified and act not in SERVICE_ACTS:
            continue
        already = _is_done(run, step, act)
        if already:
            settle(run, step, act)
        else:
            if index <= step.last_gated:
                pass_gate(run, step, act, actor.rules)
            _perform(run, step, act)
        # A new process says that the act was done, not that the server is whole again.
        if not already or act in SERVICE_ACTS:
            _wait_until_done(run, step, act, actor.rules)
        run.note("verified", step=step.id, act=act, already=already)
    run.note(
        "step_done",
        step=step.id,
        instance=step.instance,
        left_down="stop" in step.acts,
        seconds=round(time.monotonic() - began, 3),
    )


def pass_gate(run: Run, step: Step, act: str, rules: RestartRules) -> None:
    """Ask the gate, until it says ok, or refuses, or has said `wait` for too long. Raises GateRefused, Disturbed."""
    deadline = Deadline(rules.gate_timeout_s)
    while True:
        state = run.feeds[step.component].read()
        look_for_disturbance(run, step.component, state)
        answer = answer_for(run, step, state)
        if answer.verdict is Verdict.OK:
            run.note("gate_passed", step=step.id, act=act, accepted=[r.rule for r in answer.accepted])
            return
        # Unknown may be a reading that failed once: it gets a second one, within the same time.
        patient = answer.verdict is Verdict.WAIT or (answer.verdict is Verdict.UNKNOWN and deadline.passed_s < 5)
        if not patient or deadline.is_over:
            raise GateRefused(step, answer, deadline.passed_s)
        run.waiting(step, f"the gate: {describe(answer.reasons[0])}")
        run.control.wait(rules.interval_s)


def answer_for(run: Run, step: Step, state: Any) -> Answer:
    """May this step's instance go down now, with those others of its component that are being worked on?"""
    asked = {step.instance} if step.instance else set(step.args.get("instances", ()))
    if not asked:
        return gate.answer((step.name,), run.actors[step.component].obstacles(step), run.plan.accepted)
    facts = run.actors[step.component].gate(state, run.baseline(step.component))
    with run.lock:
        others = {
            s.instance for s in run.in_flight.values() if s.component == step.component and s.instance is not None
        }
    answer = judge(facts, asked | others, run.plan.accepted, in_flight=others - asked)
    # What is said of the others alone their own gates see. One that is down already must not wait for them.
    return replace(answer, reasons=tuple(r for r in answer.reasons if asked.intersection(r.instances)))


def look_for_disturbance(run: Run, component: str, state: Any) -> None:
    """Raises Disturbed when an instance is down that is not down on purpose and was not down before."""
    down = run.actors[component].down(state)
    with run.lock:
        mine = {s.instance for s in run.in_flight.values()} | run.state.stopped | set(run.plan.down)
        mine |= {name for s in run.plan.steps for name in s.args.get(TAKEN_DOWN, ())}
        for name in list(run.seen_down):
            if name not in down:
                del run.seen_down[name]
        news: dict[str, str] = {}
        for name, why in down.items():
            if name not in mine:
                run.seen_down[name] = run.seen_down.get(name, 0) + 1
                if run.seen_down[name] >= DOWN_READINGS:
                    news[name] = why
    if news:
        named = "; ".join(f"{name}: {why}" for name, why in sorted(news.items()))
        raise Disturbed(
            f"{', '.join(sorted(news))} went down meanwhile, and is no part of what is being restarted: {named}",
            where=", ".join(sorted(news)),
            hint=f"repair it, then `bdops jobs resume {run.job_id}`",
        )


def settle(run: Run, step: Step, act: str) -> None:
    """See an act that a former run announced to its end on the host, and remove what it left there."""
    if act in SERVICE_ACTS and act in run.state.step(step.id).attempts and step.instance:
        timeout_s = run.actors[step.component].rules.act_timeout_s
        services.settle_act(run.pool, run.instances[step.instance], _act_id(run, step, act), timeout_s=timeout_s)


def _act_id(run: Run, step: Step, act: str) -> str:
    return f"{run.job_id}.{step.id}.{act}"


def _perform(run: Run, step: Step, act: str) -> None:
    """Announce, then act. A service act that a former run left on the host is adopted there: it has the same id."""
    actor = run.actors[step.component]
    run.lease.check()
    run.control.check()
    run.note("act_announced", step=step.id, act=act, attempt=run.state.step(step.id).attempts.get(act, 0) + 1)
    timeout_s = actor.rules.act_timeout_s
    act_id = _act_id(run, step, act)
    if act in SERVICE_ACTS:
        assert step.instance is not None
        services.act_on_service(
            run.pool,
            run.instances[step.instance],
            act,
            act_id,
            timeout_s=timeout_s,
            say=lambda text: run.waiting(step, text),
        )
    else:
        with run.component_acts(step):
            actor.perform(step, act, Context(run, step, act_id, Deadline(timeout_s)))
    run.note("act_ended", step=step.id, act=act)


def _is_done(run: Run, step: Step, act: str) -> bool:
    """The probe: whether the act need not be done (again). Of a service act the process alone tells."""
    if act in SERVICE_ACTS:
        return _process_progress(run, step, act)[0].done
    return _server_progress(run, step, act)[0].done


def _server_progress(run: Run, step: Step, act: str) -> tuple[Progress, Any]:
    """By a fresh reading of the server's own API."""
    state = run.feeds[step.component].read()
    return run.actors[step.component].progress(state, step, act, run.baseline(step.component)), state


def _process_progress(run: Run, step: Step, act: str) -> tuple[Progress, ProcessIdentity | None]:
    """Whether the process is the one that it should be after the act (or gone), and then which it is."""
    assert step.instance is not None
    instance = run.instances[step.instance]
    planned: Mapping[str, Any] | None = run.plan.processes.get(step.instance)
    # Cheap, where to ask the service manager means to start a program of it.
    if act == "restart" and planned and services.planned_runs(run.pool, instance, planned):
        return pending(f"a new process: {planned['pid']} is the old one"), None
    found = services.read_process(run.pool, instance)
    if act == "stop":
        if found.process is None and found.status.state in ("stopped", "failed"):
            return DONE, None
        return pending(f"its process ends ({found.status.detail})"), None
    if found.process is None:
        return pending(f"its process starts ({found.status.detail})"), None
    if act == "restart" and not services.is_another(found.process, planned):
        return pending(f"a new process: {found.process.pid} is the old one"), None
    return DONE, found.process


def _wait_until_done(run: Run, step: Step, act: str, rules: RestartRules) -> None:
    """Verify. Raises OperationFailed (NOT_BACK) at the deadline, Disturbed when another instance goes down.

    Of a service act the process is looked at first, until it is the one that it should be, and again at the end:
    a server that comes and goes is not back. What prepares for a service act is seen once: a gate reads anew after it.
    """
    deadline = Deadline(rules.verify_timeout_s)
    prepares = any(later in SERVICE_ACTS for later in step.acts[step.acts.index(act) + 1 :])
    readings = rules.stable_reads if step.instance and not prepares else 1
    process: ProcessIdentity | None = None
    in_a_row = 0
    while True:
        began = time.monotonic()
        state = None
        try:
            progress = DONE
            if act in SERVICE_ACTS and process is None:
                progress, process = _process_progress(run, step, act)
                if act == "stop" and progress.done:
                    return
            if progress.done:
                progress, state = _server_progress(run, step, act)
            in_a_row = in_a_row + 1 if progress.done else 0
            if in_a_row >= readings:
                if process is None or _still_runs(run, step, process):
                    return
                process, in_a_row = None, 0
        except BdopsError as e:
            progress, in_a_row = pending(f"it cannot be seen: {e.message}"), 0
        if act != "stop":
            look_for_disturbance(run, step.component, state or run.feeds[step.component].read())
        if deadline.is_over:
            raise not_back(run, step, act, progress, deadline)
        if not progress.done:
            run.waiting(step, progress.waiting_for)
        run.control.wait(_pause_s(deadline, rules, took_s=time.monotonic() - began))


def _still_runs(run: Run, step: Step, process: ProcessIdentity) -> bool:
    assert step.instance is not None
    return services.still_runs(run.pool, run.instances[step.instance], process)


def _pause_s(deadline: Deadline, rules: RestartRules, *, took_s: float) -> float:
    """Short at first and where a reading is cheap, for servers that are quick; `interval_s` at the most."""
    return min(rules.interval_s, max(0.2, 0.05 * deadline.passed_s, 2 * took_s))


def not_back(run: Run, step: Step, act: str, progress: Progress, deadline: Deadline) -> OperationFailed:
    """The error of a verify that did not come true, with the last lines of the instance's log."""
    log = services.log_tail(run.pool, run.instances[step.instance]) if step.instance else ()
    error = OperationFailed(
        f"{step.name} is not back {format_duration(deadline.passed_s)} after its {act}; "
        f"still waiting for: {progress.waiting_for}",
        where=step.name,
        hint=f"repair it, then `bdops jobs resume {run.job_id}`; its log says: {log[-1] if log else 'nothing'}",
        code="NOT_BACK",
    )
    run.note("log_fetched", step=step.id, lines=list(log))
    return error
