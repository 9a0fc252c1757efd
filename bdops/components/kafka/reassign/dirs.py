"""Moves between the log directories of one broker (KIP-113): begun, watched, cancelled, taken back.

A broker copies to a future replica beside the current one and exchanges them when it has caught up: what the
directories hold tells all that a resume needs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bdops.components.kafka import alter
from bdops.components.kafka.reassign.carry import ALTER_TIMEOUT_S, INTERVAL_S, STALLED_S, Reassigner
from bdops.components.kafka.reassign.throttle import DIRS_RATE
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step, Target
from bdops.core.units import format_duration, format_size, parse_rate, plural
from bdops.errors import OperationFailed, StateUnknown

THROTTLE_DIRS, MOVE_DIRS, UNTHROTTLE_DIRS = "throttle-dirs", "move-dirs", "unthrottle-dirs"
ACTS = (THROTTLE_DIRS, MOVE_DIRS, UNTHROTTLE_DIRS)
READINGS = frozenset({"servers", "brokers", "log_dirs", "broker_configs"})

Phase = Literal["done", "moving", "waiting", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirMove:
    """A replica of a broker, from one of its directories to another."""

    partition: str
    broker: int
    source: str
    target: str
    size_bytes: int


def dir_targets(cluster: str, moves: Iterable[DirMove], *, throttle: str, slots: int) -> tuple[Target, ...]:
    """One target a broker, all of which may go on at the same time: they copy within themselves."""
    by_broker: dict[int, list[DirMove]] = {}
    for move in moves:
        by_broker.setdefault(move.broker, []).append(move)
    limited = throttle not in ("auto", "none")
    return tuple(
        Target(
            name=f"{cluster}/kafka broker {broker} directories",
            acts=ACTS if limited else (MOVE_DIRS,),
            rank=number,
            role="directories",
            note=f"{plural(len(mine), 'replica')}, {format_size(sum(m.size_bytes for m in mine))}",
            args={
                "broker": broker,
                "throttle": throttle,
                "slots": slots,
                "dirs": {m.partition: {"source": m.source, "target": m.target, "bytes": m.size_bytes} for m in mine},
            },
        )
        for number, (broker, mine) in enumerate(sorted(by_broker.items()), 1)
    )


def dir_phases(state: KafkaState, args: Mapping[str, Any]) -> dict[str, Phase]:
    """How far each move of a step has come. Raises StateUnknown when the broker's directories are not known."""
    mine = [d for d in state.log_dirs or () if d.broker == args["broker"]]
    if not mine:
        why = state.unread.get("log_dirs") or next((w for k, w in state.unread.items() if "log_dirs" in k), "not read")
        raise StateUnknown(f"the log directories of broker {args['broker']} are not known: {why}", where=state.cluster)
    current = {p: d.path for d in mine for p in d.replicas}
    future = {p: d.path for d in mine for p in d.moving_in}
    found: dict[str, Phase] = {}
    for partition, move in args["dirs"].items():
        if partition not in current:
            found[partition] = "gone"
        elif partition in future:
            found[partition] = "moving"
        else:
            found[partition] = "done" if current[partition] == move["target"] else "waiting"
    return found


def dir_progress(state: KafkaState, args: Mapping[str, Any]) -> Progress:
    """Whether all moves of a step are done."""
    left = [p for p, phase in dir_phases(state, args).items() if phase in ("moving", "waiting")]
    return pending(f"{plural(len(left), 'replica')} to change directory: {', '.join(left[:3])}") if left else DONE


def dirs_back(state: KafkaState, steps: Sequence[Step]) -> tuple[Target, ...]:
    """Targets that take back what steps have moved between directories."""
    back = []
    throttle, slots = "none", 5
    for step in steps:
        if MOVE_DIRS not in step.acts:
            continue
        throttle, slots = step.args["throttle"], step.args["slots"]
        for partition, phase in dir_phases(state, step.args).items():
            move = step.args["dirs"][partition]
            if phase == "done":
                back.append(
                    DirMove(
                        partition=partition,
                        broker=step.args["broker"],
                        source=move["target"],
                        target=move["source"],
                        size_bytes=move["bytes"],
                    )
                )
    return dir_targets(state.cluster, back, throttle=throttle, slots=slots)


def perform_dirs(reassigner: Reassigner, step: Step, act: str, context: ActContext) -> None:
    """Carry out one of the acts. Raises BdopsError to pause the job."""
    object = f"broker {step.args['broker']}"
    if act == THROTTLE_DIRS:
        state = reassigner.read(READINGS)
        if (state.broker_configs or {}).get(str(step.args["broker"]), {}).get(DIRS_RATE) is None:
            value = str(parse_rate(step.args["throttle"]))
            context.borrow(object, DIRS_RATE, previous=None, value=value)
            reassigner.set_configs(object, {DIRS_RATE: value})
    elif act == UNTHROTTLE_DIRS:
        if context.borrowed(object, DIRS_RATE):
            context.give_back(object, DIRS_RATE)
    else:
        _move(reassigner, step, context)


def _move(reassigner: Reassigner, step: Step, context: ActContext) -> None:
    last: list[str] = []
    changed_s = time.monotonic()
    while True:
        phases = dir_phases(reassigner.read(READINGS), step.args)
        left = [p for p, phase in phases.items() if phase in ("moving", "waiting")]
        if not left:
            return
        if left != last:
            last, changed_s = left, time.monotonic()
        elif time.monotonic() - changed_s > STALLED_S:
            raise OperationFailed(
                f"no replica changed its directory for {format_duration(STALLED_S)}: {', '.join(left[:4])}",
                hint="bdops kafka log-dirs",
                code="MOVES_STALLED",
            )
        moving = sum(1 for phase in phases.values() if phase == "moving")
        ready = [p for p, phase in phases.items() if phase == "waiting"][: max(0, step.args["slots"] - moving)]
        if ready:
            _alter(reassigner, step, {p: step.args["dirs"][p]["target"] for p in ready})
        context.waiting(f"{len(phases) - len(left)} of {plural(len(phases), 'replica')} have changed directory")
        context.wait(INTERVAL_S)


def cancel_dirs(reassigner: Reassigner, step: Step) -> None:
    """Cancel what is in flight of a step: to be where it is is what those replicas are asked for."""
    phases = dir_phases(reassigner.read(READINGS), step.args)
    back = {p: step.args["dirs"][p]["source"] for p, phase in phases.items() if phase == "moving"}
    if back:
        _alter(reassigner, step, back)


def _alter(reassigner: Reassigner, step: Step, wanted: Mapping[str, str]) -> None:
    deadline = time.monotonic() + ALTER_TIMEOUT_S
    reassigner.with_connection(deadline, lambda c: alter.alter_dirs(c, wanted, deadline), step.args["broker"])
