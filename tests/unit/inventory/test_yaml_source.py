"""The YAML reader: lines, scalars, and limits on what a file may do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bdops.errors import ConfigError
from bdops.inventory.yaml_source import origin_of, parse_yaml, plain, read_text


def parse(text: str) -> Any:
    problems: list[ConfigError] = []
    found = parse_yaml(text, "f", problems)
    assert not problems, problems
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("true", True),
        ("False", False), ("null", None), ("~", None), ("yes", "yes"), ("Off", "Off"), ("0755", "0755"),
        ("12:30:45", "12:30:45"), ("2026-12-01", "2026-12-01"), ("1_000", "1_000"), ("'1'", "1"), ("!!str 1", "1"),
        ("9" * 5000, "9" * 5000), ("!!float 1", 1.0), ("=", "="), ("''", ""),
    ],
)  # fmt: skip
def test_a_scalar_is_read_by_the_core_rules_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_every_value_knows_its_line() -> None:
    data = parse("a:\n  - 1\n  - b: 2\n    c: &x\n      d: 3\ne: *x\n")
    for path, line in [(("a",), 1), (("a", 0), 2), (("a", 1, "b"), 3), (("a", 1, "c", "d"), 5), (("e",), 6)]:
        assert str(origin_of(data, path)) == f"f:{line}"
    assert str(origin_of(data, ("a", 1, "absent"))) == "f:3"


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    levels = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9))
    began = time.perf_counter()
    with pytest.raises(ConfigError, match="through its aliases"):
        parse("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + levels)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: " + "{b: " * 200, "- " * 3000 + "x", "\n".join(" " * i + "a:" for i in range(200))]
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"f:\d+|nested deeper|not YAML"):
        parse(text)


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no anchor before it"):
        parse("a: &a [*a]")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [ls]", "!x 1", "!!timestamp 2026-01-01", "!!set {a}"]
)
def test_tags_that_could_mean_anything_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not known here"):
        parse(f"a: {text}")


def test_two_documents_are_refused() -> None:
    with pytest.raises(ConfigError, match="second YAML document"):
        parse("a: 1\n---\nb: 1\n")


def test_a_tab_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a tab is used for indentation") as caught:
        parse("a:\n\tb: 1\n")
    assert caught.value.where == "f:2"


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match="byte 0xff in line 2"):
        read_text(file)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert parse(read_text(file)) == {"version": 1}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20).filter(str.isprintable),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefg", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    assert plain(parse(yaml.safe_dump({"value": value}, allow_unicode=True)))["value"] == value
