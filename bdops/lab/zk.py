"""ZooKeeper in the lab: an ensemble of three on node1 to node3, each with two data folders."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bdops.lab.inventory import service
from bdops.lab.lab import Lab
from bdops.lab.recipe import Program, Recipe, Say

HOSTS = ("node1", "node2", "node3")
CLIENT_PORT = 2181
PEER_PORT = 2888
ELECTION_PORT = 3888
ADMIN_PORT = 8380  # not the default 8080, which something on a workstation tends to have
HEAP_MB = 96
START_S = 40
SUPER = "super"

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
        "initLimit": 10,
        "syncLimit": 5,
        "dataDir": data,
        "dataLogDir": data_log,
        "dynamicConfigFile": lab.folder_of("zk", host) / "zoo.cfg.dynamic",
        "standaloneEnabled": "false",
        "reconfigEnabled": "true",
        "skipACL": "no",
        "maxClientCnxns": 0,
        "preAllocSize": 1024,
        "4lw.commands.whitelist": "*",
        "admin.enableServer": "true",
        "admin.serverAddress": lab.host(host).address,
        "admin.serverPort": ADMIN_PORT,
        "serializeLastProcessedZxid.enabled": "true",
        "autopurge.purgeInterval": 0,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def dynamic_config(lab: Lab) -> str:
    """The ensemble: server.N lines with quorum, election and client ports."""
    return "".join(
        f"server.{n}={lab.host(h).address}:{PEER_PORT}:{ELECTION_PORT}:participant;{lab.host(h).address}:{CLIENT_PORT}\n"
        for n, h in enumerate(HOSTS, start=1)
    )


def password_file(lab: Lab) -> Path:
    return lab.folder / "zk-super-password"


def super_digest(password: str) -> str:
    """`super:base64(sha1(super:password))`, as DigestAuthenticationProvider wants it."""
    digest = hashlib.sha1(f"{SUPER}:{password}".encode(), usedforsecurity=False).digest()
    return f"{SUPER}:{base64.b64encode(digest).decode()}"


def prepare(lab: Lab, say: Say) -> None:
    """Write the configurations and, once, the server ids. A dynamic configuration that reconfig changed is kept."""
    password = password_file(lab)
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(18) + "\n")
    for number, host in enumerate(HOSTS, start=1):
        for folder in data_dirs(lab, host):
            folder.mkdir(mode=0o700, exist_ok=True)
        (data_dirs(lab, host)[0] / "myid").write_text(f"{number}\n")
        config = config_file(lab, host)
        if not config.exists():
            (config.parent / "zoo.cfg.dynamic").write_text(dynamic_config(lab))
            config.write_text(zoo_cfg(lab, host))


def programs(lab: Lab) -> Sequence[Program]:
    class_path = lab.class_path("zk")
    digest = super_digest(password_file(lab).read_text().strip()) if password_file(lab).exists() else ""
    return [
        Program(
            name="zookeeper",
            host=host,
            instance=f"zk/{host}",
            argv=lab.java(
                heap_mb=HEAP_MB,
                class_path=class_path,
                main="org.apache.zookeeper.server.quorum.QuorumPeerMain",
                args=[str(config_file(lab, host))],
                options=[
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
    """A server's answer to a four-letter word. Raises OSError when it does not answer."""
    with socket.create_connection((lab.host(host).address, CLIENT_PORT), timeout=timeout_s) as connection:
        connection.sendall(word.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode(errors="replace")


def mode(lab: Lab, host: str) -> str | None:
    """leader, follower or observer; None when the server does not serve."""
    for line in ask(lab, host, "srvr").splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ").strip()
    return None


def serves(lab: Lab, host: str) -> bool:
    return mode(lab, host) in ("leader", "follower", "observer")


def start(lab: Lab, say: Say) -> None:
    for host in HOSTS:
        lab.start("zookeeper", host)
    for host in HOSTS:
        lab.wait(
            f"ZooKeeper on {host} to serve",
            lambda host=host: serves(lab, host),  # type: ignore[misc]
            START_S,
            of=[("zookeeper", h) for h in HOSTS],
        )


def inventory(lab: Lab) -> Mapping[str, Any]:
    return {
        "client_port": CLIENT_PORT,
        "admin_port": ADMIN_PORT,
        "peer_port": PEER_PORT,
        "election_port": ELECTION_PORT,
        "user": SUPER,
        "password": {"file": str(password_file(lab))},
        "hosts": {
            host: {
                "roles": ["participant"],
                "myid": number,
                "data_dirs": [str(folder) for folder in data_dirs(lab, host)],
                "log_dir": str(lab.host(host).logs),
                "service": service(lab.host(host), "zookeeper"),
            }
            for number, host in enumerate(HOSTS, start=1)
        },
    }


def load(lab: Lab, factor: float, say: Say) -> None:
    """A tree of znodes as applications make them."""


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
)
