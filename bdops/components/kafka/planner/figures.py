"""The figures of a plan: what moves, loads before and after, imbalance, the fullest disks, the time it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import Domains, band, current_leaders, domains, even_shares
from bdops.components.kafka.planner.model import Layout, Measure, Proposal, Request
from bdops.components.kafka.planner.rows import added, as_wide

MEASURES: tuple[Measure, ...] = ("count", "bytes", "leaders", "bytes-in")

Loads = dict[Measure, NDArray[np.float64]]
"""Per broker, of each measure that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between a layout and the new replicas of its rows.

    `rows` are those whose list of replicas changes in any way; `added` [len(rows), width] marks the places of the
    new row that are copies to be made. `in_bytes` and `out_bytes` are per broker: what it fetches, and what it serves
    as the leader that others fetch from. `leader_rows` are those whose preferred leader after is not the current one.
    """

    rows: NDArray[np.int64]
    added: NDArray[np.bool_]
    moved_replicas: int
    moved_bytes: int
    in_bytes: NDArray[np.int64]
    out_bytes: NDArray[np.int64]
    leader_rows: NDArray[np.int64]

    @property
    def leader_changes(self) -> int:
        return len(self.leader_rows)

    def duration_s(self, bytes_per_s: float) -> float:
        """The least time at a rate that each broker may fetch and serve, by the busiest broker on either side."""
        busiest = max(int(self.in_bytes.max(initial=0)), int(self.out_bytes.max(initial=0)))
        return busiest / bytes_per_s


def changes(layout: Layout, replicas: NDArray[np.int16]) -> Changes:
    """Compare the new replicas of every row with the layout's."""
    width = max(layout.replicas.shape[1], replicas.shape[1])
    old, new = as_wide(layout.replicas, width), as_wide(replicas, width)
    rows = np.flatnonzero((old != new).any(axis=1))
    old, new = old[rows], new[rows]
    fresh = added(old, new)
    sizes = layout.size_bytes[rows]
    copies = fresh.sum(axis=1)
    brokers = len(layout.brokers)
    leaders = current_leaders(layout)
    return Changes(
        rows=rows,
        added=fresh,
        moved_replicas=int(copies.sum()),
        moved_bytes=int((copies * sizes).sum()),
        in_bytes=_sums(new[fresh], np.repeat(sizes, copies), brokers),
        out_bytes=_sums(leaders[rows], copies * sizes, brokers),
        leader_rows=np.flatnonzero(replicas[:, 0] != leaders),
    )


def loads(layout: Layout, replicas: NDArray[np.int16], leaders: NDArray[np.int16]) -> Loads:
    """What every broker carries under these replicas and leaders."""
    brokers = len(layout.brokers)
    present = replicas >= 0
    held = replicas[present]
    factors = present.sum(axis=1)
    found: Loads = {
        "count": np.bincount(held, minlength=brokers).astype(np.float64),
        "bytes": _sums(held, np.repeat(layout.size_bytes, factors), brokers).astype(np.float64),
        "leaders": np.bincount(leaders, minlength=brokers).astype(np.float64),
    }
    if layout.bytes_in is not None:
        rates = np.repeat(layout.bytes_in, factors)
        found["bytes-in"] = np.bincount(held, weights=rates, minlength=brokers).astype(np.float64)
    return found


def loads_before(layout: Layout) -> Loads:
    """What every broker carries now."""
    return loads(layout, layout.replicas, current_leaders(layout))


def loads_after(layout: Layout, replicas: NDArray[np.int16]) -> Loads:
    """What every broker carries once the plan is carried out and preferred leaders lead."""
    return loads(layout, replicas, replicas[:, 0])


def shares_of(layout: Layout, request: Request, measure: Measure) -> NDArray[np.float64]:
    """Each broker's even share of a measure under a request; 0 for those that receive nothing."""
    where = domains(layout, request)
    if measure == "leaders":
        share = len(layout) / max(int(where.receivers.sum()), 1)
        return np.where(where.receivers, share, 0.0)
    weights: dict[Measure, NDArray[np.int64] | NDArray[np.float64] | None] = {
        "count": np.ones(len(layout), dtype=np.int64),
        "bytes": layout.size_bytes,
        "bytes-in": layout.bytes_in,
    }
    weight = weights[measure]
    assert weight is not None, "rates are not known"
    return even_shares(layout, request, where, weight)


def imbalance(load: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """How far the worst broker is from its even share, as a fraction of it. 0 when nobody has a share."""
    having = shares > 0
    if not having.any():
        return 0.0
    return float((np.abs(load[having] - shares[having]) / shares[having]).max())


def imbalance_now(layout: Layout, request: Request) -> float:
    """The imbalance of a layout as it is, in the first measure of a request as `propose.possible` returned it."""
    measure = _first_measure(request)
    return imbalance(loads_before(layout)[measure], shares_of(layout, request, measure))


def _first_measure(request: Request) -> Measure:
    return request.balance[0] if request.balance else "count"


def peak_bytes(layout: Layout, change: Changes) -> NDArray[np.int64]:
    """What is used of each broker's disks at the worst: all that is there now, and all that is added."""
    brokers = layout.brokers
    return brokers.total_bytes - brokers.usable_bytes + change.in_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A proposal with its figures, all from the layout and the new replicas alone. Per broker, by measure.

    `shares` are the even shares and `bands` the (lowest, highest) loads that were asked for.
    """

    layout: Layout
    request: Request
    proposal: Proposal
    where: Domains
    change: Changes
    before: Loads
    after: Loads
    shares: Loads
    bands: dict[Measure, tuple[NDArray[np.int64], NDArray[np.int64]]]

    @property
    def gap(self) -> float | None:
        """How much more is moved than the proven bound, as a fraction of the bound, in bytes; 0 is the optimum.

        None when nothing is proved to have to move, or the plan falls short of what was asked.
        """
        return gap(self.change.moved_bytes, self.proposal.bound.moved_bytes)

    @property
    def gap_replicas(self) -> float | None:
        """The same of replicas."""
        return gap(self.change.moved_replicas, self.proposal.bound.moved_replicas)

    @property
    def measure(self) -> Measure:
        """The measure that the imbalance is told of: the first that was asked for."""
        return _first_measure(self.request)

    def imbalance(self, *, after: bool, measure: Measure | None = None) -> float:
        """The worst broker's distance from its share, as a fraction of the share."""
        measure = measure or self.measure
        return imbalance((self.after if after else self.before)[measure], self.shares[measure])


def outcome(layout: Layout, request: Request, proposal: Proposal) -> Outcome:
    """Work out a proposal's figures. `request` is as `propose.possible` returned it."""
    where = domains(layout, request)
    before = loads_before(layout)
    shares = {measure: shares_of(layout, request, measure) for measure in before}
    return Outcome(
        layout=layout,
        request=request,
        proposal=proposal,
        where=where,
        change=changes(layout, proposal.replicas),
        before=before,
        after=loads_after(layout, proposal.replicas),
        shares=shares,
        bands={m: band(shares[m], where.receivers, request.tolerance[m]) for m in request.balance},
    )


def gap(moved: int, bound: int) -> float | None:
    """How much more is moved than a bound, as a fraction of it.

    None when there is no telling: nothing is proved to have to move, or less is moved than all that was asked needs.
    """
    if moved < bound or (moved and not bound):
        return None
    return (moved - bound) / bound if bound else 0.0


def racks_of(layout: Layout) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Every rack with the indexes of its brokers; those without one come last, together, as `-`."""
    for n, name in enumerate((*layout.brokers.racks, "-")):
        members = np.flatnonzero(layout.brokers.rack == (n if n < len(layout.brokers.racks) else -1))
        if len(members):
            yield name, members


def _sums(index: NDArray[np.int16], values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Exact integer sums by index; bincount's floats would lose bytes above 2^53."""
    found = np.zeros(length, dtype=np.int64)
    np.add.at(found, index, values)
    return found
