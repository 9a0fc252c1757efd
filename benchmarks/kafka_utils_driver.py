"""Yelp's kafka-utils as a planner alone: what `kafka-cluster-manager rebalance --brokers --replication-groups`, or
`decommission`, calculates from an assignment and the brokers, without ZooKeeper. Run by a Python that has kafka-utils.

    python kafka_utils_driver.py CURRENT BROKERS PROPOSED [DRAINED,...]
"""

import sys
from argparse import Namespace
from pathlib import Path

from kafka_utils.kafka_cluster_manager.cluster_info.cluster_topology import ClusterTopology
from kafka_utils.kafka_cluster_manager.cluster_info.partition_count_balancer import PartitionCountBalancer


class Alike:
    """It weighs partitions by nothing here: counts are to be even."""

    def get_weight(self, name):
        return 1

    def get_size(self, name):
        return 1


def main() -> None:
    current, brokers, proposed, *drained = sys.argv[1:]
    assignment, racks = {}, {}
    for line in Path(current).read_text().splitlines():
        topic, number, held = line.split()
        assignment[topic, int(number)] = [int(b) for b in held.split(",")]
    for line in Path(brokers).read_text().splitlines():
        number, _, rack = line.strip().partition(" ")
        racks[int(number)] = {"host": number, "rack": rack or number}
    topology = ClusterTopology(assignment, racks, Alike(), lambda broker: broker.metadata["rack"])
    wanted = {"replication_groups": True, "brokers": True, "leaders": False}
    none = dict.fromkeys(("max_partition_movements", "max_movement_size", "max_leader_changes"))
    balancer = PartitionCountBalancer(topology, Namespace(**wanted, **none))
    if drained:
        balancer.decommission_brokers([int(b) for b in drained[0].split(",")])
    else:
        balancer.rebalance()
    lines = (f"{topic} {number} {','.join(map(str, held))}" for (topic, number), held in topology.assignment.items())
    Path(proposed).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
