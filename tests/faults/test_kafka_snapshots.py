"""Backups of a real cluster's metadata: whole, without secrets, restored, proved, and never half made."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ACL as Acl
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from bdops.components.kafka.snapshot import requests
from bdops.components.kafka.snapshot.content import Metadata, loads
from bdops.components.kafka.snapshot.difference import differences
from bdops.components.kafka.snapshot.read import opened_brokers, read_metadata
from bdops.lab import kafka, kafka_client
from bdops.lab.lab import Lab
from tests.conftest import Bdops
from tests.faults import jobs

pytestmark = [pytest.mark.lab("kafka"), pytest.mark.timeout(900)]

MOMENTS = 2
TOPIC, EXTRA, GROUP = "kept", "made-later", "readers"
USER, USER_SECRET = "alice", "alice-and-her-secret"
KEY_SECRET = "key-and-its-secret"
QUOTA = {"user": USER}
ACL_TEXT = f"allow User:{USER} from * to read topic {TOPIC}"
KEY_PASSWORD, PLAIN_CONFIG = "listener.name.plaintext.ssl.key.password", "log.cleaner.backoff.ms"
RECORDS, COMMITTED = 40, 11


def pattern() -> ResourcePattern:
    return ResourcePattern(ResourceType.TOPIC, TOPIC)


def set_quota(lab: Lab, rate: float | None) -> None:
    with opened_brokers(lab.deployment("kafka"), 10) as brokers:
        quota = {"entity": QUOTA, "changes": {"producer_byte_rate": rate}}
        brokers.any(lambda c, d: requests.alter_quotas(c, [quota], d), time.monotonic() + 20)


def set_acl(lab: Lab) -> None:
    with kafka_client.admin(lab) as client:
        client.create_acls([Acl(f"User:{USER}", "*", ACLOperation.READ, ACLPermissionType.ALLOW, pattern())])


def delete_acls(lab: Lab) -> None:
    any_of = ResourcePatternFilter(ResourceType.TOPIC, TOPIC, pattern().pattern_type)
    with kafka_client.admin(lab) as client:
        client.delete_acls([ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, any_of)])


def made_topic(lab: Lab) -> None:
    kafka_client.create_topic(lab, TOPIC, [[1, 2, 3], [2, 3, 4]], {"retention.ms": "86400000"})


@pytest.fixture(scope="module", autouse=True)
def furnished(lab: Lab) -> Iterator[int]:
    """A topic with records (two a second), a group in the middle of it, an ACL, a quota, a SCRAM user, and configs of a
    broker, one of them a secret. The time in ms of the first record."""
    first_ms = int(time.time() * 1000) - 3_600_000
    made_topic(lab)
    with kafka_client.producer(lab, acks="all") as out:
        for n in range(RECORDS):
            out.send(TOPIC, partition=0, value=b"x", timestamp_ms=first_ms + n // 2 * 1000)
    kafka_client.commit(lab, GROUP, TOPIC, {0: COMMITTED, 1: 0})
    set_acl(lab)
    set_quota(lab, 123456.0)
    with kafka_client.admin(lab) as client:
        client.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, USER_SECRET)]
        )
    kafka_client.set_configs(lab, "broker", "1", {KEY_PASSWORD: KEY_SECRET, PLAIN_CONFIG: "16000"})
    yield first_ms
    kafka_client.set_configs(lab, "broker", "1", {KEY_PASSWORD: None, PLAIN_CONFIG: None})
    delete_acls(lab)
    set_quota(lab, None)
    with kafka_client.admin(lab) as client:
        client.alter_user_scram_credentials([UserScramCredentialDeletion(USER, ScramMechanism.SCRAM_SHA_512)])
    kafka_client.delete_group(lab, GROUP)
    kafka_client.delete_topics(lab, [TOPIC, EXTRA])


class Folder:
    """A destination of its own, and the commands on it."""

    def __init__(self, path: Path, lab: Lab, home: Path, bdops: Bdops) -> None:
        self.path, self.lab, self.home, self.bdops = path, lab, home, bdops

    def run(self, verb: str, *argv: str, code: int = 0, timeout_s: float = 180) -> Any:
        done = self.bdops("kafka", "snapshot", *self.argv(verb, *argv), timeout_s=timeout_s)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def argv(self, verb: str, *argv: str) -> list[str]:
        confirmed = ["--yes"] if verb not in ("list", "show", "diff", "verify") else []
        return [verb, *argv, "--destination", str(self.path), *confirmed]

    def create(self, name: str, *argv: str, code: int = 0) -> Any:
        return self.run("create", "--name", name, *argv, code=code)

    def records(self) -> dict[str, Any]:
        rows = self.run("list", "-o", "json").json["data"]["snapshots"]
        return {r["snapshot"]: r for r in rows}

    def good(self) -> set[str]:
        return {name for name, r in self.records().items() if r["counts"]}

    def content(self, name: str) -> Metadata:
        return loads((self.path / f"{name}.metadata").read_bytes())

    def names(self) -> set[str]:
        return {p.name for p in self.path.iterdir()} if self.path.exists() else set()

    def killed(self, when: str, number: int, verb: str, *argv: str) -> int:
        return jobs.killed(self.lab, self.home, when, number, "kafka", "snapshot", *self.argv(verb, *argv))


@pytest.fixture
def folder(tmp_path: Path, lab: Lab, home: Path, bdops: Bdops) -> Iterator[Folder]:
    yield Folder(tmp_path / "backups", lab, home, bdops)
    jobs.abort_open(lab, bdops)


def assert_nothing_is_left(lab: Lab, bdops: Bdops) -> None:
    assert not jobs.drills(lab)
    assert not jobs.remains(lab)
    assert not jobs.settings_left(bdops)


def test_everything_is_in_it_and_no_secret(lab: Lab, folder: Folder, furnished: int) -> None:
    folder.create("one", "--reason", "nightly")
    found = folder.content("one")
    assert found.unread == {}
    assert found.part("topics")[TOPIC]["configs"] == {"retention.ms": "86400000"}
    replicas = [p["replicas"] for p in found.part("topics")[TOPIC]["partitions"]]
    assert replicas == [[1, 2, 3], [2, 3, 4]]
    assert ACL_TEXT in found.part("acls")
    assert found.part("quotas")[f"user {USER}"]["values"] == {"producer_byte_rate": 123456.0}
    assert found.part("scram_users")[USER] == ["SCRAM-SHA-512"]  # other tests have users of their own
    assert found.part("brokers")["1"] == {"rack": "r1", "configs": {PLAIN_CONFIG: "16000"}, "secrets": [KEY_PASSWORD]}
    assert set(found.part("voters")) == {"1", "2", "3"}
    assert found.part("features")["metadata.version"] > 0
    # Two records have each time: the one at the offset that was committed is the second of them.
    assert found.part("groups")[GROUP]["offsets"][f"{TOPIC}-0"] == {
        "offset": COMMITTED,
        "timestamp_ms": furnished + COMMITTED // 2 * 1000,
        "log_end": RECORDS,
    }
    text = (folder.path / "one.metadata").read_text() + (folder.path / "one.json").read_text()
    for secret in (KEY_SECRET, USER_SECRET, "salt", "iterations"):
        assert secret not in text
    assert folder.good() == {"one"}


def test_drift_is_told_and_brought_back_and_what_came_later_stays(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    folder.create("one")
    clean = folder.run("diff", "one", "--detailed-exitcode", "-o", "json")
    assert clean.json["data"]["differences"] == []
    kafka_client.set_configs(lab, "topic", "orders", {"retention.ms": "5000"})
    kafka_client.delete_topics(lab, [TOPIC])
    kafka_client.create_topic(lab, EXTRA, [[1, 2]])
    delete_acls(lab)
    set_quota(lab, 1.0)
    kafka_client.set_configs(lab, "broker", "1", {PLAIN_CONFIG: "17000"})
    kafka_client.commit(lab, "billing", "orders", {0: 1})
    try:
        drift = folder.run("diff", "one", "--detailed-exitcode", "-o", "json", code=6).json["data"]["differences"]
        told = {(d["part"], d["name"], d["change"]) for d in drift}
        assert told == {
            ("topics", "orders", "changed"),
            ("topics", TOPIC, "removed"),
            ("topics", EXTRA, "added"),
            ("acls", ACL_TEXT, "removed"),
            ("quotas", f"user {USER}", "changed"),
            ("brokers", "1", "changed"),
        }
        # `orders` had no retention of its own: that it has one now goes away only when it is named.
        done = folder.run("restore", "one", "--delete", "config=topic/orders/*", "--delete", f"topic={EXTRA}")
        said = " ".join(e["text"] for e in jobs.events_of(lab, "said"))
        assert "retention.ms was 5000" in said
        assert "SCRAM" not in done.stderr, "the user is there"
        after = folder.run("diff", "one", "--part", "topics", "--part", "acls", "--part", "quotas", "-o", "json")
        assert [d["what"] for d in after.json["data"]["differences"]] == ["id"], "a topic that came back has another id"
        whole = read_metadata(lab.deployment("kafka"))
        assert whole.part("brokers")["1"]["configs"] == {PLAIN_CONFIG: "16000"}
        then, now = (
            m.part("groups")["billing"]["offsets"]["orders-0"]["offset"] for m in (folder.content("one"), whole)
        )
        assert now == then != 1
        assert_nothing_is_left(lab, bdops)
        again = folder.run("restore", "one", "--dry-run", "--detailed-exitcode")
        assert "nothing to do" in again.stdout
    finally:
        kafka_client.set_configs(lab, "topic", "orders", {"retention.ms": None})
        kafka_client.delete_topics(lab, [EXTRA])


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
def test_a_restore_that_is_killed_at_any_event_is_finished(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    folder.create("one")

    def disturb() -> None:
        delete_acls(lab)
        set_quota(lab, 1.0)
        kafka_client.set_configs(lab, "topic", TOPIC, {"retention.ms": "5000000"})
        gone = ["quota", "acl", "config"]
        lab.wait(f"{gone} to be changed", lambda: len(found()) == len(gone), 30)

    def found() -> list[Any]:
        return list(differences(folder.content("one"), read_metadata(lab.deployment("kafka"), timestamps=False)))

    disturb()
    folder.run("restore", "one")
    events = len(jobs.newest_events(lab))
    assert found() == []
    for when, number in jobs.moments(events, MOMENTS):
        moment = f"killed {when} event {number} of {events}"
        disturb()
        assert folder.killed(when, number, "restore", "one") in (-9, 0), moment
        resumed = bdops("jobs", "resume", timeout_s=120)
        assert resumed.returncode == 0 or "no job is" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert found() == [], moment
    assert_nothing_is_left(lab, bdops)


@pytest.mark.thorough
def test_a_group_with_members_keeps_its_offsets(lab: Lab, folder: Folder) -> None:
    from kafka import KafkaConsumer

    folder.create("one")
    before = folder.content("one").part("groups")["billing"]["offsets"]["orders-0"]["offset"]
    kafka_client.commit(lab, "billing", "orders", {0: 1})
    consumer = KafkaConsumer(
        "orders", bootstrap_servers=kafka_client.bootstrap(lab), group_id="billing", enable_auto_commit=False
    )
    try:
        deadline = time.monotonic() + 40
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(timeout_ms=200, max_records=1)
        assert consumer.assignment()
        done = folder.run("restore", "one", "--part", "groups", "--dry-run")
        assert "billing" in done.stderr
        assert "with members" in done.stderr
        assert "offsets" not in done.stdout
    finally:
        consumer.close()
    kafka_client.commit(lab, "billing", "orders", {0: before})


@pytest.mark.timeout(3600 if jobs.EVERY else 900)
def test_a_drill_proves_it_and_one_that_is_killed_leaves_nothing(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    folder.create("one")
    folder.run("drill", "one")
    events = len(jobs.newest_events(lab))
    shown = folder.run("show", "one", "-o", "json").json["data"]
    assert shown["proved_at"]
    assert "acls" in shown["proof"]
    assert_nothing_is_left(lab, bdops)
    for at, (when, number) in enumerate(jobs.moments(events, MOMENTS)):
        moment = f"killed {when} event {number} of {events}"
        assert folder.killed(when, number, "drill", "one") in (-9, 0), moment
        ended = bdops("jobs", "abort" if at % 2 else "resume", timeout_s=240)
        assert ended.returncode == 0 or "no job is" in ended.stderr, f"{moment}: {ended.stderr}"
        assert not jobs.drills(lab), moment
        assert folder.good() == {"one"}, moment
    assert_nothing_is_left(lab, bdops)


@pytest.mark.thorough
@pytest.mark.timeout(3600 if jobs.EVERY else 900)
def test_a_backup_that_is_killed_at_any_event_is_whole_or_is_none(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    folder.create("zero")
    events = len(jobs.newest_events(lab))
    for at, (when, number) in enumerate(jobs.moments(events, MOMENTS)):
        moment, name = f"killed {when} event {number} of {events}", f"n{at}"
        assert folder.killed(when, number, "create", "--name", name) in (-9, 0), moment
        counted = folder.good()
        if name in counted:
            folder.content(name)
        resumed = bdops("jobs", "resume", timeout_s=120)
        assert resumed.returncode == 0 or "no job is" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert name in folder.good(), moment
    assert not [n for n in folder.names() if n.startswith(".")]
    assert_nothing_is_left(lab, bdops)


@pytest.mark.thorough
@pytest.mark.timeout(3600 if jobs.EVERY else 900)
def test_a_prune_that_is_killed_at_any_event_deletes_what_was_to_go_and_nothing_else(
    lab: Lab, folder: Folder, bdops: Bdops
) -> None:
    for name in ("one", "two", "three"):
        folder.create(name)
    files = {p: p.read_bytes() for p in folder.path.iterdir()}
    argv = ("--keep", "1h", "--min-good", "1")
    folder.run("prune", *argv)
    events = len(jobs.newest_events(lab))
    for when, number in jobs.moments(events, MOMENTS):
        moment = f"killed {when} event {number} of {events}"
        for path, data in files.items():
            path.write_bytes(data)
        assert folder.killed(when, number, "prune", *argv) in (-9, 0), moment
        assert "three" in folder.good(), moment
        resumed = bdops("jobs", "resume", timeout_s=120)
        assert resumed.returncode == 0 or "no job is" in resumed.stderr, f"{moment}: {resumed.stderr}"
        assert folder.names() == {"three.json", "three.metadata"}, moment
    assert_nothing_is_left(lab, bdops)


@pytest.mark.thorough
def test_one_that_was_being_written_and_is_aborted_leaves_no_file(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    with jobs.running(lab, folder.home, "kafka", "snapshot", *folder.argv("create", "--name", "one")) as (
        p,
        await_event,
    ):
        await_event("act_announced", act="snapshot-create")
        p.send_signal(signal.SIGKILL)
        p.wait()
    if "one" not in folder.good():
        folder.path.mkdir(exist_ok=True)
        (folder.path / "one.metadata").write_text("written, and the record is not")
        (folder.path / ".one.json.0123456789ab.partial").write_text("{")
    assert bdops("jobs", "abort", timeout_s=120).returncode == 0
    assert folder.names() in (set(), {"one.json", "one.metadata"})


def test_a_broker_that_is_down_makes_it_partial_which_does_not_count(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    folder.create("whole")
    lab.kill(kafka.PROGRAM, "node4")
    try:
        failed = folder.create("half", code=7)
        assert "partial" in failed.stderr
        assert "brokers/4" in failed.stderr
        assert folder.good() == {"whole"}
        unknown = folder.run("diff", "whole", "--detailed-exitcode", code=3)
        assert "brokers/4" in unknown.stdout
        bdops("jobs", "abort", timeout_s=120)
        folder.create("allowed", "--allow-partial")
        assert folder.good() == {"whole", "allowed"}
    finally:
        lab.start(kafka.PROGRAM, "node4")
        lab.wait("Kafka to serve", lambda: kafka.serving(lab), 180)
        kafka_client.await_in_sync(lab, 180)


def test_a_damaged_and_a_missing_file_are_named_and_nothing_good_is_deleted_for_them(folder: Folder) -> None:
    for name in ("older", "damaged", "gone"):
        folder.create(name)
    data = bytearray((folder.path / "damaged.metadata").read_bytes())
    data[len(data) // 2] ^= 1
    (folder.path / "damaged.metadata").write_bytes(data)
    (folder.path / "gone.metadata").unlink()
    assert folder.good() == {"older"}
    verified = folder.run("verify", code=1)
    assert "SHA-256" in verified.stdout
    assert "is gone" in verified.stdout
    for verb in ("drill", "restore", "diff"):
        refused = folder.run(verb, "damaged", code=2)
        assert "no backup" in refused.stderr
    pruned = folder.run("prune", "--keep", "1h", "--min-good", "1")
    assert "older" in pruned.stdout
    assert "older" in folder.good()
    held = folder.run("hold", "older", "--reason", "the last one")
    assert held.returncode == 0
    assert folder.records()["older"]["hold"] == "the last one"
    folder.run("release", "older")
    assert folder.records()["older"]["hold"] is None


def test_a_full_and_a_read_only_destination_are_named_and_lose_nothing(lab: Lab, folder: Folder, bdops: Bdops) -> None:
    with jobs.small_volume(folder.path, 64):
        folder.create("one")
        filler = jobs.fill(folder.path)
        full = folder.create("two", code=7)
        assert "No space left" in full.stderr
        assert folder.names() == {"filler", "one.json", "one.metadata"}
        assert folder.good() == {"one"}
        filler.unlink()
        assert bdops("jobs", "resume", timeout_s=120).returncode == 0
        assert folder.good() == {"one", "two"}
        jobs.make_read_only(folder.path)
        for argv in (
            ("create", "--name", "three"),
            ("hold", "one", "--reason", "why"),
            ("prune", "--keep", "1h", "--min-good", "1"),
        ):
            refused = folder.run(*argv, code=7)
            assert "Read-only file system" in refused.stderr, argv
            bdops("jobs", "abort", timeout_s=120)
        assert folder.good() == {"one", "two"}
