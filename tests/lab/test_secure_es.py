"""Elasticsearch with TLS, users and an API key: bdops against real nodes that ask who it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bdops.components.es.component import COMPONENT
from bdops.components.es.state import EsState
from bdops.core.model import SecretRef
from bdops.lab import es, es_load, es_users, security
from bdops.lab.lab import Lab
from tests.secured import UP_TIMEOUT_S, Secured, secured_lab

pytestmark = pytest.mark.timeout(UP_TIMEOUT_S)

WRONG = "wrong-canary"


@pytest.fixture(scope="module")
def secured(home: Path, new_state_dir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    scratch = tmp_path_factory.mktemp("secured")
    with secured_lab("es", home=home, state_dir=new_state_dir(), scratch=scratch) as one:
        yield one


def as_user(secured: Secured, user: str) -> Path:
    return secured.with_settings(user=user, password={"file": str(security.password_file(secured.lab, user))})


@pytest.mark.parametrize("user", [security.OPERATOR, security.READER])
def test_who_may_read_sees_all_of_it_and_all_is_well(user: str, secured: Secured, eventually) -> None:
    inventory = as_user(secured, user)
    eventually(lambda: secured.run("es", "check", code=None, inventory=inventory).returncode == 0, 60)
    assert secured.run("es", "status", "-o", "json", inventory=inventory).json["status"] == "ok"
    state = read(secured, user)
    assert state.unread == {}
    # No privilege on indices, and all of them are seen.
    for seen in (state.shards, state.sizes):
        assert {one.index for one in seen or ()} == {*es_load.INDICES, ".security-7"}


def test_a_restart_and_a_backup_with_no_more_than_the_documented_privileges(secured: Secured) -> None:
    assert secured.run("es", "can-stop", "node3", "-o", "json").json["data"]
    done = secured.run("es", "restart", "node3", "--yes", "--reason", "new certificate", "-o", "json")
    assert done.json["data"]["done"] == 1
    secured.run("es", "snapshot", "create", "--name", "one", "--yes")
    listed = secured.run("es", "snapshot", "list", "-o", "json").json["data"]["snapshots"]
    (one,) = [s for s in listed if s["snapshot"] == "one"]
    assert one["counts"]


def test_an_api_key_does_for_a_check_and_a_backup(secured: Secured) -> None:
    key = {"file": str(es_users.api_key_file(secured.lab))}
    inventory = secured.with_settings(user=None, password=None, api_key=key)
    assert secured.run("es", "status", "-o", "json", inventory=inventory).json["status"] == "ok"
    assert secured.run("es", "check", "-o", "json", inventory=inventory).json["status"] == "ok"
    secured.run("es", "snapshot", "create", "--name", "two", "--yes", inventory=inventory)


def other_authority(folder: Path) -> Path:
    file = folder / "other-ca.crt"
    file.write_bytes(security.Authority.make("somebody else").pem)
    return file


WRONG_KEY = "d3JvbmctY2FuYXJ5OmtleQ=="
REFUSED: dict[str, tuple[Callable[[Secured], Path], int, str]] = {
    "a wrong password": (lambda s: s.with_settings(password=s.secret(WRONG)), 3, "does not accept the user operator"),
    "a wrong API key": (lambda s: s.with_settings(user=None, api_key=s.secret(WRONG_KEY)), 3, "accept the API key"),
    "another authority": (lambda s: s.with_settings(ca=str(other_authority(s.scratch))), 2, "is not trusted"),
    "a name that is in no certificate": (Secured.by_another_name, 2, "is not trusted"),
    "plaintext": (lambda s: s.with_settings(scheme="http"), 2, "a server that expects TLS does that"),
    "no login": (lambda s: s.with_settings(user=None, password=None), 3, "the inventory has none"),
}
"""What is changed, the exit code of a check, and what is said. Servers that cannot be spoken to are down to a check;
ones that answer, and say no, are unknown."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_as_what_it_is(name: str, secured: Secured) -> None:
    change, check_code, words = REFUSED[name]
    inventory = change(secured)
    check = secured.run("es", "check", "-o", "json", code=check_code, inventory=inventory)
    shards = secured.run("es", "shards", "-o", "json", code=4, inventory=inventory)
    assert words in check.stdout
    (error,) = shards.json["errors"]
    assert words in error["message"]
    said = check.stdout + check.stderr + shards.stdout + shards.stderr
    assert WRONG not in said
    assert WRONG_KEY not in said


def read(secured: Secured, user: str) -> EsState:
    deployment = secured.lab.deployment("es")
    login = {"user": user, "password": SecretRef(file=str(security.password_file(secured.lab, user)))}
    instances = tuple(replace(i, settings=replace(i.settings, **login)) for i in deployment.instances)
    return COMPONENT.read_state(replace(deployment, instances=instances), timeout_s=10)


@contextmanager
def without(lab: Lab, privilege: str) -> Iterator[None]:
    """The reader lacks one of its cluster privileges meanwhile."""
    less = [p for p in es_users.READER_ROLE["cluster"] if p != privilege]
    try:
        for host in es.HOSTS:
            es_users.write_roles(es.config_dir(lab, host), {**es_users.ROLES, security.READER: {"cluster": less}})
        yield
    finally:
        for host in es.HOSTS:
            es_users.write_roles(es.config_dir(lab, host), es_users.ROLES)


@pytest.mark.parametrize("privilege", es_users.READER_ROLE["cluster"])
def test_each_privilege_of_the_reader_is_needed_and_named_where_it_lacks(
    privilege: str, secured: Secured, eventually
) -> None:
    def told() -> bool:
        unread = read(secured, security.READER).unread.values()
        return any("granted by the cluster privileges" in why and privilege in why for why in unread)

    with without(secured.lab, privilege):
        eventually(told, 30)
    eventually(lambda: read(secured, security.READER).unread == {}, 30)


def test_what_the_reader_may_not_do_is_refused_with_the_privilege_that_it_lacks(secured: Secured) -> None:
    inventory = as_user(secured, security.READER)
    done = secured.run("es", "snapshot", "create", "--name", "three", "--yes", code=None, inventory=inventory)
    assert "user reader may not" in done.stderr, (done.returncode, done.stdout, done.stderr)
    assert "granted by the cluster privileges" in done.stderr
    assert done.returncode in (4, 7)
    if done.returncode == 7:
        secured.run("jobs", "abort", "--yes", inventory=inventory)


def test_servers_that_were_up_are_found_up_again(secured: Secured) -> None:
    before = secured.secrets()
    assert "is up" in secured.run("lab", "up", "es", "--name", secured.lab.name).stdout
    assert secured.secrets() == before
    assert es.healthy(secured.lab) is None


def test_no_secret_is_in_what_was_said_or_written(secured: Secured) -> None:
    secured.run("es", "check", "-vv", code=None)
    assert "ES_" in secured.notified(secured.with_settings(password=secured.secret(WRONG)))
    secured.assert_no_secret_got_out()
    secured.assert_only_the_owner_may_look()
