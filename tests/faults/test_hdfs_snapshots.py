"""Snapshots of a real HDFS: under writes, killed at any event, through a failover, deleted behind bdops' back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.components.hdfs.namenode import CLIENT, NameNode
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.catalogue import HOLD, Catalogue
from bdops.components.hdfs.snapshot.image_drill import image_facts
from bdops.lab import hdfs, hdfs_web
from bdops.lab.hdfs_faults import active as on_active
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs
from tests.hdfs_trees import by_hand, read, remove, take_snapshot
from tests.sampling import some

pytestmark = [pytest.mark.lab("hdfs"), pytest.mark.timeout(900)]

ROOT, NOTES = "/snapped", "/.bdops"
FILES = {f"{ROOT}/day-{n % 3}/part-{n:03}": bytes([n]) * (1000 + 300_000 * (n % 5)) for n in range(12)}
IN_ROOT = ("--destination", ROOT)
EVENTS = {"create": 9, "prune": 15, "drill": 20, "image": 9, "restore": 17}
"""So many events have the journals of these jobs, about: a moment is chosen by it where not every one is tried."""


@pytest.fixture(autouse=True)
def a_directory(lab: Lab, bdops: Bdops) -> Iterator[None]:
    """Every test has a directory with files of which snapshots may be made, and leaves nothing."""
    remove(lab, ROOT, "/copy", NOTES)
    for path, data in FILES.items():
        hdfs_web.write(lab, path, data)
    on_active(lab, lambda n: calls.allow_snapshots(n, ROOT))
    yield
    if jobs.job_folders(lab) and jobs.newest_state(lab).status not in ("done", "aborted"):
        bdops("jobs", "abort", timeout_s=120)
    assert not drills(lab)
    remove(lab, ROOT, "/copy", NOTES)


def names(lab: Lab) -> set[str]:
    return {s.name for s in on_active(lab, lambda n: calls.snapshots_of(n, ROOT))}


def snapshot(lab: Lab, name: str) -> None:
    take_snapshot(lab, ROOT, name)


def drills(lab: Lab) -> list[str]:
    """What drills have left."""
    return [e.name for e in on_active(lab, lambda n: list(n.listing(f"{NOTES}/drills")))]


def noted(lab: Lab) -> set[str]:
    """Of which snapshots there are notes, by their names."""

    def read(namenode: NameNode) -> set[str]:
        root = next(r for r in calls.snapshot_roots(namenode) if r.path == ROOT)
        return {n["bdops.of"]["name"] for n in Catalogue(NOTES, root).read(namenode).values()}

    return on_active(lab, read)


def listed(bdops: Bdops, *more: str) -> dict[str, dict[str, Any]]:
    rows = bdops("hdfs", "snapshot", "list", *(more or IN_ROOT), "-o", "json").json["data"]["snapshots"]
    return {r["snapshot"]: r for r in rows}


def ok(bdops: Bdops, *argv: str, at: tuple[str, ...] = IN_ROOT) -> None:
    done = bdops("hdfs", "snapshot", *argv, *at, "--yes", timeout_s=240)
    assert done.returncode == 0, done.stderr


@contextmanager
def written(lab: Lab) -> Iterator[list[int]]:
    """Files are written over, and new ones written, without end while this lasts."""
    stop, count = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            hdfs_web.write(lab, f"{ROOT}/day-0/part-{count[0] % 12:03}", os.urandom(2000))
            hdfs_web.write(lab, f"{ROOT}/new/{count[0]:05}", b"x" * 100)
            count[0] += 1
            stop.wait(0.1)  # the machine is for the job, too

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join(60)


def test_made_under_writes_proved_held_and_pruned(lab: Lab, bdops: Bdops) -> None:
    with written(lab) as count:
        for name in ("one", "two"):
            ok(bdops, "create", "--name", name, "--reason", "nightly")
        ok(bdops, "drill", "one", "--files", "8")
    snapshot(lab, "three")
    assert count[0] > 3
    ok(bdops, "hold", "two", "--reason", "audit")
    rows = listed(bdops)
    assert rows["one"]["proved_at"] is not None
    assert rows["two"]["hold"] == "audit"
    assert rows["one"]["size_bytes"] >= sum(map(len, FILES.values())) - 12 * 1_300_000
    ok(bdops, "rename", "two", "before-migration")
    ok(bdops, "create", "--name", "four")
    ok(bdops, "prune", "--keep", "1h", "--min-good", "1")
    # The newest, the proved and the held one.
    assert names(lab) == noted(lab) == {"four", "one", "before-migration"}
    ok(bdops, "release", "before-migration")
    ok(bdops, "prune", "--keep", "1h", "--min-good", "1")
    assert names(lab) == noted(lab) == {"four", "one"}


def test_what_changed_is_told_page_by_page(lab: Lab, bdops: Bdops) -> None:
    make(lab, *(f"{ROOT}/many/{n:04}" for n in range(1100)), f"{ROOT}/later")  # more than a page
    ok(bdops, "create", "--name", "one")
    hdfs_web.write(lab, f"{ROOT}/added", b"x" * 777)
    hdfs_web.delete(lab, f"{ROOT}/day-1/part-001")
    renamed(lab, f"{ROOT}/day-2/part-002", f"{ROOT}/day-0/moved")
    on_active(lab, lambda n: calls.delete_path(n, f"{ROOT}/many"))
    make(lab, *(f"{ROOT}/later/{n:04}" for n in range(1100)))
    ok(bdops, "create", "--name", "two")
    answer = bdops("hdfs", "snapshot", "diff", "one", "--to", "two", *IN_ROOT, "-o", "json").json["data"]
    changes = {(c["kind"], c["path"]): c for c in answer["changes"]}
    assert changes["added", "added"]["size_bytes"] == 777
    assert changes["removed", "day-1/part-001"]["size_bytes"] == len(FILES[f"{ROOT}/day-1/part-001"])
    assert changes["renamed", "day-2/part-002"]["target"] == "day-0/moved"
    assert ("removed", "many") in changes
    assert ("added", "day-0/moved") not in changes
    assert {p for kind, p in changes if kind == "added"} == {"added", *(f"later/{n:04}" for n in range(1100))}
    inside = bdops("hdfs", "snapshot", "diff", "two", *IN_ROOT, "-o", "json").json["data"]
    assert inside["changes"] == []


def renamed(lab: Lab, source: str, target: str) -> None:
    request = pb.Rename2RequestProto(src=source, dst=target, overwriteDest=False)
    on_active(lab, lambda n: n.connection.call(CLIENT, "rename2", request, pb.Rename2ResponseProto))


def make(lab: Lab, *paths: str) -> None:
    """Make directories."""

    def each(namenode: NameNode) -> None:
        for path in paths:
            calls.make_directory(namenode, path, mode=0o755)

    on_active(lab, each)


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
@pytest.mark.parametrize("verb", some("prune", "drill", "restore", thorough=("create", "image")))
def test_killed_at_any_event_a_resume_comes_to_the_same_end(
    verb: str, lab: Lab, home: Path, bdops: Bdops, tmp_path: Path
) -> None:
    images = tmp_path / "images"

    def argv(number: int) -> list[str]:
        if verb == "image":
            return ["hdfs", "snapshot", "image", "--to", str(images), "--name", f"k{number}", "--yes"]
        more = {
            "create": ["--name", f"k{number}"],
            "prune": ["--keep", "1h", "--min-good", "1"],
            "drill": ["zz"],
            "restore": ["zz", "--path", "day-1", "--to", f"/copy/k{number}"],
        }
        return ["hdfs", "snapshot", verb, *more[verb], *IN_ROOT, "--yes"]

    def prepare() -> None:
        if verb == "prune":
            for name in names(lab):
                on_active(lab, lambda n, name=name: calls.delete_snapshot(n, ROOT, name))  # type: ignore[misc]
        for name in ("aa", "bb", "zz") if verb == "prune" else ("zz",):
            if name not in names(lab):
                snapshot(lab, name)

    if jobs.EVERY:
        prepare()
        undisturbed = bdops(*argv(0), timeout_s=120)
        assert undisturbed.returncode == 0, undisturbed.stderr
    events = len(jobs.newest_events(lab)) if jobs.EVERY else EVENTS[verb]
    for n, (when, number) in enumerate(jobs.moments(events, 1), 1):
        prepare()
        moment = f"{verb} killed {when} event {number} of {events}"
        status = jobs.killed(lab, home, when, number, *argv(n))
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", timeout_s=240)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert jobs.newest_state(lab).status == "done", moment
        assert not jobs.remains(lab), moment
        assert not drills(lab), moment
        if verb == "create":
            assert listed(bdops)[f"k{n}"]["size_bytes"] == sum(map(len, FILES.values())), moment
        if verb == "prune":
            assert names(lab) == {"zz"}, moment
        if verb == "restore":
            assert {p: read(lab, p) for p in at(f"/copy/k{n}", 1)} == at(f"/copy/k{n}", 1), moment
            assert not in_restoring(lab), moment
        if verb == "image":
            assert sorted(p.name for p in images.iterdir() if p.name.startswith(f"k{n}.")) == [
                f"k{n}.fsimage",
                f"k{n}.json",
            ], moment
            assert not [p.name for p in images.iterdir() if p.name.startswith(".")], moment


def test_an_aborted_drill_leaves_nothing_and_proves_nothing(lab: Lab, home: Path, bdops: Bdops) -> None:
    snapshot(lab, "one")
    with jobs.running(lab, home, "hdfs", "snapshot", "drill", "one", *IN_ROOT, "--yes") as (process, await_event):
        await_event("verified", act="drill-restore")
        process.kill()
    assert drills(lab)
    aborted = bdops("jobs", "abort", timeout_s=120)
    assert aborted.returncode == 0, aborted.stderr
    assert not drills(lab)
    assert listed(bdops)["one"]["proved_at"] is None


def test_a_restored_copy_that_differs_is_named_and_not_a_proof(lab: Lab, home: Path, bdops: Bdops) -> None:
    snapshot(lab, "one")
    with jobs.running(lab, home, "hdfs", "snapshot", "drill", "one", "--files", "12", *IN_ROOT, "--yes") as (
        process,
        await_event,
    ):
        await_event("verified", act="drill-restore")
        process.kill()
    folder = f"{NOTES}/drills/{drills(lab)[0]}"
    damaged = f"{folder}/{min(e.name for e in on_active(lab, lambda n: [*n.listing(folder)]))}"
    copy = on_active(lab, lambda n: calls.attributes_of(n, damaged))["bdops.copy"]
    hdfs_web.write(lab, damaged, b"something else")
    on_active(lab, lambda n: calls.set_attribute(n, damaged, "bdops.copy", copy))
    resumed = bdops("jobs", "resume", timeout_s=120)
    assert resumed.returncode != 0
    assert "DRILL_DIFFERS" in bdops("jobs", "resume", "-o", "json", timeout_s=120).stdout
    assert "day-" in resumed.stderr
    assert listed(bdops)["one"]["proved_at"] is None
    assert bdops("jobs", "abort", timeout_s=120).returncode == 0


def test_deleted_behind_our_back_it_is_named_and_nothing_else_goes(lab: Lab, bdops: Bdops) -> None:
    for name in ("one", "two"):
        ok(bdops, "create", "--name", name)
    on_active(lab, lambda n: calls.delete_snapshot(n, ROOT, "two"))
    rows = listed(bdops)
    assert (rows["two"]["status"], rows["two"]["counts"]) == ("failed", False)
    verified = bdops("hdfs", "snapshot", "verify", *IN_ROOT)
    assert verified.returncode == 1
    assert "two" in verified.stderr
    proved = bdops("hdfs", "snapshot", "drill", "two", *IN_ROOT, "--yes")
    assert proved.returncode == 2
    ok(bdops, "prune", "--keep", "1h", "--min-good", "1")
    # The one that is left is good, and older than the one that is gone: it stays, as does the note of that.
    assert names(lab) == {"one"}


@pytest.mark.thorough
def test_a_hold_that_comes_between_plan_and_act_is_heeded(lab: Lab, home: Path, bdops: Bdops) -> None:
    for name in ("one", "two"):
        ok(bdops, "create", "--name", name)
    argv = ("hdfs", "snapshot", "prune", "--keep", "1h", "--min-good", "1", *IN_ROOT, "--yes")
    assert jobs.killed(lab, home, "after", 2, *argv) == -9

    def hold(namenode: NameNode) -> None:
        root = next(r for r in calls.snapshot_roots(namenode) if r.path == ROOT)
        one = next(s for s in calls.snapshots_of(namenode, ROOT) if s.name == "one")
        Catalogue(NOTES, root).write(namenode, one, HOLD, {"reason": "audit"})

    on_active(lab, hold)
    resumed = bdops("jobs", "resume", timeout_s=120)
    assert resumed.returncode != 0
    assert "audit" in resumed.stderr
    assert names(lab) == {"one", "two"}


@pytest.mark.thorough
def test_the_active_namenode_dies_during_a_drill(lab: Lab, home: Path, bdops: Bdops) -> None:
    snapshot(lab, "one")
    service = hdfs.nameservice(lab)
    active = hdfs.NAMENODES[service.active()]
    service.close()
    try:
        with jobs.running(lab, home, "hdfs", "snapshot", "drill", "one", *IN_ROOT, "--yes") as (process, await_event):
            await_event("act_announced", act="drill-restore")
            lab.kill("namenode", active)
            process.communicate(timeout=240)
    finally:
        lab.start("namenode", active)
    lab.wait("HDFS to serve", lambda: not hdfs.unhealthy(lab), 240)
    resumed = bdops("jobs", "resume", timeout_s=240)
    assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, resumed.stderr
    assert jobs.newest_state(lab).status == "done"
    assert listed(bdops)["one"]["proved_at"] is not None


def test_an_image_is_whole_or_no_backup(lab: Lab, bdops: Bdops, tmp_path: Path) -> None:
    at = ("--destination", f"file:{tmp_path}")
    for name in ("one", "two"):
        ok(bdops, "image", "--name", name, "--to", str(tmp_path), at=())
    assert listed(bdops, *at)["one"]["counts"] is True
    for argv in (("need", "one", "--by", "x"), ("diff", "one"), ("rename", "one", "other")):
        assert bdops("hdfs", "snapshot", *argv, *at, "--yes").returncode == 2, argv
    assert bdops("hdfs", "snapshot", "verify", "one", *at).returncode == 0
    damaged = bytearray((tmp_path / "two.fsimage").read_bytes())
    damaged[100] ^= 1
    (tmp_path / "two.fsimage").write_bytes(damaged)
    verified = bdops("hdfs", "snapshot", "verify", "two", *at)
    assert verified.returncode == 1
    assert "SHA-256" in verified.stderr
    assert listed(bdops, *at)["two"]["counts"] is False
    (tmp_path / "one.fsimage").unlink()
    assert "gone" in listed(bdops, *at)["one"]["error"]


def checkpoint(lab: Lab) -> None:
    """Have the active NameNode write an image of what is there now."""

    def save(namenode: NameNode) -> None:
        namenode.enter_safe_mode()
        # Its request and its answer need no fields, as those of this call.
        empty = pb.GetSnapshottableDirListingRequestProto(), pb.GetSnapshottableDirListingResponseProto
        namenode.connection.call(CLIENT, "saveNamespace", *empty, timeout_s=60)
        namenode.leave_safe_mode()

    on_active(lab, save)


def test_an_image_is_proved_by_a_namenode_that_loads_it(lab: Lab, home: Path, bdops: Bdops, tmp_path: Path) -> None:
    at = ("--destination", f"file:{tmp_path}")
    snapshot(lab, "one")
    checkpoint(lab)
    ok(bdops, "image", "--name", "one", "--to", str(tmp_path), at=())
    with (tmp_path / "one.fsimage").open("rb") as source:
        facts = image_facts(source)
    there = on_active(lab, lambda n: calls.summary_of(n, "/"))
    assert facts.inodes == there.files + there.directories
    with jobs.running(lab, home, "hdfs", "snapshot", "drill", "one", *at, "--yes") as (process, await_event):
        await_event("act_announced", act="drill-restore")
        process.kill()
    resumed = bdops("jobs", "resume", timeout_s=240)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{there.files:,} files" in " ".join(e["text"] for e in jobs.events_of(lab, "said"))
    assert listed(bdops, *at)["one"]["proved_at"] is not None
    assert not jobs.drills(lab)


def in_restoring(lab: Lab) -> list[str]:
    """Folders of copies that were left anywhere."""
    folders = ["/", "/copy", ROOT, *(f"{ROOT}/day-{n}" for n in range(3))]
    found = on_active(lab, lambda n: [f"{f}/{e.name}" for f in folders for e in n.listing(f)])
    return [f for f in found if "bdops-restoring" in f]


def at(root: str, day: int) -> dict[str, bytes]:
    """The files of a day, where they belong or below another directory."""
    return {p.replace(f"{ROOT}/day-{day}", root): d for p, d in FILES.items() if f"/day-{day}/" in p}


def test_a_path_is_restored_beside_and_what_is_missing_into_place(lab: Lab, bdops: Bdops) -> None:
    odd = f"{ROOT}/day-0/a[1]*{{b}} c"
    hdfs_web.write(lab, odd, b"odd")
    snapshot(lab, "one")
    ok(bdops, "restore", "one", "--path", "day-1", "--to", "/copy/deep/day-1")
    assert {p: read(lab, p) for p in at("/copy/deep/day-1", 1)} == at("/copy/deep/day-1", 1)
    again = bdops("hdfs", "snapshot", "restore", "one", "--path", "day-1", "--to", "/copy/deep/day-1", *IN_ROOT)
    assert again.returncode == 5
    lost = min(at(f"{ROOT}/day-0", 0))
    changed, named = sorted(at(f"{ROOT}/day-2", 2))[:2]
    for path in (lost, odd, f"{ROOT}/day-1"):
        on_active(lab, lambda n, p=path: calls.delete_path(n, p))  # type: ignore[misc]
    for path in (changed, named):
        hdfs_web.write(lab, path, b"new")
    done = bdops("hdfs", "snapshot", "restore", "one", "--in-place", *IN_ROOT, "--yes", timeout_s=240)
    assert done.returncode == 0, done.stderr
    assert "2 differ from the snapshot" in done.stderr
    assert {p: read(lab, p) for p in FILES} == {**FILES, changed: b"new", named: b"new"}
    assert read(lab, odd) == b"odd"
    ok(bdops, "restore", "one", "--in-place", "--path", "day-2", "--overwrite", named.removeprefix(ROOT))
    assert {p: read(lab, p) for p in FILES} == {**FILES, changed: b"new"}
    nothing = bdops("hdfs", "snapshot", "restore", "one", "--in-place", *IN_ROOT, "--yes", "-o", "json")
    assert "nothing of it is missing" in nothing.stdout
    assert not in_restoring(lab)
    assert not jobs.remains(lab)


@pytest.mark.thorough
def test_a_restore_that_was_closed_leaves_nothing(lab: Lab, home: Path, bdops: Bdops) -> None:
    snapshot(lab, "one")
    argv = ("hdfs", "snapshot", "restore", "one", "--to", "/copy/deep/all", *IN_ROOT, "--yes")
    with jobs.running(lab, home, *argv) as (process, await_event):
        await_event("act_announced", act="restore-copy")
        lab.wait("the copy to begin", lambda: bool(in_deep(lab)), 60)
        process.kill()
    aborted = bdops("jobs", "abort", timeout_s=120)
    assert aborted.returncode == 0, aborted.stderr
    assert not in_deep(lab)
    assert not on_active(lab, lambda n: n.exists("/copy"))
    assert not jobs.remains(lab)


def in_deep(lab: Lab) -> list[str]:
    return [e.name for e in on_active(lab, lambda n: list(n.listing("/copy/deep")))]


@pytest.mark.thorough
def test_without_hadoop_on_the_hosts_the_commands_that_are_told_restore(lab: Lab, bdops: Bdops, tmp_path: Path) -> None:
    odd, inside = f"{ROOT}/day-1/a[1]*{{b}} c", f"{ROOT}/day-1/d[2]?/in"
    whole = {**FILES, odd: b"odd", inside: b"in an odd directory"}
    for path in (odd, inside):
        hdfs_web.write(lab, path, whole[path])
    snapshot(lab, "one")
    inventory = yaml.safe_load(lab.inventory.read_text())
    for settings in inventory["clusters"][lab.name]["components"]["hdfs"]["instances"].values():
        settings.pop("hadoop_command", None)
    file = tmp_path / "inventory.yaml"
    file.write_text(yaml.safe_dump(inventory))

    def carried_out(*argv: str) -> None:
        told = bdops("hdfs", "snapshot", "restore", "one", *argv, *IN_ROOT, "-o", "json", BDOPS_INVENTORY=str(file))
        assert told.returncode == 3, told.stderr
        for row in told.json["data"]["commands"]:
            by_hand(hdfs.program_file(lab, "node4"), row["command"])

    beside = ("--path", "day-1", "--to", "/copy/day-1")
    compare = ("hdfs", "snapshot", "restore", "one", *beside, *IN_ROOT, "--compare")
    assert bdops(*compare).returncode == 1
    carried_out(*beside)
    copies = {p.replace(f"{ROOT}/day-1", "/copy/day-1"): d for p, d in whole.items() if "/day-1/" in p}
    assert {p: read(lab, p) for p in copies} == copies
    same = bdops(*compare)
    assert same.returncode == 0, same.stderr
    changed = max(copies, key=lambda p: len(copies[p]))
    hdfs_web.write(lab, changed, bytes(len(copies[changed])))
    differs = bdops(*compare)
    assert differs.returncode == 1
    assert Path(changed).name in differs.stderr

    lost = min(at(f"{ROOT}/day-1", 1))
    for path in (lost, inside):
        on_active(lab, lambda n, p=path: calls.delete_path(n, p))  # type: ignore[misc]
    hdfs_web.write(lab, odd, b"written since")
    carried_out("--in-place", "--overwrite", odd.removeprefix(ROOT))
    assert {p: read(lab, p) for p in whole} == whole
    before = [e.name for e in on_active(lab, lambda n: list(n.listing(f"{ROOT}/day-1"))) if ".before-" in e.name]
    assert [read(lab, f"{ROOT}/day-1/{name}") for name in before] == [b"written since"]
    assert not in_restoring(lab)
    assert [e.name for e in on_active(lab, lambda n: list(n.listing(inside.removesuffix("/in"))))] == ["in"]


@pytest.mark.thorough
def test_a_full_disk_at_the_destination_is_named_and_nothing_half_counts(
    lab: Lab, bdops: Bdops, tmp_path: Path
) -> None:
    with jobs.small_volume(tmp_path / "small", 16) as small:
        ok(bdops, "image", "--name", "one", "--to", str(small), at=())
        jobs.fill(small)
        done = bdops("hdfs", "snapshot", "image", "--name", "two", "--to", str(small), "--yes", "-o", "json")
        assert done.returncode != 0
        assert done.json["errors"][0]["code"] == "DESTINATION_FULL"
        rows = listed(bdops, "--destination", f"file:{small}")
        assert [r["snapshot"] for r in rows.values() if r["counts"]] == ["one"]
        assert bdops("jobs", "abort", timeout_s=60).returncode == 0
        assert not list(small.glob("two*")) + list(small.glob(".two*"))


def test_the_plan_of_a_copy_says_what_is_missing(lab: Lab, bdops: Bdops) -> None:
    snapshot(lab, "one")

    def planned(*argv: str) -> Any:
        return bdops("hdfs", "snapshot", "distcp", "hdfs://lab/copy", *argv, *IN_ROOT, "-o", "json")

    make(lab, "/copy")
    assert planned().returncode == 5
    on_active(lab, lambda n: calls.allow_snapshots(n, "/copy"))
    first = planned()
    assert first.returncode == 0, first.stderr
    assert first.json["data"]["command"].endswith(f"hdfs://lab{ROOT}/.snapshot/one hdfs://lab/copy")
    # As after a copy: the target has the same snapshot.
    on_active(lab, lambda n: calls.create_snapshot(n, "/copy", "one"))
    snapshot(lab, "two")
    second = planned()
    assert second.returncode == 0, second.stderr
    assert "-update -diff one two" in second.json["data"]["command"]
    make(lab, "/copy/changed")
    assert planned().returncode == 5
    elsewhere = bdops("hdfs", "snapshot", "distcp", "hdfs://dr/data", "--from", "one", *IN_ROOT)
    assert elsewhere.returncode == 3
