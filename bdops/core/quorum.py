"""The one quorum arithmetic: ZooKeeper, KRaft, JournalNodes and Elasticsearch's masters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


def majority(configured: int) -> int:
    """The votes that a decision needs among `configured` voters: floor(n/2)+1. Two of four is not a majority.

    Raises ValueError for fewer than one voter.
    """
    if configured < 1:
        raise ValueError("a quorum has at least one configured voter")
    return configured // 2 + 1


@dataclass(frozen=True, slots=True)
class Quorum:
    """The configured voters by name, and those of them that are up and caught up with the leader."""

    configured: frozenset[str]
    caught_up: frozenset[str]

    @classmethod
    def of(cls, configured: Iterable[str], caught_up: Iterable[str]) -> Quorum:
        """Caught-up servers that are not configured as voters (observers) do not count."""
        voters = frozenset(configured)
        return cls(voters, frozenset(caught_up) & voters)

    @property
    def needed(self) -> int:
        return majority(len(self.configured))

    @property
    def has_majority(self) -> bool:
        return len(self.caught_up) >= self.needed

    @property
    def spare(self) -> int:
        """How many more caught-up voters can go before the majority is lost; negative when it is lost already."""
        return len(self.caught_up) - self.needed

    def survives_without(self, candidates: Iterable[str]) -> bool:
        """Whether a caught-up majority of the *configured* voters remains when all `candidates` are down."""
        return len(self.caught_up - frozenset(candidates)) >= self.needed
