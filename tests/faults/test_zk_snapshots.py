"""Snapshots of a real ensemble: under writes, killed at any event, damaged, deleted behind bdops' back, restored."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.components.zk.client.session import session
from bdops.jobs.store import Job
from bdops.lab import zk
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.contract.cli import Ran
from tests.faults import jobs
from tests.sampling import some

pytestmark = [pytest.mark.lab("zk"), pytest.mark.timeout(900)]

TREE = "/snapshot-test"
EVENTS = {"create": 9, "drill": 20, "restore": 22, "rebuild": 29, "prune": 9}
"""So many events have the journals of these jobs, about: a moment is chosen by it where not every one is tried."""


@pytest.fixture
def folder(lab: Lab, bdops: Bdops, tmp_path: Path) -> Iterator[Path]:
    """A destination of its own, in an inventory of its own; afterwards no drill and no open job is left."""
    known = jobs.job_folders(lab)
    yield tmp_path / "backups"
    for job in jobs.job_folders(lab):
        if job not in known and Job(job).state().status not in ("done", "aborted"):
            bdops("jobs", "abort", job.name, timeout_s=120, BDOPS_INVENTORY=str(tmp_path / "inventory.yaml"))
    assert not jobs.drills(lab)
    with session(lab.deployment("zk").instances, timeout_s=30) as client:
        client.delete(TREE, recursive=True)


@pytest.fixture
def snapshot(lab: Lab, bdops: Bdops, folder: Path) -> Any:
    """Runs `bdops zk snapshot`, on this test's destination."""
    inventory = yaml.safe_load(lab.inventory.read_text())
    settings = inventory["clusters"][lab.name]["components"]["zk"]
    settings["snapshot_dir"] = str(folder)
    settings["restart"] = {"gate_timeout_s": 2}
    file = folder.parent / "inventory.yaml"
    file.write_text(yaml.safe_dump(inventory))

    def run(*argv: str, ok: int | None = 0) -> Ran:
        done = bdops("zk", "snapshot", *argv, timeout_s=240, BDOPS_INVENTORY=str(file))
        assert ok is None or done.returncode == ok, (done.stdout, done.stderr)
        return done

    return run


def listed(run: Any) -> dict[str, dict[str, Any]]:
    return {r["snapshot"]: r for r in run("list", "-o", "json").json["data"]["snapshots"]}


def changes(run: Any, *argv: str) -> dict[str, str]:
    rows = run("diff", *argv, "-o", "json").json["data"]["differences"]
    return {r["path"]: r["change"] for r in rows}


def put(lab: Lab, **values: str) -> None:
    with session(lab.deployment("zk").instances, timeout_s=30) as client:
        client.ensure_path(TREE)
        for name, value in values.items():
            path = f"{TREE}/{name}"
            if client.exists(path):
                client.set(path, value.encode())
            else:
                client.create(path, value.encode())


@contextmanager
def written(lab: Lab) -> Iterator[list[int]]:
    """A client has an ephemeral znode, and writes without end while this lasts."""
    stop, count = threading.Event(), [0]

    def write() -> None:
        with session(lab.deployment("zk").instances, timeout_s=30) as client:
            client.ensure_path(TREE)
            client.create(f"{TREE}/alive", b"me", ephemeral=True)
            while not stop.is_set():
                client.create(f"{TREE}/w-", b"x" * 100, sequence=True)
                count[0] += 1
                stop.wait(0.02)  # the machine is for the job, too

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join(60)


def test_made_under_writes_held_proved_and_pruned(lab: Lab, snapshot: Any, folder: Path) -> None:
    with written(lab) as count:
        for name in ("one", "two"):
            snapshot("create", "--name", name, "--yes", "--reason", "nightly")
        snapshot("drill", "one", "--yes")
    assert count[0] > 20
    said = " ".join(e["text"] for e in jobs.events_of(lab, "said"))
    assert "(1 ephemeral)" in said, "an ephemeral znode is in it, and the throw-away server has it"
    assert not jobs.drills(lab)
    snapshot("hold", "two", "--yes", "--reason", "audit")
    rows = listed(snapshot)
    assert (rows["one"]["proved_at"] is not None, rows["two"]["hold"]) == (True, "audit")
    shown = snapshot("show", "one", "-o", "json").json["data"]
    assert int(shown["state zxid"], 16) >= int(shown["state started_zxid"], 16) > 0
    put(lab, a="1")
    snapshot("create", "--name", "three", "--yes")
    snapshot("create", "--name", "four", "--yes")
    done = snapshot("prune", "--keep", "1h", "--min-good", "1", "--yes")
    assert set(listed(snapshot)) == {"one", "two", "four"}, done.stdout
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"{n}{s}" for n in ("one", "two", "four") for s in (".json", ".zksnap")
    )
    snapshot("release", "two", "--yes")
    assert listed(snapshot)["two"]["hold"] is None
    assert not jobs.remains(lab)


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
@pytest.mark.parametrize("verb", some("drill", "restore", thorough=("create", "prune")))
def test_killed_at_any_event_a_resume_comes_to_the_same_end(
    verb: str, lab: Lab, home: Path, snapshot: Any, folder: Path, bdops: Bdops
) -> None:
    inventory = str(folder.parent / "inventory.yaml")
    put(lab, a="1")
    snapshot("create", "--name", "base", "--yes")

    def argv(name: str) -> list[str]:
        more = {
            "create": ["--name", name],
            "drill": ["base"],
            "restore": ["base", "--into-place"],
            "prune": ["--keep", "1h", "--min-good", "1"],
        }
        return [verb, *more[verb], "--yes"]

    if verb == "prune":
        for name in ("later", "latest"):
            snapshot("create", "--name", name, "--yes")
    files = {p: p.read_bytes() for p in folder.iterdir()}
    if jobs.EVERY:
        snapshot(*argv("whole"))
    events = len(jobs.newest_events(lab)) if jobs.EVERY else EVENTS[verb]
    for when, number in jobs.moments(events, 1):
        moment = f"killed {when} event {number} of {events}"
        put(lab, a=moment)
        if verb == "prune":
            for path, data in files.items():
                path.write_bytes(data)
        status = jobs.killed(lab, home, when, number, "-i", inventory, "zk", "snapshot", *argv(f"{when}-{number}"))
        assert status in (-9, 0), f"{moment}: exit status {status}"
        rows = listed(snapshot)
        assert all(r["counts"] for r in rows.values()), moment
        resumed = bdops("jobs", "resume", timeout_s=240, BDOPS_INVENTORY=inventory)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert jobs.newest_state(lab).status == "done", moment
        assert not jobs.drills(lab), moment
        assert not jobs.remains(lab), moment
        assert not [p for p in folder.iterdir() if p.name.startswith(".")], moment
        snapshot("verify")
        if verb == "restore":
            assert not changes(snapshot, "base"), moment
        if verb == "prune":
            assert {p.stem for p in folder.iterdir()} == {"latest"}, moment


@pytest.mark.thorough
@pytest.mark.parametrize(("verb", "act"), [("create", "snapshot-create"), ("drill", "drill-compare")])
def test_killed_and_closed_nothing_is_left(
    verb: str, act: str, lab: Lab, home: Path, snapshot: Any, folder: Path, bdops: Bdops
) -> None:
    inventory = str(folder.parent / "inventory.yaml")
    snapshot("create", "--name", "base", "--yes")
    argv = ["-i", inventory, "zk", "snapshot", verb, *(["base"] if verb == "drill" else ["--name", "half"]), "--yes"]
    with jobs.running(lab, home, *argv) as (_, await_event):
        await_event("act_announced", act=act)
    before = {p.name for p in folder.iterdir() if not p.name.startswith(("half", ".half"))}
    closed = bdops("jobs", "abort", timeout_s=120, BDOPS_INVENTORY=inventory)
    assert closed.returncode == 0, closed.stderr
    assert not jobs.drills(lab)
    left = {p.name for p in folder.iterdir()}
    assert left in (before, before | {"half.json", "half.zksnap"}), "whole, or not at all"
    snapshot("verify")


def test_a_damaged_one_is_named_and_does_not_count(lab: Lab, snapshot: Any, folder: Path) -> None:
    for name in ("old", "new"):
        snapshot("create", "--name", name, "--yes")
    file = folder / "new.zksnap"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    drilled = snapshot("drill", "new", "--yes", ok=None)
    assert drilled.returncode != 0
    assert "SHA-256" in drilled.stderr
    assert not listed(snapshot)["new"]["counts"], "that is noted"
    verified = snapshot("verify", ok=1)
    assert "new" in verified.stdout
    assert (listed(snapshot)["new"]["counts"], listed(snapshot)["old"]["counts"]) == (False, True)
    # It is no reason to delete the good one, and it is restored by nobody.
    fates = snapshot("prune", "--keep", "1h", "--min-good", "1", "--dry-run", "-o", "json").json["data"]["snapshots"]
    assert {f["snapshot"]: f["fate"] for f in fates}["old"] == "stays"
    assert "SHA-256" in snapshot("restore", "new", "--into-place", "--yes", ok=2).stderr
    (folder / "old.zksnap").unlink()
    assert "is gone" in listed(snapshot)["old"]["error"]
    assert snapshot("drill", "--yes", ok=2).stderr.count("no good backup")
    snapshot("verify", ok=1)


def test_a_destination_that_is_full_or_read_only_is_named(lab: Lab, snapshot: Any, folder: Path) -> None:
    put(lab, a="1")
    with jobs.small_volume(folder, 8192):
        snapshot("create", "--name", "good", "--yes")
        filler = jobs.fill(folder)
        full = snapshot("create", "--name", "bad", "--yes", ok=7)
        assert "No space left" in full.stderr
        assert "DESTINATION_FULL" in json.dumps(jobs.events_of(lab, "step_failed"))
        assert not [p for p in folder.iterdir() if p.suffix == ".zksnap" and p.stem != "good"]
        filler.unlink()
        jobs.make_read_only(folder)
        readonly = snapshot("create", "--name", "worse", "--yes", ok=7)
        assert "Read-only file system" in readonly.stderr
        assert "Read-only" in snapshot("hold", "good", "--yes", "--reason", "x", ok=7).stderr
        assert [n for n, r in listed(snapshot).items() if r["counts"]] == ["good"]


@pytest.mark.thorough
def test_a_server_that_is_killed_meanwhile_costs_no_snapshot(lab: Lab, home: Path, snapshot: Any, folder: Path) -> None:
    argv = ["-i", str(folder.parent / "inventory.yaml"), "zk", "snapshot", "create", "--name", "k", "--yes"]
    victim = next(h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "follower")
    try:
        with jobs.running(lab, home, *argv) as (process, await_event):
            await_event("act_announced", act="snapshot-create")
            lab.kill(zk.PROGRAM, victim)
            _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        snapshot("verify")
    finally:
        lab.start(zk.PROGRAM, victim)
        zk.await_serving(lab)


def test_restored_into_place_while_no_client_is_there_and_it_lasts(lab: Lab, snapshot: Any, folder: Path) -> None:
    put(lab, kept="old", gone="x")
    snapshot("create", "--name", "base", "--yes")
    with session(lab.deployment("zk").instances, timeout_s=30) as client:
        client.set(f"{TREE}/kept", b"new")
        client.delete(f"{TREE}/gone")
        client.create(f"{TREE}/later", b"")
        client.delete("/queues", recursive=True)
        assert snapshot("restore", "base", "--yes", ok=2).stderr.count("--into-place")
        refused = snapshot("restore", "base", "--into-place", "--yes", ok=5)
        assert "ZK_RESTORE_CLIENTS" in refused.stderr
        assert client.get(f"{TREE}/kept")[0] == b"new"
    wrong = changes(snapshot, "base")
    assert wrong.items() >= {f"{TREE}/kept": "data", f"{TREE}/gone": "removed", f"{TREE}/later": "added"}.items()
    victim = next(h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "follower")
    lab.stop(zk.PROGRAM, victim)
    try:
        assert "ZK_RESTORE_SERVERS" in snapshot("restore", "base", "--into-place", "--yes", ok=5).stderr
    finally:
        lab.start(zk.PROGRAM, victim)
        zk.await_serving(lab)
    snapshot("restore", "base", "--into-place", "--yes")
    assert not changes(snapshot, "base")
    (kept,) = [n for n in listed(snapshot) if "-before-" in n]
    assert changes(snapshot, "base", kept) == wrong, "what was there before is kept"
    for host in zk.HOSTS:
        lab.stop(zk.PROGRAM, host)
    zk.start(lab, lab.say)
    for instance in lab.deployment("zk").instances:
        with session([instance], timeout_s=30) as client:
            assert client.get(f"{TREE}/kept")[0] == b"old"
            assert client.exists(f"{TREE}/later") is None
    assert not changes(snapshot, "base")


@pytest.mark.thorough
def test_a_restore_that_has_reached_one_server_is_not_closed(
    lab: Lab, home: Path, snapshot: Any, folder: Path, bdops: Bdops
) -> None:
    inventory = str(folder.parent / "inventory.yaml")
    argv = ("restore", "base", "--into-place", "--yes")
    put(lab, a="1")
    snapshot("create", "--name", "base", "--yes")
    put(lab, a="2")
    snapshot(*argv)
    taken = next(e["n"] for e in jobs.newest_events(lab) if e["event"] == "said" and "has taken" in e["text"])
    put(lab, a="3")
    assert jobs.killed(lab, home, "after", taken, "-i", inventory, "zk", "snapshot", *argv) == -9
    # A session moves the last zxid of every server.
    with session(lab.deployment("zk").instances, timeout_s=30):
        pass
    refused = bdops("jobs", "abort", timeout_s=240, BDOPS_INVENTORY=inventory)
    assert refused.returncode != 0
    assert "has been restored, and the others not" in refused.stderr
    resumed = bdops("jobs", "resume", timeout_s=240, BDOPS_INVENTORY=inventory)
    assert resumed.returncode == 0, resumed.stderr
    assert not changes(snapshot, "base")


def test_a_subtree_goes_out_as_json_and_comes_back(lab: Lab, snapshot: Any, folder: Path) -> None:
    file = folder.parent / "out.json"
    with session(lab.deployment("zk").instances, timeout_s=30) as client:
        client.ensure_path(f"{TREE}/app")
        acl = [zk_acl("shop")]
        client.create(f"{TREE}/app/secret", b"\xff\x00", acl=acl)
        client.create(f"{TREE}/app/alive", b"me", ephemeral=True)
        out = snapshot("export", str(file), "--root", f"{TREE}/app")
        assert "ephemerals left out:       1" in out.stdout
        assert f"{TREE}/app/alive" in out.stderr
        snapshot("import", str(file), "--under", f"{TREE}/copy", "--yes")
        assert sorted(client.get_children(f"{TREE}/copy")) == ["secret"]
        assert client.get(f"{TREE}/copy/secret")[0] == b"\xff\x00"
        assert client.get_acls(f"{TREE}/copy/secret")[0] == acl
        client.set(f"{TREE}/copy/secret", b"other")
        snapshot("import", str(file), "--under", f"{TREE}/copy", "--yes")
        assert client.get(f"{TREE}/copy/secret")[0] == b"other", "left as it is"
        snapshot("import", str(file), "--under", f"{TREE}/copy", "--overwrite", "--yes")
        assert client.get(f"{TREE}/copy/secret")[0] == b"\xff\x00"


def lose(lab: Lab) -> None:
    """All data is lost: two servers come up with nothing, the third is down, with files that are not to be lost."""
    for host in zk.HOSTS:
        lab.stop(zk.PROGRAM, host)
        for folder in zk.data_dirs(lab, host):
            if host != zk.HOSTS[2]:
                shutil.rmtree(folder / "version-2")
    for host in zk.HOSTS[:2]:
        lab.start(zk.PROGRAM, host)
    zk.await_serving(lab, zk.HOSTS[:2])


@pytest.fixture
def lost(lab: Lab, folder: Path) -> Iterator[Callable[[], None]]:
    """Loses the data of the ensemble; afterwards all servers serve, and nothing is left beside their data."""
    yield lambda: lose(lab)
    # The one that may have data votes first: two without any would elect one of themselves, and it never join them.
    last = zk.HOSTS[2]
    lab.start(zk.PROGRAM, last)
    lab.wait(f"{last} to vote", lambda: bool(zk.ask(lab, last, "srvr")), 60)
    for host in zk.HOSTS[:2]:
        lab.start(zk.PROGRAM, host)
    zk.await_serving(lab)
    for beside in beside_data(lab):
        shutil.rmtree(beside)


def beside_data(lab: Lab) -> list[Path]:
    """What a restore has put beside version-2."""
    return [p for host in zk.HOSTS for folder in zk.data_dirs(lab, host) for p in sorted(folder.glob("bdops-*"))]


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
def test_an_ensemble_that_lost_its_data_is_made_again_whenever_the_job_was_killed(
    lab: Lab, home: Path, snapshot: Any, folder: Path, bdops: Bdops, lost: Callable[[], None]
) -> None:
    inventory = str(folder.parent / "inventory.yaml")
    put(lab, a="1")
    snapshot("create", "--name", "base", "--yes")
    argv = ("restore", "base", "--empty-ensemble", "--yes")
    refused = snapshot(*argv, "-o", "json", ok=5)
    assert refused.json["errors"][0]["code"] == "ZK_REBUILD_DATA"
    assert "below the root: " in refused.stdout
    last = zk.data_dirs(lab, zk.HOSTS[2])[0]
    for when, number in jobs.moments(EVENTS["rebuild"], 1):
        moment = f"killed {when} event {number} of {EVENTS['rebuild']}"
        lost()
        known, old = beside_data(lab), {p.name for p in (last / "version-2").iterdir()}
        status = jobs.killed(lab, home, when, number, "-i", inventory, "zk", "snapshot", *argv)
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", timeout_s=240, BDOPS_INVENTORY=inventory)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert jobs.newest_state(lab).status == "done", moment
        assert not jobs.remains(lab), moment
        for instance in lab.deployment("zk").instances:
            with session([instance], timeout_s=30) as client:
                assert client.get(f"{TREE}/a")[0] == b"1", moment
        assert not changes(snapshot, "base"), moment
        (kept,) = [p for p in beside_data(lab) if p.parent == last and p not in known]
        assert {p.name for p in (kept / "version-2").iterdir()} == old, moment
        assert str(kept) in " ".join(e["text"] for e in jobs.events_of(lab, "said")), moment
        left = {p.name for host in zk.HOSTS for d in zk.data_dirs(lab, host) for p in (d / "version-2").glob(".*")}
        assert not left, moment


def test_begun_with_no_server_up_and_closed_before_they_start_all_is_as_it_was(
    lab: Lab, home: Path, snapshot: Any, folder: Path, bdops: Bdops, lost: Callable[[], None]
) -> None:
    inventory = str(folder.parent / "inventory.yaml")
    put(lab, a="1")
    snapshot("create", "--name", "base", "--yes")
    lost()
    for host in zk.HOSTS[:2]:
        lab.stop(zk.PROGRAM, host)
    last = zk.data_dirs(lab, zk.HOSTS[2])
    before = [sorted(p.name for p in (d / "version-2").iterdir()) for d in last]
    restore = ["zk", "snapshot", "restore", "base", "--empty-ensemble", "--yes"]
    silent = yaml.safe_load(Path(inventory).read_text())
    for instance in silent["clusters"][lab.name]["components"]["zk"]["instances"].values():
        del instance["data_dirs"]
    (folder.parent / "silent.yaml").write_text(yaml.safe_dump(silent))
    unknown = bdops(*restore, BDOPS_INVENTORY=str(folder.parent / "silent.yaml"))
    assert unknown.returncode == 3
    assert "data_dirs" in unknown.stderr
    with jobs.running(lab, home, "-i", inventory, *restore) as (process, await_event):
        await_event("act_ended", act="ensemble-place")
        process.kill()
    closed = bdops("jobs", "abort", timeout_s=120, BDOPS_INVENTORY=inventory)
    assert closed.returncode == 0, closed.stderr
    assert "stopped: node1, node2, node3" in closed.stderr
    assert [sorted(p.name for p in (d / "version-2").iterdir()) for d in last] == before
    assert not beside_data(lab)
    assert not jobs.remains(lab)


def zk_acl(name: str) -> Any:
    from kazoo.security import make_digest_acl

    return make_digest_acl(name, name, all=True)
