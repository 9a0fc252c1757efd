"""Kafka with TLS, SASL and ACLs: bdops against real brokers that ask who it is, and let it do no more than it must."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bdops.components.kafka.component import COMPONENT
from bdops.components.kafka.settings import Sasl, Security
from bdops.components.kafka.snapshot.read import read_metadata
from bdops.components.kafka.state import KafkaState
from bdops.core.model import Deployment, SecretRef
from bdops.lab import kafka, kafka_client, kafka_users, security
from bdops.lab.lab import Lab
from tests.secured import UP_TIMEOUT_S, Secured, secured_lab

pytestmark = pytest.mark.timeout(UP_TIMEOUT_S)

WRONG = "wrong-canary"


@pytest.fixture(scope="module")
def secured(home: Path, new_state_dir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    scratch = tmp_path_factory.mktemp("secured")
    with secured_lab("kafka", home=home, state_dir=new_state_dir(), scratch=scratch) as one:
        yield one


def login(secured: Secured, user: str, mechanism: str, password: dict[str, str] | None = None) -> Path:
    """The inventory for another user, or another way to log in."""
    sasl = {
        "mechanism": mechanism,
        "user": user,
        "password": password or {"file": str(security.password_file(secured.lab, user))},
    }
    tls = {"protocol": "SASL_SSL", "ca": str(security.ca_file(secured.lab))}
    return secured.with_settings(
        security={**tls, "sasl": sasl}, controller_security={**tls, "sasl": {**sasl, "mechanism": "PLAIN"}}
    )


def read(secured: Secured, user: str, *readings: str, **changes: Any) -> KafkaState:
    """The state as a user sees it, who logs in by SCRAM unless `changes` of the security say other."""
    wanted = frozenset(readings) if readings else None
    return COMPONENT.read_state(as_user(secured.lab, user, **changes), timeout_s=8, readings=wanted)


def as_user(lab: Lab, user: str, **changes: Any) -> Deployment:
    deployment = lab.deployment("kafka")
    sasl = Sasl(mechanism="SCRAM-SHA-512", user=user, password=secret(lab, user))
    one = replace(Security(protocol="SASL_SSL", ca=str(security.ca_file(lab)), sasl=sasl), **changes)
    instances = (replace(i, settings=replace(i.settings, security=one)) for i in deployment.instances)
    return replace(deployment, instances=tuple(instances))


def secret(lab: Lab, user: str) -> SecretRef:
    return SecretRef(file=str(security.password_file(lab, user)))


@pytest.mark.parametrize(
    ("user", "mechanism"),
    [(security.OPERATOR, "SCRAM-SHA-512"), (security.OPERATOR, "PLAIN"), (security.READER, "SCRAM-SHA-512")],
)
def test_who_may_read_sees_all_of_it_and_all_is_well(secured: Secured, user: str, mechanism: str, eventually) -> None:
    inventory = login(secured, user, mechanism)
    eventually(lambda: secured.run("kafka", "check", code=None, inventory=inventory).returncode == 0, 60)
    shown = secured.run("kafka", "status", "-o", "json", inventory=inventory).json
    assert shown["status"] == "ok"
    assert read(secured, user).unread == {}


def test_a_restart_and_a_backup_with_no_more_than_the_documented_acls(secured: Secured) -> None:
    assert secured.run("kafka", "can-stop", "node4", "-o", "json").json["data"]
    done = secured.run("kafka", "restart", "node4", "--yes", "--reason", "new certificate", "-o", "json")
    assert done.json["data"]["done"] == 1
    secured.run("kafka", "snapshot", "create", "--name", "one", "--yes", "--destination", str(secured.scratch / "b"))
    listed = secured.run("kafka", "snapshot", "list", "--destination", str(secured.scratch / "b"), "-o", "json").json
    (one,) = listed["data"]["snapshots"]
    assert one["counts"]


REFUSED: dict[str, tuple[Callable[[Secured], Path], int, int, str]] = {
    "a wrong password by SCRAM": (
        lambda s: login(s, security.OPERATOR, "SCRAM-SHA-512", s.secret(WRONG)),
        *(3, 4),
        "user 'operator' was refused",
    ),
    "a wrong password by PLAIN": (
        lambda s: login(s, security.OPERATOR, "PLAIN", s.secret(WRONG)),
        *(3, 4),
        "user 'operator' was refused",
    ),
    "another mechanism": (lambda s: login(s, security.OPERATOR, "SCRAM-SHA-256"), 3, 4, "it offers"),
    "another authority": (
        lambda s: s.with_settings(security=tls_of(s, ca=str(other_authority(s.scratch)))),
        *(2, 4),
        "certificate is not accepted",
    ),
    "a name that is in no certificate": (Secured.by_another_name, 2, 4, "certificate is not accepted"),
    "plaintext": (lambda s: s.with_settings(security={}), 2, 4, "speaks TLS"),
    "TLS without a login": (
        lambda s: s.with_settings(security={"protocol": "SSL", "ca": str(security.ca_file(s.lab))}),
        *(3, 3),
        "asks for SASL",
    ),
}
"""What is changed, the exit codes of a check and of a list, and what is said. Servers that cannot be spoken to are down
to a check; ones that answer, and say no, are unknown."""


def tls_of(secured: Secured, **more: str) -> dict[str, Any]:
    password = {"file": str(security.password_file(secured.lab, security.OPERATOR))}
    return {"protocol": "SASL_SSL", "sasl": {"user": security.OPERATOR, "password": password}, **more}


def other_authority(folder: Path) -> Path:
    file = folder / "other-ca.crt"
    file.write_bytes(security.Authority.make("somebody else").pem)
    return file


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_as_what_it_is(name: str, secured: Secured) -> None:
    change, check_code, list_code, words = REFUSED[name]
    inventory = change(secured)
    started = time.monotonic()
    check = secured.run("kafka", "check", "-o", "json", code=check_code, inventory=inventory)
    topics = secured.run("kafka", "topics", "-o", "json", code=list_code, inventory=inventory)
    assert time.monotonic() - started < 20
    assert words in check.stdout
    (error,) = topics.json["errors"]
    assert words in error["message"]
    assert error["hint"]
    assert WRONG not in check.stdout + check.stderr + topics.stdout + topics.stderr


def test_a_controller_is_asked_over_tls_too(secured: Secured) -> None:
    """A server that is a controller alone: what bdops then has of it is its listener for controllers."""
    lab = secured.lab
    deployment = lab.deployment("kafka")
    alone = [replace(i, roles=frozenset({"controller"})) for i in deployment.instances if "controller" in i.roles]
    state = COMPONENT.read_state(replace(deployment, instances=tuple(alone)), timeout_s=8)
    assert all(s.error is None for s in state.servers or ())
    assert state.quorum is not None
    assert {v.id for v in state.quorum.voters} == {1, 2, 3}


@contextmanager
def without(lab: Lab, user: str, kind: str, operation: str) -> Iterator[None]:
    """The user lacks one of its ACLs meanwhile."""
    from kafka.admin import (
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ResourcePatternFilter,
        ResourceType,
    )

    pattern = ResourcePatternFilter(ResourceType[kind.upper()], None, ACLResourcePatternType.ANY)
    one = ACLFilter(f"User:{user}", None, ACLOperation[operation.upper()], ACLPermissionType.ANY, pattern)
    with kafka_client.admin(lab) as client:
        client.delete_acls([one])
    try:
        yield
    finally:
        kafka_users.make_known(lab)


TELLS = {
    ("cluster", "describe"): "groups",
    ("cluster", "describe_configs"): "broker_configs",
    ("topic", "describe"): "topics",
    ("topic", "describe_configs"): "topic_configs",
    ("group", "describe"): "groups/",
}
"""What is not read without an ACL. Topics and groups a server would leave out without a word."""


@pytest.mark.parametrize(("kind", "operation"), [(k, o) for k, ops in kafka_users.READER_ACLS.items() for o in ops])
def test_each_acl_of_the_reader_is_needed_and_named_where_it_lacks(
    kind: str, operation: str, secured: Secured, eventually
) -> None:
    what = {"cluster": "the cluster", "topic": "all topics", "group": "all groups"}[kind]
    name = "".join(word.capitalize() for word in operation.split("_"))

    def told() -> bool:
        unread = read(secured, security.READER).unread
        return any(f"lacks {name} on {what}" in w for k, w in unread.items() if k.startswith(TELLS[kind, operation]))

    with without(secured.lab, security.READER, kind, operation):
        eventually(told, 15)
    eventually(lambda: read(secured, security.READER).unread == {}, 15)


def test_a_backup_by_who_may_not_see_all_topics_is_known_to_be_partial(secured: Secured, eventually) -> None:
    def told() -> bool:
        found = read_metadata(as_user(secured.lab, security.READER), timestamps=False)
        return "lacks Describe on all topics" in found.unread.get("topics", "")

    with without(secured.lab, security.READER, "topic", "describe"):
        eventually(told, 15)


def test_what_the_reader_may_not_do_is_refused_with_the_acl_that_it_lacks(secured: Secured) -> None:
    inventory = login(secured, security.READER, "SCRAM-SHA-512")
    done = secured.run("kafka", "leaders", "move-away", "node4", "--yes", code=7, inventory=inventory)
    assert "lacks Alter on the cluster" in done.stderr
    assert "bdops jobs resume" in done.stderr
    secured.run("jobs", "abort", "--yes", inventory=inventory)


def test_servers_that_were_up_are_found_up_again(secured: Secured) -> None:
    """A second `up` of a secured lab changes nothing, and its inventory has no secret in it."""
    before = secured.secrets()
    done = secured.run("lab", "up", "kafka", "--name", secured.lab.name)
    assert "is up" in done.stdout
    assert secured.secrets() == before
    assert kafka.serving(secured.lab)


def test_no_secret_is_in_what_was_said_or_written(secured: Secured) -> None:
    secured.run("kafka", "check", "-vv", code=None)
    assert "KAFKA_" in secured.notified(login(secured, security.OPERATOR, "PLAIN", secured.secret(WRONG)))
    secured.assert_no_secret_got_out()
    secured.assert_only_the_owner_may_look()
