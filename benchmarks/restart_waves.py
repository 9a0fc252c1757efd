"""Waves that are safe together against one by one, on simulated clusters: state in, waves out.

    python benchmarks/restart_waves.py

48 brokers in three racks, three replicas in three racks, min.insync.replicas 2, and three controllers of their own.
A wave is counted as one unit of time, as the brokers of a wave restart side by side.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

from bdops.components.kafka.gates import gate_facts
from bdops.components.kafka.order import targets
from bdops.components.kafka.standing import Cluster
from bdops.components.kafka.state import (
    Broker,
    ExpectedServer,
    KafkaState,
    MetadataQuorum,
    Partition,
    Server,
    Topic,
    Voter,
)
from bdops.core.gate import Verdict, judge
from bdops.core.plan import Step, steps_in_waves
from bdops.core.waves import WaveMode

BROKERS, RACKS, CONTROLLERS = 48, 3, 3
TOPICS, PARTITIONS = 200, 24
BAR = 8.0


def simulated(in_racks: bool) -> KafkaState:
    """Replicas one in each rack, as Kafka places them (KIP-36), or anywhere: then all brokers share partitions."""
    chance = random.Random(1)
    brokers = list(range(1, BROKERS + 1))
    rack = {b: f"r{b % RACKS}" for b in brokers}
    per_rack = [[b for b in brokers if rack[b] == f"r{r}"] for r in range(RACKS)]

    def replicas() -> tuple[int, ...]:
        chosen = [chance.choice(each) for each in per_rack] if in_racks else chance.sample(brokers, 3)
        chance.shuffle(chosen)
        return tuple(chosen)

    def topic(number: int) -> Topic:
        lists = [replicas() for _ in range(PARTITIONS)]
        return Topic(
            name=f"t{number}",
            partitions=tuple(Partition(id=n, leader=r[0], replicas=r, isr=r) for n, r in enumerate(lists)),
        )

    controllers = list(range(101, 101 + CONTROLLERS))
    topics = tuple(topic(n) for n in range(TOPICS))
    names = {n: f"prod/kafka/node{n}" for n in brokers + controllers}
    return KafkaState(
        cluster="prod",
        taken_at=datetime(2026, 11, 25, tzinfo=UTC),
        expected=tuple(
            ExpectedServer(
                name=name,
                host=f"node{n}",
                node_id=n,
                roles=("broker",) if n in rack else ("controller",),
                rack=rack.get(n),
            )
            for n, name in names.items()
        ),
        servers=tuple(Server(name=name) for name in names.values()),
        cluster_id="simulated",
        brokers=tuple(Broker(id=b, rack=rack[b]) for b in brokers),
        quorum=MetadataQuorum(
            leader_id=101,
            voters=tuple(Voter(id=n, lag=0, lag_ms=100) for n in controllers),
            observers=tuple(Voter(id=b, lag=0, lag_ms=100) for b in brokers),
        ),
        topics=topics,
        topic_configs={t.name: {"min.insync.replicas": "2"} for t in topics},
        reassignments=(),
    )


def waves(state: KafkaState, mode: WaveMode) -> tuple[tuple[Step, ...], ...]:
    cluster = Cluster(state)
    brokers = [name for name in cluster.servers if cluster.is_broker(name)]
    return steps_in_waves("kafka", targets(cluster, brokers, "restart"), gate_facts(state), mode=mode)


def main() -> None:
    print(f"{BROKERS} brokers, {RACKS} racks, {TOPICS * PARTITIONS} partitions, RF 3, min ISR 2")
    print("| replicas | mode | waves | largest | factor | took |")
    print("| --- | --- | --- | --- | --- | --- |")
    for in_racks, words in ((True, "one in each rack"), (False, "anywhere")):
        state = simulated(in_racks)
        facts = gate_facts(state)
        serial = len(waves(state, "serial"))
        for mode in ("auto", "rack", "serial"):
            began = time.perf_counter()
            found = waves(state, mode)  # type: ignore[arg-type]
            took_s = time.perf_counter() - began
            for wave in found:
                assert judge(facts, {s.name for s in wave}).verdict is Verdict.OK
            factor = serial / len(found)
            assert mode != "auto" or not in_racks or factor >= BAR
            print(f"| {words} | {mode} | {len(found)} | {max(map(len, found))} | {factor:.1f} | {took_s:.2f} s |")


if __name__ == "__main__":
    main()
