"""The calls of the other servers: failover controllers, DataNodes, JournalNodes."""

from __future__ import annotations

from dataclasses import dataclass

from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.rpc import Connection, Protocol

ZKFC = Protocol("org.apache.hadoop.ha.ZKFCProtocol")
CLIENT_DATANODE = Protocol("org.apache.hadoop.hdfs.protocol.ClientDatanodeProtocol")
QJOURNAL = Protocol("org.apache.hadoop.hdfs.qjournal.protocol.QJournalProtocol")


@dataclass
class FailoverController:
    """A ZKFC. It offers no status: that it answers is asked by the versions of its protocol."""

    connection: Connection

    def versions(self) -> tuple[int, ...]:
        return self.connection.versions(ZKFC)

    def graceful_failover(self, *, timeout_s: float) -> None:
        """Make the NameNode of *this* controller the active one; returns when it is."""
        self.connection.call(
            ZKFC,
            "gracefulFailover",
            pb.GracefulFailoverRequestProto(),
            pb.GracefulFailoverResponseProto,
            timeout_s=timeout_s,
        )


@dataclass(frozen=True, slots=True)
class DataNodeInfo:
    """What a DataNode says of itself. `config_version` changes when its configuration is reloaded."""

    version: str
    config_version: str
    uptime_s: int


@dataclass
class DataNodeServer:
    """A DataNode's IPC port."""

    connection: Connection

    def info(self) -> DataNodeInfo:
        answer = self.connection.call(
            CLIENT_DATANODE, "getDatanodeInfo", pb.GetDatanodeInfoRequestProto(), pb.GetDatanodeInfoResponseProto
        ).localInfo
        return DataNodeInfo(answer.softwareVersion, answer.configVersion, answer.uptime)

    def shutdown(self, *, for_upgrade: bool) -> None:
        """Stop it. `for_upgrade` tells writers that it will be back soon, so that they wait for it."""
        request = pb.ShutdownDatanodeRequestProto(forUpgrade=for_upgrade)
        self.connection.call(CLIENT_DATANODE, "shutdownDatanode", request, pb.ShutdownDatanodeResponseProto)

    def trigger_block_report(self, *, incremental: bool = False) -> None:
        """Report its blocks to the NameNodes now."""
        request = pb.TriggerBlockReportRequestProto(incremental=incremental)
        self.connection.call(CLIENT_DATANODE, "triggerBlockReport", request, pb.TriggerBlockReportResponseProto)


@dataclass
class JournalServer:
    """A JournalNode's RPC port."""

    connection: Connection

    def versions(self) -> tuple[int, ...]:
        return self.connection.versions(QJOURNAL)

    def promised_epoch(self, journal: str) -> int:
        """The epoch of the writer that it promised to obey. Raises RemoteError when it does not have the journal."""
        request = pb.GetJournalStateRequestProto(jid=pb.JournalIdProto(identifier=journal), nameServiceId=journal)
        return self.connection.call(
            QJOURNAL, "getJournalState", request, pb.GetJournalStateResponseProto
        ).lastPromisedEpoch
