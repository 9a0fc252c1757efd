"""The clients against real sockets that refuse, hang, speak the wrong protocol, or talk garbage."""

from __future__ import annotations

import json
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from bdops.components.zk.client import four_letter
from bdops.components.zk.client.admin import AdminServer
from bdops.components.zk.client.wire import tls_context
from bdops.components.zk.read import read_state
from bdops.components.zk.settings import Settings, Tls
from bdops.components.zk.state import Server
from bdops.core.model import Deployment, Host, Instance
from bdops.errors import BdopsError, ConfigError
from tests.servers import answers, certificate, drips, http, serving, silent

SRVR = "Zookeeper version: 3.9.5-x\nZxid: 0x100000005\nMode: follower\nNode count: 5\n"
CONF = "clientPort=2181\nserverId=2\nmembership: \nserver.2=127.0.0.1:2888:3888:participant;0.0.0.0:2181\nversion=a"
WHITELIST = "{} is not executed because it is not in the whitelist.\n"
STATS = {"server_stats": {"last_processed_zxid": 5}, "read_only": False}
MONITOR = {"version": "3.9.5-x", "server_state": "follower", "znode_count": 5}


def admin_json(command: str, data: dict[str, Any] | None = None, error: str | None = None) -> str:
    return json.dumps({"command": command, "error": error, **(data or {})})


ADMIN = {
    "server_stats": admin_json("server_stats", STATS),
    "monitor": admin_json("monitor", MONITOR),
    "voting_view": admin_json("voting_view"),
    "leader": admin_json("leader", {"leader_id": 3}),
}


def words(replies: dict[str, str]) -> Any:
    """A client port that answers these words, and none other."""

    def handle(connection: socket.socket) -> None:
        word = connection.recv(4).decode()
        connection.sendall(replies.get(word, WHITELIST.format(word)).encode())

    return handle


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def error_of(call: Any) -> BdopsError:
    with pytest.raises(BdopsError) as caught:
        call()
    return caught.value


def ask(port: int, tls: ssl.SSLContext | None = None, timeout_s: float = 0.5) -> str:
    return four_letter.ask("srvr", ("127.0.0.1", port), timeout_s=timeout_s, tls=tls)


def ask_admin(port: int, tls: ssl.SSLContext | None = None) -> dict[str, Any]:
    with AdminServer(("127.0.0.1", port), "/commands", timeout_s=0.5, tls=tls) as admin:
        return admin.ask("monitor")


def read_one(timeout_s: float = 2.0, **settings: Any) -> Server:
    instance = Instance(
        cluster="t",
        component="zk",
        host=Host(name="node1", address="127.0.0.1"),
        roles=frozenset({"participant"}),
        settings=Settings(**settings),
    )
    deployment = Deployment(cluster="t", component="zk", instances=(instance,), settings=Settings())
    state = read_state(deployment, timeout_s=timeout_s)
    assert state.servers
    return state.servers[0]


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Tls, ssl.SSLContext]:
    ca, server = certificate(tmp_path)
    return Tls(ca=str(ca)), server


class TestFourLetterWords:
    def test_an_answer_is_what_the_server_says_until_it_closes(self) -> None:
        with serving(answers(SRVR)) as port:
            assert ask(port) == SRVR

    def test_a_word_that_is_not_whitelisted_is_named_with_what_to_do(self) -> None:
        with serving(words({})) as port:
            error = error_of(lambda: ask(port))
        assert error.code == "ZK_WORD_NOT_WHITELISTED"
        assert "srvr" in error.message
        assert error.hint is not None
        assert "4lw.commands.whitelist" in error.hint

    def test_nothing_listening_is_connection_refused(self) -> None:
        assert error_of(lambda: ask(unused_port())).code == "ZK_REFUSED"

    def test_a_port_that_accepts_and_never_answers_is_silent_by_the_deadline(self) -> None:
        with serving(silent) as port:
            started = time.monotonic()
            error = error_of(lambda: ask(port))
        assert error.code == "ZK_SILENT"
        assert time.monotonic() - started < 2

    def test_a_server_that_drips_bytes_is_held_to_the_deadline_as_well(self) -> None:
        with serving(drips) as port:
            started = time.monotonic()
            assert error_of(lambda: ask(port)).code == "ZK_GARBAGE"
        assert time.monotonic() - started < 2

    def test_a_server_that_speaks_first_and_waits_is_not_taken_for_tls(self) -> None:
        def sshd(connection: socket.socket) -> None:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            while b"\n" not in connection.recv(4096):
                pass

        with serving(sshd) as port:
            error = error_of(lambda: ask(port))
        assert error.code == "ZK_GARBAGE"
        assert "SSH-2.0" in error.message

    def test_a_connection_that_closes_without_a_word_is_no_answer(self) -> None:
        with serving(lambda connection: None) as port:
            assert error_of(lambda: ask(port)).code == "ZK_CLOSED"

    def test_bytes_that_are_no_text_are_garbage(self) -> None:
        with serving(answers(b"\xff\xfe\x00\x80")) as port:
            assert error_of(lambda: ask(port)).code == "ZK_GARBAGE"

    def test_text_that_is_not_zookeepers_is_garbage(self) -> None:
        with pytest.raises(BdopsError, match="not ZooKeeper's"):
            four_letter.expect("HTTP/1.1 400", "Zookeeper version", word="srvr", where="here")

    def test_tls_works_with_the_authority_that_signed(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        ours, theirs = tls
        with serving(answers(SRVR), tls=theirs) as port:
            assert ask(port, tls_context(ours)) == SRVR

    def test_a_certificate_of_an_unknown_authority_is_not_accepted(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        with serving(answers(SRVR), tls=tls[1]) as port:
            error = error_of(lambda: ask(port, tls_context(Tls())))
        assert error.code == "ZK_TLS"
        assert "certificate" in error.message

    def test_tls_against_a_plaintext_port_says_so(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        with serving(answers("This is not TLS")) as port:
            error = error_of(lambda: ask(port, tls_context(tls[0])))
        assert error.code == "ZK_TLS"
        assert error.hint is not None
        assert "remove `tls`" in error.hint

    def test_tls_against_a_port_that_hangs_up_says_so(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        with serving(lambda connection: None) as port:
            assert error_of(lambda: ask(port, tls_context(tls[0]))).code == "ZK_TLS"

    def test_plaintext_against_a_tls_port_says_so(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        with serving(answers(SRVR), tls=tls[1]) as port:
            error = error_of(lambda: ask(port))
        assert error.code == "ZK_TLS"
        assert "speaks TLS" in error.message

    def test_tls_files_that_are_missing_are_a_configuration_error(self) -> None:
        with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem"):
            tls_context(Tls(ca="/nowhere/ca.pem"))


class TestAdminServer:
    def test_several_commands_are_answered_on_one_connection(self) -> None:
        connections = 0

        def counting(connection: socket.socket) -> None:
            nonlocal connections
            connections += 1
            http(ADMIN)(connection)

        with (
            serving(counting) as port,
            AdminServer(("127.0.0.1", port), "/commands", timeout_s=1) as admin,
        ):
            assert admin.ask("monitor")["znode_count"] == 5
            assert admin.ask("leader")["leader_id"] == 3
        assert connections == 1

    def test_a_server_without_a_quorum_says_so_with_http_200(self) -> None:
        error = "This ZooKeeper instance is not currently serving requests"
        with serving(http({"monitor": admin_json("monitor", error=error)})) as port:
            assert error_of(lambda: ask_admin(port)).code == "ZK_NOT_SERVING"

    def test_a_command_that_fails_with_http_200_is_an_error(self) -> None:
        with serving(http({"monitor": admin_json("monitor", error="Unknown command: monitor")})) as port:
            assert error_of(lambda: ask_admin(port)).code == "ZK_COMMAND_FAILED"

    @pytest.mark.parametrize("body", ["", "<html>", "[]", "null", '{"no": "command"}', '{"command": '])
    def test_a_body_that_is_not_an_admin_servers_is_garbage(self, body: str) -> None:
        with serving(http({"monitor": body})) as port:
            assert error_of(lambda: ask_admin(port)).code == "ZK_GARBAGE"

    @pytest.mark.parametrize("bytes_", [b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n"])
    def test_what_is_not_http_is_garbage(self, bytes_: bytes) -> None:
        with serving(answers(bytes_)) as port:
            assert error_of(lambda: ask_admin(port)).code == "ZK_GARBAGE"

    def test_another_web_server_is_garbage_with_its_status(self) -> None:
        with serving(http({})) as port:
            error = error_of(lambda: ask_admin(port))
        assert error.code == "ZK_GARBAGE"
        assert "404" in error.message

    def test_an_admin_server_that_is_off_is_connection_refused(self) -> None:
        assert error_of(lambda: ask_admin(unused_port())).code == "ZK_REFUSED"

    def test_one_that_never_answers_is_silent(self) -> None:
        with serving(silent) as port:
            assert error_of(lambda: ask_admin(port)).code == "ZK_SILENT"

    def test_https_works_with_the_authority_that_signed(self, tls: tuple[Tls, ssl.SSLContext]) -> None:
        with serving(http(ADMIN), tls=tls[1]) as port:
            assert ask_admin(port, tls_context(tls[0]))["znode_count"] == 5


class TestReading:
    def test_both_interfaces_together_tell_all(self) -> None:
        with serving(http(ADMIN)) as admin, serving(words({"conf": CONF})) as client:
            server = read_one(client_port=client, admin_port=admin)
        assert (server.serving, server.error, server.admin_error, server.words_error) == (True, None, None, None)
        assert (server.mode, server.zxid, server.leader_id, server.znodes) == ("follower", "0x5", 3, 5)
        assert (server.myid, server.config_version) == (2, "a")

    def test_the_words_stand_in_for_an_admin_server_that_is_off(self) -> None:
        with serving(words({"srvr": SRVR, "conf": CONF, "isro": "rw"})) as client:
            server = read_one(client_port=client, admin_port=unused_port())
        assert server.serving
        assert server.admin_error is not None
        assert "refused" in server.admin_error
        assert server.words_error is not None
        assert "mntr" in server.words_error
        assert server.zxid == "0x100000005"

    def test_the_admin_server_stands_in_for_words_that_are_not_whitelisted(self) -> None:
        with serving(http(ADMIN)) as admin, serving(words({})) as client:
            server = read_one(client_port=client, admin_port=admin)
        assert server.serving
        assert server.admin_error is None
        assert server.words_error is not None
        assert "conf is not executed because it is not in the whitelist" in server.words_error

    def test_words_that_the_inventory_gives_up_on_are_not_missed(self) -> None:
        with serving(http(ADMIN)) as admin, serving(words({})) as client:
            server = read_one(client_port=client, admin_port=admin, four_letter_words=False)
        assert server.words_error is None

    def test_a_server_that_is_gone_does_not_serve(self) -> None:
        server = read_one(client_port=unused_port(), admin_port=unused_port())
        assert server.serving is False
        assert server.error is not None
        assert "refused" in server.error

    def test_a_paused_server_does_not_serve_and_costs_no_more_than_the_deadline(self) -> None:
        with serving(silent) as admin, serving(silent) as client:
            started = time.monotonic()
            server = read_one(client_port=client, admin_port=admin, timeout_s=1.0)
        assert time.monotonic() - started < 1.5
        assert server.serving is False
        assert server.error is not None
        assert "did not answer" in server.error

    def test_a_server_that_speaks_something_else_is_unknown_rather_than_down(self) -> None:
        with serving(answers("HTTP/1.1 400 Bad Request\r\n\r\n")) as client:
            server = read_one(client_port=client, admin_port=None)
        assert server.serving is None
        assert server.error is not None
        assert "not ZooKeeper's" in server.error

    def test_a_server_without_a_quorum_does_not_serve(self) -> None:
        error = "This ZooKeeper instance is not currently serving requests"
        with serving(words(dict.fromkeys(("srvr", "mntr", "conf", "isro"), error))) as client:
            server = read_one(client_port=client, admin_port=None)
        assert server.serving is False
        assert server.error is not None
        assert "no quorum" in server.error
