"""How far a job is and how long the rest of it takes: what somebody who looks on wants to know. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bdops.core.plan import Plan
from bdops.jobs.fold import JobState
from bdops.jobs.forecast import measured, wave_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """`wave` of `waves` is in hand (from 1), with the steps `in_hand`. `left_s` is None before a step was measured."""

    job: str
    command: str
    cluster: str
    status: str
    wave: int
    waves: int
    done: int
    steps: int
    in_hand: tuple[str, ...]
    left_s: float | None
    why: str | None


def outlook(job: str, plan: Plan, state: JobState, status: str) -> Outlook:
    """`status` is the job's as it is told: one that says it runs and holds no lock was interrupted.

    The rest is forecast from this job's own steps: each wave takes as long as the slowest kind of step left in it.
    """
    here = measured(plan.steps, state)
    waves = [steps for wave in plan.waves if (steps := state.counted(wave))]
    counted = state.counted(plan.steps)
    left = [[s for s in steps if not state.step(s.id).done] for steps in waves]
    open_waves = [number for number, steps in enumerate(left, start=1) if steps]
    return Outlook(
        job=job,
        command=plan.command,
        cluster=plan.cluster,
        status=status,
        wave=open_waves[0] if open_waves else len(waves),
        waves=len(waves),
        done=sum(state.step(s.id).done for s in counted),
        steps=len(counted),
        in_hand=tuple(
            f"{s.name}: {state.step(s.id).last_announced or 'gate'}"
            for s in plan.steps
            if state.step(s.id).started and not state.step(s.id).done
        ),
        left_s=sum(wave_s(steps, here, {}) for steps in left) if here else None,
        why=state.why,
    )
