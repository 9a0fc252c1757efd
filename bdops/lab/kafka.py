"""Kafka in the lab: KRaft, controllers and brokers in one process on node1 to node3, a broker on node4."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bdops.components.kafka.component import COMPONENT
from bdops.core.checks import Severity, run_checks
from bdops.errors import OperationFailed
from bdops.lab import java, kafka_client
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
SECURE_PORT = 9094
"""A listener with TLS and SASL on every broker, for trying out (and testing) secured clusters."""

USER = "operator"
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
    listeners = f"PLAINTEXT://{address}:{PORT},SECURE://{address}:{SECURE_PORT}" + (
        f",CONTROLLER://{address}:{CONTROLLER_PORT}" if votes else ""
    )
    settings: dict[str, object] = {
        "process.roles": "broker,controller" if votes else "broker",
        "node.id": node_id(host),
        "broker.rack": lab.host(host).rack,
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        # There to be asked for ACLs; who comes without a name may do everything, as may all where no ACL says other.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
        **secure_listener(lab),
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


def password_file(lab: Lab) -> Path:
    """The password of USER on the secure listener."""
    return lab.folder / "kafka-password"


def keystore(lab: Lab) -> Path:
    return lab.folder / "kafka-keystore.p12"


def ca_file(lab: Lab) -> Path:
    """The certificate of all brokers, which signed itself, as clients want it."""
    return lab.folder / "kafka-ca.pem"


def secure_listener(lab: Lab) -> dict[str, object]:
    """The settings of the listener with TLS and SASL: one user by PLAIN, and any that is made by SCRAM."""
    password = password_file(lab).read_text().strip()
    modules = "org.apache.kafka.common.security"
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.secure.plain.sasl.jaas.config": (
            f'{modules}.plain.PlainLoginModule required user_{USER}="{password}";'
        ),
        "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
        "listener.name.secure.ssl.keystore.type": "PKCS12",
        "listener.name.secure.ssl.keystore.location": keystore(lab),
        "listener.name.secure.ssl.keystore.password": password,
        "listener.name.secure.ssl.key.password": password,
    }


def write_secrets(lab: Lab) -> None:
    """Make up the password, and one key and certificate for all hosts, by the JDK's keytool; once."""
    if not password_file(lab).exists():
        password_file(lab).touch(mode=0o600)
        password_file(lab).write_text(secrets.token_urlsafe(18) + "\n")
    if ca_file(lab).exists():
        return
    keystore(lab).unlink(missing_ok=True)
    names = ",".join(f"ip:{host.address},dns:{host.name}" for host in lab.hosts)
    common = ["-keystore", str(keystore(lab)), "-storetype", "PKCS12", "-storepass:file", str(password_file(lab))]
    key = ["-alias", "kafka", "-keyalg", "EC", "-validity", "3650", "-dname", "CN=kafka", "-ext", f"san={names}"]
    _keytool("-genkeypair", *key, *common)
    keystore(lab).chmod(0o600)
    _keytool("-exportcert", "-rfc", "-alias", "kafka", "-file", str(ca_file(lab)), *common)


def _keytool(*args: str) -> None:
    done = subprocess.run(
        [java.require("keytool"), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise OperationFailed(f"keytool {args[0]} failed: {(done.stderr or done.stdout).strip()}")


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
    write_secrets(lab)
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
    ports={h: (PORT, SECURE_PORT, CONTROLLER_PORT) if h in CONTROLLERS else (PORT, SECURE_PORT) for h in HOSTS},
    artifacts=ARTIFACTS,
    prepare=prepare,
    programs=programs,
    start=start,
    stop=stop,
    healthy=healthy,
    inventory=inventory,
    load=load,
    faults=FAULTS,
    config_files=lambda lab: [config_file(lab, host) for host in HOSTS],
)
