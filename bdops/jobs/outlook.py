"""How far jobs are and how long the rest of them takes: what somebody who looks on wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bdops.core.plan import Plan
from bdops.errors import BdopsError
from bdops.jobs.fold import JobState
from bdops.jobs.forecast import measured, wave_s
from bdops.jobs.store import Job, JobStore


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
    """Pure. `status` is the job's as it is told: one that says it runs and holds no lock was interrupted.

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


Stamp = tuple[int, int] | None
"""Of a journal: when it was last written, and its size; None: there is none yet."""


class OpenJobs:
    """The jobs that are not over, for somebody who asks every second: a journal is read again when it has changed."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._over: dict[str, Stamp] = {}
        self._open: dict[str, tuple[Stamp, Plan, JobState]] = {}

    def newest(self) -> Iterator[Outlook | tuple[Job, BdopsError]]:
        """The newest first. One whose journal or plan cannot be read is told too: nobody knows what it left."""
        for job in self._store.jobs():
            stamp = _stamp(job)
            if job.id in self._over and self._over[job.id] == stamp:
                continue
            try:
                plan, state = self._read(job, stamp)
            except BdopsError as e:
                yield job, e
                continue
            if state.is_over:
                self._over[job.id] = stamp
                self._open.pop(job.id, None)
                continue
            status = state.status if state.status != "running" or job.is_running() else "interrupted"
            yield outlook(job.id, plan, state, status)

    def _read(self, job: Job, stamp: Stamp) -> tuple[Plan, JobState]:
        known = self._open.get(job.id)
        if known is None or known[0] != stamp:
            known = self._open[job.id] = stamp, known[1] if known else job.plan(), job.state()
        return known[1], known[2]


def _stamp(job: Job) -> Stamp:
    try:
        found = job.journal_path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
