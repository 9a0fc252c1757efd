"""Plans for bytes, rates and very many replicas: near the floor, in seconds.

Evening out bytes is NP-hard, so this is not exact: a floor is proved (bound.py), quotas that meet it are set
(quotas.py), replicas are chosen (forced.py, sampling.py) and placed (greedy.py), and what is left over is repaired
(repair.py). Where racks are so tight that the placing fails, a linear program over racks does both (fluid.py). The gap
to the floor is what a plan is judged by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.bound import lower_bound
from bdops.components.kafka.planner.fluid import MOST_RACKS, flow_round
from bdops.components.kafka.planner.forced import take_forced
from bdops.components.kafka.planner.greedy import place, place_anywhere
from bdops.components.kafka.planner.model import Layout, Proposal, Request
from bdops.components.kafka.planner.quotas import quotas
from bdops.components.kafka.planner.repair import repair, take_back
from bdops.components.kafka.planner.rows import moved_bytes
from bdops.components.kafka.planner.sampling import sample_all
from bdops.components.kafka.planner.work import Work, name_brokers

_STEPS = 3000
_PASSES = 3
_TIGHT = 0.002
"""What receivers are out of their bands on average, in parts of their shares, when placing largest first has failed."""
_FLUID_ROUNDS = 6
_SMALL = 1000
"""Slots below which replicas are too few to be taken for a fluid; repair tries nearly all of them anyway."""
_LARGE = 200_000
"""Slots above which what was not placed well is not repaired for comparison: it takes long and does not win."""
_WORTH_IT = 0.95
"""A plan that only makes things better must bring what is out of band down to this part: else nothing is done, so that
what one plan has left a second one leaves too."""
_IN_BAND = 1e-9


def propose_bytes(layout: Layout, request: Request) -> Proposal:
    """A plan that moves close to the fewest bytes; never worse than doing nothing, unchanged where all is well.

    The order of each row is kept: what is added takes the place of what is removed. Raises ValueError when bytes-in is
    to be balanced and the layout has no rates.
    """
    work = Work(layout, request)
    bound = lower_bound(work)
    methods: list[str] = []
    for _ in range(_PASSES):
        if _all_well(work):
            break
        start, state = work.replicas.copy(), _state(work)
        method = _one_pass(work)
        if not _better(_state(work), state):
            work.restore(start)
            break
        methods.append(method)
    if methods:
        take_back(work)
    moved = moved_bytes(work.origin, work.replicas, work.size)
    residual = _residual(work)
    return Proposal(
        replicas=_compact(work),
        bound=bound,
        optimal=not residual and moved <= bound.moved_bytes,
        method=", then ".join(dict.fromkeys(methods)) or "nothing to do",
        residual=tuple(residual),
    )


def _one_pass(work: Work) -> str:
    """Plan once from where things stand; says how."""
    start = work.replicas.copy()
    _greedy(work)
    tight = float(work.astray().sum()) > _TIGHT * int(work.where.receivers.sum())
    if not tight or len(work.where.rack_sizes) > MOST_RACKS or len(work.flat) < _SMALL:
        repair(work, _STEPS)
        return "largest first by quotas"
    greedy = work.replicas.copy()
    work.restore(start)
    if not _fluid(work):
        work.restore(greedy)
        repair(work, _STEPS)
        return "largest first by quotas"
    repair(work, _STEPS)
    if _all_well(work) and len(work.flat) > _LARGE:
        return "a linear program over racks"
    fluid = work.replicas.copy()
    rank = (*_state(work), moved_bytes(work.origin, work.replicas, work.size))
    work.restore(greedy)
    repair(work, _STEPS)
    if (*_state(work), moved_bytes(work.origin, work.replicas, work.size)) <= rank:
        return "largest first by quotas"
    work.restore(fluid)
    return "a linear program over racks"


def _greedy(work: Work) -> None:
    slots = take_forced(work)
    quota = quotas(work, float(work.weights[0, slots // work.width].sum()))
    chosen = sample_all(work, quota.out)
    work.take(chosen)
    _put_back(work, place_anywhere(work, place(work, np.concatenate([slots, chosen]), quota.into)))


def _fluid(work: Work) -> bool:
    """Rounds of the linear program until they help no more; False when there is none that can be solved."""
    slots = take_forced(work)
    before = np.inf
    for number in range(_FLUID_ROUNDS):
        start = work.replicas.copy()
        left = flow_round(work, slots)
        if left is None:
            if number == 0:
                return False
            break
        _put_back(work, left)
        slots = np.zeros(0, dtype=np.int64)
        now = float(work.astray().sum())
        if now > before:
            work.restore(start)
            break
        if now > 0.5 * before:
            break
        before = now
    return True


def _put_back(work: Work, slots: NDArray[np.int64]) -> None:
    """What has no place stays where it was before the plan; new copies are left out."""
    for slot in slots.tolist():
        row = slot // work.width
        for was in work.origin[row].tolist():
            if was >= 0 and was not in work.replicas[row]:
                work.move(slot, was)
                break


def _state(work: Work) -> tuple[int, int, int, float]:
    return (*work.wrong(), float(work.astray().sum()))


def _all_well(work: Work) -> bool:
    return _state(work) <= (0, 0, 0, _IN_BAND)


def _better(after: tuple[int, int, int, float], before: tuple[int, int, int, float]) -> bool:
    return after[:3] < before[:3] or (after[:3] == before[:3] and after[3] <= _WORTH_IT * before[3] - _IN_BAND)


def _compact(work: Work) -> NDArray[np.int16]:
    """Rows without gaps, their order kept, as wide as the widest."""
    order = np.argsort(work.replicas < 0, axis=1, kind="stable")
    width = int((work.replicas >= 0).sum(axis=1).max(initial=1))
    return np.ascontiguousarray(np.take_along_axis(work.replicas, order, axis=1)[:, :width])


def _residual(work: Work) -> list[str]:
    said = []
    count, crowded, update = work.wrong()
    if count:
        said.append(f"{count} replicas are missing, too many, or still on brokers that are to be empty")
    if crowded:
        said.append(f"{crowded} replicas are more than their rack should hold of their partition")
    if update:
        said.append(f"{update} replicas are more than their update domain should hold of their partition")
    full = np.flatnonzero(work.room < 0)
    if len(full):
        said.append(f"the disk watermark is passed on {name_brokers(work.layout, full.tolist())}")
    astray = work.astray()
    for number, aim in enumerate(work.aims):
        out = np.flatnonzero(astray[number] > _IN_BAND)
        if len(out):
            worst = int(np.argmax(astray[number]))
            said.append(
                f"{aim.name}: {len(out)} brokers are out of their bands ({name_brokers(work.layout, out.tolist())}), "
                f"the worst, {work.layout.brokers.ids[worst]}, by {astray[number, worst]:.2%} of its share"
            )
    return said
