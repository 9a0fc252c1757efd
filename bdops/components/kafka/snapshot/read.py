"""Reads all that a backup holds from a live cluster: what any broker knows of one, what only it knows of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from bdops.components.kafka import questions as state_questions
from bdops.components.kafka.connection import Connection
from bdops.components.kafka.read import broker_number, connected
from bdops.components.kafka.snapshot import questions
from bdops.components.kafka.snapshot.content import DEFAULT, PARTS, Metadata
from bdops.components.kafka.snapshot.timestamps import find_timestamps
from bdops.components.kafka.state import Broker, partition_name
from bdops.components.reading import read_all, why_unread
from bdops.core.model import Deployment, Instance
from bdops.core.units import plural
from bdops.errors import BdopsError, Unreachable

T = TypeVar("T")

READ_S = 60.0
CONNECT_S = 5.0
CALL_S = 20.0
TIMESTAMP_ROUNDS = 40
TIMESTAMPS_S = 20.0
"""What is not found by then is left out: a backup is worth more than the times in it."""
GROUPS_AT_ONCE = 200


def read_metadata(deployment: Deployment, *, timestamps: bool = True, timeout_s: float = READ_S) -> Metadata:
    """Everything. Raises Unreachable when no broker answers; what else is missing is in `unread`, with why."""
    with opened_brokers(deployment, timeout_s) as brokers:
        return _Reader(deployment, brokers, time.monotonic() + timeout_s).read(timestamps=timestamps)


@dataclass(frozen=True, slots=True)
class Brokers:
    """Connections to the brokers of the inventory that answer, by their numbers; `silent` says why others do not."""

    connections: Mapping[int, Connection]
    registered: Sequence[Broker]
    cluster_id: str
    silent: Mapping[str, str]

    def any(self, question: Callable[[Connection, float], T], deadline: float) -> T:
        """The answer of the first that gives one. Raises the last one's error, and at once what is no matter of who."""
        error: BdopsError = Unreachable("no broker answers")
        for connection in self.connections.values():
            try:
                return question(connection, min(deadline, time.monotonic() + CALL_S))
            except Unreachable as e:
                error = e
        raise error

    def offsets_at(
        self, topics: Mapping[str, Any], times: Mapping[str, int], deadline: float
    ) -> dict[str, tuple[int, int]]:
        """Partition -> (offset, timestamp) of a time, each asked of its leader; what did not answer is left out."""
        if not times or time.monotonic() >= deadline:
            return {}
        by_leader: dict[int, dict[str, int]] = {}
        for topic, body in topics.items():
            for number, p in enumerate(body["partitions"]):
                name = partition_name(topic, number)
                if name in times and p["leader"] in self.connections:
                    by_leader.setdefault(p["leader"], {})[name] = times[name]
        tasks = {
            str(leader): partial(state_questions.offsets_at, self.connections[leader], mine, deadline)
            for leader, mine in by_leader.items()
        }
        answers = read_all(tasks, timeout_s=max(0.1, deadline - time.monotonic()))
        return {name: found for part in answers.values.values() for name, found in part.items()}


@contextmanager
def opened_brokers(deployment: Deployment, timeout_s: float) -> Iterator[Brokers]:
    """Connect to all at once. Raises Unreachable with every reason when none answers."""
    instances = [i for i in deployment.instances if "broker" in i.roles]
    limit_s = min(CONNECT_S, timeout_s)
    deadline = time.monotonic() + limit_s
    answers = read_all({i.name: partial(connected, i, deadline) for i in instances}, timeout_s=limit_s + 0.5)
    opened: dict[str, Connection] = dict(answers.values)
    try:
        if not opened:
            why = "; ".join(f"{name}: {reason}" for name, reason in answers.unread.items())
            raise Unreachable(f"no broker answers: {why}", where=deployment.name, hint="bdops kafka status")
        cluster_id, registered = _described(opened)
        numbered = {}
        silent = dict(answers.unread)
        for instance in instances:
            number = broker_number(instance, registered)
            if instance.name in opened and number is not None:
                numbered[number] = opened[instance.name]
            elif number is None:
                silent.setdefault(instance.name, "which broker this is is not known: set node_id in the inventory")
        yield Brokers(numbered, registered, cluster_id, _by_number(silent, instances, registered))
    finally:
        for connection in opened.values():
            connection.close()


def _described(opened: Mapping[str, Connection]) -> tuple[str, tuple[Broker, ...]]:
    error: BdopsError | None = None
    for connection in opened.values():
        try:
            return state_questions.described_cluster(connection, time.monotonic() + CALL_S)
        except BdopsError as e:
            error = e
    assert error is not None
    raise error


def _by_number(
    silent: Mapping[str, str], instances: Sequence[Instance], registered: Sequence[Broker]
) -> dict[str, str]:
    """Why each registered broker cannot be asked, by its number."""
    numbers = {i.name: broker_number(i, registered) for i in instances}
    found = {str(numbers[name]): why for name, why in silent.items() if numbers.get(name) is not None}
    known = set(numbers.values())
    return found | {str(b.id): "it is not in the inventory" for b in registered if b.id not in known}


@dataclass
class _Reader:
    deployment: Deployment
    brokers: Brokers
    deadline: float
    parts: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in PARTS})
    unread: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def read(self, *, timestamps: bool) -> Metadata:
        taken_at = datetime.now(UTC)
        self._topics()
        self._take("acls", self._acls)
        self._take("quotas", lambda: self._any(questions.described_quotas))
        self._take("scram_users", lambda: self._any(questions.scram_users))
        self._take("features", lambda: self._any(questions.finalised_features))
        self._take("voters", self._voters)
        self._take("resources", self._resources)
        self._brokers()
        self._groups()
        if timestamps:
            self._timestamps()
        return Metadata(
            cluster=self.deployment.cluster,
            cluster_id=self.brokers.cluster_id,
            taken_at=taken_at,
            parts=self.parts,
            unread=self.unread,
            notes=tuple(self.notes),
        )

    def _any(self, question: Callable[[Connection, float], T]) -> T:
        return self.brokers.any(question, self.deadline)

    def _take(self, part: str, read: Callable[[], dict[str, Any]]) -> None:
        try:
            self.parts[part] = read()
        except BdopsError as e:
            self.unread[part] = why_unread(e)

    def _topics(self) -> None:
        self._take("topics", lambda: self._any(questions.described_topics))
        topics = self.parts["topics"]
        try:
            configs = self._any(lambda c, d: questions.topic_configs(c, topics, d)) if topics else {}
        except BdopsError as e:
            self.unread["topics/configs"] = why_unread(e)
            return
        for name, values in configs.items():
            topics[name]["configs"] = values

    def _acls(self) -> dict[str, Any]:
        found = self._any(questions.described_acls)
        if found is None:
            self.notes.append("the cluster has no authorizer, and so no ACLs")
        return found or {}

    def _voters(self) -> dict[str, Any]:
        quorum = self._any(state_questions.described_quorum)
        if quorum is None:
            raise Unreachable("no active controller answers")
        return {str(v.id): {} for v in quorum.voters}

    def _resources(self) -> dict[str, Any]:
        try:
            return dict(self._any(questions.config_resources))
        except BdopsError as e:
            if e.code != "UNSUPPORTED_BY_SERVER":
                raise
            self.notes.append("the brokers cannot list configs of groups and client metrics (Kafka 4.1 can)")
            return {}

    def _brokers(self) -> None:
        found: dict[str, Any] = {}
        deadline = min(self.deadline, time.monotonic() + CALL_S)
        tasks = {
            str(number): partial(questions.broker_configs, connection, number, deadline)
            for number, connection in self.brokers.connections.items()
        }
        answers = read_all(tasks, timeout_s=CALL_S)
        for broker in self.brokers.registered:
            name = str(broker.id)
            found[name] = {"rack": broker.rack, "configs": {}, "secrets": [], **answers.values.get(name, {})}
            if name not in answers.values:
                why = answers.unread.get(name) or self.brokers.silent.get(name, "it cannot be asked")
                self.unread[f"brokers/{name}"] = why
        try:
            found[DEFAULT] = self._any(lambda c, d: questions.broker_configs(c, None, d))
        except BdopsError as e:
            self.unread[f"brokers/{DEFAULT}"] = why_unread(e)
        self.parts["brokers"] = found

    def _groups(self) -> None:
        """Each broker tells of the groups that it coordinates. A fenced one coordinates none."""
        deadline = min(self.deadline, time.monotonic() + CALL_S)
        tasks = {
            str(number): partial(_groups_of, connection, number, deadline)
            for number, connection in self.brokers.connections.items()
        }
        answers = read_all(tasks, timeout_s=CALL_S)
        fenced = {str(b.id) for b in self.brokers.registered if b.fenced}
        found: dict[str, Any] = {}
        for groups, failed in answers.values.values():
            found |= groups
            self.unread |= {f"groups/{name}": why for name, why in failed.items()}
        for broker in self.brokers.registered:
            name = str(broker.id)
            if name not in answers.values and name not in fenced:
                why = answers.unread.get(name) or self.brokers.silent.get(name, "it cannot be asked")
                self.unread[f"groups/of broker {name}"] = why
        self.parts["groups"] = found
        ends = self._ask(dict.fromkeys(_committed(found), state_questions.LATEST))
        for group in found.values():
            for name, entry in group["offsets"].items():
                entry["log_end"] = ends[name][0] if name in ends else None

    def _timestamps(self) -> None:
        """By time as well, where the record at the offset is there: offsets of another cluster are others."""
        groups = self.parts["groups"]
        by_offset: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for group in groups.values():
            for name, entry in group["offsets"].items():
                if entry["log_end"] is not None and entry["offset"] < entry["log_end"]:
                    by_offset.setdefault((name, entry["offset"]), []).append(entry)
        until = min(self.deadline, time.monotonic() + TIMESTAMPS_S)
        missing = 0
        # A question has one time a partition: groups at other offsets of the same one have another turn.
        while by_offset:
            turn: dict[str, int] = {}
            for name, offset in by_offset:
                turn.setdefault(name, offset)
            entries = {name: by_offset.pop((name, offset)) for name, offset in turn.items()}
            found = {}
            if time.monotonic() < until:
                last = self._ask(dict.fromkeys(turn, state_questions.MAX_TIMESTAMP))
                found = find_timestamps(turn, last, lambda times: self._ask(times, until), TIMESTAMP_ROUNDS)
            for name, mine in entries.items():
                missing += len(mine) if name not in found else 0
                for entry in mine:
                    entry["timestamp_ms"] = found.get(name)
        if missing:
            self.notes.append(
                f"{plural(missing, 'committed offset')} without the time of its record: not found in time"
            )

    def _ask(self, times: Mapping[str, int], until: float | None = None) -> dict[str, tuple[int, int]]:
        deadline = min(self.deadline, until or self.deadline, time.monotonic() + CALL_S)
        return self.brokers.offsets_at(self.parts["topics"], times, deadline)


def _committed(groups: Mapping[str, Any]) -> set[str]:
    return {name for group in groups.values() for name in group["offsets"]}


def _groups_of(connection: Connection, broker: int, deadline: float) -> tuple[dict[str, Any], dict[str, str]]:
    groups = state_questions.listed_groups(connection, broker, deadline)
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for at in range(0, len(groups), GROUPS_AT_ONCE):
        part = groups[at : at + GROUPS_AT_ONCE]
        offsets, wrong = state_questions.committed_offsets(connection, [g.name for g in part], deadline)
        failed |= wrong
        for group in part:
            if group.name in offsets:
                found[group.name] = {
                    "type": group.type,
                    "state": group.state,
                    "offsets": {
                        name: {"offset": offset, "timestamp_ms": None} for name, offset in offsets[group.name].items()
                    },
                }
    return found, failed
