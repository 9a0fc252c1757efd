"""Backups of any component, in one vocabulary: what was kept, when, how it ended, who holds it, whether it was proved.

The records are kept beside the data that they describe, never on the machine that made them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step
from bdops.core.retention import Backup

Status = Literal["complete", "partial", "failed", "running"]
"""`partial`: not all that was asked for; it counts only where that was allowed when it was made."""

CREATE, DELETE, MARK, RESTORE = "snapshot-create", "snapshot-delete", "snapshot-mark", "snapshot-restore"
DRILL, COMPARE, CLEAN_UP = "drill-restore", "drill-compare", "drill-clean-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """One backup. `destination` is where it is (a repository, a directory); `what` names what is in it.

    `state` is the state of the cluster that it was taken from (a zxid, a cluster UUID, an image's transaction id).
    `hold` is why it is held; `proved_at` when a restore of it was last proved, `proof` how.
    """

    id: str
    destination: str
    what: tuple[str, ...]
    taken_at: datetime
    status: Status
    partial_allowed: bool = False
    size_bytes: int | None = None
    duration_s: float | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None
    reason: str | None = None
    error: str | None = None
    hold: str | None = None
    needed: str | None = None
    proved_at: datetime | None = None
    proof: str | None = None

    @property
    def good(self) -> bool:
        """Whether it counts: FAILED never does, PARTIAL only where that was allowed."""
        return self.status == "complete" or (self.status == "partial" and self.partial_allowed)

    def for_retention(self) -> Backup:
        return Backup(
            id=self.id,
            taken_at=self.taken_at,
            good=self.good,
            proved=self.proved_at is not None,
            hold=self.hold,
            needed=self.needed or ("it is being made" if self.status == "running" else None),
        )


def newest_good(records: Iterable[BackupRecord]) -> BackupRecord | None:
    return max((r for r in records if r.good), key=lambda r: (r.taken_at, r.id), default=None)


def newest_proved(records: Iterable[BackupRecord]) -> BackupRecord | None:
    """The one whose last proof is the newest."""
    proved = [(r.proved_at, r.id, r) for r in records if r.good and r.proved_at is not None]
    return max(proved, key=lambda p: p[:2])[2] if proved else None


def marked(record: BackupRecord | None, wanted: Mapping[str, Any]) -> Progress:
    """Whether a mark (a hold, its end, a need, its end, a proof) is noted. One of a backup that is gone need not be."""
    if record is None:
        return DONE
    if wanted["kind"] == "hold":
        return DONE if (record.hold or "") == wanted.get("reason", "") else pending("the hold to be noted")
    if wanted["kind"] == "needed":
        return DONE if (record.needed or "") == wanted.get("why", "") else pending("what needs it to be noted")
    noted = record.proved_at is not None and record.proved_at >= datetime.fromisoformat(wanted["at"])
    return DONE if noted else pending("the proof to be noted")


class Vault(Protocol):
    """One deployment's backups in one destination, and the acts of jobs that change them."""

    @property
    def destination(self) -> str:
        """Where they are, as steps name it."""
        ...

    def records(self) -> tuple[BackupRecord, ...]:
        """All of them, in any order. Raises BdopsError when they cannot be read."""
        ...

    def progress(self, step: Step, act: str) -> Progress:
        """Whether one of the acts has had its effect, by a fresh reading. It is asked before the act too."""
        ...

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """Carry out one of the acts. It must be safe to do again: a killed job repeats it. Raises BdopsError."""
        ...

    def abandon(self, step: Step) -> None:
        """The job is closed with this step half done: remove what a drill has restored. Raises BdopsError."""
        ...


def backup_acts(acts: Sequence[str]) -> bool:
    """Whether a step is one of a vault."""
    return any(act in (CREATE, DELETE, MARK, RESTORE, DRILL, COMPARE, CLEAN_UP) for act in acts)
