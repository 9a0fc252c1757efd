"""A rolling restart of a real Elasticsearch cluster under load, as its clients see it; and disturbed ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.lab import es, es_faults
from bdops.lab.es_api import any_node
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = [pytest.mark.lab("es"), pytest.mark.timeout(600)]
INDEX = "observed"
ENABLE = "cluster.routing.allocation.enable"
CALL_S = 30.0


@contextmanager
def observed(lab: Lab) -> Iterator[jobs.Observed]:
    """Clients work while this lasts; afterwards the report is there, and the index of their documents is gone."""
    node = any_node(lab)
    node.delete(INDEX, timeout_s=CALL_S)
    mapping = {"properties": {"n": {"type": "long"}, "text": {"type": "text"}}}
    body = {"settings": {"number_of_shards": 2, "number_of_replicas": 1}, "mappings": mapping}
    node.put(INDEX, body, {"wait_for_active_shards": "all"}, timeout_s=CALL_S)
    urls = ",".join(f"http://{lab.host(h).address}:{es.HTTP_PORT}" for h in es.HOSTS)
    try:
        with jobs.observing("es_observer", INDEX, urls, timeout_s=120) as report:
            yield report
    finally:
        any_node(lab).delete(INDEX, timeout_s=CALL_S)


def master_of(lab: Lab) -> str:
    params = {"filter_path": "master_node,nodes.*.name"}
    view = any_node(lab).get("_cluster/state/master_node,nodes", params, timeout_s=CALL_S)
    return str(view["nodes"][view["master_node"]]["name"])


def others_of(lab: Lab) -> list[str]:
    master = master_of(lab)
    return [h for h in es.HOSTS if h != master]


def name(lab: Lab, host: str) -> str:
    return f"{lab.name}/es/{host}"


def newest_job(lab: Lab) -> str:
    """By its id: a job that a failed test left paused is none of ours."""
    return jobs.job_folders(lab)[0].name


def cluster_settings(lab: Lab) -> dict[str, Any]:
    found = any_node(lab).get("_cluster/settings", {"flat_settings": "true"}, timeout_s=CALL_S)
    return {level: found[level] for level in ("persistent", "transient") if found[level]}


def set_allocation(lab: Lab, level: str, value: str | None) -> None:
    any_node(lab).put("_cluster/settings", {level: {ENABLE: value}}, timeout_s=CALL_S)


def assert_nothing_is_left(lab: Lab) -> None:
    assert not jobs.newest_state(lab).open_loans
    assert not jobs.remains(lab)
    assert cluster_settings(lab) == {}


def assert_well_observed(report: jobs.Observed) -> None:
    """Every acknowledged document is there once, all requests were served, one node was down at most."""
    assert report["violations"] == []
    assert report["documents"] > 200
    assert report["stored"] >= report["documents"]
    assert report["most_down"] <= 1, report["down_seen"]
    assert report["fewest_members"] >= 2
    assert report["most_masters"] == 1
    assert report["samples"] > 20


def test_a_full_restart_under_load_loses_nothing_and_fails_nothing(lab: Lab, bdops: Bdops) -> None:
    before, master = jobs.pids(lab, "es"), master_of(lab)
    starts = jobs.spawns(lab, "es")
    with observed(lab) as report:
        began = time.monotonic()
        done = bdops("es", "restart", "--yes", "--reason", "the proof", timeout_s=400)
        took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    print(f"es restart: {took_s:.1f} s; {json.dumps(report)}")
    after = jobs.pids(lab, "es")
    assert all(after[instance] not in (None, pid) for instance, pid in before.items())
    assert set(jobs.restarts(lab, "es", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == master
    assert_nothing_is_left(lab)
    assert_well_observed(report)
    assert len(report["masters"]) == 2, "one election, at the elected master's own restart"


@pytest.mark.thorough
def test_a_restart_that_is_killed_half_way_is_resumed_under_load(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, master = jobs.spawns(lab, "es"), master_of(lab)
    with observed(lab) as report:
        with jobs.running(lab, home, "es", "restart", "--yes") as (_, await_event):
            await_event("act_announced", step="0002", act="restart")
        done = bdops("jobs", "resume", newest_job(lab), timeout_s=400)
    assert done.returncode == 0, done.stderr
    print(f"es restart, killed and resumed: {json.dumps(report)}")
    assert set(jobs.restarts(lab, "es", starts).values()) == {1}
    assert jobs.steps_done(lab)[-1] == master
    assert_nothing_is_left(lab)
    assert_well_observed(report)


@pytest.mark.thorough
def test_another_node_that_dies_meanwhile_pauses_the_job_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    starts, other = jobs.spawns(lab, "es"), others_of(lab)[1]
    with jobs.running(lab, home, "es", "restart", "--yes") as (process, await_event):
        await_event("verified", step="0001", act="restart")
        lab.kill(es.PROGRAM, other)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert f"{name(lab, other)} went down meanwhile" in err
    assert "bdops jobs resume" in err
    now = jobs.restarts(lab, "es", starts)
    assert sum(now.values()) == 1, now
    assert cluster_settings(lab) == {}, "what was borrowed is back while the job is paused"
    assert not jobs.remains(lab)
    lab.start(es.PROGRAM, other)
    await_whole(lab)
    done = bdops("jobs", "resume", newest_job(lab), timeout_s=400)
    assert done.returncode == 0, done.stderr
    # The one that was killed has a new process already, and is not restarted once more for the job's sake.
    assert set(jobs.restarts(lab, "es", starts).values()) == {1}
    assert_nothing_is_left(lab)


@pytest.mark.thorough
def test_beside_a_paused_node_nothing_is_taken_down(lab: Lab, bdops: Bdops) -> None:
    starts = jobs.spawns(lab, "es")
    victim, other = others_of(lab)
    lab.pause(es.PROGRAM, victim)
    try:
        answer = bdops("--timeout", "4", "es", "can-stop", other, "-o", "json")
        refused = bdops("es", "restart", other, "--yes", "-o", "json")
        accepted = bdops("es", "restart", other, "--yes", "--accept-risk", "ES_SILENT", "-o", "json")
    finally:
        lab.resume(es.PROGRAM, victim)
    assert answer.returncode == 3, answer.stdout
    assert "ES_SILENT" in answer.stdout
    for done, rule in ((refused, "ES_SILENT"), (accepted, "ES_QUORUM")):
        assert done.returncode == 5, (done.stdout, done.stderr)
        assert done.json["status"] == "refused"
        assert rule in json.dumps(done.json["errors"])
    assert name(lab, victim) in json.dumps(refused.json["errors"])
    assert set(jobs.restarts(lab, "es", starts).values()) == {0}
    await_whole(lab)


@pytest.mark.thorough
def test_a_restart_mends_what_is_down_first(lab: Lab, bdops: Bdops) -> None:
    starts, victim, master = jobs.spawns(lab, "es"), others_of(lab)[1], master_of(lab)
    lab.kill(es.PROGRAM, victim)
    refused = bdops("es", "restart", master, "--yes")
    assert refused.returncode == 5, refused.stderr
    assert "ES_QUORUM" in refused.stderr
    done = bdops("es", "restart", "--yes", timeout_s=400)
    assert done.returncode == 0, done.stderr
    order = jobs.steps_done(lab)
    assert (order[0], order[-1]) == (victim, master)
    assert set(jobs.restarts(lab, "es", starts).values()) == {1}
    assert_nothing_is_left(lab)


@pytest.mark.thorough
def test_a_node_is_stopped_and_started_and_nothing_else_may_stop_meanwhile(lab: Lab, bdops: Bdops) -> None:
    starts = jobs.spawns(lab, "es")
    victim, other = others_of(lab)
    stopped = bdops("es", "stop", victim, "--yes", timeout_s=200)
    assert stopped.returncode == 0, stopped.stderr
    assert jobs.pids(lab, "es")[name(lab, victim)] is None
    answer = bdops("es", "can-stop", other, "-o", "json")
    assert answer.returncode == 2, answer.stdout
    assert "ES_QUORUM" in answer.stdout
    assert bdops("es", "can-stop", victim).returncode == 0
    started = bdops("es", "start", victim, "--yes", timeout_s=200)
    assert started.returncode == 0, started.stderr
    assert jobs.restarts(lab, "es", starts) == {h: int(h == victim) for h in es.HOSTS}
    health = any_node(lab).get("_cluster/health", timeout_s=CALL_S)
    assert health["unassigned_shards"] == 0, "a start is done when the node's shards are back"
    assert_nothing_is_left(lab)


@pytest.mark.parametrize("level", ["transient", pytest.param("persistent", marks=pytest.mark.thorough)])
def test_the_value_that_was_set_before_comes_back_at_its_own_level(lab: Lab, bdops: Bdops, level: str) -> None:
    first = others_of(lab)[0]
    set_allocation(lab, level, "all")
    try:
        done = bdops("es", "restart", first, "--yes", timeout_s=200)
        assert done.returncode == 0, done.stderr
        assert cluster_settings(lab) == {level: {ENABLE: "all"}}
        (borrowed,) = (e for e in jobs.newest_events(lab) if e["event"] == "borrowed")
        assert (borrowed["key"], borrowed["previous"], borrowed["value"]) == (f"{level}/{ENABLE}", "all", "primaries")
    finally:
        set_allocation(lab, level, None)
    assert_nothing_is_left(lab)


@pytest.mark.thorough
def test_a_value_that_someone_else_sets_meanwhile_stays_theirs_and_is_named(lab: Lab, home: Path, bdops: Bdops) -> None:
    first = others_of(lab)[0]
    try:
        with jobs.running(lab, home, "es", "restart", first, "--yes") as (process, await_event):
            await_event("act_announced", step="0001", act="restart")
            set_allocation(lab, "persistent", "all")
            _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert f"persistent/{ENABLE} is all now, set by someone else" in err
        assert cluster_settings(lab) == {"persistent": {ENABLE: "all"}}
        assert not jobs.newest_state(lab).open_loans
    finally:
        set_allocation(lab, "persistent", None)
    await_whole(lab)


def test_allocation_that_was_left_off_is_refused_found_and_mended_by_doctor(lab: Lab, bdops: Bdops) -> None:
    first = others_of(lab)[0]
    starts = jobs.spawns(lab, "es")
    set_allocation(lab, "transient", "primaries")
    try:
        refused = bdops("es", "restart", first, "--yes")
        assert refused.returncode == 5, refused.stderr
        assert "ES_ALLOCATION_LEFT" in refused.stderr
        found = bdops("doctor")
        assert f"transient/{ENABLE}" in found.stdout
        mended = bdops("doctor", "--fix", "--yes")
        assert mended.returncode == 0, mended.stderr
        assert cluster_settings(lab) == {}
    finally:
        set_allocation(lab, "transient", None)
    assert set(jobs.restarts(lab, "es", starts).values()) == {0}


@pytest.mark.thorough
def test_an_index_without_replicas_is_named_and_may_be_accepted(lab: Lab, bdops: Bdops) -> None:
    first = others_of(lab)[0]
    node = any_node(lab)
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "index.routing.allocation.require._name": first}
    node.put("alone", {"settings": settings}, {"wait_for_active_shards": "1"}, timeout_s=CALL_S)
    try:
        refused = bdops("es", "restart", first, "--yes", "-o", "json")
        assert refused.returncode == 5, refused.stderr
        assert "ES_NO_REPLICA: alone[0]" in refused.json["errors"][0]["message"]
        assert "--accept-risk ES_NO_REPLICA" in refused.json["errors"][0]["hint"]
        done = bdops("es", "restart", first, "--yes", "--accept-risk", "ES_NO_REPLICA", timeout_s=200)
        assert done.returncode == 0, done.stderr
        assert node.get("_cluster/health/alone", timeout_s=CALL_S)["status"] == "green"
    finally:
        node.delete("alone", timeout_s=CALL_S)
    assert_nothing_is_left(lab)


@pytest.mark.thorough
def test_one_that_does_not_come_back_pauses_the_job_with_the_end_of_its_log(
    lab: Lab, bdops: Bdops, tmp_path: Path
) -> None:
    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["clusters"][lab.name]["components"]["es"]["restart"] = {"verify_timeout_s": 25}
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(inventory))
    first = sorted(others_of(lab))[0]
    starts, args = jobs.spawns(lab, "es"), es.config_dir(lab, first) / "server-args"
    good = args.read_bytes()
    settings = {**es.node_settings(lab, first), "no.such.setting": "1"}
    args.write_bytes(es.server_args(settings, es.config_dir(lab, first), es.log_dir(lab, first)))
    try:
        done = bdops("es", "restart", "--yes", timeout_s=200, BDOPS_INVENTORY=str(tmp_path / "inventory.yaml"))
    finally:
        args.write_bytes(good)
    assert done.returncode == 7, done.stderr
    assert f"{name(lab, first)} is not back" in done.stderr
    assert {h: n > 0 for h, n in jobs.restarts(lab, "es", starts).items()} == {h: h == first for h in es.HOSTS}
    assert cluster_settings(lab) == {}
    (log,) = (e["lines"] for e in jobs.newest_events(lab) if e["event"] == "log_fetched")
    assert "no.such.setting" in " ".join(log)
    lab.start(es.PROGRAM, first)
    await_whole(lab)
    resumed = bdops("jobs", "resume", newest_job(lab), timeout_s=400)
    assert resumed.returncode == 0, resumed.stderr
    assert all(n >= 1 for n in jobs.restarts(lab, "es", starts).values())
    assert_nothing_is_left(lab)


def await_whole(lab: Lab) -> None:
    """All nodes serve, and every shard has its copies."""
    lab.wait("Elasticsearch to be whole", lambda: all(es.serves(lab, h) for h in es.HOSTS), 120)
    lab.wait("its shards to be assigned", lambda: es_faults.is_settled(lab), 120)
