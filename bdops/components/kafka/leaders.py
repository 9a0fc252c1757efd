"""Who leads which partitions, and where leaderships go when a broker is to go down. Pure.

Kafka elects the *preferred* replica, the first of a partition's list, and there is no request that names a leader
(KIP-460). So a leadership is moved by putting another in-sync replica first, by a reassignment to the same set of
replicas (KIP-455): nothing is copied, the in-sync set stays as it is, it is done at once. Without that order the
controller's own rebalancing (`auto.leader.rebalance.enable`) would give the leadership back before the stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bdops.components.kafka.checks.common import name_of
from bdops.components.kafka.standing import Cluster, Standing
from bdops.components.kafka.state import Partition

Orders = Mapping[str, tuple[int, ...]]
"""Partition -> its replicas, the preferred one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How leaderships leave a broker: `elect` are the partitions to elect the preferred replica of, after those in
    `after` have got that order; `before` has the order that each of them had."""

    before: Orders
    after: Orders
    elect: tuple[str, ...]


def partitions(cluster: Cluster) -> Iterator[tuple[str, Partition]]:
    return ((name_of(t, p), p) for t, p in cluster.state.partitions())


def partitions_of(cluster: Cluster, pattern: str | None) -> tuple[str, ...]:
    """The partitions of topics like this: `orders`, `log-*`; None: of all."""
    return tuple(
        name_of(t, p) for t, p in cluster.state.partitions() if pattern is None or fnmatchcase(t.name, pattern)
    )


def in_flight(cluster: Cluster) -> frozenset[str]:
    """Partitions whose replicas are being moved: their order is not touched, as that would cancel the move."""
    return frozenset(r.partition for r in cluster.state.reassignments or ())


def heirs(cluster: Cluster, p: Partition, leaving: Collection[int]) -> tuple[int, ...]:
    """Who of its replicas could lead a partition at once: in sync, up, not leaving."""
    return tuple(b for b in p.replicas if b in p.isr and b not in leaving and _is_up(cluster, b))


def led_by(cluster: Cluster, broker: int) -> tuple[str, ...]:
    """The partitions that a broker leads and that another replica could lead at once."""
    moving = in_flight(cluster)
    return tuple(
        name
        for name, p in partitions(cluster)
        if p.leader == broker and name not in moving and heirs(cluster, p, (broker,))
    )


def moves_away(cluster: Cluster, broker: int, leaving: Collection[int] = ()) -> Moves:
    """The leaderships of a broker go to those in-sync replicas that lead least, not to others that leave as well.

    Where only such are left one of them gets it for the time being.
    """
    leads = Counter(p.leader for _, p in partitions(cluster) if p.leader is not None)
    moving = in_flight(cluster)
    before: dict[str, tuple[int, ...]] = {}
    after: dict[str, tuple[int, ...]] = {}
    elect: list[str] = []
    for name, p in partitions(cluster):
        if p.leader != broker or name in moving:
            continue
        able = heirs(cluster, p, {broker, *leaving}) or heirs(cluster, p, (broker,))
        if not able:
            continue
        heir = able[0] if able[0] == p.replicas[0] else min(able, key=lambda b: (leads[b], p.replicas.index(b)))
        leads[heir] += 1
        elect.append(name)
        if heir != p.replicas[0]:
            before[name] = p.replicas
            after[name] = (heir, *(b for b in p.replicas if b != heir))
    return Moves(before=before, after=after, elect=tuple(elect))


def off_preferred(cluster: Cluster, brokers: Collection[int] | None = None) -> tuple[str, ...]:
    """Partitions that are led by another than their preferred replica though that is in sync; of these brokers."""
    return tuple(
        name
        for name, p in partitions(cluster)
        if p.replicas
        and p.leader != p.replicas[0]
        and p.replicas[0] in p.isr
        and (brokers is None or p.replicas[0] in brokers)
        and _is_up(cluster, p.replicas[0])
    )


def to_put_back(cluster: Cluster, before: Orders) -> Orders:
    """What is left to restore of these orders: what still has the same replicas in another order.

    A partition that is gone, or that somebody has moved to other brokers since, is none of ours any more.
    """
    now = {name: p.replicas for name, p in partitions(cluster) if name in before}
    return {
        name: order
        for name, order in before.items()
        if name in now and now[name] != order and set(now[name]) == set(order)
    }


def _is_up(cluster: Cluster, broker: int) -> bool:
    name = cluster.names.get(broker)
    # One that the inventory does not know was not asked; the controllers vouch for it.
    return not cluster.is_out(broker) and (name is None or cluster.standing[name] is Standing.UP)
