"""Where jobs are kept: a folder each, with the plan and the journal, in the user's state folder.

Only the process that holds a job's lock may write to it: the lock goes with the process, however that ends.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bdops.core.plan import Plan, dump_plan, load_plan
from bdops.errors import BdopsError, ConfigError, ExitCode, OperationFailed, UsageError
from bdops.files import replacing
from bdops.jobs.fold import JobState, fold
from bdops.jobs.journal import read_journal


class JobRunning(BdopsError):
    """Another process carries the job out."""

    exit_code = ExitCode.LEASE_HELD
    default_code = "JOB_RUNNING"


@dataclass(frozen=True, slots=True)
class Job:
    """A job's folder. Its name is its id: when it was made, what it does, and a random end."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def journal_path(self) -> Path:
        return self.folder / "journal.jsonl"

    def plan(self) -> Plan:
        """Raises ConfigError when the file is missing or is no plan."""
        path = self.folder / "plan.json"
        try:
            return load_plan(path.read_text())
        except (OSError, ValueError) as e:
            raise ConfigError(f"the job's plan cannot be read: {e}", where=str(path), code="PLAN_INVALID") from None

    def state(self) -> JobState:
        """What the journal says now."""
        return fold(read_journal(self.journal_path))

    def children(self) -> list[Job]:
        """The jobs that steps of this one are (a playbook's), the newest first."""
        return JobStore(self.folder).jobs()

    def leave_wish(self, name: str, value: str) -> None:
        """Ask something of the job, whoever carries it out: it looks for `core.actor.ActContext.wish` now and then."""
        with replacing(self.folder / name) as file:
            file.write(value.encode())

    def is_over(self) -> bool:
        """Whether nothing is left to resume. One whose journal is damaged is not over: nobody knows what it left."""
        try:
            return self.state().is_over
        except ConfigError:
            return False

    def discard_unstarted(self) -> bool:
        """Remove the folder of a job that was never begun; False when it was."""
        if self.journal_path.exists() and read_journal(self.journal_path):
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def is_running(self) -> bool:
        """Whether a live process holds the job's lock."""
        try:
            with self.locked():
                return False
        except JobRunning:
            return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the job's lock. Raises JobRunning when another process does."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise JobRunning(
                f"job {self.id} is being carried out by another process", hint=f"bdops jobs follow {self.id}"
            ) from None
        try:
            yield
        finally:
            lock.release()


class JobStore:
    """All jobs of this user, in a folder made at the first job."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "jobs"

    def create(self, plan: Plan) -> Job:
        """Write a plan down as a new job. Raises OperationFailed when that fails."""
        words = re.sub(r"[^a-z0-9]+", "-", plan.command.lower()).strip("-")
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{words}-{secrets.token_hex(3)}"
        folder = self.folder / name
        try:
            folder.mkdir(mode=0o700, parents=True)
            with replacing(folder / "plan.json") as file:
                file.write(dump_plan(plan).encode())
        except OSError as e:
            raise OperationFailed(
                f"the job cannot be written down: {e.strerror}; nothing was done",
                where=str(folder),
                hint="make room, or set BDOPS_STATE_DIR to another folder",
                code="JOURNAL_UNWRITABLE",
            ) from None
        return Job(folder)

    def jobs(self) -> list[Job]:
        """The newest first."""
        if not self.folder.is_dir():
            return []
        return [Job(f) for f in sorted(self.folder.iterdir(), reverse=True) if (f / "plan.json").exists()]

    def children(self, name: str) -> list[tuple[Job, Job]]:
        """The jobs of steps (a playbook's) with that id, or that in it, each with the job whose step it is."""
        found = [(child, job) for job in self.jobs() for child in job.children() if name in child.id]
        return [pair for pair in found if pair[0].id == name] or found

    def look_up(self, name: str | None) -> Job:
        """As `find`, for whoever only looks: the job of a step too."""
        children = self.children(name) if name and not any(name in j.id for j in self.jobs()) else []
        return children[0][0] if len(children) == 1 else self.find(name)

    def find(self, name: str | None) -> Job:
        """A job by its id or an unambiguous part of it; without one, the only job that can be resumed.

        Raises UsageError when none or several match.
        """
        jobs = self.jobs()
        if name:
            found = [j for j in jobs if j.id == name] or [j for j in jobs if name in j.id]
            if len(found) == 1:
                return found[0]
            if not found and (steps := self.children(name)):
                child, parent = steps[0]
                raise UsageError(
                    f"job {child.id} is a step of job {parent.id}, and goes on, or ends, with that one",
                    hint=f"bdops jobs show {child.id}, or the same with {parent.id}",
                    code="JOB_UNKNOWN",
                )
            what = "no job" if not found else f"{len(found)} jobs: {', '.join(j.id for j in found[:5])}"
            raise UsageError(f"{name!r} names {what}", hint="bdops jobs list", code="JOB_UNKNOWN")
        open_jobs = [j for j in jobs if not j.is_over()]
        if len(open_jobs) == 1:
            return open_jobs[0]
        if not open_jobs:
            raise UsageError("no job is paused or interrupted", hint="bdops jobs list", code="JOB_UNKNOWN")
        raise UsageError(
            f"{len(open_jobs)} jobs can be resumed: {', '.join(j.id for j in open_jobs[:5])}",
            hint="name one: bdops jobs resume JOB",
            code="JOB_UNKNOWN",
        )
