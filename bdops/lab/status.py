"""How the labs of this state folder are: their processes, and whether each server serves on its own API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bdops.components.reading import read_all
from bdops.lab import processes, store, supervision
from bdops.lab.lab import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One server process. `state`: running, paused, stopped, or `dead` when it ended by itself or was killed.

    `serving` is the server's own answer; None where it is not known.
    """

    instance: str
    host: str
    program: str
    state: str
    serving: bool | None = None
    pid: int | None = None
    memory_bytes: int | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """One lab. `meant_up`: brought up and not taken down since; `unread`: why servers could not be asked."""

    name: str
    folder: str
    inventory: str
    meant_up: bool
    components: tuple[str, ...]
    faults: tuple[str, ...]
    programs: tuple[ProgramStatus, ...]
    unread: Mapping[str, str]


def labs(name: str | None, *, timeout_s: float) -> list[LabStatus]:
    """All labs, or the one of this name. Raises ConfigError when there is no lab of that name."""
    return [_status(Lab.open(each), timeout_s) for each in ([name] if name else store.names())]


def _status(lab: Lab, timeout_s: float) -> LabStatus:
    record = store.read(lab.name)
    programs = process_statuses(lab)
    asked = {p.instance.split("/")[0] for p in programs if p.state in ("running", "paused")}
    answers, unread = serving(lab, sorted(asked), timeout_s=timeout_s)
    return LabStatus(
        name=lab.name,
        folder=str(lab.folder),
        inventory=str(lab.inventory),
        meant_up=bool(record and record.up),
        components=lab.components,
        faults=record.faults if record else (),
        programs=tuple(
            replace(p, serving=answers.get(p.instance) if p.state in ("running", "paused") else False) for p in programs
        ),
        unread=unread,
    )


def process_statuses(lab: Lab) -> list[ProgramStatus]:
    """All programs of a lab as their supervisords and /proc see them."""
    by_host = {}
    for host in lab.hosts:
        runs = supervision.supervisord_process(host) is not None
        by_host[host.name] = supervision.Supervisor(host, timeout_s=5).states() if runs else {}
    return [_process_status(p.instance, p.host, p.name, by_host[p.host].get(p.name)) for p in lab.programs]


def _process_status(instance: str, host: str, name: str, found: supervision.ProgramState | None) -> ProgramStatus:
    bare = ProgramStatus(instance=instance, host=host, program=name, state="stopped")
    if found is None:
        return bare
    one = processes.process(found.pid) if found.pid else None
    if one is None:
        return bare if found.state == "STOPPED" else replace(bare, state="dead")
    return replace(
        bare,
        state="paused" if processes.is_paused(one.pid) else "running",
        pid=one.pid,
        memory_bytes=processes.memory_bytes(one.pid),
        age_s=round(processes.age_s(one), 1),
    )


def serving(
    lab: Lab, components: Sequence[str], *, timeout_s: float
) -> tuple[dict[str, bool | None], Mapping[str, str]]:
    """Whether each instance serves, by its name less the cluster's, as its component's own reader says.

    Also why the servers of a component could not be asked. Returns soon after `timeout_s`.
    """
    tasks = {component: partial(_serving, lab, component, timeout_s) for component in components}
    read = read_all(tasks, timeout_s=timeout_s + 2)
    answers = {
        instance.removeprefix(f"{lab.name}/"): value
        for each in read.values.values()
        for instance, value in each.items()
    }
    return answers, read.unread


def _serving(lab: Lab, component: str, timeout_s: float) -> Mapping[str, bool | None]:
    from bdops.registry import component as component_of

    known = component_of(component)
    return known.serving(known.read_state(lab.deployment(component), timeout_s=timeout_s))


def whole(lab: Lab) -> str | None:
    """None when every server of a lab runs and serves and no fault is in it, else what is wrong."""
    from bdops.lab import recipes

    record = store.read(lab.name)
    wrong = [f"{p.instance} is {p.state}" for p in process_statuses(lab) if p.state != "running"]
    if record and record.faults:
        wrong.append(f"faults are in: {', '.join(record.faults)}")
    for component in lab.components:
        healthy = recipes.recipe(component).healthy
        said = healthy(lab) if healthy and not wrong else None
        if said:
            wrong.append(said)
    return "; ".join(wrong) or None
