"""bdops kafka: what there is to see of a Kafka cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame, kafka_moves, kafka_rebalance, kafka_snapshots

if TYPE_CHECKING:
    from bdops.components.kafka.standing import Cluster
    from bdops.core.actor import Actor
    from bdops.core.plan import Target

app = frame.component_app("kafka")
leaders_app = frame.App(help="Who leads partitions: give leadership back, or move it away.")
app.add_typer(leaders_app, name="leaders")
kafka_rebalance.register(app, leaders_app)
kafka_moves.register(app)
kafka_snapshots.register(app)

TopicOption = Annotated[
    str | None, typer.Option("--topic", metavar="PATTERN", help="Only topics like this: orders, 'log-*'.")
]
UnderReplicated = Annotated[bool, typer.Option("--under-replicated", help="Only where a replica is not in sync.")]


@app.command()
def status(ctx: typer.Context, selector: frame.SelectorArgument = None, state: frame.StateOption = None) -> None:
    """Brokers and controllers: who is up, who leads, leaders, replicas, bytes, and what is not in sync.

    Example: bdops kafka status prod/kafka
    """
    from bdops.components.kafka import lists

    session = frame.session(ctx)
    session.show(lists.status(session.state("kafka", selector, state, lists.STATUS_READINGS)))


@app.command()
def partitions(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    topic: TopicOption = None,
    under_replicated: UnderReplicated = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only those without a leader.")] = False,
    under_min_isr: Annotated[bool, typer.Option("--under-min-isr", help="Only those that refuse writes.")] = False,
    at_min_isr: Annotated[bool, typer.Option("--at-min-isr", help="Only those with nothing to spare.")] = False,
    off_preferred: Annotated[
        bool, typer.Option("--off-preferred", help="Only those not led by their first replica.")
    ] = False,
    reassigning: Annotated[bool, typer.Option("--reassigning", help="Only those being moved.")] = False,
) -> None:
    """Every partition with leader, replicas and in-sync replicas; several conditions list what meets any of them.

    Example: bdops kafka partitions --under-replicated --offline
    """
    from bdops.components.kafka import lists

    asked = {
        "under_replicated": under_replicated,
        "offline": offline,
        "under_min_isr": under_min_isr,
        "at_min_isr": at_min_isr,
        "off_preferred": off_preferred,
        "reassigning": reassigning,
    }
    session = frame.session(ctx)
    found = session.state("kafka", selector, state, lists.PARTITION_READINGS)
    session.show(lists.partitions(found, wanted=[name for name, on in asked.items() if on], topic=topic))


@app.command()
def topics(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    topic: TopicOption = None,
    under_replicated: UnderReplicated = False,
    by_size: Annotated[bool, typer.Option("--by-size", help="The largest first.")] = False,
) -> None:
    """Every topic with its partitions, replicas, minimum in sync, and size.

    Example: bdops kafka topics --by-size
    """
    from bdops.components.kafka import lists

    session = frame.session(ctx)
    found = session.state("kafka", selector, state, lists.PARTITION_READINGS)
    session.show(lists.topics(found, under_replicated_only=under_replicated, by_size=by_size, topic=topic))


@app.command()
def groups(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    group: Annotated[str | None, typer.Option("--group", metavar="PATTERN", help="Only groups like this.")] = None,
    lagging: Annotated[
        bool, typer.Option("--lagging", help="Only groups that are behind, by whatever little.")
    ] = False,
    each_partition: Annotated[bool, typer.Option("--partitions", help="One row a partition.")] = False,
) -> None:
    """Every consumer group with its lag and its condition: ok, lagging, rewound, stalled, stopped.

    Example: bdops kafka groups --lagging --partitions
    """
    from bdops.components.kafka import lists

    session = frame.session(ctx)
    found = session.state("kafka", selector, state, lists.GROUP_READINGS)
    session.show(lists.groups(found, lagging=lagging, group=group, each_partition=each_partition))


@app.command("log-dirs")
def log_dirs(
    ctx: typer.Context,
    selector: frame.SelectorArgument = None,
    state: frame.StateOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only those that the broker took offline.")] = False,
) -> None:
    """Every log directory with its replicas, bytes, and how full its volume is.

    Example: bdops kafka log-dirs prod/kafka
    """
    from bdops.components.kafka import lists

    session = frame.session(ctx)
    session.show(lists.log_dirs(session.state("kafka", selector, state, lists.LOG_DIR_READINGS), offline=offline))


@leaders_app.command()
def elect(ctx: typer.Context, selector: frame.SelectorArgument = None, topic: TopicOption = None) -> None:
    """Let the preferred replicas lead again, where they are in sync; of these brokers and topics, or of all.

    Example: bdops kafka leaders elect prod/kafka --topic 'orders*' --dry-run
    """

    def targets(cluster: Cluster, names: Collection[str]) -> tuple[Target, ...]:
        from bdops.components.kafka.leaders import partitions_of
        from bdops.components.kafka.order import elect_targets

        return elect_targets(cluster, names, partitions_of(cluster, topic))

    _change(ctx, "kafka leaders elect", selector, targets)


@leaders_app.command("move-away")
def move_away(
    ctx: typer.Context,
    broker: Annotated[str, typer.Argument(metavar="BROKER", help="Which: node3, prod/kafka/node3.")],
) -> None:
    """Move all leaderships of a broker to other in-sync replicas, which are the preferred ones from then on.

    A restart does so by itself, and takes it back. The order of replicas until now goes to the job's journal
    (`bdops jobs show`). Example: bdops kafka leaders move-away node3 --reason 'its disk is slow'
    """

    def targets(cluster: Cluster, names: Collection[str]) -> tuple[Target, ...]:
        from bdops.components.kafka.order import move_away_targets

        return move_away_targets(cluster, names)

    _change(ctx, "kafka leaders move-away", broker, targets)


def _change(
    ctx: typer.Context,
    command: str,
    selector: str | None,
    targets: Callable[[Cluster, Collection[str]], tuple[Target, ...]],
) -> None:
    """Carry out what `targets` makes of the cluster as it is now."""
    from bdops.cli.rolling import carry_out

    def of_state(actor: Actor[Any], state: Any, names: Collection[str]) -> tuple[Target, ...]:
        from bdops.components.kafka.actor import KafkaActor

        assert isinstance(actor, KafkaActor)
        return targets(actor.cluster(state), names)

    carry_out(frame.session(ctx), "kafka", selector, of_state, command=command)
