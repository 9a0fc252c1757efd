"""A rolling restart by bdops against what the brokers themselves need: stop, start, catch up.

    python benchmarks/kafka_restart.py [LAB]

Needs a running lab with Kafka and data. The brokers' own time is taken without bdops' engine: each is stopped and
started by its supervisord and looked at until it is unfenced and all replicas are in sync, one after the other, in the
order of the restart. The two take turns, and the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bdops.components.kafka.checks.common import down_brokers
from bdops.components.kafka.checks.partitions import under_replicated
from bdops.lab import kafka, kafka_client
from bdops.lab.lab import Lab

ROUNDS = 3
BAR = 1.25
POLL_S = 0.05


def own_s(lab: Lab) -> float:
    """The sum of all brokers' stop, start and catch-up times."""
    total = 0.0
    quorum = kafka_client.state_of(lab, "quorum").quorum
    assert quorum is not None
    last = kafka.HOSTS[(quorum.leader_id or 1) - 1]
    for host in [*(h for h in kafka.HOSTS if h != last), last]:
        began = time.monotonic()
        lab.stop(kafka.PROGRAM, host)
        lab.start(kafka.PROGRAM, host)
        while not _in_sync(lab):
            time.sleep(POLL_S)
        total += time.monotonic() - began
        kafka_client.await_in_sync(lab, 120)
    return total


def _in_sync(lab: Lab) -> bool:
    state = kafka_client.state_of(lab, "servers", "brokers", "topics", "reassignments")
    read = None not in (state.servers, state.brokers, state.topics, state.reassignments)
    answer = all(not s.error for s in state.servers or ())
    return read and answer and not down_brokers(state) and not any(under_replicated(state))


def restart_s(lab: Lab) -> float:
    """A whole `bdops kafka restart`, as an operator has it: over SSH, with gates, leaders moved away and back."""
    argv = [sys.executable, "-m", "bdops", "-i", str(lab.inventory), "kafka", "restart", "--yes"]
    began = time.monotonic()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    took_s = time.monotonic() - began
    if done.returncode != 0:
        sys.exit(done.stderr)
    return took_s


def main() -> None:
    lab = Lab.open(sys.argv[1] if len(sys.argv) > 1 else "lab")
    own, ours = [], []
    for n in range(ROUNDS):
        kafka_client.await_in_sync(lab, 120)
        own.append(own_s(lab))
        kafka_client.await_in_sync(lab, 120)
        ours.append(restart_s(lab))
        print(f"round {n + 1}: the brokers' own {own[-1]:.1f} s, bdops {ours[-1]:.1f} s", flush=True)
    ratio = statistics.median(ours) / statistics.median(own)
    print(f"| the brokers' own, one by one | {statistics.median(own):.1f} s | 1 | |")
    print(f"| `bdops kafka restart` | {statistics.median(ours):.1f} s | {ratio:.2f} | {BAR} |")


if __name__ == "__main__":
    main()
