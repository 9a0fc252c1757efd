"""A real Elasticsearch with TLS and logins: what bdops says of wrong passwords, missing rights and TLS mismatches."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from bdops.components.es.checks import CHECKS
from bdops.components.es.client import Node
from bdops.components.es.read import read_state
from bdops.components.es.settings import Settings
from bdops.core.checks import Severity, run_checks
from bdops.core.model import Deployment, Host, Instance, SecretRef
from bdops.errors import BdopsError, NotAuthorised, Unreachable
from bdops.lab import es
from tests.servers import certificate

pytestmark = pytest.mark.lab("es")

HOST = "127.0.0.1"
START_S = 120
PASSWORDS = {"admin": "rightpassword", "nobody": "otherpassword"}


@pytest.fixture(scope="module")
def secured(lab: Any, tmp_path_factory: pytest.TempPathFactory, eventually: Any) -> Iterator[Instance]:
    """A node of its own, beside the lab's, with HTTPS and two users; its settings are those of the one who may."""
    folder = tmp_path_factory.mktemp("secured")
    config, logs, temp = folder / "config", folder / "logs", folder / "tmp"
    for each in (config, logs, temp):
        each.mkdir()
    ca, _ = certificate(config)
    port, transport_port = free_ports(2)
    shutil.copyfile(es.home(lab) / "config" / "log4j2.properties", config / "log4j2.properties")
    (config / "users").write_text("".join(f"{name}:{_hash(word)}\n" for name, word in PASSWORDS.items()))
    (config / "users_roles").write_text("superuser:admin\n")
    settings = {
        "cluster.name": "secured",
        "node.name": "secured",
        "network.host": HOST,
        "http.port": str(port),
        "transport.port": str(transport_port),
        "discovery.type": "single-node",
        "path.home": str(es.home(lab)),
        "path.data": str(folder / "data"),
        "path.logs": str(logs),
        "node.store.allow_mmap": "false",
        "xpack.security.enabled": "true",
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": str(config / "key.pem"),
        "xpack.security.http.ssl.certificate": str(config / "cert.pem"),
    }
    (config / "server-args").write_bytes(es.server_args(settings, config, logs))
    java = [w.replace(str(es.temp_dir(lab, "node1")), str(temp)) for w in es.java_command(lab, "node1")]
    argv = ["/bin/sh", "-c", es.FEED, "sh", str(folder / "stdin"), str(config / "server-args")]
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*argv, *lab.unprivileged(java)],
            env={**os.environ, "LIBFFI_TMPDIR": str(temp)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    secret = folder / "password"
    secret.write_text(PASSWORDS["admin"] + "\n")
    secret.chmod(0o600)
    one = Instance(
        cluster="prod",
        component="es",
        host=Host(name="secured", address=HOST),
        roles=frozenset({"master", "data"}),
        settings=Settings(port=port, scheme="https", ca=str(ca), user="admin", password=SecretRef(file=str(secret))),
    )

    def serves() -> bool:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        return bool(Node(one).get("_cluster/health", timeout_s=2)["status"] == "green")

    try:
        eventually(serves, START_S)
        yield one
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(6, prefix=b"2a")).decode()


def changed(one: Instance, **settings: Any) -> Instance:
    return replace(one, settings=replace(one.settings, **settings))


def refusal(one: Instance) -> BdopsError:
    with pytest.raises(BdopsError) as caught:
        Node(one).get("_cluster/health", timeout_s=5)
    assert caught.value.hint
    return caught.value


def test_with_ca_and_password_all_of_the_state_is_read(secured: Instance) -> None:
    deployment = Deployment(cluster="prod", component="es", instances=(secured,), settings=secured.settings)
    state = read_state(deployment, timeout_s=10)
    assert dict(state.unread) == {}
    assert state.master == "secured"


def test_a_wrong_password_is_not_authorised_and_every_check_is_unknown(secured: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("wrong-canary\n")
    secret.chmod(0o600)
    wrong = changed(secured, password=SecretRef(file=str(secret)))
    found = refusal(wrong)
    assert isinstance(found, NotAuthorised)
    assert "admin" in found.message
    deployment = Deployment(cluster="prod", component="es", instances=(wrong,), settings=wrong.settings)
    state = read_state(deployment, timeout_s=10)
    assert {r.severity for r in run_checks(CHECKS, state, component="es")} == {Severity.UNKNOWN}
    assert "wrong-canary" not in repr(state)


def test_a_user_without_rights_is_told_which_one_is_missing(secured: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORDS["nobody"] + "\n")
    secret.chmod(0o600)
    found = refusal(changed(secured, user="nobody", password=SecretRef(file=str(secret))))
    assert isinstance(found, NotAuthorised)
    assert "cluster:monitor/health" in found.message


def test_no_login_at_all_is_asked_for(secured: Instance) -> None:
    found = refusal(changed(secured, user=None, password=None))
    assert isinstance(found, NotAuthorised)
    assert "the inventory has none" in found.message


def test_plaintext_to_its_tls_port_is_told_as_that(secured: Instance) -> None:
    found = refusal(changed(secured, scheme="http"))
    assert isinstance(found, Unreachable)
    assert "TLS" in found.message


def test_a_certificate_of_another_authority_is_refused(secured: Instance, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path)
    found = refusal(changed(secured, ca=str(other)))
    assert isinstance(found, Unreachable)
    assert "not trusted" in found.message


def test_tls_to_the_labs_plaintext_port_is_told_as_that(lab: Any) -> None:
    plain = lab.deployment("es").instances[0]
    found = refusal(changed(plain, scheme="https", verify=False))
    assert isinstance(found, Unreachable)
    assert "does not speak TLS" in found.message


def test_the_transport_port_is_not_taken_for_the_http_port(lab: Any) -> None:
    plain = lab.deployment("es").instances[0]
    found = refusal(changed(plain, port=9300))
    assert isinstance(found, Unreachable)
    assert "not HTTP" in found.message or "9300" in (found.hint or "") or "closed the connection" in found.message
