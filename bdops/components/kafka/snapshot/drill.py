"""A throw-away broker on this machine: what a backup holds is restored to it, compared, and removed with it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bdops.components import throwaway
from bdops.components.kafka.settings import Settings
from bdops.components.kafka.snapshot import carry
from bdops.components.kafka.snapshot.content import Metadata, counts
from bdops.components.kafka.snapshot.difference import Difference, differences
from bdops.components.kafka.snapshot.read import opened_brokers, read_metadata
from bdops.components.kafka.snapshot.restore import Logs, Wish, lasting, plan_restore
from bdops.core.actor import ActContext
from bdops.core.model import Deployment, Host, Instance
from bdops.core.units import plural
from bdops.errors import BdopsError, OperationFailed

FORMAT_MAIN, BROKER_MAIN = "kafka.tools.StorageTool", "kafka.Kafka"
CONFIG, PORTS, RESTORED = "server.properties", "ports.json", "restored"
CLUSTER_ID = "ZHJpbGwtb2YtYS1iYWNrdX"
"""Any will do: it is the only server of its cluster."""

WHAT, HINT = "the throw-away broker", "`kafka_home` of the kafka settings names another Kafka"
START_S = 180.0
FORMAT_S = 120.0
CONNECT_S = 10.0
SETTLE_S = 60.0
HEAP_MB = 256
NODE = 1
PARTS = ("topics", "acls", "quotas", "resources")
"""What a lone broker can be given. Its own configs, offsets without records, and voters say nothing there."""

PARTITIONS_MAX = 5000
"""More are too much for a small broker: a part of the topics is drilled then."""

JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Throwaway:
    """One such broker: its folder, and with what it is run. Found again by the folder alone."""

    folder: Path
    java: str
    class_path: str

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> Throwaway:
        return cls(folder=Path(args["folder"]), java=args["java"], class_path=args["class_path"])

    def deployment(self) -> Deployment | None:
        """It as a cluster of an inventory; None when it has not been configured."""
        try:
            ports = json.loads((self.folder / PORTS).read_text())
        except (OSError, ValueError):
            return None
        instance = Instance(
            cluster="drill",
            component="kafka",
            host=Host(name="drill", address=throwaway.LOCALHOST),
            roles=frozenset({"broker", "controller"}),
            settings=Settings(node_id=NODE, port=ports["broker"], controller_port=ports["controller"]),
        )
        return Deployment(cluster="drill", component="kafka", instances=(instance,), settings=instance.settings)

    def serves(self) -> bool:
        deployment = self.deployment()
        if deployment is None or not throwaway.processes(self.folder):
            return False
        try:
            with opened_brokers(deployment, 2.0) as brokers:
                return any(not b.fenced for b in brokers.registered)
        except BdopsError:
            return False

    def restored(self) -> bool:
        """Whether it serves, and was given all."""
        return (self.folder / RESTORED).exists() and self.serves()

    def start(self, context: ActContext) -> None:
        """Run it, unless it runs. Raises OperationFailed (DRILL_NO_START) with the end of its log."""
        if not self.serves():
            # A start that was cut off is begun anew: what it has done is not worth asking for.
            throwaway.remove(self.folder)
            self._configure()
            self._format(context)
            throwaway.launch(self.folder, self._argv(BROKER_MAIN, [str(self.folder / CONFIG)], HEAP_MB))
        throwaway.await_serving(
            self.folder, self.serves, context, what=WHAT, timeout_s=min(START_S, context.timeout_s), hint=HINT
        )

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, mode=0o700)
        ports = {"broker": throwaway.free_port(), "controller": throwaway.free_port()}
        (self.folder / CONFIG).write_text(properties(self.folder, ports))
        (self.folder / PORTS).write_text(json.dumps(ports))

    def _format(self, context: ActContext) -> None:
        args = ["format", "--cluster-id", CLUSTER_ID, "--config", str(self.folder / CONFIG)]
        process = throwaway.launch(self.folder, self._argv(FORMAT_MAIN, args, 64))
        deadline = time.monotonic() + FORMAT_S
        while process.poll() is None and time.monotonic() < deadline:
            context.waiting("the throw-away broker's folder to be formatted")
            context.wait(0.2)
        if process.poll() != 0:
            raise throwaway.no_start(self.folder, f"the folder of {WHAT} cannot be formatted", HINT)

    def _argv(self, main: str, args: Sequence[str], heap_mb: int) -> list[str]:
        return [
            self.java, f"-Xmx{heap_mb}m", *JAVA_OPTIONS, throwaway.marker(self.folder), "-cp", self.class_path, main,
            *args,
        ]  # fmt: skip


def properties(folder: Path, ports: Mapping[str, int]) -> str:
    """The configuration of a lone small server, that only this machine can reach. Pure."""
    controller = f"{throwaway.LOCALHOST}:{ports['controller']}"
    listeners = f"PLAINTEXT://{throwaway.LOCALHOST}:{ports['broker']},CONTROLLER://{controller}"
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": NODE,
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.quorum.voters": f"{NODE}@{controller}",
        "log.dirs": folder / "data",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 4 * 2**20,
        "log.index.size.max.bytes": 2**16,
        "num.network.threads": 2,
        "num.io.threads": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def restore(thrown: Throwaway, backup: Metadata, context: ActContext) -> None:
    """Start the broker and give it what the backup has, by the same steps as a restore. Raises BdopsError."""
    thrown.start(context)
    deployment = thrown.deployment()
    assert deployment is not None
    planned = plan_restore(lone(backup), read_metadata(deployment, timestamps=False), Wish(parts=PARTS), Logs())
    for work in planned.work:
        args = {"kind": work.kind, "items": work.items}
        with opened_brokers(deployment, CONNECT_S) as brokers:
            carry.carry_out(brokers, args, lambda text: None, context.timeout_s)
        # The controller has it at once, and the broker a moment later.
        deadline = time.monotonic() + SETTLE_S
        while not (progress := carry.done(read_metadata(deployment, timestamps=False), args)).done:
            if time.monotonic() > deadline:
                raise OperationFailed(f"the throw-away broker still waits for {progress.waiting_for}", where=work.name)
            context.waiting(progress.waiting_for)
            context.wait(0.2)
    (thrown.folder / RESTORED).touch()


def chosen(backup: Metadata, topic: str | None) -> Metadata:
    """Only the topics like a pattern. Raises OperationFailed when they are too much for a small broker. Pure."""
    topics = {n: t for n, t in backup.part("topics").items() if topic is None or fnmatchcase(n, topic)}
    partitions = sum(len(t["partitions"]) for t in topics.values() if not t["internal"])
    if partitions > PARTITIONS_MAX:
        raise OperationFailed(
            f"{partitions} partitions are too many for a throw-away broker ({PARTITIONS_MAX})",
            hint="--topic 'a*' drills those that are like it",
            code="DRILL_TOO_LARGE",
        )
    return replace(backup, parts={**backup.parts, "topics": topics})


def lone(backup: Metadata) -> Metadata:
    """A backup as one broker can have it: one replica each, nothing internal or temporary. Pure."""
    topics = {
        name: {
            **body,
            "partitions": [{"leader": NODE, "replicas": [NODE]} for _ in body["partitions"]],
            "configs": lasting(body["configs"]),
        }
        for name, body in backup.part("topics").items()
        if not body["internal"]
    }
    parts = {part: backup.part(part) for part in PARTS} | {"topics": topics, "brokers": {str(NODE): _NO_CONFIGS}}
    return replace(backup, parts=parts)


_NO_CONFIGS: Mapping[str, Any] = {"rack": None, "configs": {}, "secrets": []}


def compare(thrown: Throwaway, backup: Metadata) -> str:
    """Hold what the broker has against the backup; what was compared, in words.

    Raises OperationFailed (DRILL_DIFFERS) with what is not the same.
    """
    deployment = thrown.deployment()
    assert deployment is not None
    found = read_metadata(deployment, timestamps=False)
    wrong = differing(backup, found)
    if wrong:
        told = "; ".join(f"{d.name} {d.field or d.kind}".strip() for d in wrong[:5])
        raise OperationFailed(
            f"{plural(len(wrong), 'thing')} of the restored metadata differ: {told}", code="DRILL_DIFFERS"
        )
    return told_of(backup)


def told_of(backup: Metadata) -> str:
    """What a drill compares of a backup: `4 topics, 44 partitions, 2 acls`. Pure."""
    numbers = counts(replace(lone(backup), parts={k: v for k, v in lone(backup).parts.items() if k in PARTS}))
    return ", ".join(f"{n} {name}" for name, n in numbers.items()) or "nothing"


def differing(backup: Metadata, found: Metadata) -> tuple[Difference, ...]:
    """How a broker of its own differs from what it was given, ids apart. Pure."""
    inner = {name for name, body in found.part("topics").items() if body["internal"]}
    return tuple(
        d
        for d in differences(lone(backup), found, PARTS)
        if not (d.part == "topics" and (d.field == "id" or d.name in inner))
    )
