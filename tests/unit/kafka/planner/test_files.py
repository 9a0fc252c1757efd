"""Every form of file gives the layout that it says, or an error that names the file and the place."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdops.components.kafka.planner.assembly import BrokerRow, LogDirRow
from bdops.components.kafka.planner.compact import write_compact
from bdops.components.kafka.planner.files import Loaded, layout_of, read_brokers, read_layout, with_rates
from bdops.components.kafka.planner.model import Layout
from bdops.components.kafka.planner.tool_formats import reassignment_json
from bdops.components.kafka.state import KafkaState, LogDir, Partition, Reassignment
from bdops.components.state_file import save_state
from bdops.errors import ConfigError, StateUnknown
from tests.unit.kafka.kit import cluster, partition, topic
from tests.unit.kafka.planner.layouts import layout, layouts, replicas_of

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

DESCRIBED = """\
Topic: orders\tTopicId: xYz0\tPartitionCount: 3\tReplicationFactor: 2\tConfigs: min.insync.replicas=1
\tTopic: orders\tPartition: 0\tLeader: 2\tReplicas: 1,2\tIsr: 2\tElr: 1\tLastKnownElr: \t
\tTopic: orders\tPartition: 1\tLeader: none\tReplicas: 2,3\tIsr: \tElr: \tLastKnownElr: 3
\tTopic: orders\tPartition: 2\tLeader: 3\tReplicas: 3,1,4\tIsr: 3,1\tAdding Replicas: 4\tRemoving Replicas: 1

Topic:old-style\tPartitionCount:1\tReplicationFactor:1\tConfigs:
\tTopic:old-style\tPartition:0\tLeader:7\tReplicas:7\tIsr:7
"""

COMPACT: dict[str, Any] = {
    "component": "kafka-layout",
    "version": 1,
    "cluster": "prod",
    "brokers": [{"id": 3, "rack": "b"}, {"id": 1, "rack": "a", "update_domain": "u"}, {"id": 2, "live": False}],
    "log_dirs": [{"broker": 1, "path": "/d1", "total_bytes": 100, "usable_bytes": 40}, {"broker": 3, "path": "/d3"}],
    "topics": [
        {
            "name": "t",
            "numbers": [5, 0],
            "width": 2,
            "replicas": [1, 3, 3, -1],
            "leaders": [1, -1],
            "size_bytes": [10, 20],
            "bytes_in": [1, 2.5],
            "dirs": [0, 1, 1, -1],
            "busy": [5],
        }
    ],
}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(tmp_path: Path, content: Any) -> Loaded:
    return read_layout(write(tmp_path / "file", content))


def same(one: Layout, other: Layout) -> bool:
    def plain(found: Layout) -> Any:
        dirs = found.log_dirs
        return {
            "brokers": [np.asarray(getattr(found.brokers, n)).tolist() for n in type(found.brokers).__slots__],
            "dirs": dirs and [np.asarray(getattr(dirs, n)).tolist() for n in type(dirs).__slots__],
            **{
                n: np.asarray(getattr(found, n)).tolist()
                for n in type(found).__slots__
                if n not in ("brokers", "log_dirs")
            },
        }

    return bool(plain(one) == plain(other))


def test_a_compact_file_is_sorted_by_number_and_keeps_all_that_it_says(tmp_path: Path) -> None:
    found = read(tmp_path, COMPACT).layout
    assert found.brokers.ids.tolist() == [1, 2, 3]
    assert found.brokers.live.tolist() == [True, False, True]
    assert [found.brokers.racks[r] if r >= 0 else None for r in found.brokers.rack] == ["a", None, "b"]
    assert found.brokers.update_domain.tolist() == [0, -1, -1]
    assert found.numbers.tolist() == [0, 5]
    assert replicas_of(found) == [[3], [1, 3]]
    assert found.leader.tolist() == [-1, 0]
    assert found.size_bytes.tolist() == [20, 10]
    assert found.bytes_in is not None
    assert found.bytes_in.tolist() == [2.5, 1]
    assert found.dirs is not None
    assert found.dirs.tolist() == [[1, -1], [0, 1]]
    assert found.busy is not None
    assert found.busy.tolist() == [False, True]
    assert [found.partition(row) for row in range(2)] == ["t-0", "t-5"]


@quick
@given(found=layouts(dead=True))
def test_what_is_written_compactly_reads_as_it_was(tmp_path: Path, found: Layout) -> None:
    out = io.BytesIO()
    write_compact(found, out)
    (tmp_path / "compact.json").write_bytes(out.getvalue())
    assert same(read_layout(tmp_path / "compact.json").layout, found)


def change(path: str, value: Any) -> dict[str, Any]:
    content: Any = json.loads(json.dumps(COMPACT))
    at = content
    *parents, last = [int(p) if p.isdecimal() else p for p in path.split(".")]
    for part in parents:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return content  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("version", 2, "at version: expected 1"),
        ("cluster", 7, "at cluster: expected text"),
        ("extra", 7, "unknown key 'extra'"),
        ("brokers", ..., "at brokers: expected a list"),
        ("brokers.0.id", -1, r"at brokers\[0\].id: expected a whole number"),
        ("brokers.0.id", 1, "broker 1 is there twice"),
        ("brokers.0.rak", "b", r"at brokers\[0\]: unknown key 'rak'"),
        ("brokers.2.live", 0, r"at brokers\[2\].live: expected true or false"),
        ("log_dirs.0.broker", 9, "there is no broker 9"),
        ("topics.0.name", None, r"at topics\[0\].name: expected text"),
        ("topics.0.width", 0, "at least one replica"),
        ("topics.0.replicas", [1, 3, 3], r"at topics\[0\] \(t\).replicas: expected 4 values, found 3"),
        ("topics.0.replicas", [1, 9, 3, -1], "t-5: there is no broker 9"),
        ("topics.0.replicas", [1, 1, 3, -1], "t-5: a broker is there twice among its replicas: 1,1"),
        ("topics.0.replicas", [1, 3, -1, 3], "t-0: it has no replicas, or a gap before them"),
        ("topics.0.replicas", [1, 3, "3", -1], r"replicas\[2\]: expected a whole number"),
        ("topics.0.replicas", [1, 3, 2**70, -1], r"replicas\[2\]: expected a whole number of 64 bits"),
        ("topics.0.leaders", [2, -1], "t-5: its leader 2 is none of its replicas"),
        ("topics.0.leaders", [1], "leaders: expected 2 values, found 1"),
        ("topics.0.size_bytes", [10, -20], "t-0: its size is -20"),
        ("topics.0.size_bytes", [10, 20.5], r"size_bytes\[1\]: expected a whole number"),
        ("topics.0.size_bytes", [2**62, 2**62], "the sizes add up to more"),
        ("topics.0.bytes_in", [1, -2], "t-0: its rate is -2"),
        ("topics.0.bytes_in", [1, None], r"bytes_in\[1\]: expected a number"),
        ("topics.0.dirs", [0, 7, 1, -1], "t-5: there is no log directory 7"),
        ("topics.0.dirs", [1, 1, 1, -1], "t-5: log directory 1 is of another broker"),
        ("topics.0.numbers", [5, 5], "t-5 is there twice"),
        ("topics.0.numbers", [5, -1], "negative"),
        ("topics.0.busy", [4], "there is no partition 4"),
    ],
)
def test_what_is_wrong_in_a_compact_file_is_told_with_its_place(
    path: str, value: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, change(path, value))
    assert caught.value.code == "STATE_INVALID"
    assert caught.value.where == str(tmp_path / "file")


def test_a_state_gives_sizes_of_leaders_racks_directories_and_what_is_being_moved(tmp_path: Path) -> None:
    state = cluster(
        3,
        topic("t", partition(0, [1, 2]), partition(1, [3, 1], leader=None), partition(2, [2, 9])),
        racks={1: "a", 2: "b"},
        fenced=[3],
        reassignments=[Reassignment(partition="t-2", adding=(9,))],
        log_dirs=(
            LogDir(broker=1, path="/x", total_bytes=100, usable_bytes=60, replicas={"t-0": 10, "gone-0": 5}),
            LogDir(broker=1, path="/y", total_bytes=100, usable_bytes=60, replicas={"t-1": 30}),
            LogDir(broker=2, path="/x", error="offline", replicas={"t-0": 11}),
            LogDir(broker=3, path="/x", total_bytes=50, usable_bytes=50, replicas={"t-1": 29}),
        ),
    )
    save_state(state, tmp_path / "state.json")
    for found in (layout_of(state), read_layout(tmp_path / "state.json")):
        lay = found.layout
        assert lay.brokers.ids.tolist() == [1, 2, 3, 9]
        assert lay.brokers.live.tolist() == [True, True, False, False]
        assert replicas_of(lay) == [[1, 2], [3, 1], [2, 9]]
        assert lay.leader.tolist() == [0, -1, 1]
        assert lay.size_bytes.tolist() == [10, 30, 0]
        assert lay.dirs is not None
        assert lay.dirs.tolist() == [[0, 2], [3, 1], [-1, -1]]
        assert lay.brokers.total_bytes.tolist() == [100, 0, 50, 0]  # one volume, two directories
        assert lay.busy is not None
        assert lay.busy.tolist() == [False, False, True]
        assert "t-2" in found.warnings[0]
        assert found.names is not None
        assert found.names["prod/kafka/node2"] == 2


def test_rates_are_what_grew_between_two_states(tmp_path: Path) -> None:
    def state(minute: int, sizes: dict[str, int], *names: str) -> KafkaState:
        topics = [topic(name, [1], [2]) for name in names]
        dirs = (
            LogDir(broker=1, path="/x", replicas={k: v for k, v in sizes.items() if k.endswith("0")}),
            LogDir(broker=2, path="/x", replicas={k: v for k, v in sizes.items() if k.endswith("1")}),
        )
        return cluster(2, *topics, log_dirs=dirs, taken_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC))

    then = layout_of(state(0, {"b-0": 600, "b-1": 900}, "b"))
    now = layout_of(state(1, {"a-0": 60, "a-1": 0, "b-0": 1200, "b-1": 300}, "a", "b"))
    rates = with_rates(now, then).layout.bytes_in
    assert rates is not None
    assert rates.tolist() == [1.0, 0.0, 10.0, 0.0]
    with pytest.raises(ConfigError, match="earlier"):
        with_rates(then, now)
    with pytest.raises(ConfigError, match="two states"):
        with_rates(now, read(tmp_path, COMPACT))


def test_a_state_without_sizes_says_so_and_one_without_topics_is_refused(tmp_path: Path) -> None:
    state = cluster(3, topic("t", [1, 2]), unread={"log_dirs": "timed out"})
    found = layout_of(state)
    assert found.layout.size_bytes.tolist() == [1]
    assert "timed out" in found.warnings[0]
    with pytest.raises(StateUnknown, match="topics"):
        layout_of(cluster(3, topics=None))
    save_state(cluster(3, topics=None), tmp_path / "state.json")
    with pytest.raises(StateUnknown, match="topics") as caught:
        read_layout(tmp_path / "state.json")
    assert caught.value.where == str(tmp_path / "state.json")


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ("topics", {}, "at topics: expected a list"),
        ("topics", [{"name": "t"}], r"at topics\[0\].partitions"),
        ("topics", [{"name": "t", "partitions": [], "isr": 1}], r"at topics\[0\]: expected an object"),
        ("topics", [{"name": "t", "partitions": [{"id": 0, "replicas": [1]}]}], r"topics\[0\].partitions\[0\]"),
        ("topics", [{"name": "t", "partitions": [{"id": 0, "replicas": ["a"], "isr": []}]}], "every replicas"),
        ("log_dirs", [{"broker": 1, "path": "/x", "replicas": {"t-0": "1"}}], r"log_dirs\[0\].replicas.t-0"),
        ("brokers", [{"id": 1, "rak": "a"}], r"at brokers\[0\].rak"),
        ("nonsense", 1, "nonsense"),
    ],
)
def test_a_state_file_is_as_strict_here_as_elsewhere(at: str, value: Any, said: str, tmp_path: Path) -> None:
    save_state(cluster(2, topic("t", [1, 2])), tmp_path / "state.json")
    content = json.loads((tmp_path / "state.json").read_text()) | {at: value}
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, content)
    assert caught.value.code == "STATE_INVALID"


def test_the_text_of_describe_in_its_old_and_new_forms(tmp_path: Path) -> None:
    found = read(tmp_path, DESCRIBED)
    assert found.layout.topics == ("old-style", "orders")
    assert replicas_of(found.layout) == [[7], [1, 2], [2, 3], [3, 1, 4]]
    assert found.layout.leader.tolist() == [4, 1, -1, 2]
    assert found.layout.busy is not None
    assert found.layout.busy.tolist() == [False, False, False, True]
    assert any("sizes" in w for w in found.warnings)
    with pytest.raises(ConfigError, match="not a line of") as caught:
        read(tmp_path, DESCRIBED + "SLF4J: no binding\n")
    assert caught.value.where == f"{tmp_path / 'file'}:{len(DESCRIBED.splitlines()) + 1}"


def test_the_json_of_reassignments_and_what_generate_prints_around_it(tmp_path: Path) -> None:
    rows = [("t", 1, [3, 1]), ("t", 0, [1, 2])]
    text = reassignment_json(rows).decode()
    assert json.loads(text)["partitions"][0] == {
        "topic": "t", "partition": 1, "replicas": [3, 1], "log_dirs": ["any", "any"],
    }  # fmt: skip
    found = read(tmp_path, text).layout
    assert replicas_of(found) == [[1, 2], [3, 1]]
    assert found.leader.tolist() == [0, 2]
    flat = json.dumps(json.loads(text))
    printed = f"Current partition replica assignment\n{flat}\n\nProposed partition reassignment configuration\n{{}}\n"
    assert same(read(tmp_path, printed).layout, found)
    for broken in ({"partition": "1"}, {"replicas": []}, {"replicas": [1, 1]}, {"log_dirs": ["any"]}, {"isr": 1}):
        row = {"topic": "t", "partition": 0, "replicas": [1, 2], **broken}
        with pytest.raises(ConfigError, match=r"partitions\[0\]|t-0"):
            read(tmp_path, {"version": 1, "partitions": [row]})


def test_racks_come_from_a_file_and_brokers_from_options(tmp_path: Path) -> None:
    path = write(tmp_path / "racks.yaml", "1: a\n'2': b\n3: {rack: c, update_domain: u, total_bytes: 10}\n")
    found = read_layout(write(tmp_path / "f", DESCRIBED), brokers=[*read_brokers(path), BrokerRow(id=9)])
    assert found.layout.brokers.ids.tolist() == [1, 2, 3, 4, 7, 9]
    assert [found.layout.brokers.racks[r] if r >= 0 else "-" for r in found.layout.brokers.rack] == list("abc---")
    assert not any("racks" in w for w in found.warnings)
    for text in ("- 1", "a: b", "1: [x]", "1: {rak: a}", "1: {rack: 7}", ": :", "-1: a", "\x00"):
        with pytest.raises(ConfigError, match=r".") as caught:
            read_brokers(write(tmp_path / "racks.yaml", text))
        assert caught.value.where == str(path)


def test_a_file_of_racks_brings_no_broker_to_life(tmp_path: Path) -> None:
    state = cluster(2, topic("t", [1, 2], [2, 9]), racks={1: "a"})
    rows = read_brokers(write(tmp_path / "racks.yaml", "2: b\n7: b\n9: c\n"))
    brokers = layout_of(state, brokers=rows).layout.brokers
    assert brokers.ids.tolist() == [1, 2, 7, 9]
    assert [brokers.racks[r] for r in brokers.rack] == ["a", "b", "b", "c"]
    assert brokers.live.tolist() == [True, True, False, False], "7 is not registered"


@pytest.mark.parametrize("text", ["", "hello", "{", "[]", "null", '{"component": "zk"}', '{"partitions": 1}', "[[[["])
def test_a_file_of_no_known_form_is_refused_with_the_forms_there_are(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.where == str(tmp_path / "file")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def damaged(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place of it replaced or removed."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 4)) == 0:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: damaged(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        n = draw(st.integers(0, len(value) - 1))
        if draw(st.integers(0, 4)) == 0:
            return value[:n] + value[n + 1 :]
        return [*value[:n], damaged(draw, value[n]), *value[n + 1 :]]
    return draw(plain)


@st.composite
def damaged_files(draw: st.DrawFn) -> str | bytes:
    state = {
        "component": "kafka", "version": 1, "cluster": "c", "taken_at": "2026-01-01T00:00:00Z",
        "brokers": [{"id": 1, "rack": "a"}, {"id": 2}],
        "topics": [{"name": "t", "partitions": [{"id": 0, "leader": 1, "replicas": [1, 2], "isr": [1]}]}],
        "reassignments": [{"partition": "t-0", "adding": [2]}],
        "log_dirs": [{"broker": 1, "path": "/d", "total_bytes": 9, "usable_bytes": 3, "replicas": {"t-0": 7}}],
    }  # fmt: skip
    reassignment = json.loads(reassignment_json([("t", 0, [1, 2]), ("t", 1, [2])]))
    kind = draw(st.sampled_from(["json", "json", "json", "text", "bytes"]))
    if kind == "json":
        return json.dumps(damaged(draw, draw(st.sampled_from([COMPACT, state, reassignment]))))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    lines = DESCRIBED.splitlines()
    n = draw(st.integers(0, len(lines) - 1))
    line = lines[n]
    cut = draw(st.integers(0, len(line)))
    lines[n] = line[:cut] + draw(st.text(max_size=4)) + line[cut + draw(st.integers(0, 5)) :]
    return "\n".join(lines)


@settings(parent=quick, max_examples=300)
@given(content=damaged_files())
def test_whatever_is_in_a_file_it_is_read_or_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    where, rows = str(path), [[0]]
    try:
        rows = replicas_of(read_layout(path).layout)
    except (ConfigError, StateUnknown) as e:
        where = str(e.where)
    assert where.startswith(str(path))
    assert all(row and len(set(row)) == len(row) for row in rows)


def test_log_directories_of_a_layout_are_those_of_its_brokers() -> None:
    found = layout(
        {"t": [[1, 2]]}, log_dirs=[LogDirRow(broker=1, path="/a"), LogDirRow(broker=2, path="/b")], dirs={"t": [[0, 1]]}
    )
    assert found.dirs is not None
    assert found.dirs.tolist() == [[0, 1]]
    assert Partition(id=0, replicas=(1,), isr=(1,)).leader is None
