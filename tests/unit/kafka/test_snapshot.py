"""Backups of Kafka's metadata as data: their form, what differs between two, and the plan of a restore."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.components.kafka.snapshot import carry, drill
from bdops.components.kafka.snapshot.content import (
    PARTS,
    Metadata,
    acl_text,
    counts,
    dumps,
    is_compressed,
    loads,
    quota_text,
)
from bdops.components.kafka.snapshot.difference import differences, unknown_parts
from bdops.components.kafka.snapshot.restore import Deletions, Logs, Restore, Wish, plan_restore, times_wanted
from bdops.errors import OperationFailed, StateUnknown, UsageError

AT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
ACL = {
    "resource_type": "topic",
    "resource_name": "orders",
    "pattern": "literal",
    "principal": "User:alice",
    "host": "*",
    "operation": "read",
    "permission": "allow",
}


def topic(*replicas: tuple[int, ...], id: str = "an-id", internal: bool = False, **configs: str) -> dict[str, Any]:
    partitions = [{"leader": r[0], "replicas": list(r)} for r in replicas]
    return {"id": id, "internal": internal, "partitions": partitions, "configs": configs}


def broker(rack: str = "r1", secrets: tuple[str, ...] = (), **configs: str) -> dict[str, Any]:
    return {"rack": rack, "configs": configs, "secrets": list(secrets)}


def group(state: str = "Empty", **offsets: Any) -> dict[str, Any]:
    entries = {
        p.replace("_", "-"): dict(zip(("offset", "timestamp_ms", "log_end"), o, strict=True))
        for p, o in offsets.items()
    }
    return {"type": "classic", "state": state, "offsets": entries}


def metadata(unread: dict[str, str] | None = None, **parts: Any) -> Metadata:
    found = {name: {} for name in PARTS} | {"brokers": {"1": broker(), "2": broker(), "3": broker()}} | parts
    return Metadata(cluster="prod", cluster_id="c", taken_at=AT, parts=found, unread=unread or {})


def planned(backup: Metadata, live: Metadata, *, logs: Logs | None = None, **wish: Any) -> Restore:
    return plan_restore(backup, live, Wish(**wish), logs or Logs())


def work(restore: Restore) -> dict[str, Any]:
    return {w.name: w.items for w in restore.work}


# -- the file ----------------------------------------------------------------------------------------------------


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
json_values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=8), scalars, max_size=3)
contents = st.dictionaries(st.text(max_size=8), json_values, max_size=3)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(PARTS), contents, max_size=3), st.text(max_size=8))
def test_what_is_written_is_read_again_and_is_the_same_bytes(parts: dict[str, Any], note: str) -> None:
    before = Metadata(cluster="prod", cluster_id="c", taken_at=AT, parts=parts, unread={"acls": note}, notes=(note,))
    data = dumps(before)
    assert loads(data) == before
    turned = replace(before, parts=dict(reversed(parts.items())))
    assert dumps(turned) == data


def test_a_long_one_is_compressed_always_to_the_same_bytes() -> None:
    long = metadata(topics={f"topic-{n}": topic((1, 2, 3), (2, 3, 1)) for n in range(5000)})
    data = dumps(long)
    assert is_compressed(data)
    assert loads(data) == long
    assert dumps(long) == data
    assert counts(long)["partitions"] == 10_000


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"\x1f\x8bxx", b'{"bdops_kafka_metadata": 9}', b'{"bdops_kafka_metadata": 1}']
)
def test_what_is_no_backup_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"backup|Expecting"):
        loads(data)


def test_half_a_file_is_no_backup() -> None:
    for data in (dumps(metadata()), dumps(metadata(topics={f"t{n}": topic((1,)) for n in range(9000)}))):
        with pytest.raises(ValueError):
            loads(data[: len(data) // 2])


# -- differences -------------------------------------------------------------------------------------------------


def test_nothing_differs_from_itself_and_leaders_and_offsets_do_not_count() -> None:
    before = metadata(topics={"a": topic((1, 2))}, groups={"g": group(a_0=(5, 9, 10))})
    led = topic((1, 2))
    led["partitions"][0]["leader"] = 2
    after = metadata(topics={"a": led}, groups={"g": group(a_0=(7, 9, 10))})
    assert differences(before, before) == ()
    assert differences(before, after) == ()
    assert [(d.name, d.before, d.after) for d in differences(before, after, ("groups",))] == [("g", 5, 7)]


def test_every_kind_of_drift_is_named() -> None:
    before = metadata(
        topics={"a": topic((1, 2), **{"retention.ms": "1000"}), "gone": topic((1,))},
        acls={acl_text(ACL): ACL},
        quotas={"user alice": {"entity": {"user": "alice"}, "values": {"producer_byte_rate": 1.0}}},
        scram_users={"alice": ["SCRAM-SHA-512"]},
        features={"metadata.version": 29},
        voters={"1": {}},
        resources={"group g": {"consumer.session.timeout.ms": "50000"}},
    )
    after = metadata(
        topics={"a": topic((1, 3), (2, 1), id="another"), "new": topic((1,))},
        brokers={
            "1": broker("r9", ("ssl.key.password",), **{"log.cleaner.threads": "2"}),
            "2": broker(),
            "3": broker(),
        },
        quotas={"user alice": {"entity": {"user": "alice"}, "values": {"producer_byte_rate": 2.0}}},
        scram_users={"alice": ["SCRAM-SHA-256"]},
        features={"metadata.version": 30},
        voters={"1": {}, "2": {}},
        resources={"group g": {}},
    )
    found = {(d.part, d.name, d.field or d.kind): (d.before, d.after) for d in differences(before, after)}
    assert found == {
        ("topics", "a", "id"): ("an-id", "another"),
        ("topics", "a", "partitions"): (1, 2),
        ("topics", "a", "config retention.ms"): ("1000", None),
        ("topics", "a", "replicas of 0"): ("1,2", "1,3"),
        ("topics", "a", "replicas of 1"): (None, "2,1"),
        ("topics", "gone", "removed"): (None, None),
        ("topics", "new", "added"): (None, None),
        ("brokers", "1", "rack"): ("r1", "r9"),
        ("brokers", "1", "config log.cleaner.threads"): (None, "2"),
        ("brokers", "1", "secret ssl.key.password"): (None, "set"),
        ("acls", "allow User:alice from * to read topic orders", "removed"): (None, None),
        ("quotas", "user alice", "producer_byte_rate"): (1.0, 2.0),
        ("scram_users", "alice", "mechanisms"): ("SCRAM-SHA-512", "SCRAM-SHA-256"),
        ("features", "metadata.version", "level"): (29, 30),
        ("voters", "2", "added"): (None, None),
        ("resources", "group g", "consumer.session.timeout.ms"): ("50000", None),
    }
    assert {d.name for d in differences(before, after, topic="n*") if d.part == "topics"} == {"new"}


def test_what_was_not_read_is_unknown_and_not_equal() -> None:
    assert unknown_parts(metadata(unread={"brokers/4": "silent"}), metadata()) == {"brokers/4": "silent"}
    assert unknown_parts(metadata(), metadata(unread={"groups/g": "silent"})) == {}


# -- the plan of a restore ---------------------------------------------------------------------------------------


def test_a_cluster_that_is_as_the_backup_has_nothing_to_do() -> None:
    same = metadata(
        topics={"a": topic((1, 2), **{"retention.ms": "1"})},
        acls={acl_text(ACL): ACL},
        quotas={quota_text({"user": None}): {"entity": {"user": None}, "values": {"x": 1.0}}},
        groups={"g": group(a_0=(5, 9, 10))},
    )
    found = planned(same, same, logs=Logs(ranges={"a-0": (0, 10)}))
    assert found.work == ()
    assert found.notes == ()


def test_a_topic_that_is_gone_comes_back_where_it_was_or_where_there_is_room() -> None:
    backup = metadata(
        topics={"a": topic((1, 2), (2, 3), **{"retention.ms": "1"}), "__inner": topic((1,), internal=True)}
    )
    here = planned(backup, metadata())
    assert work(here) == {
        "create-topics 1": {"a": {"assignment": [[1, 2], [2, 3]], "factor": 2, "configs": {"retention.ms": "1"}}}
    }
    lone = planned(backup, metadata(brokers={"7": broker()}), parts=("topics",))
    assert work(lone)["create-topics 1"]["a"] == {
        "assignment": [[], []],
        "factor": 1,
        "configs": {"retention.ms": "1"},
    }
    assert any("placed anew" in note for note in lone.notes)


def test_a_topic_that_lacks_partitions_gets_them_and_keeps_what_it_has_more() -> None:
    backup = metadata(topics={"a": topic((1, 2), (2, 3), (3, 1)), "b": topic((1,))})
    live = metadata(topics={"a": topic((2, 1)), "b": topic((1,), (2,))})
    found = planned(backup, live)
    assert work(found) == {"add-partitions 1": {"a": {"from": 1, "to": 3, "assignment": [[2, 3], [3, 1]]}}}
    assert any("more partitions" in n and "b" in n for n in found.notes)
    assert any("elsewhere" in n and "a" in n for n in found.notes)


def test_configs_go_back_with_their_previous_values_and_go_away_only_when_named() -> None:
    backup = metadata(topics={"a": topic((1,), k="old")}, brokers={"default": broker(x="1"), "9": broker(y="1")})
    live = metadata(topics={"a": topic((1,), k="new", extra="1")}, brokers={"default": broker(), "1": broker()})
    found = planned(backup, live)
    assert work(found)["configs 1"] == [
        {"type": 2, "name": "a", "changes": {"k": "old"}, "previous": {"k": "new"}},
        {"type": 4, "name": "", "changes": {"x": "1"}, "previous": {"x": None}},
    ]
    assert any("topic/a/extra" in n for n in found.notes)
    assert any("not there any more: 9" in n for n in found.notes)
    named = planned(backup, live, delete=Deletions.parse(["config=topic/a/*"]))
    assert work(named)["configs 1"][0]["changes"] == {"k": "old", "extra": None}


def test_throttles_of_moves_long_over_are_not_brought_back() -> None:
    throttle = {"leader.replication.throttled.replicas": "0:1", "k": "v"}
    rate = {"leader.replication.throttled.rate": "1000"}
    backup = metadata(
        topics={"a": topic((1,), **throttle), "new": topic((1,), **throttle)}, brokers={"1": broker(**rate)}
    )
    found = work(planned(backup, metadata(topics={"a": topic((1,))}, brokers={"1": broker()})))
    assert found["create-topics 1"]["new"]["configs"] == {"k": "v"}
    assert [r["changes"] for r in found["configs 1"]] == [{"k": "v"}]
    had = metadata(topics={"a": topic((1,), k="v"), "new": topic((1,), k="v")}, brokers={"1": broker()})
    assert drill.differing(backup, had) == ()


def test_a_backup_of_another_cluster_is_told() -> None:
    found = planned(replace(metadata(), cluster="old", cluster_id="z"), metadata())
    assert found.notes == ("the backup is of another cluster: old, z",)


def test_topics_are_deleted_only_by_name_last_and_never_what_the_backup_has() -> None:
    backup = metadata(topics={"a": topic((1,)), "b": topic((1,))})
    live = metadata(topics={"a": topic((1,)), "extra": topic((1,), id="x"), "__inner": topic((1,), internal=True)})
    left = planned(backup, live)
    assert "delete-topics 1" not in work(left)
    assert any("extra" in n and "__inner" not in n for n in left.notes)
    going = planned(backup, live, delete=Deletions.parse(["topic=extra"]))
    assert going.work[-1].items == {"extra": "x"}
    for name in ("a", "nothing", "__inner"):
        with pytest.raises(UsageError):
            planned(backup, live, delete=Deletions.parse([f"topic={name}"]))


def test_acls_and_quotas_are_added_and_go_only_when_named() -> None:
    other = {**ACL, "principal": "User:bob", "permission": "deny"}
    mine = {"entity": {"user": "alice", "client-id": None}, "values": {"producer_byte_rate": 2.0}}
    theirs = {"entity": {"user": "bob"}, "values": {"producer_byte_rate": 1.0}}
    backup = metadata(acls={acl_text(ACL): ACL}, quotas={quota_text(mine["entity"]): mine})
    live = metadata(acls={acl_text(other): other}, quotas={"user bob": theirs})
    found = planned(backup, live)
    assert work(found) == {
        "quotas 1": [
            {
                "entity": mine["entity"],
                "changes": {"producer_byte_rate": 2.0},
                "previous": {"producer_byte_rate": None},
            }
        ],
        "create-acls 1": [ACL],
    }
    assert sum("left (--delete" in n for n in found.notes) == 2
    named = work(planned(backup, live, delete=Deletions.parse(["acl=deny User:bob*", "quota=user bob"])))
    assert named["delete-acls 1"] == [other]
    assert named["quotas 1"][1]["changes"] == {"producer_byte_rate": None}


def test_offsets_of_stopped_groups_are_set_and_those_at_work_are_left() -> None:
    backup = metadata(
        topics={"a": topic((1,), (1,))},
        groups={
            "idle": group(a_0=(5, 9, 10), a_1=(99, 9, 100)),
            "busy": group(a_0=(5, 9, 10)),
            "gone": group(a_0=(2, 9, 10)),
        },
    )
    live = metadata(
        topics={"a": topic((1,), (1,))},
        groups={"idle": group(a_0=(9, None, 10)), "busy": group("Stable", a_0=(9, None, 10))},
    )
    found = planned(backup, live, logs=Logs(ranges={"a-0": (3, 10), "a-1": (0, 50)}))
    assert work(found) == {
        "offsets 1": {"group": "gone", "offsets": {"a-0": 3}, "previous": {"a-0": None}},
        "offsets 2": {"group": "idle", "offsets": {"a-0": 5}, "previous": {"a-0": 9}},
    }, "below the log's start is its start, beyond its end is nowhere"
    assert any("with members" in n and "busy" in n for n in found.notes)
    assert any("idle a-1" in n for n in found.notes)


def test_offsets_in_a_topic_that_was_made_anew_go_by_time() -> None:
    backup = metadata(topics={"a": topic((1,), (1,))}, groups={"g": group(a_0=(5, 900, 10), a_1=(10, None, 10))})
    live = metadata(topics={"a": topic((1,), (1,), id="another")})
    wish = Wish()
    at_ms = int(AT.timestamp() * 1000)
    assert times_wanted(backup, live, wish) == {"g": {"a-0": 900, "a-1": at_ms}}
    assert times_wanted(backup, live, Wish(offsets="offset")) == {}
    assert times_wanted(backup, backup, Wish(offsets="timestamp")) == {"g": {"a-0": 900, "a-1": at_ms}}
    ranges = {"a-0": (0, 4), "a-1": (0, 4)}
    found = plan_restore(backup, live, wish, Logs(ranges=ranges, by_time={("g", "a-0"): 1, ("g", "a-1"): 4}))
    assert work(found)["offsets 1"]["offsets"] == {"a-0": 1, "a-1": 4}


def test_groups_begin_at_the_start_of_a_topic_that_the_restore_makes() -> None:
    backup = metadata(topics={"a": topic((1,))}, groups={"g": group(a_0=(5, 900, 10))})
    found = planned(backup, metadata())
    assert [w.kind for w in found.work] == ["create-topics", "offsets"]
    assert found.work[1].items["offsets"] == {"a-0": 0}
    for wish in ({"offsets": "offset"}, {"parts": ("groups",)}):
        told = planned(backup, metadata(), **wish)
        assert "offsets" not in [w.kind for w in told.work]
        assert any("g a-0" in n for n in told.notes)


def test_what_the_cluster_has_must_be_known() -> None:
    backup = metadata()
    live = metadata(unread={"acls": "silent"})
    with pytest.raises(StateUnknown, match="silent"):
        planned(backup, live)
    assert planned(backup, live, parts=("topics",)).work == ()


@pytest.mark.parametrize(
    ("unread", "delete"),
    [
        ("acls", "acl=*"),
        ("quotas", "quota=*"),
        ("topics", "topic=extra"),
        ("topics/configs", "config=topic/*"),
        ("brokers/4", "config=broker/*"),
    ],
)
def test_what_a_partial_backup_lacks_is_not_taken_for_new_and_deleted(unread: str, delete: str) -> None:
    """Where it was allowed that something could not be read, all that the cluster has seems to have come since."""
    backup = metadata(unread={unread: "silent"})
    live = metadata(
        topics={"extra": topic((1,), k="v")},
        acls={acl_text(ACL): ACL},
        quotas={"user bob": {"entity": {"user": "bob"}, "values": {"producer_byte_rate": 1.0}}},
    )
    with pytest.raises(StateUnknown, match="silent"):
        planned(backup, live, delete=Deletions.parse([delete]))
    assert any("silent" in n for n in planned(backup, live).notes)
    other = "acl=*" if unread != "acls" else "quota=*"
    assert planned(backup, live, delete=Deletions.parse([other])).work


def test_what_no_backup_brings_back_is_told() -> None:
    backup = metadata(
        scram_users={"alice": ["SCRAM-SHA-512"]},
        features={"metadata.version": 30},
        brokers={"1": broker(secrets=("ssl.key.password",))},
    )
    notes = " ".join(planned(backup, metadata(features={"metadata.version": 29})).notes)
    for word in ("alice (SCRAM-SHA-512)", "metadata.version was 30, and is 29", "1/ssl.key.password"):
        assert word in notes


@pytest.mark.parametrize("word", ["orders", "topic=", "=x", "broker=1"])
def test_deletions_must_be_understood(word: str) -> None:
    with pytest.raises(UsageError):
        Deletions.parse([word])


# -- each step, told by a fresh reading --------------------------------------------------------------------------


def test_every_step_of_a_plan_is_not_done_before_and_done_after() -> None:
    """The live cluster becomes the backup: then all steps are done, and before that none."""
    quota = {"entity": {"user": "alice"}, "values": {"producer_byte_rate": 2.0}}
    backup = metadata(
        topics={"new": topic((1,), k="v"), "small": topic((1,), (1,)), "set": topic((1,), k="v")},
        acls={acl_text(ACL): ACL},
        quotas={"user alice": quota},
        resources={"client-metrics all": {"interval.ms": "1000"}},
        groups={"g": group(set_0=(5, 9, 10))},
    )
    other = {**ACL, "host": "10.0.0.1"}
    live = metadata(
        topics={"small": topic((1,)), "set": topic((1,)), "extra": topic((1,), id="x")}, acls={acl_text(other): other}
    )
    delete = Deletions.parse(["topic=extra", "acl=*"])
    found = planned(backup, live, delete=delete, logs=Logs(ranges={"set-0": (0, 10)}))
    kinds = [w.kind for w in found.work]
    assert sorted(kinds) == sorted(
        [
            "create-topics",
            "add-partitions",
            "configs",
            "quotas",
            "create-acls",
            "delete-acls",
            "offsets",
            "delete-topics",
        ]
    )
    for step in found.work:
        args = {"kind": step.kind, "items": step.items}
        assert not carry.done(live, args).done, step.kind
        assert carry.done(backup, args).done, step.kind


@pytest.mark.parametrize(
    ("kind", "items", "unread"),
    [
        ("delete-topics", {"a": "an-id"}, "topics"),
        ("delete-acls", [ACL], "acls"),
        ("quotas", [{"entity": {"user": "bob"}, "changes": {"producer_byte_rate": None}}], "quotas"),
        ("configs", [{"type": 2, "name": "a", "changes": {"k": None}}], "topics/configs"),
        ("configs", [{"type": 4, "name": "4", "changes": {"k": None}}], "brokers/4"),
        ("configs", [{"type": 4, "name": "", "changes": {"k": None}}], "brokers/default"),
        ("configs", [{"type": 32, "name": "g", "changes": {"k": None}}], "resources"),
    ],
)
def test_what_was_not_read_is_not_taken_for_gone(kind: str, items: Any, unread: str) -> None:
    args = {"kind": kind, "items": items}
    assert carry.done(metadata(), args).done
    assert carry.done(metadata(unread={"brokers/9": "down", "groups/g": "slow"}), args).done
    told = carry.done(metadata(unread={unread: "silent"}), args)
    assert not told.done
    assert "silent" in told.waiting_for


def test_a_topic_that_somebody_made_meanwhile_in_another_form_stops_the_job() -> None:
    args = {"kind": "create-topics", "items": {"a": {"assignment": [[1], [1]], "factor": 1, "configs": {}}}}
    with pytest.raises(OperationFailed) as raised:
        carry.done(metadata(topics={"a": topic((1,))}), args)
    assert raised.value.code == "CHANGED_MEANWHILE"


# -- drills ------------------------------------------------------------------------------------------------------


def test_a_lone_broker_that_has_it_all_does_not_differ_and_one_that_lacks_something_does() -> None:
    backup = metadata(
        topics={"a": topic((1, 2), (2, 3), k="v"), "__inner": topic((1,), internal=True)}, acls={acl_text(ACL): ACL}
    )
    had = metadata(
        brokers={"1": broker()},
        topics={"a": topic((1,), (1,), id="own", k="v"), "__inner": topic((1,), internal=True)},
        acls={acl_text(ACL): ACL},
    )
    assert drill.differing(backup, had) == ()
    for wrong in (
        replace(had, parts={**had.parts, "acls": {}}),
        replace(had, parts={**had.parts, "topics": {}}),
        replace(had, parts={**had.parts, "topics": {"a": topic((1,), (1,))}}),
        replace(had, parts={**had.parts, "topics": {"a": topic((1,), k="v")}}),
    ):
        assert drill.differing(backup, wrong)


def test_too_much_for_a_small_broker_is_refused_and_a_part_of_it_is_not() -> None:
    large = metadata(topics={f"t{n}": topic(*[(1,)] * 100) for n in range(60)})
    with pytest.raises(OperationFailed):
        drill.chosen(large, None)
    assert len(drill.chosen(large, "t1*").part("topics")) == 11
