"""`bdops hdfs blocks` over a namespace of 200,000 blocks: time, and the peak memory of the process that lists them.

    python benchmarks/hdfs_blocks.py [--blocks 200000]

It starts a NameNode of its own (no DataNodes, no lab) on a namespace that Hadoop's CreateEditsLog writes in
seconds: files of one block, all of whose copies are missing. The same listing of a tenth of it shows
whether memory grows with the number of blocks. The requirement is that it does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.rpc import Connection
from bdops.errors import BdopsError
from bdops.lab import hdfs, hdfs_config, jars, java, paths

ADDRESS, RPC_PORT, HTTP_PORT = "127.78.1.1", 8020, 9870
NAMESPACES = "org.apache.hadoop.hdfs.server.namenode"
TESTS = (
    f"org.apache.hadoop:hadoop-hdfs:{hdfs.VERSION}:test-jar",
    "org.junit.jupiter:junit-jupiter-api:5.11.4",
    "org.mockito:mockito-core:4.11.0",
)
GROWTH_BAR_MIB = 10.0


class Bench:
    """A NameNode in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cache = paths.cache_dir()
        conf = folder / "conf"
        conf.mkdir()
        for name in hdfs_config.WEBAPPS:
            (conf / "webapps" / name).mkdir(parents=True)
        (conf / "log4j.properties").write_text(hdfs_config.LOG4J.replace("INFO", "WARN"))
        (conf / "core-site.xml").write_text(
            hdfs_config.xml({"fs.defaultFS": f"hdfs://{ADDRESS}:{RPC_PORT}", "hadoop.tmp.dir": str(folder / "tmp")})
        )
        site = {
            "dfs.namenode.name.dir": (folder / "name").as_uri(),
            "dfs.namenode.http-address": f"{ADDRESS}:{HTTP_PORT}",
            "dfs.namenode.rpc-address": f"{ADDRESS}:{RPC_PORT}",
        }
        (conf / "hdfs-site.xml").write_text(hdfs_config.xml(site))
        folders = [
            jars.resolve("hdfs", hdfs.RECIPE.artifacts, cache=cache, say=print),
            jars.resolve("hdfs-tests", TESTS, cache=cache, say=print),
        ]
        self.class_path = ":".join([str(conf), *(jars.class_path(f) for f in folders)])

    def argv(self, main: str, *args: str, heap_mb: int = 512) -> list[str]:
        return java.command(heap_mb=heap_mb, class_path=self.class_path, main=main, args=args, options=())

    def tool(self, main: str, *args: str) -> None:
        done = subprocess.run(self.argv(main, *args), env=self.env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"{main} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, **hdfs.ENV}

    def fill(self, blocks: int) -> None:
        """Format, and put edits in place that make so many files of one block."""
        shutil.rmtree(self.folder / "name", ignore_errors=True)
        self.tool(f"{NAMESPACES}.NameNode", "-format", "-nonInteractive")
        edits = self.folder / "edits"
        shutil.rmtree(edits, ignore_errors=True)
        (edits / "current").mkdir(parents=True)
        self.tool(f"{NAMESPACES}.CreateEditsLog", "-f", str(blocks), "1", "1", "-r", "3", "-d", str(edits))
        made = sorted(edits.rglob("edits_*"))
        if not made:
            raise SystemExit("CreateEditsLog wrote no edits")
        for file in made:
            shutil.copy(file, self.folder / "name" / "current" / file.name)

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "namenode.log").open("wb") as log:
            process = subprocess.Popen(
                self.argv(f"{NAMESPACES}.NameNode"), env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                with Connection(ADDRESS, RPC_PORT, user=hdfs_config.USER, timeout_s=10) as connection:
                    namenode = NameNode(connection)
                    if namenode.service_status().state == "active" and not namenode.leave_safe_mode():
                        return process
            except BdopsError as e:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    log_tail = (self.folder / "namenode.log").read_text()[-3000:]
                    raise SystemExit(f"the NameNode did not start: {e}\n{log_tail}") from None
            time.sleep(0.3)


def listed(inventory: Path, output: str) -> tuple[int, float, float]:
    """Lines listed, seconds, and peak memory in MiB of one `bdops hdfs blocks`."""
    argv = [str(Path(sys.executable).with_name("bdops")), "hdfs", "blocks", "-i", str(inventory), "-o", output]
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    blocks = sum(chunk.count(b"blk_") for chunk in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"bdops ended with {os.waitstatus_to_exitcode(status)}")
    return blocks, taken, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=200_000)
    asked = parser.parse_args()
    peaks: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bdops-bench-") as name:
        bench = Bench(Path(name))
        inventory = Path(name) / "inventory.yaml"
        inventory.write_text(
            "version: 1\nclusters:\n  bench:\n    hosts:\n"
            f"      nn: {{address: {ADDRESS}}}\n"
            "    components:\n      hdfs:\n        roles:\n          namenode: {hosts: [nn]}\n"
        )
        for blocks in (asked.blocks // 10, asked.blocks):
            bench.fill(blocks)
            process = bench.start()
            try:
                for output in ("table", "json"):
                    found, taken, peak = listed(inventory, output)
                    peaks.setdefault(blocks, []).append(peak)
                    print(
                        f"{found:7} blocks as {output:5}  {taken:6.1f} s  {found / taken:8.0f}/s  peak {peak:6.1f} MiB"
                    )
                    if found != blocks:
                        print(f"expected {blocks}")
                        return 1
            finally:
                process.kill()
                process.wait()
    growth = max(peaks[asked.blocks]) - max(peaks[asked.blocks // 10])
    print(f"ten times the blocks: {growth:+.1f} MiB ({'bounded' if growth < GROWTH_BAR_MIB else 'NOT bounded'})")
    return 0 if growth < GROWTH_BAR_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
