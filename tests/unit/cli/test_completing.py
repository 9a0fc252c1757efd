from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.cli.completing import (
    FOLDER,
    TREE,
    Names,
    complete,
    remember_inventory,
    remember_topics,
    split_line,
)  # fmt: skip

COMMANDS = json.loads(TREE.read_text())
CLUSTERS = {
    "prod": {"hosts": ["node1", "node2"], "components": {"kafka": ["node1"], "hdfs": ["node1/datanode"]}},
    "test": {"hosts": ["other"], "components": {"zk": ["other"]}},
}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("BDOPS_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    remember_inventory(None, CLUSTERS)
    remember_topics(None, "prod", ["orders", "payments"])
    for job in ("20260101-a", "20260201-b"):
        (tmp_path / "jobs" / job).mkdir(parents=True)
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/nightly.yaml").touch()
    return Names(lambda: tmp_path)


def offered(names: Names, line: str) -> list[str]:
    *words, incomplete = split_line(line)
    return [word for word, _ in complete(COMMANDS, words, incomplete, names)[1]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kaf", ["kafka"]),
        ("kafka topi", ["topics"]),
        ("-c prod kafka topi", ["topics"]),
        ("check --textf", ["--textfile"]),
        ("check prod/kafka --textf", ["--textfile"]),
        ("check -c ", ["prod", "test"]),
        ("check --cluster=t", ["--cluster=test"]),
        ("check -o n", ["name", "nagios"]),
        ("check prod/", ["prod/kafka", "prod/hdfs", "prod/node1", "prod/node2"]),
        ("check prod/hdfs/", ["prod/hdfs/node1/datanode"]),
        ("check prod/zk,!prod/ka", ["prod/zk,!prod/kafka"]),
        ("check -c test o", ["other"]),
        ("host restart node", ["node1", "node2"]),
        ("kafka partitions --topic pay", ["payments"]),
        ("jobs show ", ["20260201-b", "20260101-a"]),
        ("run ni", ["nightly"]),
        ("run playb", ["playbooks/nightly.yaml"]),
        ("completion z", ["zsh"]),
        ("why te", ["test"]),
        ("check prod/kafka ", []),
        ("exec prod -- l", []),
        ("nonsense ", []),
    ],
)
def test_what_is_offered(names: Names, line: str, expected: list[str]) -> None:
    assert offered(names, line) == expected


@pytest.mark.parametrize("line", ["check --state ", "-i ", "check prod -i /et", "kafka explain "])
def test_files_are_left_to_the_shell(names: Names, line: str) -> None:
    *words, incomplete = split_line(line)
    assert complete(COMMANDS, words, incomplete, names) == ("files", [])


def test_options_of_this_command_and_the_common_ones_and_no_others(names: Names) -> None:
    found = offered(names, "check -")
    assert {"--record", "--cluster", "-c", "--help"} <= set(found)
    assert "--open" not in found


def test_an_inventory_that_is_named_has_names_of_its_own(names: Names, tmp_path: Path) -> None:
    remember_inventory(tmp_path / "other.yaml", {"lab": CLUSTERS["test"]})
    assert offered(names, "-i other.yaml check -c ") == ["lab"]
    assert offered(names, f"check -i {tmp_path}/other.yaml -c ") == ["lab"]
    assert offered(names, "-i unknown.yaml check -c ") == []


def test_topics_stay_when_the_inventory_is_read_again_and_go_with_their_cluster(names: Names) -> None:
    remember_inventory(None, {**CLUSTERS, "new": CLUSTERS["test"]})
    assert offered(names, "kafka partitions --topic ") == ["orders", "payments"]
    remember_inventory(None, {"new": CLUSTERS["test"]})
    assert offered(names, "kafka partitions --topic ") == []


def test_a_cache_that_is_damaged_offers_nothing_and_is_made_again(names: Names, tmp_path: Path) -> None:
    (file,) = (tmp_path / FOLDER).iterdir()
    for damage in ("", "[]", '{"clusters": 3}', '{"clusters": {"prod": 3, "test": {}}}', "\x00"):
        file.write_text(damage)
        assert offered(names, "check -c ") == []
    remember_inventory(None, CLUSTERS)
    assert offered(names, "check -c ") == ["prod", "test"]
    assert file.stat().st_mode & 0o777 == 0o600


texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Cc"]), min_size=1)
words = st.lists(texts, max_size=5)
LINE = ["kafka", "check", "-c", "prod", "--", "--state", "-", "--x=y", "topics", ""]


@given(words)
def test_a_line_is_split_as_a_shell_does(found: list[str]) -> None:
    assert split_line(f"{shlex.join(found)} ") == [*found, ""]


@given(st.text(max_size=40))
def test_any_unfinished_line_is_split_into_something(line: str) -> None:
    assert split_line(line)


@given(st.lists(st.sampled_from(LINE), max_size=6))
def test_no_line_breaks_it(line: list[str]) -> None:
    for incomplete in ("", "-", "p", "--cluster="):
        complete(COMMANDS, line, incomplete, Names(lambda: Path("/nowhere")))
