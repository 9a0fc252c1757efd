"""Files that are whole or not there: under errors, under a kill, and where something else has the name."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from bdops.files import creating, partial_of, replacing

Write = Callable[[Path], AbstractContextManager[BinaryIO]]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("write", [replacing, creating])
def test_it_has_its_name_when_it_is_whole_and_is_its_owners_alone(write: Write, tmp_path: Path) -> None:
    place = tmp_path / "one"
    with write(place) as file:
        file.write(b"half, ")
        assert not place.exists()
        file.write(b"whole")
    assert place.read_bytes() == b"half, whole"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("mode", [0o640, 0o755])
def test_a_mode_is_had_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    with replacing(tmp_path / "one", mode) as file:
        file.write(b"new")
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"old")

    def write() -> None:
        with replacing(tmp_path / "one") as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ["one"]
    assert (tmp_path / "one").read_bytes() == b"old"


def test_one_that_is_killed_leaves_what_was_there_and_a_file_that_is_known(tmp_path: Path) -> None:
    place = tmp_path / "one.json"
    place.write_bytes(b"old")
    if (pid := os.fork()) == 0:
        with replacing(place) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert place.read_bytes() == b"old"
    (left,) = set(names(tmp_path)) - {"one.json"}
    assert partial_of(left) == "one.json"
    with replacing(place) as file:
        file.write(b"new")
    assert place.read_bytes() == b"new"


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "one").symlink_to(tmp_path / "other")
    with replacing(tmp_path / "one") as file:
        file.write(b"new")
    assert (tmp_path / "other").read_bytes() == b"other"
    assert not (tmp_path / "one").is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_replaced(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "one")
    before = (tmp_path / "one").stat().st_mode
    with pytest.raises(OSError, match=r"no file|directory"), replacing(tmp_path / "one") as file:
        file.write(b"new")
    assert (tmp_path / "one").stat().st_mode == before
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("write", [replacing, creating])
def test_where_output_goes_is_not_replaced(write: Write, tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/proc/self/fd/0")
    (tmp_path / "fd").symlink_to("/proc/self/fd")
    for path in (tmp_path / "stdout", tmp_path / "fd" / "0"):
        with pytest.raises(OSError, match="no file"), write(path) as file:
            file.write(b"new")
    assert (tmp_path / "stdout").is_symlink()
    assert names(tmp_path) == ["fd", "stdout"]


def test_a_new_one_never_takes_the_place_of_one_that_came_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "one"

    def write() -> None:
        with creating(place) as file:
            file.write(b"ours")
            place.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write()
    assert place.read_bytes() == b"theirs"
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_a_name_may_be_as_long_as_names_are(name: str, tmp_path: Path) -> None:
    with replacing(tmp_path / name) as file:
        file.write(b"new")
        assert partial_of(*(set(names(tmp_path))))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "of"),
    [
        (".one.metadata.gz.0123456789ab.partial", "one.metadata.gz"),
        (".one.partial", None),
        ("one.0123456789ab.partial", None),
        (".0123456789ab.partial", None),
        ("one.metadata", None),
    ],
)
def test_what_is_being_written_is_known_by_its_name(name: str, of: str | None) -> None:
    assert partial_of(name) == of
