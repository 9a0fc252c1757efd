"""Elasticsearch in the lab: three nodes on node1 to node3, each master-eligible with two data folders.

The server is run directly rather than through `bin/elasticsearch`. That launcher is a JVM of its own that starts
the server as a child, so that a signal for the program would reach the launcher only; it is also a hundred megabytes
and seconds of CPU for each node. What the launcher tells the server on its standard input is written here instead.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bdops.lab import es_faults, es_load, es_stand_ins, es_users, java
from bdops.lab.es_api import any_node, node_of
from bdops.lab.lab import Lab
from bdops.lab.recipe import Program, Recipe, Say

VERSION = "8.19.21"
ARTIFACTS = (f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip",)
HOSTS = ("node1", "node2", "node3")
PROGRAM = "elasticsearch"
HTTP_PORT = 9200
TRANSPORT_PORT = 9300
HEAP_MB = 256
START_S = 180

FEED = 'rm -f "$1" && mkfifo -m 600 "$1" && exec <>"$1" && cat "$2" >"$1" && shift 2 && exec "$@"'
"""Starts a program with a file's content on its standard input, which never ends: the server stops at its end."""


def home(lab: Lab) -> Path:
    """The distribution, unpacked once into the cache."""
    from filelock import FileLock

    target = lab.cache / f"elasticsearch-{VERSION}"
    archive = lab.artifact("es", "elasticsearch")
    with FileLock(lab.cache / ".elasticsearch.lock"):
        if not target.is_dir():
            work = Path(tempfile.mkdtemp(prefix=".elasticsearch-", dir=lab.cache))
            try:
                with zipfile.ZipFile(archive) as content:
                    content.extractall(work)
                (work / target.name).rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return es_stand_ins.home(lab, target, VERSION) if lab.secure else target


def config_dir(lab: Lab, host: str) -> Path:
    return lab.folder_of("es", host) / "config"


def data_dirs(lab: Lab, host: str) -> tuple[Path, Path]:
    folder = lab.folder_of("es", host)
    return folder / "data1", folder / "data2"


def log_dir(lab: Lab, host: str) -> Path:
    return lab.folder_of("es", host) / "logs"


def is_new(lab: Lab) -> bool:
    """Whether no node has ever stored a cluster state: only then may the cluster be bootstrapped."""
    return not any((folder / "_state").exists() for host in HOSTS for folder in data_dirs(lab, host))


def node_settings(lab: Lab, host: str) -> dict[str, str]:
    """A node's settings, lists as comma-separated text."""
    settings = {
        "cluster.name": lab.name,
        "node.name": host,
        "node.attr.rack": lab.host(host).rack,
        "cluster.routing.allocation.awareness.attributes": "rack",
        "network.host": lab.host(host).address,
        "http.port": str(HTTP_PORT),
        "transport.port": str(TRANSPORT_PORT),
        "discovery.seed_hosts": ",".join(f"{lab.host(h).address}:{TRANSPORT_PORT}" for h in HOSTS),
        "path.home": str(home(lab)),
        "path.data": ",".join(map(str, data_dirs(lab, host))),
        "path.logs": str(log_dir(lab, host)),
        "path.repo": str(es_load.repository_dir(lab)),
        "node.store.allow_mmap": "false",
        # Free bytes, for this machine's disk may well be fuller than the shares that a server is content with.
        "cluster.routing.allocation.disk.watermark.low": "512mb",
        "cluster.routing.allocation.disk.watermark.high": "256mb",
        "cluster.routing.allocation.disk.watermark.flood_stage": "128mb",
        "cluster.info.update.interval": "10s",
        # A paused node is dropped after 15 s, not 30 s.
        "cluster.fault_detection.follower_check.timeout": "5s",
        "cluster.fault_detection.leader_check.timeout": "5s",
    }
    if lab.secure:
        settings |= es_users.node_settings(lab, host, config_dir(lab, host))
    else:
        settings["xpack.security.enabled"] = "false"
    if is_new(lab):
        settings["cluster.initial_master_nodes"] = ",".join(HOSTS)
    return settings


def server_args(settings: Mapping[str, str], config: Path, logs: Path) -> bytes:
    """What the launcher would write to the server's standard input.

    In the order of `org.elasticsearch.bootstrap.ServerArgs` of 8.19: daemonize, quiet, no pid file, an empty
    keystore (its class, format version 7, no password, no bytes, no entries, not closed), settings, two folders.
    """
    keystore = _text("org.elasticsearch.common.settings.KeyStoreWrapper") + (7).to_bytes(4, "big") + bytes(4)
    pairs = b"".join(_text(key) + b"\0" + _text(value) for key, value in settings.items())
    return bytes(3) + keystore + _length(len(settings)) + pairs + _text(str(config)) + _text(str(logs))


def _text(text: str) -> bytes:
    return _length(len(text)) + text.encode()


def _length(number: int) -> bytes:
    """Elasticsearch's variable-length integer: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def prepare(lab: Lab, say: Say) -> None:
    """Write the configuration; data of an earlier run is kept."""
    es_load.repository_dir(lab).mkdir(mode=0o700, exist_ok=True)
    for host in HOSTS:
        config = config_dir(lab, host)
        for folder in (config, log_dir(lab, host), temp_dir(lab, host), *data_dirs(lab, host)):
            folder.mkdir(mode=0o700, exist_ok=True)
        if lab.secure:
            es_users.prepare(lab, host, config)
        settings = node_settings(lab, host)
        _write(config / "elasticsearch.yml", "".join(f'{k}: "{v}"\n' for k, v in settings.items()).encode())
        _write(config / "server-args", server_args(settings, config, log_dir(lab, host)))
        shutil.copyfile(home(lab) / "config" / "log4j2.properties", config / "log4j2.properties")


def _write(file: Path, content: bytes) -> None:
    """A file that is as it should be keeps its time: by that a server is known to be stale."""
    if not file.exists() or file.read_bytes() != content:
        file.write_bytes(content)


def temp_dir(lab: Lab, host: str) -> Path:
    return lab.folder_of("es", host) / "tmp"


def java_command(lab: Lab, host: str) -> list[str]:
    """The server's JVM, with the options that its own launcher finds it needs."""
    lib = home(lab) / "lib"
    bridge = lib / "entitlement-bridge" / f"elasticsearch-entitlement-bridge-{VERSION}.jar"
    users = (
        "org.elasticsearch.entitlement,java.logging,java.net.http,java.naming,jdk.net,jdk.zipfs,jdk.management.agent"
    )
    return [
        java.require(),
        f"-Xms{HEAP_MB}m",
        f"-Xmx{HEAP_MB}m",
        *java.SMALL,
        "-Xss1m",
        "-XX:MaxDirectMemorySize=64m",
        "-XX:+EnableDynamicAgentLoading",
        "-Djdk.attach.allowAttachSelf=true",
        f"--patch-module=java.base={bridge}",
        f"--add-exports=java.base/org.elasticsearch.entitlement.bridge={users}",
        "-Djna.nosys=true",
        "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true",
        "-Dio.netty.recycler.maxCapacityPerThread=0",
        "-Dlog4j.shutdownHookEnabled=false",
        "-Dlog4j2.disable.jmx=true",
        "-Djava.awt.headless=true",
        "-Djava.locale.providers=SPI,COMPAT",
        f"-Djava.io.tmpdir={temp_dir(lab, host)}",
        f"-Des.path.home={home(lab)}",
        "-Des.distribution.type=zip",
        "-Des.java.type=system",
        f"--module-path={lib}",
        "--add-modules=jdk.net,jdk.management.agent,ALL-MODULE-PATH",
        "-m",
        "org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch",
    ]


def programs(lab: Lab) -> Sequence[Program]:
    return [
        Program(
            name=PROGRAM,
            host=host,
            instance=f"es/{host}",
            argv=[
                "/bin/sh",
                "-c",
                FEED,
                "sh",
                str(lab.folder_of("es", host) / "stdin"),
                str(config_dir(lab, host) / "server-args"),
                *lab.unprivileged(java_command(lab, host)),  # it refuses to run as root
            ],
            env={"LIBFFI_TMPDIR": str(temp_dir(lab, host))},
        )
        for host in HOSTS
    ]


def serves(lab: Lab, host: str) -> bool:
    """Whether a node answers, and has found its master and all other nodes."""
    health = node_of(lab, host).get("_cluster/health", {"local": "true"}, timeout_s=2)
    return not health["timed_out"] and bool(health["number_of_nodes"] == len(HOSTS))


def start(lab: Lab, say: Say) -> None:
    for host in HOSTS:
        lab.start(PROGRAM, host)
    everyone = [(PROGRAM, host) for host in HOSTS]
    for host in HOSTS:
        lab.wait(f"Elasticsearch on {host} to join its cluster", partial(serves, lab, host), START_S, of=everyone)
    if lab.secure:
        es_users.make_api_key(lab)
    # Data of an earlier run is there again when every copy is: up to then a check would rightly complain.
    lab.wait("Elasticsearch's shards to be assigned", partial(es_faults.is_settled, lab), START_S, of=everyone)


def healthy(lab: Lab) -> str | None:
    """All shards have nodes, and nobody left a setting behind."""
    node = any_node(lab)
    health = node.get("_cluster/health", timeout_s=5)
    if health["status"] != "green" or health["number_of_nodes"] != len(HOSTS):
        return f"Elasticsearch is {health['status']} with {health['number_of_nodes']} nodes"
    settings = node.get("_cluster/settings", {"flat_settings": "true"}, timeout_s=5)
    left = {**settings["persistent"], **settings["transient"]}
    return f"Elasticsearch has settings left behind: {left}" if left else None


def inventory(lab: Lab) -> Mapping[str, Any]:
    return {
        "roles": {role: {"hosts": list(HOSTS)} for role in ("master", "data", "ingest")},
        "port": HTTP_PORT,
        "transport_port": TRANSPORT_PORT,
        **(es_users.inventory(lab) if lab.secure else {}),
        "service": {"unit": PROGRAM},
        "instances": {
            host: {
                "data_dirs": [str(folder) for folder in data_dirs(lab, host)],
                "log_dir": str(log_dir(lab, host)),
                "service": {"files": [str(config_dir(lab, host) / "elasticsearch.yml")]},
            }
            for host in HOSTS
        },
    }


RECIPE = Recipe(
    name="es",
    title="Elasticsearch",
    memory_mb=950,
    ports=dict.fromkeys(HOSTS, (HTTP_PORT, TRANSPORT_PORT)),
    artifacts=ARTIFACTS,
    prepare=prepare,
    programs=programs,
    start=start,
    inventory=inventory,
    load=es_load.load,
    healthy=healthy,
    faults=es_faults.FAULTS,
    securable=True,
    config_files=lambda lab: [config_dir(lab, host) / "elasticsearch.yml" for host in HOSTS],
)
