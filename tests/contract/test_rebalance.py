"""The planning commands of Kafka, run as a person runs them: exit codes, the envelope, files, words of refusal."""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from bdops.cli import kafka
from bdops.cli.kafka_request import Asked
from tests.contract.cli import bdops

STATE = {
    "component": "kafka-layout",
    "version": 1,
    "cluster": "prod",
    "brokers": [{"id": n, "rack": f"r{n % 2}"} for n in range(1, 5)],
    "topics": [
        {
            "name": "orders",
            "width": 2,
            "replicas": [1, 2, 1, 2, 1, 2, 3, 2],
            "leaders": [1, 1, 1, 3],
            "size_bytes": [1000, 2000, 3000, 4000],
        },
        {"name": "logs", "width": 1, "replicas": [1, 1], "leaders": [1, 1], "size_bytes": [500, 600]},
    ],
}
FIGURES = {
    "moved_replicas", "moved_bytes", "leader_changes", "lower_bound", "gap", "imbalance_before", "imbalance_after",
}  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> str:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(STATE))
    return str(path)


@pytest.mark.parametrize(
    "argv",
    [
        ("rebalance", "--balance", "count"),
        ("rebalance", "--balance", "bytes,count", "--tolerance", "bytes=30%,count=50%"),
        ("rebalance", "--balance", "count", "--frontier", "--max-moves", "1"),
        ("drain", "2", "--max-move", "100GB"),
        ("add", "5", "--balance", "count"),
        ("set-replication", "2", "--topic", "logs"),
        ("leaders", "balance", "--survive-loss"),
    ],
)
def test_every_planning_command_answers_from_a_file_with_the_same_figures(
    argv: tuple[str, ...], state: str, tmp_path: Path
) -> None:
    done = bdops("kafka", *argv, "--state", state, "-o", "json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.json["command"] == " ".join(("kafka", *argv[: 2 if argv[0] == "leaders" else 1]))
    assert set(done.json["data"]) >= FIGURES
    assert ("frontier" in done.json["data"]) == ("--frontier" in argv)
    assert done.stdout.count('"bdops"') == 1
    table = bdops("kafka", *argv, "--state", state, home=tmp_path)
    assert "BROKER" in table.stdout
    assert "proven bound:" in table.stdout


@pytest.mark.parametrize("option", ["--plan-out", "--reassignment-json", "--layout-out"])
def test_a_file_that_cannot_be_written_is_named(option: str, state: str, tmp_path: Path) -> None:
    planned = ("kafka", "rebalance", "--balance", "count", "--state", state, option)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, why in ((tmp_path / "gone" / "x.json", "No such file"), (tmp_path, "directory"), (pipe, "no file")):
        done = bdops(*planned, str(path), home=tmp_path)
        assert done.returncode == 1, done.stderr
        assert str(path).removesuffix(".json") in done.stderr
        assert why in done.stderr


def test_a_plan_and_the_files_for_kafkas_tool_are_written_and_explained(state: str, tmp_path: Path) -> None:
    plan, moves, layout = (str(tmp_path / name) for name in ("plan.json", "moves.json", "layout.json"))
    done = bdops(
        "kafka", "rebalance", "--balance", "count", "--state", state, "--plan-out", plan, "--reassignment-json", moves,
        "--layout-out", layout, "--detailed-exitcode", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 6
    assert "moves-rollback.json" in done.stderr
    assert json.loads((tmp_path / "moves.json").read_text())["version"] == 1
    first = json.loads((tmp_path / "plan.json").read_text())["moves"][0]
    why = bdops("kafka", "explain", plan, f"{first[0]}-{first[1]}", "-o", "json", home=tmp_path)
    assert why.returncode == 0
    assert why.json["data"]["reasons"][0]["why"]
    again = bdops("kafka", "rebalance", "--balance", "count", "--state", layout, "-o", "json", home=tmp_path)
    assert again.json["data"]["moved_replicas"] == len(
        [b for m in json.loads((tmp_path / "plan.json").read_text())["moves"] for b in m[5] if b not in m[4]]
    )
    assert bdops("kafka", "explain", plan, "nonsense", home=tmp_path).returncode == 2
    assert bdops("kafka", "explain", state, "orders-0", home=tmp_path).returncode == 3


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("rebalance", "--balance", "weight"), 2, "count, bytes, leaders, bytes-in"),
        (("rebalance", "--tolerance", "count=5%"), 2, "'count' is not made even"),
        (("rebalance", "--tolerance", "five"), 2, "--tolerance 5%"),
        (("rebalance", "--topic", "nothing*"), 2, "no topic is like that"),
        (("rebalance", "--max-move", "lots"), 2, "not a size"),
        (("drain", "7"), 2, "there is no broker 7"),
        (("drain", "node7"), 2, "there is no broker 'node7'"),
        (("drain", "1-4"), 2, "no broker is left"),
        (("drain", "4-2"), 2, "a range goes up"),
        (("rebalance", "--brokers", "node7"), 2, "--brokers node7: these are numbers"),
        (("rebalance", "--only-if-worse-than", "10"), 2, "expected a number with %"),
        (("rebalance", "--watermark", "0.8"), 2, "expected a number with %"),
        (("set-replication", "5", "--topic", "logs"), 2, "logs-0 is to have 5 replicas"),
        (("set-replication", "2"), 2, "--topic"),
        (("disks",), 3, "log directory"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    argv: tuple[str, ...], code: int, said: str, state: str, tmp_path: Path
) -> None:
    done = bdops("kafka", *argv, "--state", state, home=tmp_path)
    assert done.returncode == code
    assert said in done.stderr


def test_nothing_is_planned_while_the_imbalance_is_not_worse_than_asked(state: str, tmp_path: Path) -> None:
    """The file's first broker has 5 of 10 replicas, twice its share."""
    plan = tmp_path / "plan.json"
    argv = ("kafka", "rebalance", "--balance", "count", "--state", state, "--plan-out", str(plan), "-o", "json")
    done = bdops(*argv, "--only-if-worse-than", "100%", "--detailed-exitcode", home=tmp_path)
    assert (done.returncode, done.json["data"]["moved_replicas"]) == (0, 0)
    assert done.json["data"]["imbalance_before"] == 1
    assert not plan.exists()
    done = bdops(*argv, "--only-if-worse-than", "99%", "--detailed-exitcode", home=tmp_path)
    assert done.returncode == 6
    assert plan.exists()


def test_brokers_are_not_added_to_a_cluster(tmp_path: Path) -> None:
    done = bdops("kafka", "rebalance", "--brokers", "9", home=tmp_path)
    assert done.returncode == 2
    assert "adds to a file" in done.stderr


def test_a_file_that_is_none_is_named_in_the_error(state: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({**STATE, "brokers": []}))
    done = bdops("kafka", "rebalance", "--state", str(tmp_path / "bad.json"), "-o", "json", home=tmp_path)
    assert done.returncode == 3
    assert done.json["errors"][0]["code"] == "STATE_INVALID"
    assert done.json["errors"][0]["where"] == str(tmp_path / "bad.json")
    assert bdops("kafka", "rebalance", "--state", str(tmp_path / "gone.json"), home=tmp_path).returncode == 3


def test_disks_move_within_a_broker(tmp_path: Path) -> None:
    path = tmp_path / "jbod.json"
    content = {
        **STATE,
        "log_dirs": [{"broker": 1, "path": "/a"}, {"broker": 1, "path": "/b"}],
        "topics": [{**STATE["topics"][1], "dirs": [0, 0]}],  # type: ignore[index, dict-item]
    }
    path.write_text(json.dumps(content))
    done = bdops("kafka", "disks", "--tolerance", "20%", "--state", str(path), "-o", "json", home=tmp_path)
    assert done.returncode == 0
    assert done.json["data"]["moves"] == [
        {"partition": "logs-0", "broker": 1, "size_bytes": 500, "from": "/a", "to": "/b"}
    ]


@pytest.mark.parametrize(
    "name", ["rebalance", "drain", "add", "set_replication", "balance_leaders", "disks", "decommission"]
)
def test_every_option_of_a_planning_command_has_its_field(name: str) -> None:
    """Options reach the request by the names of the parameters."""
    known = [c.callback for app in (kafka.app, kafka.leaders_app) for c in app.registered_commands if c.callback]
    (command,) = (c for c in known if c.__name__ == name)
    assert inspect.signature(command).parameters.keys() - {"ctx", "broker"} <= {f.name for f in fields(Asked)}
