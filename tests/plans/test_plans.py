"""Every file in cases/: a state, the arguments of a command, and the figures that the plan must have.

The commands run as a person runs them, from a file to a report and a plan.json, which the checker replays.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.__main__ import run
from bdops.components.kafka.planner.compact import write_compact
from bdops.components.kafka.planner.files import read_brokers, read_layout
from tests.plans.checker import matching, problems, spread

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))


def compact(state: dict[str, Any]) -> dict[str, Any]:
    """The compact layout of a case's state: brokers as `{number: rack or object}`, topics as rows or as an object."""
    brokers = [{"id": n, **(b if isinstance(b, dict) else {"rack": b})} for n, b in state["brokers"].items()]
    topics = []
    for name, given in state["topics"].items():
        topic = given if isinstance(given, dict) else {"rows": given}
        rows = topic["rows"] * topic.get("times", 1)
        width = max(map(len, rows))
        sizes = topic.get("size_bytes", 1)
        topics.append(
            {
                "name": name,
                "width": width,
                "replicas": [b for row in rows for b in [*row, *[-1] * (width - len(row))]],
                "leaders": topic.get("leaders", [row[0] for row in rows]),
                "size_bytes": sizes if isinstance(sizes, list) else [sizes] * len(rows),
                **{k: v for k, v in topic.items() if k in ("bytes_in", "busy", "dirs")},
            }
        )
    content = {"component": "kafka-layout", "version": 1, "brokers": brokers, "topics": topics}
    return content | ({"log_dirs": state["log_dirs"]} if "log_dirs" in state else {})


def bdops(*argv: str) -> dict[str, Any]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = run([*argv, "-o", "json"])
    assert code == 0, out.getvalue()
    answer: dict[str, Any] = json.loads(out.getvalue())["data"]
    return answer


def values_after(argv: list[str], option: str) -> list[str]:
    return [argv[n + 1] for n, word in enumerate(argv[:-1]) if word == option]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_plan(path: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    argv: list[str] = [str(word) for word in case["arguments"]]
    state = tmp_path / "state"
    state.write_text(case["text"] if "text" in case else json.dumps(compact(case["state"])))
    extra = []
    if "racks" in case:
        (tmp_path / "racks.yaml").write_text(yaml.safe_dump(case["racks"]))
        extra = ["--racks", str(tmp_path / "racks.yaml")]
    if argv[0] == "disks":
        plan: dict[str, Any] = {}
        figures = bdops("kafka", *argv, "--state", str(state))
    else:
        out = tmp_path / "plan.json"
        figures = bdops("kafka", *argv, "--state", str(state), *extra, "--plan-out", str(out))
        plan = json.loads(out.read_bytes())
        assert problems(layout_of(state, extra, argv), plan, **how(argv)) == []
    for name, value in case["expected"].items():
        if name == "at_most":
            for figure, most in value.items():
                assert figures[figure] <= most, figure
        elif name == "spread":
            assert spread(plan) <= value
        elif name == "said":
            assert value in " ".join(figures["residual"])
        elif name == "after":
            new = {f"{m[0]}-{m[1]}": m[5] for m in plan["moves"]}
            assert {name: new[name] for name in value} == value
        else:
            assert figures[name] == pytest.approx(value), name


def how(argv: list[str]) -> dict[str, Any]:
    """What the checker has to know of the arguments."""
    topics, without = matching(values_after(argv, "--topic")), values_after(argv, "--exclude-topic")
    return {
        "partial": "--max-moves" in argv or "--max-move" in argv or "leaders" in argv[:1],
        "touched": lambda topic: topics(topic) and not (without and matching(without)(topic)),
    }


def layout_of(state: Path, extra: list[str], argv: list[str]) -> dict[str, Any]:
    """The state as a compact layout, whatever form the case has it in."""
    content = state.read_text()
    if content.startswith("{") and json.loads(content).get("component") == "kafka-layout" and not extra:
        found: dict[str, Any] = json.loads(content)
        known = {b["id"] for b in found["brokers"]}
        if argv[0] == "add":
            found["brokers"] += [{"id": int(n)} for n in argv[1].split(",") if int(n) not in known]
        return found
    out = io.BytesIO()
    write_compact(read_layout(state, brokers=read_brokers(Path(extra[1])) if extra else ()).layout, out)
    again: dict[str, Any] = json.loads(out.getvalue())
    return again


def test_there_are_cases() -> None:
    assert len(CASES) >= 15
