"""The configuration files of the lab's Hadoop: pure functions from addresses and folders to texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bdops.components.hdfs.server_files import log4j, xml

NAMESERVICE = "lab"
USER = "hdfs"
"""The user that the servers run as in HDFS's eyes (HADOOP_USER_NAME), hence the superuser."""

SOCKET_FACTORY = "BoundSocketFactory"
SOCKET_FACTORY_SOURCE = f"""\
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import org.apache.hadoop.net.StandardSocketFactory;

/** Outgoing RPC leaves from the lab host's own address, so that DataNodes register with it. */
public class {SOCKET_FACTORY} extends StandardSocketFactory {{
    @Override public Socket createSocket() throws IOException {{
        Socket socket = super.createSocket();
        socket.bind(new InetSocketAddress(System.getProperty("bdops.address"), 0));
        return socket;
    }}
}}
"""
QUIET_LOGGERS = ("BlockStateChange", "org.apache.hadoop.hdfs.StateChange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A host of the lab as Hadoop sees it. `folder` is its own: configuration, names, journals."""

    name: str
    address: str
    rack: str
    folder: Path
    data_dirs: tuple[Path, ...]

    @property
    def name_dir(self) -> Path:
        return self.folder / "name"

    @property
    def conf_dir(self) -> Path:
        return self.folder / "conf"


def files(
    node: Node, *, namenodes: Mapping[str, Node], journals: Sequence[Node], nodes: Sequence[Node], zk: str
) -> dict[str, str]:
    """The files of one host's configuration folder, by name. `namenodes` maps nn ids to their hosts."""
    return {
        "core-site.xml": xml(_core_site(node, zk)),
        "hdfs-site.xml": xml(_hdfs_site(node, namenodes, journals)),
        "log4j.properties": log4j(*QUIET_LOGGERS),
        "racks.txt": "".join(f"{n.address} /{n.rack}\n" for n in nodes),
        # Metrics in JMX are read through a cache of one period: ten seconds by default.
        "hadoop-metrics2.properties": "*.period=1\n",
    }


def _core_site(node: Node, zk: str) -> dict[str, str]:
    return {
        "fs.defaultFS": f"hdfs://{NAMESERVICE}",
        "hadoop.tmp.dir": str(node.folder / "tmp"),
        "hadoop.rpc.socket.factory.class.default": SOCKET_FACTORY,
        "hadoop.http.idle_timeout.ms": "60000",
        "ha.zookeeper.quorum": zk,
        "ha.zookeeper.session-timeout.ms": "6000",
        "ha.health-monitor.check-interval.ms": "500",
        "ha.health-monitor.connect-retry-interval.ms": "500",
        "ipc.client.connect.retry.interval": "500",
        "net.topology.node.switch.mapping.impl": "org.apache.hadoop.net.TableMapping",
        "net.topology.table.file.name": str(node.conf_dir / "racks.txt"),
    }


def _hdfs_site(node: Node, namenodes: Mapping[str, Node], journals: Sequence[Node]) -> dict[str, str]:
    ns, address = NAMESERVICE, node.address
    site = {
        "dfs.nameservices": ns,
        f"dfs.ha.namenodes.{ns}": ",".join(namenodes),
        f"dfs.client.failover.proxy.provider.{ns}": (
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
        ),
        "dfs.namenode.shared.edits.dir": f"qjournal://{';'.join(f'{j.address}:8485' for j in journals)}/{ns}",
        "dfs.ha.automatic-failover.enabled": "true",
        "dfs.ha.fencing.methods": "shell(/bin/true)",
        "dfs.ha.tail-edits.period": "1s",
        "dfs.ha.log-roll.period": "30s",
        "dfs.namenode.name.dir": node.name_dir.as_uri(),
        "dfs.journalnode.edits.dir": str(node.folder / "journal"),
        "dfs.journalnode.rpc-address": f"{address}:8485",
        "dfs.journalnode.http-address": f"{address}:8480",
        "dfs.datanode.data.dir": ",".join(d.as_uri() for d in node.data_dirs),
        "dfs.datanode.address": f"{address}:9866",
        "dfs.datanode.ipc.address": f"{address}:9867",
        "dfs.datanode.http.address": f"{address}:9864",
        # Not a name: WebHDFS redirects to it, and names of lab hosts do not resolve.
        "dfs.datanode.hostname": address,
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.hosts.exclude": str(node.conf_dir / "exclude"),
        # Small and quick: a dead DataNode is known after 12 s, a removed block file after 5 s.
        "dfs.replication": "3",
        "dfs.blocksize": str(1 << 20),
        "dfs.namenode.fs-limits.min-block-size": "4096",
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.heartbeat.recheck-interval": "1000",
        "dfs.namenode.stale.datanode.interval": "5000",
        "dfs.namenode.redundancy.interval.seconds": "1s",
        "dfs.namenode.reconstruction.pending.timeout-sec": "10",
        "dfs.namenode.decommission.interval": "1s",
        "dfs.namenode.safemode.extension": "0",
        "dfs.blockreport.intervalMsec": "600000",
        "dfs.datanode.directoryscan.interval": "5s",
        "dfs.datanode.failed.volumes.tolerated": "1",
        "dfs.datanode.disk.check.min.gap": "1s",
        "dfs.datanode.round-robin-volume-choosing-policy.additional-available-space": "0",
        "dfs.datanode.handler.count": "4",
        "dfs.namenode.handler.count": "6",
        "dfs.namenode.max.op.size": str(64 << 20),
        "dfs.client.read.shortcircuit": "false",
    }
    for nn, host in namenodes.items():
        site[f"dfs.namenode.rpc-address.{ns}.{nn}"] = f"{host.address}:8020"
        site[f"dfs.namenode.http-address.{ns}.{nn}"] = f"{host.address}:9870"
        if host.name == node.name:
            site["dfs.ha.namenode.id"] = nn
    return site
