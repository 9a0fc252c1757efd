"""`bdops hdfs snapshot diff` of 100,000 changes: time, and the peak memory of the process that lists them.

    python benchmarks/hdfs_snapshot_diff.py [--changes 100000]

It starts a NameNode of its own (no DataNodes, no lab) on a namespace of so many files, takes a snapshot, removes half
of the files, makes as many directories, and takes another. The same with a tenth of it shows whether memory grows with
the number of changes. The requirement is that it does not. Hadoop's own `hdfs snapshotDiff` is run beside.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hdfs_blocks import ADDRESS, GROWTH_BAR_MIB, RPC_PORT, Bench

from bdops.components.hdfs.blocks import walk
from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.snapshot import calls
from bdops.lab import hdfs_config

WORKERS = 8


def client() -> NameNode:
    return NameNode(Connection(ADDRESS, RPC_PORT, user=hdfs_config.USER, timeout_s=60))


def change(changes: int) -> None:
    """Half of the changes are files that go, half directories that come, a thousand in each folder."""
    namenode = client()
    files = [path for path, _ in walk(namenode.listing, "/")][: changes // 2]
    # The folders are there before the snapshot, or the report would have them alone.
    for n in range(0, changes // 2, 1000):
        calls.make_directory(namenode, f"/new-{n // 1000:03}", mode=0o755)
    calls.allow_snapshots(namenode, "/")
    calls.create_snapshot(namenode, "/", "before")

    def work(number: int) -> None:
        mine = client()
        for path in files[number::WORKERS]:
            calls.delete_path(mine, path)
        for n in range(number, changes // 2, WORKERS):
            calls.make_directory(mine, f"/new-{n // 1000:03}/d{n:06}", mode=0o755)
        mine.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    calls.create_snapshot(namenode, "/", "after")
    namenode.close()


def measured(
    argv: list[str], needles: tuple[bytes, ...], env: dict[str, str] | None = None
) -> tuple[int, float, float]:
    """Changes told, seconds, and peak memory in MiB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    assert process.stdout is not None
    found = sum(line.startswith(needles) for line in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"{argv[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return found, taken, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=100_000)
    asked = parser.parse_args()
    peaks: dict[int, list[float]] = {}
    bdops = str(Path(sys.executable).with_name("bdops"))
    with tempfile.TemporaryDirectory(prefix="bdops-bench-") as name:
        bench = Bench(Path(name))
        inventory = Path(name) / "inventory.yaml"
        inventory.write_text(
            "version: 1\nclusters:\n  bench:\n    hosts:\n"
            f"      nn: {{address: {ADDRESS}}}\n"
            "    components:\n      hdfs:\n        roles:\n          namenode: {hosts: [nn]}\n"
        )
        ours = [
            bdops,
            "hdfs",
            "snapshot",
            "diff",
            "before",
            "--to",
            "after",
            "--destination",
            "/",
            "-i",
            str(inventory),
        ]
        for changes in (asked.changes // 10, asked.changes):
            bench.fill(changes // 2)
            process = bench.start()
            try:
                change(changes)
                kinds = (b"added ", b"removed ")
                for what, argv in (("with sizes", ours), ("without", [*ours, "--no-sizes"])):
                    found, taken, peak = measured(argv, kinds)
                    found -= len(kinds)  # the totals of both
                    peaks.setdefault(changes, []).append(peak)
                    print(f"{found:7} changes, bdops {what:10}  {taken:6.1f} s  peak {peak:6.1f} MiB")
                    if found != changes:
                        print(f"expected {changes}")
                        return 1
                main_class = "org.apache.hadoop.hdfs.tools.snapshot.SnapshotDiff"
                found, taken, peak = measured(
                    bench.argv(main_class, "/", "before", "after"), (b"+\t", b"-\t"), env=bench.env
                )
                print(f"{found:7} changes, hdfs snapshotDiff     {taken:6.1f} s  peak {peak:6.1f} MiB")
            finally:
                process.kill()
                process.wait()
    growth = max(peaks[asked.changes]) - max(peaks[asked.changes // 10])
    print(f"ten times the changes: {growth:+.1f} MiB ({'bounded' if growth < GROWTH_BAR_MIB else 'NOT bounded'})")
    return 0 if growth < GROWTH_BAR_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
