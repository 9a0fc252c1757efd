"""Plans of reassignments: each case in a fresh process from the layout's file to plan.json, replayed by the checker.

`python benchmarks/rebalance.py [--only NAME] [--no-check]` prints, for each case, wall and CPU time, peak memory, what
moves, the gap to the proven bound, and whether the issue's bar is met. The layouts come from
`rebalance_generator.py` with a fixed seed. What stands beside it is in `rebalance_generate.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rebalance_generator as generator
from timing import BDOPS

from bdops.components.kafka.planner.compact import write_compact
from bdops.components.kafka.planner.model import Layout

ROOT = Path(__file__).parents[1]
BYTES = ("--balance", "bytes,count,leaders", "--tolerance", "bytes=5%,count=10%,leaders=10%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One layout and one command. Bars are the issue's; None where it asks for a report alone."""

    name: str
    brokers: int
    racks: int | Sequence[int]
    replicas: int
    command: Sequence[str]
    options: dict[str, Any] = field(default_factory=dict)
    most_s: float | None = None
    most_gap: float | None = None
    most_gib: float | None = None
    optimal: bool = False
    sizes: bool = True


CASES = (
    Case(
        name="counts to +-1, least bytes", brokers=40, racks=10, replicas=50_001,
        command=("rebalance", "--balance", "count"), most_s=3, optimal=True,
    ),
    Case(
        name="counts to +-1, fewest moves", brokers=40, racks=10, replicas=50_001, sizes=False,
        command=("rebalance", "--balance", "count"), most_s=3, optimal=True,
    ),
    Case(
        name="counts to +-1, 100 brokers", brokers=100, racks=10, replicas=200_000,
        command=("rebalance", "--balance", "count"), most_s=20, most_gib=1.5, optimal=True,
    ),
    Case(
        name="bytes, racks 34/33/33", brokers=100, racks=(34, 33, 33), replicas=60_000,
        command=("rebalance", "--balance", "bytes", "--tolerance", "5%"), most_s=2, most_gap=0.005,
    ),
    Case(
        name="bytes, counts, leaders, 1.3 M", brokers=270, racks=6, replicas=1_300_000,
        command=("rebalance", *BYTES), most_s=15, most_gap=0.005, most_gib=1.5,
    ),
    Case(
        name="the same, racks 90/60/60/60", brokers=270, racks=(90, 60, 60, 60), replicas=1_300_000,
        command=("rebalance", *BYTES), most_s=30, most_gap=0.03,
    ),
    Case(
        name="bytes, counts, leaders, 2.8 M", brokers=215, racks=5, replicas=2_800_000,
        command=("rebalance", *BYTES), most_s=30, most_gap=0.005, most_gib=3,
    ),
    Case(
        name="drain 10 of 270", brokers=270, racks=6, replicas=1_300_000,
        command=("drain", "11-20", *BYTES),
    ),
    Case(
        name="add 20 to 250", brokers=250, racks=5, replicas=1_200_000,
        command=("add", "251-270", "--racks", "{racks}", *BYTES),
    ),
    Case(
        name="RF 2 -> 3 of a tenth", brokers=270, racks=6, replicas=870_000, options={"factors": {2: 1.0}},
        command=("set-replication", "3", "--topic", "topic-*7"),
    ),
    Case(
        name="mixed RF 1 to 4", brokers=270, racks=6, replicas=1_300_000, options={"factors": generator.MIXED},
        command=("rebalance", *BYTES),
    ),
    Case(
        name="two log dirs per broker", brokers=270, racks=6, replicas=1_300_000, options={"dirs": 2},
        command=("disks", "--tolerance", "5%"),
    ),
)  # fmt: skip


def layout_of(case: Case) -> Layout:
    """The case's layout; where sizes are not to matter every replica is of one byte, and no disk is known."""
    made = generator.layout(case.brokers, case.racks, case.replicas, seed=1, **case.options)
    if case.sizes:
        return made
    none = np.zeros(len(made.brokers), dtype=np.int64)
    return replace(
        made,
        size_bytes=np.ones(len(made), dtype=np.int64),
        brokers=replace(made.brokers, total_bytes=none, usable_bytes=none),
    )


def run(case: Case, folder: Path) -> dict[str, Any]:
    """Write the layout, plan in a process of its own, and return the figures with times and memory."""
    state, plan, racks = folder / "layout.json", folder / "plan.json", folder / "racks.json"
    made = layout_of(case)
    with state.open("wb") as file:
        write_compact(made, file)
    names = made.brokers.racks
    racks.write_text(json.dumps({str(n): names[n % len(names)] for n in range(251, 271)}))
    del made
    words = [word.format(racks=racks) for word in case.command]
    argv = [BDOPS, "kafka", *words, "--state", str(state), "-o", "json"]
    if case.command[0] != "disks":
        argv += ["--plan-out", str(plan)]
    out = folder / "out.json"
    started = time.perf_counter()
    child = os.posix_spawn(
        BDOPS, argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_CREAT | os.O_WRONLY, 0o600)]
    )
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{case.name}: {' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}")
    figures: dict[str, Any] = json.loads(out.read_bytes())["data"]
    peak_gib = used.ru_maxrss / 2**20
    return {**figures, "wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_gib": peak_gib}


def checked(folder: Path, command: Sequence[str]) -> list[str]:
    """What the checker says of the plan; brokers that a command adds are added to the layout first."""
    sys.path.insert(0, str(ROOT))
    from tests.plans.checker import matching, problems

    layout = json.loads((folder / "layout.json").read_bytes())
    if command[0] == "add":
        racks = json.loads((folder / "racks.json").read_bytes())
        layout["brokers"] += [{"id": int(n), "rack": rack} for n, rack in racks.items()]
    topics = [command[n + 1] for n, word in enumerate(command) if word == "--topic"]
    return problems(layout, json.loads((folder / "plan.json").read_bytes()), touched=matching(topics))


def misses(case: Case, found: dict[str, Any]) -> list[str]:
    """The bars that are not met."""
    gap = found["gap"]
    bars = (
        ("time", case.most_s, found["wall_s"]),
        ("memory", case.most_gib, found["peak_gib"]),
        ("gap", case.most_gap, np.inf if gap is None else gap),
    )
    missed = [name for name, bar, value in bars if bar is not None and value > bar]
    return missed + (["not proved optimal"] if case.optimal and not found["optimal"] else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="cases whose name has this in it")
    parser.add_argument("--no-check", action="store_true", help="do not replay the plans")
    asked = parser.parse_args()
    failed = 0
    print("| case | wall | CPU | peak | moves | bytes moved | gap | unevenness | bars | checker |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        if asked.only and asked.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found = run(case, folder)
            wrong = [] if asked.no_check or case.command[0] == "disks" else checked(folder, case.command)
        missed = misses(case, found)
        has_bar = case.most_s is not None
        gap = "-" if found["gap"] is None else f"{found['gap']:.2%}" + (" (proved)" if found["optimal"] else "")
        print(
            f"| {case.name} | {found['wall_s']:.1f} s | {found['cpu_s']:.1f} s | {found['peak_gib']:.2f} GiB"
            f" | {found['moved_replicas']:,} | {found['moved_bytes'] / 1e12:.2f} TB | {gap}"
            f" | {found['imbalance_before']:.1%} -> {found['imbalance_after']:.1%}"
            f" | {'missed: ' + ', '.join(missed) if missed else 'met' if has_bar else '-'}"
            f" | {'; '.join(wrong[:3]) or 'good'} |",
            flush=True,
        )
        for text in found["residual"][:4]:
            print(f"  {text}", file=sys.stderr)
        failed += bool(missed or wrong)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
