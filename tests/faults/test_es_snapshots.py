"""Snapshots of a real cluster: under writes, killed at any event, damaged, refused, deleted behind bdops' back."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bdops.jobs.store import Job
from bdops.lab import es
from bdops.lab.es_api import any_node, node_of
from bdops.lab.es_load import INDICES, REPOSITORY, repository_dir
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs
from tests.sampling import some

pytestmark = [pytest.mark.lab("es"), pytest.mark.timeout(900)]

PATH = f"_snapshot/{REPOSITORY}"


@pytest.fixture(autouse=True)
def as_it_was(lab: Lab, bdops: Bdops) -> Iterator[None]:
    """Every test leaves the snapshots and the documents that were there, and nothing else."""
    before, documents = names(lab), counts(lab)
    yield
    for folder in jobs.job_folders(lab):
        if not Job(folder).is_over():
            bdops("jobs", "abort", folder.name, timeout_s=120)
    for name in names(lab) - before:
        any_node(lab).delete(f"{PATH}/{name}", timeout_s=60)
    assert names(lab) == before
    assert not leftovers(lab)
    after = counts(lab)
    if after != documents:
        put_back(lab, *(i for i in INDICES if after.get(i) != documents.get(i)))
    assert after == documents


def put_back(lab: Lab, *indices: str) -> None:
    """As the load left them."""
    node = any_node(lab)
    for name in indices:
        node.delete(name, {"ignore_unavailable": "true"}, timeout_s=30)
    load = next(n for n in names(lab) if n.startswith("load"))
    body = {"indices": ",".join(indices), "include_global_state": False}
    node.post(f"{PATH}/{load}/_restore", body, {"wait_for_completion": "true"}, timeout_s=60)


def names(lab: Lab) -> set[str]:
    return {s["snapshot"] for s in any_node(lab).get(f"{PATH}/_all", timeout_s=30)["snapshots"]}


def counts(lab: Lab) -> dict[str, int]:
    """The documents of each index of the load; one that is closed has none to be seen."""
    node = any_node(lab)
    found = node.get("_cluster/health", {"level": "indices", "expand_wildcards": "open"}, timeout_s=30)["indices"]
    return {i: node.get(f"{i}/_count", timeout_s=30)["count"] for i in INDICES if i in found}


def taken(lab: Lab, name: str, indices: str = "*") -> None:
    """A snapshot that is not bdops' own: one call, where how it is made is not what is tested."""
    body = {"indices": indices, "include_global_state": False}
    done = any_node(lab).put(f"{PATH}/{name}", body, {"wait_for_completion": "true"}, timeout_s=120)
    assert done["snapshot"]["state"] == "SUCCESS", done


def leftovers(lab: Lab) -> list[str]:
    """Indices that a drill or a restore has left, or left closed."""
    of_indices = {"level": "indices", "expand_wildcards": "open,closed"}
    node = any_node(lab)
    every = node.get("_cluster/health", of_indices, timeout_s=30)["indices"]
    open_ones = node.get("_cluster/health", {**of_indices, "expand_wildcards": "open"}, timeout_s=30)["indices"]
    return [i for i in every if i.startswith(("bdops-drill-", "restored-")) or i not in open_ones]


def listed(bdops: Bdops) -> dict[str, dict[str, Any]]:
    rows = bdops("es", "snapshot", "list", "-o", "json").json["data"]["snapshots"]
    return {r["snapshot"]: r for r in rows}


@contextmanager
def written(lab: Lab) -> Iterator[list[int]]:
    """Documents are written and changed without end while this lasts."""
    stop, count = threading.Event(), [0]

    def write() -> None:
        node = any_node(lab)
        while not stop.is_set():
            lines = "".join(f'{{"index":{{"_id":"w{n}"}}}}\n{{"n":{count[0]}}}\n' for n in range(50))
            node.post("orders/_bulk", lines, timeout_s=30)
            count[0] += 50

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join(60)
        gone = "".join(f'{{"delete":{{"_id":"w{n}"}}}}\n' for n in range(50))
        any_node(lab).post("orders/_bulk", gone, {"refresh": "true"}, timeout_s=60)


def test_made_under_writes_held_proved_and_pruned(lab: Lab, bdops: Bdops) -> None:
    with written(lab) as count:
        done = bdops("es", "snapshot", "create", "--name", "one", "--yes", "--reason", "nightly", timeout_s=120)
        assert done.returncode == 0, done.stderr
        taken(lab, "two")
        proved = bdops("es", "snapshot", "drill", "one", "--yes", timeout_s=240)
        assert proved.returncode == 0, proved.stderr
    assert count[0] > 100
    assert not leftovers(lab)
    held = bdops("es", "snapshot", "hold", "two", "--yes", "--reason", "audit", timeout_s=60)
    assert held.returncode == 0, held.stderr
    rows = listed(bdops)
    assert (rows["one"]["proved_at"] is not None, rows["two"]["hold"]) == (True, "audit")
    again = bdops("es", "snapshot", "create", "--name", "one", "--yes")
    assert again.returncode == 5, (again.stdout, again.stderr)
    shown = bdops("es", "snapshot", "prune", "--keep", "1h", "--min-good", "1", "--dry-run", "-o", "json")
    fates = {r["snapshot"]: r["fate"] for r in shown.json["data"]["snapshots"]}
    assert (fates["one"], fates["two"]) == ("stays", "stays")
    released = bdops("es", "snapshot", "release", "two", "--yes", timeout_s=60)
    assert released.returncode == 0, released.stderr
    assert not [n for n in names(lab) if n.startswith("bdops-mark-hold-")]


def test_restored_beside_it_is_there_under_another_name(lab: Lab, bdops: Bdops) -> None:
    done = bdops("es", "snapshot", "restore", "load", "--index", "orders", "--yes", timeout_s=120)
    assert done.returncode == 0, done.stderr
    node = any_node(lab)
    try:
        restored = node.get("restored-orders/_count", timeout_s=30)["count"]
        assert restored == node.get("orders/_count", timeout_s=30)["count"] > 0
        again = bdops("es", "snapshot", "restore", "load", "--index", "orders", "--yes", timeout_s=60)
        assert again.returncode == 5, "what is there is not taken for what was to be restored"
    finally:
        node.delete("restored-orders", timeout_s=30)


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
@pytest.mark.parametrize("verb", some("drill", "restore", thorough=("create", "prune")))
def test_killed_at_any_event_a_resume_comes_to_the_same_end(verb: str, lab: Lab, home: Path, bdops: Bdops) -> None:
    def argv(number: int) -> list[str]:
        more = {
            "create": ["--name", f"k{number}", "--global-state"],
            "drill": ["load", "--index", "orders"],
            "restore": ["load", "--into-place", "--index", "orders", "--index", "customers"],
            "prune": ["--keep", "1h", "--min-good", "1", "--match", "p-*"],
        }
        return ["es", "snapshot", verb, *more[verb], "--yes"]

    def prepare() -> None:
        if verb == "restore":
            changed(lab)
        if verb == "prune":
            for name in sorted({"p-1", "p-2", "p-3"} - names(lab)):
                taken(lab, name, "customers")

    documents = counts(lab)
    prepare()
    undisturbed = bdops(*argv(0), timeout_s=120)
    assert undisturbed.returncode == 0, undisturbed.stderr
    events = len(jobs.newest_events(lab))
    for n, (when, number) in enumerate(jobs.moments(events, 1), 1):
        moment = f"{verb} killed {when} event {number} of {events}"
        prepare()
        status = jobs.killed(lab, home, when, number, *argv(n))
        assert status in (-9, 0), f"{moment}: exit status {status}"
        resumed = bdops("jobs", "resume", timeout_s=240)
        assert resumed.returncode == 0 or "no job is paused" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert jobs.newest_state(lab).status == "done", moment
        assert not leftovers(lab), moment
        assert not jobs.remains(lab), moment
        if verb == "create":
            found = any_node(lab).get(f"{PATH}/k{n}", timeout_s=30)["snapshots"]
            assert [s["state"] for s in found] == ["SUCCESS"], moment
            assert [m for m in names(lab) if m.startswith("bdops-mark-state-1-")], moment
            any_node(lab).delete(f"{PATH}/bdops-mark-state-*", timeout_s=60)
        if verb == "prune":
            assert len([m for m in names(lab) if m.startswith("p-")]) == 1, moment
        assert counts(lab) == documents, moment


def changed(lab: Lab) -> None:
    """Documents come and an index goes, which a restore into place takes back."""
    node = any_node(lab)
    node.put("orders/_doc/later", {"number": 1}, {"refresh": "true"}, timeout_s=30)
    node.delete("customers", timeout_s=30)


def test_restored_into_place_and_what_was_there_is_kept(lab: Lab, bdops: Bdops) -> None:
    documents, node = counts(lab), any_node(lab)
    changed(lab)
    argv = ("es", "snapshot", "restore", "load", "--into-place", "--index", "orders", "--index", "customers")
    assert bdops(*argv).returncode == 2, "nobody is there to ask"
    plan = bdops(*argv, "--dry-run", "-o", "json").json["data"]["waves"]
    assert f"customers: is not there, made; orders: {documents['orders'] + 1:,} documents replaced" in plan[1]["note"]
    assert "customers" not in counts(lab)
    done = bdops(*argv, "--yes", timeout_s=120)
    assert done.returncode == 0, done.stderr
    assert counts(lab) == documents
    (kept,) = (n for n in names(lab) if "-before-" in n)
    assert node.get(f"{PATH}/{kept}", timeout_s=30)["snapshots"][0]["indices"] == ["orders"]
    diff = bdops("es", "snapshot", "diff", "load", "--part", "indices", "--detailed-exitcode")
    assert diff.returncode == 0, diff.stdout


def test_the_global_state_is_compared_and_brought_back(lab: Lab, bdops: Bdops) -> None:
    node = any_node(lab)
    setting, template = "cluster.max_shards_per_node", "_component_template/bdops-test"
    try:
        node.put("_cluster/settings", {"persistent": {setting: "900"}}, timeout_s=30)
        node.put(template, {"template": {"settings": {"number_of_replicas": 1}}}, timeout_s=30)
        done = bdops("es", "snapshot", "create", "--name", "state", "--index", "orders", "--global-state", "--yes")
        assert done.returncode == 0, done.stderr
        node.put("_cluster/settings", {"persistent": {setting: "800"}}, timeout_s=30)
        node.put(template, {"template": {"settings": {"number_of_replicas": 2}}}, timeout_s=30)
        node.put("_component_template/bdops-later", {"template": {}}, timeout_s=30)
        diff = bdops("es", "snapshot", "diff", "state", "--index", "orders", "--detailed-exitcode", "-o", "json")
        found = {
            (d["part"], d["name"]): (d["change"], d["before"], d["after"]) for d in diff.json["data"]["differences"]
        }
        assert diff.returncode == 6
        assert found.pop(("settings", setting)) == ("changed", "900", "800")
        assert {k: v[0] for k, v in found.items()} == {
            ("component_templates", "bdops-test"): "changed",
            ("component_templates", "bdops-later"): "added",
        }
        restored = bdops("es", "snapshot", "restore", "state", "--global-state", "--yes", timeout_s=120)
        assert restored.returncode == 0, restored.stderr
        assert f"{setting}: changed, 800 -> 900" in restored.stdout
        assert bdops("es", "snapshot", "diff", "state", "--index", "orders", "--detailed-exitcode").returncode == 0
        unknown = bdops("es", "snapshot", "diff", "load", "--detailed-exitcode")
        assert unknown.returncode == 3
        assert "no global state is noted" in unknown.stdout
    finally:
        node.put("_cluster/settings", {"persistent": {setting: None}}, timeout_s=30)
        for name in ("bdops-test", "bdops-later"):
            node.delete(f"_component_template/{name}", timeout_s=30)


@pytest.mark.thorough
def test_what_cannot_be_restored_into_place_is_named_and_what_was_there_comes_back(lab: Lab, bdops: Bdops) -> None:
    documents = counts(lab)
    taken(lab, "broken", "orders")
    node = any_node(lab)
    node.delete("orders", timeout_s=30)
    node.put("orders", {"settings": {"number_of_shards": 1}}, timeout_s=30)
    node.put("orders/_doc/kept", {"number": 1}, {"refresh": "true"}, timeout_s=30)
    argv = ("es", "snapshot", "restore", "broken", "--into-place", "--index", "orders", "--yes")
    with damaged(lab):
        failed = bdops(*argv, timeout_s=240)
        assert failed.returncode == 7, (failed.returncode, failed.stderr)
        assert "orders[" in failed.stderr
        assert bdops("jobs", "abort", timeout_s=120).returncode != 0, "what is half restored is not given up in silence"
    (kept,) = (n for n in names(lab) if "-before-" in n)
    back = bdops("es", "snapshot", "restore", kept, "--into-place", "--yes", timeout_s=240)
    assert back.returncode == 0, back.stderr
    assert node.get("orders/_doc/kept", timeout_s=30)["found"]
    assert bdops("jobs", "abort", timeout_s=120).returncode == 0
    assert bdops(*argv, timeout_s=240).returncode == 0
    assert counts(lab) == documents


@pytest.mark.thorough
def test_one_that_was_closed_is_restored_by_a_resume_and_opened_by_an_abort(lab: Lab, home: Path, bdops: Bdops) -> None:
    documents, node = counts(lab), any_node(lab)
    argv = ("es", "snapshot", "restore", "load", "--into-place", "--index", "orders", "--yes")

    def killed_when_closed() -> None:
        """Between the two there is no event of the journal: it is killed before the one, and closed here."""
        assert jobs.killed(lab, home, "after", 11, *argv) == -9
        assert jobs.newest_events(lab)[-1]["event"] == "borrowed"
        node.post("orders/_close", timeout_s=60)

    killed_when_closed()
    assert leftovers(lab) == ["orders"]
    aborted = bdops("jobs", "abort", timeout_s=120)
    assert aborted.returncode == 0, aborted.stderr
    assert not leftovers(lab)
    node.put("orders/_doc/later", {"number": 1}, {"refresh": "true"}, timeout_s=30)
    killed_when_closed()
    resumed = bdops("jobs", "resume", timeout_s=120)
    assert resumed.returncode == 0, resumed.stderr
    assert counts(lab) == documents


@pytest.mark.thorough
def test_an_index_that_somebody_has_made_meanwhile_is_not_replaced(lab: Lab, home: Path, bdops: Bdops) -> None:
    taken(lab, "base", "customers,orders")
    node = any_node(lab)
    node.delete("customers", timeout_s=30)
    argv = ("es", "snapshot", "restore", "base", "--into-place", "--yes")
    with jobs.running(lab, home, *argv) as (process, await_event):
        await_event("act_announced", act="snapshot-create")
        process.kill()
    node.put("customers/_doc/new", {"number": 1}, {"refresh": "true"}, timeout_s=30)
    resumed = bdops("jobs", "resume", timeout_s=120)
    assert resumed.returncode == 7, resumed.stderr
    assert "customers: made by somebody else" in resumed.stderr
    assert bdops("jobs", "abort", timeout_s=120).returncode == 0
    assert not leftovers(lab)
    assert node.get("customers/_doc/new", timeout_s=30)["found"]
    put_back(lab, "customers")


@pytest.mark.thorough
def test_an_aborted_drill_leaves_nothing(lab: Lab, home: Path, bdops: Bdops) -> None:
    with jobs.running(lab, home, "es", "snapshot", "drill", "load", "--yes") as (process, await_event):
        await_event("verified", act="drill-restore")
        process.kill()
    assert leftovers(lab)
    aborted = bdops("jobs", "abort", timeout_s=120)
    assert aborted.returncode == 0, aborted.stderr
    assert not leftovers(lab)


def test_a_repository_that_is_read_only_fails_by_name_and_nothing_good_goes(lab: Lab, bdops: Bdops) -> None:
    taken(lab, "newer")
    before, node = names(lab), any_node(lab)
    settings = {"type": "fs", "settings": {"location": str(repository_dir(lab))}}
    node.put(PATH, {**settings, "settings": {**settings["settings"], "readonly": True}}, timeout_s=30)
    try:
        for argv in (("create", "--name", "never"), ("prune", "--keep", "1h", "--min-good", "1")):
            done = bdops("es", "snapshot", *argv, "--yes", timeout_s=120)
            assert done.returncode == 7, (done.stdout, done.stderr)
            assert REPOSITORY in done.stderr
            assert bdops("jobs", "abort", timeout_s=120).returncode == 0
    finally:
        node.put(PATH, settings, timeout_s=30)
    assert names(lab) == before


def test_a_damaged_file_is_found_by_the_drill_and_proves_nothing(lab: Lab, bdops: Bdops) -> None:
    taken(lab, "damaged", "orders")
    with damaged(lab):
        drilled = bdops("es", "snapshot", "drill", "damaged", "--yes", timeout_s=240)
        assert drilled.returncode == 7, (drilled.returncode, drilled.stderr)
        assert "damaged" in drilled.stderr
        aborted = bdops("jobs", "abort", timeout_s=120)
        assert aborted.returncode == 0, aborted.stderr
    assert not [n for n in names(lab) if n.startswith("bdops-mark-proved-")]
    assert not leftovers(lab)


@contextmanager
def damaged(lab: Lab) -> Iterator[None]:
    """The second half of every file of segments in the repository is zeros while this lasts."""
    good = {p: p.read_bytes() for p in repository_dir(lab).rglob("__*") if p.is_file()}
    try:
        for path, content in good.items():
            path.write_bytes(content[: len(content) // 2] + b"\0" * (len(content) - len(content) // 2))
        yield
    finally:
        for path, content in good.items():
            path.write_bytes(content)


def test_a_full_disk_is_named_and_the_good_one_stays(lab: Lab, bdops: Bdops) -> None:
    folder, node = repository_dir(lab) / "small", any_node(lab)
    argv = ("es", "snapshot", "create", "--repository", "small", "--index", "orders", "--yes", "--name")
    with jobs.small_volume(folder, 4096):
        node.put("_snapshot/small", {"type": "fs", "settings": {"location": str(folder)}}, timeout_s=30)
        try:
            body = {"indices": "customers", "include_global_state": False}
            node.put("_snapshot/small/good", body, {"wait_for_completion": "true"}, timeout_s=60)
            filler = jobs.fill(folder)
            full = bdops(*argv, "bad", timeout_s=120)
            assert full.returncode == 7, (full.stdout, full.stderr)
            assert "No space left" in full.stderr
            assert bdops("jobs", "abort", timeout_s=120).returncode == 0
            filler.unlink()
            rows = bdops("es", "snapshot", "list", "--repository", "small", "-o", "json").json["data"]["snapshots"]
            assert [r["snapshot"] for r in rows if r["counts"]] == ["good"]
        finally:
            node.delete("_snapshot/small", timeout_s=30)


@pytest.mark.thorough
def test_a_node_that_is_killed_meanwhile_makes_it_fail_by_name(lab: Lab, home: Path, bdops: Bdops) -> None:
    node = any_node(lab)
    where = {"location": str(repository_dir(lab))}
    victim = next(h for h in es.HOSTS if node_of(lab, h).where != node.where)
    slow = {"type": "fs", "settings": {**where, "max_snapshot_bytes_per_sec": "30kb"}}
    # Documents that no snapshot has yet, on every node.
    settings = {"number_of_shards": 3, "number_of_replicas": 0, "routing.allocation.total_shards_per_node": 1}
    node.put("slow", {"settings": settings}, timeout_s=30)
    lines = "".join(f'{{"index":{{}}}}\n{{"text":"{secrets.token_hex(400)}"}}\n' for _ in range(2000))
    node.post("slow/_bulk", lines, {"refresh": "true"}, timeout_s=60)
    node.put(PATH, slow, timeout_s=30)
    try:
        with jobs.running(lab, home, "es", "snapshot", "create", "--name", "k", "--index", "slow", "--yes") as (
            process,
            await_event,
        ):
            await_event("act_announced", act="snapshot-create")
            while "k" not in {s["snapshot"] for s in node.get(f"{PATH}/_status", timeout_s=30)["snapshots"]}:
                assert process.poll() is None
            lab.kill(es.PROGRAM, victim)
            _, err = process.communicate(timeout=240)
        assert process.returncode == 7, err
        assert "slow" in err
        assert listed(bdops)["k"]["counts"] is False
    finally:
        es.start(lab, print)
        node.put(PATH, {"type": "fs", "settings": where}, timeout_s=60)
        node.delete("slow", timeout_s=30)
    assert bdops("jobs", "abort", timeout_s=120).returncode == 0


def test_one_that_was_deleted_behind_our_back_is_named(lab: Lab, bdops: Bdops) -> None:
    taken(lab, "doomed")
    any_node(lab).delete(f"{PATH}/doomed", timeout_s=60)
    gone = bdops("es", "snapshot", "drill", "doomed", "--yes", timeout_s=120)
    assert gone.returncode == 2, gone.stderr
    assert "doomed" in gone.stderr


def test_a_partial_one_fails_and_does_not_count_however_often_the_job_is_resumed(lab: Lab, bdops: Bdops) -> None:
    node = any_node(lab)
    settings = {"index.routing.allocation.require._name": "no-such-node", "index.number_of_replicas": 0}
    node.put("nowhere", {"settings": settings}, {"wait_for_active_shards": "0"}, timeout_s=30)
    try:
        done = bdops("es", "snapshot", "create", "--name", "halved", "--yes", timeout_s=120)
        assert done.returncode == 7, (done.stdout, done.stderr)
        again = bdops("jobs", "resume", timeout_s=120)
        assert again.returncode == 7, (again.stdout, again.stderr)
        assert bdops("jobs", "abort", timeout_s=120).returncode == 0
        allowed = bdops("es", "snapshot", "create", "--name", "allowed", "--allow-partial", "--yes", timeout_s=120)
        assert allowed.returncode == 0, allowed.stderr
        rows = listed(bdops)
        assert (rows["allowed"]["status"], rows["allowed"]["counts"]) == ("partial", True)
        assert not rows.get("halved", {"counts": False})["counts"]
        refused = bdops("es", "snapshot", "restore", "allowed", "--into-place", "--yes")
        assert refused.returncode == 2, refused.stderr
    finally:
        node.delete("nowhere", timeout_s=30)
