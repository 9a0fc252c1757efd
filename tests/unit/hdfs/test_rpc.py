"""Hadoop RPC against tiny servers: what it says, what it makes of errors, and of everything that is not Hadoop RPC."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import time
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.hdfs import rpc
from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.proto import ipc_pb2 as ipc
from bdops.components.hdfs.rpc import Connection, Protocol, RemoteError, frame, take
from bdops.errors import BdopsError, NotAuthorised, StateUnknown, Unreachable
from tests.servers import answers, serving, silent
from tests.unit.hdfs.servers import error, exact, hadoop, read_frame

PROTOCOL = Protocol("org.example.Protocol")
STANDBY = "org.apache.hadoop.ipc.StandbyException"


def connection(port: int, timeout_s: float = 5.0) -> Connection:
    return Connection("127.0.0.1", port, user="tester", timeout_s=timeout_s)


def ask(port: int, timeout_s: float = 5.0) -> pb.GetServiceStatusResponseProto:
    with connection(port, timeout_s) as one:
        return one.call(
            PROTOCOL, "getServiceStatus", pb.GetServiceStatusRequestProto(), pb.GetServiceStatusResponseProto
        )


def status(state: int) -> pb.GetServiceStatusResponseProto:
    return pb.GetServiceStatusResponseProto(state=state)  # type: ignore[arg-type]


class TestCalls:
    def test_several_calls_go_over_one_connection(self) -> None:
        asked = []

        def respond(header: ipc.RequestHeaderProto, body: BytesIO) -> pb.SetSafeModeResponseProto:
            asked.append((header.methodName, take(body, pb.SetSafeModeRequestProto).action))
            return pb.SetSafeModeResponseProto(result=len(asked) == 2)

        with serving(hadoop(respond)) as port, connection(port) as one:
            namenode = NameNode(one)
            assert [namenode.in_safe_mode(), namenode.enter_safe_mode()] == [False, True]
        assert asked == [("setSafeMode", pb.SAFEMODE_GET), ("setSafeMode", pb.SAFEMODE_ENTER)]

    def test_a_connection_that_was_idle_for_long_is_not_used_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rpc, "IDLE_LIMIT_S", 0.0)
        once = hadoop(lambda *_: pb.SetSafeModeResponseProto(result=True), calls=1)
        with serving(once) as port, connection(port) as one:
            assert [NameNode(one).in_safe_mode(), NameNode(one).in_safe_mode()] == [True, True]

    def test_after_a_lost_connection_the_next_call_connects_anew(self) -> None:
        once = hadoop(lambda *_: pb.SetSafeModeResponseProto(result=True), calls=1)
        with serving(once) as port, connection(port) as one:
            assert NameNode(one).in_safe_mode()
            with pytest.raises(Unreachable):
                NameNode(one).in_safe_mode()
            assert NameNode(one).in_safe_mode()

    def test_corrupt_files_are_read_page_by_page(self) -> None:
        pages = {None: (["/a", "/b"], "2"), "2": (["/c"], "3"), "3": ([], "3")}

        def respond(_: ipc.RequestHeaderProto, body: BytesIO) -> pb.ListCorruptFileBlocksResponseProto:
            request = take(body, pb.ListCorruptFileBlocksRequestProto)
            files, cookie = pages[request.cookie if request.HasField("cookie") else None]
            return pb.ListCorruptFileBlocksResponseProto(corrupt=pb.CorruptFileBlocksProto(files=files, cookie=cookie))

        with serving(hadoop(respond)) as port, connection(port) as one:
            assert list(NameNode(one).corrupt_files()) == ["/a", "/b", "/c"]


class TestErrors:
    def test_what_the_server_throws_has_its_class_and_the_first_line_of_its_text(self) -> None:
        thrown = error("java.io.IOException", "no room\n\tat org.example")
        expected = pytest.raises(RemoteError, match=r"^IOException: no room$")
        with serving(hadoop(lambda *_: thrown)) as port, expected as raised:
            ask(port)
        assert raised.value.exception == "java.io.IOException"

    def test_the_user_that_is_denied_is_named(self) -> None:
        denied = error("org.apache.hadoop.security.AccessControlException", "Superuser privilege is required")
        with serving(hadoop(lambda *_: denied)) as port, pytest.raises(NotAuthorised, match="user tester may not"):
            ask(port)

    def test_a_server_that_wants_kerberos_is_refused_in_clear_words(self) -> None:
        text = "SIMPLE authentication is not enabled.  Available:[TOKEN, KERBEROS]"
        fatal = error("org.apache.hadoop.security.AccessControlException", text, fatal=True)
        refused = pytest.raises(NotAuthorised, match=r"demands \[TOKEN, KERBEROS\].*does not speak Kerberos")
        with serving(hadoop(lambda *_: fatal)) as port, refused as raised:
            ask(port)
        assert raised.value.code == "HDFS_KERBEROS"

    def test_a_server_that_begins_to_negotiate_sasl_is_refused_too(self) -> None:
        def negotiate(peer: socket.socket) -> None:
            exact(peer, 7)
            read_frame(peer)
            header = ipc.RpcResponseHeaderProto(callId=rpc.SASL_CALL_ID, status=ipc.RpcResponseHeaderProto.SUCCESS)
            auths = [ipc.RpcSaslProto.SaslAuth(method="KERBEROS", mechanism="GSSAPI")]
            peer.sendall(frame(header, ipc.RpcSaslProto(state=ipc.RpcSaslProto.NEGOTIATE, auths=auths)))
            silent(peer)

        with serving(negotiate) as port, pytest.raises(NotAuthorised, match="does not speak Kerberos"):
            ask(port)


class TestNotHadoop:
    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        with pytest.raises(Unreachable, match="refused") as raised:
            ask(port)
        assert raised.value.where == f"127.0.0.1:{port}"

    def test_a_half_open_port_costs_no_more_than_the_deadline(self) -> None:
        started = time.monotonic()
        with serving(silent) as port, pytest.raises(Unreachable, match="no answer to getServiceStatus within 300 ms"):
            ask(port, timeout_s=0.3)
        assert time.monotonic() - started < 2

    def test_an_answer_that_drips_costs_no_more_than_the_deadline(self) -> None:
        def drip(peer: socket.socket) -> None:
            peer.sendall(struct.pack(">I", 1000))
            while True:
                peer.sendall(b"x")
                time.sleep(0.02)

        with serving(drip) as port, pytest.raises(Unreachable, match="within 300 ms"):
            ask(port, timeout_s=0.3)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "the server speaks SSH"),
            (b"", "closed the connection"),
            (b"\x15\x03", "the server speaks TLS"),
            (b"\xff\xff\xff\xff", "garbage"),
            (struct.pack(">I", 3) + b"\xff\xff\xff", "garbage"),
            (struct.pack(">I", 0), "garbage"),
        ],
    )
    def test_other_protocols_and_garbage_are_told_apart(self, data: bytes, words: str) -> None:
        with serving(answers(data)) as port, pytest.raises(Unreachable, match=words):
            ask(port)

    def test_a_tls_port(self, tmp_path: Path) -> None:
        pem = tmp_path / "server.pem"
        subject = ["-subj", "/CN=test", "-keyout", str(pem), "-out", str(tmp_path / "cert.pem")]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", pem)

        def tls(peer: socket.socket) -> None:
            with context.wrap_socket(peer, server_side=True):
                pass

        with serving(tls) as port, pytest.raises(Unreachable, match=r"TLS|closed the connection"):
            ask(port)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(min_size=4, max_size=60))
    def test_no_garbage_is_more_than_an_error_of_ours(self, data: bytes) -> None:
        with serving(answers(data)) as port, pytest.raises(BdopsError):
            ask(port, timeout_s=0.5)


class TestFraming:
    @given(st.text(max_size=300), st.integers(-(2**31), 2**31 - 1), st.binary(max_size=16))
    def test_what_goes_into_a_frame_comes_out_of_it(self, name: str, call_id: int, client: bytes) -> None:
        header = ipc.RpcRequestHeaderProto(callId=call_id, clientId=client)
        body = ipc.RequestHeaderProto(methodName=name, declaringClassProtocolName=name, clientProtocolVersion=1)
        data = frame(header, body)
        stream = BytesIO(data[4:])
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert take(stream, ipc.RpcRequestHeaderProto) == header
        assert take(stream, ipc.RequestHeaderProto) == body


class TestHighAvailability:
    @staticmethod
    def respond(state: int, blocks: pb.GetFsReplicatedBlockStatsResponseProto | ipc.RpcResponseHeaderProto):  # type: ignore[no-untyped-def]
        def answer(header: ipc.RequestHeaderProto, _: BytesIO):  # type: ignore[no-untyped-def]
            return status(state) if header.methodName == "getServiceStatus" else blocks

        return hadoop(answer)

    COUNTS = pb.GetFsReplicatedBlockStatsResponseProto(
        low_redundancy=7,
        corrupt_blocks=0,
        missing_blocks=0,
        missing_repl_one_blocks=0,
        blocks_in_future=0,
        pending_deletion_blocks=0,
    )

    def test_calls_go_to_the_active_one(self) -> None:
        standby = self.respond(2, error(STANDBY, "not here"))
        with serving(standby) as first, serving(self.respond(1, self.COUNTS)) as second:
            service = Nameservice({"nn1": NameNode(connection(first)), "nn2": NameNode(connection(second))})
            assert service.on_active(lambda n: n.replicated_blocks()).low_redundancy == 7
            assert service.active() == "nn2"

    def test_after_a_failover_the_call_goes_to_the_other_one(self) -> None:
        states = {"nn1": 1, "nn2": 2}

        def node(name: str):  # type: ignore[no-untyped-def]
            def answer(header: ipc.RequestHeaderProto, _: BytesIO):  # type: ignore[no-untyped-def]
                if header.methodName == "getServiceStatus":
                    return status(states[name])
                return self.COUNTS if states[name] == 1 else error(STANDBY, "not here")

            return hadoop(answer)

        with serving(node("nn1")) as first, serving(node("nn2")) as second:
            service = Nameservice({"nn1": NameNode(connection(first)), "nn2": NameNode(connection(second))})
            assert service.active() == "nn1"
            states.update(nn1=2, nn2=1)
            assert service.on_active(lambda n: n.replicated_blocks()).low_redundancy == 7

    def test_a_namenode_without_a_standby_is_the_active_one(self) -> None:
        alone = error("org.apache.hadoop.ha.ServiceFailedException", "HA for namenode is not enabled")
        with serving(hadoop(lambda *_: alone)) as port, connection(port) as one:
            assert NameNode(one).service_status().state == "active"

    def test_without_an_active_one_it_says_what_each_said(self) -> None:
        with serving(self.respond(2, self.COUNTS)) as first, socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
            gone.close()
            service = Nameservice({"nn1": NameNode(connection(first)), "nn2": NameNode(connection(port))})
            with pytest.raises(StateUnknown, match=r"nn1: standby; nn2: .*refused"):
                service.active()
