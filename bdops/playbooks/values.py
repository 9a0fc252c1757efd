"""Templates in a playbook's values: Jinja's expressions in its sandbox, and nothing that could read, call or loop.

A playbook may come from anywhere. The sandbox keeps expressions from the insides of Python; what it does not bound is
time and memory (`'x' * 10**9`, nested loops), so that only expressions are taken, without calls, without `*` and
`**`, and with filters whose result is no larger than what they were given. There is no loader, so no file is read.

Text stays text: Jinja's own native environment reads "1e3" and "0x10" as numbers, which a host's or a topic's name
may be. A value that is one expression alone (`"{{ parallel }}"`) keeps the type that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE_CHARS = 2_000
MAX_TEXT_CHARS = 64_000
"""What one template may come to."""
MAX_DEPTH = 60

_FILTERS = (
    "abs", "bool", "default", "d", "dictsort", "first", "float", "int", "items", "join", "last", "length", "count",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "round", "select", "selectattr", "sort", "string",
    "sum", "trim", "unique", "upper",
)  # fmt: skip
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Filter, nodes.Test,
    nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg, nodes.Pos, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
    nodes.Keyword, nodes.Slice,
)  # fmt: skip


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals.clear()
    environment.filters = {name: f for name, f in environment.filters.items() if name in _FILTERS}
    environment.filters["join"] = _join
    return environment


def _join(values: Iterable[Any], between: str = "") -> str:
    """Jinja's filter of this name, within bounds: it is the one that makes more than it is given."""
    texts = [str(v) for v in values]
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT_CHARS:
        raise ValueError(f"join makes more than {MAX_TEXT_CHARS} characters")
    return between.join(texts)


def names_in(value: Any) -> frozenset[str]:
    """The names that the templates in a value speak of. Raises ValueError for a template that is none, or not taken."""
    if isinstance(value, str):
        return _names(_parsed(value)) if is_template(value) else frozenset()
    if isinstance(value, Mapping):
        return frozenset().union(*(names_in(v) for v in value.values()))
    if isinstance(value, Sequence):
        return frozenset().union(*(names_in(v) for v in value))
    return frozenset()


def names_in_condition(expression: str) -> frozenset[str]:
    """The names that a condition (an expression without braces) speaks of. Raises ValueError."""
    return _names(_parsed_condition(expression))


def is_template(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#"))


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """The value with its templates filled in. Raises ValueError that says which, and what is wrong."""
    if isinstance(value, str):
        return _render(value, context) if is_template(value) else value
    if isinstance(value, Mapping):
        return {key: render(inner, context) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [render(inner, context) for inner in value]
    return value


def holds(expression: str, context: Mapping[str, Any]) -> bool:
    """Whether a condition is true. Raises ValueError, also when it is neither true nor false."""
    _parsed_condition(expression)
    found = _evaluate(expression, context)
    if not isinstance(found, bool):
        raise ValueError(f"`{_short(expression)}` is neither true nor false: it is {_short(repr(found))}")
    return found


def _parsed(source: str) -> nodes.Template:
    if len(source) > MAX_TEMPLATE_CHARS:
        raise ValueError(f"a template has {MAX_TEMPLATE_CHARS} characters at the most, this one {len(source)}")
    try:
        tree = _environment().parse(source)
    except TemplateError as e:
        raise ValueError(f"`{_short(source)}` is no template: {e}") from None
    except RecursionError:
        raise ValueError("the template is nested too deep") from None
    _require_taken(tree, source, 0)
    return tree


def _parsed_condition(expression: str) -> nodes.Template:
    tree = _parsed("{{ (" + expression + ") }}")
    # Whoever closes the braces in the middle writes more than one expression.
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        raise ValueError(f"`{_short(expression)}` is not one condition")
    return tree


def _require_taken(node: nodes.Node, source: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("the template is nested too deep")
    if not isinstance(node, _NODES):
        what = type(node).__name__.lower()
        raise ValueError(f"`{_short(source)}`: a template is an expression, and takes no {what}")
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
        raise ValueError(f"`{_short(source)}`: there is no filter {node.name} here")
    if isinstance(node, nodes.Test) and node.name not in _environment().tests:
        raise ValueError(f"`{_short(source)}`: there is no test {node.name} here")
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise ValueError(f"`{_short(source)}`: {node.attr} is out of reach")
    for child in node.iter_child_nodes():
        _require_taken(child, source, depth + 1)


def _names(tree: nodes.Template) -> frozenset[str]:
    return frozenset(name.name for name in tree.find_all(nodes.Name))


def _render(source: str, context: Mapping[str, Any]) -> Any:
    body = _parsed(source).body
    if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
        # `{{- x -}}` trims what is around it; `{{ -x }}` is a number.
        inner = source.strip()[2:-2]
        return _evaluate(inner.removeprefix("-" if inner[:1] == "-" else "+").removesuffix("-"), context)
    try:
        text = _environment().from_string(source).render(context)
    except Exception as e:
        raise _failed(source, e) from None
    return _bounded(text, source)


def _evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    try:
        found = _environment().compile_expression(expression, undefined_to_none=False)(**context)
        return _bounded(_plain(found), expression)
    except ValueError:
        raise
    except Exception as e:
        raise _failed(expression, e) from None


def _plain(value: Any) -> Any:
    """Lists of what filters yield. Raises what Jinja raises of a name that is not there."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Undefined):
        raise UndefinedError(value._undefined_message)
    return [_plain(inner) for inner in value]


def _failed(source: str, error: Exception) -> ValueError:
    """Whatever an expression raises (a type that does not fit, a division, a name that is not there) is its own."""
    return ValueError(f"`{_short(source)}`: {_short(str(error) or type(error).__name__)}")


def _bounded(value: Any, source: str) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"`{_short(source)}` comes to {len(value)} characters; {MAX_TEXT_CHARS} are the most")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
