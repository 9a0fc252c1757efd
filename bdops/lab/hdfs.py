"""The lab's HDFS: JournalNodes on node1-3, NameNodes with failover controllers on node1 and node2, DataNodes on all."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.components.hdfs import beans
from bdops.components.hdfs.http import HttpServer
from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.server_files import WEBAPPS
from bdops.components.hdfs.servers import FailoverController, JournalServer
from bdops.errors import BdopsError
from bdops.lab import hdfs_config as config
from bdops.lab import hdfs_faults, hdfs_load
from bdops.lab.recipe import Program, Recipe, Say

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

VERSION = "3.5.0"
ARTIFACTS = tuple(
    f"org.apache.hadoop:{name}:{VERSION}" for name in ("hadoop-common", "hadoop-hdfs", "hadoop-hdfs-client")
)
NAMENODES = {"nn1": "node1", "nn2": "node2"}
JOURNALS = ("node1", "node2", "node3")
DATANODES = ("node1", "node2", "node3", "node4")
SMALL_VOLUME_HOST = "node3"
SMALL_VOLUME_MB = 128
CALL_TIMEOUT_S = 3.0
HEAPS_MB = {"namenode": 128, "zkfc": 48, "journalnode": 64, "datanode": 80}
MAINS = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "zkfc": "org.apache.hadoop.hdfs.tools.DFSZKFailoverController",
    "journalnode": "org.apache.hadoop.hdfs.qjournal.server.JournalNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
}
PORTS = {"namenode": (8020, 9870), "zkfc": (8019,), "journalnode": (8485, 8480), "datanode": (9866, 9867, 9864)}
ENV = {"HADOOP_USER_NAME": config.USER}


def node(lab: Lab, host: str) -> config.Node:
    """A host of the lab as Hadoop sees it."""
    found = lab.host(host)
    return config.Node(
        name=found.name,
        address=found.address,
        rack=found.rack,
        folder=lab.folder_of("hdfs", host),
        data_dirs=data_dirs(lab, host),
    )


def data_dirs(lab: Lab, host: str) -> tuple[Path, Path]:
    """The two data directories of a host's DataNode; one of them all is on a small volume of its own."""
    folder = lab.folder_of("hdfs", host)
    second = lab.host(host).folder / "hdfs-volume" / "data" if host == SMALL_VOLUME_HOST else folder / "data2"
    return folder / "data1", second


def namenode(lab: Lab, nn: str) -> NameNode:
    """A client of one NameNode, by its id."""
    address = lab.host(NAMENODES[nn]).address
    return NameNode(Connection(address, 8020, user=config.USER, timeout_s=CALL_TIMEOUT_S))


def nameservice(lab: Lab) -> Nameservice:
    """A client of whichever NameNode is active."""
    return Nameservice({nn: namenode(lab, nn) for nn in NAMENODES})


def roles_of(host: str) -> list[str]:
    """The programs of a host, in the order in which they start."""
    parts = {"journalnode": JOURNALS, "namenode": NAMENODES.values(), "zkfc": NAMENODES.values(), "datanode": DATANODES}
    return [role for role, hosts in parts.items() if host in hosts]


def prepare(lab: Lab, say: Say) -> None:
    """Write the configuration of every host and compile the socket factory; what is formatted stays."""
    lab.small_volume("hdfs", SMALL_VOLUME_HOST, SMALL_VOLUME_MB)
    nodes = [node(lab, host.name) for host in lab.hosts]
    by_name = {n.name: n for n in nodes}
    for one in nodes:
        for folder in (one.conf_dir, one.folder / "tmp", *one.data_dirs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        texts = config.files(
            one,
            namenodes={nn: by_name[host] for nn, host in NAMENODES.items()},
            journals=[by_name[host] for host in JOURNALS],
            nodes=nodes,
            zk=",".join(f"{by_name[host].address}:2181" for host in JOURNALS),
        )
        for name, text in texts.items():
            file = one.conf_dir / name
            # A file that is written anew makes the servers that run stale.
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
        exclude_file(lab, one.name).touch()
        _write_program(lab, one.name)
    _classes(lab, say)


def program_file(lab: Lab, host: str) -> Path:
    """A host's `hadoop`, as Hadoop's own bin/ has one."""
    return node(lab, host).folder / "hadoop"


def _write_program(lab: Lab, host: str) -> None:
    shell = shlex.join(argv(lab, host, heap_mb=64, main="org.apache.hadoop.fs.FsShell"))
    file = program_file(lab, host)
    file.write_text(f"""\
#!/bin/sh
[ "$1" = fs ] || {{ echo "the lab has fs alone, and no $1" >&2; exit 2; }}
shift
exec {shell} "$@"
""")
    file.chmod(0o755)


def exclude_file(lab: Lab, host: str) -> Path:
    """`dfs.hosts.exclude` of a host's NameNode."""
    return node(lab, host).conf_dir / "exclude"


def _classes(lab: Lab, say: Say) -> Path:
    """The folder with what the class path needs beside the jars; made once per lab."""
    folder = lab.folder / "hdfs-classes"
    if not (folder / f"{config.SOCKET_FACTORY}.class").exists():
        from bdops.lab import java

        say("compiling the socket factory of the lab's Hadoop")
        for name in WEBAPPS:
            (folder / "webapps" / name).mkdir(parents=True, exist_ok=True)
        source = folder / f"{config.SOCKET_FACTORY}.java"
        source.write_text(config.SOCKET_FACTORY_SOURCE)
        argv = [java.require("javac"), "-proc:none", "-cp", lab.class_path("hdfs"), "-d", str(folder), str(source)]
        lab.run_java(argv, timeout_s=60)
    return folder


def argv(lab: Lab, host: str, *, heap_mb: int, main: str, args: Sequence[str] = ()) -> list[str]:
    """A Java program of Hadoop with the configuration and the address of a host."""
    one = node(lab, host)
    return lab.java(
        heap_mb=heap_mb,
        class_path=f"{one.conf_dir}:{lab.folder / 'hdfs-classes'}:{lab.class_path('hdfs')}",
        main=main,
        args=args,
        options=[f"-Dbdops.address={one.address}", f"-Dhadoop.log.dir={one.folder / 'tmp'}"],
    )


def programs(lab: Lab) -> list[Program]:
    """All server processes, each host's in the order in which they start."""
    return [
        Program(
            name=role,
            host=host.name,
            instance=f"hdfs/{host.name}/{role}",
            argv=argv(lab, host.name, heap_mb=HEAPS_MB[role], main=MAINS[role]),
            env=ENV,
            stop_wait_s=15,
        )
        for host in lab.hosts
        for role in roles_of(host.name)
    ]


def start(lab: Lab, say: Say) -> None:
    """Start everything, formatting a new namespace first; returns when a NameNode is active with all DataNodes."""
    journals = [("journalnode", host) for host in JOURNALS]
    _start(lab, journals)
    lab.wait("the JournalNodes", lambda: all(_journal_answers(lab, host) for host in JOURNALS), 60, of=journals)
    if not _is_formatted(lab):
        say("formatting the namespace")
        _format(lab)
    rest = [
        (role, host.name)
        for role in ("namenode", "zkfc", "datanode")
        for host in lab.hosts
        if role in roles_of(host.name)
    ]
    _start(lab, rest)
    lab.wait("HDFS to serve", lambda: serves(lab), 120, of=rest)


def _start(lab: Lab, those: Sequence[tuple[str, str]]) -> None:
    for name, host in those:
        lab.start(name, host)


def _is_formatted(lab: Lab) -> bool:
    return all((node(lab, host).name_dir / "current" / "VERSION").exists() for host in NAMENODES.values())


def _journal_answers(lab: Lab, host: str) -> bool:
    with Connection(lab.host(host).address, 8485, user=config.USER, timeout_s=CALL_TIMEOUT_S) as connection:
        return bool(JournalServer(connection).versions())


def _format(lab: Lab) -> None:
    """Format the first NameNode (and with it the journal) and the failover znode; the standby gets a copy.

    A copy of a formatted name directory is what `-bootstrapStandby` would fetch, without another JVM.
    """
    import shutil

    first, second = (node(lab, host) for host in NAMENODES.values())
    for one in (first, second):
        shutil.rmtree(one.name_dir, ignore_errors=True)

    def tool(main: str, *args: str) -> None:
        lab.run_java(argv(lab, first.name, heap_mb=128, main=main, args=args), timeout_s=90, env=ENV)

    with ThreadPoolExecutor(2) as pool:
        tasks: list[Callable[[], Any]] = [
            lambda: tool(MAINS["namenode"], "-format", "-force", "-nonInteractive"),
            lambda: tool(MAINS["zkfc"], "-formatZK", "-force", "-nonInteractive"),
        ]
        for done in [pool.submit(task) for task in tasks]:
            done.result()
    # Under another name first: a copy that was cut short must not pass for a formatted directory.
    partial = second.folder / "name.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(first.name_dir, partial)
    partial.rename(second.name_dir)


def serves(lab: Lab) -> bool:
    """Whether one NameNode is active, the other standby, both out of safe mode, and every DataNode is known."""
    states = []
    for nn in NAMENODES:
        server = namenode(lab, nn)
        try:
            status = server.service_status()
            states.append(status.state)
            if server.in_safe_mode():
                return False
            live = [d for d in server.datanode_reports("live") if d.capacity_bytes]
            if len(live) < len(DATANODES):
                return False
        finally:
            server.close()
    return sorted(states) == ["active", "standby"]


def unhealthy(lab: Lab) -> str | None:
    """What is wrong with the lab's HDFS; None when all servers serve and no block lacks a copy."""
    for program in programs(lab):
        if lab.pid(program.name, program.host) is None:
            return f"{program.instance} does not run"
    try:
        for host in JOURNALS:
            _journal_answers(lab, host)
        for host in NAMENODES.values():
            with Connection(lab.host(host).address, 8019, user=config.USER, timeout_s=CALL_TIMEOUT_S) as connection:
                FailoverController(connection).versions()
        if not serves(lab):
            return "HDFS does not serve with all its DataNodes"
        service = nameservice(lab)
        try:
            reports = service.on_active(lambda n: n.datanode_reports())
            counts = (
                service.on_active(lambda n: n.replicated_blocks()),
                service.on_active(lambda n: n.ec_block_groups()),
            )
            failed = failed_volumes(lab)
        finally:
            service.close()
    except BdopsError as e:
        return e.message
    if any(d.admin_state != "normal" for d in reports):
        return "a DataNode is leaving"
    if any(failed.values()):
        return "a DataNode has a failed volume"
    for kind, c in zip(("blocks", "erasure-coded groups"), counts, strict=True):
        if c.low_redundancy or c.missing or c.corrupt:
            return f"{kind}: {c.low_redundancy} under-replicated, {c.missing} missing, {c.corrupt} corrupt"
    return None


def failed_volumes(lab: Lab) -> dict[str, int]:
    """How many volumes each DataNode has lost, by address, as the active NameNode knows it."""
    service = nameservice(lab)
    try:
        address = lab.host(NAMENODES[service.active()]).address
        reports = service.on_active(lambda n: n.datanode_reports("live"))
    finally:
        service.close()
    with HttpServer(address, 9870, user=config.USER, timeout_s=CALL_TIMEOUT_S) as http:
        facts = beans.live_nodes(http.bean(beans.NAMENODE_INFO)[0])
    return {r.address: facts[r.uuid].failed_volume_count for r in reports if r.uuid in facts}


def inventory(lab: Lab) -> Mapping[str, Any]:
    """The lab's inventory of HDFS."""
    return {
        "nameservice": config.NAMESERVICE,
        "user": config.USER,
        "roles": {
            "namenode": {"hosts": list(NAMENODES.values())},
            "zkfc": {"hosts": list(NAMENODES.values())},
            "journalnode": {"hosts": list(JOURNALS)},
            "datanode": {"hosts": list(DATANODES)},
        },
        "instances": {
            f"{host}/{role}": {**_settings(lab, host, role), "service": {"files": [str(f) for f in _files(lab, host)]}}
            for host in DATANODES
            for role in roles_of(host)
        },
    }


def _settings(lab: Lab, host: str, role: str) -> dict[str, Any]:
    """What the inventory says of one server beside its host."""
    if role == "namenode":
        return {"nn_id": next(nn for nn, one in NAMENODES.items() if one == host)}
    if role == "datanode":
        return {
            "data_dirs": [str(d) for d in data_dirs(lab, host)],
            "hadoop_command": str(program_file(lab, host)),
        }
    return {}


def _files(lab: Lab, host: str) -> list[Path]:
    """A change of these makes the host's servers stale."""
    return [node(lab, host).conf_dir / name for name in ("core-site.xml", "hdfs-site.xml")]


def config_files(lab: Lab) -> list[Path]:
    return [file for host in lab.hosts for file in _files(lab, host.name)]


RECIPE = Recipe(
    name="hdfs",
    title="HDFS",
    memory_mb=1800,
    ports={host: tuple(p for role in roles_of(host) for p in PORTS[role]) for host in DATANODES},
    artifacts=ARTIFACTS,
    prepare=prepare,
    programs=programs,
    start=start,
    inventory=inventory,
    load=hdfs_load.load,
    healthy=unhealthy,
    faults=hdfs_faults.FAULTS,
    requires=("zk",),
    config_files=config_files,
)
