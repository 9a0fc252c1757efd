"""The window of earlier observations, on real files."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka import history
from bdops.components.kafka.history import (
    Observation,
    copied_bytes,
    history_file,
    is_behind_with_members,
    kept,
    names_by_leader,
    read_history,
    write_history,
)
from bdops.components.kafka.state import Group, LogDir, Partition, Reassignment, Topic

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def seen(*seconds: float, groups: int = 1) -> list[Observation]:
    offsets = {f"group-{g}": {"orders-0": (5, 9), "orders-1": (7, None)} for g in range(groups)}
    return [Observation(at=T0 + timedelta(seconds=s), offsets=offsets, copied_bytes={"orders-0": 3}) for s in seconds]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "kafka" / "h.jsonl"
    write_history(file, seen(0, 60))
    assert list(read_history(file, T0 + timedelta(seconds=90))) == seen(0, 60)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", seen(0))
    assert stat.S_IMODE((tmp_path / "h.jsonl").stat().st_mode) == 0o600


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "h.jsonl", T0) == ()


def test_a_damaged_line_costs_itself_alone(tmp_path: Path) -> None:
    file = tmp_path / "h.jsonl"
    write_history(file, seen(0, 60))
    good = file.read_text()
    broken = 'not json\n{"at": "yesterday"}\n[]\n{"at": "2026-11-23T12:00:30+00:00", "offsets": {"g": {"t-0": 1}}}\n'
    file.write_text(broken + good + good[: len(good) // 3])
    assert list(read_history(file, T0 + timedelta(seconds=90))) == seen(0, 60)


def test_old_and_future_observations_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "h.jsonl"
    write_history(file, seen(0, 3000, 3700))
    assert [o.at for o in read_history(file, T0 + timedelta(seconds=3650))] == [T0 + timedelta(seconds=3000)]


def test_a_large_history_keeps_the_newest_that_fit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 5000)
    file = tmp_path / "h.jsonl"
    write_history(file, seen(*range(0, 600, 20), groups=10))
    left = read_history(file, T0 + timedelta(seconds=601))
    assert 0 < len(left) < 30
    assert left[-1].at == T0 + timedelta(seconds=580)
    assert file.stat().st_size <= 5000


@given(st.lists(st.floats(0, 3600), min_size=1, max_size=200).map(sorted))
def test_checks_in_quick_succession_do_not_push_out_the_window(seconds: list[float]) -> None:
    observations = seen(*seconds)
    chosen = kept(observations)
    assert chosen[-1] == observations[-1]
    assert len(chosen) <= history.MAX_OBSERVATIONS
    gaps = [b.at - a.at for a, b in pairwise(chosen[:-1])]
    assert all(gap >= history.MIN_GAP for gap in gaps)
    if len(chosen) < history.MAX_OBSERVATIONS:
        assert chosen[0] == observations[0]


def test_clusters_of_one_name_do_not_share_a_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path))
    assert history_file("prod", "abc") != history_file("prod", "def")
    assert history_file("prod", "abc").is_relative_to(tmp_path)


def test_only_bytes_on_the_brokers_being_added_count_as_copied() -> None:
    moves = [Reassignment(partition="orders-0", adding=(4,), removing=(1,)), Reassignment(partition="orders-1")]
    dirs = [
        LogDir(broker=4, path="/a", replicas={"orders-0": 70, "orders-9": 5}),
        LogDir(broker=1, path="/a", replicas={"orders-0": 1000}),
    ]
    assert copied_bytes(moves, dirs) == {"orders-0": 70, "orders-1": 0}


def test_log_ends_are_asked_of_the_leaders_and_of_nobody_for_a_partition_without() -> None:
    partitions = tuple(
        Partition(id=n, leader=leader, replicas=(1, 2), isr=(1,)) for n, leader in enumerate((2, None, 1))
    )
    topics = [Topic(name="a-b", partitions=partitions)]
    assert names_by_leader(topics, {"a-b-0", "a-b-1", "gone-0"}) == {2: ["a-b-0"]}


def test_a_second_look_is_only_for_groups_that_could_move() -> None:
    behind = {"g": {"t-0": (5, 9)}}
    assert is_behind_with_members([Group(name="g", state="Stable")], behind)
    assert not is_behind_with_members([Group(name="g", state="Empty")], behind)
    assert not is_behind_with_members([Group(name="g", state="Stable")], {"g": {"t-0": (9, 9), "t-1": (5, None)}})
