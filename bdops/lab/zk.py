"""ZooKeeper in the lab: an ensemble of three on node1 to node3, each with two data folders."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bdops.components.zk.client import four_letter
from bdops.components.zk.client.wire import tls_context
from bdops.components.zk.settings import Tls
from bdops.errors import BdopsError
from bdops.lab import security, zk_faults
from bdops.lab.lab import Lab
from bdops.lab.network import address
from bdops.lab.recipe import Program, Recipe, Say

HOSTS = ("node1", "node2", "node3")
PROGRAM = "zookeeper"
CLIENT_PORT = 2181
PEER_PORT = 2888
ELECTION_PORT = 3888
ADMIN_PORT = 8380  # not the default 8080, which something on a workstation tends to have
HEAP_MB = 96
START_S = 40
SUPER = "super"
LINK_HOST = 100
"""A fault's slow link to node N has the address of a host numbered LINK_HOST + N."""

ARTIFACTS = (
    "org.apache.zookeeper:zookeeper:3.9.5",
    "org.slf4j:slf4j-simple:2.0.13",
    "io.dropwizard.metrics:metrics-core:4.2.37",
    "org.xerial.snappy:snappy-java:1.1.10.8",
    # The AdminServer:
    "org.eclipse.jetty:jetty-server:9.4.58.v20250814",
    "org.eclipse.jetty:jetty-servlet:9.4.58.v20250814",
    "com.fasterxml.jackson.core:jackson-databind:2.18.2",
    "commons-cli:commons-cli:1.5.0",
)


def config_file(lab: Lab, host: str) -> Path:
    return lab.folder_of("zk", host) / "zoo.cfg"


def data_dirs(lab: Lab, host: str) -> tuple[Path, Path]:
    """dataDir (snapshots) and dataLogDir (transactions)."""
    folder = lab.folder_of("zk", host)
    return folder / "data", folder / "datalog"


def zoo_cfg(lab: Lab, host: str) -> str:
    """A server's configuration (ZooKeeper Administrator's Guide, "Configuration Parameters")."""
    data, data_log = data_dirs(lab, host)
    settings = {
        "tickTime": 1000,
        "initLimit": 15,
        "syncLimit": 6,
        "dataDir": data,
        "dataLogDir": data_log,
        "dynamicConfigFile": dynamic_file(lab, host),
        "standaloneEnabled": "false",
        "reconfigEnabled": "true",
        "maxClientCnxns": 0,
        "preAllocSize": 1024,
        "4lw.commands.whitelist": "*",
        "admin.enableServer": "true",
        "admin.serverAddress": lab.host(host).address,
        "admin.serverPort": ADMIN_PORT,
        "serializeLastProcessedZxid.enabled": "true",
        # The AdminServer restores once in five minutes by default.
        "admin.rateLimiterIntervalInMS": 1,
        "autopurge.purgeInterval": 0,
        **(secure_settings(lab, host) if lab.secure else {}),
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def secure_settings(lab: Lab, host: str) -> dict[str, object]:
    """TLS alone on every port, with a certificate on both sides, as is ZooKeeper's default where it has TLS."""
    files = {"keyStore": security.pem(lab, host).both, "trustStore": security.ca_file(lab)}
    return {
        "secureClientPort": CLIENT_PORT,
        "secureClientPortAddress": lab.host(host).address,
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "sslQuorum": "true",
        # A server's connections come from 127.0.0.1, whichever of the loopback addresses it listens on.
        "ssl.quorum.clientHostnameVerification": "false",
        "admin.forceHttps": "true",
        "admin.needClientAuth": "true",
        # The AdminServer takes the quorum's.
        **{f"ssl.{of}{store}.location": file for of in ("", "quorum.") for store, file in files.items()},
        **{f"ssl.{of}{store}.type": "PEM" for of in ("", "quorum.") for store in files},
    }


def dynamic_file(lab: Lab, host: str) -> Path:
    """The membership that a server starts with; ZooKeeper writes a new file for each version, and notes which."""
    config = config_file(lab, host)
    for line in config.read_text().splitlines() if config.exists() else ():
        if line.startswith("dynamicConfigFile="):
            return Path(line.partition("=")[2])
    return config.with_name("zoo.cfg.dynamic")


def dynamic_config(lab: Lab) -> str:
    """The ensemble, the same on every server: server.N=HOST:QUORUM PORT:ELECTION PORT:ROLE[;CLIENT ADDRESS].

    The hosts are names, which each server's own hosts file resolves: a fault can put a slow link in between.
    A client port with TLS is no part of it.
    """
    return "".join(
        f"server.{n}={h}:{PEER_PORT}:{ELECTION_PORT}:participant"
        + ("" if lab.secure else f";{lab.host(h).address}:{CLIENT_PORT}")
        + "\n"
        for n, h in enumerate(HOSTS, start=1)
    )


def hosts_file(lab: Lab, host: str) -> Path:
    return lab.folder_of("zk", host) / "hosts"


def write_hosts_file(lab: Lab, host: str, *, linked: Sequence[str] = ()) -> None:
    """What a server's Java resolves names by; it reaches the hosts in `linked` through their slow links."""
    lines = ["127.0.0.1 localhost", f"{lab.host(host).address} {socket.gethostname()}"]
    for number, name in enumerate(HOSTS, start=1):
        via_link = address(lab.network, LINK_HOST + number)
        lines.append(f"{via_link if name in linked else lab.host(name).address} {name}")
    hosts_file(lab, host).write_text("\n".join(lines) + "\n")


def super_digest(password: str) -> str:
    """`super:base64(sha1(super:password))`, as DigestAuthenticationProvider wants it."""
    digest = hashlib.sha1(f"{SUPER}:{password}".encode(), usedforsecurity=False).digest()
    return f"{SUPER}:{base64.b64encode(digest).decode()}"


def prepare(lab: Lab, say: Say) -> None:
    """Write the configurations and, once, the server ids. A dynamic configuration that reconfig changed is kept."""
    for number, host in enumerate(HOSTS, start=1):
        for folder in data_dirs(lab, host):
            folder.mkdir(mode=0o700, exist_ok=True)
        (data_dirs(lab, host)[0] / "myid").write_text(f"{number}\n")
        write_hosts_file(lab, host)
        if not config_file(lab, host).exists():
            dynamic_file(lab, host).write_text(dynamic_config(lab))
            config_file(lab, host).write_text(zoo_cfg(lab, host))


def programs(lab: Lab) -> Sequence[Program]:
    class_path = lab.class_path("zk")
    digest = super_digest(security.password(lab, SUPER))
    return [
        Program(
            name=PROGRAM,
            host=host,
            instance=f"zk/{host}",
            argv=lab.java(
                heap_mb=HEAP_MB,
                class_path=class_path,
                main="org.apache.zookeeper.server.quorum.QuorumPeerMain",
                args=[str(config_file(lab, host))],
                options=[
                    f"-Djdk.net.hosts.file={hosts_file(lab, host)}",
                    f"-Dzookeeper.DigestAuthenticationProvider.superDigest={digest}",
                    "-Dzookeeper.jmx.log4j.disable=true",
                    "-Dorg.slf4j.simpleLogger.showDateTime=true",
                    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
                    "-Dorg.slf4j.simpleLogger.logFile=System.out",
                ],
            ),
            stop_wait_s=10,
        )
        for host in HOSTS
    ]


def ask(lab: Lab, host: str, word: str, timeout_s: float = 2.0) -> str:
    """A server's answer to a four-letter word. Raises Unreachable, and NotAuthorised for one not whitelisted."""
    files = tls_files(lab)
    tls = tls_context(Tls(ca=files["ca"], cert=files["cert"], key=files["key"])) if lab.secure else None
    return four_letter.ask(word, (lab.host(host).address, CLIENT_PORT), timeout_s=timeout_s, tls=tls)


def tls_files(lab: Lab) -> dict[str, str]:
    """What a client of a secured lab needs for TLS, as the inventory says it."""
    own = security.pem(lab, security.CLIENT)
    return {"ca": str(security.ca_file(lab)), "cert": str(own.certificate), "key": str(own.key)}


def field(lab: Lab, host: str, name: str) -> str | None:
    """One value of `srvr`, such as Mode or Zxid; None when the server does not serve."""
    for line in ask(lab, host, "srvr").splitlines():
        if line.startswith(f"{name}: "):
            return line.removeprefix(f"{name}: ").strip()
    return None


def serves(lab: Lab, host: str) -> bool:
    return field(lab, host, "Mode") in ("leader", "follower")


def await_serving(lab: Lab, hosts: Sequence[str] = HOSTS) -> None:
    for host in hosts:
        lab.wait(f"ZooKeeper on {host} to serve", partial(serves, lab, host), START_S, of=[(PROGRAM, host)])


def start(lab: Lab, say: Say) -> None:
    for host in HOSTS:
        lab.start(PROGRAM, host)
    await_serving(lab)
    if lab.secure:
        close_root(lab)


def close_root(lab: Lab) -> None:
    """Everybody may see what is below the root, and the super user alone may write there or take a snapshot."""
    from kazoo.security import ACL, ANYONE_ID_UNSAFE, Permissions, make_digest_acl

    from bdops.components.zk.client.session import session

    everybody = ACL(Permissions.READ, ANYONE_ID_UNSAFE)
    own = make_digest_acl(SUPER, security.password(lab, SUPER), all=True)
    with session(lab.deployment("zk").instances, timeout_s=15) as client:
        client.set_acls("/", [everybody, own])


def healthy(lab: Lab) -> str | None:
    """One leader, and all others in step with it."""
    modes = {}
    for host in HOSTS:
        try:
            modes[host] = field(lab, host, "Mode")
        except BdopsError as e:
            return f"ZooKeeper on {host} does not answer: {e}"
    if sorted(str(mode) for mode in modes.values()) != ["follower", "follower", "leader"]:
        return f"ZooKeeper's servers are {modes}"
    return None


def inventory(lab: Lab) -> Mapping[str, Any]:
    return {
        "roles": {"participant": {"hosts": list(HOSTS)}},
        "client_port": CLIENT_PORT,
        "admin_port": ADMIN_PORT,
        "peer_port": PEER_PORT,
        "election_port": ELECTION_PORT,
        "user": SUPER,
        "password": {"file": str(security.password_file(lab, SUPER))},
        **({"tls": tls_files(lab), "admin_tls": True} if lab.secure else {}),
        "service": {"unit": PROGRAM},
        "instances": {
            host: {
                "myid": number,
                "data_dirs": [str(folder) for folder in data_dirs(lab, host)],
                "log_dir": str(lab.host(host).logs),
            }
            for number, host in enumerate(HOSTS, start=1)
        },
    }


def load(lab: Lab, factor: float, say: Say) -> None:
    """Some thousand znodes as applications make them: services with instances, configurations, locks."""
    from kazoo.security import make_digest_acl

    from bdops.components.zk.client.session import session

    services, instances_each = max(1, int(40 * factor)), 50
    acl = [make_digest_acl("shop", "shop", all=True)]
    with session(lab.deployment("zk").instances, timeout_s=15) as client:
        for path in ("/services", "/config", "/locks", "/queues"):
            client.ensure_path(path)
        for path in (f"/services/service-{n:03}" for n in range(services)):
            client.ensure_path(path)
        pending = []
        for n in range(services):
            name = f"service-{n:03}"
            if not client.exists(f"/config/{name}"):
                pending.append(client.create_async(f"/config/{name}", _blob(name, 400), acl=acl))
            have = set(client.get_children(f"/services/{name}"))
            pending += [
                client.create_async(f"/services/{name}/instance-{i:03}", _blob(f"{name}-{i}", 120))
                for i in range(instances_each)
                if f"instance-{i:03}" not in have
            ]
        pending += [client.create_async("/queues/job-", b"{}", sequence=True) for _ in range(int(200 * factor))]
        for one in pending:
            one.get(timeout=30)
    say(f"ZooKeeper: {len(pending)} znodes written")


def _blob(name: str, size_bytes: int) -> bytes:
    body = json.dumps({"name": name, "host": "10.0.0.1", "port": 8443}).encode()
    return body + b" " * max(0, size_bytes - len(body))


RECIPE = Recipe(
    name="zk",
    title="ZooKeeper",
    memory_mb=400,
    ports=dict.fromkeys(HOSTS, (CLIENT_PORT, PEER_PORT, ELECTION_PORT, ADMIN_PORT)),
    artifacts=ARTIFACTS,
    prepare=prepare,
    programs=programs,
    start=start,
    inventory=inventory,
    load=load,
    healthy=healthy,
    faults=zk_faults.FAULTS,
    securable=True,
    config_files=lambda lab: [file(lab, host) for host in HOSTS for file in (config_file, dynamic_file)],
)
