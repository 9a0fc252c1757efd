"""Kafka in the lab: KRaft, controllers and brokers in one process on node1 to node3, a broker on node4."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bdops.components.kafka.component import COMPONENT
from bdops.core.checks import Severity, run_checks
from bdops.lab import kafka_client, kafka_users
from bdops.lab.kafka_faults import FAULTS
from bdops.lab.kafka_load import load
from bdops.lab.lab import Lab
from bdops.lab.recipe import Program, Recipe, Say

CONTROLLERS = ("node1", "node2", "node3")
HOSTS = (*CONTROLLERS, "node4")
SMALL_VOLUME_HOST = "node4"
"""Its second log directory is on a small file system of its own, for the full-disk fault."""

PROGRAM = "kafka"
PORT = 9092
CONTROLLER_PORT = 9093
HEAP_MB = 224
START_S = 180

ARTIFACTS = (
    "org.apache.kafka:kafka_2.13:4.3.1",
    "org.apache.kafka:kafka-tools:4.3.1",
    # Without a binding of SLF4J nothing is logged at all.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)

LOG4J = """\
status = ERROR
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server
logger.server.level = INFO
logger.log.name = kafka.log
logger.log.level = WARN
"""


OPEN = {"super.users": "User:ANONYMOUS", "allow.everyone.if.no.acl.found": "true"}
"""Who comes without a name may do everything, as may all where no ACL says other."""


def node_id(host: str) -> int:
    return HOSTS.index(host) + 1


def config_file(lab: Lab, host: str) -> Path:
    return lab.folder_of("kafka", host) / "server.properties"


def data_dirs(lab: Lab, host: str) -> tuple[Path, Path]:
    """The two log directories. On one host the second is on a small volume, once `prepare` has made it."""
    folder = lab.folder_of("kafka", host)
    if host == SMALL_VOLUME_HOST:
        return folder / "data1", lab.small_volume("kafka", host)
    return folder / "data1", folder / "data2"


def metadata_dir(lab: Lab, host: str) -> Path:
    """Apart from the data, so that the failure of a data directory is not the failure of the server."""
    return lab.folder_of("kafka", host) / "metadata"


def server_properties(lab: Lab, host: str) -> str:
    """A server's configuration (Kafka documentation, "Broker Configs"): small, and quick to notice a failure."""
    address = lab.host(host).address
    votes = host in CONTROLLERS
    client = "SECURE" if lab.secure else "PLAINTEXT"
    listeners = f"{client}://{address}:{PORT}" + (f",CONTROLLER://{address}:{CONTROLLER_PORT}" if votes else "")
    protocol = "SASL_SSL" if lab.secure else "PLAINTEXT"
    settings: dict[str, object] = {
        "process.roles": "broker,controller" if votes else "broker",
        "node.id": node_id(host),
        "broker.rack": lab.host(host).rack,
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"CONTROLLER:{protocol},{client}:{protocol}",
        "inter.broker.listener.name": client,
        # There to be asked for ACLs, in every lab.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        **(kafka_users.server_settings(lab, host) if lab.secure else OPEN),
        # A dynamic quorum (KIP-853): voters can be added and removed later.
        "controller.quorum.bootstrap.servers": ",".join(
            f"{lab.host(h).address}:{CONTROLLER_PORT}" for h in CONTROLLERS
        ),
        "controller.quorum.fetch.timeout.ms": 3000,
        "controller.quorum.election.timeout.ms": 1500,
        "metadata.log.dir": metadata_dir(lab, host),
        "log.dirs": ",".join(str(d) for d in data_dirs(lab, host)),
        "num.network.threads": 2,
        "num.io.threads": 2,
        "num.recovery.threads.per.data.dir": 2,
        "num.partitions": 3,
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        "offsets.topic.num.partitions": 5,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "log.cleaner.dedupe.buffer.size": 4 * 2**20,
        "log.segment.bytes": 16 * 2**20,
        "log.index.size.max.bytes": 2**20,
        "auto.create.topics.enable": "false",
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 6000,
        "replica.lag.time.max.ms": 4000,
        "group.initial.rebalance.delay.ms": 0,
        "leader.imbalance.check.interval.seconds": 5,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def identities(lab: Lab) -> Mapping[str, str]:
    """The cluster's id and the controllers' directory ids, made up once: a format that failed can then be repeated."""
    file = lab.folder / "kafka-ids.json"
    if not file.exists():
        ids = {name: _uuid() for name in ("cluster", *CONTROLLERS)}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(ids) + "\n")
        fresh.replace(file)
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _uuid() -> str:
    """An id as Kafka writes them; one that begins with a dash would be taken for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def format_argv(lab: Lab, host: str) -> list[str]:
    """StorageTool's command line for a host that has no data yet."""
    ids = identities(lab)
    voters = ",".join(f"{node_id(h)}@{lab.host(h).address}:{CONTROLLER_PORT}:{ids[h]}" for h in CONTROLLERS)
    quorum = ["--initial-controllers", voters] if host in CONTROLLERS else ["--no-initial-controllers"]
    args = [
        "format", "--cluster-id", ids["cluster"], "--config", str(config_file(lab, host)), "--ignore-formatted", *quorum
    ]  # fmt: skip
    return lab.java(heap_mb=64, class_path=lab.class_path("kafka"), main="kafka.tools.StorageTool", args=args)


def prepare(lab: Lab, say: Say) -> None:
    """Write the configurations, and format what has no data yet."""
    for host in HOSTS:
        config_file(lab, host).touch(mode=0o600)
        config_file(lab, host).write_text(server_properties(lab, host))
        (lab.folder_of("kafka", host) / "log4j2.properties").write_text(LOG4J)
    new = [h for h in HOSTS if not all((d / "meta.properties").exists() for d in _formatted_dirs(lab, h))]
    if new:
        say(f"formatting Kafka on {', '.join(new)}")
        # Made before the threads start: the first one writes the ids that all must have.
        commands = [format_argv(lab, host) for host in new]
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in pool.map(lab.run_java, commands):
                del done


def _formatted_dirs(lab: Lab, host: str) -> tuple[Path, ...]:
    return (metadata_dir(lab, host), *data_dirs(lab, host))


def programs(lab: Lab) -> Sequence[Program]:
    class_path = lab.class_path("kafka")
    return [
        Program(
            name=PROGRAM,
            host=host,
            instance=f"kafka/{host}",
            argv=lab.java(
                heap_mb=HEAP_MB,
                class_path=class_path,
                main="kafka.Kafka",
                args=[str(config_file(lab, host))],
                options=[f"-Dlog4j2.configurationFile={lab.folder_of('kafka', host) / 'log4j2.properties'}"],
            ),
            stop_wait_s=30,
        )
        for host in HOSTS
    ]


def serving(lab: Lab) -> bool:
    """Whether every server answers, and every broker is registered and unfenced."""
    state = COMPONENT.read_state(lab.deployment("kafka"), timeout_s=5, readings=frozenset({"servers", "brokers"}))
    return all(COMPONENT.serving(state).values())


def start(lab: Lab, say: Say) -> None:
    for host in HOSTS:
        lab.start(PROGRAM, host)
    if lab.secure:
        everyone = [(PROGRAM, h) for h in HOSTS]
        lab.wait("Kafka to know its users", lambda: kafka_users.make_known(lab), START_S, of=everyone)
    lab.wait("Kafka to serve", lambda: serving(lab), START_S, of=[(PROGRAM, h) for h in HOSTS])
    kafka_client.await_in_sync(lab)


def stop(lab: Lab, say: Say) -> None:
    """The broker without a vote first: its controlled shutdown needs a controller.

    The others then go together: each waits for a majority that is going as well, and gives up by itself.
    """
    if lab.pid(PROGRAM, SMALL_VOLUME_HOST):
        lab.stop(PROGRAM, SMALL_VOLUME_HOST)


NOT_HEALTH = ("KAFKA_GROUP_", "KAFKA_DISK_")
"""Checks of the load and of this machine's disk: nothing of theirs is a fault of the servers."""


def healthy(lab: Lab) -> str | None:
    """What the checks say first that is wrong."""
    state = COMPONENT.read_state(lab.deployment("kafka"), timeout_s=5)
    checks = [c for c in COMPONENT.checks if not c.code.startswith(NOT_HEALTH)]
    for result in run_checks(checks, state, component="kafka"):
        if result.severity is not Severity.OK:
            names = ", ".join(f.object for f in result.objects[:3])
            return f"{result.code}: {result.summary}" + (f" ({names})" if names else "")
    return None


def inventory(lab: Lab) -> Mapping[str, Any]:
    return {
        "roles": {"controller": {"hosts": list(CONTROLLERS)}, "broker": {"hosts": list(HOSTS)}},
        "port": PORT,
        "controller_port": CONTROLLER_PORT,
        **(kafka_users.inventory(lab) if lab.secure else {}),
        "service": {"unit": PROGRAM},
        # The host checks look at this machine's disk; this one at the small volume that the disk-full fault fills.
        "checks": {"KAFKA_DISK_USE": {"limits": {"used": {"warning": "95%", "critical": "97%"}}}},
        "instances": {
            host: {
                "node_id": node_id(host),
                "data_dirs": [str(d) for d in data_dirs(lab, host)],
                "log_dir": str(lab.host(host).logs),
            }
            for host in HOSTS
        },
    }


RECIPE = Recipe(
    name="kafka",
    title="Kafka",
    memory_mb=1100,
    ports={h: (PORT, CONTROLLER_PORT) if h in CONTROLLERS else (PORT,) for h in HOSTS},
    artifacts=ARTIFACTS,
    prepare=prepare,
    programs=programs,
    start=start,
    stop=stop,
    healthy=healthy,
    inventory=inventory,
    load=load,
    faults=FAULTS,
    securable=True,
    config_files=lambda lab: [config_file(lab, host) for host in HOSTS],
)
