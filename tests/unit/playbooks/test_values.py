"""Templates: what they come to, and what a hostile one cannot do."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdops.playbooks.values import MAX_TEXT_CHARS, holds, names_in, names_in_condition, render

CONTEXT: dict[str, Any] = {
    "text": "1e3",
    "number": 5,
    "words": ["x", "y"],
    "results": {"made": {"failed": False, "done": ["one"]}},
    "rows": [{"host": "node1", "ok": True}, {"host": "node2", "ok": False}],
    "big": "x" * 60_000,
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("{{ text }}", "1e3"),
        ("{{ number }}", 5),
        ("{{ -number }}", -5),
        ("{{- number -}}", 5),
        ("{{ number }}MB/s", "5MB/s"),
        ("{{ text }}{{ number }}", "1e35"),
        ("{{ words }}", ["x", "y"]),
        ("{{ words | join(',') }}", "x,y"),
        ("{{ words | map('upper') }}", ["X", "Y"]),
        ("{{ rows | selectattr('ok') | map(attribute='host') }}", ["node1"]),
        ("{{ results.made.done | first }}", "one"),
        ("{{ 'a' if number > 3 else 'b' }}", "a"),
        ("{{ nothing | default('d') }}", "d"),
        (["{{ number }}", {"k": "{{ text }}"}], [5, {"k": "1e3"}]),
    ],
)
def test_a_value_alone_keeps_its_type_and_text_stays_text(template: Any, value: Any) -> None:
    assert render(template, CONTEXT) == value
    assert type(render(template, CONTEXT)) is type(value)


@pytest.mark.parametrize(
    "template",
    [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as p %}",
        "{% extends '/etc/passwd' %}",
        "{% for i in words %}{{ i }}{% endfor %}",
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ text['__class__'] }}",
        "{{ words | map(attribute='__class__') }}",
        "{{ words | attr('append') }}",
        "{{ text.upper() }}",
        "{{ results.update({}) }}",
        "{{ lipsum }}",
        "{{ range(10**9) }}",
        "{{ cycler }}",
        "{{ self }}",
        "{{ 'x' * 10**9 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ text | center(999999999) }}",
        "{{ '{:999999999}' | format }}",
        "{{ text | replace('1', '11') }}",
        "{{ text | indent(99999999) }}",
        "{{ words | map('replace', 'x', 'xx') }}",
        "{{ (big | list) | join('x' ~ text) }}",
        "{{ big ~ big }}",
        "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
        "{{ " + "[" * 500 + "]" * 500 + " }}",
        "{{ " + "not " * 400 + "1 }}",
        "{{ 1" + "+1" * 900 + " }}",
        "{{ 'x' " + "x" * 2000 + " }}",
        "{{ text",
        "{{ }}",
        "{{ nothing }}",
        "{{ results.nothing.done }}",
        "{{ words + text }}",
        "{{ text | nosuch }}",
        "{{ text is nosuch }}",
        "\0{{ \0 }}",
    ],
)
def test_what_a_template_may_not_do_is_an_error_at_once(template: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r".+"):
        render(template, CONTEXT)
    assert time.process_time() - began < 2


def test_a_condition_is_true_or_false_and_one_expression() -> None:
    assert holds("not results.made.failed and 'x' in words", CONTEXT)
    assert not holds("number > 5", CONTEXT)
    assert holds("results.other is not defined", CONTEXT)
    for wrong in ("text", "number", "nothing", "a) }} {{ (b", "1 }}{{ 2", "", "words.append(1)"):
        with pytest.raises(ValueError, match=r".+"):
            holds(wrong, CONTEXT)


def test_the_names_that_a_template_speaks_of_are_known_without_filling_it_in() -> None:
    assert names_in({"a": ["{{ x.y }}", "z {{ results.a }}"], "b": "none"}) == {"x", "results"}
    assert names_in_condition("a and b.c") == {"a", "b"}


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}%#()[]'\"|.,_-+~ abx01words\n*<>="), max_size=60))
def test_whatever_is_written_is_a_bounded_value_or_a_value_error(source: str) -> None:
    try:
        found = render("{{" + source + "}}", CONTEXT)
    except ValueError:
        return
    assert not isinstance(found, str) or len(found) <= MAX_TEXT_CHARS
