"""All checks of Elasticsearch, in the order in which an operator wants to read them."""

from __future__ import annotations

from bdops.components.es.checks import capacity, leftovers, nodes, shards, snapshots
from bdops.components.es.state import EsState
from bdops.core.checks import Check

CHECKS: tuple[Check[EsState], ...] = (
    *nodes.CHECKS,
    *shards.CHECKS,
    *capacity.CHECKS,
    *leftovers.CHECKS,
    *snapshots.CHECKS,
)
