"""Making plans: read the cluster once, let the component order its instances, pack them into waves, refuse early.

What is refused here is refused before anything is changed; the gates are asked again before each act.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bdops.core.actor import Actor
from bdops.core.gate import Answer, GateFacts, Reason, Verdict, describe, judge
from bdops.core.model import Deployment, Instance, SecretRef
from bdops.core.plan import SERVICE_ACTS, Plan, Step, Target, steps_in_waves
from bdops.core.units import plural
from bdops.core.waves import WaveMode
from bdops.errors import BdopsError, Refused, StateUnknown
from bdops.hosts.processes import ProcessIdentity, ServiceProcess
from bdops.hosts.service_acts import as_data, read_all_processes
from bdops.hosts.ssh import SshPool

READ_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a plan is to be made and carried out. `accepted` are the rules of `--accept-risk`."""

    mode: WaveMode = "auto"
    max_parallel: int | None = None
    canary: bool = False
    accepted: tuple[str, ...] = ()
    reason: str | None = None
    by: str = ""
    inventory: str = ""


Targets = Callable[[Actor[Any], Any, Collection[str]], Sequence[Target]]
"""Makes the targets of some instances: `lambda actor, state, names: actor.targets(state, names, "restart")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component's part of a plan: which of its instances, and what is to be done to them.

    `instances` are all of the deployment's, `names` those that are acted on. `verb` is what `consequences` is
    asked about (restart, stop, start; "" for another thing). `together`: the gate judges all of `names` as one.
    `nameless`: its data is lost, perhaps no server answers, and no id of it is asked for.
    """

    component: str
    actor: Actor[Any]
    instances: tuple[Instance, ...]
    names: tuple[str, ...]
    targets: Targets
    verb: str = ""
    together: bool = False
    nameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and what the gates say of it now: `waits` may pass by themselves, `accepted` were overridden."""

    plan: Plan
    waits: tuple[Reason, ...] = ()
    accepted: tuple[Reason, ...] = ()


def make_plan(command: str, cluster: str, parts: Sequence[Part], pool: SshPool, options: Options) -> Planned:
    """Read, order, pack. The parts' waves come one after the other, in the order given; a component may have several.

    Raises StateUnknown when a cluster's own id is not known, Refused with every reason when a gate refuses or
    does not know, ConfigError for an instance without a service, and what the hosts raise.
    """
    waves: list[tuple[Step, ...]] = []
    readings: dict[str, _Reading] = {}
    consequences: list[str] = []
    for part in parts:
        if part.component not in readings:
            readings[part.component] = _read(part)
        reading = readings[part.component]
        targets = part.targets(part.actor, reading.state, part.names)
        waves += steps_in_waves(
            part.component,
            targets,
            reading.facts,
            mode=options.mode,
            max_parallel=options.max_parallel,
            canary=options.canary,
            accepted=options.accepted,
            first_number=sum(len(w) for w in waves) + 1,
        )
        if part.verb and targets:
            consequences += part.actor.consequences(reading.state, part.names, part.verb)
    steps = [step for wave in waves for step in wave]
    down = {name: why for reading in readings.values() for name, why in reading.down.items()}
    together = {part.component: part.names for part in parts if part.together}
    waits, accepted = _judge(steps, {c: r.facts for c, r in readings.items()}, down, together, options.accepted)
    instances = {i.name: i for part in parts for i in part.instances}
    plan = Plan(
        command=command,
        cluster=cluster,
        waves=tuple(waves),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=options.by,
        reason=options.reason,
        identities={c: r.identity for c, r in readings.items()},
        inventory={name: fingerprint(i) for name, i in instances.items()},
        processes=_processes(pool, instances, steps),
        baseline={c: r.baseline for c, r in readings.items()},
        down=tuple(sorted(down)),
        accepted=options.accepted,
        consequences=tuple(consequences),
        options={"inventory": options.inventory, "mode": options.mode},
    )
    return Planned(plan=plan, waits=waits, accepted=accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What a component says of itself when the plan is made."""

    state: Any
    identity: str | None
    baseline: Mapping[str, Any]
    facts: GateFacts
    down: Mapping[str, str]


def _read(part: Part) -> _Reading:
    state = part.actor.read(timeout_s=READ_TIMEOUT_S)
    identity = None if part.nameless else part.actor.identity(state)
    if identity is None and not part.nameless:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(state.unread.items())[:4])
        raise StateUnknown(
            "the id of the cluster that answers is not known" + (f": {why}" if why else ""),
            where=part.component,
            hint=f"bdops {part.component} status",
            code="CLUSTER_ID_UNKNOWN",
        )
    baseline = part.actor.baseline(state)
    facts = part.actor.gate(state, baseline)
    return _Reading(state=state, identity=identity, baseline=baseline, facts=facts, down=part.actor.down(state))


def _judge(
    steps: Sequence[Step],
    facts: Mapping[str, GateFacts],
    down: Mapping[str, str],
    together: Mapping[str, Sequence[str]],
    accepted: Collection[str],
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Every instance by itself, or with those that go down with it. Raises Refused with every reason.

    Not where an instance that is down now comes first: what speaks against the others may pass with it.
    """
    refused: dict[Reason, None] = {}
    waits: dict[Reason, None] = {}
    overridden: dict[Reason, None] = {}
    mending = False
    for step in steps:
        if step.instance is None or step.last_gated < 0:
            continue
        answer: Answer = judge(facts[step.component], {step.instance, *together.get(step.component, ())}, accepted)
        overridden |= dict.fromkeys(answer.accepted)
        for reason in answer.reasons:
            later = reason.verdict is Verdict.WAIT or (mending and not reason.acceptable)
            (waits if later else refused)[reason] = None
        mending = mending or step.instance in down
    if refused:
        raise _refusal(_merged(refused))
    return tuple(_merged(waits)), tuple(_merged(overridden))


def _merged(reasons: Collection[Reason]) -> list[Reason]:
    """The same reason of several instances, once, with all of them."""
    found: dict[tuple[str, tuple[str, ...], str], Reason] = {}
    for reason in reasons:
        key = (reason.rule, reason.objects, reason.harm)
        known = found.get(key, reason)
        found[key] = replace(reason, instances=tuple(sorted({*known.instances, *reason.instances})))
    return list(found.values())


def _refusal(reasons: list[Reason]) -> Refused:
    overrides = sorted({r.override for r in reasons if r.override})
    hard = [r for r in reasons if not r.override]
    shown = "; ".join(f"{describe(r)} [{', '.join(r.instances[:4])}]" for r in reasons[:6])
    error = Refused(
        f"refused, nothing was changed: {shown}"
        + (f"; and {plural(len(reasons) - 6, 'reason')} more" if len(reasons) > 6 else ""),
        hint="repair that first: `bdops check` and `can-stop` name all of it"
        if hard
        else f"if that is acceptable: {' '.join(overrides)}",
        code=reasons[0].rule,
    )
    error.data = {"reasons": reasons}
    return error


def _processes(
    pool: SshPool, instances: Mapping[str, Instance], steps: Sequence[Step]
) -> dict[str, Mapping[str, Any] | None]:
    """The present process of every instance whose service is acted on. Raises what the first host raises."""
    touched = [s.instance for s in steps if s.instance and SERVICE_ACTS.intersection(s.acts)]
    read = read_all_processes(pool, [instances[name] for name in dict.fromkeys(touched)])
    for found in read.values():
        if isinstance(found, BdopsError):
            raise found
    return {name: as_data(found.process) for name, found in read.items() if isinstance(found, ServiceProcess)}


def fingerprint(instance: Instance) -> dict[str, Any]:
    """What a plan relies on of an instance: where it is, how it is reached and restarted, which ports it has."""
    ssh = instance.host.ssh
    settings = instance.settings
    plain = {
        f.name: getattr(settings, f.name)
        for f in (fields(settings) if is_dataclass(settings) else ())
        if isinstance(getattr(settings, f.name), (int, str)) and not isinstance(getattr(settings, f.name), SecretRef)
    }
    service = instance.service
    return {
        "address": instance.host.address,
        "ssh": f"{ssh.user or ''}@{instance.host.address}:{ssh.port}",
        "rack": instance.host.rack,
        "roles": sorted(instance.roles),
        "service": None
        if service is None
        else {f.name: _json(getattr(service, f.name)) for f in fields(service) if f.name != "files"},
        "settings": plain,
    }


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def stale_differences(plan: Plan, deployments: Sequence[Deployment]) -> list[str]:
    """How the inventory differs from what it was when the plan was made; nothing for a plan that is fresh.

    A setting that the plan does not know came with a newer bdops: the plan cannot rely on it.
    """
    now = {i.name: fingerprint(i) for d in deployments for i in d.instances}
    found = [f"{name} is not in the inventory any more" for name in plan.inventory if name not in now]
    found += [f"{name} is new in the inventory" for name in now if name not in plan.inventory]
    for name, then in plan.inventory.items():
        before, after = _flat(then), _flat(now.get(name, then))
        found += [
            f"{name}: {key} was {before[key]}, and is {after[key]}"
            for key in before.keys() & after.keys()
            if before[key] != after[key]
        ]
    return sorted(found)


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` and `service` key by key, so that the difference is told and nothing else."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        nested = isinstance(value, Mapping)
        # That there is one at all is a fact as well.
        flat |= {key: "given", **{f"{key}.{k}": v for k, v in value.items()}} if nested else {key: value}
    return flat


def older_than(processes: Mapping[str, ServiceProcess | BdopsError], moment: datetime) -> list[str]:
    """The instances whose process is older than a moment, by its host's clock, and those that have none."""
    old = []
    for name, found in processes.items():
        if isinstance(found, BdopsError):
            raise found
        process: ProcessIdentity | None = found.process
        if process is None or process.started_at < moment:
            old.append(name)
    return old
