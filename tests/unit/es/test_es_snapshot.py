"""What a repository says, as records; what a restored copy is compared with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.es.client import name_lists
from bdops.components.es.snapshot import parse
from bdops.components.es.snapshot.difference import IndexSize
from bdops.components.es.snapshot.drill import Comparison, judge

AT = 1_764_000_000_000


def snapshot(name: str, state: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    return {"snapshot": name, "state": state, "start_time_in_millis": AT, "end_time_in_millis": AT + 2000, **more}


def mark(of: str, kind: str, made: int = AT, **more: Any) -> dict[str, Any]:
    body = snapshot(parse.mark_name(of, kind, datetime.fromtimestamp(made / 1000, UTC)))
    return {**body, "start_time_in_millis": made, "metadata": {"bdops": {"of": of, "kind": kind, **more}}}


@pytest.mark.parametrize(
    ("state", "metadata", "status", "good"),
    [
        ("SUCCESS", None, "complete", True),
        ("PARTIAL", None, "partial", False),
        ("PARTIAL", {"bdops": {"partial_allowed": True}}, "partial", True),
        ("FAILED", {"bdops": {"partial_allowed": True}}, "failed", False),
        ("INCOMPATIBLE", None, "failed", False),
        ("IN_PROGRESS", None, "running", False),
        ("A_NEW_WORD", None, "failed", False),
    ],
)
def test_only_what_is_whole_counts(state: str, metadata: Any, status: str, good: bool) -> None:
    (record,) = parse.records("s3", {"snapshots": [snapshot("n1", state, metadata=metadata)]})
    assert (record.status, record.good) == (status, good)


def test_marks_say_what_a_snapshot_cannot_and_are_none_themselves() -> None:
    answer = {
        "snapshots": [
            mark("n1", "proved", at="2026-11-20T00:00:00+00:00", how="compared"),
            snapshot("n1", indices=["orders"], data_streams=["logs"]),
            mark("n1", "hold", reason="audit"),
            mark("n2", "hold", AT + 5, reason="newer"),
            mark("n2", "hold", AT, reason="older"),
            snapshot("n2"),
            mark("gone", "hold", reason="x"),
        ]
    }
    one, two = parse.records("s3", answer)
    assert (one.what, one.hold, one.proof) == (("orders", "data stream logs"), "audit", "compared")
    assert one.proved_at == datetime(2026, 11, 20, tzinfo=UTC)
    assert (two.hold, two.proved_at) == ("newer", None)
    assert len(parse.marks_of(answer, "n1")) == 2, parse.marks_of(answer, "n1")
    assert len(parse.marks_of(answer, "n1", "hold")) == 1
    assert parse.last_proof(answer) == datetime(2026, 11, 20, tzinfo=UTC)


def test_system_indices_are_not_restored_by_name_but_with_their_feature() -> None:
    features = [{"feature_name": "tasks", "indices": [".tasks"]}]
    body = snapshot("n1", indices=["orders", ".tasks"], data_streams=["logs"], feature_states=features)
    body["index_details"] = {"orders": {"shard_count": 2, "size_in_bytes": 7}, ".tasks": {"shard_count": 1}}
    (record,) = parse.records("s3", {"snapshots": [body]})
    assert record.what == ("orders", "data stream logs", "feature tasks")
    assert parse.indices_of(record) == ["orders"]
    assert parse.index_sizes({"snapshots": [body]}, "n1") == {"orders": IndexSize(shards=2, size_bytes=7)}


def test_why_one_failed_is_kept() -> None:
    failures = [{"index": "orders", "reason": "IOException[disk]"}]
    (record,) = parse.records("s3", {"snapshots": [snapshot("n1", "PARTIAL", failures=failures)]})
    assert record.error == "orders: IOException[disk]"


def test_a_document_that_differs_without_having_been_changed_is_wrong() -> None:
    write = {"_version": 2, "_seq_no": 40, "_primary_term": 1}
    hits = [{"_id": str(n), "_source": {"n": n}, **write} for n in range(5)]
    docs = [
        {"found": True, "_source": {"n": 0}, **write},
        {"found": True, "_source": {"n": 99}, "_version": 3, "_seq_no": 41, "_primary_term": 1},
        {"found": False},
        {"found": True, "_source": {"n": 98}, **write},
        # Deleted, and made again: its versions begin anew.
        {"found": True, "_source": {"n": 97}, "_version": 1, "_seq_no": 77, "_primary_term": 1},
    ]
    total = Comparison()
    judge("orders", hits, docs, total)
    assert (total.sampled, total.same, total.changed_since, total.gone_since) == (5, 1, 2, 1)
    assert total.differ == ["orders/3"]


@given(st.lists(st.text(min_size=1, max_size=255), max_size=300))
def test_names_fit_into_request_lines_and_none_is_lost(names: list[str]) -> None:
    lists = name_lists(names)
    assert sorted(unquote(n) for part in lists for n in part.split(",")) == sorted(names)
    # 4,096 bytes are too many: a name alone may have 255 bytes, and three characters for each.
    assert all(len(part) < 3000 or "," not in part for part in lists)
