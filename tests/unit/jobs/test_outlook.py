from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bdops.core.plan import Plan, Step
from bdops.jobs.fold import JobState, fold
from bdops.jobs.journal import Journal
from bdops.jobs.outlook import OpenJobs, Outlook, outlook
from bdops.jobs.store import Job, JobStore

AT = "2026-03-01T12:00:00+00:00"
STEPS = [Step(id=f"s{n}", component="zk", name=f"node{n}", acts=("restart",), role="server") for n in range(1, 6)]
PLAN = Plan(
    command="zk restart",
    cluster="prod",
    made_at=AT,
    by="ops",
    waves=((STEPS[0],), (STEPS[1], STEPS[2]), (STEPS[3], STEPS[4])),
)


def state(*done: tuple[str, float], in_hand: str | None = None) -> JobState:
    events: list[dict[str, object]] = [{"event": "started", "at": AT, "by": "ops"}]
    for step, seconds in done:
        events += [{"event": "step_started", "at": AT, "step": step}]
        events += [{"event": "step_done", "at": AT, "step": step, "seconds": seconds}]
    if in_hand:
        events += [{"event": "step_started", "at": AT, "step": in_hand}]
        events += [{"event": "act_announced", "at": AT, "step": in_hand, "act": "restart", "attempt": 1}]
    return fold(events)


def test_before_anything_was_measured_nobody_knows_how_long_it_takes() -> None:
    found = outlook("j", PLAN, state(), "running")
    assert (found.wave, found.waves, found.done, found.steps, found.left_s) == (1, 3, 0, 5, None)


def test_the_rest_is_a_step_s_time_for_each_wave_that_is_left() -> None:
    found = outlook("j", PLAN, state(("s1", 60), ("s2", 100), in_hand="s3"), "running")
    assert (found.wave, found.done, found.in_hand) == (2, 2, ("node3: restart",))
    assert found.left_s == 2 * 80


def test_at_the_end_nothing_is_left() -> None:
    found = outlook("j", PLAN, state(*((s.id, 10.0) for s in STEPS)), "done")
    assert (found.wave, found.done, found.left_s, found.in_hand) == (3, 5, 0, ())


def test_what_is_for_a_failure_counts_when_it_comes_to_that() -> None:
    mail = Step(id="s9", component="zk", name="mail", acts=("run",), role="on failure", phase="failure")
    plan = replace(PLAN, waves=(*PLAN.waves, (mail,)))
    found = outlook("j", plan, state(*((s.id, 10.0) for s in STEPS)), "running")
    assert (found.wave, found.waves, found.done, found.steps, found.left_s) == (3, 3, 5, 5, 0)
    found = outlook("j", plan, state(("s1", 60), in_hand="s9"), "running")
    assert (found.waves, found.steps) == (4, 6)


def a_job(store: JobStore, *events: str) -> Job:
    job = store.create(PLAN)
    note(job, *events)
    return job


def note(job: Job, *events: str) -> None:
    journal = Journal(job.journal_path)
    for event in events:
        journal.append(event, by="ops", step="s1", why="")
    journal.close()


def spoil(job: Job) -> None:
    """Other bytes of the same size and age: whoever reads them again falls over them."""
    found = job.journal_path.stat()
    job.journal_path.write_bytes(b"x" * found.st_size)
    os.utime(job.journal_path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_journal_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    jobs = OpenJobs(JobStore(tmp_path))
    over, paused = a_job(JobStore(tmp_path), "started", "done"), a_job(JobStore(tmp_path), "started", "paused")
    (first,) = jobs.newest()
    assert isinstance(first, Outlook)
    assert (first.job, first.status) == (paused.id, "paused")
    spoil(over)
    spoil(paused)
    assert list(jobs.newest()) == [first]


def test_what_a_job_has_done_since_is_seen_and_so_is_its_end(tmp_path: Path) -> None:
    jobs = OpenJobs(JobStore(tmp_path))
    job = a_job(JobStore(tmp_path), "started", "step_started")
    assert [o.done for o in jobs.newest() if isinstance(o, Outlook)] == [0]
    note(job, "step_done")
    assert [o.done for o in jobs.newest() if isinstance(o, Outlook)] == [1]
    note(job, "done")
    assert list(jobs.newest()) == []


def test_a_journal_that_cannot_be_read_is_told_every_time(tmp_path: Path) -> None:
    jobs = OpenJobs(JobStore(tmp_path))
    job = a_job(JobStore(tmp_path), "started", "paused")
    job.journal_path.write_bytes(b"x\n" + job.journal_path.read_bytes())
    for _ in range(2):
        ((found, error),) = (o for o in jobs.newest() if isinstance(o, tuple))
        assert (found, error.code) == (job, "JOURNAL_DAMAGED")
