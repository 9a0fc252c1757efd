"""The client and the reader against tiny real servers that misbehave: typed errors in clear words, always in time."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdops.components.es.checks import CHECKS
from bdops.components.es.client import Node
from bdops.components.es.read import MAX_EXPLANATIONS, read_state, worth_explaining
from bdops.components.es.settings import Settings
from bdops.components.es.state import Shard, Unassigned
from bdops.core.checks import Severity, run_checks
from bdops.core.model import Deployment, Host, Instance, SecretRef
from bdops.errors import BdopsError, ConfigError, NotAuthorised, StateUnknown, Unreachable
from tests.servers import answers, certificate, drips, serving, silent

Requests = list[bytes]


def instance(port: int, name: str = "node1", **settings: Any) -> Instance:
    return Instance(
        cluster="prod",
        component="es",
        host=Host(name=name, address="127.0.0.1"),
        roles=frozenset({"master", "data"}),
        settings=Settings(port=port, **settings),
    )


def deployment(*instances: Instance) -> Deployment:
    return Deployment(cluster="prod", component="es", instances=instances, settings=Settings())


def ask(port: int, timeout_s: float = 2, **settings: Any) -> Any:
    return Node(instance(port, **settings)).get("_cluster/health", timeout_s=timeout_s)


def http(body: str, status: str = "200 OK", seen: Requests | None = None) -> Callable[[socket.socket], None]:
    """Answers one question with this body."""

    def handle(connection: socket.socket) -> None:
        question = connection.recv(65536)
        if seen is not None:
            seen.append(question)
        data = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + data)

    return handle


def error(kind: type[BdopsError], port: int, **more: Any) -> BdopsError:
    with pytest.raises(kind) as caught:
        ask(port, **more)
    assert type(caught.value) is kind
    assert f"127.0.0.1:{port}" in (caught.value.where or "")
    return caught.value


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_closed_port_is_unreachable() -> None:
    assert "connection refused" in error(Unreachable, free_port()).message


def test_an_address_that_does_not_resolve_says_so() -> None:
    one = Instance(
        cluster="prod",
        component="es",
        host=Host(name="node1", address="no-such-host.invalid"),
        roles=frozenset(),
        settings=Settings(),
    )
    with pytest.raises(Unreachable, match="does not resolve"):
        Node(one).get("_cluster/health", timeout_s=5)


def test_a_half_open_port_costs_the_deadline_and_no_more() -> None:
    with serving(silent) as port:
        started = time.monotonic()
        assert "no answer within" in error(Unreachable, port, timeout_s=0.5).message
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("noise", ["SSH-2.0-OpenSSH_9.2\r\n", "\x00\x01\x02garbage\r\n\r\n", "ES\x00\x00\x00\x00"])
def test_a_server_that_does_not_speak_http_is_told_as_such(noise: str) -> None:
    with serving(answers(noise)) as port:
        assert "does not answer as Elasticsearch does" in error(Unreachable, port).message


@pytest.mark.parametrize("body", ["", "<html>welcome</html>", "[1, 2]", '"green"', "{"])
def test_an_answer_that_is_no_json_object_is_not_elasticsearch(body: str) -> None:
    with serving(http(body)) as port:
        assert "does not answer as Elasticsearch does" in error(Unreachable, port).message


def test_a_wrong_password_is_not_authorised_and_the_password_is_in_no_message(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret-canary\n")
    secret.chmod(0o600)
    seen: Requests = []
    body = json.dumps({"error": {"type": "security_exception", "reason": "unable to authenticate user [bdops]"}})
    with serving(http(body, "401 Unauthorized", seen)) as port:
        found = error(NotAuthorised, port, user="bdops", password=SecretRef(file=str(secret)))
    assert "bdops" in found.message
    assert "s3cret-canary" not in f"{found.message} {found.hint} {found.where}"
    assert base64.b64encode(b"bdops:s3cret-canary") in seen[0]


def test_an_api_key_goes_before_a_password(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("aWQ6a2V5\n")
    key.chmod(0o600)
    seen: Requests = []
    with serving(http('{"status": "green"}', seen=seen)) as port:
        ask(port, user="bdops", password=SecretRef(file=str(key)), api_key=SecretRef(file=str(key)))
    assert b"ApiKey aWQ6a2V5" in seen[0]
    assert b"Basic" not in seen[0]


def test_a_login_that_the_inventory_lacks_is_asked_for() -> None:
    with serving(http('{"error": "missing authentication credentials"}', "401 Unauthorized")) as port:
        assert "the inventory has none" in error(NotAuthorised, port).message


def test_a_missing_privilege_is_told_with_elasticsearchs_reason(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x\n")
    secret.chmod(0o600)
    body = json.dumps({"error": {"reason": "action [cluster:monitor/health] is unauthorized for user [bdops]"}})
    with serving(http(body, "403 Forbidden")) as port:
        found = error(NotAuthorised, port, user="bdops", password=SecretRef(file=str(secret)))
    assert "cluster:monitor/health" in found.message


def test_an_error_status_is_unknown_with_the_servers_reason() -> None:
    with serving(http('{"error": {"reason": "no master"}, "status": 503}', "503 Service Unavailable")) as port:
        found = error(StateUnknown, port)
    assert "no master (HTTP 503)" in found.message


def test_tls_against_plaintext_says_that_the_server_has_no_tls() -> None:
    with serving(http("{}")) as port:
        assert "does not speak TLS" in error(Unreachable, port, scheme="https", verify=False).message


def test_plaintext_against_tls_says_that_the_server_may_expect_tls(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    with serving(http("{}"), tls=context) as port:
        found = error(Unreachable, port)
    assert "TLS" in found.message or "not HTTP" in found.message


def test_a_certificate_of_an_unknown_authority_is_refused_and_of_a_known_one_taken(tmp_path: Path) -> None:
    ca, context = certificate(tmp_path)
    with serving(http('{"status": "green"}'), tls=context) as port:
        assert "not trusted" in error(Unreachable, port, scheme="https").message
        assert ask(port, scheme="https", ca=str(ca)) == {"status": "green"}
        assert ask(port, scheme="https", verify=False) == {"status": "green"}


def test_a_ca_file_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="certificate authority"):
        Node(instance(9200, scheme="https", ca="/nowhere/ca.pem"))


@pytest.mark.parametrize("handler", [silent, drips, answers("garbage\r\n\r\n"), http("{}"), http('{"nodes": 7}')])
def test_the_reader_is_back_in_time_and_knows_nothing(handler) -> None:
    with serving(handler) as port:
        started = time.monotonic()
        found = read_state(deployment(instance(port)), timeout_s=1.0)
        assert time.monotonic() - started < 3
    results = {r.code: r.severity for r in run_checks(CHECKS, found, component="es")}
    assert Severity.OK not in results.values()
    assert results["ES_STATUS"] is Severity.UNKNOWN
    assert found.health is None
    assert found.unread["health"]


def test_only_what_is_wanted_is_asked_for() -> None:
    seen: Requests = []
    answer = json.dumps({"master_node": "id", "nodes": {"id": {"name": "node1"}}})
    with serving(http(answer, seen=seen)) as port:
        read_state(deployment(instance(port)), timeout_s=2.0, readings=frozenset({"settings"}))
        narrow = {question.split()[1].split(b"?")[0] for question in seen}
        read_state(deployment(instance(port)), timeout_s=2.0)
    every = {question.split()[1].split(b"?")[0] for question in seen}
    assert b"/_cluster/settings" in narrow
    assert not narrow & {b"/_snapshot", b"/_cluster/pending_tasks", b"/_nodes/_local/stats/fs"}
    assert every >= {b"/_snapshot", b"/_cluster/pending_tasks", b"/_nodes/_local/stats/fs"}


def test_one_server_that_hangs_does_not_hide_why_the_other_failed() -> None:
    with serving(silent) as port:
        found = read_state(deployment(instance(port), instance(free_port(), "node2")), timeout_s=1.0)
    assert found.servers is not None
    errors = {s.name: s.error or "" for s in found.servers}
    assert "no answer within" in errors["node1"]
    assert "connection refused" in errors["node2"]
    assert set(found.unread) >= {"servers/node1", "servers/node2", "health", "shards"}


def test_a_secret_that_cannot_be_had_is_that_nodes_error_and_not_a_crash() -> None:
    bad = instance(9200, user="bdops", password=SecretRef(file="/nowhere/password"))
    found = read_state(deployment(bad), timeout_s=1.0)
    assert found.servers is not None
    assert found.servers[0].error
    assert found.servers[0].error_kind == "unknown"


def unassigned(index: str, number: int, *, primary: bool = False, reason: str = "NODE_LEFT") -> Shard:
    return Shard(index=index, shard=number, primary=primary, state="UNASSIGNED", unassigned=Unassigned(reason=reason))


def test_primaries_are_explained_first_and_then_one_of_each_kind() -> None:
    many = [unassigned("a", n) for n in range(100)]
    others = [unassigned("b", 0), unassigned("a", 107, reason="INDEX_CREATED"), unassigned("c", 1, primary=True)]
    chosen = worth_explaining([*many, *others], MAX_EXPLANATIONS)
    assert len(chosen) == MAX_EXPLANATIONS
    assert [s.name for s in chosen[:4]] == ["c[1] primary", "a[0] replica", "b[0] replica", "a[107] replica"]


def test_copies_of_one_shard_are_asked_about_once() -> None:
    assert len(worth_explaining([unassigned("a", 0)] * 5, 10)) == 1
