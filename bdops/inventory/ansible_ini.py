"""Ansible's INI inventories: sections of groups, children and variables, read by Ansible's own rules."""

from __future__ import annotations

import ast
import re
import shlex
import string
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from bdops.errors import ConfigError
from bdops.inventory.ranges import MAX_HOSTS

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_RANGE = re.compile(r"\[([^\[\]:]*):([^\[\]:]*)(?::([^\[\]:]*))?\]")


@dataclass(slots=True)
class Group:
    """A group of an Ansible inventory: its own hosts with their variables there, children and variables."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    vars: dict[str, Any] = field(default_factory=dict)


Groups = dict[str, Group]


def parse_ini(text: str, file: str) -> Groups:
    """The groups of an INI inventory; hosts before the first section are `ungrouped`.

    Raises ConfigError with the line for what Ansible would refuse.
    """
    groups: Groups = {}
    name, kind = "ungrouped", "hosts"
    used: dict[str, int] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{file}:{number}"
        section = _SECTION.fullmatch(line)
        if section:
            name, kind = section[1], section[2] or "hosts"
            if kind not in ("hosts", "children", "vars"):
                raise ansible_error(f"[{name}:{kind}] is not a section: expected :children or :vars", where)
            if kind == "vars":
                used.setdefault(name, number)
            else:
                groups.setdefault(name, Group())
            continue
        if line.startswith("["):
            raise ansible_error("not a section: expected [group], [group:children] or [group:vars]", where)
        if kind == "vars":
            key, value = _assignment(line, where)
            groups.setdefault(name, Group()).vars[key] = value
            continue
        words = _words(line, where)
        if kind == "children":
            groups[name].children.append(words[0])
            used.setdefault(words[0], number)
            continue
        variables = dict(_assignment(word, where) for word in words[1:])
        group = groups.setdefault(name, Group())
        for host in expand_hosts(words[0], where):
            host, port = _host_and_port(host)
            own = {**variables, **({"ansible_port": port} if port else {})}
            group.hosts.setdefault(host, {}).update(own)
    return groups


def _words(line: str, where: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as e:
        raise ansible_error(f"the line cannot be split into words: {str(e).lower()}", where) from None


def _assignment(text: str, where: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ansible_error("expected key=value", where)
    return key.strip(), ini_value(value.strip())


def ini_value(text: str) -> Any:
    """A Python literal where the text is one, as Ansible reads it; the text itself otherwise."""
    if len(text) > 10_000:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return _plain(value)


def _plain(value: Any) -> Any:
    """Tuples and sets as lists, bytes and the like as text: what YAML can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=str)
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _host_and_port(name: str) -> tuple[str, int | None]:
    """`host:2222` and `[2001:db8::1]:2222`; an address with several colons is an IPv6 one."""
    bracketed = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?", name)
    if bracketed:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    head, colon, port = name.rpartition(":")
    if colon and ":" not in head and port.isdigit() and len(port) <= 5:
        return head, int(port)
    return name, None


def expand_hosts(pattern: str, where: str) -> list[str]:
    """The names of `web[01:20].example.com`, `db-[a:f]` or `n[1:9:2]`. Raises ConfigError."""
    parts: list[list[str]] = []
    end = 0
    total = 1
    for match in _RANGE.finditer(pattern):
        if re.fullmatch(r"\[[0-9a-fA-F:.]+\](:\d+)?", pattern) and pattern.count(":") > 2:
            break
        parts.append([pattern[end : match.start()]])
        values = _range(match[1], match[2], match[3], where)
        total *= len(values)
        if total > MAX_HOSTS:
            raise ansible_error(f"the range stands for more than {MAX_HOSTS} hosts", where)
        parts.append(values)
        end = match.end()
    parts.append([pattern[end:]])
    return ["".join(words) for words in product(*parts)]


def _range(first: str, last: str, step: str | None, where: str) -> list[str]:
    first = first or "0"
    try:
        stride = int(step or 1)
        if stride < 1:
            raise ValueError
        if len(first) == len(last) == 1 and first in string.ascii_letters and last in string.ascii_letters:
            letters = string.ascii_letters
            found = list(letters[letters.index(first) : letters.index(last) + 1 : stride])
        else:
            low, high = int(first), int(last)
            if first.startswith("0") and len(first) > 1 and len(first) != len(last):
                raise ansible_error("the ends of a range with leading zeros must be of one length", where)
            if (high - low) // stride >= MAX_HOSTS:
                raise ansible_error(f"the range stands for more than {MAX_HOSTS} hosts", where)
            width = len(first) if first.startswith("0") else 0
            found = [str(number).zfill(width) for number in range(low, high + 1, stride)]
    except ValueError:
        raise ansible_error("not a range: expected [1:20], [01:20], [a:f] or [1:20:2]", where) from None
    if not found:
        raise ansible_error("the range is empty: it must end where it begins or after", where)
    return found


def ansible_error(message: str, where: str, hint: str | None = None) -> ConfigError:
    """An error in an Ansible inventory."""
    return ConfigError(message, where=where, hint=hint, code="ANSIBLE_INVENTORY_INVALID")
