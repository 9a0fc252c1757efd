"""What somebody left behind, as the checks, the gate and `bdops doctor` see it: found in one place."""

from __future__ import annotations

from bdops.components.es.leftovers import leftovers
from bdops.components.es.state import ClusterSettings, Coordination, Index
from tests.unit.es.states import WATERMARKS, cluster

ENABLE = "cluster.routing.allocation.enable"
EXCLUDE = "cluster.routing.allocation.exclude._name"


def test_a_cluster_without_leftovers_has_none() -> None:
    assert leftovers(cluster()) == ()


def test_every_kind_is_named_with_its_level_and_whether_it_may_be_removed_blindly() -> None:
    state = cluster(
        settings=ClusterSettings(
            defaults={**WATERMARKS, "cluster.routing.rebalance.enable": "none"},
            persistent={ENABLE: "primaries", EXCLUDE: "node2"},
            transient={ENABLE: "none", "cluster.routing.allocation.exclude._ip": "10.9.9.9"},
        ),
        indices=[
            Index(name="logs", allocation={"index.routing.allocation.enable": "none"}),
            Index(name="old", allocation={"index.routing.allocation.exclude._name": "node3"}),
            Index(name="pinned", allocation={"index.routing.allocation.require._name": "node1"}),
        ],
        coordination=Coordination(voting=("node1", "node2"), exclusions=("node3",)),
    )
    found = {(x.object, x.key): (x.value, x.fixable) for x in leftovers(state)}
    assert found == {
        ("cluster", f"transient/{ENABLE}"): ("none", True),
        ("cluster", f"persistent/{ENABLE}"): ("primaries", True),
        ("cluster", "defaults/cluster.routing.rebalance.enable"): ("none", False),
        ("logs", "index.routing.allocation.enable"): ("none", True),
        ("cluster", f"persistent/{EXCLUDE}"): ("node2", False),
        ("cluster", "transient/cluster.routing.allocation.exclude._ip"): ("10.9.9.9", True),
        ("old", "index.routing.allocation.exclude._name"): ("node3", False),
        ("cluster", "voting_config_exclusions"): ("node3", True),
    }
