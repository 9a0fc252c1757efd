"""What every test of faults ends with, however it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs


@pytest.fixture(autouse=True)
def no_job_stays_open(lab: Lab, bdops: Bdops) -> Iterator[None]:
    """A job that a failed test leaves open would fail the next ones."""
    yield
    jobs.abort_open(lab, bdops)
