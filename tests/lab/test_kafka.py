"""Kafka's reader, checks, lists and faults, on the lab's real servers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bdops.components.kafka import history
from bdops.components.kafka.component import COMPONENT
from bdops.components.kafka.settings import Sasl, Security
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import CheckResult, run_checks
from bdops.core.model import CheckOverride, Deployment, Instance, SecretRef
from bdops.lab import kafka, kafka_client, kafka_load
from bdops.lab.lab import Lab
from bdops.lab.recipe import Fault
from tests import needs
from tests.sampling import faults
from tests.servers import serving, silent

pytestmark = pytest.mark.lab("kafka")

ENV = "BDOPS_TEST_WRONG_PASSWORD"


def severities(bdops: Any) -> dict[str, str]:
    return {r["code"]: r["severity"] for r in bdops("kafka", "check", "-o", "json").json["data"]["checks"]}


def all_ok(bdops: Any) -> Callable[[], bool]:
    return lambda: set(severities(bdops).values()) == {"ok"}


def read(deployment: Deployment, *readings: str, timeout_s: float = 5) -> KafkaState:
    return COMPONENT.read_state(deployment, timeout_s=timeout_s, readings=frozenset(readings) if readings else None)


def judged(state: KafkaState, code: str, **limits: float) -> CheckResult:
    override = CheckOverride(limits={name: (value, None) for name, value in limits.items()})
    checks = [c for c in COMPONENT.checks if c.code == code]
    return run_checks(checks, state, component="kafka", overrides={code: override})[0]


def elsewhere(deployment: Deployment, **settings: Any) -> Deployment:
    """The deployment with other settings on every instance."""
    instances = (replace(i, settings=replace(i.settings, **settings)) for i in deployment.instances)
    return replace(deployment, instances=tuple(instances))


# The healthy cluster


def test_a_healthy_cluster_is_ok_in_every_check(bdops, eventually) -> None:
    eventually(all_ok(bdops), 120)
    assert len(severities(bdops)) == len(COMPONENT.checks)


def test_everything_is_read_and_quickly(lab: Lab) -> None:
    started = time.monotonic()
    state = read(lab.deployment("kafka"))
    taken_s = time.monotonic() - started
    assert state.unread == {}
    # The directories' errors are in `log_dirs`, and asked for by themselves only where those are not wanted.
    assert {f for f in KafkaState.__dataclass_fields__ if getattr(state, f) is None} == {"dir_errors"}
    assert state.quorum is not None
    assert {v.id for v in state.quorum.voters} == {1, 2, 3}
    assert len(state.log_dirs or ()) == 8
    assert all(d.total_bytes for d in state.log_dirs or ())
    # It takes a tenth of a second; this only catches a wait that should not be there.
    assert taken_s < 3


def test_only_what_is_asked_for_is_read(lab: Lab) -> None:
    state = read(lab.deployment("kafka"), "servers", "topics")
    assert state.topics
    assert state.servers
    assert (state.quorum, state.log_dirs, state.groups, state.broker_configs) == (None, None, None, None)


def test_a_saved_state_gives_the_same_answers_as_the_cluster(bdops, tmp_path: Path, eventually) -> None:
    eventually(all_ok(bdops), 120)
    file = tmp_path / "kafka.json"
    assert bdops("kafka", "state", "save", str(file)).returncode == 0
    saved = bdops("kafka", "check", "--state", str(file), "-o", "json")
    assert {r["code"]: r["severity"] for r in saved.json["data"]["checks"]} == severities(bdops)
    for words in (("topics",), ("partitions", "--topic", "orders")):
        live = bdops("kafka", *words, "-o", "json").json["data"]
        assert bdops("kafka", *words, "--state", str(file), "-o", "json").json["data"] == live


def test_the_load_is_listed(bdops) -> None:
    topics = {row["topic"]: row for row in bdops("kafka", "topics", "-o", "json").json["data"]["topics"]}
    for topic in kafka_load.TOPICS:
        assert (topics[topic.name]["partitions"], topics[topic.name]["replicas"]) == (topic.partitions, 3)
    groups = {row["group"]: row for row in bdops("kafka", "groups", "--lagging", "-o", "json").json["data"]["groups"]}
    assert set(groups) == {"shipping", "analytics"}
    assert groups["shipping"]["lag"] == 12 * 20
    status = bdops("kafka", "status", "-o", "json").json["data"]
    assert [row["state"] for row in status["servers"]] == ["up"] * 4
    assert len(bdops("kafka", "log-dirs", "-o", "json").json["data"]["log_dirs"]) == 8


# Faults


SLOW = {
    "kafka-quorum-lost", "kafka-fenced", "kafka-leaderless", "kafka-under-replicated", "kafka-stuck-reassignment",
    "kafka-replica-removed",
}  # fmt: skip


@pytest.mark.parametrize("fault", faults(kafka.RECIPE, thorough=SLOW))
def test_a_fault_is_shown_by_the_checks_it_names_and_by_none_after_healing(
    fault: Fault, bdops, eventually, lab: Lab
) -> None:
    if fault.name == "kafka-disk-full" and not lab.has_small_volume("kafka", kafka.SMALL_VOLUME_HOST):
        needs.root("mounting a small volume")
    try:
        put_in = bdops("lab", "fault", fault.name, "--name", lab.name)
        assert put_in.returncode == 0, put_in.stderr
        found = severities(bdops)
        assert {code for code in fault.shows if found[code] in ("ok", "unknown")} == set(), found
    finally:
        healed = bdops("lab", "fault", fault.name, "--heal", "--name", lab.name)
    assert healed.returncode == 0, healed.stderr
    eventually(all_ok(bdops), 120)


@pytest.mark.thorough
def test_a_killed_broker_is_named_by_the_lists_and_blamed(bdops, eventually, lab: Lab) -> None:
    lab.kill(kafka.PROGRAM, "node4")
    try:
        eventually(lambda: severities(bdops)["KAFKA_BROKER_FENCED"] == "critical", 120)
        rows = bdops("kafka", "partitions", "--under-replicated", "-o", "json").json["data"]["partitions"]
        assert rows
        assert all(row["missing"] == [4] for row in rows)
        status = {row["server"]: row for row in bdops("kafka", "status", "-o", "json").json["data"]["servers"]}
        assert status["node4"]["state"] == "fenced, no answer"
        found = {r["code"]: r for r in bdops("kafka", "check", "-o", "json").json["data"]["checks"]}
        blamed = {b for f in found["KAFKA_UNDER_REPLICATED"]["objects"] for b in f["blames"]}
        assert blamed == {f"{lab.name}/kafka/node4"}
        # What only the dead broker knows is unknown, and what the others know is not.
        assert found["KAFKA_LOG_DIR_OFFLINE"]["severity"] == "unknown"
        assert found["KAFKA_GROUP_STOPPED"]["severity"] == "ok"
    finally:
        lab.start(kafka.PROGRAM, "node4")
    eventually(all_ok(bdops), 120)


def test_a_paused_broker_costs_its_own_answer_and_not_the_run(lab: Lab, eventually, bdops) -> None:
    lab.pause(kafka.PROGRAM, "node4")
    try:
        started = time.monotonic()
        state = read(lab.deployment("kafka"), timeout_s=4)
        assert time.monotonic() - started < 4.5
        errors = {s.name.rsplit("/", 1)[-1]: s.error for s in state.servers or ()}
        assert "no answer to ApiVersions" in str(errors.pop("node4"))
        assert set(errors.values()) == {None}
        assert state.topics is not None
        assert state.quorum is not None
    finally:
        lab.resume(kafka.PROGRAM, "node4")
    eventually(all_ok(bdops), 120)


def test_an_inventory_that_differs_from_the_cluster_is_noticed(lab: Lab) -> None:
    whole = lab.deployment("kafka")
    three = replace(whole, instances=whole.instances[:3])
    unknown = judged(read(three, "brokers"), "KAFKA_BROKER_UNKNOWN")
    assert [f.object for f in unknown.objects] == ["broker 4"]
    last = whole.instances[3]
    other = replace(last, host=replace(last.host, name="node9"), settings=replace(last.settings, node_id=9))
    missing = judged(read(replace(whole, instances=(*whole.instances, other)), "brokers"), "KAFKA_BROKER_MISSING")
    assert [f.object for f in missing.objects] == [f"{lab.name}/kafka/node9"]


def test_instances_without_a_node_id_are_known_by_their_address(lab: Lab) -> None:
    state = read(elsewhere(lab.deployment("kafka"), node_id=None), "brokers", "log_dirs")
    assert judged(state, "KAFKA_BROKER_MISSING").severity.value == "ok"
    assert {d.broker for d in state.log_dirs or ()} == {1, 2, 3, 4}


# Consumer groups, on real consumers


@contextmanager
def member(lab: Lab, group: str, topic: str) -> Iterator[Any]:
    """A consumer that has joined the group and commits nothing by itself."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        bootstrap_servers=kafka_client.bootstrap(lab), group_id=group, enable_auto_commit=False, metadata_max_age_ms=500
    )
    try:
        deadline = time.monotonic() + 90
        # A member that joins through a broker which has not heard of a new topic yet is given none of it, and is not
        # asked again: it joins anew until it has it.
        while not consumer.assignment() and time.monotonic() < deadline:
            if consumer.partitions_for_topic(topic):
                consumer.subscribe([topic])
                attempt = time.monotonic() + 10
                while not consumer.assignment() and time.monotonic() < attempt:
                    consumer.poll(timeout_ms=200)
                if not consumer.assignment():
                    consumer.unsubscribe()
        assert consumer.assignment(), "the consumer got no partition"
        yield consumer
    finally:
        consumer.close()


@pytest.fixture
def topic(lab: Lab) -> Iterator[str]:
    kafka_client.create_topic(lab, "test-groups", [[1, 2, 3]])
    yield "test-groups"
    kafka_client.delete_topics(lab, ["test-groups"])


@pytest.fixture
def close_samples(monkeypatch, tmp_path: Path) -> None:
    """A window of seconds, kept apart from the other tests'."""
    monkeypatch.setattr(history, "MIN_GAP", timedelta(0))
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path))


def group_check(lab: Lab, code: str, group: str) -> str | None:
    """What a check says of one group, over a window of a second."""
    state = read(lab.deployment("kafka"), "groups", "group_samples")
    result = judged(state, code, enough=1, floor=10)
    return next((f.severity.value for f in result.objects if f.object == group), None)


def test_a_member_that_commits_nothing_new_is_stalled(lab: Lab, topic: str, close_samples, eventually) -> None:
    with member(lab, "test-stalled", topic) as consumer:
        from kafka import TopicPartition
        from kafka.structs import OffsetAndMetadata

        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
        kafka_load.fill(lab, topic, [0], 50)
        assert group_check(lab, "KAFKA_GROUP_STALLED", "test-stalled") is None, "one look is no window"
        eventually(lambda: group_check(lab, "KAFKA_GROUP_STALLED", "test-stalled") == "critical", 60)
        assert group_check(lab, "KAFKA_GROUP_STOPPED", "test-stalled") is None
    eventually(lambda: group_check(lab, "KAFKA_GROUP_STOPPED", "test-stalled") == "critical", 60)
    kafka_client.delete_group(lab, "test-stalled")


def test_a_member_that_is_slower_than_its_producers_is_lagging(lab: Lab, topic: str, close_samples, eventually) -> None:
    from kafka import TopicPartition
    from kafka.structs import OffsetAndMetadata

    committed = 0
    kafka_load.fill(lab, topic, [0], 50)
    with member(lab, "test-lagging", topic) as consumer:

        def look() -> bool:
            nonlocal committed
            committed += 1
            consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(committed, "", -1)})
            kafka_load.fill(lab, topic, [0], 5)
            return group_check(lab, "KAFKA_GROUP_LAGGING", "test-lagging") == "warning"

        eventually(look, 60)
        assert group_check(lab, "KAFKA_GROUP_STALLED", "test-lagging") is None
    kafka_client.delete_group(lab, "test-lagging")


def test_a_group_that_is_set_back_is_rewound(lab: Lab, topic: str, close_samples, eventually) -> None:
    kafka_load.fill(lab, topic, [0], 200)
    kafka_client.commit(lab, "test-rewound", topic, {0: 180})
    # Its coordinator may be new to it: only once its lag has been seen can it be seen to go back.
    eventually(lambda: group_check(lab, "KAFKA_GROUP_STOPPED", "test-rewound") == "critical", 60)
    assert group_check(lab, "KAFKA_GROUP_REWOUND", "test-rewound") is None
    kafka_client.commit(lab, "test-rewound", topic, {0: 20})
    eventually(lambda: group_check(lab, "KAFKA_GROUP_REWOUND", "test-rewound") == "critical", 60)
    kafka_client.delete_group(lab, "test-rewound")


# TLS and SASL where none is asked for (test_secure_kafka.py has the rest), and servers that are none


def login(protocol: Any) -> Security:
    return Security(protocol=protocol, sasl=Sasl(user="operator", password=SecretRef(env=ENV)))


MISMATCHES: dict[str, tuple[int, Security, str, str]] = {
    "TLS to plaintext": (kafka.PORT, login("SASL_SSL"), "UNREACHABLE", "TLS handshake failed"),
    "SASL where none is asked for": (kafka.PORT, login("SASL_PLAINTEXT"), "NOT_AUTHORISED", "does not ask for SASL"),
    "nothing listens": (9999, Security(), "UNREACHABLE", "Connection refused"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_server_that_will_not_have_us_says_why(name: str, lab: Lab, monkeypatch) -> None:
    port, security, code, words = MISMATCHES[name]
    monkeypatch.setenv(ENV, "wrong")
    started = time.monotonic()
    state = read(elsewhere(lab.deployment("kafka"), port=port, security=security), "servers", "topics")
    assert time.monotonic() - started < 4
    assert {s.error_code for s in state.servers or ()} == {code}
    assert all(words in str(s.error) for s in state.servers or ())
    assert words in state.unread["topics"]


def http(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def wrong_correlation(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"\x00\x00\x00\x08\x7f\x7f\x7f\x7fabcd")


def rubbish_in_a_frame(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\xff\xff\xff\xff")


def closes(connection: socket.socket) -> None:
    connection.recv(1000)


def half_an_answer(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"\x00\x00\x01\x00\x00\x00\x00\x01")
    silent(connection)


IMPOSTORS = {
    http: "does not speak the Kafka protocol",
    wrong_correlation: "does not speak the Kafka protocol",
    rubbish_in_a_frame: "cannot decode",
    closes: "closed the connection",
    silent: "no answer to ApiVersions",
    half_an_answer: "no answer to ApiVersions",
}


def impostor(instance: Instance, port: int) -> Instance:
    """The instance, as an inventory with a wrong address has it."""
    host = replace(instance.host, address="127.0.0.1")
    return replace(instance, host=host, settings=replace(instance.settings, port=port))


@pytest.mark.parametrize("behaviour", IMPOSTORS, ids=lambda f: f.__name__)
def test_a_port_that_is_no_kafka_is_named_in_time(behaviour: Callable[..., None], lab: Lab) -> None:
    with serving(behaviour) as port:
        started = time.monotonic()
        whole = lab.deployment("kafka")
        state = read(replace(whole, instances=tuple(impostor(i, port) for i in whole.instances)), timeout_s=2)
        assert time.monotonic() - started < 2.5
    assert all(IMPOSTORS[behaviour] in str(s.error) for s in state.servers or ())
    assert {s.error_code for s in state.servers or ()} == {"UNREACHABLE"}
    assert state.topics is None
    assert "no broker could be asked" in state.unread["topics"]


def test_one_impostor_among_servers_costs_itself_alone(lab: Lab) -> None:
    whole = lab.deployment("kafka")
    with serving(silent) as port:
        first = whole.instances[0]
        state = read(replace(whole, instances=(impostor(first, port), *whole.instances[1:])))
    assert [s.error is None for s in state.servers or ()] == [False, True, True, True]
    assert state.topics
    assert {d.broker for d in state.log_dirs or ()} == {2, 3, 4}
    assert set(state.unread) == {f"{reading}/{first.name}" for reading in ("log_dirs", "broker_configs", "groups")}


def test_the_history_has_no_secrets_and_is_private(lab: Lab, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path))
    read(lab.deployment("kafka"))
    (file,) = (tmp_path / "kafka").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert set(json.loads(file.read_text().splitlines()[-1])) == {"at", "offsets", "copied_bytes"}
