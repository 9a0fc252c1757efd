"""How each server of the inventory stands in a state: up, starting, down, silent; by number and by name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from bdops.components.kafka.checks.common import instance_names
from bdops.components.kafka.state import Broker, ExpectedServer, KafkaState, Server, Voter
from bdops.core.units import format_duration

MAX_BEHIND_MS = 5000
"""The default of `restart.max_behind_ms`: who fetched the metadata log's end longer ago does not follow it."""


class Standing(Enum):
    """What is known of a server."""

    UP = "up"
    """It answers; a broker is registered and unfenced too."""
    STARTING = "starting"
    """It does not serve and fetches the metadata log all the same: its process starts, recovers its logs, or ends."""
    DOWN = "down"
    """Nothing listens at its port, and nothing else is heard of it."""
    SILENT = "silent"
    """It does not answer, or not us: it may be anything."""


@dataclass(frozen=True)
class Cluster:
    """A state with what the rules ask of it again and again. Brokers and controllers are known by their numbers."""

    state: KafkaState
    max_behind_ms: float = MAX_BEHIND_MS

    @cached_property
    def servers(self) -> Mapping[str, ExpectedServer]:
        return {s.name: s for s in self.state.expected or ()}

    @cached_property
    def answers(self) -> Mapping[str, Server]:
        return {s.name: s for s in self.state.servers or ()}

    @cached_property
    def names(self) -> Mapping[int, str]:
        """The instance of each number that the inventory has."""
        return instance_names(self.state)

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        return {name: number for number, name in self.names.items()}

    @cached_property
    def registered(self) -> Mapping[int, Broker]:
        return {b.id: b for b in self.state.brokers or ()}

    @cached_property
    def followers(self) -> Mapping[int, Voter]:
        """Who the active controller knows of: the voters and the observers."""
        quorum = self.state.quorum
        return {v.id: v for v in (*quorum.observers, *quorum.voters)} if quorum else {}

    @cached_property
    def standing(self) -> Mapping[str, Standing]:
        return {name: self._standing(server) for name, server in self.servers.items()}

    def name(self, number: int) -> str:
        """The instance, or `broker 7` for one that the inventory does not know."""
        return self.names.get(number, f"broker {number}")

    def is_broker(self, name: str) -> bool:
        return "broker" in self.servers[name].roles

    def those(self, *which: Standing) -> frozenset[str]:
        return frozenset(name for name, standing in self.standing.items() if standing in which)

    def follows(self, number: int) -> bool | None:
        """Whether it has fetched the end of the metadata log just now; None when nobody leads, or none tells."""
        quorum = self.state.quorum
        if quorum is None or quorum.leader_id is None:
            return None
        if number == quorum.leader_id:
            return True
        found = self.followers.get(number)
        if found is None:
            return False
        if found.lag_ms is not None:
            return found.lag_ms < self.max_behind_ms
        return found.lag == 0

    def is_out(self, number: int) -> bool:
        """Whether a broker serves nothing for sure: fenced, not registered, or nothing listens there."""
        broker = self.registered.get(number)
        name = self.names.get(number)
        answer = self.answers.get(name) if name else None
        return broker is None or broker.fenced or (answer is not None and answer.refused)

    def is_silent(self, number: int) -> bool:
        """Whether it is not known if a broker, or a controller, still does its part."""
        name = self.names.get(number)
        return name is not None and self.standing[name] is Standing.SILENT

    def is_starting(self, number: int) -> bool:
        """Whether it has a process that does not serve yet, or does not any more."""
        name = self.names.get(number)
        return name is not None and self.standing[name] is Standing.STARTING

    def why(self, name: str) -> str:
        """What is wrong with a server that does not stand well, in words."""
        server, number, answer = self.servers[name], self.numbers.get(name), self.answers.get(name)
        if answer is None:
            return self.state.unread.get("servers", "it was not asked")
        if answer.error:
            return answer.error
        if "broker" in server.roles:
            broker = self.registered.get(number) if number is not None else None
            if broker is None:
                return "it answers, and is not registered with the controllers"
            if broker.fenced:
                return "it answers, and is fenced by the controllers"
        return self.behind(number) if number is not None else "which number it has is not known: set node_id"

    def behind(self, number: int) -> str:
        """How far it is behind in the metadata log."""
        found = self.followers.get(number)
        if found is None or found.lag_ms is None:
            return "the active controller has not heard of it"
        lag = f" ({found.lag} records)" if found.lag is not None else ""
        return f"{format_duration(found.lag_ms / 1000)} behind in the metadata log{lag}"

    def _standing(self, server: ExpectedServer) -> Standing:
        answer = self.answers.get(server.name)
        number = self.numbers.get(server.name)
        if answer is None or (answer.error and not answer.refused):
            return Standing.SILENT
        serves = not answer.error
        if serves and ("broker" not in server.roles or self._serves_as_broker(number)):
            return Standing.UP
        return Standing.STARTING if serves or (number is not None and self.follows(number)) else Standing.DOWN

    def _serves_as_broker(self, number: int | None) -> bool:
        """A broker that answers serves, unless the controllers say otherwise."""
        if self.state.brokers is None:
            return True
        broker = self.registered.get(number) if number is not None else None
        return broker is not None and not broker.fenced


def short(name: str) -> str:
    """`node3` of `prod/kafka/node3`."""
    return name.rsplit("/", 1)[-1]
