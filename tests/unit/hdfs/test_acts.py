"""The acts over RPC, against tiny servers: a DataNode that will not obey, and which failovers are tried again."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from io import BytesIO

import pytest
from google.protobuf.message import Message

from bdops.components.hdfs.actor import HdfsActor
from bdops.components.hdfs.progress import progress
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.proto import ipc_pb2 as ipc
from bdops.components.hdfs.read import Server, read_exactly, read_journalnode, read_zkfc
from bdops.components.hdfs.rpc import take
from bdops.components.hdfs.settings import HdfsRules, Settings
from bdops.components.hdfs.standing import View
from bdops.components.hdfs.state import HdfsState
from bdops.core.actor import Borrowed
from bdops.core.model import Deployment, Host, Instance
from bdops.core.plan import Step
from bdops.errors import OperationFailed
from bdops.hosts.ssh import SshPool
from tests.servers import Handler, serving, silent
from tests.unit.hdfs.servers import error, hadoop

HOST = Host(name="node1", address="127.0.0.1")
OTHER = Host(name="node2", address="127.0.0.1")
SHUTDOWN = Step(
    id="0001",
    component="hdfs",
    name="prod/hdfs/node1/datanode",
    acts=("shutdown-upgrade", "restart"),
    instance="prod/hdfs/node1/datanode",
    role="datanode",
)
FAILOVER = Step(
    id="0001", component="hdfs", name="failover", acts=("failover",), args={"to": "prod/hdfs/node2/namenode"}
)


@dataclass
class Told:
    """An act's context that notes what it is told. There is time for one try, or a few."""

    timeout_s: float = 0.5
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)
        self.timeout_s = 0.0

    def borrow(self, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        raise AssertionError("nothing is borrowed")

    def borrowed(self, object: str, key: str) -> Borrowed | None:
        return None

    def give_back(self, object: str, key: str) -> None:
        raise AssertionError("nothing is borrowed")


def instance(role: str, host: Host = HOST, **ports: int) -> Instance:
    settings = Settings(user="tester", **ports)  # type: ignore[arg-type]
    return Instance(
        cluster="prod", component="hdfs", host=host, roles=frozenset({role}), settings=settings, process=role
    )


def actor_of(*instances: Instance) -> HdfsActor:
    rules = HdfsRules(interval_s=0.05)
    return HdfsActor(
        Deployment(cluster="prod", component="hdfs", instances=instances, settings=Settings(restart=rules)), SshPool()
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class TestShutdown:
    def shut_down(self, handler: Handler | None) -> tuple[Told, bool]:
        """What the operator is told, and whether the act counts as done while the DataNode still runs."""
        told = Told()

        def act(port: int) -> bool:
            actor = actor_of(instance("datanode", ipc_port=port))
            actor.perform(SHUTDOWN, "shutdown-upgrade", told)
            state = read_exactly(actor._deployment, frozenset(), timeout_s=1)
            return progress(View(state), SHUTDOWN, "shutdown-upgrade", {}, actor._not_obeyed).done

        if handler is None:
            return told, act(free_port())
        with serving(handler) as port:
            return told, act(port)

    def test_it_is_told_that_it_comes_back(self) -> None:
        asked: list[pb.ShutdownDatanodeRequestProto] = []

        def respond(header: ipc.RequestHeaderProto, request: BytesIO) -> Message:
            assert header.methodName == "shutdownDatanode"
            asked.append(take(request, pb.ShutdownDatanodeRequestProto))
            return pb.ShutdownDatanodeResponseProto()

        told, done = self.shut_down(hadoop(respond))
        assert [a.forUpgrade for a in asked] == [True]
        assert (told.said, done) == ([], False)

    def test_one_that_is_down_already_needs_no_telling(self) -> None:
        told, _ = self.shut_down(None)
        assert told.said == []

    def test_one_that_is_at_it_already_is_waited_for(self) -> None:
        told, done = self.shut_down(hadoop(lambda *_: error("java.io.IOException", "Shutdown already in progress.")))
        assert (told.said, done) == ([], False)

    def test_one_that_denies_it_is_left_to_its_service_manager(self) -> None:
        denied = error("org.apache.hadoop.security.AccessControlException", "Superuser privilege is required")
        told, done = self.shut_down(hadoop(lambda *_: denied))
        assert done
        assert "its service manager does that alone" in told.said[0]
        assert "Superuser privilege is required" in told.said[0]

    def test_one_that_does_not_know_the_call_is_left_to_its_service_manager(self) -> None:
        unknown = error("org.apache.hadoop.ipc.RpcNoSuchMethodException", "Unknown method shutdownDatanode")
        told, done = self.shut_down(hadoop(lambda *_: unknown))
        assert done
        assert "Unknown method" in told.said[0]


def namenode(state: int) -> Handler:
    """A NameNode without web pages: its state, no safe mode, no DataNodes."""

    def respond(header: ipc.RequestHeaderProto, request: BytesIO) -> Message | ipc.RpcResponseHeaderProto:
        if header.methodName == "getServiceStatus":
            return pb.GetServiceStatusResponseProto(state=state, readyToBecomeActive=True)  # type: ignore[arg-type]
        if header.methodName == "setSafeMode":
            return pb.SetSafeModeResponseProto(result=False)
        return pb.GetDatanodeStorageReportResponseProto()

    return hadoop(respond)


class TestFailover:
    def fail_over(self, handler: Handler, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failover to node2, whose controller is `handler`."""
        # The NameNodes here have no web pages, which would tell of their transactions.
        monkeypatch.setattr(View, "lag_txns", lambda self, name: 0)
        with serving(namenode(1)) as first, serving(namenode(2)) as second, serving(handler) as zkfc:
            actor = actor_of(
                instance("namenode", rpc_port=first, http_port=free_port()),
                instance("namenode", OTHER, rpc_port=second, http_port=free_port()),
                instance("zkfc", OTHER, rpc_port=zkfc),
            )
            actor.perform(FAILOVER, "failover", told)

    def test_the_controller_of_the_standby_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def respond(header: ipc.RequestHeaderProto, request: BytesIO) -> Message:
            asked.append(header.methodName)
            if header.methodName == "gracefulFailover":
                return pb.GracefulFailoverResponseProto()
            return ipc.GetProtocolSignatureResponseProto()

        told = Told()
        self.fail_over(hadoop(respond), told, monkeypatch)
        assert asked.count("gracefulFailover") == 1
        assert told.said == ["failover to prod/hdfs/node2/namenode"]

    def test_a_controller_that_fails_is_not_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def respond(header: ipc.RequestHeaderProto, request: BytesIO) -> Message | ipc.RpcResponseHeaderProto:
            if header.methodName == "gracefulFailover":
                return error("org.apache.hadoop.ha.ServiceFailedException", "Unable to become active. Fencing failed")
            return ipc.GetProtocolSignatureResponseProto()

        with pytest.raises(OperationFailed, match="Fencing failed") as failed:
            self.fail_over(hadoop(respond), Told(), monkeypatch)
        assert failed.value.code == "HDFS_FAILOVER_FAILED"

    def test_a_controller_that_has_just_started_is_waited_for_within_the_time_of_the_act(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def respond(header: ipc.RequestHeaderProto, request: BytesIO) -> Message | ipc.RpcResponseHeaderProto:
            if header.methodName == "gracefulFailover":
                text = "NameNode at x is not currently healthy. Cannot be failover target"
                return error("org.apache.hadoop.ha.ServiceFailedException", text)
            return ipc.GetProtocolSignatureResponseProto()

        with pytest.raises(OperationFailed, match="has not seen it healthy yet") as failed:
            self.fail_over(hadoop(respond), Told(), monkeypatch)
        assert failed.value.code == "HDFS_NO_STANDBY"


class TestWhyAServerIsNotThere:
    def server(self, role: str, port: int) -> Server:
        one = instance(role, rpc_port=port, http_port=port)
        return Server(one, role, 0.5, time.monotonic() + 0.5)  # type: ignore[arg-type]

    def test_nothing_listens(self) -> None:
        port = free_port()
        assert read_zkfc(self.server("zkfc", port)).error_kind == "not_running"
        assert read_journalnode(self.server("journalnode", port), "lab").error_kind == "not_running"

    def test_it_says_nothing(self) -> None:
        with serving(silent) as port:
            assert read_zkfc(self.server("zkfc", port)).error_kind == "silent"
            assert read_journalnode(self.server("journalnode", port), "lab").error_kind == "silent"

    def test_it_answers_with_an_error(self) -> None:
        with serving(hadoop(lambda *_: error("java.io.IOException", "Journal lab not formatted"))) as port:
            found = read_journalnode(self.server("journalnode", port), "lab")
        assert (found.error_kind, found.error and "not formatted" in found.error) == ("answered", True)

    def test_of_a_whole_nameservice(self) -> None:
        with serving(silent) as port:
            deployment = actor_of(
                instance("namenode", rpc_port=port), instance("namenode", OTHER, rpc_port=free_port())
            )._deployment
            state: HdfsState = read_exactly(deployment, frozenset(), timeout_s=1)
        assert [n.error_kind for n in state.namenodes or ()] == ["silent", "not_running"]
