"""The journal: what is on the disk is whole, and what does not fit on it is an error before the act."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bdops.errors import ConfigError, OperationFailed
from bdops.jobs.fold import fold
from bdops.jobs.journal import Journal, read_journal


def test_events_are_numbered_private_and_there_for_the_next_reader(tmp_path: Path) -> None:
    seen = []
    journal = Journal(tmp_path / "journal.jsonl", seen.append)
    journal.append("started", by="ops@admin1")
    journal.append("done")
    assert [(e["n"], e["event"]) for e in read_journal(journal.path)] == [(1, "started"), (2, "done")]
    assert seen == read_journal(journal.path)
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("started", by="x")
    with path.open("ab") as file:
        file.write(b'{"n":2,"event":"act_annou')
    assert [e["event"] for e in read_journal(path)] == ["started"]
    Journal(path).append("done")
    assert [(e["n"], e["event"]) for e in read_journal(path)] == [(1, "started"), (2, "done")]


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"n":7,"event":"done"}\n', b"[]\n", b'{"n":2,"event":1}\n'])
def test_a_damaged_line_is_an_error_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("started", by="x")
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(ConfigError) as error:
        read_journal(path)
    assert error.value.where == f"{path}:2"


FILL = """
import resource, sys
from pathlib import Path
from bdops.errors import OperationFailed
from bdops.jobs.journal import Journal
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    while True:
        journal.append("said", step="0001", text="x" * 300)
except OperationFailed as e:
    print(e.code)
"""


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert done.stdout.strip() == "JOURNAL_UNWRITABLE", done.stderr
    assert path.read_bytes().endswith(b"}\n")
    assert all(json.loads(line)["event"] == "said" for line in path.read_text().splitlines())
    Journal(path).append("done")
    assert read_journal(path)[-1]["event"] == "done"


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed) as error:
        Journal(tmp_path / "absent" / "journal.jsonl")
    assert error.value.code == "JOURNAL_UNWRITABLE"


def event(kind: str, **fields: object) -> dict[str, object]:
    return {"n": 0, "at": "2026-12-01T18:00:00.000+00:00", "event": kind, **fields}


LOAN = {"component": "es", "object": "cluster", "key": "persistent/x", "previous": None, "value": "primaries"}


def test_a_loan_is_open_until_it_is_restored_and_keeps_the_first_previous_value() -> None:
    events = [
        event("borrowed", step="0001", **LOAN),
        event("borrowed", step="0002", **{**LOAN, "previous": "primaries"}),
        event("given_back", step="0001", **LOAN),
    ]
    state = fold(events)
    (loan,) = state.open_loans
    assert loan.holders == {"0002"}
    assert loan.borrowed.previous is None
    state.apply(event("restored", **LOAN))
    assert not state.open_loans
    state.apply(event("borrowed", step="0003", **{**LOAN, "previous": "all"}))
    assert state.open_loans[0].borrowed.previous == "all"


def test_a_step_is_done_only_when_the_journal_says_so() -> None:
    events = [
        event("started", by="ops"),
        event("step_started", step="0001", instance="prod/zk/node1"),
        event("act_announced", step="0001", act="restart", attempt=1),
        event("verified", step="0001", act="restart"),
    ]
    state = fold(events)
    assert state.status == "running"
    assert not state.step("0001").done
    assert state.has_acted
    state.apply(event("step_done", step="0001", instance="prod/zk/node1", seconds=3.5, left_down=False))
    assert state.step("0001").done
    assert state.step("0001").seconds == 3.5


def test_what_a_job_stopped_is_remembered_until_it_is_started() -> None:
    state = fold([event("step_done", step="0001", instance="prod/zk/node1", seconds=1, left_down=True)])
    assert state.stopped == {"prod/zk/node1"}
    state.apply(event("step_done", step="0002", instance="prod/zk/node1", seconds=1, left_down=False))
    assert not state.stopped


@pytest.mark.parametrize("status", ["paused", "aborted", "done"])
def test_a_resumed_job_runs_again(status: str) -> None:
    state = fold([event("started", by="a"), event(status, why="x", code="Y"), event("started", by="b")])
    assert (state.status, state.runs, state.by, state.why) == ("running", 2, "b", None)
