"""Plans: the contract of a job. Ordered waves of steps, made once, printed, serialised, digested, then carried out.

A step is what happens to one instance (or, without one, to the cluster): a sequence of acts by name. Three
acts are the service manager's and every component's: `restart`, `stop` and `start`. The others are the
component's own (`move-leaders`, `failover`, `allocation-off`), carried out by its Actor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from bdops.core.gate import GateFacts
from bdops.core.waves import Candidate, WaveMode, plan_waves

SERVICE_ACTS = frozenset({"restart", "stop", "start"})
"""The acts that go through the service manager, the same for all components."""

Phase = Literal["", "failure", "end"]
"""When a step is carried out: in the job's course, after a step of that has failed, or in the end in any case."""

GATE = "gate"
"""The act that only asks: may all of the step's `args["instances"]` go down together? Nothing is changed by it."""

TAKEN_DOWN = "taken_down"
"""The argument of a step without an instance that names the instances which an act of its own takes down."""

TAKES_DOWN = frozenset({"restart", "stop"})
"""The service acts that take an instance down. Acts before the last of these are gated, those after it are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a component wants done to one instance, in which order. Lower ranks go first.

    `acts` are carried out in their order. `leader_last`: while the instance leads when its turn comes, it is
    put behind the others of its `role` and rank. `instance` is None for an act on the cluster as a whole;
    `name` must be unique in a plan all the same. `args` are for the component's own acts (JSON values). `phase`: see
    Phase.
    """

    name: str
    acts: tuple[str, ...]
    instance: str | None = None
    rank: int = 0
    rack: str | None = None
    role: str = ""
    leader_last: bool = False
    note: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One target in its place in a plan. `id` is unique in the plan and fit for a file's name."""

    id: str
    component: str
    name: str
    acts: tuple[str, ...]
    instance: str | None = None
    role: str = ""
    leader_last: bool = False
    note: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase = ""

    @property
    def last_gated(self) -> int:
        """The index of the last act before which the gate is asked; -1 when no act takes the instance down."""
        down = [i for i, act in enumerate(self.acts) if act in TAKES_DOWN]
        return down[-1] if down else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job will do.

    `identities` are the clusters' own ids by component: a plan is never carried out on another cluster.
    `inventory` has what the plan relies on of each instance, to tell a stale plan by; `processes` the identity
    of each instance's process when the plan was made (None: it did not run): one that is another has been
    restarted. `baseline` are each component's measurements before, `down` the instances that did not serve.
    """

    version: int = 1
    command: str
    cluster: str
    waves: tuple[tuple[Step, ...], ...]
    made_at: str
    by: str
    reason: str | None = None
    identities: Mapping[str, str | None] = field(default_factory=dict)
    inventory: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    processes: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    baseline: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    down: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    consequences: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for wave in self.waves for step in wave)

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.component for step in self.steps))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: what the journal says which plan it is of."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def dump_plan(plan: Plan) -> str:
    """The plan as JSON text."""
    return json.dumps(asdict(plan), indent=1, sort_keys=False)


def load_plan(text: str) -> Plan:
    """The plan of `dump_plan`. Raises ValueError when the text is not one, or of another version."""
    try:
        data = json.loads(text)
        if data["version"] != 1:
            raise ValueError(f"a plan of version {data['version']}; this bdops reads version 1")
        waves = tuple(tuple(Step(**{**s, "acts": tuple(s["acts"])}) for s in wave) for wave in data["waves"])
        lists = {f: tuple(data[f]) for f in ("down", "accepted", "consequences")}
        known = {f.name: data[f.name] for f in fields(Plan) if f.name in data}
        return Plan(**{**known, **lists, "waves": waves})
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"not a plan: {e}") from None


def steps_in_waves(
    component: str,
    targets: Collection[Target],
    facts: GateFacts,
    *,
    mode: WaveMode = "auto",
    max_parallel: int | None = None,
    canary: bool = False,
    accepted: Collection[str] = (),
    first_number: int = 1,
) -> tuple[tuple[Step, ...], ...]:
    """The targets as steps, in waves that the facts prove safe together. Ids are numbered in order."""
    by_name = {t.name: t for t in targets}
    # Facts know instances by their names; a target without an instance is unknown to them, and goes alone.
    label = {t.instance or t.name: t.name for t in targets}
    candidates = [Candidate(name=t.instance or t.name, rank=t.rank, rack=t.rack) for t in targets]
    waves = plan_waves(candidates, facts, mode=mode, max_parallel=max_parallel, canary=canary, accepted=accepted)
    number = first_number
    result = []
    for wave in waves:
        steps = []
        for candidate in wave:
            target = by_name[label[candidate]]
            steps.append(
                Step(
                    id=f"{number:04}",
                    component=component,
                    name=target.name,
                    acts=target.acts,
                    instance=target.instance,
                    role=target.role,
                    leader_last=target.leader_last,
                    note=target.note,
                    args=target.args,
                    phase=target.phase,
                )
            )
            number += 1
        result.append(tuple(steps))
    return tuple(result)
