"""What may be stopped in a Kafka cluster now. Pure: a state in, facts for `core.gate.judge` out.

The rules are Kafka's own arithmetic (`min.insync.replicas`; KIP-631 for brokers that are fenced; KIP-595 for the
controllers' quorum), and:

- A process that is not there costs nothing when it is stopped: every rule is about what the others need of it.
- A server that is known not to serve counts as down. One that is silent may be down, or serve everybody but us: it
  counts as down for the others, which are not stopped beside it unless the risk is accepted, and as up for itself.
- Partitions with the same replicas in sync and the same to spare are one budget, so that millions are judged at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bdops.components.kafka.checks.common import min_isr
from bdops.components.kafka.standing import MAX_BEHIND_MS, Cluster, Standing, short
from bdops.components.kafka.state import KafkaState, Partition, partition_name
from bdops.core.gate import Budget, GateFacts, Obstacle, Verdict, with_objects
from bdops.core.quorum import Quorum
from bdops.core.units import plural

RULES: Mapping[str, str] = {
    "KAFKA_UNREAD": "a reading that the rules need is missing: nothing can be told",
    "KAFKA_SILENT": "a server of the inventory does not answer, or not us: it may be down, hang, or serve the others",
    "KAFKA_IDENTITY": "which broker or controller an instance is cannot be told: set `node_id`",
    "KAFKA_STRANGER": "a live broker, or a voter, is not in the inventory: it was not asked",
    "KAFKA_NO_CONTROLLER": "no controller leads: what brokers tell may be old, and nobody could elect leaders",
    "KAFKA_METADATA_BEHIND": "a server that answers is behind in the metadata log: what it tells may be old",
    "KAFKA_REASSIGNMENT": "replicas are being moved; a stop would hold that up. It is never cancelled",
    "KAFKA_RECOVERING": "the server itself starts, recovers its logs, or is on its way down: it is not disturbed",
    "KAFKA_MIN_ISR": "partitions would have fewer replicas in sync than min.insync.replicas",
    "KAFKA_MIN_ISR_UNKNOWN": "the min.insync.replicas of a topic is not in the state",
    "KAFKA_REPLICAS_AT_MIN": "partitions have no more replicas than min.insync.replicas: any stop ends their writes",
    "KAFKA_LAST_IN_SYNC": "partitions would have no replica in sync, and hence no leader",
    "KAFKA_SINGLE_REPLICA": "partitions with one replica: nobody reads or writes them until it is back",
    "KAFKA_QUORUM": "too few controllers that follow would be left for a majority of the voters",
    "KAFKA_NO_SPARE_VOTER": "a quorum of one or two voters, all in step: any stop is an outage of it, by design",
}
"""Every rule that a gate of ours can name, for the docs."""

GATE_READINGS = frozenset({"servers", "cluster_id", "brokers", "quorum", "topics", "topic_configs", "reassignments"})
"""What a gate needs to be read."""


def gate_facts(
    state: KafkaState, baseline: Mapping[str, Any] | None = None, *, max_behind_ms: float = MAX_BEHIND_MS
) -> GateFacts:
    """What forbids stopping whom. `baseline` is of no use here: an old wound is counted like a new one."""
    cluster = Cluster(state, max_behind_ms)
    if state.servers is None:
        # Who is up is not known: there is nothing to count.
        return GateFacts(names=frozenset(cluster.servers), obstacles=tuple(_unread(cluster)))
    return GateFacts(
        names=frozenset(cluster.servers),
        budgets=(*_partitions(cluster), *_quorum(cluster)),
        obstacles=(
            *_unread(cluster),
            *_silent(cluster),
            *_identity(cluster),
            *_strangers(cluster),
            *_controller(cluster),
            *_behind(cluster),
            *_reassignments(cluster),
            *_own(cluster),
            *_minimums(cluster),
        ),
    )


# -- what is known at all ------------------------------------------------------------------------------------


def _alive(cluster: Cluster) -> frozenset[str]:
    """Whom a stop takes something from: all but those without a process."""
    return frozenset(cluster.servers) - cluster.those(Standing.DOWN)


def _unread(cluster: Cluster) -> Iterator[Obstacle]:
    state = cluster.state
    needed = ["expected", "servers", "quorum"]
    if any("broker" in s.roles for s in state.expected or ()):
        needed += ["brokers", "topics", "topic_configs", "reassignments"]
    for reading in needed:
        if getattr(state, reading) is None:
            # Nothing is known to be down when nobody was asked.
            hit = None if reading in ("expected", "servers") else _alive(cluster)
            why = state.unread.get(reading, "it is missing from the state")
            yield Obstacle(rule="KAFKA_UNREAD", object=reading, harm=why, verdict=Verdict.UNKNOWN, instances=hit)


def _silent(cluster: Cluster) -> Iterator[Obstacle]:
    if cluster.state.servers is None:
        return
    for name in sorted(cluster.those(Standing.SILENT)):
        if others := _alive(cluster) - {name}:
            yield Obstacle(
                rule="KAFKA_SILENT",
                object=short(name),
                harm=f"whether it serves is not known: {cluster.why(name)}; accepted, it counts as down",
                verdict=Verdict.UNKNOWN,
                instances=others,
                acceptable=True,
                about=name,
            )


def _identity(cluster: Cluster) -> Iterator[Obstacle]:
    if cluster.state.brokers is None:
        return
    for name in sorted(cluster.servers.keys() - cluster.numbers.keys()):
        yield Obstacle(
            rule="KAFKA_IDENTITY",
            object=short(name),
            harm="no broker is registered at its address, so that its number is not known: set node_id",
            verdict=Verdict.UNKNOWN,
            instances=_alive(cluster) | {name},
            acceptable=True,
        )


def _strangers(cluster: Cluster) -> Iterator[Obstacle]:
    quorum = cluster.state.quorum
    found = {b.id: "a live broker" for b in cluster.state.brokers or () if not b.fenced}
    found |= {v.id: "a voter" for v in (quorum.voters if quorum else ())}
    for number, what in sorted(found.items()):
        if number not in cluster.names:
            yield Obstacle(
                rule="KAFKA_STRANGER",
                object=f"{'voter' if what == 'a voter' else 'broker'} {number}",
                harm=f"{what} that the inventory does not have, so that it was not asked",
                verdict=Verdict.UNKNOWN,
                instances=_alive(cluster),
                acceptable=True,
            )


def _controller(cluster: Cluster) -> Iterator[Obstacle]:
    quorum = cluster.state.quorum
    if quorum is not None and quorum.leader_id is None:
        yield Obstacle(
            rule="KAFKA_NO_CONTROLLER",
            object="the metadata quorum",
            harm="no controller says that it leads: an election, or too few voters",
            verdict=Verdict.WAIT,
            instances=_alive(cluster),
        )


def _behind(cluster: Cluster) -> Iterator[Obstacle]:
    """A server that serves and does not follow the metadata: the partitions may have been read from it."""
    for number, name in sorted(cluster.names.items()):
        if cluster.standing[name] is Standing.UP and cluster.is_broker(name) and cluster.follows(number) is False:
            yield Obstacle(
                rule="KAFKA_METADATA_BEHIND",
                object=short(name),
                harm=f"it answers, and is {cluster.behind(number)}; at most {cluster.max_behind_ms:.0f} ms are allowed",
                verdict=Verdict.WAIT,
                instances=_alive(cluster) - {name},
                acceptable=True,
                about=name,
            )


def _reassignments(cluster: Cluster) -> Iterator[Obstacle]:
    for move in cluster.state.reassignments or ():
        adding = f"adding {', '.join(map(str, move.adding))}" if move.adding else ""
        removing = f"removing {', '.join(map(str, move.removing))}" if move.removing else ""
        yield Obstacle(
            rule="KAFKA_REASSIGNMENT",
            object=move.partition,
            harm=" and ".join(x for x in (adding, removing) if x) or "its replicas are being changed",
            verdict=Verdict.REFUSE,
            instances=_alive(cluster),
            acceptable=True,
        )


def _own(cluster: Cluster) -> Iterator[Obstacle]:
    """What speaks against stopping a server because of the server itself."""
    for name in sorted(cluster.those(Standing.STARTING)):
        yield Obstacle(
            rule="KAFKA_RECOVERING",
            object=short(name),
            harm=f"it fetches the metadata log and does not serve ({cluster.why(name)}): it starts, recovers its logs, "
            "or is on its way down",
            verdict=Verdict.WAIT,
            instances=frozenset({name}),
            acceptable=True,
            about=name,
        )
    quorum = cluster.state.quorum
    if quorum is None or quorum.leader_id is None:
        for name in sorted(cluster.those(Standing.DOWN)):
            if not cluster.is_broker(name):
                continue
            yield Obstacle(
                rule="KAFKA_RECOVERING",
                object=short(name),
                harm="without an active controller it cannot be told whether it recovers its logs",
                verdict=Verdict.UNKNOWN,
                instances=frozenset({name}),
                acceptable=True,
            )


# -- partitions ----------------------------------------------------------------------------------------------


def _minimums(cluster: Cluster) -> Iterator[Obstacle]:
    if cluster.state.topic_configs is None:
        return
    for topic in cluster.state.topics or ():
        if topic.partitions and min_isr(cluster.state, topic.name) is None:
            hit = {cluster.name(r) for p in topic.partitions for r in p.replicas}
            yield Obstacle(
                rule="KAFKA_MIN_ISR_UNKNOWN",
                object=topic.name,
                harm="its min.insync.replicas is not in the state",
                verdict=Verdict.UNKNOWN,
                instances=frozenset(hit) & _alive(cluster),
            )


def _partitions(cluster: Cluster) -> Iterator[Budget]:
    """Partitions of the same shape share their limits, and equal limits are one budget."""
    shapes: dict[tuple[Any, ...], tuple[Budget, ...]] = {}
    objects: dict[Budget, list[str]] = defaultdict(list)
    adding = {r.partition: frozenset(r.adding) for r in cluster.state.reassignments or () if r.adding}
    for topic in cluster.state.topics or ():
        minimum = min_isr(cluster.state, topic.name)
        if minimum is None:
            # An obstacle says so; that somebody must lead holds in any case.
            minimum = 1
        for p in topic.partitions:
            new = adding.get(partition_name(topic.name, p.id), frozenset()) if adding else frozenset()
            shape = (p.replicas, p.isr, p.offline, minimum, new)
            limits = shapes.get(shape)
            if limits is None:
                limits = shapes[shape] = tuple(_limits(_Replicas.of(cluster, p, minimum, new)))
            for limit in limits:
                objects[limit].append(f"{topic.name}-{p.id}")
    yield from with_objects(objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replicas:
    """How the replicas of a partition stand, by name.

    `sure` are in sync and serve; `silent` are in sync by what the controllers know, and say nothing to us;
    `coming` are alive or starting, and not in sync (yet). `total` is without those that a reassignment is adding.
    """

    sure: frozenset[str]
    silent: frozenset[str]
    coming: frozenset[str]
    away: tuple[str, ...]
    total: int
    minimum: int

    @classmethod
    def of(cls, cluster: Cluster, p: Partition, minimum: int, adding: frozenset[int]) -> _Replicas:
        usable = {b for b in p.replicas if b not in p.offline and not cluster.is_out(b)}
        silent = {b for b in usable if cluster.is_silent(b)}
        in_sync = usable & set(p.isr)
        starting = {b for b in p.replicas if cluster.is_starting(b)}

        def names(brokers: set[int]) -> frozenset[str]:
            return frozenset(cluster.name(b) for b in brokers)

        return cls(
            sure=names(in_sync - silent),
            silent=names(in_sync & silent),
            coming=names((usable - in_sync - silent) | starting),
            away=tuple(short(cluster.name(b)) for b in p.replicas if b not in in_sync or b in silent),
            total=len(p.replicas) - len(adding & set(p.replicas)),
            minimum=minimum,
        )


def _limits(r: _Replicas) -> Iterator[Budget]:
    now = f"{len(r.sure)} of {plural(r.total, 'replica')} in sync, min.insync.replicas {r.minimum}"
    if r.away:
        now += f"; not in sync, or not known to be: {', '.join(r.away)}"
    if r.total == 1:
        harm = "its one replica goes: no reads and no writes until it is back"
        yield from _with_silent("KAFKA_SINGLE_REPLICA", r, 1, harm, acceptable=True)
        return
    if r.total <= r.minimum:
        harm = f"{now}: as many are needed for writes, which are refused until all are back"
        yield from _with_silent("KAFKA_REPLICAS_AT_MIN", r, r.total, harm, acceptable=True)
        yield from _with_silent("KAFKA_LAST_IN_SYNC", r, 1, f"{now}: nobody could lead it")
        return
    rule = "KAFKA_MIN_ISR" if r.minimum > 1 else "KAFKA_LAST_IN_SYNC"
    what = "writes would be refused" if r.minimum > 1 else "nobody could lead it"
    later = r.sure | r.coming
    harm = f"{now}: {what}"
    passes = bool(r.coming) and len(later) >= r.minimum
    yield from _with_silent(rule, r, r.minimum, harm, verdict=Verdict.WAIT if passes else Verdict.REFUSE)
    if passes:
        # What is not safe even once those are in sync is not worth waiting for.
        yield Budget(rule=rule, members=later, spare=len(later) - r.minimum, harm=harm)


def _with_silent(
    rule: str,
    r: _Replicas,
    needed: int,
    harm: str,
    *,
    verdict: Verdict = Verdict.REFUSE,
    acceptable: bool = False,
) -> Iterator[Budget]:
    """`needed` must stay of those that are known to be in sync, whoever else goes.

    Where there are fewer already, those that catch up are spared too. A silent one is another's loss already, and
    may be needed itself: it goes only while enough of the others stay.
    """
    spare = len(r.sure) - needed
    members = r.sure if spare >= 0 else r.sure | r.coming
    if members:
        yield Budget(rule=rule, members=members, spare=spare, harm=harm, verdict=verdict, acceptable=acceptable)
    for name in sorted(r.silent):
        yield Budget(
            rule=rule, members=members | {name}, spare=spare + 1, harm=harm, verdict=verdict, acceptable=acceptable
        )


# -- the controllers -----------------------------------------------------------------------------------------


def _quorum(cluster: Cluster) -> Iterator[Budget]:
    quorum = cluster.state.quorum
    if quorum is None or not quorum.voters:
        return
    voters = {v.id: cluster.name(v.id) for v in quorum.voters}
    follow = {n for n in voters if cluster.follows(n)}
    # One whose port is closed is about to be gone, whatever the leader still believes; a silent one may be.
    gone = {n for n in follow if n != quorum.leader_id and _has_no_process(cluster, n)}
    silent = {n for n in follow - gone if cluster.is_silent(n)}
    sure = {voters[n] for n in follow - gone - silent}
    now = Quorum.of(voters.values(), sure)
    alive = _alive(cluster)
    coming = {name for n, name in voters.items() if name in alive - sure and not cluster.is_silent(n)}
    if len(voters) <= 2 and now.caught_up == now.configured:
        alone = "the only controller goes" if len(voters) == 1 else "two of two voters are needed"
        yield Budget(
            rule="KAFKA_NO_SPARE_VOTER",
            members=now.caught_up,
            spare=0,
            objects=("the metadata quorum",),
            harm=f"{alone}: no leader is elected and nothing can be changed until it is back",
            acceptable=True,
        )
        return
    later = Quorum.of(voters.values(), sure | coming)
    passes = bool(coming) and later.has_majority
    members = now.caught_up if now.has_majority else frozenset(voters.values()) & alive
    away = "".join(f"; {short(voters[n])}: {_why_away(cluster, n)}" for n in sorted(voters) if voters[n] not in sure)
    harm = f"{len(sure)} of {plural(len(voters), 'voter')} follow, {now.needed} needed{away}"

    def budget(members: frozenset[str], spare: int, verdict: Verdict) -> Budget:
        return Budget(
            rule="KAFKA_QUORUM",
            members=members,
            spare=spare,
            objects=("the metadata quorum",),
            harm=f"{harm}, {spare if spare > 0 else 'none'} may stop",
            verdict=verdict,
        )

    verdict = Verdict.WAIT if passes else Verdict.REFUSE
    yield budget(members, now.spare, verdict)
    for n in sorted(silent):
        yield budget(members | {voters[n]}, now.spare + 1, verdict)
    if passes:
        yield budget(later.caught_up, later.spare, Verdict.REFUSE)


def _has_no_process(cluster: Cluster, number: int) -> bool:
    """Whether nothing listens at a controller's own port. A combined server's broker port tells less: it may start."""
    name = cluster.names.get(number)
    answer = cluster.answers.get(name) if name else None
    return answer is not None and answer.refused


def _why_away(cluster: Cluster, number: int) -> str:
    name = cluster.names.get(number)
    if name and cluster.standing[name] in (Standing.SILENT, Standing.DOWN):
        return cluster.why(name)
    return cluster.behind(number)
