"""A snapshot of 200,000 znodes against walks of the tree by a client (kazoo): wall time and peak memory.

    python benchmarks/zk_snapshot.py

It brings up an ensemble of its own, with heaps that so many znodes fit into, and takes it down again. The walks read
what a backup needs of each znode (data, stat, children), as tools do that have no access to the servers: one question
after the other, and with 64 on their way at once. The requirement: at least 20 times faster than the former.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kazoo.client import KazooClient
from timing import BDOPS

from bdops.components.zk.client.session import session
from bdops.components.zk.snapshot.format import summarise
from bdops.lab import operations, zk
from bdops.lab.lab import Lab

BAR = 20.0
OURS, ONE, MANY = "bdops zk snapshot create", "kazoo, one by one", "kazoo, 64 at once"
HEAP_MB = 640
IN_FLIGHT = 64
DATA = b"x" * 100


def fill(lab: Lab, znodes: int) -> None:
    """Groups of 1,000, each with a parent."""
    with session(lab.deployment("zk").instances, timeout_s=60) as client:
        for group in range(znodes // 1000):
            client.ensure_path(f"/bench/g{group:04}")
            asked = [client.create_async(f"/bench/g{group:04}/n{n:04}", DATA) for n in range(999)]
            for one in asked:
                one.get(timeout=60)


def start_from(lab: Lab, tree: Path) -> None:
    """Have the ensemble start with a snapshot's tree, as from a disk: quicker than to write so many znodes."""
    with tree.open("rb") as source:
        zxid = summarise(source).last_zxid
    for host in zk.HOSTS:
        lab.stop(zk.PROGRAM, host)
    for host in zk.HOSTS:
        for folder in zk.data_dirs(lab, host):
            shutil.rmtree(folder / "version-2", ignore_errors=True)
        target = zk.data_dirs(lab, host)[0] / "version-2"
        target.mkdir()
        shutil.copy(tree, target / f"snapshot.{zxid:x}")
    zk.start(lab, print)


def walk_one_by_one(hosts: str) -> int:
    """What burry and the like do: get, get_children, next."""
    with connected(hosts) as client:
        left, seen = ["/"], 0
        while left:
            path = left.pop()
            client.get(path)
            seen += 1
            left += [f"{path.rstrip('/')}/{name}" for name in client.get_children(path)]
    return seen


def walk_many_at_once(hosts: str) -> int:
    with connected(hosts) as client:
        left, seen = ["/"], 0
        while left:
            batch, left = left[-IN_FLIGHT:], left[:-IN_FLIGHT]
            asked = [(path, client.get_async(path), client.get_children_async(path)) for path in batch]
            for path, data, children in asked:
                data.get()
                seen += 1
                left += [f"{path.rstrip('/')}/{name}" for name in children.get()]
    return seen


class connected:
    def __init__(self, hosts: str) -> None:
        self.client = KazooClient(hosts=hosts)

    def __enter__(self) -> KazooClient:
        self.client.start(timeout=30)
        return self.client

    def __exit__(self, *error: object) -> None:
        self.client.stop()
        self.client.close()


def measured(argv: list[str]) -> tuple[float, float, float, str]:
    """Wall and CPU time in seconds, peak memory in MiB, and what was printed, of a process by itself."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{argv} ended with {status}:\n{out}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out


def rows(lab: Lab) -> Iterator[tuple[str, float]]:
    hosts = ",".join(f"{lab.host(h).address}:{zk.CLIENT_PORT}" for h in zk.HOSTS)
    me = [sys.executable, __file__, "--hosts", hosts, "--walk"]
    snapshot = [BDOPS, "zk", "snapshot"]
    words: list[tuple[str, list[str]]] = [
        (OURS, [*snapshot, "create", "--name", "bench1", "--yes"]),
        (ONE, [*me, "one"]),
        (OURS, [*snapshot, "create", "--name", "bench2", "--yes"]),
        ("bdops zk snapshot verify (two)", [*snapshot, "verify"]),
        ("bdops zk snapshot diff (snapshot, live)", [*snapshot, "diff", "bench1"]),
        ("bdops zk snapshot drill", [*snapshot, "drill", "--yes"]),
        (MANY, [*me, "many"]),
        (OURS, [*snapshot, "create", "--name", "bench3", "--yes"]),
    ]
    for name, argv in words:
        wall_s, cpu_s, peak_mib, out = measured(argv)
        print(f"{name:42} {wall_s:8.2f} s {cpu_s:8.2f} s CPU {peak_mib:8.1f} MiB", flush=True)
        if "--walk" in argv:
            print(f"  {out.strip()}")
        yield name, wall_s


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--znodes", type=int, default=200_000)
    parser.add_argument("--tree", type=Path, help="a snapshot to start from, instead of writing znodes")
    parser.add_argument("--hosts")
    parser.add_argument("--walk", choices=("one", "many"))
    asked = parser.parse_args()
    if asked.walk:
        walk: Callable[[str], int] = walk_one_by_one if asked.walk == "one" else walk_many_at_once
        print(f"{walk(asked.hosts):,} znodes, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
        return 0
    zk.HEAP_MB = HEAP_MB
    with tempfile.TemporaryDirectory(prefix="bdops-bench-", dir="/tmp") as folder:
        os.environ["BDOPS_STATE_DIR"] = folder
        os.environ.pop("BDOPS_INVENTORY", None)
        try:
            operations.up("zkbench", ["zk"], say=print)
            lab = Lab.open("zkbench")
            if asked.tree:
                start_from(lab, asked.tree)
            else:
                fill(lab, asked.znodes)
            found: dict[str, list[float]] = {}
            for name, wall_s in rows(lab):
                found.setdefault(name, []).append(wall_s)
            size = next(Path(folder).glob("backups/*/zk/*.zksnap")).stat().st_size
        finally:
            operations.down("zkbench", destroy=True, say=print)
    ours_s = statistics.median(found[OURS])
    ratio, many = found[ONE][0] / ours_s, found[MANY][0] / ours_s
    print(
        f"{asked.znodes:,} znodes, {size / 2**20:.1f} MiB: {ratio:.0f} times one by one, {many:.1f} times many at once"
    )
    print(f"at least {BAR:.0f} times: {'met' if ratio >= BAR else 'NOT met'} (load average {os.getloadavg()[0]:.1f})")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
