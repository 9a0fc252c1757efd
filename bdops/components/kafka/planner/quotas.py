"""How much each broker is to give and to get, so that what is moved equals the floor.

Both sides are equal by construction: where more must leave than is lacked the receivers are filled to a level inside
their bands, where more is lacked than must leave the fullest give down to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.domains import pour
from bdops.components.kafka.planner.racks import RackFlow, rack_flow, rack_limits
from bdops.components.kafka.planner.work import Work

_MARGIN = 1e-4
"""What a receiver is given above the lower edge of its band, in parts of its share: replicas do not add up exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Of the first aim, by broker: what leaves it and what comes to it."""

    out: NDArray[np.float64]
    into: NDArray[np.float64]


def quotas(work: Work, pending: float) -> Quotas:
    """The quotas, `pending` being what has been taken out of brokers already (or is new) and must be placed too."""
    load, low, high, share = work.load[0], work.low[0], work.high[0], work.shares[0]
    take_part = work.where.receivers
    low = np.where(low > 0, np.minimum(low + _MARGIN * share, high), low)
    surplus = np.where(take_part, np.maximum(load - high, 0.0), 0.0)
    lack = np.where(take_part, np.maximum(low - load, 0.0), 0.0)
    ceiling = np.where(take_part, np.minimum(high, 2.0 * share.sum() + load), 0.0)
    may_get = np.maximum(ceiling - load, 0.0)
    if work.aims[0].name == "bytes":
        lack, may_get = np.minimum(lack, work.room), np.minimum(may_get, work.room)
    may_give = np.where(take_part, np.maximum(load - low, 0.0), 0.0)
    rack, racks = work.where.rack, len(work.where.rack_sizes)
    leaves = max(float(surplus.sum()), float(lack.sum()) - pending)
    into = pour(share, load, may_get, leaves + pending)

    def by_rack(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(rack, weights=values, minlength=racks).astype(np.float64)

    flow = rack_flow(
        rack_limits(work, work.aims[0].weight),
        by_rack(load),
        by_rack(lack),
        by_rack(surplus),
        by_rack(may_get),
        by_rack(may_give),
        by_rack(into),
    )
    if flow is None:
        return Quotas(out=pour(share, -load, may_give, leaves), into=into)
    return _within_racks(work, flow, may_get, may_give)


def _within_racks(work: Work, flow: RackFlow, may_get: NDArray[np.float64], may_give: NDArray[np.float64]) -> Quotas:
    load, share, rack = work.load[0], work.shares[0], work.where.rack
    out, into = np.zeros_like(load), np.zeros_like(load)
    for number in range(len(flow.added)):
        here = np.flatnonzero((rack == number) & work.where.receivers)
        if len(here):
            into[here] = pour(share[here], load[here], may_get[here], float(flow.added[number]))
            out[here] = pour(share[here], -load[here], may_give[here], float(flow.removed[number]))
    return Quotas(out=out, into=into)
