"""What may be stopped in an ensemble now. Pure: a state in, facts for `core.gate.judge` out.

Rules of the ZooKeeper Administrator's Guide ("Rolling restart", "Dynamic Reconfiguration"), and:

- A process that is not there costs nothing when it is stopped; every rule is about the others.
- A server that is known to be down, joining or too far behind does not count towards the quorum. One of which that
  is not known neither, and it may be the vote that holds it: nothing else is stopped then, unless the risk is accepted.
- The majority is one of the *configured* voters, by the ensemble's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bdops.components.zk import ensemble
from bdops.components.zk.ensemble import short
from bdops.components.zk.standing import Standing, standings, why_not_in_step
from bdops.components.zk.state import Member, ZkState
from bdops.core.gate import Budget, GateFacts, Obstacle, Verdict
from bdops.core.quorum import Quorum
from bdops.core.units import plural

MAX_BEHIND = 1000
"""The default of `restart.max_behind`."""

RULES: Mapping[str, str] = {
    "ZK_STATE_UNREAD": "no server was read: nothing is known of the ensemble",
    "ZK_UNREAD": "a server of the inventory is silent, or does not tell enough: it may hold the quorum, or not",
    "ZK_STRANGER": "a member of the ensemble's configuration is not in the inventory: it was not read",
    "ZK_WEIGHTED": "the configuration has groups or weights: a plain majority is not what counts",
    "ZK_CONFIG_UNREAD": "a server does not tell its configuration, or the version of it (the word `conf`)",
    "ZK_CONFIG_DIFFERS": "a server has another membership than the leader",
    "ZK_CONFIG_VERSION": "a server has another version of the same membership: a reconfiguration is under way",
    "ZK_LEADER": "not exactly one server leads, or not all followers follow it",
    "ZK_LEADER_UNTOLD": "the leader does not tell `synced_followers` or `pending_syncs`: missing is not zero",
    "ZK_SYNCED_FOLLOWERS": "the leader counts fewer followers in step than are seen to be, or more than can be",
    "ZK_PENDING_SYNCS": "sync requests wait at the leader",
    "ZK_RECOVERING": "the server itself looks for a leader, or synchronises with it: it is not disturbed",
    "ZK_LAGGING": "the server itself has more transactions to catch up with than `restart.max_behind`",
    "ZK_QUORUM": "too few voters in step would be left",
    "ZK_NO_SPARE": "an ensemble of one or two voters, all in step: any stop is an outage, by design",
    "ZK_OBSERVERS": "not all observers at once: clients that know no other servers would have none",
}
"""Every rule that a gate before a stop can name, for the docs."""


def gate_facts(state: ZkState, baseline: Mapping[str, Any] | None = None, *, max_behind: int = MAX_BEHIND) -> GateFacts:
    """What forbids stopping whom. `baseline` is of no use here: an old wound is counted like a new one."""
    ask = _Ensemble(state, max_behind)
    if not state.servers:
        harm = "no server was read: " + ("; ".join(f"{k}: {v}" for k, v in list(state.unread.items())[:3]) or "no data")
        unread = Obstacle(rule="ZK_STATE_UNREAD", object=state.cluster, harm=harm, verdict=Verdict.UNKNOWN)
        return GateFacts(names=ask.names, obstacles=(unread,))
    return GateFacts(
        names=ask.names,
        budgets=(*_quorum(ask), *_observers(ask)),
        obstacles=(*_unread(ask), *_membership(ask), *_leader(ask), *_leaders_counts(ask), *_own(ask)),
    )


@dataclass(frozen=True)
class _Ensemble:
    """A state with what several rules want to know of it."""

    state: ZkState
    max_behind: int

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(s.name for s in ensemble.servers(self.state))

    @cached_property
    def standing(self) -> Mapping[str, Standing]:
        return standings(self.state, max_behind=self.max_behind)

    @cached_property
    def voters(self) -> frozenset[str]:
        return ensemble.configured(self.state) or frozenset()

    @cached_property
    def observers(self) -> frozenset[str]:
        copy = ensemble.reference(self.state)
        if copy and copy.observers_known:
            return ensemble.configured(self.state, "observer") or frozenset()
        return frozenset(e.name for e in self.state.expected or () if e.role == "observer")

    def those(self, *which: Standing) -> frozenset[str]:
        return frozenset(name for name, where in self.standing.items() if where in which)

    @cached_property
    def alive(self) -> frozenset[str]:
        """Whom a stop takes something from: all but those without a process."""
        return self.names - self.those(Standing.DOWN)

    def why(self, name: str) -> str:
        return why_not_in_step(self.state, name)

    def obstacle(
        self, rule: str, object: str, harm: str, verdict: Verdict, *, but: frozenset[str] = frozenset(), **more: Any
    ) -> Iterator[Obstacle]:
        """One that is in the way of every process but `but`."""
        if hit := self.alive - but:
            yield Obstacle(rule=rule, object=object, harm=harm, verdict=verdict, instances=hit, **more)


def _unread(ask: _Ensemble) -> Iterator[Obstacle]:
    for name in sorted(ask.those(Standing.UNKNOWN)):
        yield from ask.obstacle(
            "ZK_UNREAD",
            short(name),
            f"whether it is in step is not known: {ask.why(name)}; accepted, it counts as down",
            Verdict.UNKNOWN,
            but=frozenset({name}),
            acceptable=True,
            about=name,
        )
    for name in sorted(ask.voters - ask.names):
        harm = "in the ensemble's configuration, not in the inventory: it was not read; accepted, it counts as down"
        yield from ask.obstacle("ZK_STRANGER", name, harm, Verdict.UNKNOWN, acceptable=True)


def _membership(ask: _Ensemble) -> Iterator[Obstacle]:
    copy = ensemble.reference(ask.state)
    told = [s for s in ask.state.servers or () if s.serving and s.mode != "standalone"]
    for server in told:
        name = short(server.name)
        own = frozenset({server.name})
        if server.weighted:
            harm = "its configuration has groups or weights: what is a quorum here is not known to bdops"
            yield from ask.obstacle("ZK_WEIGHTED", name, harm, Verdict.UNKNOWN)
        if server.members is None or copy is None or copy.members is None:
            why = server.words_error or server.admin_error or "it is missing from the state"
            harm = f"its configuration was not read: {why}"
            yield from ask.obstacle("ZK_CONFIG_UNREAD", name, harm, Verdict.UNKNOWN)
        elif _voters(server.members) != _voters(copy.members):
            harm = f"its voters are {_listed(server.members)}, where {short(copy.name)} has {_listed(copy.members)}"
            # A restart is what makes it take over a corrected file, so that it is not in its own way.
            yield from ask.obstacle("ZK_CONFIG_DIFFERS", name, harm, Verdict.REFUSE, but=own, acceptable=True)
        elif server.config_version is None or server.weighted is None:
            why = server.words_error or "the word conf was not asked"
            harm = f"the version of its configuration was not read: {why}"
            yield from ask.obstacle("ZK_CONFIG_UNREAD", name, harm, Verdict.UNKNOWN, acceptable=True)
        elif copy.config_version is not None and server.config_version != copy.config_version:
            harm = f"configuration version {server.config_version}, {short(copy.name)} has {copy.config_version}"
            yield from ask.obstacle("ZK_CONFIG_VERSION", name, harm, Verdict.WAIT, but=own, acceptable=True)


def _voters(members: tuple[Member, ...]) -> set[tuple[int, str | None]]:
    return {(m.id, m.address) for m in members if m.role == "participant"}


def _listed(members: tuple[Member, ...]) -> str:
    return " ".join(f"{m.id}={m.address}" for m in members if m.role == "participant")


def _leader(ask: _Ensemble) -> Iterator[Obstacle]:
    leaders = ensemble.leaders(ask.state)
    if not leaders:
        silent = ask.those(Standing.UNKNOWN)
        harm = "no server leads: an election, or too few voters"
        if silent:
            harm = f"no server that was read leads; {', '.join(sorted(map(short, silent)))} may"
        yield from ask.obstacle("ZK_LEADER", "the leader", harm, Verdict.UNKNOWN if silent else Verdict.WAIT)
    elif len(leaders) > 1:
        named = ", ".join(f"{short(s.name)} ({s.mode}, zxid {s.zxid or 'unknown'})" for s in leaders)
        alone = any(s.mode == "standalone" for s in leaders)
        verdict = Verdict.REFUSE if alone else Verdict.WAIT
        yield from ask.obstacle("ZK_LEADER", "the leader", f"{len(leaders)} servers lead: {named}", verdict)
    else:
        first = leaders[0]
        for server in ask.state.servers or ():
            if server.serving and None not in (server.leader_id, first.myid) and server.leader_id != first.myid:
                harm = f"it follows server {server.leader_id}, and {short(first.name)} (server {first.myid}) leads"
                yield from ask.obstacle("ZK_LEADER", short(server.name), harm, Verdict.WAIT)


def _leaders_counts(ask: _Ensemble) -> Iterator[Obstacle]:
    first = ensemble.leader(ask.state)
    if first is None or first.mode != "leader":
        return
    name = short(first.name)
    missing = [k for k in ("synced_followers", "pending_syncs") if getattr(first, k) is None]
    if missing:
        why = first.admin_error or first.words_error or "the keys are missing from what it tells"
        harm = f"the leader does not tell {' and '.join(missing)}: {why}"
        yield from ask.obstacle("ZK_LEADER_UNTOLD", name, harm, Verdict.UNKNOWN, acceptable=True)
    seen = len(ask.voters & ask.those(Standing.IN_STEP)) - 1
    if first.synced_followers is not None and first.synced_followers < seen:
        harm = f"the leader counts {plural(first.synced_followers, 'follower')} in step, where {seen} seem to be"
        yield from ask.obstacle("ZK_SYNCED_FOLLOWERS", name, harm, Verdict.WAIT, acceptable=True)
    refusing = ask.voters & ask.those(Standing.DOWN)
    most = len(ask.voters - refusing) - 1
    if refusing and first.synced_followers is not None and first.synced_followers > most:
        # A wrong client port in the inventory looks like a dead process.
        listed = ", ".join(sorted(map(short, refusing)))
        yield Obstacle(
            rule="ZK_SYNCED_FOLLOWERS",
            object=name,
            harm=f"the leader counts {plural(first.synced_followers, 'follower')} in step, and at most {most} can be "
            f"besides {listed}, where nothing listens on the client port",
            verdict=Verdict.UNKNOWN,
            instances=refusing,
            acceptable=True,
        )
    if first.pending_syncs:
        harm = f"{plural(first.pending_syncs, 'sync')} pending at the leader"
        yield from ask.obstacle("ZK_PENDING_SYNCS", name, harm, Verdict.WAIT, acceptable=True)


def _own(ask: _Ensemble) -> Iterator[Obstacle]:
    """What speaks against stopping a server because of the server itself."""
    for name in sorted(ask.those(Standing.JOINING, Standing.BEHIND)):
        joining = ask.standing[name] is Standing.JOINING
        yield Obstacle(
            rule="ZK_RECOVERING" if joining else "ZK_LAGGING",
            object=short(name),
            harm=ask.why(name) + ("" if joining else f", at most {ask.max_behind} are allowed"),
            verdict=Verdict.WAIT,
            instances=frozenset({name}),
            acceptable=True,
            about=name,
        )


def _quorum(ask: _Ensemble) -> Iterator[Budget]:
    if not ask.voters:
        return
    now = Quorum.of(ask.voters, ask.those(Standing.IN_STEP))
    coming = ask.voters & ask.those(Standing.JOINING, Standing.BEHIND)
    if len(ask.voters) <= 2 and now.caught_up == ask.voters:
        alone = "it stands alone" if len(ask.voters) == 1 else "two of two voters are needed"
        yield Budget(
            rule="ZK_NO_SPARE",
            members=now.caught_up,
            spare=0,
            objects=("the quorum",),
            harm=f"{alone}: nothing is served until it is back",
            acceptable=True,
        )
        return
    yield _quorum_budget(ask, now, members=now.caught_up, verdict=Verdict.WAIT if coming else Verdict.REFUSE)
    if coming:
        # What is not safe even once those have caught up is not worth waiting for.
        later = Quorum.of(ask.voters, now.caught_up | coming)
        yield _quorum_budget(ask, later, members=later.caught_up, verdict=Verdict.REFUSE)


def _quorum_budget(ask: _Ensemble, q: Quorum, *, members: frozenset[str], verdict: Verdict) -> Budget:
    if not q.has_majority:
        # Those of whom it is not known may be what holds the quorum: they are spared too.
        members |= (ask.voters & ask.alive) - q.caught_up
    away = "".join(f"; {short(name)}: {ask.why(name)}" for name in sorted(q.configured - q.caught_up))
    may = f"{q.spare} may stop" if q.spare > 0 else "none may stop"
    return Budget(
        rule="ZK_QUORUM",
        members=members,
        spare=q.spare,
        objects=("the quorum",),
        harm=f"{len(q.caught_up)} of {plural(len(q.configured), 'voter')} in step, {q.needed} needed, {may}{away}",
        verdict=verdict,
    )


def _observers(ask: _Ensemble) -> Iterator[Budget]:
    up = ask.observers & ask.those(Standing.IN_STEP, Standing.BEHIND, Standing.UNKNOWN)
    if len(up) > 1:
        yield Budget(
            rule="ZK_OBSERVERS",
            members=up,
            spare=len(up) - 1,
            objects=tuple(sorted(map(short, up))),
            harm=f"{plural(len(up), 'observer')} serve, and one must stay for clients that know no other servers",
        )
