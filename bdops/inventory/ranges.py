"""Host names in ClusterShell's NodeSet notation: expanded within a limit, folded for people.

ClusterShell does the expanding. What it would take as its own operators or groups is refused before, and so
are ranges that are too large, which it would expand first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

MAX_HOSTS = 20_000
"""Hosts that one range may stand for."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
"""A name of a cluster, host, group or rack."""

_PATTERN = re.compile(r"[A-Za-z0-9_.\-,\[\]/]+")
_RANGE = re.compile(r"(\d+)-(\d+)(?:/(\d+))?|\d+")


class BadRange(ValueError):
    """A range of hosts that is not one; the message says why."""


def expand(pattern: str) -> tuple[str, ...]:
    """`node[1-3],web01` -> node1, node2, node3, web01, in natural order.

    Raises BadRange for text that is not a range or stands for more than MAX_HOSTS names.
    """
    if NAME.fullmatch(pattern):
        return (pattern,)
    if not pattern:
        raise BadRange("an empty name where a host or a range such as node[1-3] is expected")
    wrong = _PATTERN.fullmatch(pattern)
    if not wrong:
        bad = next(c for c in pattern if not _PATTERN.fullmatch(c))
        raise BadRange(f"{bad!r} cannot be part of a host's name or of a range such as node[1-3]")
    count = _count(pattern)
    if count > MAX_HOSTS:
        raise BadRange(f"stands for {count} hosts; at most {MAX_HOSTS} are allowed")
    try:
        names = tuple(NodeSet(pattern, resolver=RESOLVER_NOGROUP))
    except (NodeSetException, ValueError, IndexError) as e:
        raise BadRange(f"not a range of hosts: {_reason(e)}") from None
    for name in names:
        if not NAME.fullmatch(name):
            raise BadRange(f"{name!r} is not a host's name")
    return names


def fold(names: Iterable[str]) -> str:
    """`node[1-3],web01` of the names; what `expand` turns back into the same set."""
    simple = [name for name in names if NAME.fullmatch(name)]
    return str(NodeSet.fromlist(simple, resolver=RESOLVER_NOGROUP))


def _count(pattern: str) -> int:
    """How many names the pattern stands for; raises BadRange for brackets that NodeSet would misread."""
    total = 0
    for item in split_outside_brackets(pattern, ","):
        size = 1
        for inside in re.findall(r"\[([^\[\]]*)\]", item):
            here = 0
            for part in inside.split(","):
                match = _RANGE.fullmatch(part)
                if not match or len(part) > 40:
                    raise BadRange(f"[{inside[:40]}] is not a range of numbers such as [1-3,7] or [01-20/2]")
                first, last, step = match[1], match[2], int(match[3] or 1)
                if first is None:
                    here += 1
                    continue
                if int(last) < int(first) or step < 1:
                    raise BadRange(f"[{inside[:40]}] runs backwards")
                if len(first) > 18 or len(last) > 18:
                    raise BadRange(f"[{inside[:40]}] has too many digits")
                here += (int(last) - int(first)) // step + 1
            size *= here
        total += size
    return total


def split_outside_brackets(text: str, separators: str) -> list[str]:
    """The parts between separators, which do not count inside [...]. Raises BadRange for unbalanced brackets."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
        elif char in separators and depth == 0:
            parts.append(text[start:index])
            start = index + 1
        if depth not in (0, 1):
            raise BadRange(f"the brackets of {text[:60]!r} do not match")
    if depth:
        raise BadRange(f"the brackets of {text[:60]!r} do not match")
    return [*parts, text[start:]]


def _reason(error: Exception) -> str:
    return str(error).split(":")[0] or type(error).__name__
