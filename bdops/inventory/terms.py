"""The algebra of selectors: a list is a union, `&y` keeps what y selects too, `!x` takes away. Pure.

As in Ansible the order of the words does not matter: first the union, then the intersections, then the
exclusions. A list of nothing but `&` and `!` starts from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from bdops.core.model import Host
from bdops.inventory.ranges import BadRange, expand, split_outside_brackets

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a selector, with what it does: add (+), intersect (&) or exclude (!)."""

    op: Literal["+", "&", "!"]
    body: str


def parse_terms(text: str) -> tuple[Term, ...]:
    """The words of a selector, separated by commas or spaces. Raises BadRange for brackets that do not match."""
    terms = []
    for word in split_outside_brackets(text, ", \t\r\n"):
        if not word:
            continue
        op: Literal["+", "&", "!"] = "!" if word[0] == "!" else "&" if word[0] == "&" else "+"
        body = word if op == "+" else word[1:]
        if not body:
            raise BadRange(f"a {word!r} stands alone: expected a name after it")
        terms.append(Term(op, body))
    return tuple(terms)


def combine(terms: Sequence[Term], universe: Sequence[T], match: Callable[[str], Collection[T]]) -> tuple[T, ...]:
    """What the terms select of the universe, in its order; everything for no terms."""
    matches = {term.body: frozenset(match(term.body)) for term in terms}
    added = [matches[term.body] for term in terms if term.op == "+"]
    found = set(frozenset().union(*added) if added else universe)
    for term in terms:
        if term.op == "&":
            found &= matches[term.body]
    for term in terms:
        if term.op == "!":
            found -= matches[term.body]
    return tuple(item for item in universe if item in found)


def is_glob(text: str) -> bool:
    """Whether the text is a shell-style pattern."""
    return "*" in text or "?" in text


def names_matching(pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names that a name, a range (`node[1-3]`) or a shell-style pattern (`web*`) stands for, in their order."""
    if is_glob(pattern):
        return tuple(name for name in names if fnmatchcase(name, pattern))
    wanted = frozenset(expand(pattern))
    return tuple(name for name in names if name in wanted)


class UnknownHost(Exception):
    """A host expression names what the cluster has not."""

    def __init__(self, name: str, what: str, known: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.what = what
        self.known = known


def hosts_matching(expression: str, hosts: Sequence[Host]) -> tuple[str, ...]:
    """The names of the hosts that `node[1-3]`, `web*`, `@group`, `rack:r1`, `!x`, `&y` or a list of them stand for.

    Raises UnknownHost for a name, group or rack that is not there and BadRange for what is not an expression.
    """
    names = [host.name for host in hosts]
    if expression in names:
        return (expression,)

    def match(body: str) -> Sequence[str]:
        if body.startswith("@"):
            return _of_attribute(body[1:], "group", {host.name: host.groups for host in hosts})
        if body.startswith("rack:"):
            return _of_attribute(body[5:], "rack", {host.name: (host.rack,) if host.rack else () for host in hosts})
        if is_glob(body):
            found = names_matching(body, names)
            if not found:
                raise UnknownHost(body, "host", names)
            return found
        wanted, known = expand(body), frozenset(names)
        for name in wanted:
            if name not in known:
                raise UnknownHost(name, "host", names)
        return wanted

    return combine(parse_terms(expression), names, match)


def _of_attribute(pattern: str, what: str, values: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    known = sorted({value for each in values.values() for value in each})
    wanted = frozenset(names_matching(pattern, known))
    if not wanted:
        raise UnknownHost(pattern, what, known)
    return tuple(name for name, each in values.items() if wanted.intersection(each))
