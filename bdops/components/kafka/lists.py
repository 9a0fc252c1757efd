"""The lists of Kafka: a state in, a report out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from bdops.components.kafka.checks.balance import leaders_by_broker, replicas_by_broker
from bdops.components.kafka.checks.common import adding_replicas, instance_names, min_isr, name_of, short
from bdops.components.kafka.checks.disks import size_bytes, used_percent
from bdops.components.kafka.checks.groups import group_lags
from bdops.components.kafka.checks.partitions import leaderless, under_replicated
from bdops.components.kafka.lag import Condition, GroupLag, Rules
from bdops.components.kafka.state import KafkaState, Partition, Server, Topic, Voter
from bdops.core.result import Column, Report, Table
from bdops.core.units import plural
from bdops.errors import BdopsError, NotAuthorised, StateUnknown, Unreachable

STATUS_READINGS = frozenset(
    {"servers", "cluster_id", "brokers", "quorum", "topics", "topic_configs", "reassignments", "log_dirs"}
)
PARTITION_READINGS = frozenset({"servers", "brokers", "topics", "topic_configs", "reassignments", "log_dirs"})
GROUP_READINGS = frozenset({"servers", "brokers", "groups", "group_samples"})
LOG_DIR_READINGS = frozenset({"servers", "brokers", "log_dirs"})
"""What each list needs of the servers."""


def require(state: KafkaState, *readings: str) -> None:
    """Raise when a reading that a list is made of is not there: Unreachable or NotAuthorised if no server answered."""
    for name in readings:
        if getattr(state, name) is not None:
            continue
        why = f"{name} of {state.cluster}/kafka: {state.unread.get(name, 'absent from the state')}"
        errors = [s for s in state.servers or () if s.error]
        kind: type[BdopsError] = StateUnknown
        if errors and len(errors) == len(state.servers or ()):
            refused = any(s.error_code == NotAuthorised.default_code for s in errors)
            kind = NotAuthorised if refused else Unreachable
        raise kind(why, hint="bdops kafka check shows which servers answer")


def status(state: KafkaState) -> Report:
    """One row a server, the quorum, and how many partitions are not as they should be."""
    if not any(s.error is None for s in state.servers or ()):
        require(state, "brokers")
    names = instance_names(state)
    rows = [_server_row(s, state, names) for s in state.servers or ()]
    known = set(names.values())
    rows += [
        {"server": f"broker {b.id}", "id": b.id, "rack": b.rack, "state": "not in the inventory"}
        for b in state.brokers or ()
        if names.get(b.id) not in known
    ]
    up = sum(row["state"] == "up" for row in rows)
    leader = state.quorum.leader_id if state.quorum else None
    total = sum(len(t.partitions) for t in state.topics) if state.topics is not None else None
    facts: dict[str, Any] = {
        "cluster_id": state.cluster_id,
        "controller": short(leader, names) if leader is not None else None,
        "topics": len(state.topics) if state.topics is not None else None,
        "partitions": total,
        "under_replicated": sum(1 for _ in under_replicated(state)) if total is not None else None,
        "offline": sum(1 for _ in leaderless(state)) if total is not None else None,
        "reassigning": len(state.reassignments) if state.reassignments is not None else None,
    }
    columns = (
        Column("server"),
        Column("id"),
        Column("roles"),
        Column("rack"),
        Column("state"),
        Column("leaders"),
        Column("replicas"),
        Column("size_bytes", "data", "bytes"),
        Column("used", "fullest disk", "%"),
        Column("lag_ms", "metadata lag", "ms"),
        Column("error", "problem"),
    )
    return Report(
        status="ok" if up == len(rows) else "warning",
        summary=f"{up} of {plural(len(rows), 'server')} up",
        facts=facts,
        tables=(Table(name="servers", columns=columns, rows=rows),),
    )


def _server_row(server: Server, state: KafkaState, names: Mapping[int, str]) -> dict[str, Any]:
    number = next((n for n, name in names.items() if name == server.name), None)
    expected = next((e for e in state.expected or () if e.name == server.name), None)
    broker = next((b for b in state.brokers or () if b.id == number), None)
    voters: tuple[Voter, ...] = (*state.quorum.voters, *state.quorum.observers) if state.quorum else ()
    voter = next((v for v in voters if v.id == number), None)
    dirs = [d for d in state.log_dirs or () if d.broker == number]
    is_broker = expected is None or "broker" in expected.roles
    if server.error:
        condition = "fenced, no answer" if broker and broker.fenced else "no answer"
    elif is_broker and state.brokers is not None:
        condition = "not registered" if broker is None else "fenced" if broker.fenced else "up"
    else:
        condition = "up"
    return {
        "server": server.name.rsplit("/", 1)[-1],
        "id": number,
        "roles": ",".join(expected.roles) if expected else None,
        "rack": broker.rack if broker else expected.rack if expected else None,
        "state": condition,
        "leaders": leaders_by_broker(state).get(number) if number is not None and state.topics is not None else None,
        "replicas": replicas_by_broker(state).get(number) if number is not None and state.topics is not None else None,
        "size_bytes": sum(map(size_bytes, dirs)) if dirs else None,
        "used": max((u for d in dirs if (u := used_percent(d)) is not None), default=None),
        "lag_ms": voter.lag_ms if voter else None,
        "error": server.error,
    }


Filter = Callable[[Topic, Partition], bool]

_PARTITION_COLUMNS = (
    Column("partition"),
    Column("leader"),
    Column("replicas"),
    Column("isr", "in sync"),
    Column("missing"),
    Column("min_isr", "min"),
    Column("size_bytes", "size", "bytes"),
    Column("state"),
    Column("adding", wide=True),
    Column("offline", wide=True),
)


def partitions(state: KafkaState, *, wanted: Iterable[str] = (), topic: str | None = None) -> Report:
    """One row a partition, as a stream. `wanted`: conditions of CONDITIONS, any of which is enough (none: all)."""
    require(state, "topics")
    chosen = [CONDITIONS[name](state) for name in wanted]
    if {"at_min_isr", "under_min_isr"} & set(wanted):
        require(state, "topic_configs")
    if {"reassigning"} & set(wanted):
        require(state, "reassignments")

    def selected() -> Iterator[tuple[Topic, Partition]]:
        for t, p in state.partitions():
            if (topic is None or fnmatchcase(t.name, topic)) and (not chosen or any(test(t, p) for test in chosen)):
                yield t, p

    count = sum(1 for _ in selected())
    total = sum(len(t.partitions) for t in state.topics or ())
    return Report(
        summary=f"{count} of {plural(total, 'partition')}",
        tables=(Table(name="partitions", columns=_PARTITION_COLUMNS, rows=_partition_rows(state, selected())),),
    )


def _partition_rows(state: KafkaState, found: Iterator[tuple[Topic, Partition]]) -> Iterator[dict[str, Any]]:
    sizes: dict[str, int] = defaultdict(int)
    for d in state.log_dirs or ():
        for name, size in d.replicas.items():
            sizes[name] = max(sizes[name], size)
    adding = adding_replicas(state)
    moving = {r.partition for r in state.reassignments or ()}
    for topic, p in found:
        name = name_of(topic, p)
        minimum = min_isr(state, topic.name)
        yield {
            "partition": name,
            "leader": p.leader,
            "replicas": list(p.replicas),
            "isr": list(p.isr),
            "missing": [b for b in p.replicas if b not in p.isr],
            "min_isr": minimum,
            "size_bytes": sizes.get(name),
            "state": _partition_state(p, minimum, name in moving, len(adding.get(name, ()))),
            "adding": sorted(adding.get(name, ())),
            "offline": list(p.offline),
        }


def _partition_state(p: Partition, minimum: int | None, moving: bool, adding: int) -> str:
    if p.leader is None:
        return "offline"
    if minimum is not None and len(p.isr) < minimum:
        return "under min ISR"
    if len(p.isr) < len(p.replicas) - adding:
        return "under-replicated"
    return "reassigning" if moving else "ok"


def _is_under_replicated(state: KafkaState) -> Filter:
    found = {name_of(t, p) for t, p, _ in under_replicated(state)}
    return lambda t, p: name_of(t, p) in found


def _is_reassigning(state: KafkaState) -> Filter:
    found = {r.partition for r in state.reassignments or ()}
    return lambda t, p: name_of(t, p) in found


def _compares(state: KafkaState, test: Callable[[int, int], bool]) -> Filter:
    def compare(t: Topic, p: Partition) -> bool:
        minimum = min_isr(state, t.name)
        return p.leader is not None and minimum is not None and test(len(p.isr), minimum)

    return compare


CONDITIONS: Mapping[str, Callable[[KafkaState], Filter]] = {
    "under_replicated": _is_under_replicated,
    "offline": lambda state: lambda t, p: p.leader is None,
    "under_min_isr": lambda state: _compares(state, lambda isr, minimum: isr < minimum),
    "at_min_isr": lambda state: _compares(state, lambda isr, minimum: isr == minimum),
    "off_preferred": lambda state: lambda t, p: p.leader is not None and p.leader != p.replicas[0],
    "reassigning": _is_reassigning,
}
"""What `partitions` can be narrowed to."""


def topics(
    state: KafkaState, *, under_replicated_only: bool = False, by_size: bool = False, topic: str | None = None
) -> Report:
    """One row a topic."""
    require(state, "topics")
    sizes: dict[str, int] = defaultdict(int)
    for d in state.log_dirs or ():
        for name, size in d.replicas.items():
            sizes[name.rpartition("-")[0]] += size
    lacking: dict[str, int] = defaultdict(int)
    for t, _, _ in under_replicated(state):
        lacking[t.name] += 1
    rows = [
        {
            "topic": t.name,
            "partitions": len(t.partitions),
            "replicas": min((len(p.replicas) for p in t.partitions), default=0),
            "min_isr": min_isr(state, t.name),
            "under_replicated": lacking[t.name],
            "offline": sum(p.leader is None for p in t.partitions),
            "size_bytes": sizes.get(t.name, 0) if state.log_dirs is not None else None,
            "internal": t.internal,
        }
        for t in state.topics or ()
        if (topic is None or fnmatchcase(t.name, topic)) and (not under_replicated_only or lacking[t.name])
    ]
    if by_size:
        rows.sort(key=lambda row: -int(row["size_bytes"] or 0))
    columns = (
        Column("topic"),
        Column("partitions"),
        Column("replicas"),
        Column("min_isr", "min in sync"),
        Column("under_replicated", "under-replicated"),
        Column("offline"),
        Column("size_bytes", "size, all replicas", "bytes"),
        Column("internal", unit="bool", wide=True),
    )
    return Report(
        summary=f"{len(rows)} of {plural(len(state.topics or ()), 'topic')}",
        tables=(Table(name="topics", columns=columns, rows=rows),),
    )


def groups(
    state: KafkaState, *, lagging: bool = False, group: str | None = None, each_partition: bool = False
) -> Report:
    """One row a consumer group, judged by the same rules as the checks; or one row a partition of a group."""
    require(state, "groups", "group_samples")
    found = [
        g
        for g in group_lags(state, Rules())
        if (group is None or fnmatchcase(g.group.name, group))
        and (not lagging or g.lag > 0 or g.condition is not Condition.OK)
    ]
    table = _group_partitions(found) if each_partition else _groups(found)
    return Report(
        summary=f"{len(found)} of {plural(len(state.groups or ()), 'group')}",
        facts={"lag": sum(g.lag for g in found)},
        tables=(table,),
    )


def _groups(found: list[GroupLag]) -> Table:
    columns = (
        Column("group"),
        Column("state"),
        Column("condition"),
        Column("lag"),
        Column("partitions"),
        Column("worst"),
        Column("why"),
        Column("type", wide=True),
        Column("coordinator", wide=True),
    )
    rows = []
    for g in found:
        worst = max(g.partitions, key=lambda p: (p.condition.rank, p.lag or 0), default=None)
        rows.append(
            {
                "group": g.group.name,
                "state": g.group.state,
                "condition": g.condition.value,
                "lag": g.lag,
                "partitions": len(g.partitions),
                "worst": worst.partition if worst else None,
                "why": worst.why if worst else None,
                "type": g.group.type,
                "coordinator": g.group.coordinator,
            }
        )
    return Table(name="groups", columns=columns, rows=rows)


def _group_partitions(found: list[GroupLag]) -> Table:
    columns = (
        Column("group"),
        Column("partition"),
        Column("committed"),
        Column("lag"),
        Column("condition"),
        Column("why"),
    )
    rows = (
        {
            "group": g.group.name,
            "partition": p.partition,
            "committed": p.committed,
            "lag": p.lag,
            "condition": p.condition.value,
            "why": p.why,
        }
        for g in found
        for p in g.partitions
    )
    return Table(name="partitions", columns=columns, rows=rows)


def log_dirs(state: KafkaState, *, offline: bool = False) -> Report:
    """One row a log directory."""
    require(state, "log_dirs")
    names = instance_names(state)
    rows = [
        {
            "broker": short(d.broker, names),
            "path": d.path,
            "state": d.error or "online",
            "replicas": len(d.replicas),
            "size_bytes": size_bytes(d),
            "used": used_percent(d),
            "usable_bytes": d.usable_bytes,
            "total_bytes": d.total_bytes,
            "moving_in": len(d.moving_in),
        }
        for d in state.log_dirs or ()
        if not offline or d.error
    ]
    columns = (
        Column("broker"),
        Column("path"),
        Column("state"),
        Column("replicas"),
        Column("size_bytes", "Kafka's", "bytes"),
        Column("used", "volume used", "%"),
        Column("usable_bytes", "free", "bytes"),
        Column("total_bytes", "volume", "bytes"),
        Column("moving_in", wide=True),
    )
    missing = [key.partition("/")[2] for key in state.unread if key.startswith("log_dirs/")]
    summary = plural(len(rows), "log directory", "log directories")
    return Report(
        status="warning" if missing else "ok",
        summary=summary + (f"; not known of {', '.join(missing)}" if missing else ""),
        tables=(Table(name="log_dirs", columns=columns, rows=rows),),
    )
