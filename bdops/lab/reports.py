"""What the lab's commands found or did, as reports."""

from __future__ import annotations

from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, plural
from bdops.lab.operations import Down, Up


def up(done: Up) -> Report:
    """The lab, where its inventory is, and how long each component took."""
    lab = done.lab
    rows = [{"component": name, "seconds": round(took, 1)} for name, took in done.seconds.items()]
    return Report(
        summary=f"lab {lab.name!r} is up after {format_duration(done.total_s)}",
        facts={"name": lab.name, "inventory": str(lab.inventory), "seconds": round(done.total_s, 1)},
        tables=(
            Table(name="components", columns=(Column("component"), Column("seconds", "ready after", "s")), rows=rows),
        ),
    )


def down(name: str, done: Down, destroyed: bool) -> Report:
    """What was stopped, and what had to be killed."""
    summary = f"lab {name!r} is down: {plural(done.stopped, 'server')} stopped"
    if done.killed:
        summary += f", {len(done.killed)} did not stop in time and got SIGKILL: {', '.join(done.killed)}"
    return Report(
        summary=summary + ("; its data are removed" if destroyed else ""),
        facts={"name": name, "stopped": done.stopped, "killed": list(done.killed)},
    )
