"""How long the rest of a job will take, from what was measured: this job's steps first, else those of earlier jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bdops.core.plan import Step
from bdops.jobs.fold import JobState

UNMEASURED_S = 120.0
"""For a step of a kind that was never carried out."""

MARGIN = 1.3
"""A wave is begun only when this many times its forecast fits into the window."""

Kind = tuple[str, str]
"""Component and role; of a playbook's step its operation."""


def kind(step: Step) -> Kind:
    return step.component, step.role or str(step.args.get("do") or "")


def measured(steps: Sequence[Step], state: JobState) -> dict[Kind, list[float]]:
    """The seconds that each kind's finished steps took."""
    found: dict[Kind, list[float]] = {}
    for step in steps:
        seconds = state.step(step.id).seconds
        if seconds is not None:
            found.setdefault(kind(step), []).append(seconds)
    return found


def wave_s(wave: Sequence[Step], here: Mapping[Kind, list[float]], before: Mapping[Kind, list[float]]) -> float:
    """A wave takes as long as its slowest step."""
    return max((_step_s(step, here, before) for step in wave), default=0.0)


def _step_s(step: Step, here: Mapping[Kind, list[float]], before: Mapping[Kind, list[float]]) -> float:
    for known in (here, before):
        if seconds := known.get(kind(step)):
            return median(seconds)
    return UNMEASURED_S
