"""Reads a Kafka cluster's state from its live servers: concurrently, one connection a server, back by the deadline.

First every server of the inventory is connected to, which tells who answers. What any broker knows is asked
of the first that answers; what only a broker itself knows, of each. Only what has to pass through the active
controller gets a connection of its own: without a controller it hangs, and would hold up the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bdops.components.kafka import questions
from bdops.components.kafka.connection import Connection, Endpoint, NothingListens, connect
from bdops.components.kafka.history import (
    Observation,
    copied_bytes,
    history_file,
    is_behind_with_members,
    kept,
    names_by_leader,
    read_history,
    write_history,
)
from bdops.components.kafka.state import (
    Broker,
    ExpectedServer,
    Group,
    GroupSample,
    KafkaState,
    LogDir,
    MetadataQuorum,
    Reassignment,
    ReassignmentSample,
    Server,
    Topic,
)
from bdops.components.reading import read_all, why_unread
from bdops.errors import BdopsError, Unreachable

if TYPE_CHECKING:
    from bdops.components.kafka.settings import Security
    from bdops.core.model import Deployment, Instance

T = TypeVar("T")

HEADER = {"component", "version", "cluster", "taken_at", "unread", "expected", "backups"}
READINGS = frozenset(f.name for f in fields(KafkaState)) - HEADER
_NEEDS = {
    "group_samples": {"groups", "topics"},
    "reassignment_samples": {"reassignments", "log_dirs"},
    "topic_configs": {"topics"},
}
"""What must be read to read another thing."""

MAX_CONNECT_S = 3.0
MAX_CONTROLLER_S = 2.0
QUICK_SAMPLE_GAP_S = 0.7
"""Between two observations of one run, where there is no history."""


def read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> KafkaState:
    """Observe the cluster once. See `core.component.ReadState`."""
    return _Reader(deployment, timeout_s, READINGS if readings is None else readings & READINGS).state()


def expected_servers(deployment: Deployment) -> tuple[ExpectedServer, ...]:
    """The inventory's instances as plain data."""
    return tuple(
        ExpectedServer(
            name=i.name,
            host=i.host.name,
            node_id=i.settings.node_id,
            roles=tuple(sorted(i.roles)),
            rack=i.host.rack,
            address=i.host.address,
            port=i.settings.port if "broker" in i.roles else i.settings.controller_port,
        )
        for i in deployment.instances
    )


class _Reader:
    """The gathering of one state. `found` and `unread` fill as answers come in."""

    def __init__(self, deployment: Deployment, timeout_s: float, wanted: frozenset[str]) -> None:
        self.deployment = deployment
        self.wanted = set(wanted).union(*(_NEEDS.get(name, ()) for name in wanted))
        if "log_dirs" in self.wanted:
            # The directories' errors are in there too.
            self.wanted.discard("dir_errors")
        # The last moments belong to putting the state together.
        self.deadline = time.monotonic() + timeout_s * 0.95
        self.taken_at = datetime.now(UTC)
        self.connections: dict[str, Connection] = {}
        self.broker_of: dict[str, int] = {}
        self.found: dict[str, Any] = {}
        self.unread: dict[str, str] = {}

    def state(self) -> KafkaState:
        try:
            self._connect_all()
            brokers = [i for i in self.deployment.instances if "broker" in i.roles and i.name in self.connections]
            if brokers:
                self._identify()
                self._ask_all()
                self._sample()
            else:
                self._note_unreachable()
                self._ask_controllers()
        finally:
            for connection in self.connections.values():
                connection.close()
        return KafkaState(
            cluster=self.deployment.cluster,
            taken_at=self.taken_at,
            unread=self.unread,
            expected=expected_servers(self.deployment),
            **{name: value for name, value in self.found.items() if name in self.wanted},
        )

    def _connect_all(self) -> None:
        limit = min(MAX_CONNECT_S, self._left() / 2)
        deadline = time.monotonic() + limit
        tasks = {i.name: partial(_answer, i, deadline) for i in self.deployment.instances}
        answers = read_all(tasks, timeout_s=limit + 0.1)
        servers = []
        for name in tasks:
            answer = answers.values.get(name)
            if isinstance(answer, Connection):
                self.connections[name] = answer
                servers.append(Server(name=name))
            elif isinstance(answer, BdopsError):
                refused = isinstance(answer, NothingListens)
                servers.append(Server(name=name, error=why_unread(answer), error_code=answer.code, refused=refused))
            else:
                servers.append(Server(name=name, error=answers.unread[name], error_code=Unreachable.default_code))
        self.found["servers"] = tuple(servers)

    def _identify(self) -> None:
        """Who is registered, and which of them each of our connections leads to."""
        try:
            self.found["cluster_id"], self.found["brokers"] = self._any(questions.described_cluster)
        except BdopsError as e:
            self.unread["brokers"] = why_unread(e)
        registered: tuple[Broker, ...] = self.found.get("brokers", ())
        for instance in self.deployment.instances:
            number = broker_number(instance, registered)
            if "broker" in instance.roles and number is not None:
                self.broker_of[instance.name] = number

    def _ask_all(self) -> None:
        wanted = self.wanted
        tasks: dict[str, Callable[[], Any]] = {}
        if wanted & {"topics", "topic_configs"}:
            tasks["topics"] = self._topics
        if wanted & {"quorum", "reassignments"}:
            tasks["controller"] = self._controller
        if "broker_configs" in wanted:
            tasks["broker_configs/"] = lambda: self._any(_default_configs)
        for name, number in self.broker_of.items():
            connection = self.connections.get(name)
            if connection is None:
                continue
            for reading, question in _BY_BROKER.items():
                if reading in wanted:
                    tasks[f"{reading}/{name}"] = partial(question, connection, number, self.deadline)
        answers = read_all(tasks, timeout_s=self._left())
        self._take_topics(answers.values.get("topics"), answers.unread.get("topics"))
        self._take_controller(answers.values.get("controller"), answers.unread.get("controller"))
        for reading in _BY_BROKER:
            if reading in wanted:
                self._take_by_broker(reading, answers.values, answers.unread)

    def _topics(self) -> tuple[tuple[Topic, ...], dict[str, dict[str, str]] | BdopsError | None]:
        topics = self._any(questions.described_topics)
        if "topic_configs" not in self.wanted:
            return topics, None
        if not topics:
            return topics, {}
        try:
            return topics, self._any(lambda c, d: questions.topic_configs(c, [t.name for t in topics], d))
        except BdopsError as e:
            return topics, e

    def _take_topics(self, answer: Any, why: str | None) -> None:
        if answer is None:
            if why:
                self.unread |= {name: why for name in ("topics", "topic_configs") if name in self.wanted}
            return
        self.found["topics"], configs = answer
        if isinstance(configs, BdopsError):
            self.unread["topic_configs"] = why_unread(configs)
        elif configs is not None:
            self.found["topic_configs"] = configs

    def _controller(self) -> tuple[MetadataQuorum | BdopsError | None, tuple[Reassignment, ...] | BdopsError]:
        """The quorum and the reassignments, through a broker to the active controller."""
        first = self._brokers()[0]
        deadline = min(self.deadline, time.monotonic() + min(MAX_CONTROLLER_S, self._left() / 2))
        try:
            connection = connected(first, deadline)
        except BdopsError as e:
            return e, e
        try:
            quorum = questions.described_quorum(connection, deadline)
            return quorum, questions.reassignments(connection, deadline)
        except BdopsError as e:
            return self._of_controllers(e)
        finally:
            connection.close()

    def _of_controllers(
        self, error: BdopsError
    ) -> tuple[MetadataQuorum | BdopsError, tuple[Reassignment, ...] | BdopsError]:
        """Ask each controller itself. `leader_id` is None when some answer and none says that it leads."""
        controllers = [i for i in self.deployment.instances if "controller" in i.roles]
        tasks = {i.name: partial(_of_controller, i, self.deadline) for i in controllers}
        answers = read_all(tasks, timeout_s=self._left() * 0.9)
        leading = [answer for answer in answers.values.values() if answer is not None]
        if leading:
            return max(leading, key=lambda answer: answer[0].epoch or 0)
        return MetadataQuorum(leader_id=None) if answers.values else error, error

    def _take_controller(self, answer: Any, why: str | None) -> None:
        if answer is None:
            if why:
                self.unread |= {name: why for name in ("quorum", "reassignments") if name in self.wanted}
            return
        for name, value in zip(("quorum", "reassignments"), answer, strict=True):
            if isinstance(value, BdopsError):
                self.unread[name] = f"no active controller answered: {why_unread(value)}"
            else:
                self.found[name] = value

    def _take_by_broker(self, reading: str, values: Mapping[str, Any], unread: Mapping[str, str]) -> None:
        """Put one reading together from the brokers' parts; None when there is not a single part."""
        parts = {}
        for instance in self.deployment.instances:
            if "broker" not in instance.roles:
                continue
            key = f"{reading}/{instance.name}"
            if key in values:
                parts[self.broker_of[instance.name]] = values[key]
            elif not (reading == "groups" and self._is_fenced(instance.name)):
                # A fenced broker coordinates no group: others have taken its groups over.
                self.unread[key] = unread.get(key) or self._why_no_connection(instance.name)
        for broker in self.found.get("brokers", ()):
            if not broker.fenced and broker.id not in self.broker_of.values():
                self.unread[f"{reading}/broker {broker.id}"] = "it is not in the inventory, and was not asked"
        if not parts:
            self.unread[reading] = "; ".join(w for k, w in self.unread.items() if k.startswith(f"{reading}/"))
        elif reading == "broker_configs":
            default = values.get("broker_configs/")
            self.found[reading] = {str(n): c for n, c in parts.items()} | ({"": default} if default is not None else {})
        elif reading == "dir_errors":
            self.found[reading] = {str(n): parts[n] for n in sorted(parts)}
        elif reading == "log_dirs":
            self.found[reading] = tuple(d for n in sorted(parts) for d in parts[n])
        else:
            self.found["groups"] = tuple(sorted((g for n in parts for g in parts[n][0]), key=lambda g: g.name))
            self.found["_committed"] = {g: o for n in parts for g, o in parts[n][1].items()}
            self.unread |= {f"groups/{g}": why for n in parts for g, why in parts[n][2].items()}

    def _sample(self) -> None:
        """Add this run's observation to the window of earlier ones, and take the window into the state."""
        if not self.wanted & {"group_samples", "reassignment_samples"}:
            return
        groups_read = "groups" in self.found and "topics" in self.found
        moves_read = "reassignments" in self.found and "log_dirs" in self.found
        cluster_id = self.found.get("cluster_id")
        file = history_file(self.deployment.cluster, cluster_id) if cluster_id else None
        window = list(kept(read_history(file, self.taken_at))) if file else []
        committed = self.found.pop("_committed", {})
        first = self._observation(committed if groups_read else {})
        more = not window and groups_read and is_behind_with_members(self.found["groups"], first.offsets)
        window.append(first)
        if more and self._left() > 2 * QUICK_SAMPLE_GAP_S:
            time.sleep(QUICK_SAMPLE_GAP_S)
            window.append(self._observation(self._committed_again()))
        try:
            if file:
                write_history(file, window)
        except OSError as e:
            self.unread["history"] = f"{file} cannot be written, so there is no window: {e.strerror}"
        last = window[-1]
        if groups_read:
            samples = (GroupSample(at=o.at, offsets=o.offsets) for o in window if o.offsets or o is last)
            self.found["group_samples"] = tuple(samples)
        else:
            self.unread["group_samples"] = self.unread.get("groups") or self.unread.get("topics", "not read")
        if moves_read:
            copied = (
                ReassignmentSample(at=o.at, copied_bytes=o.copied_bytes) for o in window if o.copied_bytes or o is last
            )
            self.found["reassignment_samples"] = tuple(copied)
        else:
            why = self.unread.get("reassignments") or self.unread.get("log_dirs", "not read")
            self.unread["reassignment_samples"] = why

    def _observation(self, committed: Mapping[str, Mapping[str, int]]) -> Observation:
        """Where groups and moves stand now. Log ends are asked of each partition's leader, in one request."""
        of_broker = {n: self.connections[name] for name, n in self.broker_of.items() if name in self.connections}
        wanted = {name for partitions in committed.values() for name in partitions}
        tasks = {
            str(leader): partial(questions.log_ends, of_broker[leader], names, self.deadline)
            for leader, names in names_by_leader(self.found.get("topics", ()), wanted).items()
            if leader in of_broker
        }
        answers = read_all(tasks, timeout_s=self._left())
        ends = {name: end for part in answers.values.values() for name, end in part.items()}
        return Observation(
            at=datetime.now(UTC),
            offsets={group: {n: (offset, ends.get(n)) for n, offset in o.items()} for group, o in committed.items()},
            copied_bytes=copied_bytes(self.found.get("reassignments", ()), self.found.get("log_dirs", ())),
        )

    def _committed_again(self) -> dict[str, dict[str, int]]:
        tasks = {
            name: partial(_groups_of, self.connections[name], number, self.deadline)
            for name, number in self.broker_of.items()
            if name in self.connections
        }
        answers = read_all(tasks, timeout_s=self._left())
        return {group: offsets for part in answers.values.values() for group, offsets in part[1].items()}

    def _any(self, question: Callable[[Connection, float], T]) -> T:
        """The answer of the first broker that gives one. Raises the last one's error."""
        error: BdopsError | None = None
        for instance in self._brokers():
            deadline = min(self.deadline, time.monotonic() + max(1.0, self._left() / 2))
            try:
                return question(self.connections[instance.name], deadline)
            except BdopsError as e:
                error = e
        assert error is not None
        raise error

    def _brokers(self) -> list[Instance]:
        """The brokers that answered."""
        return [i for i in self.deployment.instances if "broker" in i.roles and i.name in self.connections]

    def _is_fenced(self, name: str) -> bool:
        return any(b.fenced and b.id == self.broker_of.get(name) for b in self.found.get("brokers", ()))

    def _why_no_connection(self, name: str) -> str:
        for server in self.found["servers"]:
            if server.name == name and server.error:
                return str(server.error)
        return "which broker this is could not be found out: set node_id in the inventory"

    def _ask_controllers(self) -> None:
        """Without a broker to ask: what controllers of their own can still tell."""
        if "quorum" in self.wanted and self.connections:
            self.unread.pop("quorum", None)
            self._take_controller(self._of_controllers(Unreachable("no broker answers")), None)

    def _note_unreachable(self) -> None:
        errors = [s.error for s in self.found["servers"] if s.error]
        why = f"no broker could be asked: {errors[0]}" if errors else "the inventory has no broker to ask"
        if len(errors) > 1:
            why += f" (and {len(errors) - 1} more)"
        self.unread |= dict.fromkeys(sorted(self.wanted - {"servers"}), why)

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def broker_number(instance: Instance, registered: Iterable[Broker]) -> int | None:
    """The broker that an instance is: by `node_id` if that is set, else by what is advertised."""
    if instance.settings.node_id is not None:
        return int(instance.settings.node_id)
    names = {instance.host.name, instance.host.address}
    return next((b.id for b in registered if b.host in names and b.port == instance.settings.port), None)


def connected(instance: Instance, deadline: float, controller: bool = False) -> Connection:
    """A connection to a server's listener for brokers, or for controllers, as the inventory secures it."""
    settings = instance.settings
    port = settings.controller_port if controller else settings.port
    security: Security = (settings.controller_security if controller else None) or settings.security
    return connect(Endpoint(instance.name, instance.host.address, port), security, deadline=deadline)


def _answer(instance: Instance, deadline: float) -> Connection | BdopsError:
    """A connection, or the error as a value: its code is wanted too."""
    try:
        return connected(instance, deadline, controller="broker" not in instance.roles)
    except BdopsError as e:
        return e


def _of_controller(instance: Instance, deadline: float) -> tuple[MetadataQuorum, tuple[Reassignment, ...]] | None:
    """The quorum and the reassignments from the active controller; None from another."""
    connection = connected(instance, deadline, controller=True)
    try:
        quorum = questions.described_quorum(connection, deadline)
        return (quorum, questions.reassignments(connection, deadline)) if quorum else None
    finally:
        connection.close()


def _default_configs(connection: Connection, deadline: float) -> dict[str, str]:
    return questions.broker_configs(connection, None, deadline)


def _groups_of(
    connection: Connection, broker: int, deadline: float
) -> tuple[tuple[Group, ...], dict[str, dict[str, int]], dict[str, str]]:
    groups = questions.listed_groups(connection, broker, deadline)
    return groups, *questions.committed_offsets(connection, [g.name for g in groups], deadline)


def _configs_of(connection: Connection, broker: int, deadline: float) -> dict[str, str]:
    return questions.broker_configs(connection, broker, deadline)


def _log_dirs_of(connection: Connection, broker: int, deadline: float) -> tuple[LogDir, ...]:
    return questions.described_log_dirs(connection, broker, deadline)


def _dir_errors_of(connection: Connection, broker: int, deadline: float) -> dict[str, str | None]:
    return questions.dir_errors(connection, deadline)


_BY_BROKER: Mapping[str, Callable[[Connection, int, float], Any]] = {
    "broker_configs": _configs_of,
    "log_dirs": _log_dirs_of,
    "dir_errors": _dir_errors_of,
    "groups": _groups_of,
}
"""The readings of which every broker has its own part."""
