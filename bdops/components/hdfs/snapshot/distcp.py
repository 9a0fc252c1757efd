"""A copy of what changed between two snapshots to another cluster: the command, and whether it can be run.

The copy runs on the cluster's own YARN. `distcp -diff` (HDFS-7535, HDFS-8828) takes the list of changes from the
NameNode instead of comparing both trees, and falls back or fails when the target is not what the older snapshot says:
its conditions are looked at here first. The plan is pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.calls import Snapshot
from bdops.core.result import Column, Report, Table
from bdops.errors import UsageError

PRESERVED = "-pugpxb"
"""Owner, group, permissions, extended attributes, and block sizes: without these checksums of equal files differ."""
LOOKED_AT = 5
"""Of the target's newest snapshots so many are compared with what is there now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of both directories. `changed_since`: whether it is another than its snapshot of that name says; of the
    target alone, and its newest ones."""

    uri: str
    snapshots_allowed: bool = True
    snapshots: tuple[Snapshot, ...] = ()
    changed_since: Mapping[str, bool] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {s.name for s in self.snapshots}


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so, whether it is (None: that is not known), and why it matters, or what to do."""

    text: str
    holds: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """`steps` are the command lines, in order; `older` None: everything is copied."""

    older: str | None
    newer: str
    command: tuple[str, ...]
    steps: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @property
    def holds(self) -> bool | None:
        """False when a condition does not hold, None when that of one is not known."""
        answers = [c.holds for c in self.conditions]
        return False if False in answers else None if None in answers else True


def plan(
    source: Side, target: Side | None, target_uri: str, *, older: str | None, newer: str | None, options: Sequence[str]
) -> CopyPlan:
    """The command that brings the target from the older snapshot to the newer one.

    Without `newer` the source's newest; without `older` the newest one before that both sides have. `target` None:
    nothing is known of it. Raises UsageError when there is nothing to copy.
    """
    by_age = sorted(source.snapshots, key=lambda s: (s.taken_at, s.id))
    if not by_age:
        raise UsageError(f"{source.uri} has no snapshot", hint="bdops hdfs snapshot create", code="NO_BACKUP")
    new = next((s for s in by_age if s.name == newer), None) if newer else by_age[-1]
    if new is None:
        raise UsageError(f"{source.uri} has no snapshot {newer}", hint="bdops hdfs snapshot list", code="NO_BACKUP")
    before = [s for s in by_age if (s.taken_at, s.id) < (new.taken_at, new.id)]
    if older is None and target is not None:
        older = next((s.name for s in reversed(before) if s.name in target.names()), None)
    old = next((s for s in by_age if s.name == older), None)
    path = urlsplit(target_uri).path
    if older is None:
        command = (
            "hadoop",
            "distcp",
            "-update",
            PRESERVED,
            *options,
            calls.snapshot_path(source.uri, new.name),
            target_uri,
        )
    else:
        command = (
            "hadoop", "distcp", "-update", "-diff", older, new.name, PRESERVED, *options, source.uri, target_uri,
        )  # fmt: skip
    directory = urlsplit(source.uri).path
    by = shlex.quote(f"the next copy to {target_uri}")
    steps = [
        f"bdops hdfs snapshot need {new.name} --by {by} --destination {directory}",
        shlex.join(command),
        f"bdops hdfs snapshot create --name {new.name} --destination {path}   # on the target's cluster",
    ]
    if older is not None:
        steps.append(f"bdops hdfs snapshot need {older} --none --destination {directory}")
    conditions = _incremental(source, target, target_uri, older, old, new) if older is not None else _whole(target)
    return CopyPlan(
        older=older, newer=new.name, command=command, steps=tuple(steps), conditions=(*conditions, *_after(target, new))
    )


def _incremental(
    source: Side, target: Side | None, target_uri: str, older: str, old: Snapshot | None, new: Snapshot
) -> tuple[Condition, ...]:
    found = [
        Condition(f"{source.uri} has the snapshot {older}", old is not None),
        Condition(
            f"{older} is older than {new.name}",
            old is not None and (old.taken_at, old.id) < (new.taken_at, new.id),
            "distcp would take the changes back",
        ),
    ]
    unknown = target is None
    has = None if target is None else older in target.names()
    found.append(
        Condition(f"{target_uri} has the snapshot {older}", has, "not in the inventory: look there" if unknown else "")
    )
    changed = None if target is None or not has else target.changed_since.get(older)
    found.append(
        Condition(
            f"{target_uri} has not changed since {older}",
            None if changed is None else not changed,
            "distcp refuses a target that is not as its snapshot says"
            if changed
            else "not known"
            if changed is None
            else "",
        )
    )
    return tuple(found)


def _whole(target: Side | None) -> tuple[Condition, ...]:
    if target is None:
        text = "there is no snapshot that both sides have: everything is copied"
        return (Condition(text, None, "not in the inventory: --from names one that both have"),)
    return (Condition("both sides have no snapshot in common: everything is copied", True),)


def _after(target: Side | None, new: Snapshot) -> tuple[Condition, ...]:
    """What makes the next copy possible."""
    if target is None:
        return (Condition("snapshots may be made of the target", None, "not in the inventory: look there"),)
    return (
        Condition("snapshots may be made of the target", target.snapshots_allowed, "bdops hdfs snapshot allow DIR"),
        Condition(
            f"the target has no snapshot {new.name} yet", new.name not in target.names(), "it was copied already"
        ),
    )


def report(found: CopyPlan) -> Report:
    """The plan for people and programs."""
    words = {True: "yes", False: "no", None: "not known"}
    rows = [
        {"condition": c.text, "holds": words[c.holds], "detail": None if c.holds else c.detail or None}
        for c in found.conditions
    ]
    columns = (Column("condition"), Column("holds"), Column("detail"))
    status = {True: "ok", False: "refused", None: "unknown"}[found.holds]
    return Report(
        status=status,  # type: ignore[arg-type]
        facts={"from": found.older, "to": found.newer, "command": shlex.join(found.command)},
        tables=(
            Table(name="conditions", columns=columns, rows=rows),
            Table(
                name="steps",
                columns=(Column("step"),),
                rows=[{"step": s} for s in found.steps],
            ),
        ),
        summary={
            True: "the copy can be made",
            False: "the copy cannot be made like this",
            None: "whether the copy can be made is not known",
        }[found.holds],
    )


def side(service: Nameservice, uri: str, *, looked_at: int = 0) -> Side:
    """A directory as its NameNode knows it, with so many of its newest snapshots compared with what is there now.

    Raises BdopsError.
    """
    path = urlsplit(uri).path.rstrip("/") or "/"

    def read(namenode: NameNode) -> Side:
        if path not in {r.path for r in calls.snapshot_roots(namenode)}:
            return Side(uri=uri, snapshots_allowed=False)
        snapshots = calls.snapshots_of(namenode, path)
        changed = {}
        for one in sorted(snapshots, key=lambda s: (s.taken_at, s.id), reverse=True)[:looked_at]:
            page = next(calls.diff_pages(namenode, path, one.name, ""))
            changed[one.name] = bool(page.modifiedEntries or page.createdEntries or page.deletedEntries)
        return Side(uri=uri, snapshots=snapshots, changed_since=changed)

    return service.on_active(read)
