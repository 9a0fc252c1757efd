"""The scripts behind detached acts, run as they are by the shells that hosts have."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from bdops.hosts import act_scripts
from bdops.hosts.acts import PIECE_BYTES, Answer, parse_act

DEADLINE_S = 30.0
T = TypeVar("T")


class Shell:
    """A host's shell and its tools; acts go to `work`."""

    def __init__(self, argv: list[str], work: Path, path: str) -> None:
        self.argv, self.work, self.path = argv, work, path

    def run(self, script: str, *words: str) -> bytes:
        done = subprocess.run(
            [*self.argv, "-c", script, "bdops-act", *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": self.path},
            timeout=60,
        )
        return done.stdout + done.stderr

    def start(self, act: str, *argv: str) -> str:
        return self.run(act_scripts.START, act_scripts.RUNNER, str(self.work), act, *argv).decode().strip()

    def read(self, act: str, first: int = 0) -> Answer:
        said = self.run(act_scripts.READ, str(self.work), act, str(first))
        found = parse_act(said)
        assert found, said
        return found

    def forget(self, act: str) -> None:
        assert self.run(act_scripts.FORGET, str(self.work), act) == b""

    def until(self, act: str, state: str) -> Answer:
        return eventually(lambda: self.read(act), lambda found: found[0] == state)

    def leader(self, act: str) -> int:
        return int(str((self.folder(act) / "pid").readlink()).split(":")[0])

    def folder(self, act: str) -> Path:
        return self.work / "acts" / act


def eventually(ask: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while not wanted(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def output(found: Answer) -> bytes:
    return b"".join(content for _, content in sorted(found[3]))


SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    program = shutil.which(request.param)
    assert program
    if request.param != "busybox":
        return Shell([program], tmp_path / "work", os.environ["PATH"])
    applets = tmp_path / "applets"
    applets.mkdir()
    names = "sh cat dd wc ln mv rm mkdir rmdir readlink sleep setsid tail head kill seq env true false printf cut"
    for name in names.split():
        (applets / name).symlink_to(program)
    return Shell([str(applets / "sh")], tmp_path / "work", str(applets))


def test_an_act_runs_to_its_end_and_leaves_status_and_output(shell: Shell) -> None:
    assert shell.start("a", "sh", "-c", "echo out; echo err >&2; exit 7") == "started"
    state, started, exit_status, _ = found = shell.until("a", "ended")
    assert (state, started, exit_status) == ("ended", True, 7)
    assert output(found) == b"out\nerr\n"


def test_words_arrive_as_they_are(shell: Shell) -> None:
    words = ["a b", "$HOME", "'", '"', "*", "; false", "-n", "ünï", ""]
    shell.start("a", "printf", "%s|", *words)
    assert output(shell.until("a", "ended")) == "".join(f"{w}|" for w in words).encode()


@pytest.mark.parametrize("name", ["keep", "publish", "exit", "no-such-program"])
def test_only_programs_are_run_and_no_words_of_the_shell(shell: Shell, name: str) -> None:
    shell.start("a", name, "3")
    assert shell.until("a", "ended")[2] == 127


def test_an_act_has_no_terminal_no_input_a_session_of_its_own_and_the_callers_umask(shell: Shell) -> None:
    shell.start("a", "/bin/sh", "-c", "umask; cat; cut -d' ' -f6,7 /proc/self/stat")
    umask, session = output(shell.until("a", "ended")).decode().splitlines()
    mine = os.umask(0o022)
    os.umask(mine)
    assert int(umask, 8) == mine
    sid, terminal = session.split()
    assert terminal == "0"
    assert int(sid) != os.getsid(0)
    assert int(sid) == shell.leader("a")


def test_an_act_can_be_interrupted_like_anything_else(shell: Shell) -> None:
    if shell.argv[0].endswith("applets/sh"):
        return  # Its setsid does not fork, and what its shell puts into the background ignores SIGINT.
    shell.start("a", "/bin/sh", "-c", "sed -n 's/^SigIgn:.//p' /proc/self/status")
    assert int(output(shell.until("a", "ended")), 16) & 1 << signal.SIGINT - 1 == 0


def test_what_runs_already_and_what_has_ended_is_not_run_again(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "log"
    act = ("sh", "-c", f"echo ran >>{log}; sleep 0.3")
    assert shell.start("a", *act) == "started"
    assert shell.start("a", *act) == "adopted"
    shell.until("a", "ended")
    assert shell.start("a", *act) == "adopted"
    assert log.read_text() == "ran\n"


def test_of_many_starts_at_once_one_runs(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: shell.start("a", "sh", "-c", f"echo ran >>{log}"), range(16)))
    assert sorted(said) == ["adopted"] * 15 + ["started"]
    shell.until("a", "ended")
    assert log.read_text() == "ran\n"


def test_a_folder_whose_act_never_began_is_told_and_can_be_started(shell: Shell) -> None:
    shell.folder("a").mkdir(parents=True)
    assert shell.read("a")[:3] == ("lost", False, None)
    assert shell.start("a", "true") == "started"
    assert shell.until("a", "ended")[:3] == ("ended", True, 0)


def test_one_that_may_have_begun_is_lost_and_never_run_again(shell: Shell, tmp_path: Path) -> None:
    (shell.folder("a") / "started").mkdir(parents=True)
    assert shell.read("a")[:3] == ("lost", True, None)
    assert shell.start("a", "touch", str(tmp_path / "ran")) == "adopted"
    assert shell.read("a")[0] == "lost"
    assert not (tmp_path / "ran").exists()


def test_an_act_that_was_killed_whole_is_lost(shell: Shell) -> None:
    shell.start("a", "sleep", "60")
    assert shell.read("a")[:2] == ("running", True)
    leader = shell.leader("a")
    session = [p for p in (int(d.name) for d in Path("/proc").iterdir() if d.name.isdigit()) if session_of(p) == leader]
    assert len(session) >= 3
    for pid in session:
        # Some end by themselves when another one of them has.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert shell.until("a", "lost")[1:3] == (True, None)


def test_an_act_whose_runner_alone_was_killed_still_runs_and_still_ends(shell: Shell) -> None:
    shell.start("a", "sh", "-c", "echo before; sleep 3; echo after")
    # Not before it has started the act's command: without one the act is lost, rightly.
    eventually(lambda: output(shell.read("a")), lambda said: said == b"before\n")
    os.kill(shell.leader("a"), signal.SIGKILL)
    assert shell.read("a")[:2] == ("running", True)
    found = shell.until("a", "ended")
    assert found[2] == 0
    assert output(found) == b"before\nafter\n"


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def test_all_that_an_act_has_started_gets_a_signal_and_nothing_else_does(shell: Shell, tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! >{tmp_path}/child; wait"
    for act in ("one", "other"):
        assert shell.start(act, "sh", "-c", script) == "started"
        eventually((tmp_path / "child").exists, bool)
        (tmp_path / "child").rename(tmp_path / act)
    assert shell.run(act_scripts.SIGNAL, str(shell.work), "one", "TERM") == b""
    assert eventually(lambda: shell.read("one"), lambda found: found[0] != "running")[0] in ("lost", "ended")
    child = int((tmp_path / "one").read_text())
    eventually(lambda: Path(f"/proc/{child}/stat").exists(), lambda there: not there)
    assert shell.read("other")[0] == "running"
    # The number of one that has ended may be another process' by now.
    pid = shell.folder("other") / "pid"
    true = str(pid.readlink())
    leader, ticks, boot = true.split(":")
    for points_to, name in ((f"{leader}:{int(ticks) + 1}:{boot}", "KILL"), (true, "0")):
        pid.unlink()
        pid.symlink_to(points_to)
        assert shell.run(act_scripts.SIGNAL, str(shell.work), "other", name) == b""
    assert {shell.read("other")[0] for _ in range(5)} == {"running"}
    os.killpg(int(leader), signal.SIGKILL)


def test_a_signal_shows_as_a_shell_shows_it(shell: Shell) -> None:
    shell.start("a", "sh", "-c", "kill -9 $$")
    assert shell.until("a", "ended")[2] == 128 + 9


def test_the_end_of_the_output_is_kept_and_bounded_on_the_host(shell: Shell) -> None:
    shell.start("a", "seq", "300000")
    found = shell.until("a", "ended")
    kept = output(found)
    assert kept.endswith(b"299999\n300000\n")
    assert PIECE_BYTES <= len(kept) < 3 * PIECE_BYTES
    whole = "".join(f"{n}\n" for n in range(1, 300001)).encode()
    first = min(first for first, _ in found[3])
    assert kept == whole[first:]
    assert output(shell.read("a", len(whole) - 10)) == whole[-10:]
    assert shell.read("a", len(whole))[3] == []


def test_a_child_that_keeps_the_output_open_neither_holds_up_the_end_nor_dies_of_it(
    shell: Shell, tmp_path: Path
) -> None:
    go, log = tmp_path / "go", tmp_path / "log"
    child = f"while [ ! -e {go} ]; do sleep 0.1; done; echo alive; echo alive && echo survived >{log}"
    shell.start("a", "sh", "-c", f"echo done; ({child}) & ")
    found = shell.until("a", "ended")
    assert (found[2], output(found)) == (0, b"done\n")
    shell.forget("a")
    go.touch()
    eventually(log.exists, bool)


def test_what_is_forgotten_leaves_nothing_behind(shell: Shell) -> None:
    for act in ("a", "b"):
        shell.start(act, "true")
        shell.until(act, "ended")
    shell.forget("a")
    assert shell.read("a")[:2] == ("absent", False)
    assert shell.folder("b").is_dir()
    shell.forget("b")
    assert not shell.work.exists()
    shell.forget("b")


def test_the_work_folder_is_ours_alone_and_stays_when_something_else_is_in_it(shell: Shell) -> None:
    shell.start("a", "true")
    shell.until("a", "ended")
    assert {p.stat().st_mode & 0o777 for p in (shell.work, shell.work / "acts", shell.folder("a"))} == {0o700}
    (shell.work / "lease").touch()
    shell.forget("a")
    assert [p.name for p in shell.work.iterdir()] == ["lease"]


def test_a_link_in_place_of_a_folder_is_not_followed(shell: Shell, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shell.work.symlink_to(elsewhere)
    assert shell.start("a", "true") == f"foreign {shell.work}"
    assert shell.run(act_scripts.READ, str(shell.work), "a", "0") == f"foreign {shell.work}\n".encode()
    shell.work.unlink()
    (shell.work / "acts").mkdir(parents=True)
    shell.folder("a").symlink_to(elsewhere)
    assert shell.start("a", "true") == f"foreign {shell.folder('a')}"
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(shell: Shell, tmp_path: Path) -> None:
    shell.work = tmp_path / "file" / "work"
    (tmp_path / "file").touch()
    said = shell.start("a", "true")
    assert said.startswith("failed: ")
    assert "file" in said


def test_a_piece_that_is_cut_short_ends_the_output() -> None:
    answer = b"@act running 1 \n@output 0 3\nabc\n@output 3 100\nde\n"
    assert parse_act(answer) == ("running", True, None, [(0, b"abc")])
    assert parse_act(b"/bin/false: no shell") is None
