"""bdops at real size, without servers: 1,000 hosts, 300 brokers, 2 M replicas, 2,000 DataNodes, 500 nodes of ES.

    python benchmarks/fleet.py [--runs 3]

An inventory of two clusters is loaded, selectors are resolved, and states of one of everything (made here, with one
broken rack switch in each) are saved and checked as `bdops check --state FILE` does: time, peak memory of the process,
lines printed, and the first line of what it says. CPU times, as the machine is shared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from timing import BDOPS, arguments, medians

from bdops.components.es import state as es
from bdops.components.hdfs import state as hdfs
from bdops.components.host import state as host
from bdops.components.kafka import state as kafka
from bdops.components.state_file import save_state

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
RACKS = 20
LOST_RACK = "r07"
CLUSTERS = ("east", "west")
HOSTS, BROKERS, DATANODES, ES_NODES = 500, 150, 500, 250
"""Of each of the two clusters."""
PARTITIONS, TOPICS = 666_667, 2_000
SELECTORS = (None, "east/kafka", "@datanode", "h0[100-400]", "east,!east/es", "*/zk")
LOAD_BAR_S, SELECT_BAR_MS = 1.0, 50.0


def inventory() -> str:
    """Two clusters, every host on a line of its own."""
    lines = ["version: 1", "clusters:"]
    for n, cluster in enumerate(CLUSTERS):
        names = [f"h{n * HOSTS + i + 1:04d}" for i in range(HOSTS)]

        def span(first: int, count: int, names: list[str] = names) -> str:
            return f'"h[{names[first][1:]}-{names[first + count - 1][1:]}]"'

        lines += [f"  {cluster}:", "    ssh: {user: ops}", "    service: {manager: systemd, sudo: true}", "    hosts:"]
        lines += [
            f'      {name}: {{rack: {_rack(i)}, address: "{{name}}.{cluster}.example.com"}}'
            for i, name in enumerate(names)
        ]
        lines += ["    components:", "      zk:", "        service: {unit: zookeeper}", "        hosts:"]
        lines += [f"          {names[i]}: {{myid: {i + 1}, roles: participant}}" for i in range(5)]
        lines += [
            "      kafka:",
            "        service: {unit: kafka}",
            "        roles:",
            f"          controller: {{hosts: {span(0, 5)}}}",
            f"          broker: {{hosts: {span(5, BROKERS)}}}",
            "      hdfs:",
            f"        nameservice: {cluster}",
            '        service: {unit: "hadoop-hdfs-{process}"}',
            "        roles:",
            f"          namenode: {{hosts: {span(0, 2)}}}",
            f"          journalnode: {{hosts: {span(0, 3)}}}",
            f"          datanode: {{hosts: {span(0, DATANODES)}}}",
            "      es:",
            "        service: {unit: elasticsearch}",
            "        roles:",
            f"          master: {{hosts: {span(0, 3)}}}",
            f"          data: {{hosts: {span(3, ES_NODES)}}}",
        ]
    return "\n".join(lines) + "\n"


def _rack(number: int) -> str:
    return f"r{number % RACKS:02d}"


def kafka_state() -> kafka.KafkaState:
    """300 brokers, 2 M replicas in racks of their own; those of the lost rack are fenced."""
    count = len(CLUSTERS) * BROKERS
    racks = {b: _rack(b) for b in range(1, count + 1)}
    lost = {b for b, rack in racks.items() if rack == LOST_RACK}

    def partition(number: int, at: int) -> kafka.Partition:
        replicas = tuple(1 + (at * 7 + step * (count // 3 + 1)) % count for step in range(3))
        isr = tuple(b for b in replicas if b not in lost)
        return kafka.Partition(id=number, leader=isr[0] if isr else None, replicas=replicas, isr=isr)

    def topics() -> Iterator[kafka.Topic]:
        each = PARTITIONS // TOPICS
        for t in range(TOPICS):
            yield kafka.Topic(name=f"topic-{t:04d}", partitions=tuple(partition(n, t * each + n) for n in range(each)))

    return kafka.KafkaState(
        cluster="east",
        taken_at=NOW,
        expected=tuple(
            kafka.ExpectedServer(name=f"east/kafka/h{b:04d}", host=f"h{b:04d}", node_id=b, rack=racks[b]) for b in racks
        ),
        servers=tuple(
            kafka.Server(name=f"east/kafka/h{b:04d}", error="no route to host" if b in lost else None) for b in racks
        ),
        cluster_id="x",
        brokers=tuple(kafka.Broker(id=b, rack=racks[b], fenced=b in lost) for b in racks),
        topics=tuple(topics()),
        reassignments=(),
    )


def hdfs_state() -> hdfs.HdfsState:
    """2,000 DataNodes, those of a rack dead; 100,000 blocks short of a copy."""
    nodes = range(2_000)
    return hdfs.HdfsState(
        cluster="east",
        taken_at=NOW,
        expected=tuple(
            hdfs.ExpectedInstance(
                name=f"east/hdfs/h{n:04d}/datanode",
                role="datanode",
                host=f"h{n:04d}",
                address=f"h{n:04d}",
                port=9866,
                rack=_rack(n),
            )
            for n in nodes
        ),
        datanodes=tuple(
            hdfs.DataNodeState(
                hostname=f"h{n:04d}",
                address=f"h{n:04d}",
                port=9866,
                live=_rack(n) != LOST_RACK,
                rack=f"/{_rack(n)}",
                block_report_age_s=600.0,
                contact_age_s=900.0 if _rack(n) == LOST_RACK else 1.0,
                capacity_bytes=10**13,
                used_bytes=7 * 10**12,
                remaining_bytes=3 * 10**12,
                blocks=200_000,
            )
            for n in nodes
        ),
        replicated_blocks=hdfs.BlockCounts(low_redundancy=100_000, missing=0, corrupt=0, total=400_000_000),
    )


def es_state() -> es.EsState:
    """500 nodes, 25,000 shards with a replica each; the copies of a rack are unassigned."""
    names = [f"h{n:04d}" for n in range(500)]
    lost = {name for n, name in enumerate(names) if _rack(n) == LOST_RACK}
    gone = es.Unassigned(reason="NODE_LEFT", since=NOW - timedelta(minutes=5))

    def copy(shard: int, primary: bool) -> es.Shard:
        node = names[(shard * 3 + (0 if primary else 251)) % 500]
        made = partial(es.Shard, index=f"logs-{shard // 10:04d}", shard=shard % 10, primary=primary)
        return made(state="UNASSIGNED", unassigned=gone) if node in lost else made(state="STARTED", node=node)

    shards = tuple(copy(n, primary) for n in range(25_000) for primary in (True, False))
    return es.EsState(
        cluster="east",
        taken_at=NOW,
        expected=tuple(
            es.ExpectedNode(instance=f"east/es/{name}", name=name, host=name, rack=_rack(n))
            for n, name in enumerate(names)
        ),
        servers=tuple(
            es.Server(
                instance=f"east/es/{name}",
                name=name,
                error="no route to host" if name in lost else None,
                error_kind="unreachable" if name in lost else None,
            )
            for name in names
        ),
        members=tuple(es.Member(name=name) for name in names if name not in lost),
        indices=tuple(es.Index(name=f"logs-{n:04d}", shards=10) for n in range(2_500)),
        shards=shards,
    )


def host_state() -> host.HostState:
    """1,000 hosts; those of a rack do not answer, a tenth of the others have a disk that is filling up."""
    names = [f"h{n:04d}" for n in range(1_000)]

    def observed(n: int, name: str) -> host.ObservedHost:
        if _rack(n) == LOST_RACK:
            return host.ObservedHost(name=name, error="no route to host", error_code="UNREACHABLE")
        used = 90 if n % 10 == 0 else 40
        disk = host.DataDir(path="/data/1", exists=True, mount="/data/1", size_bytes=100, used_bytes=used,
                            available_bytes=100 - used, inodes=100, inodes_used=1)  # fmt: skip
        return host.ObservedHost(name=name, clock_offset_s=0.001, clock_error_s=0.001, data_dirs=(disk,), services=())

    return host.HostState(
        cluster="east",
        taken_at=NOW,
        unread={f"hosts/{name}": "no route to host" for n, name in enumerate(names) if _rack(n) == LOST_RACK},
        expected=tuple(
            host.ExpectedHost(name=name, address=name, rack=_rack(n), data_dirs=("/data/1",))
            for n, name in enumerate(names)
        ),
        hosts=tuple(observed(n, name) for n, name in enumerate(names)),
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """One run of `bdops check --state`."""

    cpu_s: float
    peak_mib: float
    lines: int
    longest_line: int
    first: str
    last: str


_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


def checked(file: Path, folder: Path) -> Checked:
    """Run it as the only child of a small process: a child of this one would be said to be as large as this one is."""
    run = [sys.executable, "-c", _MEASURED, BDOPS, "check", "--state", str(file)]
    env = {**os.environ, "BDOPS_STATE_DIR": str(folder)}
    done = subprocess.run(run, capture_output=True, text=True, env=env, check=True, timeout=600)
    cpu_s, peak_kb = done.stderr.split()[-2:]
    text = done.stdout.splitlines()
    return Checked(
        cpu_s=float(cpu_s),
        peak_mib=int(peak_kb) / 1024,
        lines=len(text),
        longest_line=max(map(len, text), default=0),
        first=text[0] if text else done.stderr,
        last=text[-1] if text else "",
    )


def inventory_figures(folder: Path, runs: int) -> bool:
    """CPU of loading the inventory and of each selector."""
    from bdops.inventory.load import load_inventory
    from bdops.inventory.selectors import select
    from bdops.registry import COMPONENTS, settings

    file = folder / "inventory.yaml"
    file.write_text(inventory())
    known = {name: settings(name) for name in COMPONENTS}
    loaded = load_inventory(file, known)

    def cpu_s(act: Callable[[], Any]) -> float:
        began = time.process_time()
        act()
        return time.process_time() - began

    load_s = medians({"load": lambda: cpu_s(lambda: load_inventory(file, known))}, runs)["load"]
    chosen = {s or "(everything)": len(select(loaded, s)) for s in SELECTORS}
    took = medians({s or "(everything)": partial(cpu_s, partial(select, loaded, s)) for s in SELECTORS}, runs)
    instances = chosen["(everything)"]
    print(f"inventory: {len(CLUSTERS) * HOSTS:,} hosts, {instances:,} instances: {load_s:.2f} s (bar {LOAD_BAR_S})")
    for text, seconds in took.items():
        print(f"  {text:24} {chosen[text]:6,} instances  {seconds * 1000:5.1f} ms (bar {SELECT_BAR_MS:.0f})")
    return load_s <= LOAD_BAR_S and max(took.values()) * 1000 <= SELECT_BAR_MS


def main() -> int:
    asked = arguments(__doc__ or "", runs=3, lab=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        met = inventory_figures(folder, asked.runs)
        for make in (kafka_state, hdfs_state, es_state, host_state):
            file = folder / f"{make.__name__}.json"
            save_state(make(), file)
            found = checked(file, folder)
            print(
                f"check of {make.__name__} ({file.stat().st_size / 1e6:.0f} MB): {found.cpu_s:.1f} s CPU, "
                f"{found.peak_mib:.0f} MiB; {found.lines} lines of at most {found.longest_line} characters\n"
                f"  {found.first}\n  {found.last}"
            )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
