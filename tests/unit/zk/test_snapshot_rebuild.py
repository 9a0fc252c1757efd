"""An ensemble that is made again: who may be overwritten, where its data is, and what clients have changed since."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bdops.components.zk import ensemble
from bdops.components.zk.snapshot import data_folders, rebuild
from bdops.components.zk.snapshot.data_folders import DataFolders, Found, folders_in, looked
from bdops.components.zk.snapshot.format import SnapshotReader
from bdops.components.zk.snapshot.rebuild import HAS_DATA, RUNS, UNKNOWN, Look, compare, rule_against
from bdops.hosts.processes import ServiceProcess
from bdops.hosts.services import ServiceStatus
from tests.unit.zk.kit import state_of
from tests.unit.zk.test_snapshot_format import node, written

STOPPED = ServiceProcess(ServiceStatus("stopped", "STOPPED"), None)
RUNNING = ServiceProcess(ServiceStatus("running", "RUNNING"), object())  # type: ignore[arg-type]
HIDDEN = ServiceProcess(ServiceStatus("unknown", "hidepid"), None)
PLACED, BEGUN = (Found(placed=True, aside=True),), (Found(aside=True),)


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (Look(process=STOPPED, serving=False, folders=(Found(files=9),)), None),
        (Look(process=RUNNING, serving=True, names=["zookeeper"]), None),
        (Look(process=RUNNING, serving=True, names=["config", "zookeeper"]), HAS_DATA),
        (Look(process=RUNNING, serving=True, names=["config", "zookeeper"], folders=BEGUN), HAS_DATA),
        (Look(process=RUNNING, serving=True, names=["config", "zookeeper"], folders=PLACED), None),
        (Look(process=RUNNING, serving=False), RUNS),
        (Look(process=RUNNING, serving=False, folders=BEGUN), None),
        (Look(process=RUNNING, serving=True), UNKNOWN),
        (Look(process=STOPPED, serving=True), UNKNOWN),
        (Look(process=HIDDEN, serving=False), UNKNOWN),
        (Look(process=STOPPED, error="no route"), UNKNOWN),
        (Look(), UNKNOWN),
    ],
)
def test_only_what_is_down_or_empty_or_ours_already_may_be_overwritten(one: Look, rule: str | None) -> None:
    assert rule_against(one) == rule


@pytest.mark.parametrize(
    ("text", "data", "log"),
    [
        ("clientPort=1\ndataDir=/a/version-2\ndataDirSize=6\ndataLogDir=/b/version-2\n", "/a", "/b"),
        ("# dataDir=/x\n dataDir = /a/ \n", "/a", "/a"),
        ("dataLogDir: /b\ndataDir: /a\n", "/a", "/b"),
    ],
)
def test_the_folders_are_as_zoo_cfg_and_conf_say(text: str, data: str, log: str) -> None:
    assert folders_in(text) == DataFolders(data=data, log=log)


@pytest.mark.parametrize("text", ["", "dataDir=relative\n", "dataLogDir=/b\n", "conf is not executed"])
def test_what_names_no_folder_is_not_known(text: str) -> None:
    assert folders_in(text) is None


def sh(script: str, *words: object) -> str:
    done = subprocess.run(["sh", "-c", script, "sh", *map(str, words)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's dataDir and dataLogDir with files in them."""
    for name, file in (("data", "snapshot.1"), ("log", "log.1")):
        (tmp_path / name / "version-2").mkdir(parents=True)
        (tmp_path / name / "version-2" / file).write_text(file)
    (tmp_path / "data" / "myid").write_text("1")
    (tmp_path / "data" / "version-2" / "snapshot.1").chmod(0o604)
    return tmp_path


def placed(server: Path, file: str = "new") -> str:
    """Put a file in place as `data_folders.place` does, by its scripts."""
    data, log = server / "data", server / "log"
    assert sh(data_folders._PREPARE, "S", data, log) == "ok\n"
    new = data / "bdops-new-S"
    if new.exists():
        (new / "snapshot.5").write_text(file)
        (new / ".snapshot.5.bdops-beef").write_text("of a push that was killed")
    sum_of = subprocess.run(["sha256sum"], input=b"new", capture_output=True, check=True).stdout.split()[0].decode()
    assert sh(data_folders._PLACE, "S", log, "", "", "") == "ok\n"
    return sh(data_folders._PLACE, "S", data, "snapshot.5", new, sum_of)


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_file_takes_the_place_of_all_and_all_is_kept_and_goes_back(server: Path) -> None:
    before = files(server)
    for _ in range(2):
        assert placed(server) == "ok\n"
        assert sorted(p.name for p in (server / "data" / "version-2").iterdir()) == [".bdops-S", "snapshot.5"]
        assert sorted(p.name for p in (server / "log" / "version-2").iterdir()) == [".bdops-S"]
    new = server / "data" / "version-2" / "snapshot.5"
    assert new.stat().st_mode & 0o777 == 0o604, "as the files that were there"
    assert (server / "data" / "bdops-aside-S" / "version-2" / "snapshot.1").read_text() == "snapshot.1"
    assert (server / "log" / "bdops-aside-S" / "version-2" / "log.1").read_text() == "log.1"
    (new.parent / "currentEpoch").write_text("0")
    told = looked(sh(data_folders._LOOK, "S", server / "data", server / "log", server / "nowhere"))
    assert [(f.there, f.myid, f.placed, f.files, f.grown, f.logs) for f in told] == [
        (True, True, True, 2, 1, 0), (True, False, True, 0, 0, 0), (False, False, False, 0, 0, 0),
    ]  # fmt: skip
    assert sh(data_folders._PUT_BACK, "S", server / "data", server / "log") == "ok\n"
    assert files(server) == before
    assert not list(server.glob("*/bdops-*"))


def test_another_file_is_not_put_in_place(server: Path) -> None:
    assert "checksum" in placed(server, "damaged on its way")
    assert (server / "data" / "version-2" / "snapshot.1").exists()


def test_what_a_server_wrote_between_two_attempts_is_kept_as_well(server: Path) -> None:
    data = server / "data"
    assert sh(data_folders._PREPARE, "S", data, server / "log") == "ok\n"
    (data / "version-2").rename(data / "bdops-aside-S" / "version-2")
    (data / "version-2").mkdir()
    (data / "version-2" / "log.9").write_text("written by a server that somebody started")
    assert placed(server) == "ok\n"
    assert (data / "bdops-aside-S" / "version-2.1" / "log.9").exists()
    assert (data / "bdops-aside-S" / "version-2" / "snapshot.1").exists()


def test_tidied_up_nothing_is_left_but_what_was_moved_aside(server: Path) -> None:
    placed(server)
    assert sh(data_folders._TIDY, "S", server / "data", server / "log") == "ok\n"
    assert [p.name for p in (server / "data" / "version-2").iterdir()] == ["snapshot.5"]
    assert (server / "data" / "bdops-aside-S" / "version-2" / "snapshot.1").exists()


OLD = [
    replace(node(""), pzxid=3), node("/zookeeper"), node("/a", data=b"1", mzxid=5), node("/b", data=b"2", mzxid=6),
    node("/b/c", data=b"3", mzxid=7),
]  # fmt: skip


def held(nodes: list[Any]) -> tuple[int, list[str]]:
    ours, theirs = (SnapshotReader(io.BytesIO(written(n))) for n in (OLD, nodes))
    found = compare(ours, theirs, zxid=10)
    return found.newer, found.unexplained


def test_the_same_tree_is_the_same_and_what_clients_did_since_is_told_from_what_is_wrong() -> None:
    assert held(OLD) == (0, [])
    root, system, a, b, c = OLD
    assert held([root, system, replace(a, data=b"x", mzxid=11), b, c]) == (1, [])
    assert held([root, system, replace(a, data=b"x"), b, c]) == (0, ["/a: data"])
    # Set to what it was, as a failover controller of HDFS does with its breadcrumb: its version is another one.
    assert held([root, system, replace(a, mzxid=11, version=7), b, c]) == (1, [])
    config = node("/zookeeper/config", mzxid=11)
    assert held([root, system, config, a, b, c, node("/e", owner=5, mzxid=11)]) == (0, [])
    assert held([replace(root, pzxid=12), system, a]) == (2, [])
    assert held([root, system, a]) == (0, ["/b: removed", "/b/c: removed"])
    assert held([*OLD, node("/d", mzxid=13)]) == (1, [])
    assert held([*OLD, node("/d", mzxid=9)]) == (0, ["/d: added"])
    wanted = {"lasting": 1, "lasting_digest": "0x0"}
    ours, theirs = (SnapshotReader(io.BytesIO(written(OLD))) for _ in range(2))
    assert "lasting 5 instead of 1" in str(compare(ours, theirs, zxid=10).wrong(wanted))


def test_a_zipped_snapshot_is_named_so_that_the_server_unzips_it(tmp_path: Path) -> None:
    for content, name in ((b"ZKSN", "snapshot.1f"), (b"\x1f\x8bxx", "snapshot.1f.gz")):
        (tmp_path / "file").write_bytes(content)
        assert data_folders.file_name(tmp_path / "file", 0x1F) == name


@pytest.mark.parametrize(
    ("conditions", "missing"),
    [
        (("leader", "follower", "follower"), None),
        (("leader", "follower", "refused"), "node3 to serve"),
        (("follower", "follower", "follower"), "one leader"),
    ],
)
def test_all_serve_behind_one_leader_or_it_is_said_who_does_not(conditions: Any, missing: str | None) -> None:
    assert rebuild.not_whole(state_of(*conditions)) == missing


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (("leader", "follower", "stranger"), ["server.3"]),
        (("refused", "follower", "stranger"), ["server.3"]),
        (("leader", "refused", "observer"), []),
        (("refused", "refused", "stranger"), []),
    ],
)
def test_a_member_that_the_inventory_does_not_have_is_found_as_long_as_anybody_tells(
    conditions: Any, found: list[str]
) -> None:
    assert ensemble.strangers(state_of(*conditions)) == found


def test_a_folder_without_transactions_is_not_all_that_a_server_has(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the inventory says alone is believed as far as it can be: logs elsewhere would be played on top."""
    monkeypatch.setattr(data_folders, "_run", lambda pool, instance, script, words: sh(script, *words))
    both = str(server / "data"), str(server / "log")

    def told(*named: str) -> DataFolders | None:
        instance: Any = SimpleNamespace(settings=SimpleNamespace(data_dirs=named))
        return data_folders._told_by_inventory(None, instance)  # type: ignore[arg-type]

    assert told(*both) == told(*reversed(both)) == DataFolders(data=both[0], log=both[1])
    assert told(both[0]) is None
    (server / "data" / "version-2" / "log.2").write_text("")
    assert told(both[0]) == DataFolders(data=both[0], log=both[0])
    assert told() is None
