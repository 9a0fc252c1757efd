"""What a planning command was asked: its options as one value, the layout that they name, the Request that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.core.units import parse_percent
from bdops.errors import UsageError

if TYPE_CHECKING:
    from typer import Context

    from bdops.cli.frame import Session
    from bdops.components.kafka.planner.files import Loaded
    from bdops.components.kafka.planner.model import Measure, Request

BALANCES = ("count", "bytes", "leaders", "bytes-in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of all planning commands, by the names of their parameters; below them what a command itself says."""

    state: Path | None = None
    balance: Sequence[str] | None = None
    tolerance: Sequence[str] = ()
    max_move: int | None = None
    max_moves: int | None = None
    frontier: bool = False
    topic: Sequence[str] = ()
    exclude_topic: Sequence[str] = ()
    exclude_broker: Sequence[str] = ()
    topic_spread: bool = False
    survive_loss: bool = False
    watermark: float = 0.85
    brokers: Sequence[str] = ()
    racks: Path | None = None
    rates_since: Path | None = None
    rate: int = 50_000_000
    """Bytes a second that a broker is taken to copy: for the expected time alone."""
    plan_out: Path | None = None
    reassignment_json: Path | None = None
    layout_out: Path | None = None
    only_if_worse_than: float | None = None
    throttle: str = "auto"
    slots: int = 5
    one_at_a_time: bool = False
    accept_risk: Sequence[str] = ()
    detailed_exitcode: bool = False
    drain: Sequence[str] = ()
    add: Sequence[str] = ()
    factor: int | None = None
    leaders_only: bool = False


def asked_of(ctx: Context, **said: Any) -> Asked:
    """The options that a command was given; its argument `broker` is for itself to say what for (`said`)."""
    given = {name: value for name, value in ctx.params.items() if name != "broker" and value not in (None, (), [])}
    return Asked(**given | said)


def layout_asked_for(session: Session, asked: Asked) -> Loaded:
    """The layout: from the file, else read from the cluster now; with the brokers and racks that options add.

    Raises UsageError for brokers that are no numbers, and for new ones of a cluster: it has those that are registered.
    """
    from bdops.components.kafka.planner.assembly import BrokerRow
    from bdops.components.kafka.planner.files import layout_of, read_brokers, read_layout, with_rates
    from bdops.components.kafka.planner.from_state import PLANNER_READINGS

    extra = {b.id: b for b in read_brokers(asked.racks)} if asked.racks else {}
    if asked.brokers and not asked.state:
        raise UsageError("--brokers adds to a file, and this is a cluster", hint="start them; bdops kafka add BROKER")
    for word in asked.brokers:
        if _numbers(word) is None:
            raise UsageError(f"--brokers {word}: these are numbers", hint="--brokers 21-25")
    if asked.state:
        for number in [n for word in (*asked.brokers, *asked.add) for n in _numbers(word) or ()]:
            extra.setdefault(number, BrokerRow(id=number))
        loaded = read_layout(asked.state, brokers=extra.values())
    else:
        found = session.state("kafka", None, None, PLANNER_READINGS)
        loaded = layout_of(found, brokers=extra.values())
    return with_rates(loaded, read_layout(asked.rates_since)) if asked.rates_since else loaded


def request_of(loaded: Loaded, asked: Asked) -> Request:
    """The request in the layout's indexes."""
    from bdops.components.kafka.planner.model import Request

    layout = loaded.layout
    given = _balance(asked, sizes_known=bool((layout.size_bytes > 1).any()))
    touched = _touched(layout.topics, asked)
    drain = _indexes(loaded, asked.drain)
    exclude = _indexes(loaded, asked.exclude_broker)
    added = _indexes(loaded, asked.add)
    for index in sorted(added):
        if not layout.brokers.live[index]:
            raise UsageError(
                f"broker {layout.brokers.ids[index]} is not registered, or is fenced",
                hint="start it first; bdops kafka status shows who is registered",
            )
    if not touched.all():
        import numpy as np

        pinned: Any = ~np.repeat(touched, np.diff(layout.first))
    else:
        pinned = None
    return Request(
        balance=given,
        tolerance=_tolerance(asked.tolerance, given),
        drain=drain,
        exclude=exclude,
        factors={int(t): asked.factor for t in touched.nonzero()[0]} if asked.factor else {},
        pinned=pinned,
        watermark=asked.watermark,
        max_moves=asked.max_moves,
        max_move_bytes=asked.max_move,
        topic_spread=asked.topic_spread,
        survive_loss=asked.survive_loss,
    )


def _balance(asked: Asked, *, sizes_known: bool) -> tuple[Measure, ...]:
    if asked.balance is None and (asked.drain or asked.factor):
        return ()
    if asked.balance is None:
        return ("bytes",) if sizes_known else ("count",)
    found: dict[str, None] = {}
    for word in (w.strip() for text in asked.balance for w in text.split(",")):
        if word not in BALANCES:
            raise UsageError(f"--balance {word!r}", hint=f"choose among {', '.join(BALANCES)}")
        found[word] = None
    return tuple(found)  # type: ignore[arg-type]


def _tolerance(texts: Sequence[str], balance: Sequence[Measure]) -> dict[Measure, float]:
    """`5%` is for all measures; `bytes=5%,count=10%` for each."""
    found: dict[Measure, float] = {}
    for word in (w.strip() for text in texts for w in text.split(",")):
        name, equals, value = word.rpartition("=")
        try:
            fraction = parse_percent(value) / 100
        except ValueError as e:
            raise UsageError(f"--tolerance {word}: {e}", hint="--tolerance 5%, or bytes=5%,count=10%") from None
        if not equals:
            found |= {m: fraction for m in balance if m not in found}
        elif name in balance:
            found[name] = fraction  # type: ignore[index]
        else:
            raise UsageError(
                f"--tolerance {word}: {name!r} is not made even",
                hint=f"--balance has {', '.join(balance) or 'nothing'}",
            )
    return found


def _touched(topics: Sequence[str], asked: Asked) -> Any:
    """Which topics may be changed. Raises UsageError for a pattern that none is like."""
    from fnmatch import fnmatchcase

    import numpy as np

    def like(patterns: Sequence[str], option: str) -> Any:
        hits = np.zeros(len(topics), dtype=bool)
        for pattern in patterns:
            mine = np.array([fnmatchcase(t, pattern) for t in topics], dtype=bool)
            if not mine.any():
                raise UsageError(f"{option} {pattern}: no topic is like that", hint="bdops kafka topics lists them")
            hits |= mine
        return hits

    touched = like(asked.topic, "--topic") if asked.topic else np.ones(len(topics), dtype=bool)
    return touched & ~like(asked.exclude_topic, "--exclude-topic")


def _numbers(word: str) -> list[int] | None:
    """Broker numbers of `7`, `3-5`, `1,4`; None when the word is a name. Raises UsageError for `5-3`."""
    found: list[int] = []
    for part in word.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None
        top = int(last) if dash else int(first)
        if top < int(first):
            raise UsageError(f"{part}: a range goes up", hint=f"{last}-{first}")
        if top - int(first) > 100_000:
            raise UsageError(f"{part}: so many brokers there are not")
        found += range(int(first), top + 1)
    return found


def _indexes(loaded: Loaded, words: Sequence[str]) -> frozenset[int]:
    """The brokers' indexes of numbers, ranges and names. Raises UsageError for one that is not there."""
    layout = loaded.layout
    index = {int(number): n for n, number in enumerate(layout.brokers.ids)}
    found = set()
    for word in words:
        numbers = _numbers(word)
        if numbers is None:
            numbers = [n for name, n in (loaded.names or {}).items() if name == word or name.endswith(f"/{word}")]
            if len(numbers) != 1:
                known = ", ".join(sorted(n.rsplit("/", 1)[-1] for n in loaded.names or {})[:6])
                raise UsageError(
                    f"there is no broker {word!r}", hint=f"give its number{', or ' + known if known else ''}"
                )
        for number in numbers:
            if number not in index:
                listed = ", ".join(map(str, list(index)[:8])) + (" ..." if len(index) > 8 else "")
                raise UsageError(f"there is no broker {number}", hint=f"there are {listed}")
            found.add(index[number])
    return frozenset(found)
