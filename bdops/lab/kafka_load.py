"""Data for the lab's Kafka: topics with keyed records, one of them compacted, and consumer groups behind their ends."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bdops.lab.lab import Lab
    from bdops.lab.recipe import Say

BROKERS = 4


@dataclass(frozen=True, slots=True)
class LoadTopic:
    """`records` at factor 1; `compacted` topics keep the newest record of a key."""

    name: str
    partitions: int
    records: int
    size_bytes: int
    compacted: bool = False


TOPICS = (
    LoadTopic("orders", 12, 6000, 250),
    LoadTopic("payments", 8, 3000, 150),
    LoadTopic("clicks", 16, 12000, 120),
    LoadTopic("customers", 8, 2000, 300, compacted=True),
)

GROUPS = {"billing": ("orders", 0), "shipping": ("orders", 20), "analytics": ("clicks", 35), "ledger": ("payments", 0)}
"""Group -> topic, and how many records of each partition it has yet to read: below what a check calls lag."""


def assignment(partitions: int, shift: int = 0) -> list[list[int]]:
    """Three of four brokers for each partition: leaders and replicas even, and both racks (1, 2 and 3, 4) in use."""
    order = (1, 3, 2, 4)
    return [[order[(n + shift + k) % BROKERS] for k in range(3)] for n in range(partitions)]


def load(lab: Lab, factor: float, say: Say) -> None:
    """Make the topics, produce, and commit the groups' offsets. Repeated, it adds records and moves the groups on."""
    from bdops.lab import kafka_client as client

    chance = random.Random(1)
    for topic in TOPICS:
        configs = {"cleanup.policy": "compact"} if topic.compacted else {}
        client.create_topic(lab, topic.name, assignment(topic.partitions), configs)
    total = 0
    with client.producer(lab, acks="all") as out:
        for topic in TOPICS:
            count = int(topic.records * factor)
            keys = max(1, count // 10)
            for n in range(count):
                out.send(topic.name, key=f"{topic.name}-{chance.randrange(keys)}".encode(), value=_record(topic, n))
            total += count
    say(f"Kafka: {total} records in {len(TOPICS)} topics")
    for group, (name, behind) in GROUPS.items():
        ends = client.log_ends(lab, name)
        client.commit(lab, group, name, {n: max(0, end - behind) for n, end in ends.items()})
    say(f"Kafka: {len(GROUPS)} consumer groups, {sum(behind > 0 for _, behind in GROUPS.values())} of them behind")


def _record(topic: LoadTopic, number: int) -> bytes:
    head = json.dumps({"topic": topic.name, "number": number}).encode()
    return head + b" " * max(0, topic.size_bytes - len(head))


def fill(lab: Lab, topic: str, partitions: Sequence[int], records: int, size_bytes: int = 100) -> None:
    """Produce `records` of one size to each of these partitions."""
    from bdops.lab import kafka_client as client

    with client.producer(lab, acks=1) as out:
        for _ in range(records):
            for partition in partitions:
                out.send(topic, partition=partition, value=b"x" * size_bytes)
