"""The command lines of distcp that bdops prints, and those that it runs for much data, done by Hadoop's own DistCp."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bdops.components.hdfs.snapshot import calls, copying
from bdops.components.hdfs.snapshot.copying import LARGE_BYTES
from bdops.lab import hdfs, hdfs_web, jars
from bdops.lab.hdfs_config import USER
from bdops.lab.hdfs_faults import active as on_active
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.hdfs_trees import by_hand, read, remove, take_snapshot

pytestmark = [pytest.mark.lab("hdfs"), pytest.mark.thorough, pytest.mark.timeout(600)]

SOURCE, TARGET, BESIDE = "/distcp-from", "/distcp-to", "/distcp-beside"
MADE = (SOURCE, TARGET, BESIDE, "/tmp/hadoop")
"""The last is where a job of MapReduce in one process keeps its files."""
FILES = {"a/one": b"1" * 3_000_000, "a/two": b"2" * 1000, "b/three": b"3" * 1000, "b/odd [1]*{x} c": b"odd"}
ARTIFACTS = tuple(
    f"org.apache.hadoop:{name}:{hdfs.VERSION}" for name in ("hadoop-distcp", "hadoop-mapreduce-client-jobclient")
)
Hadoop = Callable[[str], str]


@pytest.fixture
def directories(lab: Lab) -> Iterator[None]:
    remove(lab, *MADE)
    for path, data in FILES.items():
        hdfs_web.write(lab, f"{SOURCE}/{path}", data)
    on_active(lab, lambda n: calls.make_directory(n, TARGET, mode=0o755))
    for root in (SOURCE, TARGET):
        on_active(lab, lambda n, r=root: calls.allow_snapshots(n, r))  # type: ignore[misc]
    yield
    remove(lab, *MADE)


@pytest.fixture(scope="module")
def hadoop(lab: Lab) -> Hadoop:
    """Runs a line as a person does on a host; the job of `hadoop distcp` runs in its own process, without YARN."""
    folder = jars.resolve("distcp", ARTIFACTS, cache=lab.cache, say=print)
    argv = hdfs.argv(lab, "node4", heap_mb=256, main="org.apache.hadoop.tools.DistCp")
    argv[argv.index("-cp") + 1] += f":{jars.class_path(folder)}"
    program = lab.folder / "distcp" / "hadoop"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\n[ "$1" = distcp ] || exit 2\nshift\nexec {shlex.join(argv)} "$@"\n')
    program.chmod(0o755)

    return lambda line: by_hand(program, line, HADOOP_USER_NAME=USER)


def content(lab: Lab, root: str) -> dict[str, bytes]:
    """All files below a directory, by their paths in it."""
    found: dict[str, bytes] = {}

    def walk(path: str) -> None:
        for name, entry in on_active(lab, lambda n: list(calls.entries_of(n, path))):
            full = f"{path}/{name.decode()}"
            if entry.kind == "dir":
                walk(full)
            else:
                found[full.removeprefix(f"{root}/")] = read(lab, full)

    walk(root)
    return found


def test_the_planned_lines_copy_a_snapshot_and_then_what_changed(
    lab: Lab, bdops: Bdops, directories: None, hadoop: Hadoop
) -> None:
    def planned() -> Any:
        done = bdops("hdfs", "snapshot", "distcp", f"hdfs://lab{TARGET}", "--destination", SOURCE, "-o", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.json["data"]["command"]

    take_snapshot(lab, SOURCE, "one")
    hadoop(planned())
    assert content(lab, TARGET) == FILES
    take_snapshot(lab, TARGET, "one")
    hdfs_web.write(lab, f"{SOURCE}/b/three", b"changed")
    hdfs_web.write(lab, f"{SOURCE}/c/new", b"new")
    on_active(lab, lambda n: calls.delete_path(n, f"{SOURCE}/a/two"))
    on_active(lab, lambda n: calls.rename_path(n, f"{SOURCE}/a/one", f"{SOURCE}/b/moved"))
    take_snapshot(lab, SOURCE, "two")
    command = planned()
    assert "-diff one two" in command
    said = hadoop(command)
    assert content(lab, TARGET) == content(lab, SOURCE) != FILES
    copied = next(line for line in said.splitlines() if "Bytes Copied" in line)
    assert int(copied.split("=")[1]) < 1000, "what was renamed is not copied again"


def test_what_is_much_is_copied_as_what_is_little(lab: Lab, directories: None, hadoop: Hadoop) -> None:
    take_snapshot(lab, SOURCE, "one")
    sources = [f"{SOURCE}/.snapshot/one/{path}" for path in ("a", "b/three", "b/odd [1]*{x} c")]
    on_active(lab, lambda n: calls.make_directory(n, BESIDE, mode=0o755))
    argv = copying.copy_argv("hadoop", USER, "lab", sources, BESIDE, size_bytes=LARGE_BYTES + 1)
    assert "distcp" in argv
    hadoop(shlex.join(argv))
    assert content(lab, BESIDE) == {p.removeprefix("b/"): data for p, data in FILES.items()}
