"""bdops kafka rebalance, drain, add, set-replication, leaders balance, disks, explain: plans of reassignments.

Each command is a Request made of its options, a plan, a report, and, of a live cluster, a job that carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdops.cli import frame
from bdops.cli.kafka_moves import Last, OneAtATime, Slots, Throttle
from bdops.cli.kafka_request import Asked, asked_of, layout_asked_for, request_of
from bdops.cli.rolling import AcceptRisk, DetailedExitcode, accepted_risks
from bdops.core.units import parse_percent, parse_rate, parse_size
from bdops.errors import ExitCode

if TYPE_CHECKING:
    from bdops.components.kafka.planner.propose import FrontierPoint

FRONTIER_POINTS = 8


def _option(parse: Callable[[str], float]) -> Callable[[str], float]:
    """What parses an option's value, its words of refusal as Typer shows them."""

    def parsed(text: str) -> float:
        try:
            return parse(text)
        except ValueError as e:
            raise typer.BadParameter(str(e)) from None

    return parsed


def _fraction(text: str) -> float:
    return parse_percent(text) / 100


State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        help="Plan from a file, without the cluster: a state, a compact layout, the JSON of kafka-reassign-partitions,"
        " or the text of `kafka-topics --describe`.",
    ),
]
Balance = Annotated[
    list[str] | None,
    typer.Option("--balance", metavar="WHAT", help="What is made even: count, bytes, leaders, bytes-in; several."),
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option("--tolerance", metavar="PERCENT", help="How even: 5%, or bytes=5%,count=10%; counts: 0% is +-1."),
]
MaxMove = Annotated[
    int | None,
    typer.Option("--max-move", metavar="SIZE", parser=_option(parse_size), help="Copy at most so much: 500GB."),
]
MaxMoves = Annotated[int | None, typer.Option("--max-moves", min=0, help="Copy at most so many replicas.")]
Frontier = Annotated[bool, typer.Option("--frontier", help="Also the curve of bytes moved against imbalance.")]
Topic = Annotated[
    list[str] | None, typer.Option("--topic", metavar="PATTERN", help="Touch only topics like this; several.")
]
ExcludeTopic = Annotated[
    list[str] | None, typer.Option("--exclude-topic", metavar="PATTERN", help="Do not touch topics like this; several.")
]
ExcludeBroker = Annotated[
    list[str] | None,
    typer.Option("--exclude-broker", metavar="BROKER", help="These get nothing and keep what they have: 3, 7-9."),
]
TopicSpread = Annotated[bool, typer.Option("--topic-spread", help="Even out the replicas of each topic too.")]
SurviveLoss = Annotated[
    bool, typer.Option("--survive-loss", help="Leaders are to be even after the loss of any one broker too.")
]
Watermark = Annotated[
    float | None,
    typer.Option(
        "--watermark", metavar="PERCENT", parser=_option(_fraction), help="A disk's fill during the move; 85%."
    ),
]
MoreBrokers = Annotated[
    list[str] | None,
    typer.Option("--brokers", metavar="BROKER", help="Brokers that the file does not have: 21-25; several."),
]
Racks = Annotated[
    Path | None,
    typer.Option("--racks", metavar="FILE", help="Racks of brokers (YAML or JSON): broker -> rack, or an object."),
]
RatesSince = Annotated[
    Path | None,
    typer.Option("--rates-since", metavar="FILE", help="An earlier state: what grew since then gives the rates."),
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate", metavar="RATE", parser=_option(parse_rate), help="What a broker copies; 50MB/s: for the time."
    ),
]
OnlyIfWorseThan = Annotated[
    float | None,
    typer.Option(
        "--only-if-worse-than",
        metavar="PERCENT",
        parser=_option(_fraction),
        help="Do nothing while the imbalance is not: 10%.",
    ),
]
PlanOut = Annotated[Path | None, typer.Option("--plan-out", metavar="FILE", help="Write the plan, for `explain`.")]
ReassignmentJson = Annotated[
    Path | None,
    typer.Option(
        "--reassignment-json",
        metavar="FILE",
        help="Write it for kafka-reassign-partitions, and the way back beside it (FILE-rollback).",
    ),
]
LayoutOut = Annotated[
    Path | None, typer.Option("--layout-out", metavar="FILE", help="Write what was planned from as a compact layout.")
]
BrokersArgument = Annotated[
    list[str], typer.Argument(metavar="BROKER...", help="Numbers, ranges or names: 7, 3-5, node2, 1,4.")
]


def register(app: frame.App, leaders_app: frame.App) -> None:
    """Give `bdops kafka` the planning commands."""

    @app.command()
    def rebalance(
        ctx: typer.Context,
        state: State = None,
        balance: Balance = None,
        tolerance: Tolerance = None,
        max_move: MaxMove = None,
        max_moves: MaxMoves = None,
        frontier: Frontier = False,
        topic: Topic = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        topic_spread: TopicSpread = False,
        survive_loss: SurviveLoss = False,
        watermark: Watermark = None,
        brokers: MoreBrokers = None,
        racks: Racks = None,
        rates_since: RatesSince = None,
        rate: Rate = None,
        plan_out: PlanOut = None,
        reassignment_json: ReassignmentJson = None,
        layout_out: LayoutOut = None,
        only_if_worse_than: OnlyIfWorseThan = None,
        throttle: Throttle = None,
        slots: Slots = 5,
        one_at_a_time: OneAtATime = False,
        accept_risk: AcceptRisk = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Even out the brokers with the fewest bytes moved: prints the moves, the proven lower bound and the gap.

        Evens out bytes, or counts where sizes are not known, unless `--balance` says otherwise.

        Example: bdops kafka rebalance --balance bytes --tolerance 5% --max-move 500GB --plan-out plan.json --dry-run
        """
        plan(ctx, asked_of(ctx))

    @app.command()
    def drain(
        ctx: typer.Context,
        broker: BrokersArgument,
        state: State = None,
        balance: Balance = None,
        tolerance: Tolerance = None,
        max_move: MaxMove = None,
        max_moves: MaxMoves = None,
        frontier: Frontier = False,
        topic: Topic = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        watermark: Watermark = None,
        racks: Racks = None,
        rates_since: RatesSince = None,
        rate: Rate = None,
        plan_out: PlanOut = None,
        reassignment_json: ReassignmentJson = None,
        throttle: Throttle = None,
        slots: Slots = 5,
        one_at_a_time: OneAtATime = False,
        accept_risk: AcceptRisk = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Empty brokers, with the fewest bytes moved; with `--balance` the others are evened out as well.

        Example: bdops kafka drain 7 --state now.json --plan-out plan.json
        """
        plan(ctx, asked_of(ctx, drain=broker))

    @app.command()
    def add(
        ctx: typer.Context,
        broker: BrokersArgument,
        state: State = None,
        balance: Balance = None,
        tolerance: Tolerance = None,
        max_move: MaxMove = None,
        max_moves: MaxMoves = None,
        frontier: Frontier = False,
        topic: Topic = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        watermark: Watermark = None,
        racks: Racks = None,
        rates_since: RatesSince = None,
        rate: Rate = None,
        plan_out: PlanOut = None,
        reassignment_json: ReassignmentJson = None,
        throttle: Throttle = None,
        slots: Slots = 5,
        one_at_a_time: OneAtATime = False,
        accept_risk: AcceptRisk = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Give new brokers their share: those named must be registered, or be new to the file that is planned from.

        Example: bdops kafka add 21-25 --state now.json --racks racks.yaml
        """
        plan(ctx, asked_of(ctx, add=broker))

    @app.command("set-replication")
    def set_replication(
        ctx: typer.Context,
        factor: Annotated[int, typer.Argument(metavar="N", min=1, help="Copies of each partition.")],
        topic: Annotated[list[str], typer.Option("--topic", metavar="PATTERN", help="Of topics like this; several.")],
        state: State = None,
        max_move: MaxMove = None,
        max_moves: MaxMoves = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        watermark: Watermark = None,
        racks: Racks = None,
        rates_since: RatesSince = None,
        rate: Rate = None,
        plan_out: PlanOut = None,
        reassignment_json: ReassignmentJson = None,
        throttle: Throttle = None,
        slots: Slots = 5,
        one_at_a_time: OneAtATime = False,
        accept_risk: AcceptRisk = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Change the replication factor of topics; the other topics stay as they are.

        Example: bdops kafka set-replication 3 --topic 'orders*' --state now.json
        """
        plan(ctx, asked_of(ctx))

    @leaders_app.command("balance")
    def balance_leaders(
        ctx: typer.Context,
        state: State = None,
        tolerance: Tolerance = None,
        topic: Topic = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        survive_loss: SurviveLoss = False,
        rates_since: RatesSince = None,
        plan_out: PlanOut = None,
        reassignment_json: ReassignmentJson = None,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Even out who leads, with the fewest leader changes; no replica moves.

        Example: bdops kafka leaders balance --tolerance 10% --state now.json
        """
        plan(ctx, asked_of(ctx, balance=("leaders",), leaders_only=True))

    @app.command()
    def disks(
        ctx: typer.Context,
        state: State = None,
        tolerance: Tolerance = None,
        topic: Topic = None,
        exclude_topic: ExcludeTopic = None,
        exclude_broker: ExcludeBroker = None,
        watermark: Watermark = None,
        rate: Rate = None,
        throttle: Throttle = None,
        slots: Slots = 5,
        detailed_exitcode: DetailedExitcode = False,
    ) -> None:
        """Even out the log directories of each broker (JBOD), with the fewest bytes moved; no broker gets anything new.

        Example: bdops kafka disks --tolerance 5% --state now.json
        """
        from bdops.components.kafka.planner.disks import propose_disks
        from bdops.components.kafka.planner.report import disks_report

        session = frame.session(ctx)
        asked = asked_of(ctx, balance=("bytes",))
        loaded = layout_asked_for(session, asked)
        found = propose_disks(loaded.layout, request_of(loaded, asked))
        carried_out = bool(found.moves) and not (asked.state or session.dry_run)
        if session.output == "table" or not carried_out:
            session.show(disks_report(found, rate_bytes_per_s=asked.rate, warnings=loaded.warnings))
        if carried_out:
            from bdops.cli.kafka_moves import carry_out_disks

            carry_out_disks(session, found, asked.throttle, asked.slots)
        elif found.moves and asked.detailed_exitcode:
            session.exit_code = ExitCode.CHANGES_PENDING

    @app.command()
    def explain(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="PLAN", help="A file that --plan-out wrote.")],
        partition: Annotated[str, typer.Argument(metavar="TOPIC-PARTITION", help="Which: orders-3.")],
    ) -> None:
        """Why a plan moves a partition's replicas or its leader: what is wrong where it is, why it goes where it goes.

        Example: bdops kafka explain plan.json orders-3
        """
        from bdops.components.kafka.planner.explain import explain as explained
        from bdops.components.kafka.planner.plan_file import read_plan

        frame.session(ctx).show(explained(read_plan(file), partition))


def plan(ctx: typer.Context, asked: Asked, last: Last | None = None) -> None:
    """Read the layout, plan, write the files asked for, show the report; then carry it out, if it is of a live cluster.

    `last` makes targets that come after the moves, and are carried out where nothing has to move as well.
    """
    from bdops.components.kafka.planner.figures import imbalance_now, outcome
    from bdops.components.kafka.planner.plan_file import write_plan, write_reassignment
    from bdops.components.kafka.planner.propose import frontier, possible, propose, propose_leaders
    from bdops.components.kafka.planner.report import even_enough_report, plan_report

    session = frame.session(ctx)
    accepted = accepted_risks(["kafka"], asked.accept_risk)
    loaded = layout_asked_for(session, asked)
    layout = loaded.layout
    request, _ = possible(layout, request_of(loaded, asked))
    limit = asked.only_if_worse_than
    if limit is not None and (now := imbalance_now(layout, request)) <= limit:
        session.show(even_enough_report(now, limit))
        return
    make: Callable[..., Any] = propose_leaders if asked.leaders_only else propose
    found = outcome(layout, request, make(layout, request))
    curve: list[FrontierPoint] = frontier(layout, request, FRONTIER_POINTS) if asked.frontier else []
    if asked.layout_out:
        from bdops.components.kafka.planner.compact import write_compact
        from bdops.files import writing

        with writing(asked.layout_out, "the layout") as file:
            write_compact(layout, file)
    if asked.plan_out:
        write_plan(found, asked.plan_out, command=session.command)
        session.say(f"plan: {asked.plan_out}")
    if asked.reassignment_json:
        rollback = write_reassignment(found, asked.reassignment_json)
        session.say(f"reassignment: {asked.reassignment_json}; the way back: {rollback}")
    carried_out = not (asked.state or session.dry_run) and (len(found.change.rows) > 0 or last is not None)
    # What a job answers in the end is the one answer that a program gets.
    if session.output == "table" or not carried_out:
        session.show(
            plan_report(
                found, rate_bytes_per_s=asked.rate, warnings=loaded.warnings, moves=session.verbose > 0, curve=curve
            )
        )
    if carried_out:
        from bdops.cli.kafka_moves import carry_out_moves
        from bdops.components.kafka.reassign.order import Pace

        pace = Pace(
            throttle=asked.throttle, slots=asked.slots, one_at_a_time=asked.one_at_a_time, watermark=asked.watermark
        )
        carry_out_moves(session, found, pace, accepted, last)
        return
    if asked.detailed_exitcode and (len(found.change.rows) > 0 or last is not None):
        session.exit_code = ExitCode.CHANGES_PENDING
