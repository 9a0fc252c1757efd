"""The one command that tells everything of a host: run by the real sh of this machine, and read back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bdops.components.host.script import HostAnswer, host_script, parse_answer
from bdops.core.model import Service
from bdops.hosts.services import status_questions


def run(data_dirs: Sequence[str], services: dict[str, Service] | None = None) -> HostAnswer:
    questions = status_questions(services or {})
    script = host_script(data_dirs, questions)
    done = subprocess.run(
        ["sh", "-c", script], input="unwanted", capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return parse_answer(done.stdout, data_dirs, questions)


def command(*argv: str) -> Service:
    return Service(manager="commands", status=argv)


def test_the_clock_is_this_machines() -> None:
    answer = run([])
    assert answer.clock_s is not None
    assert abs(answer.clock_s - time.time()) < 5


def test_a_directory_is_told_with_its_filesystem(tmp_path: Path) -> None:
    (d,) = run([str(tmp_path)]).data_dirs
    stat = subprocess.run(["stat", "-f", "-c", "%b %S", str(tmp_path)], capture_output=True, text=True, check=True)
    blocks, block_bytes = map(int, stat.stdout.split())
    assert d.exists
    assert d.mount is not None
    assert tmp_path.is_relative_to(d.mount)
    assert d.size_bytes is not None
    assert abs(d.size_bytes - blocks * block_bytes) <= 1024
    assert d.used_bytes is not None
    assert 0 < d.used_bytes < d.size_bytes


def test_a_directory_that_is_not_there_is_told_as_missing() -> None:
    (d,) = run(["/no/such/dir"]).data_dirs
    assert (d.path, d.exists, d.size_bytes) == ("/no/such/dir", False, None)


@pytest.mark.parametrize("name", ["with space", "quote'd", "$(touch oops)", "-rf", "new\nline", "ünï", "@exit 1"])
def test_names_are_never_taken_for_shell_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    (d,) = run([str(path)]).data_dirs
    assert d.exists
    assert d.size_bytes is not None
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_services_are_told_by_the_exit_status_and_the_words_of_their_commands() -> None:
    answer = run(
        [],
        {
            "up": command("true"),
            "down": command("sh", "-c", "echo not running >&2; exit 3"),
            "nowhere": command("/no/such/command"),
        },
    )
    told = {s.instance: (s.state, s.detail) for s in answer.services}
    assert told["up"] == ("running", "the status command exits 0")
    assert told["down"] == ("stopped", "the status command exits 3: not running")
    assert told["nowhere"][0] == "unknown"
    assert "not found" in told["nowhere"][1]


def test_a_command_that_reads_its_input_gets_none() -> None:
    (service,) = run([], {"i": command("cat")}).services
    assert (service.state, service.detail) == ("running", "the status command exits 0")


def test_what_the_output_lacks_is_unknown() -> None:
    questions = status_questions({"i": command("true")})
    whole = "@clock\n1700000000.25\n@dir 0\n@bytes\nhead\n/dev/x 100 50 40 56% /data\n@service 0\n@exit 0\n"
    answer = parse_answer(whole, ["/data/a", "/data/b"], questions)
    assert answer.clock_s == 1700000000.25
    assert [d.path for d in answer.data_dirs] == ["/data/a"]
    assert answer.data_dirs[0].available_bytes == 40 * 1024
    cut = parse_answer(whole[: whole.index("@exit")], ["/data/a"], questions)
    assert [s.state for s in cut.services] == ["unknown"]
    nothing = parse_answer("", ["/data/a"], questions)
    assert (nothing.clock_s, nothing.data_dirs) == (None, ())


def test_a_clock_of_whole_seconds_is_known_to_half_a_second() -> None:
    answer = parse_answer("@clock\n1700000000.N\n", [], [])
    assert (answer.clock_s, answer.clock_resolution_s) == (1700000000.5, 0.5)


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("/dev/sda1 1000 600 350 64% /data", (1000, 600, 350)),
        ("host:/a b 1000 600 350 64% /mnt/a b", (1000, 600, 350)),
        ("overlay 1000 600 -5 101% /", (1000, 600, 0)),
        ("proc - - - - /proc", (None, None, None)),
        ("df: cannot read", (None, None, None)),
    ],
)
def test_lines_of_df(line: str, numbers: tuple[int | None, ...]) -> None:
    output = f"@clock\n1\n@dir 0\n@bytes\nFilesystem 1024-blocks Used Available Capacity Mounted on\n{line}\n@inodes\n"
    (d,) = parse_answer(output, ["/x"], []).data_dirs
    seen = (d.size_bytes, d.used_bytes, d.available_bytes)
    assert seen == tuple(None if n is None else n * 1024 for n in numbers)


def test_a_filesystem_that_makes_inodes_as_it_goes_has_no_limit_of_them() -> None:
    output = "@clock\n1\n@dir 0\n@bytes\nh\nd 10 5 5 50% /x\n@inodes\nh\nd 0 0 0 - /x\n"
    (d,) = parse_answer(output, ["/x"], []).data_dirs
    assert (d.inodes, d.inodes_used, d.size_bytes) == (None, None, 10240)
