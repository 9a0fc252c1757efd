"""What can be broken in the lab's Kafka, and healed again. A fault brings its own topics, named `fault-...`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bdops.components.kafka.checks.partitions import leaderless
from bdops.errors import BdopsError, OperationFailed
from bdops.lab.recipe import Fault

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

RESERVE_BYTES = 6 * 2**20
"""What a full disk leaves free, so that the broker itself does not fail in the middle of a demo."""

THROTTLED_RATE = 1_000_000


def host_of(lab: Lab, target: str | None, default: str) -> str:
    """The host of a target such as `kafka/node2`. Raises UsageError when it has no server."""
    return lab.named(target)[0].host if target else default


def number(host: str) -> int:
    from bdops.lab import kafka

    return kafka.node_id(host)


# Healing: everything ends in the same state.


def settle(lab: Lab, timeout_s: float = 90) -> None:
    """Start or wake what does not run, and return when every replica is in sync and preferred leaders lead."""
    from bdops.lab import kafka
    from bdops.lab import kafka_client as client

    for host in kafka.HOSTS:
        lab.start(kafka.PROGRAM, host)
    lab.wait("Kafka to serve", lambda: kafka.serving(lab), timeout_s, of=[(kafka.PROGRAM, h) for h in kafka.HOSTS])
    client.await_in_sync(lab, timeout_s)


def settle_and_delete(*topics: str) -> Callable[[Lab, str | None], None]:
    """A heal that also takes the fault's topics away."""

    def heal(lab: Lab, target: str | None) -> None:
        from bdops.lab import kafka_client as client

        settle(lab)
        client.delete_topics(lab, topics)

    return heal


def down(lab: Lab, hosts: Sequence[str], *, pause: bool = False) -> None:
    """Kill or pause brokers; returns when the controllers have fenced them."""
    from bdops.lab import kafka
    from bdops.lab import kafka_client as client

    for host in hosts:
        if lab.pid(kafka.PROGRAM, host):
            (lab.pause if pause else lab.kill)(kafka.PROGRAM, host)
    gone = {number(h) for h in hosts}
    client.wait_state(
        lab,
        f"{', '.join(hosts)} to be fenced",
        ["brokers"],
        lambda s: gone <= {b.id for b in s.brokers or () if b.fenced},
    )


# Servers


def break_fenced(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-fenced", [[3, 1, 2], [2, 4, 3], [1, 3, 4], [4, 2, 1]])
    down(lab, [host_of(lab, target, "node3")], pause=True)


def break_under_replicated(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-under-replicated", [[3, 1, 2], [2, 4, 3], [1, 3, 4], [4, 2, 1]])
    down(lab, [host_of(lab, target, "node4")])


def break_under_min_isr(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-under-min-isr", [[1, 3, 4], [2, 3, 4]])
    down(lab, ["node3", "node4"])


def break_leaderless(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    host = host_of(lab, target, "node4")
    client.create_topic(lab, "fault-leaderless", [[number(host)]], {"min.insync.replicas": "1"})
    down(lab, [host])
    client.wait_state(lab, "fault-leaderless-0 to lose its leader", ["topics"], lambda s: any(leaderless(s)))


def break_quorum(lab: Lab, target: str | None) -> None:
    """Kill two of three controllers: the third cannot lead, and what is left of the brokers lives on what it knew."""
    from bdops.lab import kafka
    from bdops.lab import kafka_client as client

    left = host_of(lab, target, "node1")
    for host in kafka.CONTROLLERS:
        if host != left and lab.pid(kafka.PROGRAM, host):
            lab.kill(kafka.PROGRAM, host)
    client.wait_state(
        lab, "the quorum to be lost", ["quorum"], lambda s: s.quorum is not None and s.quorum.leader_id is None
    )


# Disks


def _volume(lab: Lab) -> Path:
    from bdops.lab import kafka

    host = kafka.SMALL_VOLUME_HOST
    if not lab.has_small_volume("kafka", host):
        raise OperationFailed("a full disk needs a small volume, and only root can have the lab mount one")
    return kafka.data_dirs(lab, host)[1]


def break_disk_full(lab: Lab, target: str | None) -> None:
    folder = _volume(lab)
    usage = os.statvfs(folder)
    fill_bytes = usage.f_bavail * usage.f_frsize - RESERVE_BYTES
    with (folder.parent / "filler").open("wb") as file:
        while fill_bytes > 0:
            fill_bytes -= file.write(b"\0" * min(fill_bytes, 2**20))
        os.fsync(file.fileno())


def heal_disk_full(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka

    if lab.has_small_volume("kafka", kafka.SMALL_VOLUME_HOST):
        (_volume(lab).parent / "filler").unlink(missing_ok=True)
    restart_where_offline(lab)
    settle(lab)


def restart_where_offline(lab: Lab) -> None:
    """A log directory that failed comes back at a start alone."""
    from bdops.lab import kafka
    from bdops.lab import kafka_client as client

    failed = {d.broker for d in client.state_of(lab, "log_dirs").log_dirs or () if d.error}
    for host in kafka.HOSTS:
        if number(host) in failed:
            lab.stop(kafka.PROGRAM, host)
            lab.start(kafka.PROGRAM, host)


REMOVED = "fault-replica-removed"


def break_replica_removed(lab: Lab, target: str | None) -> None:
    """Remove a replica's folder under a running broker, and write until it wants a new segment file there."""
    from bdops.lab import kafka, kafka_load
    from bdops.lab import kafka_client as client

    host = host_of(lab, target, "node2")
    victim = number(host)
    others = [n for n in (1, 3, 4, 2) if n != victim][:2]
    client.create_topic(lab, REMOVED, [[others[0], victim, others[1]]], {"segment.bytes": str(2**20)})
    folders = [d / f"{REMOVED}-0" for d in kafka.data_dirs(lab, host) if (d / f"{REMOVED}-0").exists()]
    if not folders:
        raise OperationFailed(f"broker {victim} has no folder of {REMOVED}-0")
    shutil.rmtree(folders[0])
    kafka_load.fill(lab, REMOVED, [0], 2500, size_bytes=1000)
    client.wait_state(
        lab,
        f"broker {victim} to notice",
        ["log_dirs"],
        lambda s: any(d.broker == victim and d.error for d in s.log_dirs or ()),
    )


def heal_replica_removed(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    restart_where_offline(lab)
    settle(lab)
    client.delete_topics(lab, [REMOVED])


# Settings and moves


def break_throttle(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-throttle", [[1, 2, 3]])
    broker = number(host_of(lab, target, "node3"))
    rate = str(THROTTLED_RATE)
    client.set_configs(
        lab,
        "broker",
        str(broker),
        {"leader.replication.throttled.rate": rate, "follower.replication.throttled.rate": rate},
    )
    client.set_configs(lab, "topic", "fault-throttle", {"leader.replication.throttled.replicas": "0:1,0:2"})
    client.wait_state(
        lab,
        "the throttle to be known",
        ["broker_configs", "topic_configs"],
        lambda s: (
            "leader.replication.throttled.rate" in (s.broker_configs or {}).get(str(broker), {})
            and bool((s.topic_configs or {}).get("fault-throttle", {}).get("leader.replication.throttled.replicas"))
        ),
    )


def heal_throttle(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka
    from bdops.lab import kafka_client as client

    keys = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
    for host in kafka.HOSTS:
        client.set_configs(lab, "broker", str(number(host)), dict.fromkeys(keys))
    client.delete_topics(lab, ["fault-throttle"])
    client.wait_state(
        lab,
        "the throttle to be gone",
        ["broker_configs"],
        lambda s: not any(key in configs for configs in (s.broker_configs or {}).values() for key in keys),
    )


def break_unclean(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-unclean", [[1, 2, 3]], {"unclean.leader.election.enable": "true"})


def break_skew(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    client.create_topic(lab, "fault-skew", [[1, 2, 3]] * 48)


def break_stuck(lab: Lab, target: str | None) -> None:
    """Move a partition to a broker that is down."""
    from bdops.lab import kafka_client as client

    host = host_of(lab, target, "node4")
    stays = [n for n in (1, 2, 3, 4) if n != number(host)]
    client.create_topic(lab, "fault-stuck", [stays])
    down(lab, [host])
    client.reassign(lab, "fault-stuck", 0, [*stays[:2], number(host)])
    client.wait_state(lab, "the move to be in flight", ["reassignments"], lambda s: bool(s.reassignments))


def break_group_stopped(lab: Lab, target: str | None) -> None:
    """A group that has read nothing of what was written, and has no members."""
    from bdops.lab import kafka_client as client
    from bdops.lab import kafka_load

    client.create_topic(lab, "fault-group", [[1, 2, 3], [2, 3, 4], [3, 4, 1]])
    kafka_load.fill(lab, "fault-group", [0, 1, 2], 500)
    client.commit(lab, "fault-stopped", "fault-group", {0: 0, 1: 0, 2: 0})


def heal_group_stopped(lab: Lab, target: str | None) -> None:
    from bdops.lab import kafka_client as client

    try:
        client.delete_group(lab, "fault-stopped")
    except BdopsError:
        # Gone already: what counts is that the list does not have it.
        lab.say("group fault-stopped was not there")
    client.delete_topics(lab, ["fault-group"])
    client.wait_state(
        lab, "the group to be gone", ["groups"], lambda s: all(g.name != "fault-stopped" for g in s.groups or ())
    )


FAULTS = (
    Fault(
        name="kafka-fenced",
        help="a broker that hangs (SIGSTOP) until the controllers fence it (default: kafka/node3)",
        shows=(
            "KAFKA_SERVER_UNREACHABLE",
            "KAFKA_BROKER_FENCED",
            "KAFKA_UNDER_REPLICATED",
            "KAFKA_AT_MIN_ISR",
            "KAFKA_OFF_PREFERRED",
        ),
        break_it=break_fenced,
        heal=settle_and_delete("fault-fenced"),
    ),
    Fault(
        name="kafka-under-replicated",
        help="a broker killed, and its replicas missing from every in-sync set (default: kafka/node4)",
        shows=("KAFKA_SERVER_UNREACHABLE", "KAFKA_BROKER_FENCED", "KAFKA_UNDER_REPLICATED", "KAFKA_AT_MIN_ISR"),
        break_it=break_under_replicated,
        heal=settle_and_delete("fault-under-replicated"),
    ),
    Fault(
        name="kafka-under-min-isr",
        help="two brokers killed, and a topic that takes no writes any more (node3 and node4)",
        shows=("KAFKA_UNDER_MIN_ISR", "KAFKA_UNDER_REPLICATED"),
        break_it=break_under_min_isr,
        heal=settle_and_delete("fault-under-min-isr"),
    ),
    Fault(
        name="kafka-leaderless",
        help="a topic with one replica, whose broker is killed (default: kafka/node4)",
        shows=("KAFKA_OFFLINE_PARTITIONS", "KAFKA_RF_LOW"),
        break_it=break_leaderless,
        heal=settle_and_delete("fault-leaderless"),
    ),
    Fault(
        name="kafka-quorum-lost",
        help="two of three controllers killed; TARGET is the one left (default: kafka/node1)",
        shows=("KAFKA_QUORUM", "KAFKA_SERVER_UNREACHABLE"),
        break_it=break_quorum,
        heal=settle_and_delete(),
    ),
    Fault(
        name="kafka-disk-full",
        help="the small volume of node4's second log directory filled up",
        shows=("KAFKA_DISK_USE",),
        break_it=break_disk_full,
        heal=heal_disk_full,
    ),
    Fault(
        name="kafka-replica-removed",
        help="a replica's folder removed under a running broker, which then loses the directory (default: kafka/node2)",
        shows=("KAFKA_LOG_DIR_OFFLINE", "KAFKA_UNDER_REPLICATED"),
        break_it=break_replica_removed,
        heal=heal_replica_removed,
    ),
    Fault(
        name="kafka-throttle",
        help="replication throttles left behind on a broker and a topic (default: kafka/node3)",
        shows=("KAFKA_THROTTLE_LEFT",),
        break_it=break_throttle,
        heal=heal_throttle,
    ),
    Fault(
        name="kafka-stuck-reassignment",
        help="a partition that is moved to a broker which is down (default: kafka/node4)",
        shows=("KAFKA_REASSIGNMENT_STUCK", "KAFKA_BROKER_FENCED"),
        break_it=break_stuck,
        heal=settle_and_delete("fault-stuck"),
    ),
    Fault(
        name="kafka-unclean",
        help="a topic with unclean leader election on",
        shows=("KAFKA_UNCLEAN_ELECTION",),
        break_it=break_unclean,
        heal=settle_and_delete("fault-unclean"),
    ),
    Fault(
        name="kafka-skew",
        help="a topic of 48 partitions that broker 1 leads alone and broker 4 has no replica of",
        shows=("KAFKA_LEADER_SKEW", "KAFKA_REPLICA_SKEW"),
        break_it=break_skew,
        heal=settle_and_delete("fault-skew"),
    ),
    Fault(
        name="kafka-group-stopped",
        help="a consumer group without members, 500 records behind on each partition",
        shows=("KAFKA_GROUP_STOPPED",),
        break_it=break_group_stopped,
        heal=heal_group_stopped,
    ),
)
