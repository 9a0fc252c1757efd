"""A throw-away server is found by its folder alone, and nothing else is ever taken for it. Real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdops.components import throwaway
from bdops.errors import ConfigError, OperationFailed

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


class Context:
    """What a job's engine does with an act that waits."""

    timeout_s = 60.0

    def __init__(self) -> None:
        self.told: list[str] = []

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def waiting(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "drill"
    folder.mkdir()
    yield folder
    throwaway.remove(folder)


def argv(folder: Path, code: str) -> list[str]:
    return [sys.executable, "-c", code, throwaway.marker(folder)]


def test_it_is_seen_as_soon_as_it_was_started_and_gone_after_its_end(folder: Path) -> None:
    child = throwaway.launch(folder, argv(folder, SLEEP))
    assert throwaway.processes(folder) == [child.pid]
    assert not throwaway.removed(folder).done
    throwaway.remove(folder)
    assert throwaway.removed(folder).done
    assert child.wait(10) == -signal.SIGTERM
    throwaway.remove(folder)


def test_one_that_does_not_end_by_itself_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "END_S", 0.5)
    child = throwaway.launch(folder, argv(folder, STUBBORN))
    while "up" not in throwaway.log_tail(folder):
        time.sleep(0.02)
    throwaway.remove(folder)
    assert child.wait(10) == -signal.SIGKILL


def test_a_neighbour_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """Another drill whose folder's name begins alike, and a command that merely speaks of this one."""
    other = tmp_path / "drill-2"
    other.mkdir()
    child = throwaway.launch(other, argv(other, SLEEP))
    speaks = subprocess.Popen([sys.executable, "-c", SLEEP, f"tail {throwaway.marker(folder)}"])
    try:
        assert throwaway.processes(folder) == []
        throwaway.remove(folder)
        assert child.poll() is None
        assert speaks.poll() is None
    finally:
        speaks.kill()
        speaks.wait()
        throwaway.remove(other)


def test_one_that_serves_is_waited_for(folder: Path) -> None:
    throwaway.launch(folder, argv(folder, "import time; time.sleep(0.3); print('up', flush=True); time.sleep(600)"))
    context = Context()
    throwaway.await_serving(
        folder,
        lambda: "up" in throwaway.log_tail(folder),
        context,  # type: ignore[arg-type]
        what="it",
        timeout_s=60,
        hint="",
    )
    assert "it to serve" in context.told


@pytest.mark.parametrize(
    ("code", "timeout_s", "says"),
    [
        ("raise SystemExit('the disk is full')", 60.0, "ended; its log says: the disk is full"),
        (SLEEP, 0.5, "after 0 s"),
    ],
)
def test_one_that_does_not_serve_is_named_with_the_end_of_its_log(
    code: str, timeout_s: float, says: str, folder: Path
) -> None:
    throwaway.launch(folder, argv(folder, code))
    with pytest.raises(OperationFailed) as raised:
        throwaway.await_serving(
            folder,
            lambda: False,
            Context(),  # type: ignore[arg-type]
            what="it",
            timeout_s=timeout_s,
            hint="",
        )
    assert raised.value.code == "DRILL_NO_START"
    assert says in raised.value.message


def test_a_program_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-java"):
        throwaway.launch(folder, ["no-such-java", throwaway.marker(folder)])
