"""How backups in a folder stand: read from their records alone, and judged alike, by three checks of each component."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from bdops.components.backup_checks import AGE, PROVED_AGE, age_limit, judge_newest, judge_proof
from bdops.components.backup_files import BackupFolder
from bdops.components.reading import read_all
from bdops.core.backups import BackupRecord, newest_good, newest_proved
from bdops.core.checks import Check, Finding, Limits, Severity, Verdict
from bdops.core.model import Deployment

READ_S = 3.0
MADE_AT = "fetched_at"
"""The key of a record's `state` with when it was made, where what is in it is older than that."""
NONE_ASKED = "the inventory asks for no backups (snapshot_dir)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """The backups in a folder of the inventory, as their records have them; `folder` None: it names none.

    error: why they could not be read. failed: why the last one is none, if so. max_age_h, proved_max_age_d: what the
    inventory asks of them.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    folder: str | None = None
    error: str | None = None
    good: int = 0
    newest: str | None = None
    newest_at: datetime | None = None
    proved_at: datetime | None = None
    failed: str | None = None
    max_age_h: float = 26.0
    proved_max_age_d: float | None = None


class HasBackups(Protocol):
    """A state with them."""

    @property
    def taken_at(self) -> datetime: ...

    @property
    def backups(self) -> Backups | None: ...


def read_backups(deployment: Deployment, *, timeout_s: float) -> Backups:
    """Those in the inventory's `snapshot_dir`, as `read_folder` does."""
    settings: Any = deployment.settings
    return read_folder(settings.snapshot_dir, settings.snapshot_max_age_h, deployment, timeout_s=timeout_s)


def read_folder(given: str | None, max_age_h: float, deployment: Deployment, *, timeout_s: float) -> Backups:
    """Never raises: why they cannot be read is in the answer. A mounted folder may hang: it gets a few seconds."""
    if given is None:
        return Backups()
    folder = Path(given).expanduser()
    read = partial(_standing, folder, max_age_h, deployment)
    found = read_all({"backups": read}, timeout_s=min(timeout_s, READ_S))
    if "backups" in found.values:
        standing: Backups = found.values["backups"]
        return standing
    return Backups(folder=str(folder), error=found.unread["backups"])


def _standing(folder: Path, max_age_h: float, deployment: Deployment) -> Backups:
    settings: Any = deployment.settings
    known = BackupFolder(folder, deployment.component, deployment.cluster).records()
    newest, proved = newest_good(known), newest_proved(known)
    last = max((r for r in known if r.status != "running"), key=lambda r: (_made_at(r), r.id), default=None)
    return Backups(
        folder=str(folder),
        good=sum(r.good for r in known),
        newest=newest.id if newest else None,
        newest_at=newest.taken_at if newest else None,
        proved_at=proved.proved_at if proved else None,
        failed=f"{last.id}: {last.error}" if last and not last.good else None,
        max_age_h=max_age_h,
        proved_max_age_d=settings.backup_proved_max_age_d,
    )


def _made_at(record: BackupRecord) -> datetime:
    """When it was made, or was to be: the last one that failed is told, however old what came before it is."""
    told = record.state.get(MADE_AT)
    return datetime.fromisoformat(told) if told else record.taken_at


def backup_checks(component: str) -> tuple[Check[Any], ...]:
    """*_BACKUP_AGE, *_BACKUP_FAILED and *_BACKUP_PROVED_AGE of a component whose state has `backups`."""
    code, command = f"{component.upper()}_BACKUP", f"bdops {component} snapshot"
    return (
        Check(
            code=f"{code}_AGE",
            meaning="The age of the newest good backup in `snapshot_dir`, where the inventory has one; critical when "
            "there is none. The limits are `snapshot_max_age_h` and twice that.",
            remedy=f"`{command} create`, and look why the schedule did not.",
            needs=("backups",),
            judge=judge_age,
            thresholds=(AGE,),
        ),
        Check(
            code=f"{code}_FAILED",
            meaning="The last backup failed, or is partial, or its file is damaged or gone.",
            remedy=f"`{command} list` says why; `{command} verify` reads all of them; then take a new one.",
            needs=("backups",),
            judge=judge_failed,
        ),
        Check(
            code=f"{code}_PROVED_AGE",
            meaning="The age of the last drill that proved a backup. Nothing is held against it unless "
            "`backup_proved_max_age_d` is in the inventory.",
            remedy=f"`{command} drill` restores the newest one to a throw-away server, and compares.",
            needs=("backups",),
            judge=judge_proved,
            thresholds=(PROVED_AGE,),
        ),
    )


def judge_age(state: HasBackups, limits: Limits) -> Verdict:
    return age_of(_read(state), state.taken_at, limits)


def judge_failed(state: HasBackups, limits: Limits) -> Verdict:
    return failed_of(_read(state))


def judge_proved(state: HasBackups, limits: Limits) -> Verdict:
    return proved_of(_read(state), state.taken_at, limits)


def age_of(
    backups: Backups, taken_at: datetime, limits: Limits, *, metric: str = "backup_age", none_asked: str = NONE_ASKED
) -> Verdict:
    """The verdict on the newest good one; `metric` is the name of its age."""
    if backups.error or backups.folder is None:
        return _nothing_to_judge(backups, none_asked)
    limit = age_limit(limits, backups.max_age_h)
    found, metrics = judge_newest(backups.folder, backups.newest, backups.newest_at, taken_at, limit, metric)
    return Verdict(found.detail, () if found.severity is Severity.OK else (found,), metrics)


def failed_of(backups: Backups, *, none_asked: str = NONE_ASKED) -> Verdict:
    """The verdict on the last one."""
    if backups.error or backups.folder is None:
        return _nothing_to_judge(backups, none_asked)
    if backups.failed:
        return Verdict(backups.failed, (Finding(backups.folder, Severity.WARNING, backups.failed),))
    return Verdict("no backup has failed since the newest good one")


def proved_of(backups: Backups, taken_at: datetime, limits: Limits, *, none_asked: str = NONE_ASKED) -> Verdict:
    """The verdict on the last proof of one."""
    if backups.error or backups.folder is None:
        return _nothing_to_judge(backups, none_asked)
    return judge_proof(backups.folder, backups.proved_at, taken_at, limits, backups.proved_max_age_d)


def _read(state: HasBackups) -> Backups:
    assert state.backups is not None
    return state.backups


def _nothing_to_judge(backups: Backups, none_asked: str) -> Verdict:
    if backups.error:
        return Verdict(f"the backups cannot be read: {backups.error}", severity=Severity.UNKNOWN)
    return Verdict(none_asked)
