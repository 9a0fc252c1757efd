"""ZooKeeper with TLS on every port and digest identities: bdops against a real ensemble."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.security import make_digest_acl

from bdops.components.zk.client.session import session
from bdops.lab import security, zk
from tests.secured import UP_TIMEOUT_S, Secured, secured_lab

pytestmark = pytest.mark.timeout(UP_TIMEOUT_S)

WRONG = "wrong-canary"
APP = "/app"


@pytest.fixture(scope="module")
def secured(home: Path, new_state_dir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    scratch = tmp_path_factory.mktemp("secured")
    with secured_lab("zk", home=home, state_dir=new_state_dir(), scratch=scratch) as one:
        yield one


@pytest.fixture
def app(secured: Secured) -> Iterator[str]:
    """A znode that its own application alone may read, and an ephemeral one in it, of a session that lives on."""
    with session(secured.lab.deployment("zk").instances, timeout_s=30) as client:
        client.create(APP, b"1", acl=[make_digest_acl("shop", "shop-canary", all=True)])
        client.create(f"{APP}/alive", b"me", ephemeral=True)
        yield APP
        client.delete(APP, recursive=True)


def test_all_is_well_without_any_identity(secured: Secured) -> None:
    """A certificate is all that `check` and `status` need."""
    nobody = secured.with_settings(user=None, password=None)
    checks = secured.run("zk", "check", "-o", "json", code=None, inventory=nobody).json["data"]["checks"]
    # How fast this machine's disk is says nothing here.
    assert {c["code"] for c in checks if c["severity"] != "ok"} <= {"ZK_LATENCY"}
    assert secured.run("zk", "status", "-o", "json", inventory=nobody).json["status"] == "ok"


def test_a_restart_with_a_write_on_the_server_that_was_restarted(secured: Secured) -> None:
    assert secured.run("zk", "can-stop", "node3", "-o", "json").json["data"]
    done = secured.run("zk", "restart", "node3", "--yes", "--reason", "new certificate", "-o", "json")
    assert done.json["data"]["done"] == 1


def znodes(secured: Secured, inventory: Path | None = None) -> dict[str, dict[str, Any]]:
    done = secured.run("zk", "tree", "--root", APP, "-o", "json", inventory=inventory)
    return {row["path"]: row for row in done.json["data"]["znodes"]}


def test_the_super_user_sees_what_an_acl_hides_from_others(secured: Secured, app: str) -> None:
    seen = znodes(secured)
    assert set(seen) == {APP, f"{APP}/alive"}
    assert seen[f"{APP}/alive"]["owner"]
    others = secured.with_settings(user="others", password=secured.secret("others-canary"))
    assert set(znodes(secured, others)) == {APP}
    assert znodes(secured, others)[APP]["hidden"]


def without_certificate(secured: Secured) -> Path:
    return secured.inventory(lambda zk, hosts: [zk["tls"].pop("cert"), zk["tls"].pop("key")])


def other_authority(secured: Secured) -> Path:
    file = secured.scratch / "other-ca.crt"
    file.write_bytes(security.Authority.make("somebody else").pem)
    return secured.inventory(lambda zk, hosts: zk["tls"].update(ca=str(file)))


def certificate_of_another(secured: Secured) -> Path:
    own = security.Authority.make("somebody else").issue(secured.scratch, "stranger", ("stranger",))
    return secured.inventory(lambda zk, hosts: zk["tls"].update(cert=str(own.certificate), key=str(own.key)))


REFUSED: dict[str, tuple[Callable[[Secured], Path], str]] = {
    "another authority": (other_authority, "the server's certificate is not accepted"),
    "a name that is in no certificate": (Secured.by_another_name, "the server's certificate is not accepted"),
    "no certificate of our own": (without_certificate, "wants a client certificate"),
    "a certificate of another authority": (certificate_of_another, "wants a client certificate"),
    "plaintext": (lambda s: s.with_settings(tls=None, admin_tls=False), "the client port speaks TLS"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_as_what_it_is(name: str, secured: Secured) -> None:
    change, words = REFUSED[name]
    inventory = change(secured)
    check = secured.run("zk", "check", "--timeout", "4", "-o", "json", code=3, inventory=inventory)
    assert words in check.stdout
    tree = secured.run("zk", "tree", "--timeout", "4", "-o", "json", code=4, inventory=inventory)
    assert words in tree.stdout + tree.stderr


def test_a_wrong_password_is_refused_where_the_identity_counts(secured: Secured) -> None:
    wrong = secured.with_settings(password=secured.secret(WRONG), snapshot_dir=str(secured.scratch / "wrong"))
    done = secured.run("zk", "snapshot", "create", "--name", "no", "--yes", code=7, inventory=wrong)
    assert "does not let us snapshot" in done.stderr
    assert "all permissions on the root znode" in done.stderr
    secured.run("jobs", "abort", "--yes", inventory=wrong)


def test_snapshots_go_over_tls_with_a_certificate_and_a_digest_identity(secured: Secured) -> None:
    inventory = secured.with_settings(snapshot_dir=str(secured.scratch / "snapshots"))

    def run(*argv: str) -> str:
        return secured.run("zk", *argv, inventory=inventory).stdout

    tree = secured.scratch / "tree.json"
    run("snapshot", "create", "--name", "base", "--yes")
    run("snapshot", "drill", "base", "--yes")
    run("snapshot", "export", str(tree), "--root", "/services/service-000")
    run("snapshot", "import", str(tree), "--under", "/copy", "--yes")
    changed = json.loads(run("snapshot", "diff", "base", "-o", "json"))["data"]["differences"]
    assert "/copy" in {c["path"] for c in changed if c["change"] == "added"}
    run("snapshot", "restore", "base", "--into-place", "--yes")
    with session(secured.lab.deployment("zk").instances, timeout_s=30) as client:
        assert client.exists("/copy") is None
        assert client.exists("/services/service-000")


def test_servers_that_were_up_are_found_up_again(secured: Secured) -> None:
    before = secured.secrets()
    assert "is up" in secured.run("lab", "up", "zk", "--name", secured.lab.name).stdout
    assert secured.secrets() == before
    assert zk.healthy(secured.lab) is None


def test_no_secret_is_in_what_was_said_or_written(secured: Secured) -> None:
    secured.run("zk", "check", "-vv", code=None)
    assert "ZK_" in secured.notified(without_certificate(secured))
    secured.assert_no_secret_got_out()
    secured.assert_only_the_owner_may_look()
