"""Carries a planned reassignment out as a job: what `bdops kafka rebalance` and its like do once the plan is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, rolling

if TYPE_CHECKING:
    from bdops.cli.frame import App, Session
    from bdops.components.kafka.planner.disks import DisksPlan
    from bdops.components.kafka.planner.figures import Outcome
    from bdops.components.kafka.reassign.order import Pace
    from bdops.components.kafka.standing import Cluster
    from bdops.core.plan import Target


Throttle = Annotated[
    str | None,
    typer.Option(
        "--throttle",
        callback=frame.parse_throttle,
        metavar="RATE",
        help="What a broker may copy: 50MB/s, none, or auto, which finds out what the cluster stands; auto if absent.",
    ),
]
Slots = Annotated[int, typer.Option("--slots", min=1, help="Replicas at a time into, and out of, a broker.")]
OneAtATime = Annotated[bool, typer.Option("--one-at-a-time", help="Of a partition, one replica after the other.")]


def register(app: App) -> None:
    """Give `bdops kafka` what carries moves out, and more than moves."""

    @app.command()
    def decommission(
        ctx: typer.Context,
        broker: Annotated[str, typer.Argument(metavar="BROKER", help="Which, for good: node4, 4.")],
        throttle: Throttle = None,
        slots: Slots = 5,
        one_at_a_time: OneAtATime = False,
        accept_risk: rolling.AcceptRisk = None,
    ) -> None:
        """Take a broker out for good: drain it, see that its log directories are empty, stop it, unregister it.

        Example: bdops kafka decommission node4 --throttle 50MB/s --reason 'lease is over'
        """
        from bdops.cli.kafka_rebalance import plan
        from bdops.cli.kafka_request import asked_of

        def last(cluster: Cluster, first: Sequence[Target]) -> tuple[Target, ...]:
            from bdops.components.kafka.reassign.order import decommission_target

            return (decommission_target(cluster, broker, rank=len(first) + 1),)

        plan(ctx, asked_of(ctx, drain=(broker,)), last)


Last = Callable[[Any, Sequence[Any]], "tuple[Target, ...]"]
"""Given the cluster (`kafka.standing.Cluster`) and the targets of the moves: what is to be done after them."""


def carry_out_moves(
    session: Session, found: Outcome, pace: Pace, accepted: tuple[str, ...] = (), last: Last | None = None
) -> None:
    """Ask, then move what was planned, as a job. Raises what a job raises."""
    from bdops.cli.rolling import carry_out
    from bdops.components.kafka.planner.plan_file import moves_of
    from bdops.components.kafka.reassign.moves import Move
    from bdops.components.kafka.reassign.order import move_targets

    moves = [
        Move(partition=f"{m.topic}-{m.partition}", old=m.old, new=m.new, size_bytes=m.size_bytes)
        for m in moves_of(found)
    ]

    def targets(actor: Any, state: Any, names: Collection[str]) -> tuple[Target, ...]:
        first = move_targets(state.cluster, moves, pace)
        return (*first, *last(actor.cluster(state), first)) if last else first

    carry_out(session, "kafka", None, targets, command=session.command, options={"accepted": accepted})


def carry_out_disks(session: Session, found: DisksPlan, throttle: str, slots: int) -> None:
    """Ask, then move replicas between the log directories of their brokers, as a job. Raises what a job raises."""
    from bdops.cli.rolling import carry_out
    from bdops.components.kafka.reassign.dirs import DirMove, dir_targets

    layout, known = found.layout, found.layout.log_dirs
    assert known is not None
    moves = [
        DirMove(
            partition=layout.partition(m.row),
            broker=int(layout.brokers.ids[known.broker[m.source]]),
            source=known.paths[m.source],
            target=known.paths[m.target],
            size_bytes=int(layout.size_bytes[m.row]),
        )
        for m in found.moves
    ]

    def targets(actor: Any, state: Any, names: Collection[str]) -> tuple[Target, ...]:
        return dir_targets(state.cluster, moves, throttle=throttle, slots=slots)

    carry_out(session, "kafka", None, targets, command=session.command)
