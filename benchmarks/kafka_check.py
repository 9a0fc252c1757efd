"""`bdops kafka check` against Kafka's own TopicCommand: wall time, side by side in one run, on a running lab.

    bdops lab up kafka && bdops lab load kafka
    python benchmarks/kafka_check.py

The requirement is a ratio of at most 0.5. bdops does all its Kafka checks in that time; TopicCommand lists the
under-replicated partitions alone. The two take turns, so that both see the same load of the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bdops.lab.lab import Lab
from bdops.lab.store import running_labs

BAR = 0.5


def seconds(argv: list[str], env: dict[str, str], ok: tuple[int, ...]) -> float:
    """Wall time of one run. Raises when it ends in an exit code that is none of `ok`."""
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    taken = time.perf_counter() - started
    if done.returncode not in ok:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", help="the lab's name (default: the one that runs)")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    labs = [x.name for x in running_labs()]
    if asked.lab is None and len(labs) != 1:
        raise SystemExit(f"running labs: {', '.join(labs) or 'none'}; name one with --lab")
    lab = Lab.open(asked.lab or labs[0])
    server = f"{lab.host('node1').address}:9092"
    # As Kafka's own scripts start it: bin/kafka-run-class.sh sets a heap of 256 MB and nothing else that matters here.
    java = ["java", "-Xmx256M", "-cp", lab.class_path("kafka"), "org.apache.kafka.tools.TopicCommand"]
    theirs = [*java, "--bootstrap-server", server, "--describe", "--under-replicated-partitions"]
    ours = [str(Path(sys.executable).with_name("bdops")), "kafka", "check", "-i", str(lab.inventory)]
    env = dict(os.environ)
    for argv, ok in ((theirs, (0,)), (ours, (0, 1, 2))):
        seconds(argv, env, ok)  # once to fill the page cache
    bdops, topic_command = [], []
    for _ in range(asked.runs):
        topic_command.append(seconds(theirs, env, (0,)))
        bdops.append(seconds(ours, env, (0, 1, 2)))
    mine, other = statistics.median(bdops), statistics.median(topic_command)
    print(f"bdops kafka check   median {mine:.2f} s  (min {min(bdops):.2f}, max {max(bdops):.2f}; {asked.runs} runs)")
    print(f"TopicCommand        median {other:.2f} s  (min {min(topic_command):.2f}, max {max(topic_command):.2f})")
    print(f"ratio               {mine / other:.2f}  (required: <= {BAR})")
    return 0 if mine / other <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
