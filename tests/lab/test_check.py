"""`bdops check` of everything, on real servers: one run, the common cause, and every sink."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jsonschema
import pytest

from bdops.registry import COMPONENTS

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.lab("zk", "kafka", "hdfs", "es")]


@pytest.fixture
def lab_does(bdops, lab):
    """`bdops lab VERB INSTANCE`, which must work."""

    def do(verb: str, instance: str) -> None:
        done = bdops("lab", verb, instance, "--name", lab.name)
        assert done.returncode == 0, done.stderr

    return do


def test_a_healthy_lab_is_ok_in_every_check_and_hosts_are_checked_too(bdops, eventually) -> None:
    eventually(lambda: bdops("check").returncode == 0, 120)
    answer = bdops("check", "-o", "json").json
    assert answer["status"] == "ok"
    subjects = {r["subject"].split("/")[1] for r in answer["data"]["checks"]}
    assert subjects == {*COMPONENTS, "host"}
    assert answer["data"]["common_cause"] is None


def test_forty_problems_of_one_broker_are_summed_up_as_that_broker(bdops, eventually, lab_does) -> None:
    lab_does("kill", "kafka/node4")
    try:
        cause = eventually(lambda: bdops("kafka", "check", "-o", "json").json["data"]["common_cause"], 120)
        assert cause["name"].endswith("/kafka/node4")
        assert cause["explains"] > 2
        done = bdops("check", "-o", "nagios")
        assert done.returncode == 2
        assert "common cause: instance" in done.stdout.splitlines()[0]
    finally:
        lab_does("start", "kafka/node4")
    eventually(lambda: bdops("kafka", "check").returncode == 0, 120)


def test_one_hung_server_costs_its_own_checks_and_not_the_run(bdops, eventually, lab_does) -> None:
    lab_does("pause", "es/node3")
    try:
        started = time.monotonic()
        answer = bdops("check", "--timeout", "4s", "-o", "json").json
        assert time.monotonic() - started < 15
        worst = {r["subject"].split("/")[1] for r in answer["data"]["checks"] if r["severity"] != "ok"}
        assert "es" in worst
        assert "zk" not in worst
        assert any(
            "node3" in json.dumps(r["objects"]) for r in answer["data"]["checks"] if r["subject"].endswith("/es")
        )
    finally:
        lab_does("resume", "es/node3")
    eventually(lambda: bdops("check").returncode == 0, 120)


def test_a_selector_checks_only_what_it_names(bdops) -> None:
    answer = bdops("check", "zk/node1", "-o", "json").json
    assert {r["subject"].split("/")[1] for r in answer["data"]["checks"]} == {"zk", "host"}


def test_the_textfile_has_every_check_and_the_time_of_the_last_success(bdops, tmp_path: Path) -> None:
    path = tmp_path / "bdops.prom"
    codes = {r["code"] for r in bdops("check", "-o", "json", "--textfile", str(path)).json["data"]["checks"]}
    text = path.read_text()
    assert all(f'code="{code}"' in text for code in codes)
    assert text.count("bdops_check_last_success_timestamp_seconds{") == len(COMPONENTS) + 1


@pytest.mark.parametrize("component", list(COMPONENTS))
def test_a_saved_state_answers_as_the_cluster_did_and_fits_its_schema(component: str, bdops, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    saved = bdops(component, "state", "save", str(path))
    assert saved.returncode == 0, saved.stderr
    schema = json.loads((ROOT / f"docs/state-{component}.schema.json").read_text())
    jsonschema.validate(json.loads(path.read_text()), schema)
    live = bdops(component, "check", "-o", "json").json
    offline = bdops(component, "check", "--state", str(path), "-o", "json").json
    live_codes = {r["code"]: r["severity"] for r in live["data"]["checks"]}
    offline_codes = {r["code"]: r["severity"] for r in offline["data"]["checks"]}
    assert offline_codes == live_codes
    table = bdops(component, "status", "--state", str(path))
    assert table.returncode == 0
    assert table.stdout


@pytest.mark.thorough
def test_a_mute_silences_until_its_date_and_says_so(bdops, lab, lab_does, tmp_path: Path, eventually) -> None:
    mute = 'mutes: [{check: "ZK_*", until: 2999-01-01, reason: "moving, OPS-1"}]'
    text = lab.inventory.read_text().replace(f"  {lab.name}:\n", f"  {lab.name}:\n    {mute}\n", 1)
    muted = tmp_path / "muted.yaml"
    muted.write_text(text)
    lab_does("pause", "zk/node3")
    try:
        eventually(lambda: bdops("zk", "check").returncode in (2, 3), 60)
        done = bdops("zk", "check", "-i", str(muted))
        assert done.returncode == 0, done.stdout
        assert "OPS-1" in done.stdout
    finally:
        lab_does("resume", "zk/node3")
    eventually(lambda: bdops("zk", "check").returncode == 0, 120)
