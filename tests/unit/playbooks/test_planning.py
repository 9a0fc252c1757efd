"""A playbook with its parameters as the steps of a job; what is decided then, and what when it is reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdops.core.plan import Target
from bdops.errors import ConfigError, UsageError
from bdops.playbooks.planning import MAX_STEPS, Surroundings, help_of, parameters_of, ready, targets_of
from tests.unit.playbooks.books import OPERATIONS, read

HEAD = "version: 1\nhelp: |\n  What it is for.\n"
AROUND = Surroundings(
    cluster="prod",
    components=("zk",),
    hosts=lambda selector: [{"name": f"{selector}-{n}", "rack": "r1"} for n in (1, 2)],
    instances=lambda selector: [{"name": f"prod/zk/{selector}", "host": selector}],
)


def planned(folder: Path, text: str, *given: str, around: Surroundings = AROUND) -> tuple[Target, ...]:
    book = read(folder, HEAD + text)
    return targets_of(book, parameters_of(book, given), around, OPERATIONS)


def test_a_step_is_gone_through_for_each_host_with_its_values(tmp_path: Path) -> None:
    found = planned(
        tmp_path,
        """\
parameters: {what: {help: a}}
steps:
  - name: "{{ what }} it"
    for_each: {hosts: "{{ what }}"}
    do: zk restart
    with: {selector: "{{ item.name }}"}
    register: done
  - do: zk restart
  - do: zk restart
""",
        "what=kafka",
    )
    assert [t.name for t in found] == ["kafka it (kafka-1)", "kafka it (kafka-2)", "zk restart", "zk restart #2"]
    assert [t.args["given"] for t in found[:2]] == [{"selector": "kafka-1"}, {"selector": "kafka-2"}]
    assert [t.rank for t in found] == [0, 1, 2, 3]
    assert json.loads(json.dumps([dict(t.args) for t in found])) == [dict(t.args) for t in found]


def test_a_condition_that_can_be_told_is_told_now_and_says_so(tmp_path: Path) -> None:
    found = planned(
        tmp_path,
        """\
steps:
  - {do: zk restart, when: "'kafka' in cluster.components"}
  - {do: zk restart, when: "'zk' in cluster.components"}
  - {do: zk restart, when: results.a.failed}
  - {do: zk restart, for_each: {list: [a, b]}, when: item == 'b'}
  - {do: zk restart, for_each: {hosts: nowhere}, when: 1 > 2}
""",
    )
    assert [t.acts for t in found] == [
        ("skip",), ("operation",), ("operation",), ("operation",), ("skip",),
    ]  # fmt: skip
    assert found[3].name == "zk restart (b)"
    assert "skipped: not ('kafka' in cluster.components)" in found[0].note
    assert (found[1].args["when"], found[2].args["when"]) == (None, "results.a.failed")
    assert "planned when it is reached" in found[2].note


def test_what_depends_on_a_result_is_filled_in_when_it_is_reached(tmp_path: Path) -> None:
    (target,) = planned(
        tmp_path,
        """\
parameters: {n: {help: a, type: int, default: 3}}
steps:
  - do: exec
    when: results.a.hosts | length == n
    with: {selector: "{{ results.a.hosts[0].host }}", command: [echo, "{{ n }}"], parallel: "{{ n }}"}
""",
    )
    args: dict[str, Any] = json.loads(json.dumps(target.args))
    assert args["late"]
    filled = ready(args, {"a": {"hosts": [{"host": "node1"}] * 3}})
    assert filled is not None
    assert filled["given"] == {"selector": "node1", "command": ["echo", 3], "parallel": 3}
    assert ready(args, {"a": {"hosts": []}}) is None
    with pytest.raises(ConfigError, match=r"'a' is undefined|has no attribute 'a'") as caught:
        ready(args, {})
    assert (caught.value.where or "").endswith("book.yaml:6")


def test_the_phases_follow_each_other(tmp_path: Path) -> None:
    text = "finally:\n  - do: check\non_failure:\n  - do: check\nsteps:\n  - do: check\n"
    assert [t.phase for t in planned(tmp_path, text)] == ["", "failure", "end"]


PARAMETERS = """\
parameters:
  rack: {help: Which rack.}
  limit: {help: How many., type: int, default: 3}
  even: {help: Even so., type: bool, default: false}
  size: {help: How much., type: size, default: 1GB}
  how: {help: How., choices: [fast, slow], default: slow}
steps:
  - do: check
"""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "must be told rack"),
        (("rack",), "expected name=value"),
        (("rack=r1", "rack=r2"), "given twice"),
        (("rack=r1", "limmit=3"), "no such parameter"),
        (("rack=r1", "limit=many"), "a whole number"),
        (("rack=r1", "limit=1e9999"), "a whole number"),
        (("rack=r1", "even=perhaps"), "true or false"),
        (("rack=r1", "size=big"), "not a size"),
        (("rack=r1", "how=slower"), "one of fast, slow"),
        (("rack=" + "x" * 3000,), "text of at most"),
    ],
)
def test_a_parameter_that_does_not_fit_is_usage(given: tuple[str, ...], says: str, tmp_path: Path) -> None:
    book = read(tmp_path, HEAD + PARAMETERS)
    with pytest.raises(UsageError, match=says):
        parameters_of(book, given)


def test_parameters_have_their_types_and_defaults_and_are_in_the_help(tmp_path: Path) -> None:
    book = read(tmp_path, HEAD + PARAMETERS)
    found = parameters_of(book, ["rack=01", "limit=5", "even=yes", "how=fast"])
    assert found == {"rack": "01", "limit": 5, "even": True, "size": "1GB", "how": "fast"}
    text = help_of(book)
    for words in ("What it is for.", "Which rack. [text; required]", "[fast|slow; default: slow]", "1. check"):
        assert words in text


def test_a_parameter_is_text_and_no_template(tmp_path: Path) -> None:
    text = 'parameters: {a: {help: a}}\nsteps:\n  - {do: zk restart, with: {selector: "{{ a }}"}}\n'
    (target,) = planned(tmp_path, text, "a={{ cluster.name }}")
    assert target.args["given"] == {"selector": "{{ cluster.name }}"}
    filled = ready({**target.args, "when": None}, {})
    assert filled is not None
    assert filled["given"] == {"selector": "{{ cluster.name }}"}, "not filled in a second time"


def test_what_is_shown_of_a_step_does_not_move_the_cursor(tmp_path: Path) -> None:
    text = """\
parameters: {a: {help: a}}
steps:
  - {name: "{{ a }}", do: exec, with: {selector: n, command: [sh, -c, "x\\e[2K\\ny"]}}
"""
    (target,) = planned(tmp_path, text, "a=\x1b[1A")
    assert (target.name + target.note).isprintable()
    assert target.args["given"]["command"][2] == "x\x1b[2K\ny", "it is run as it is"


def test_more_steps_than_a_plan_may_have_are_refused(tmp_path: Path) -> None:
    many = Surroundings(
        cluster="prod",
        components=(),
        hosts=lambda selector: [{"name": f"node{n}"} for n in range(MAX_STEPS + 1)],
        instances=AROUND.instances,
    )
    text = "steps:\n  - {do: zk restart, for_each: {hosts: all}}\n"
    with pytest.raises(ConfigError, match="more than"):
        planned(tmp_path, text, around=many)
