"""`bdops hdfs check` against Hadoop's own `dfsadmin -report`: wall time, side by side in one run, on a running lab.

    bdops lab up hdfs && bdops lab load hdfs
    python benchmarks/hdfs_check.py

The requirement is a ratio of at most 0.4. bdops does all its HDFS checks in that time, no JVM is started for them;
the report lists the DataNodes and the counts of blocks. The two take turns, so that both see the same load of
the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bdops.lab import hdfs, java
from bdops.lab.lab import Lab
from bdops.lab.store import running_labs

BAR = 0.4


def seconds(argv: list[str], env: dict[str, str]) -> float:
    """Wall time of one run. Raises when it ends in anything but 0."""
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    taken = time.perf_counter() - started
    if done.returncode != 0:
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
    # As Hadoop's own script starts it: the JVM's defaults, and the configuration's folder on the class path.
    conf = f"{hdfs.node(lab, 'node1').conf_dir}:{lab.folder / 'hdfs-classes'}:{lab.class_path('hdfs')}"
    bound = f"-Dbdops.address={lab.host('node1').address}"
    theirs = [java.require(), bound, "-cp", conf, "org.apache.hadoop.hdfs.tools.DFSAdmin", "-report"]
    ours = [str(Path(sys.executable).with_name("bdops")), "hdfs", "check", "-i", str(lab.inventory)]
    env = {**os.environ, **hdfs.ENV}
    for argv in (theirs, ours):
        seconds(argv, env)  # warm up: files into the page cache
    rows = [(seconds(theirs, env), seconds(ours, env)) for _ in range(asked.runs)]
    their, our = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{asked.runs} runs each, medians; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"dfsadmin -report   {their:6.3f} s")
    print(f"bdops hdfs check   {our:6.3f} s")
    print(f"ratio              {our / their:6.2f}   (bar {BAR}: {'met' if our <= BAR * their else 'NOT met'})")
    return 0 if our <= BAR * their else 1


if __name__ == "__main__":
    sys.exit(main())
