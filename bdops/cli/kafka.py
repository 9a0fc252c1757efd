"""bdops kafka: what there is to see of a Kafka cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from bdops.cli import frame

app = frame.component_app("kafka")

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
