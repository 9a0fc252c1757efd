"""What the lab's commands found or did, as reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, plural
from bdops.lab.faults import KnownFault
from bdops.lab.operations import Act, Down, Up
from bdops.lab.recipe import Fault
from bdops.lab.status import LabStatus

DONE = {"start": "started", "stop": "stopped", "kill": "killed", "pause": "paused", "resume": "resumed"}


def up(done: Up) -> Report:
    """The lab, where its inventory is, and how long each component took."""
    lab = done.lab
    return Report(
        summary=f"lab {lab.name!r} is up after {format_duration(done.total_s)}",
        facts={"name": lab.name, "inventory": str(lab.inventory), "seconds": round(done.total_s, 1)},
        tables=(_seconds("components", "ready after", done.seconds),),
    )


def _seconds(name: str, title: str, seconds: Mapping[str, float]) -> Table:
    rows = [{"component": component, "seconds": round(took, 1)} for component, took in seconds.items()]
    return Table(name=name, columns=(Column("component"), Column("seconds", title, "s")), rows=rows)


def down(name: str, done: Down, destroyed: bool) -> Report:
    """What was stopped, and what had to be killed."""
    summary = f"lab {name!r} is down: {plural(done.stopped, 'server')} stopped"
    if done.killed:
        summary += f", {len(done.killed)} did not stop in time and got SIGKILL: {', '.join(done.killed)}"
    return Report(
        summary=summary + ("; its data are removed" if destroyed else ""),
        facts={"name": name, "stopped": done.stopped, "killed": list(done.killed)},
    )


def load(seconds: Mapping[str, float]) -> Report:
    """How long each component's data took."""
    total = format_duration(sum(seconds.values()))
    return Report(summary=f"data written in {total}", tables=(_seconds("components", "written in", seconds),))


def acted(verb: str, done: Sequence[Act]) -> Report:
    """What was done to each instance."""
    rows = [{"instance": a.instance, "program": a.program, "pid": a.pid, "note": a.note} for a in done]
    columns = (Column("instance"), Column("program"), Column("pid"), Column("note"))
    return Report(
        summary=f"{plural(len(done), 'server')} {DONE[verb]}",
        facts={"_action": verb},
        tables=(Table(name="instances", columns=columns, rows=rows),),
    )


def status(found: Sequence[LabStatus], *, one: bool) -> Report:
    """The labs and their servers. A lab that is meant to be up and is not whole makes it a warning in JSON's status."""
    rows = [
        {
            "lab": lab.name,
            "instance": p.instance,
            "state": p.state,
            "serving": p.serving,
            "pid": p.pid,
            "memory": p.memory_bytes,
            "age": p.age_s,
            "host": p.host,
            "program": p.program,
        }
        for lab in found
        for p in lab.programs
    ]
    columns = (
        Column("lab"),
        Column("instance"),
        Column("state"),
        Column("serving", unit="bool"),
        Column("pid"),
        Column("memory", unit="bytes"),
        Column("age", "up for", "s"),
        Column("host", wide=True),
        Column("program", wide=True),
    )
    labs = [
        {
            "lab": lab.name,
            "state": _state(lab),
            "faults": list(lab.faults),
            "inventory": lab.inventory,
            "unread": dict(lab.unread),
        }
        for lab in found
    ]
    lab_columns = (Column("lab"), Column("state"), Column("faults"), Column("inventory"), Column("unread", wide=True))
    memory_bytes = sum(p.memory_bytes or 0 for lab in found for p in lab.programs)
    return Report(
        status="warning" if any(_state(lab) == "impaired" for lab in found) else "ok",
        summary="; ".join(f"lab {lab.name!r} is {_state(lab)}" for lab in found) or "there is no lab",
        facts={"_memory_bytes": memory_bytes},
        tables=(
            Table(name="labs", columns=lab_columns, rows=labs, empty="no labs: bdops lab up"),
            *((Table(name="servers", columns=columns, rows=rows),) if rows or one else ()),
        ),
    )


def _state(lab: LabStatus) -> str:
    """up, down, or impaired: meant to be up, with servers that do not run or serve."""
    if not any(p.state in ("running", "paused") for p in lab.programs):
        return "impaired" if lab.meant_up else "down"
    if all(p.state == "running" and p.serving is not False for p in lab.programs):
        return "up"
    return "impaired"


def faults(known: Sequence[KnownFault], active: Sequence[str]) -> Report:
    """All faults, which check shows each, and which are in."""
    inside = {entry.split()[0] for entry in active}
    rows = [
        {
            "fault": k.fault.name,
            "component": k.component,
            "shows": list(k.fault.shows),
            "in": k.fault.name in inside,
            "what": k.fault.help,
        }
        for k in known
    ]
    columns = (Column("fault"), Column("component"), Column("shows"), Column("in", unit="bool"), Column("what"))
    return Report(tables=(Table(name="faults", columns=columns, rows=rows),), facts={"_active": list(active)})


def broken(fault: Fault) -> Report:
    """The fault that is in now, and which checks show it."""
    return Report(
        summary=f"{fault.name} is in; shown by {', '.join(fault.shows)}",
        facts={"fault": fault.name, "shows": list(fault.shows)},
    )


def healed(names: Sequence[str]) -> Report:
    """The faults that are out again."""
    return Report(summary=f"healed: {', '.join(names)}" if names else "no fault was in", facts={"_healed": list(names)})
