"""Reading playbooks: every error with its line, and a hostile file refused within bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.errors import ConfigError, ConfigErrors
from bdops.playbooks.load import MAX_BYTES, load_playbook
from tests.unit.playbooks.books import read

HEAD = "version: 1\nhelp: A test.\n"


def wrong(folder: Path, text: str) -> list[str]:
    """`LINE: message` of every error."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    errors = caught.value.errors if isinstance(caught.value, ConfigErrors) else [caught.value]
    assert {e.code for e in errors} == {"PLAYBOOK_INVALID"}
    return [f"{(e.where or '').rpartition(':')[2]}: {e.message} ({e.hint})" for e in errors]


def test_a_whole_playbook_is_read(tmp_path: Path) -> None:
    book = read(
        tmp_path,
        HEAD
        + """\
parameters:
  rack: {help: Which rack.}
  limit: {help: How many., type: int, default: 3, choices: [1, 3]}
  pause: {help: How long., type: duration, default: 10s}
steps:
  - name: "each of {{ rack }}"
    for_each: {hosts: "rack:{{ rack }}"}
    when: limit > 1
    do: exec
    with: {selector: "{{ item.name }}", command: [echo, hello], parallel: "{{ limit }}"}
    register: said
  - wait_for: {check: zk, codes: ZK_QUORUM, at_most: warning, timeout: 2m}
  - approve: Go on?
on_failure:
  - do: check
finally:
  - archive: /tmp
""",
    )
    assert [(p.name, p.default) for p in book.parameters] == [("rack", None), ("limit", 3), ("pause", "10s")]
    assert [s.kind for s in book.steps] == ["operation", "wait-for", "approve", "operation", "archive"]
    wait = book.steps[1].wait
    assert wait is not None
    assert (wait.timeout_s, wait.codes) == (120.0, ("ZK_QUORUM",))
    assert book.steps[2].where.endswith("book.yaml:15")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("steps:\n  - {do: zk restrt}\n", 4, "did you mean zk restart"),
        ("steps:\n  - do: zk restart\n    with: {selektor: node1}\n", 5, "did you mean selector"),
        ("steps:\n  - do: zk restart\n    wihh: {}\n", 5, "did you mean with"),
        ("steps:\n  - do: exec\n    with: {selector: node1}\n", 4, "needs command"),
        ("steps:\n  - do: exec\n    with: {selector: n, command: [a], parallel: many}\n", 5, "a whole number"),
        ("steps:\n  - do: exec\n    with: {selector: n, command: [a], sudo: 'yes'}\n", 5, "true or false"),
        ("steps:\n  - do: exec\n    with: {selector: n, command: [[a]]}\n", 5, "a list of words"),
        ("steps:\n  - do: zk restart\n    with: {selector: [a, b]}\n", 5, "one value"),
        ("steps:\n  - do: zk snapshot drill\n    with: {selector: zk}\n", 5, "comes after snapshot"),
        ("steps:\n  - do: zk restart\n    with: {selector: '{{ rak }}'}\n", 5, "there is no rak"),
        ("steps:\n  - do: zk restart\n    with: {selector: '{{ item }}'}\n", 5, "there is no item"),
        ("steps:\n  - do: zk restart\n    with: {selector: '{{ a.b() }}'}\n", 5, "takes no call"),
        ("steps:\n  - {do: check, when: 'lipsum is defined'}\n", 4, "there is no lipsum"),
        ("steps:\n  - {do: check, when: true}\n", 4, "expected text"),
        ("steps:\n  - {do: zk restart, go_on: true}\n", 4, "only reads"),
        ("steps:\n  - {do: zk restart, exit_codes: [1]}\n", 4, "only reads"),
        ("steps:\n  - {do: check, approve: a}\n", 4, "found do, approve"),
        ("steps:\n  - {name: nothing}\n", 4, "found none"),
        ("steps:\n  - {approve: a, with: {b: c}}\n", 4, "`do` is not there"),
        ("steps:\n  - {do: check, for_each: {list: '{{ results.a }}'}}\n", 4, "cannot depend on results"),
        ("steps:\n  - {do: check, for_each: {hosts: a, list: [b]}}\n", 4, "one of hosts, instances and list"),
        ("steps:\n  - {do: check, register: a}\n  - {do: check, register: a}\n", 5, "registered twice"),
        ("steps:\n  - {do: check, register: '__class__'}\n", 4, "pattern"),
        ('steps:\n  - {approve: "all\\e[2K fine"}\n', 4, "control characters"),
        ('steps:\n  - {do: check, name: "a\\u202eb"}\n', 4, "control characters"),
        ("steps: []\n", 3, "at least one"),
        ("parameters: {item: {help: a}}\nsteps:\n  - do: check\n", 3, "a meaning of its own"),
        ("parameters: {db_password: {help: a}}\nsteps:\n  - do: check\n", 3, "takes no secrets"),
        ("parameters: {a: {type: int, help: a, default: many}}\nsteps:\n  - do: check\n", 3, "a whole number"),
        ("parameters: {a: {type: size, help: a, default: 3 apples}}\nsteps:\n  - do: check\n", 3, "not a size"),
        ("parameters: {a: {help: a, choices: [b], default: c}}\nsteps:\n  - do: check\n", 3, "one of b"),
        ("parameters: {a: {help: a}, a: {help: b}}\nsteps:\n  - do: check\n", 3, "there twice"),
        ("steps:\n  - do: check\nsteps:\n  - do: check\n", 5, "there twice"),
        ("steps:\n  - wait_for: {at_most: critical}\n", 4, "'ok' or 'warning'"),
        ("steps:\n  - wait_for: {at_most: ok, at_least: warning}\n", 4, "not both"),
        ("steps:\n  - wait_for: {timeout: soon}\n", 4, "not a duration"),
        ("steps:\n  - do: !!python/object/apply:os.system [id]\n", 4, "tag"),
        ("steps: {{ steps }}\n", 3, "plain text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int, says: str, tmp_path: Path) -> None:
    errors = wrong(tmp_path, HEAD + text)
    assert any(e.startswith(f"{line}: ") and says in e for e in errors), errors


def test_all_errors_are_named_in_one_run(tmp_path: Path) -> None:
    shape = wrong(tmp_path, HEAD + "steps:\n  - {do: check, a: b}\n  - nme: x\n  - {approve: a, do: check}\n")
    assert [e[:2] for e in shape] == ["4:", "5:", "6:"]
    meaning = wrong(tmp_path, HEAD + "steps:\n  - do: zk restrt\n  - {do: check, when: x}\n  - {do: exec}\n")
    assert [e[:2] for e in meaning] == ["4:", "5:", "6:", "6:"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just text",
        "version: 2\nhelp: a\nsteps: [{do: check}]\n",
        "x" * (MAX_BYTES + 1),
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
        ),
        HEAD + "steps:\n" + "  - do: check\n" * 101,
        HEAD + "steps: " + "[" * 1000 + "]" * 1000,
        HEAD + "parameters: {" + ", ".join(f"p{n}: {{help: a}}" for n in range(41)) + "}\nsteps:\n  - do: check\n",
        HEAD + "steps:\n  - {do: check, when: '" + "(" * 1900 + "'}\n",
    ],
    ids=["empty", "list", "text", "version", "large", "aliases", "steps", "deep", "parameters", "parentheses"],
)  # fmt: skip
def test_a_hostile_file_is_refused_soon(text: str, tmp_path: Path) -> None:
    began = time.process_time()
    wrong(tmp_path, text)
    assert time.process_time() - began < 5


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the playbook"):
        load_playbook(tmp_path / "nowhere.yaml", {})


WORDS = st.sampled_from(
    ["do", "with", "when", "name", "check", "zk restart", "{{ a }}", "{{ item.name }}", "x", "for_each", "list",
     "approve", "results", "register", "wait_for", "timeout", "2m", "exit_codes", "go_on", "{% if %}", "archive"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["steps", "on_failure", "finally", "parameters", "help"]), VALUES))
def test_whatever_is_in_it_is_a_playbook_or_errors_with_lines(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    import yaml

    text = yaml.safe_dump({"version": 1, "help": "h", **content})
    try:
        read(tmp_path_factory.mktemp("book"), text)
    except ConfigError as e:
        for error in e.errors if isinstance(e, ConfigErrors) else [e]:
            assert "book.yaml" in (error.where or ""), error.message
