"""In which order servers are restarted, what that means for clients, and when a server is whole again. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bdops.components.kafka import leaders
from bdops.components.kafka.checks.common import min_isr, name_of
from bdops.components.kafka.standing import Cluster, Standing, short
from bdops.components.kafka.state import KafkaState
from bdops.core.actor import DONE, Progress, pending
from bdops.core.plan import Target
from bdops.core.units import plural

MOVE_LEADERS = "move-leaders"
"""Before the stop: leaderships go to other in-sync replicas; the order of replicas that this takes is borrowed."""
ELECT_PREFERRED = "elect-preferred"
"""After the start: the order of replicas is put back, and the broker leads again what it is preferred for."""
MOVE_AWAY = "move-away"
"""For good: the order of replicas stays as it is then."""
ELECT = "elect"
"""The preferred leaders of the partitions in `args["partitions"]`."""

_RANK_UNREADY, _RANK_FOLLOWER, _RANK_LEADER = range(3)


def targets(
    cluster: Cluster, instances: Collection[str], verb: str, *, move_leaders: bool = True
) -> tuple[Target, ...]:
    """What does not serve first, then the rest, the active controller last."""
    found = []
    quorum = cluster.state.quorum
    for name, server in cluster.servers.items():
        if name not in instances:
            continue
        number = cluster.numbers.get(name)
        votes = "controller" in server.roles
        leads = quorum is not None and number is not None and quorum.leader_id == number
        up = cluster.standing[name] is Standing.UP
        notes = []
        if not up:
            notes.append(f"does not serve now: {cluster.why(name)}")
        if number is not None and cluster.is_broker(name) and (led := len(leaders.led_by(cluster, number))):
            notes.append(f"leads {plural(led, 'partition')}")
        if leads:
            notes.append("active controller")
        broker = cluster.registered.get(number) if number is not None else None
        found.append(
            Target(
                name=name,
                instance=name,
                acts=_acts(verb, cluster.is_broker(name), move_leaders),
                rank=_RANK_UNREADY if not up else _RANK_LEADER if leads else _RANK_FOLLOWER,
                rack=server.rack or (broker.rack if broker else None),
                role="controller" if votes else "broker",
                leader_last=votes,
                note=", ".join(notes),
            )
        )
    return tuple(sorted(found, key=lambda t: t.rank))


def _acts(verb: str, broker: bool, move_leaders: bool) -> tuple[str, ...]:
    before = (MOVE_LEADERS,) if broker and move_leaders and verb in ("restart", "stop") else ()
    after = (ELECT_PREFERRED,) if broker and verb in ("restart", "start") else ()
    return (*before, verb, *after)


def move_away_targets(cluster: Cluster, instances: Collection[str]) -> tuple[Target, ...]:
    """One target a broker that leads anything which another in-sync replica could lead."""
    found = []
    for name in cluster.servers:
        number = cluster.numbers.get(name)
        if name in instances and number is not None and (led := leaders.led_by(cluster, number)):
            note = f"{plural(len(led), 'leadership')}, and the order of their replicas, change for good"
            found.append(Target(name=name, instance=name, acts=(MOVE_AWAY,), role="broker", note=note))
    return tuple(found)


def elect_targets(cluster: Cluster, instances: Collection[str], partitions: Collection[str]) -> tuple[Target, ...]:
    """One target on the cluster: the preferred leaders of those `partitions` that these brokers should lead."""
    brokers = {cluster.numbers[n] for n in instances if n in cluster.numbers}
    wanted = set(partitions)
    chosen = [p for p in leaders.off_preferred(cluster, brokers) if p in wanted]
    if not chosen:
        return ()
    note = f"{plural(len(chosen), 'partition')}: {', '.join(chosen[:4])}{', ...' if len(chosen) > 4 else ''}"
    return (Target(name=f"{cluster.state.cluster}/kafka", acts=(ELECT,), note=note, args={"partitions": chosen}),)


def leads(cluster: Cluster, instance: str) -> bool | None:
    """Whether it is the active controller. A broker that has no vote never is."""
    if "controller" not in cluster.servers[instance].roles:
        return False
    quorum = cluster.state.quorum
    number = cluster.numbers.get(instance)
    if quorum is None or quorum.leader_id is None or number is None:
        return None
    return quorum.leader_id == number


def down(cluster: Cluster) -> Mapping[str, str]:
    """Who does not serve, or of whom that is not known, and why."""
    found = {name: cluster.why(name) for name, standing in cluster.standing.items() if standing is not Standing.UP}
    if cluster.state.brokers is None:
        why = f"whether it is registered is not known: {cluster.state.unread.get('brokers', 'not read')}"
        found |= {name: why for name in cluster.servers if cluster.is_broker(name) and name not in found}
    return found


def baseline(cluster: Cluster) -> dict[str, Any]:
    """What was broken before: log directories by broker number, and replicas on failed disks by instance."""
    offline: dict[str, list[str]] = {}
    for name, p in leaders.partitions(cluster):
        for broker in p.offline:
            if not cluster.is_out(broker):
                offline.setdefault(cluster.name(broker), []).append(name)
    return {"dir_errors": _dir_errors(cluster.state), "offline": offline}


def _dir_errors(state: KafkaState) -> dict[str, dict[str, str]]:
    """The log directories that are offline, by broker number."""
    found = {n: {d: e for d, e in dirs.items() if e} for n, dirs in (state.dir_errors or {}).items()}
    for directory in state.log_dirs or ():
        if directory.error:
            found.setdefault(str(directory.broker), {})[directory.path] = directory.error
    return {n: dirs for n, dirs in found.items() if dirs}


def whole(cluster: Cluster, instance: str, before: Mapping[str, Any]) -> Progress:
    """Whether a server is back: it answers, follows the metadata, is unfenced, its disks and replicas are there.

    `before` is `baseline`: a disk that was broken before is not waited for.
    """
    state = cluster.state
    server, number = cluster.servers[instance], cluster.numbers.get(instance)
    answer = cluster.answers.get(instance)
    if answer is None or answer.error:
        return pending(f"it answers: {cluster.why(instance)}")
    if number is None:
        return pending(f"it is known by its number: {cluster.why(instance)}")
    if state.quorum is None or state.quorum.leader_id is None:
        return pending(f"a controller leads: {state.unread.get('quorum', 'none says so')}")
    if "broker" in server.roles:
        if state.brokers is None:
            return pending(f"it is registered: {state.unread.get('brokers', 'not read')}")
        broker = cluster.registered.get(number)
        if broker is None or broker.fenced:
            return pending("it is registered with the controllers" if broker is None else "it is unfenced")
    if not cluster.follows(number):
        return pending(f"it follows the metadata log: {cluster.behind(number)}")
    return _replicas_back(cluster, instance, number, before) if "broker" in server.roles else DONE


def _replicas_back(cluster: Cluster, instance: str, number: int, before: Mapping[str, Any]) -> Progress:
    state = cluster.state
    if (state.dir_errors is None and state.log_dirs is None) or f"dir_errors/{instance}" in state.unread:
        why = state.unread.get(f"dir_errors/{instance}") or state.unread.get("dir_errors", "not read")
        return pending(f"its log directories are told: {why}")
    known = set(before.get("dir_errors", {}).get(str(number), {}))
    news = _dir_errors(state).get(str(number), {}).keys() - known
    if news:
        return pending(f"its log directories are online: {', '.join(sorted(news))}")
    if state.topics is None:
        return pending(f"its replicas are in sync: {state.unread.get('topics', 'not read')}")
    moving = {r.partition: r.adding for r in state.reassignments or ()}
    lost = set(before.get("offline", {}).get(instance, ()))
    its, missing = 0, []
    for name, p in leaders.partitions(cluster):
        if number not in p.replicas or name in lost or number in moving.get(name, ()):
            continue
        its += 1
        if number not in p.isr:
            missing.append(name)
    if missing:
        shown = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        return pending(f"{its - len(missing)} of its {plural(its, 'replica')} are in sync; {shown}")
    return DONE


def leaders_moved(cluster: Cluster, instance: str) -> Progress:
    """Whether a broker leads nothing that another in-sync replica could lead."""
    number = cluster.numbers.get(instance)
    if cluster.state.topics is None or cluster.state.brokers is None:
        return pending(f"who leads is told: {cluster.state.unread.get('topics', 'not read')}")
    if number is None or cluster.is_out(number):
        return DONE
    left = leaders.led_by(cluster, number)
    return pending(f"{plural(len(left), 'leadership')} to move away: {', '.join(left[:3])}") if left else DONE


def leaders_back(cluster: Cluster, instance: str) -> Progress:
    """Whether a broker leads all that it is preferred for and in sync with."""
    number = cluster.numbers.get(instance)
    if cluster.state.topics is None or number is None:
        return pending(f"who leads is told: {cluster.state.unread.get('topics', 'not read')}")
    left = leaders.off_preferred(cluster, (number,))
    return pending(f"it leads {plural(len(left), 'partition')} again: {', '.join(left[:3])}") if left else DONE


def elected(cluster: Cluster, partitions: Collection[str]) -> Progress:
    """Whether the preferred replicas of these partitions lead, where they can."""
    if cluster.state.topics is None:
        return pending(f"who leads is told: {cluster.state.unread.get('topics', 'not read')}")
    wanted = set(partitions)
    left = [p for p in leaders.off_preferred(cluster) if p in wanted]
    return pending(f"{plural(len(left), 'partition')} to be led by the preferred replica") if left else DONE


def consequences(cluster: Cluster, instances: Collection[str], verb: str) -> tuple[str, ...]:
    """What clients will notice of a restart or a stop."""
    if verb not in ("restart", "stop"):
        return ()
    lines = []
    numbers = {cluster.numbers[n] for n in instances if n in cluster.numbers}
    led = sum(p.leader in numbers for _, p in leaders.partitions(cluster))
    back = ", and back after its start" if verb == "restart" else ""
    if led:
        lines.append(f"{plural(led, 'leadership')} move to other in-sync replicas before each broker's stop{back}")
    quorum = cluster.state.quorum
    if quorum is not None and quorum.leader_id in numbers:
        lines.append(f"the active controller, {short(cluster.name(quorum.leader_id))}, goes last: one election")
    single, at_min = [], []
    for topic, p in cluster.state.partitions():
        if not numbers.intersection(p.replicas):
            continue
        minimum = min_isr(cluster.state, topic.name)
        if len(p.replicas) == 1:
            single.append(name_of(topic, p))
        elif minimum is not None and len(p.replicas) <= minimum:
            at_min.append(name_of(topic, p))
    for named, what in (
        (single, "with one replica: not served while its broker is down"),
        (at_min, "with no more replicas than min.insync.replicas: no writes while one is down"),
    ):
        if named:
            shown = f"{', '.join(named[:4])}{', ...' if len(named) > 4 else ''}"
            lines.append(f"{plural(len(named), 'partition')} {what} ({shown})")
    return tuple(lines)
