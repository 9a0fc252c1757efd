"""`bdops kafka check` against Kafka's own TopicCommand: wall time, side by side in one run, on a running lab.

    bdops lab up kafka && bdops lab load kafka
    python benchmarks/kafka_check.py

The requirement is a ratio of at most 0.5. bdops does all its Kafka checks in that time; TopicCommand lists the
under-replicated partitions alone.
"""

from __future__ import annotations

import sys

from timing import BDOPS, against, arguments, chosen_lab, medians, wall_s


def main() -> int:
    asked = arguments(__doc__, runs=7)
    lab = chosen_lab(asked.lab)
    # As Kafka's own scripts start it: bin/kafka-run-class.sh sets a heap of 256 MB and nothing else that matters here.
    java = ["java", "-Xmx256M", "-cp", lab.class_path("kafka"), "org.apache.kafka.tools.TopicCommand"]
    theirs = [*java, "--bootstrap-server", f"{lab.host('node1').address}:9092"]
    ours = [BDOPS, "kafka", "check", "-i", str(lab.inventory)]
    found = medians(
        {
            "TopicCommand --under-replicated-partitions": lambda: wall_s(
                [*theirs, "--describe", "--under-replicated-partitions"]
            ),
            "bdops kafka check": lambda: wall_s(ours, ok=(0, 1, 2)),
        },
        asked.runs,
    )
    return against(found, ours=["bdops kafka check"], theirs="TopicCommand --under-replicated-partitions", bar=0.5)


if __name__ == "__main__":
    sys.exit(main())
