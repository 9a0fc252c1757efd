"""Faults on demand: found by name among the recipes of a lab, remembered while they are in."""

from __future__ import annotations

from dataclasses import dataclass

from bdops.errors import UsageError
from bdops.lab import recipes, store
from bdops.lab.lab import Lab
from bdops.lab.recipe import Fault
from bdops.registry import COMPONENTS


@dataclass(frozen=True, slots=True)
class KnownFault:
    component: str
    fault: Fault


def known(components: tuple[str, ...] = tuple(COMPONENTS)) -> list[KnownFault]:
    """The faults of these components."""
    return [KnownFault(c, fault) for c in components for fault in recipes.recipe(c).faults]


def find(lab: Lab, name: str) -> Fault:
    """One fault of a lab's components by its name. Raises UsageError when there is none."""
    faults = {k.fault.name: k.fault for k in known(lab.components)}
    if name not in faults:
        import difflib

        near = difflib.get_close_matches(name, faults, n=1)
        hint = f"did you mean {near[0]}?" if near else "bdops lab fault --list"
        raise UsageError(f"lab {lab.name!r} has no fault {name!r}", hint=hint)
    return faults[name]


def break_it(lab: Lab, name: str, target: str | None) -> Fault:
    """Put a fault in; returns when the server shows it. It is remembered before it begins."""
    fault = find(lab, name)
    entry = f"{name} {target}" if target else name
    with store.locked(lab.name):
        record = store.read(lab.name)
        if record and entry not in record.faults:
            store.change(lab.name, faults=(*record.faults, entry))
    lab.say(f"breaking: {fault.help}")
    fault.break_it(lab, target)
    return fault


def heal(lab: Lab, name: str | None, target: str | None) -> list[str]:
    """Heal one fault, or all that are in where no name is given; their names."""
    record = store.read(lab.name)
    entries = record.faults if record else ()
    if name:
        find(lab, name)
        mine = [e for e in entries if e.split()[0] == name and (target is None or e == f"{name} {target}")]
        # One that is not remembered (another version's, say) is healed all the same.
        mine = mine or [f"{name} {target}" if target else name]
    else:
        mine = list(entries)
    for entry in mine:
        fault_name, _, at = entry.partition(" ")
        lab.say(f"healing {entry}")
        find(lab, fault_name).heal(lab, at or None)
        with store.locked(lab.name):
            now = store.read(lab.name)
            if now:
                store.change(lab.name, faults=tuple(f for f in now.faults if f != entry))
    return mine


def active(name: str) -> tuple[str, ...]:
    """The faults that are in a lab now; none where there is no such lab."""
    record = store.read(name)
    return record.faults if record else ()
