"""`bdops why` as a person gets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.cli import Ran, bdops

KAFKA = Path(__file__).parents[1] / "unit/kafka/data/two_brokers_down.json"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """Node3's disk is full, and its Kafka is stopped."""
    path = tmp_path / "hosts.json"
    disk = {
        "path": "/data/kafka", "exists": True, "mount": "/data", "size_bytes": 100, "used_bytes": 100,
        "available_bytes": 0, "inodes": 10, "inodes_used": 1,
    }  # fmt: skip
    service = {"instance": "prod/kafka/node3", "state": "failed", "detail": "FATAL exited too quickly"}
    path.write_text(
        json.dumps(
            {
                "component": "host",
                "version": 1,
                "cluster": "prod",
                "taken_at": "2026-11-23T12:00:00Z",
                "expected": [{"name": "node3", "address": "10.0.0.3", "data_dirs": ["/data/kafka"]}],
                "hosts": [{"name": "node3", "data_dirs": [disk], "services": [service]}],
                "serving": {"prod/kafka/node3": False},
            }
        )
    )
    return path


def why(home: Path, hosts: Path, *argv: str) -> Ran:
    return bdops("why", "--state", str(KAFKA), "--state", str(hosts), *argv, home=home)


def test_from_a_partition_of_kafka_to_a_disk_of_its_host(tmp_path: Path, hosts: Path) -> None:
    done = why(tmp_path, hosts, "orders-0")
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    under = next(i for i, line in enumerate(lines) if "KAFKA_UNDER_REPLICATED orders-0" in line)
    codes = [line.split()[3] for line in lines[under + 1 : under + 5]]
    assert codes == ["KAFKA_BROKER_FENCED", "KAFKA_SERVER_UNREACHABLE", "HOST_SERVICE", "HOST_DISK_USE"]
    assert "(both: prod/node3)" in lines[under + 4]
    assert lines[under + 5].startswith("hint: Make room")
    assert "last cause that is known: HOST_DISK_USE node3:/data" in lines[-1]


def test_the_same_chain_in_json(tmp_path: Path, hosts: Path) -> None:
    data = why(tmp_path, hosts, "KAFKA_UNDER_REPLICATED", "-o", "json").json["data"]
    one = next(e for e in data["why"] if "orders-0" in e["objects"])
    codes = []
    while True:
        codes.append(one["code"])
        if not one["because"]:
            break
        (one,) = one["because"]
    assert codes[-1] == "HOST_DISK_USE"
    assert one["hint"]


def test_a_cluster_is_told_from_its_symptoms_and_says_what_it_does_not_know(tmp_path: Path, hosts: Path) -> None:
    done = why(tmp_path, hosts, "prod")
    assert done.stdout.startswith("CRITICAL prod/kafka KAFKA_UNDER_MIN_ISR")
    assert "<- as above" in done.stdout
    assert "have no answer" in done.stdout


def test_what_is_well_is_said_to_be_so_and_what_is_not_there_is_usage(tmp_path: Path, hosts: Path) -> None:
    well = why(tmp_path, hosts, "KAFKA_OFFLINE_PARTITIONS")
    assert (well.returncode, well.stdout.splitlines()[-1]) == (0, "nothing is wrong with it")
    misspelt = why(tmp_path, hosts, "KAFKA_UNDER_REPLICATD")
    assert misspelt.returncode == 2
    assert "did you mean KAFKA_UNDER_REPLICATED" in misspelt.stderr


def test_a_live_cluster_is_checked_whole(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(
        "version: 1\nclusters:\n  prod:\n    hosts:\n      node1: {address: 127.0.0.1, ssh: {port: 1}}\n"
        "    components:\n      zk: {hosts: node1, client_port: 1, admin_port: 2}\n"
    )
    done = bdops("why", "ZK_QUORUM", "-i", str(inventory), "--timeout", "3", home=tmp_path)
    assert "ZK_SERVER_DOWN" in done.stdout
    assert "HOST_REACHABLE" in done.stdout
