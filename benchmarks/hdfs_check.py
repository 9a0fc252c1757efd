"""`bdops hdfs check` against Hadoop's own `dfsadmin -report`: wall time, side by side in one run, on a running lab.

    bdops lab up hdfs && bdops lab load hdfs
    python benchmarks/hdfs_check.py

The requirement is a ratio of at most 0.4. bdops does all its HDFS checks in that time, no JVM is started for them;
the report lists the DataNodes and the counts of blocks.
"""

from __future__ import annotations

import os
import sys

from timing import BDOPS, against, arguments, chosen_lab, medians, wall_s

from bdops.lab import hdfs, java


def main() -> int:
    asked = arguments(__doc__, runs=7)
    lab = chosen_lab(asked.lab)
    # As Hadoop's own script starts it: the JVM's defaults, and the configuration's folder on the class path.
    conf = f"{hdfs.node(lab, 'node1').conf_dir}:{lab.folder / 'hdfs-classes'}:{lab.class_path('hdfs')}"
    bound = f"-Dbdops.address={lab.host('node1').address}"
    theirs = [java.require(), bound, "-cp", conf, "org.apache.hadoop.hdfs.tools.DFSAdmin", "-report"]
    ours = [BDOPS, "hdfs", "check", "-i", str(lab.inventory)]
    env = {**os.environ, **hdfs.ENV}
    found = medians(
        {
            "dfsadmin -report": lambda: wall_s(theirs, env=env),
            "bdops hdfs check": lambda: wall_s(ours, env=env),
        },
        asked.runs,
    )
    return against(found, ours=["bdops hdfs check"], theirs="dfsadmin -report", bar=0.4)


if __name__ == "__main__":
    sys.exit(main())
