"""Who may take replicas, how many of a row one rack may hold, and each broker's even share.

The rules that all planners share. A *domain* is a fault domain (a rack; a broker without a rack is one of its own)
or an update domain. The *receivers* are the brokers that may be given replicas; shares and bands are theirs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.model import Layout, Request

# Shares come out of floating-point sums; an error of this size must not push a floor or a ceiling to the next integer.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """Brokers by what may be done with them, and by fault and update domain.

    `receivers` are live and neither drained nor excluded; `leaving` are to be emptied; all others (dead, excluded)
    hold what they have. `rack` and `update` give each broker's domain, numbered from 0 without gaps other than those
    of racks without brokers; `rack_sizes` and `update_sizes` count the receivers of each domain.
    """

    receivers: NDArray[np.bool_]
    leaving: NDArray[np.bool_]
    rack: NDArray[np.int32]
    rack_sizes: NDArray[np.int64]
    update: NDArray[np.int32]
    update_sizes: NDArray[np.int64]

    @property
    def holding(self) -> NDArray[np.bool_]:
        """Brokers that keep what they have and get nothing."""
        return ~self.receivers & ~self.leaving


def domains(layout: Layout, request: Request) -> Domains:
    """The domains of a layout under a request."""
    brokers = layout.brokers
    leaving = _flags(request.drain, len(brokers))
    receivers = brokers.live & ~leaving & ~_flags(request.exclude, len(brokers))
    rack = _own_where_unknown(brokers.rack, len(brokers.racks))
    update = _own_where_unknown(brokers.update_domain, len(brokers.update_domains))
    return Domains(
        receivers=receivers,
        leaving=leaving,
        rack=rack,
        rack_sizes=np.bincount(rack[receivers], minlength=int(rack.max(initial=-1)) + 1),
        update=update,
        update_sizes=np.bincount(update[receivers], minlength=int(update.max(initial=-1)) + 1),
    )


def free_rows(layout: Layout, request: Request) -> NDArray[np.bool_]:
    """Rows that may be changed: neither pinned nor with a reassignment under way."""
    free = np.ones(len(layout), dtype=np.bool_)
    if request.pinned is not None:
        free &= ~request.pinned
    if layout.busy is not None:
        free &= ~layout.busy
    return free


def wanted_factors(layout: Layout, request: Request) -> NDArray[np.int16]:
    """The replication factor of every row after the plan: as asked for, else as now; as now where not free."""
    factors = layout.factors
    if request.factors:
        by_topic = np.full(len(layout.topics), -1, dtype=np.int16)
        for topic, factor in request.factors.items():
            by_topic[topic] = factor
        wanted = by_topic[layout.topic_of()]
        factors = np.where((wanted >= 0) & free_rows(layout, request), wanted, factors)
    return factors


def current_leaders(layout: Layout) -> NDArray[np.int16]:
    """Who leads each row now; the preferred leader where nobody does."""
    return np.where(layout.leader >= 0, layout.leader, layout.replicas[:, 0])


def kept_copies(layout: Layout, request: Request, where: Domains) -> NDArray[np.bool_]:
    """[rows, width]: replicas on brokers that hold what they have (dead, excluded) and that stay there.

    A row that is to have fewer replicas than the leaving brokers leave it parts with dead ones first: what is left
    must not be the copies that nobody can read. Then receivers part with theirs, and excluded brokers last. Of those
    that hold theirs the last ones in a row go, the leader's after the others.
    """
    there = layout.replicas >= 0
    held = there & where.holding[layout.replicas]
    leaving = there & where.leaving[layout.replicas]
    surplus = there.sum(axis=1) - leaving.sum(axis=1) - wanted_factors(layout, request)
    rows = np.flatnonzero((surplus > 0) & held.any(axis=1))
    if not len(rows):
        return held
    replicas, kept, goes = layout.replicas[rows], held[rows], surplus[rows]
    leads = replicas == current_leaders(layout)[rows, None]
    dead = kept & ~layout.brokers.live[replicas]
    given = (there[rows] & where.receivers[replicas]).sum(axis=1)
    for group, number in ((dead, goes), (kept & ~dead, goes - dead.sum(axis=1) - given)):
        followers = group & ~leads
        rank = np.cumsum(followers[:, ::-1], axis=1)[:, ::-1]
        rank = np.where(leads, group.sum(axis=1)[:, None], rank)
        kept = kept & ~(group & (rank <= number[:, None]))
    held[rows] = kept
    return held


def rack_cap(factor: int, sizes: NDArray[np.int64]) -> int:
    """The most replicas of a row of this factor that one domain must hold, given the receivers of each domain.

    The lowest cap under which the row fits at all: ceil(factor / domains that take replicas) when each of them has
    brokers enough, more when the small ones are full. The factor itself when there are too few receivers.
    """
    for cap in range(1, factor):
        if int(np.minimum(sizes, cap).sum()) >= factor:
            return cap
    return max(factor, 1)


def row_caps(factors: NDArray[np.int16], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """`rack_cap` of every row, by its factor."""
    table = np.array([rack_cap(factor, sizes) for factor in range(int(factors.max(initial=0)) + 1)], dtype=np.int64)
    return table[factors]


def violations(replicas: NDArray[np.int16], domain: NDArray[np.int32], caps: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many replicas of each row ([rows, width], -1 padded) are in excess of its cap in a domain of `domain`."""
    excess = np.zeros(len(replicas), dtype=np.int64)
    at = np.where(replicas >= 0, domain[replicas], -1) if len(domain) else np.full_like(replicas, -1, dtype=np.int32)
    for column in range(1, replicas.shape[1]):
        earlier = (at[:, :column] == at[:, column : column + 1]).sum(axis=1)
        excess += (at[:, column] >= 0) & (earlier >= caps)
    return excess


def disk_room(layout: Layout, request: Request) -> NDArray[np.int64]:
    """Bytes that may be added to each broker during the move, old copies still there."""
    return room_under(request.watermark, layout.brokers.total_bytes, layout.brokers.usable_bytes)


def room_under(watermark: float, total_bytes: NDArray[np.int64], usable_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes that may be added to each volume until `watermark` of it is used; a very large number if it is unknown.

    Used now is total less usable. Never negative.
    """
    room = np.maximum(np.floor(total_bytes * watermark).astype(np.int64) - (total_bytes - usable_bytes), 0)
    return np.where(total_bytes > 0, room, np.int64(2**62))


def even_shares(
    layout: Layout, request: Request, where: Domains, weights: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The even share of each broker of a measure, `weights` being that of one replica of each row; 0 for non-receivers.

    As even over the receivers as the rack caps permit (water-filling: a rack at its cap gets no more, and its
    receivers share that evenly). What stays on brokers that hold theirs counts against the caps of their racks.
    """
    factors, free = wanted_factors(layout, request), free_rows(layout, request)
    classes, row_class = np.unique(factors, return_inverse=True)
    racks = len(where.rack_sizes)
    kept = kept_copies(layout, request, where)
    stays = np.zeros((len(classes), racks), dtype=np.float64)
    for column in range(layout.replicas.shape[1]):
        broker = layout.replicas[:, column]
        fixed = np.where(free, kept[:, column], (broker >= 0) & ~where.receivers[broker])
        cell = row_class[fixed] * racks + where.rack[broker[fixed]]
        stays += np.bincount(cell, weights=weights[fixed], minlength=stays.size).reshape(stays.shape)
    of_class = np.bincount(row_class, weights=weights, minlength=len(classes)).astype(np.float64)
    caps = np.array([rack_cap(int(factor), where.rack_sizes) for factor in classes], dtype=np.float64)
    # What stays counts against the cap of its rack, not against its receivers, each of which has room for a copy.
    room = np.maximum(caps[:, None] * of_class[:, None] - stays, 0.0)
    limit = np.minimum(room, where.rack_sizes * of_class[:, None])
    need = np.maximum(classes * of_class - stays.sum(axis=1), 0.0)
    by_rack = _water_fill(where.rack_sizes.astype(np.float64), limit, need.astype(np.float64))
    sizes = np.maximum(where.rack_sizes, 1)
    return np.where(where.receivers, (by_rack / sizes)[where.rack], 0.0)


def band(
    shares: NDArray[np.float64], receivers: NDArray[np.bool_], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest and highest load within the tolerance of each share; both 0 for brokers that are not receivers.

    A tolerance of 0 is the whole numbers below and above the share.
    """
    low = np.floor((1 - tolerance) * shares + _ROUNDING).astype(np.int64)
    high = np.ceil((1 + tolerance) * shares - _ROUNDING).astype(np.int64)
    return np.where(receivers, np.maximum(low, 0), 0), np.where(receivers, np.maximum(high, 0), 0)


def _flags(indexes: frozenset[int], length: int) -> NDArray[np.bool_]:
    flags = np.zeros(length, dtype=np.bool_)
    flags[sorted(indexes)] = True
    return flags


def _own_where_unknown(domain: NDArray[np.int16], known: int) -> NDArray[np.int32]:
    """A domain of its own, numbered after the known ones, for every broker whose domain is -1."""
    own = domain.astype(np.int32)
    unknown = own < 0
    first = max(known, int(own.max(initial=-1)) + 1)
    own[unknown] = first + np.arange(int(unknown.sum()), dtype=np.int32)
    return own


def _water_fill(
    sizes: NDArray[np.float64], limit: NDArray[np.float64], need: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each rack gets so that sum(got^2 / size) is least: as even per broker as the limits of each class permit.

    `limit` is [classes, racks], `need` [classes]. Class by class against what the others put there, until nothing
    changes; the objective is convex and each class has its own constraints, so this ends in the optimum.
    """
    put = np.zeros_like(limit)
    tiny = 1e-13 * max(float(need.sum()), 1e-300)
    for _ in range(1000):
        moved = 0.0
        for index in range(len(need)):
            others = put.sum(axis=0) - put[index]
            filled = pour(sizes, others, limit[index], need[index])
            moved = max(moved, float(np.abs(filled - put[index]).max(initial=0.0)))
            put[index] = filled
        if moved <= tiny or len(need) == 1:
            break
    return np.asarray(put.sum(axis=0))


def pour(
    sizes: NDArray[np.float64], under: NDArray[np.float64], limit: NDArray[np.float64], need: float
) -> NDArray[np.float64]:
    """Water-filling: what each vessel gets of `need`, to one common level of (under + got) / size, at most `limit`.

    `under` is what they hold already. When the limits are too tight for `need` every vessel gets its limit.
    """
    open_ = (limit > 0) & (sizes > 0)
    poured = np.zeros_like(limit)
    if not open_.any() or need <= 0:
        return poured
    size, base, top = sizes[open_], under[open_], limit[open_]
    if need >= top.sum():
        poured[open_] = top
        return poured
    levels = np.concatenate([base / size, (base + top) / size])
    order = np.argsort(levels, kind="stable")
    slopes = np.cumsum(np.concatenate([size, -size])[order])
    levels = levels[order]
    volume = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(levels))])
    at = min(int(np.searchsorted(volume, need, side="right")) - 1, len(levels) - 2)
    level = levels[at] + (need - volume[at]) / slopes[at] if slopes[at] > 0 else levels[at]
    poured[open_] = np.clip(level * size - base, 0.0, top)
    return poured
