"""Jobs by their names, and the jobs of a playbook's steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdops.core.plan import Plan, Step
from bdops.errors import UsageError
from bdops.jobs.store import Job, JobStore


def plan(command: str) -> Plan:
    step = Step(id="s1", component="zk", name="prod/zk/node1", acts=("restart",))
    return Plan(command=command, cluster="prod", made_at="2026-03-01T12:00:00+00:00", by="ops", waves=((step,),))


@pytest.fixture
def family(tmp_path: Path) -> tuple[JobStore, Job, Job]:
    """A playbook's job and the job of its one step."""
    store = JobStore(tmp_path)
    parent = store.create(plan("run nightly"))
    return store, parent, JobStore(parent.folder).create(plan("zk snapshot create"))


def test_the_job_of_a_step_can_be_looked_at_by_its_id_or_a_part_of_it(family: tuple[JobStore, Job, Job]) -> None:
    store, parent, child = family
    assert store.look_up(child.id) == child
    assert store.look_up("zk-snapshot") == child
    assert store.look_up("nightly") == parent
    assert store.look_up(None) == parent


def test_what_acts_on_the_job_of_a_step_is_sent_to_its_playbook(family: tuple[JobStore, Job, Job]) -> None:
    store, parent, child = family
    with pytest.raises(UsageError, match=f"is a step of job {parent.id}") as refused:
        store.find(child.id)
    assert f"bdops jobs show {child.id}" in str(refused.value.hint)


def test_a_name_of_several_jobs_or_of_none_names_no_job(family: tuple[JobStore, Job, Job]) -> None:
    store, parent, _ = family
    JobStore(parent.folder).create(plan("zk snapshot drill"))
    for look in (store.look_up, store.find):
        with pytest.raises(UsageError):
            look("nothing")
    store.create(plan("run other"))
    with pytest.raises(UsageError, match="2 jobs"):
        store.look_up("run")
