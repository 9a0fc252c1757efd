"""Bring what is still out of its band back in: single moves, then swaps, the worst first, the cheapest that helps.

The sum over brokers and aims of how far each is out of its band (in parts of its share) falls with every step, so it
ends; it is capped in steps besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdops.components.kafka.planner.work import Work

_NEAR, _SMALL, _SPACED, _FRESH = 16, 6, 12, 16
"""How many of a broker's replicas are tried: nearest to what is amiss, smallest, at even distances, just placed."""
_PARTNERS = 8
_GOOD = 0.5
"""A step may help this much less than the best one if it is cheaper."""
_LEAST_GAIN = 1e-9
_PATIENCE, _WORTH_IT = 200, 0.98
"""So many steps must bring what is out of band down to this part, or it is left at that."""


def repair(work: Work, steps: int) -> None:
    """Improve `work` in at most so many steps."""
    bench = _Bench(work)
    stuck: set[tuple[int, int]] = set()
    before = np.inf
    for step in range(steps):
        astray = work.astray()
        if step % _PATIENCE == 0:
            now = float(astray.sum())
            if now > _WORTH_IT * before:
                return
            before = now
        for aim, broker in stuck:
            astray[aim, broker] = 0.0
        aim, broker = divmod(int(np.argmax(astray)), astray.shape[1])
        if astray[aim, broker] <= _LEAST_GAIN:
            return
        touched = bench.improve(aim, broker)
        if touched:
            stuck = {entry for entry in stuck if entry[1] not in touched}
        else:
            stuck.add((aim, broker))


def take_back(work: Work) -> None:
    """Undo moves that were not needed, the largest first: back to where the row was, if all stay in their bands.

    Brokers that are out of their bands are not made worse.
    """
    slots = np.flatnonzero(work.flat >= 0)
    slots = slots[work.cost(slots) > 0]
    slots = slots[np.lexsort((slots, -work.size[slots // work.width]))]
    rows, homes = slots // work.width, work.origin[slots // work.width]
    # A row may be where it was before, so room on the disk is no question, and only its own moves change what it may.
    allowed = np.stack([work.allowed_on(slots, homes[:, column]) for column in range(work.width)], axis=1)
    load, low, high = (table.T.tolist() for table in (work.load, work.low, work.high))
    changed: set[int] = set()
    for slot, now, row, weight, back, may in zip(
        slots.tolist(),
        work.flat[slots].tolist(),
        rows.tolist(),
        work.weights[:, rows].T.tolist(),
        homes.tolist(),
        allowed.tolist(),
        strict=True,
    ):
        if any(have - part < least for have, part, least in zip(load[now], weight, low[now], strict=True)):
            continue
        for home, possible in zip(back, may, strict=True):
            if home < 0 or not (possible or row in changed):
                continue
            if any(have + part > most for have, part, most in zip(load[home], weight, high[home], strict=True)):
                continue
            if row in changed and not work.allowed_on(np.array([slot], dtype=np.int64), home)[0]:
                continue
            work.move(slot, home)
            changed.add(row)
            load[now], load[home] = work.load[:, now].tolist(), work.load[:, home].tolist()
            break


@dataclass(slots=True)
class _Best:
    """The cheapest of the good steps found so far: what it gains, what it costs, the moves it is made of."""

    gain: float
    cost: float
    moves: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """A broker's slots, smallest first, their weights [aims, slots], and which of them were not here before."""

    slots: NDArray[np.int64]
    weights: NDArray[np.float64]
    fresh: NDArray[np.int64]


class _Bench:
    def __init__(self, work: Work) -> None:
        self.work = work
        work.sort()
        self.arrived: dict[int, list[int]] = {}
        self.held: dict[int, _Held] = {}
        slots = np.flatnonzero(work.flat >= 0)
        cost = work.cost(slots)
        self.fresh_bytes = np.bincount(work.flat[slots], weights=cost, minlength=work.load.shape[1])
        self.spread = np.maximum(work.shares, 1e-9)

    def improve(self, aim: int, broker: int) -> set[int]:
        """Take one step for an aim of a broker out of its band; the brokers it touched, none when nothing helps."""
        work = self.work
        over = float(work.load[aim, broker] - work.high[aim, broker])
        if over > 0:
            best = self._move_out(aim, broker, over)
        else:
            best = self._move_in(aim, broker, -over)
        if best is None or best.cost > 0:
            swap = self._swap(aim, broker, over)
            if best is None or (swap is not None and swap.cost * best.gain < best.cost * swap.gain):
                best = swap
        if best is None:
            return set()
        touched = set()
        for slot, to in best.moves:
            touched |= {int(work.flat[slot]), to}
            work.move(slot, to)
            self.arrived.setdefault(to, []).append(slot)
        for index in touched:
            self.held.pop(index, None)
        return touched

    def _held(self, broker: int) -> _Held:
        """What a broker holds now, kept until one of its replicas changes."""
        if broker not in self.held:
            work = self.work
            slots = work.slots_of(broker)
            came = [slot for slot in dict.fromkeys(self.arrived.get(broker, ())) if work.flat[slot] == broker]
            if came:
                slots = np.concatenate([slots, np.array(came, dtype=np.int64)])
                slots = slots[np.lexsort((slots, work.size[slots // work.width]))]
                slots = slots[np.append(True, slots[1:] != slots[:-1])]
            rows = slots // work.width
            fresh = np.flatnonzero(work.cost(slots) > 0)
            self.held[broker] = _Held(slots=slots, weights=work.weights[:, rows], fresh=fresh)
        return self.held[broker]

    def _candidates(self, aim: int, broker: int, amount: float) -> NDArray[np.int64]:
        """The slots worth trying, ascending by size; all of a small broker."""
        held = self._held(broker)
        count = len(held.slots)
        if count <= _NEAR + _SMALL + _SPACED + 2 * _FRESH:
            return held.slots
        near = np.argpartition(np.abs(held.weights[aim] - amount), _NEAR)[:_NEAR]
        chosen = [near, np.arange(_SMALL), np.arange(_SPACED) * (count - 1) // (_SPACED - 1)]
        fresh = held.fresh
        if len(fresh) > 2 * _FRESH:
            away = np.abs(held.weights[aim, fresh] - amount)
            chosen.append(fresh[np.argpartition(away, _FRESH)[:_FRESH]])
            fresh = fresh[np.arange(_FRESH) * (len(fresh) - 1) // (_FRESH - 1)]
        chosen.append(fresh)
        return held.slots[np.unique(np.concatenate(chosen))]

    def _penalty(self, brokers: NDArray[np.int64], load: NDArray[np.float64]) -> NDArray[np.float64]:
        """[aims, ..., brokers] loads -> [..., brokers]: how far these brokers would be out of their bands in all."""
        work = self.work
        shape = (len(work.aims),) + (1,) * (load.ndim - 2) + (len(brokers),)
        low, high = work.low[:, brokers].reshape(shape), work.high[:, brokers].reshape(shape)
        out = np.maximum(np.maximum(load - high, low - load), 0.0)
        return np.asarray((out / self.spread[:, brokers].reshape(shape)).sum(axis=0))

    def _cost(self, slots: NDArray[np.int64], brokers: NDArray[np.int64]) -> NDArray[np.float64]:
        """[slots, brokers]: bytes that moving a slot to a broker costs more than leaving it where it is."""
        work = self.work
        rows = slots // work.width
        home = (work.origin[rows][:, None, :] == brokers[None, :, None]).any(axis=2)
        return np.where(home, 0.0, work.size[rows][:, None].astype(np.float64)) - work.cost(slots)[:, None]

    def _pick(
        self, gain: NDArray[np.float64], cost: NDArray[np.float64], possible: NDArray[np.bool_]
    ) -> tuple[int, ...] | None:
        gain = np.where(possible, gain, -np.inf)
        top = float(gain.max(initial=-np.inf))
        if top <= _LEAST_GAIN:
            return None
        good = gain >= max(_GOOD * top, _LEAST_GAIN)
        least = np.where(good, cost, np.inf)
        level = float(least.min())
        index = int(np.argmax(np.where(good & (least <= level), gain, -np.inf)))
        return tuple(int(part) for part in np.unravel_index(index, gain.shape))

    def _move_out(self, aim: int, broker: int, amount: float) -> _Best | None:
        work = self.work
        slots = self._candidates(aim, broker, amount)
        if not len(slots):
            return None
        everyone = np.arange(work.load.shape[1])
        allowed = work.allowed(slots)
        weight = work.weights[:, slots // work.width]
        here = np.array([broker])
        before = self._penalty(here, work.load[:, here])[0] + self._penalty(everyone, work.load)
        after = self._penalty(here, (work.load[:, here] - weight)[:, :, None])
        after = after + self._penalty(everyone, work.load[:, None, :] + weight[:, :, None])
        gain, cost = before - after, self._cost(slots, everyone)
        found = self._pick(gain, cost, allowed)
        if found is None:
            return None
        slot, to = found
        return _Best(float(gain[slot, to]), float(cost[slot, to]), ((int(slots[slot]), to),))

    def _partners(self, aim: int, broker: int, spare: NDArray[np.float64]) -> list[int]:
        """Receivers with the most to spare: of all, of the same rack, and of those whose new replicas cost nothing."""
        work = self.work
        spare = np.where(work.where.receivers, spare / self.spread[aim], -np.inf)
        spare[broker] = -np.inf
        order = np.argsort(-spare, kind="stable")
        same = order[work.where.rack[order] == work.where.rack[broker]]
        fresh = order[self.fresh_bytes[order] > 0]
        near = same[self.fresh_bytes[same] > 0]
        half = _PARTNERS // 2
        chosen = dict.fromkeys([*order[:half].tolist(), *same[:half].tolist(), *fresh[:half].tolist(), *near[:half]])
        return [int(index) for index in chosen if np.isfinite(spare[index])]

    def _donors(self, aim: int, broker: int) -> list[int]:
        return self._partners(aim, broker, self.work.load[aim] - self.work.low[aim])

    def _takers(self, aim: int, broker: int) -> list[int]:
        return self._partners(aim, broker, self.work.high[aim] - self.work.load[aim])

    def _move_in(self, aim: int, broker: int, amount: float) -> _Best | None:
        work = self.work
        parts = [self._candidates(aim, donor, amount) for donor in self._donors(aim, broker)]
        slots = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        if not len(slots):
            return None
        here = np.array([broker])
        allowed = work.allowed_on(slots, broker)[:, None]
        weight = work.weights[:, slots // work.width]
        source = work.flat[slots].astype(np.int64)
        before = self._penalty(source, work.load[:, source]) + self._penalty(here, work.load[:, here])[0]
        after = self._penalty(source, work.load[:, source] - weight)
        after = after + self._penalty(here, (work.load[:, here] + weight)[:, :, None])[:, 0]
        gain, cost = (before - after)[:, None], self._cost(slots, here)
        found = self._pick(gain, cost, allowed)
        if found is None:
            return None
        return _Best(float(gain[found]), float(cost[found]), ((int(slots[found[0]]), broker),))

    def _swap(self, aim: int, broker: int, over: float) -> _Best | None:
        """One replica for another with each of the likeliest partners; the cheapest of the good swaps."""
        work = self.work
        partners = self._takers(aim, broker) if over > 0 else self._donors(aim, broker)
        ours = self._candidates(aim, broker, abs(over))
        if not len(ours):
            return None
        our_weight = work.weights[:, ours // work.width]
        here = np.array([broker])
        best: _Best | None = None
        for partner in partners:
            there = np.array([partner])
            theirs = self._candidates(aim, partner, abs(over))
            if not len(theirs):
                continue
            change = work.weights[:, theirs // work.width][:, None, :] - our_weight[:, :, None]
            before = self._penalty(here, work.load[:, here])[0] + self._penalty(there, work.load[:, there])[0]
            after = self._penalty(here, (work.load[:, here][:, :, None] + change)[..., None])[..., 0]
            after = after + self._penalty(there, (work.load[:, there][:, :, None] - change)[..., None])[..., 0]
            possible = work.allowed_on(ours, partner)[:, None] & work.allowed_on(theirs, broker)[None, :]
            possible &= (ours // work.width)[:, None] != (theirs // work.width)[None, :]
            gain = before - after
            cost = self._cost(ours, there) + self._cost(theirs, here).T
            found = self._pick(gain, cost, possible)
            if found is None:
                continue
            value = float(gain[found])
            if best is None or (value >= _GOOD * best.gain and float(cost[found]) < best.cost):
                moves = ((int(ours[found[0]]), partner), (int(theirs[found[1]]), broker))
                best = _Best(value, float(cost[found]), moves)
        return best
