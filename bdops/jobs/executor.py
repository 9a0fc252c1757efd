"""The one loop: wave after wave, each step by `steps`, until all is done, a gate refuses, or a pause is asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bdops.core.actor import Borrowed
from bdops.core.gate import Verdict, judge
from bdops.core.plan import Phase, Step
from bdops.core.units import format_duration, plural
from bdops.core.waves import Candidate, plan_waves
from bdops.errors import BdopsError, ExitCode, OperationFailed
from bdops.jobs import forecast
from bdops.jobs.control import Deadline, LeaveNow
from bdops.jobs.run import Run
from bdops.jobs.steps import GateRefused, carry_out_step

RESTORE_TIMEOUT_S = 30.0
STOPPED = frozenset({"PAUSED_ON_REQUEST", "NOT_APPROVED", "LEASE_LOST", "JOURNAL_UNWRITABLE"})
"""Errors after which nothing more is done, not what is for a failure either: it was asked for, or it may not be."""
LEAVE_TIMEOUT_S = 10.0
"""How long a job that leaves at once waits for acts in hand: what they set must not be set after it was put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `error` is why it did not finish; `left` are settings that could not be put back, and why."""

    exit_code: ExitCode
    error: BdopsError | None = None
    left: tuple[tuple[Borrowed, BdopsError], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to pause by ourselves: after so many more steps, or when the next wave would not end in the window."""

    stop_after: int | None = None
    within_s: float | None = None


def execute(run: Run, limits: Limits, before: Mapping[forecast.Kind, list[float]]) -> Outcome:
    """Carry out what is left of the plan. The lease is held; it and the ledger are given back here in any case.

    `before` are measurements of earlier jobs, for the window's forecast.
    """
    left: list[tuple[Borrowed, BdopsError]] = []
    try:
        try:
            error = _all_phases(run, limits, before)
        except LeaveNow:
            error = BdopsError("told to leave at once", code="INTERRUPTED")
            error.exit_code = ExitCode.TERMINATED if run.control.signal == 15 else ExitCode.INTERRUPTED
        except BdopsError as e:
            error = e
        left = _give_everything_back(run)
    finally:
        run.lease.drop()
    # Last of all: whoever reads that the job is over finds nothing of it left on the hosts.
    return _conclude(run, error, left)


def _conclude(run: Run, error: BdopsError | None, left: list[tuple[Borrowed, BdopsError]]) -> Outcome:
    if error is None and not left:
        run.note("done")
        return Outcome(exit_code=ExitCode.OK)
    if error is None:
        what, why = left[0]
        error = OperationFailed(
            f"{plural(len(left), 'setting')} could not be put back: {what.object} {what.key}: {why.message}",
            hint=f"bdops jobs resume {run.job_id} tries again",
            code="NOT_RESTORED",
        )
    if isinstance(error, GateRefused) and not run.state.has_acted:
        run.note("aborted", why=error.message, code=error.code)
        return Outcome(exit_code=ExitCode.REFUSED, error=error)
    try:
        run.note("paused", why=error.message, code=error.code, hint=error.hint, where=error.where)
    except BdopsError as e:
        # Without a journal there is no pause to be noted: the journal says enough to resume from all the same.
        error = e
    signalled = error.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
    return Outcome(exit_code=error.exit_code if signalled else ExitCode.PAUSED, error=error, left=tuple(left))


def _give_everything_back(run: Run) -> list[tuple[Borrowed, BdopsError]]:
    """Put back what is borrowed, within a bound: a server that hangs must not keep us."""
    done: list[tuple[Borrowed, BdopsError]] = []
    # A step that is a job of its own gives back what that one borrowed, and has as long for it as any job.
    within = any(run.state.step(step).child for step in list(run.acting))
    run.await_acts(LEAVE_TIMEOUT_S + (LEAVE_TIMEOUT_S + RESTORE_TIMEOUT_S if within else 0))
    if not run.state.open_loans:
        return done
    worker = threading.Thread(target=lambda: done.extend(run.restore_all()), name="restore", daemon=True)
    worker.start()
    worker.join(RESTORE_TIMEOUT_S)
    if worker.is_alive():
        late = OperationFailed(f"no answer within {format_duration(RESTORE_TIMEOUT_S)}", code="NOT_RESTORED")
        return [(loan.borrowed, late) for loan in run.state.open_loans]
    return done


def _all_phases(run: Run, limits: Limits, before: Mapping[forecast.Kind, list[float]]) -> BdopsError | None:
    """The job's course, what is for its failure, and what is for its end. As `_waves`.

    A pause that was asked for is neither a failure nor an end. What fails of the steps for a failure is in the
    journal, and hides neither the failure nor the steps that come after.
    """
    _reopen(run)
    try:
        paused = _waves(run, _of_phase(run, ""), limits, before)
    except BdopsError as e:
        if run.control.signals_seen or e.code in STOPPED:
            raise
        for wave in (*_of_phase(run, "failure"), *_of_phase(run, "end")):
            with suppress(BdopsError):
                _waves(run, [wave], Limits(), before)
        raise
    return paused or _waves(run, _of_phase(run, "end"), limits, before)


def _of_phase(run: Run, phase: Phase) -> list[list[Step]]:
    return [list(wave) for wave in run.plan.waves if wave[0].phase == phase]


def _reopen(run: Run) -> None:
    """What was for an earlier run's failure is closed where it was begun, and carried out again at the next one."""
    if all(run.state.step(s.id).done for s in run.plan.steps if not s.phase):
        return
    for step in run.plan.steps:
        if step.phase and run.state.step(step.id).started:
            if not run.state.step(step.id).done and (stands := run.actors[step.component].abandon(step)):
                run.note("said", step=step.id, text=stands)
            run.note("reopened", step=step.id)


def _waves(
    run: Run, waves: list[list[Step]], limits: Limits, before: Mapping[forecast.Kind, list[float]]
) -> BdopsError | None:
    """Returns why it paused; None when all is done. Raises what a step raises."""
    window = Deadline(limits.within_s) if limits.within_s is not None else None
    allowed = limits.stop_after
    deferred: set[str] = set()
    while waves:
        wave = [step for step in waves.pop(0) if not run.state.step(step.id).done]
        wave, later = _put_leaders_last(run, wave, waves, deferred)
        if later:
            waves.insert(_after_their_kind(later, waves), later)
        if not wave:
            continue
        now, rest = _narrow(run, wave if allowed is None else wave[:allowed])
        if reason := _reason_to_pause(run, now, allowed, window, before):
            return reason
        behind = [step for step in wave if step not in now]
        if rest or behind:
            waves.insert(0, behind)
        _one_wave(run, now)
        if allowed is not None:
            allowed -= len(now)
    return None


def _reason_to_pause(
    run: Run,
    wave: Sequence[Step],
    allowed: int | None,
    window: Deadline | None,
    before: Mapping[forecast.Kind, list[float]],
) -> BdopsError | None:
    error: BdopsError | None = None
    # A step that failed asks the others of its wave to stop; what comes for its failure is not one of them.
    if run.control.pause.is_set() and not (wave[0].phase and not run.control.signals_seen):
        why = run.control.why or "of the job that this one is a step of"
        error = BdopsError(f"paused on request ({why})", code="PAUSED_ON_REQUEST")
    elif allowed is not None and allowed <= 0:
        error = BdopsError("paused after as many instances as were asked for (--stop-after)", code="STOP_AFTER")
    elif window is not None:
        needed_s = forecast.wave_s(wave, forecast.measured(run.plan.steps, run.state), before) * forecast.MARGIN
        if needed_s > window.left_s:
            error = BdopsError(
                f"the next wave is expected to take {format_duration(needed_s)}, and the window ends in "
                f"{format_duration(window.left_s)}",
                code="WINDOW_ENDS",
            )
    if error:
        error.exit_code = ExitCode.PAUSED
        error.hint = f"bdops jobs resume {run.job_id}"
    return error


def _put_leaders_last(
    run: Run, wave: list[Step], waves: Sequence[Sequence[Step]], deferred: set[str]
) -> tuple[list[Step], list[Step]]:
    """Those of the wave that lead now while others of their kind are still to go down are put behind them.

    Once each: leadership that wanders must not keep a job busy. What only comes up again keeps its place.
    """
    now: list[Step] = []
    later: list[Step] = []
    for step in wave:
        fresh = step.leader_last and step.last_gated >= 0 and not run.state.step(step.id).started
        if fresh and step.instance and step.id not in deferred and _others_to_go(run, step, (wave, *waves)):
            state = run.feeds[step.component].read()
            if run.actors[step.component].leads(state, step.instance):
                later.append(step)
                continue
        now.append(step)
    for step in later:
        deferred.add(step.id)
        run.note("deferred", step=step.id, name=step.name, why="it leads now")
    return now, later


def _others_to_go(run: Run, step: Step, waves: Sequence[Sequence[Step]]) -> bool:
    return any(
        _kind(s) == _kind(step) and s.instance != step.instance and not run.state.step(s.id).done
        for wave in waves
        for s in wave
    )


def _kind(step: Step) -> tuple[str, str, bool]:
    return step.component, step.role, step.leader_last and step.last_gated >= 0


def _after_their_kind(steps: Sequence[Step], waves: Sequence[Sequence[Step]]) -> int:
    kinds = {_kind(s) for s in steps}
    return max((i + 1 for i, wave in enumerate(waves) if any(_kind(s) in kinds for s in wave)), default=0)


def _narrow(run: Run, wave: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """As many of a wave as may go down together by what is true now, and the rest of it.

    What is half done goes on in any case: its gate is asked again with the others.
    """
    begun = [s for s in wave if run.state.step(s.id).started]
    fresh = [s for s in wave if s not in begun]
    if begun or len(fresh) < 2:
        return (begun, fresh) if begun else (fresh, [])
    component = fresh[0].component
    state = run.feeds[component].read()
    facts = run.actors[component].gate(state, run.baseline(component))
    names = {s.instance or s.name: s for s in fresh}
    if judge(facts, names, run.plan.accepted).verdict is Verdict.OK:
        return fresh, []
    first = plan_waves([Candidate(name=n) for n in names], facts, accepted=run.plan.accepted)[0]
    return [names[n] for n in first], [s for n, s in names.items() if n not in first]


def _one_wave(run: Run, wave: Sequence[Step]) -> None:
    """All steps of a wave at once. Raises the first error, after the others have come to their own ends."""
    errors: list[BaseException] = []
    with run.lock:
        run.in_flight.update({s.id: s for s in wave})

    def work(step: Step) -> None:
        try:
            carry_out_step(run, step)
        except LeaveNow as e:
            errors.append(e)
        except BdopsError as e:
            errors.append(e)
            _note_failure(run, step, e)
        except Exception as e:
            # A bug must not leave a thread without a word, nor the job without a pause.
            error = BdopsError(f"a bug of bdops: {type(e).__name__}: {e}", code="BUG", where=step.name)
            errors.append(error)
            _note_failure(run, step, error)
        finally:
            with run.lock:
                run.in_flight.pop(step.id, None)

    run.note("wave_started", steps=[s.id for s in wave], names=[s.name for s in wave])
    threads = [threading.Thread(target=work, args=(step,), name=f"step {step.id}", daemon=True) for step in wave]
    for thread in threads:
        thread.start()
    for thread in threads:
        # In slices, so that signals are handled meanwhile.
        while thread.is_alive():
            thread.join(0.2)
            if run.control.leave.is_set():
                raise LeaveNow
    if errors:
        raise next((e for e in errors if isinstance(e, LeaveNow)), errors[0])


def _note_failure(run: Run, step: Step, error: BdopsError) -> None:
    run.control.ask_to_pause(error.message)
    # A journal that cannot be written is an error of its own, and is what is reported then.
    with suppress(BdopsError):
        run.note("step_failed", step=step.id, name=step.name, code=error.code, message=error.message, hint=error.hint)
