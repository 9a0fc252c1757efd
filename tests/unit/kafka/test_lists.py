"""The lists, from saved states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bdops.components.kafka import lists
from bdops.components.kafka.state import Server
from bdops.core.result import Report
from bdops.errors import NotAuthorised, StateUnknown, Unreachable
from tests.unit.kafka.test_states import MISSING_4, state


def rows(report: Report, name: str) -> list[dict[str, Any]]:
    return [dict(row) for table in report.tables if table.name == name for row in table.rows]


def listed(name: str, *wanted: str, topic: str | None = None) -> set[str]:
    return {row["partition"] for row in rows(lists.partitions(state(name), wanted=wanted, topic=topic), "partitions")}


def test_status_names_each_server_with_what_it_does() -> None:
    report = lists.status(state("broker_down"))
    found = {row["server"]: row for row in rows(report, "servers")}
    assert {name: row["state"] for name, row in found.items()} == {
        "node1": "up",
        "node2": "up",
        "node3": "up",
        "node4": "fenced, no answer",
    }
    assert found["node4"]["leaders"] is None
    assert found["node1"]["replicas"] == 6
    assert report.status == "warning"
    assert report.facts["under_replicated"] == 6
    assert report.facts["controller"] == "1 (node1)"


def test_status_lists_a_broker_that_the_inventory_lacks() -> None:
    found = {row["server"]: row["state"] for row in rows(lists.status(state("unknown_broker")), "servers")}
    assert found["broker 9"] == "not in the inventory"


def test_partitions_are_narrowed_by_condition_and_topic() -> None:
    assert listed("broker_down", "under_replicated") == MISSING_4
    assert listed("broker_down", "under_replicated", topic="ord*") == {"orders-1", "orders-2", "orders-3"}
    assert listed("leaderless", "offline") == {"single-0"}
    assert listed("leaderless", "offline", "off_preferred") == {"single-0", "orders-3", "__consumer_offsets-3"}
    assert len(listed("two_brokers_down", "under_min_isr")) == 4
    assert len(listed("two_brokers_down", "at_min_isr")) == 4
    assert listed("throttle_in_use", "reassigning") == {"orders-0"}
    assert listed("healthy", "under_replicated", "offline", "under_min_isr", "off_preferred", "reassigning") == set()


def test_a_partition_shows_what_is_missing_and_its_size() -> None:
    found = {row["partition"]: row for row in rows(lists.partitions(state("disk_skew")), "partitions")}
    assert found["orders-0"]["size_bytes"] == 40 * 2**30
    down = {row["partition"]: row for row in rows(lists.partitions(state("broker_down")), "partitions")}
    assert down["orders-1"]["missing"] == [4]
    assert down["orders-1"]["state"] == "under-replicated"


def test_topics_by_size_have_the_largest_first() -> None:
    found = rows(lists.topics(state("disk_skew"), by_size=True), "topics")
    assert [row["topic"] for row in found] == ["orders", "__consumer_offsets"]
    assert found[0]["size_bytes"] == (40 + 30 + 60) * 2**30


def test_lagging_groups_are_those_behind() -> None:
    found = rows(lists.groups(state("group_stopped"), lagging=True), "groups")
    assert [(row["group"], row["condition"], row["lag"]) for row in found] == [("shipping", "stopped", 510)]
    each = rows(lists.groups(state("group_stopped"), group="ship*", each_partition=True), "partitions")
    assert [(row["partition"], row["lag"], row["condition"]) for row in each] == [
        ("orders-0", 500, "stopped"),
        ("orders-1", 10, "ok"),
    ]


def test_offline_log_dirs_are_listed_with_the_error() -> None:
    (row,) = rows(lists.log_dirs(state("log_dir_offline"), offline=True), "log_dirs")
    assert (row["broker"], row["path"], row["state"]) == ("2 (node2)", "/data2", "KafkaStorageError")


def test_log_dirs_say_which_broker_is_not_among_them() -> None:
    report = lists.log_dirs(state("broker_down"))
    assert "not known of prod/kafka/node4" in report.summary
    assert report.status == "warning"


@pytest.mark.parametrize(
    "make", [lists.status, lists.partitions, lists.topics, lists.groups, lists.log_dirs], ids=lambda f: f.__name__
)
def test_a_list_without_its_reading_is_an_error_that_says_why(make) -> None:
    bare = replace(state("bare"), unread={"topics": "cannot connect"})
    with pytest.raises(StateUnknown):
        make(bare)
    refused = replace(bare, servers=(Server(name="prod/kafka/node1", error="no", error_code="NOT_AUTHORISED"),))
    with pytest.raises(NotAuthorised):
        make(refused)
    gone = replace(bare, servers=(Server(name="prod/kafka/node1", error="no", error_code="UNREACHABLE"),))
    with pytest.raises(Unreachable):
        make(gone)


@pytest.mark.parametrize(
    "make", [lists.partitions, lists.topics, lists.groups, lists.log_dirs], ids=lambda f: f.__name__
)
def test_a_reading_that_failed_while_servers_answer_is_unknown_and_not_unreachable(make) -> None:
    servers = (Server(name="prod/kafka/node1", error="no", error_code="UNREACHABLE"), Server(name="prod/kafka/node2"))
    with pytest.raises(StateUnknown):
        make(replace(state("bare"), servers=servers))
