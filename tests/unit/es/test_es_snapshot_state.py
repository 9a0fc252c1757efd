"""The global state that is noted beside a snapshot, and what is compared with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.es.snapshot import parse
from bdops.components.es.snapshot.difference import INDICES, IndexSize, Side, differences
from bdops.components.es.snapshot.global_state import (
    ALL,
    BUILT_IN,
    CHUNK_CHARS,
    MAX_CHUNKS,
    PARTS,
    GlobalState,
    Noted,
    decode,
    encode,
    global_differences,
    noted_part,
)

AT = datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)
names = st.text(min_size=1, max_size=40)
states = st.dictionaries(
    st.sampled_from(list(PARTS)), st.one_of(st.none(), st.dictionaries(names, names, max_size=20))
).map(GlobalState)


def big(things: int) -> GlobalState:
    return GlobalState({"index_templates": noted_part("index_templates", {f"t{n}": {"n": n} for n in range(things)})})


@given(states)
def test_what_is_noted_is_read_again(state: GlobalState) -> None:
    texts = encode(state)
    assert all(len(text) <= CHUNK_CHARS for text in texts)
    assert decode(texts) == state
    assert global_differences(state, state)[0] == []


def test_too_many_things_are_noted_as_whole_parts_and_still_compared() -> None:
    texts = encode(big(5000))
    assert len(texts) <= MAX_CHUNKS
    noted = decode(texts)
    assert noted is not None
    assert list(noted.parts["index_templates"] or ()) == [ALL]
    assert global_differences(noted, big(5000)) == ([], [])
    (found,) = global_differences(noted, big(5001))[0]
    assert (found.name, found.change) == (ALL, "changed")


@given(st.text(alphabet="abc-é", min_size=1, max_size=200).filter(lambda t: len(t.encode()) <= 255))
def test_each_mark_fits_into_what_a_snapshot_may_have_of_metadata(snapshot: str) -> None:
    for content in parse.state_marks(snapshot, big(300), AT).values():
        assert len(json.dumps({"bdops": content}, ensure_ascii=False).encode()) < 1024


def test_secrets_are_not_noted_and_what_the_server_brings_along_is_one_entry() -> None:
    settings = noted_part("settings", {"xpack.mail.password": "hunter2", "cluster.max_shards_per_node": "900"})
    assert "hunter2" not in json.dumps(settings)
    assert settings["cluster.max_shards_per_node"] == "900"
    mine, theirs = {"index_patterns": ["mine-*"]}, {"_meta": {"managed": True}}
    bodies = {"mine": mine, "logs": theirs, ".watches": mine}
    assert list(noted_part("index_templates", bodies)) == ["mine", BUILT_IN]
    newer = noted_part("index_templates", {**bodies, "metrics": theirs})
    before = GlobalState({"index_templates": noted_part("index_templates", bodies)})
    assert [d.name for d in global_differences(before, GlobalState({"index_templates": newer}))[0]] == [BUILT_IN]


def test_a_policy_is_the_same_whenever_the_server_has_stored_it() -> None:
    _, by_name = PARTS["policies"]
    policy: dict[str, Any] = {"phases": {"delete": {"min_age": "30d", "actions": {"delete": {}}}}}
    stored = {"version": 1, "modified_date": "2026-01-01T00:00:00Z", "policy": policy, "in_use_by": {"indices": []}}
    again = {**stored, "version": 2, "modified_date": "2026-02-01T00:00:00Z", "in_use_by": {"indices": ["a"]}}
    one, two = (noted_part("policies", by_name({"month": body})) for body in (stored, again))
    assert one == two
    changed = noted_part("policies", by_name({"month": {**stored, "policy": {"phases": {}}}}))
    assert changed != one


def answer(state: GlobalState, begun: str, *generations: datetime, without: int = 0) -> dict[str, Any]:
    """A repository with the snapshot n1 and the marks of its state."""
    snapshots: list[dict[str, Any]] = [{"snapshot": "n1", "metadata": {"bdops": {"state": begun}}}]
    for at in generations:
        found = [
            {
                "snapshot": name,
                "state": "SUCCESS",
                "start_time_in_millis": at.timestamp() * 1000,
                "metadata": {"bdops": content},
            }
            for name, content in parse.state_marks("n1", state, at).items()
        ]
        snapshots += found[without:]
    return {"snapshots": snapshots}


def test_the_noted_state_is_whole_or_none() -> None:
    state = big(300)
    assert len(encode(state)) > 2
    assert parse.noted_state(answer(state, state.digest, AT), "n1") == Noted(state=state)
    assert parse.noted_state(answer(state, "another", AT), "n1") == Noted(state=state, changed=True)
    assert parse.noted_state(answer(state, state.digest, AT, without=1), "n1") is None
    assert parse.noted_state(answer(state, state.digest), "n1") is None
    # A run was killed between the first and the second mark; the next one has noted all of it anew.
    killed = answer(state, state.digest, AT)
    killed["snapshots"] = killed["snapshots"][:2] + answer(state, "", AT + timedelta(seconds=9))["snapshots"][1:]
    found = parse.noted_state(killed, "n1")
    assert found is not None
    assert found.state == state
    # And one was killed in the middle of noting it again: halves of two are none.
    mixed = answer(state, state.digest, AT)
    mixed["snapshots"] += answer(state, "", AT + timedelta(seconds=9))["snapshots"][1:2]
    assert parse.noted_state(mixed, "n1") is None


def side(name: str, state: GlobalState | None, size: int = 1000, **more: Any) -> Side:
    noted = Noted(state=state) if state else None
    return Side(name=name, indices={"orders": IndexSize(shards=2, size_bytes=size)}, state=noted, **more)


def test_what_is_not_known_is_not_equal_and_what_is_not_there_is_not_compared() -> None:
    state, other = big(2), big(3)
    assert [d.name for d in differences(side("a", state), side("b", other))[0]] == ["t2"]
    assert differences(side("a", None, why_not="none is noted"), side("b", other))[1] == ["none is noted"]
    assert differences(side("a", None, why_not="none is noted"), side("b", other), (INDICES,)) == ([], [])
    assert differences(side("a", None, without=True), side("b", other)) == ([], [])
    unread = GlobalState({"pipelines": None})
    assert differences(side("a", unread), side("b", other))[1] == ["pipelines: it may not be read"]


@pytest.mark.parametrize(
    ("live", "before", "after", "found"),
    [
        (False, 1000, 1003, 1),
        (True, 1000, 5000, 0),
        (True, 10_000_000, 19_000_000, 0),
        (True, 10_000_000, 21_000_000, 1),
        (True, 21_000_000, 10_000_000, 1),
    ],
)
def test_a_live_index_has_another_size_only_when_it_is_not_a_merge(
    live: bool, before: int, after: int, found: int
) -> None:
    assert len(differences(side("a", big(1), before), side("b", big(1), after, live=live))[0]) == found


def test_indices_come_go_and_change_their_shards() -> None:
    before = Side(
        name="a", without=True, indices={"kept": IndexSize(shards=1), "gone": IndexSize(shards=1, size_bytes=5)}
    )
    after = Side(name="b", without=True, indices={"kept": IndexSize(shards=2), "new": IndexSize()})
    found, _ = differences(before, after)
    assert [(d.name, d.change, d.what) for d in found] == [
        ("gone", "removed", "bytes"),
        ("kept", "changed", "shards"),
        ("new", "added", ""),
    ]
