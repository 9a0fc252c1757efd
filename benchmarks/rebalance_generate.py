"""What `kafka-reassign-partitions --generate` and Yelp's kafka-utils move and take, beside bdops, on the same layouts
in the same run.

Both commands want a cluster; what they calculate takes the current assignment and the brokers, and is called with those
alone: ReassignPartitionsCommand's calculateAssignment, of the Kafka that the lab runs, from Maven Central, which places
everything anew, so that its plan is even whatever that moves; and `kafka-cluster-manager` (kafka_utils_driver.py), in a
virtual environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rebalance import CASES, Case, layout_of, run

from bdops.components.kafka.planner.model import Layout
from bdops.lab.jars import resolve
from bdops.lab.kafka import ARTIFACTS
from bdops.lab.paths import cache_dir

KAFKA_UTILS = "kafka-utils==4.1.0"
TIMEOUT_S = 1200
NAMES = ("counts to +-1, least bytes", "counts to +-1, 100 brokers", "drain 10 of 270")


def lines_of(layout: Layout) -> Iterator[str]:
    for row in range(len(layout)):
        topic, _, number = layout.partition(row).rpartition("-")
        held = ",".join(str(layout.brokers.ids[b]) for b in layout.replicas[row] if b >= 0)
        yield f"{topic} {number} {held}"


Planner = Callable[[Path, Path, Path, set[int]], list[str]]
"""The command line that reads the assignment and the brokers, and writes the proposed assignment."""


def by_generate(current: Path, brokers: Path, proposed: Path, drained: set[int]) -> list[str]:
    _without(brokers, drained)
    jars = resolve("kafka", ARTIFACTS, cache=cache_dir(), say=print)
    source = Path(__file__).with_name("Generate.java")
    return ["java", "-cp", f"{jars}/*", str(source), str(current), str(brokers), str(proposed)]


def by_kafka_utils(python: Path) -> Planner:
    """`python`: one that has kafka-utils."""

    def command(current: Path, brokers: Path, proposed: Path, drained: set[int]) -> list[str]:
        driver = Path(__file__).with_name("kafka_utils_driver.py")
        going = [",".join(map(str, sorted(drained)))] if drained else []
        return [str(python), str(driver), str(current), str(brokers), str(proposed), *going]

    return command


def python_with_kafka_utils(folder: Path) -> Path:
    """Its kafka-python is an old one, so it gets a virtual environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", KAFKA_UTILS], check=True)
    return python


def _without(brokers: Path, drained: set[int]) -> None:
    lines = [line for line in brokers.read_text().splitlines() if int(line.split(" ")[0]) not in drained]
    brokers.write_text("\n".join(lines))


def planned(planner: Planner, layout: Layout, drained: set[int], folder: Path) -> str:
    """Wall time, replicas moved, bytes moved, and the least and most replicas of a broker: cells of the table."""
    current, brokers, out = folder / "current", folder / "brokers", folder / "proposed"
    current.write_text("\n".join(lines_of(layout)))
    ids = layout.brokers.ids.tolist()
    racks = [layout.brokers.racks[r] if r >= 0 else "" for r in layout.brokers.rack]
    brokers.write_text("\n".join(f"{n} {r}" for n, r in zip(ids, racks, strict=True)))
    argv = planner(current, brokers, out, drained)
    started = time.perf_counter()
    try:
        subprocess.run(
            argv, check=True, env={**os.environ, "LC_ALL": "C"}, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"not within {TIMEOUT_S} s | | |"
    wall = time.perf_counter() - started
    row_of = {layout.partition(row): row for row in range(len(layout))}
    moved = size = 0
    loads = dict.fromkeys((n for n in ids if n not in drained), 0)
    for line in out.read_text().splitlines():
        topic, number, listed = line.split(" ")
        row = row_of[f"{topic}-{number}"]
        new = [int(n) for n in listed.split(",")]
        old = {ids[b] for b in layout.replicas[row] if b >= 0}
        added = len(set(new) - old)
        moved += added
        size += added * int(layout.size_bytes[row])
        for number_ in new:
            loads[number_] += 1
    return f"{wall:.1f} s | {moved:,} | {size / 1e12:.2f} TB | {min(loads.values()):,} to {max(loads.values()):,} |"


def one_of_twenty() -> tuple[Layout, set[int]]:
    """20 brokers with one replica each, of which one goes: every move but one is for nothing."""
    made = layout_of(Case(name="", brokers=20, racks=1, replicas=20, command=(), options={"factors": {2: 1.0}}))
    rows = np.arange(20, dtype=np.int16).reshape(10, 2)
    return replace(made, replicas=rows, leader=rows[:, 0]), {20}


def main() -> int:
    print("| case | planner | wall | replicas moved | bytes moved | replicas per broker |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planners = {
            "--generate": by_generate,
            "kafka-utils": by_kafka_utils(python_with_kafka_utils(folder / "kafka-utils")),
        }
        layout, drained = one_of_twenty()
        for planner, command in planners.items():
            print(
                f"| remove 1 of 20, 20 replicas | {planner} | {planned(command, layout, drained, folder)}", flush=True
            )
        for case in CASES:
            if case.name not in NAMES:
                continue
            layout = layout_of(case)
            drained = set(range(11, 21)) if case.command[0] == "drain" else set()
            for planner, command in planners.items():
                print(f"| {case.name} | {planner} | {planned(command, layout, drained, folder)}", flush=True)
            del layout
            found = run(case, folder)
            after = [b["replicas_after"] for b in found["brokers"] if b["state"] == "live"]
            print(
                f"| {case.name} | bdops | {found['wall_s']:.1f} s | {found['moved_replicas']:,}"
                f" | {found['moved_bytes'] / 1e12:.2f} TB | {min(after):,} to {max(after):,} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
