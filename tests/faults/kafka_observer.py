"""Clients of Kafka that know nothing of bdops: they produce and consume, and look at the cluster every 200 ms.

    python -m tests.faults.kafka_observer TOPIC MIN_ISR HOST:PORT,HOST:PORT,...

Prints `ready` once records flow, goes on until its standard input ends, and prints what it saw as one JSON object.
The producer is idempotent and waits for all replicas (acks=all); every record has a number of its own, so that one that
is lost, stands twice in the log, or stands behind a later one of its partition, shows.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetSpec, TopicPartition

SAMPLE_S = 0.2
PAUSE_S = 0.01
"""Between two records: a load, not a flood."""
JOIN_S = 5.0
DRAIN_S = 60.0
BEHIND_MS = 5000
NEW_LEADER_S = 3.0
READY_S = 60.0


@dataclass
class Writer:
    """Sends records 0, 1, 2, ... in turn to all partitions; `acked` has partition and offset of each."""

    hosts: list[str]
    topic: str
    partitions: int
    sent: int = 0
    acked: dict[int, tuple[int, int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    worst_ms: float = 0.0
    slow: int = 0

    def run(self, over: threading.Event) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self.hosts,
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            request_timeout_ms=15_000,
            delivery_timeout_ms=60_000,
            reconnect_backoff_max_ms=1000,
            # A topic that is new may not be known to the first broker that is asked.
            metadata_max_age_ms=2000,
        )
        while not over.is_set():
            number, began = self.sent, time.monotonic()
            self.sent += 1
            try:
                future = producer.send(
                    self.topic, partition=number % self.partitions, value=f"{number} {began}".encode()
                )
                future.add_callback(self.note_ack, number, began)
                future.add_errback(self.note_failure, number)
            except Exception as e:
                self.note_failure(number, e)
            time.sleep(PAUSE_S)
        producer.flush(timeout=DRAIN_S)
        producer.close(timeout=10)

    def note_ack(self, number: int, began: float, found: Any) -> None:
        self.acked[number] = (found.partition, found.offset)
        took_ms = (time.monotonic() - began) * 1000
        self.worst_ms = max(self.worst_ms, took_ms)
        self.slow += took_ms > 1000

    def note_failure(self, number: int, error: BaseException) -> None:
        self.failed.append(f"record {number}: {type(error).__name__}: {error}")


@dataclass
class Reader:
    """A group of one that reads all partitions; `seen` maps each record's number to where it stood in the log."""

    hosts: list[str]
    topic: str
    group: str
    seen: dict[int, set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    last: dict[int, tuple[int, int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    read_again: int = 0
    worst_ms: float = 0.0
    positions: dict[int, int] = field(default_factory=dict)

    def run(self, over: threading.Event) -> None:
        consumer, joined_at = self.joined(), time.monotonic()
        while not over.is_set():
            try:
                if not consumer.assignment() and not self.positions and time.monotonic() - joined_at > JOIN_S:
                    # Joined by what a broker knew that had not heard of the new topic: kafka-python stays without.
                    consumer.close()
                    consumer, joined_at = self.joined(), time.monotonic()
                for partition, records in consumer.poll(timeout_ms=200).items():
                    for record in records:
                        self.note(partition.partition, record.offset, record.value)
            except Exception as e:
                self.failed.append(f"the consumer: {type(e).__name__}: {e}")
                over.wait(0.5)
        consumer.close()

    def joined(self) -> Any:
        return KafkaConsumer(
            self.topic,
            bootstrap_servers=self.hosts,
            group_id=self.group,
            auto_offset_reset="earliest",
            reconnect_backoff_max_ms=1000,
            # A topic that is new may not be known to the first broker that is asked.
            metadata_max_age_ms=2000,
            consumer_timeout_ms=500,
        )

    def note(self, partition: int, offset: int, value: bytes) -> None:
        number, began = int(value.split()[0]), float(value.split()[1])
        if (partition, offset) in self.seen[number]:
            self.read_again += 1
            return
        self.seen[number].add((partition, offset))
        self.worst_ms = max(self.worst_ms, (time.monotonic() - began) * 1000)
        before = self.last.get(partition, (-1, -1))
        if offset > before[0]:
            if number <= before[1]:
                self.out_of_order.append(f"{self.topic}-{partition}: {number} after {before[1]}")
            self.last[partition] = (offset, number)
            self.positions[partition] = offset + 1


@dataclass
class Sampler:
    """Looks every 200 ms who listens, how many replicas are in sync, how many voters follow, and who leads them."""

    hosts: list[str]
    topic: str
    min_isr: int
    samples: int = 0
    unanswered: int = 0
    fewest_in_sync: int = 99
    fewest_up: int = 99
    fewest_voters: int = 99
    leaders: list[int] = field(default_factory=list)
    epoch: int = -1
    led_since: float = 0.0
    longest_without_answer_s: float = 0.0
    under: list[str] = field(default_factory=list)
    leaderless: list[str] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        admin: Any = None
        answered_at = time.monotonic()
        with ThreadPoolExecutor(len(self.hosts)) as threads:
            while not over.wait(SAMPLE_S):
                self.fewest_up = min(self.fewest_up, sum(threads.map(listens, self.hosts)))
                try:
                    admin = admin or KafkaAdminClient(
                        bootstrap_servers=self.hosts, request_timeout_ms=2000, bootstrap_timeout_ms=2000
                    )
                    self.look(admin)
                except Exception:
                    # An observer's own request may meet a broker that goes; the next one is asked.
                    self.unanswered += 1
                    if admin is not None:
                        admin.close()
                    admin = None
                    continue
                now = time.monotonic()
                self.longest_without_answer_s = max(self.longest_without_answer_s, now - answered_at)
                answered_at = now
        if admin is not None:
            admin.close()

    def look(self, admin: Any) -> None:
        (topic,) = admin.describe_topics([self.topic])
        for p in topic["partitions"]:
            name = f"{self.topic}-{p['partition_index']}"
            self.fewest_in_sync = min(self.fewest_in_sync, len(p["isr_nodes"]))
            if len(p["isr_nodes"]) < self.min_isr:
                self.under.append(f"{name}: in sync {p['isr_nodes']}")
            if p["leader_id"] < 0:
                self.leaderless.append(name)
        found = admin.describe_metadata_quorum()["topics"][0]["partitions"][0]
        end = max(v["last_caught_up_timestamp"] for v in found["current_voters"])
        if found["leader_epoch"] != self.epoch:
            self.epoch, self.led_since = found["leader_epoch"], time.monotonic()
        # A new leader has not heard of anybody yet, but for the majority that has just elected it.
        new = time.monotonic() - self.led_since < NEW_LEADER_S
        caught_up = [v["last_caught_up_timestamp"] for v in found["current_voters"]]
        following = sum(end - at < BEHIND_MS or (new and at < 0) for at in caught_up)
        self.fewest_voters = min(self.fewest_voters, following)
        if self.leaders[-1:] != [found["leader_id"]]:
            self.leaders.append(found["leader_id"])
        self.samples += 1


def listens(host: str) -> bool:
    address, _, port = host.rpartition(":")
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def log_ends(hosts: list[str], topic: str, partitions: int) -> dict[int, int]:
    """Partition -> log end offset, by a client that knows the cluster as it is now."""
    admin = KafkaAdminClient(bootstrap_servers=hosts)
    wanted = {TopicPartition(topic, n): OffsetSpec.LATEST for n in range(partitions)}
    found = admin.list_partition_offsets(wanted)
    admin.close()
    return {tp.partition: result.offset for tp, result in found.items()}


def main() -> None:
    topic, min_isr, hosts = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
    logging.disable(logging.CRITICAL)
    admin = KafkaAdminClient(bootstrap_servers=hosts)
    partitions = len(admin.describe_topics([topic])[0]["partitions"])
    admin.close()
    writer, sampler = Writer(hosts, topic, partitions), Sampler(hosts, topic, min_isr)
    reader = Reader(hosts, topic, f"observer-{time.time_ns()}")
    written, read = threading.Event(), threading.Event()
    began = time.monotonic()
    first = [threading.Thread(target=each.run, args=(written,), daemon=True) for each in (writer, sampler)]
    second = threading.Thread(target=reader.run, args=(read,), daemon=True)
    for thread in (*first, second):
        thread.start()
    while len(reader.positions) < partitions or not sampler.samples:
        if time.monotonic() - began > READY_S:
            sys.exit(f"no records within {READY_S:.0f} s: {writer.failed[:3]} {reader.failed[:3]} {sampler}")
        time.sleep(0.05)
    writer.worst_ms = reader.worst_ms = sampler.longest_without_answer_s = 0.0
    print("ready", flush=True)
    sys.stdin.read()
    seconds = time.monotonic() - began
    written.set()
    for thread in first:
        thread.join(DRAIN_S + 15)
    ends = log_ends(hosts, topic, partitions)
    deadline = time.monotonic() + DRAIN_S
    while any(reader.positions.get(n, 0) < end for n, end in ends.items()) and time.monotonic() < deadline:
        time.sleep(0.05)
    read.set()
    second.join(15)
    print(json.dumps(concluded(writer, reader, sampler, ends, seconds)), flush=True)


def concluded(writer: Writer, reader: Reader, sampler: Sampler, ends: dict[int, int], seconds: float) -> dict[str, Any]:
    """What was seen; `violations` are in words what must not have been."""
    violations = [*writer.failed[:10], *reader.failed[:10], *reader.out_of_order[:10]]
    behind = {n: (reader.positions.get(n, 0), end) for n, end in ends.items() if reader.positions.get(n, 0) < end}
    if behind:
        violations.append(f"the consumer did not reach the end: {behind}")
    for number, where in writer.acked.items():
        if where not in reader.seen.get(number, ()):
            violations.append(f"record {number}, acknowledged at {where}, was not read: {reader.seen.get(number)}")
    violations += [f"record {n} stands twice: {sorted(places)}" for n, places in reader.seen.items() if len(places) > 1]
    unheard = writer.sent - len(writer.acked) - len(writer.failed)
    if unheard:
        violations.append(f"of {unheard} records the producer never heard")
    violations += [f"under min ISR: {each}" for each in sampler.under[:10]]
    violations += [f"without a leader: {each}" for each in sampler.leaderless[:10]]
    return {
        "seconds": round(seconds, 1),
        "acknowledged": len(writer.acked),
        "read": len(reader.seen),
        "read_again": reader.read_again,
        "worst_write_ms": round(writer.worst_ms),
        "writes_over_1_s": writer.slow,
        "worst_end_to_end_ms": round(reader.worst_ms),
        "samples": sampler.samples,
        "unanswered_samples": sampler.unanswered,
        "longest_without_answer_s": round(sampler.longest_without_answer_s, 2),
        "fewest_in_sync": sampler.fewest_in_sync,
        "fewest_brokers_up": sampler.fewest_up,
        "fewest_voters": sampler.fewest_voters,
        "controllers": sampler.leaders,
        "violations": violations[:50],
    }


if __name__ == "__main__":
    main()
