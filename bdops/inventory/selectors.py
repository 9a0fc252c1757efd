"""Selectors: which instances and hosts the words of a command line mean. Pure.

A word is a path (`prod/kafka/node[2-4]`, `prod/hdfs/*/datanode`, `kafka/node1`), one part of a path where it
can mean one thing only (`node[1-3]`, `kafka`, `prod`), `rack:r1`, or `@name` for a role, process or host group.
Parts take ranges and shell-style patterns. A list is a union, `!x` takes away, `&y` keeps what y has too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bdops.core.model import Deployment, Host, Instance, Inventory
from bdops.errors import UsageError
from bdops.inventory.problems import likely
from bdops.inventory.ranges import NAME, BadRange, expand, fold
from bdops.inventory.terms import combine, is_glob, names_matching, parse_terms

T = TypeVar("T", bound=Hashable)

CLUSTER, COMPONENT, HOST, PROCESS = range(4)
_WORDS = ("cluster", "component", "host", "process")
_SHAPES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((CLUSTER,), (COMPONENT,), (HOST,)),
    2: ((CLUSTER, COMPONENT), (CLUSTER, HOST), (COMPONENT, HOST), (HOST, PROCESS)),
    3: ((CLUSTER, COMPONENT, HOST), (COMPONENT, HOST, PROCESS)),
    4: ((CLUSTER, COMPONENT, HOST, PROCESS),),
}
"""What a path of so many parts may mean."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A deployment, whole, and the names of the instances in it that were asked for.

    The deployment keeps all of its instances: what is read and judged is the cluster, whatever is acted on.
    """

    deployment: Deployment
    names: tuple[str, ...]


def select(inventory: Inventory, selector: str | None = None, *, cluster: str | None = None) -> tuple[Instance, ...]:
    """The instances that a selector names, in the inventory's order; all of them for None or "".

    `cluster` keeps to one cluster. Raises UsageError, with the likely spelling, for a word that matches
    nothing, means two things or is no range, and for a selector whose words leave nothing.
    """
    _check_cluster(inventory, cluster)
    rows = [row for row in _rows(inventory) if cluster in (None, row.path[CLUSTER])]
    instances = [row.instance for row in rows if row.instance]
    by_name = {instance.name: instance for instance in instances}

    def match(word: str) -> set[str]:
        return {row.instance.name for row in _matching(word, rows) if row.instance}

    return tuple(by_name[name] for name in _combined(selector, list(by_name), match))


def select_hosts(inventory: Inventory, selector: str | None = None, *, cluster: str | None = None) -> tuple[Host, ...]:
    """The hosts that a selector names, or that run what it names, in the inventory's order. Raises like `select`."""
    return tuple(host for _, host in select_cluster_hosts(inventory, selector, cluster=cluster))


def select_cluster_hosts(
    inventory: Inventory, selector: str | None = None, *, cluster: str | None = None
) -> tuple[tuple[str, Host], ...]:
    """As `select_hosts`, each host with the name of its cluster."""
    _check_cluster(inventory, cluster)
    rows = [row for row in _rows(inventory) if cluster in (None, row.path[CLUSTER])]
    by_key = {(row.path[CLUSTER], row.path[HOST]): row.host for row in rows}

    def match(word: str) -> set[tuple[str, str]]:
        return {(row.path[CLUSTER], row.path[HOST]) for row in _matching(word, rows)}

    return tuple((key[0], by_key[key]) for key in _combined(selector, list(by_key), match))


def narrow(
    inventory: Inventory, component: str | None, selector: str | None, *, cluster: str | None = None
) -> tuple[Selection, ...]:
    """The deployments that a selector touches, of one component or (None) of all, each with the chosen names.

    Raises UsageError like `select`, and when the inventory has nothing of the component.
    """
    mine = [
        deployment
        for each in inventory.clusters
        if cluster in (None, each.name)
        for deployment in each.deployments
        if component in (None, deployment.component)
    ]
    chosen = {instance.name for instance in select(inventory, selector, cluster=cluster)}
    if component and not mine:
        of = f"cluster {cluster}" if cluster else inventory.source
        raise UsageError(f"there is no {component} in {of}", hint="see what there is: bdops inventory show")
    found = []
    for deployment in mine:
        names = tuple(instance.name for instance in deployment.instances if instance.name in chosen)
        if names or not selector:
            found.append(Selection(deployment, names))
    if component and not found:
        raise UsageError(
            f"{selector!r} names no instance of {component}", hint=f"it names {', '.join(fold_instances(chosen))}"
        )
    return tuple(found)


def fold_instances(names: Iterable[str]) -> list[str]:
    """`prod/kafka/node[1-3]` of prod/kafka/node1 to node3: one text for each component and process."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        parts = name.split("/")
        process = f"/{parts[3]}" if len(parts) > 3 else ""
        groups.setdefault(("/".join(parts[:2]), process), []).append(parts[2] if len(parts) > 2 else "")
    return [f"{head}/{fold(hosts)}{process}" for (head, process), hosts in groups.items()]


@dataclass(frozen=True, slots=True)
class _Row:
    """Something that a word may match: an instance, or a host for itself. Absent parts are ""."""

    path: tuple[str, str, str, str]
    host: Host
    instance: Instance | None
    labels: frozenset[str]


def _rows(inventory: Inventory) -> list[_Row]:
    rows = []
    for cluster in inventory.clusters:
        for host in cluster.hosts:
            rows.append(_Row((cluster.name, "", host.name, ""), host, None, frozenset(host.groups)))
        for deployment in cluster.deployments:
            for i in deployment.instances:
                labels = i.roles | {*i.host.groups, *([i.process] if i.process else ())}
                path = (cluster.name, deployment.component, i.host.name, i.process or "")
                rows.append(_Row(path, i.host, i, frozenset(labels)))
    return rows


def _combined(selector: str | None, universe: Sequence[T], match: Callable[[str], Collection[T]]) -> tuple[T, ...]:
    if not selector or not selector.strip(" ,\t\r\n"):
        return tuple(universe)
    try:
        found = combine(parse_terms(selector), universe, match)
    except BadRange as e:
        raise UsageError(f"the selector {_short(selector)}: {e}", hint=_FORMS) from None
    if not found:
        raise UsageError(
            f"the selector {_short(selector)} leaves nothing: each of its words matches something, all together do not"
        )
    return found


_FORMS = "a selector is like prod/kafka/node[2-4], rack:r1, @role, !x, &y"


def _matching(word: str, rows: Sequence[_Row]) -> list[_Row]:
    if word.startswith("@"):
        return _labelled(word, "role, process or host group", word[1:], rows, lambda row: row.labels)
    if word.startswith("rack:"):
        return _labelled(word, "rack", word[5:], rows, lambda row: {row.host.rack} if row.host.rack else frozenset())
    parts = word.split("/")
    if len(parts) not in _SHAPES or "" in parts:
        raise UsageError(f"{_short(word)} is not a selector", hint=_FORMS)
    wanted = [_part(part) for part in parts]
    meanings = {}
    for shape in _SHAPES[len(parts)]:
        found = [
            row
            for row in rows
            if all(test(row.path[index]) for test, index in zip(wanted, shape, strict=True))
            and (row.instance is not None or HOST in shape or shape == (CLUSTER,))
        ]
        if found:
            meanings[shape] = found
    if not meanings:
        raise UsageError(f"{_short(word)} matches nothing in the inventory", hint=_spelling(word, rows))
    # Patterns may mean the same in several ways; two different sets would make it a guess.
    sets = {frozenset(_identity(row) for row in found if row.instance) for found in meanings.values()}
    if len(sets) > 1 and not all(is_glob(part) for part in parts):
        return _unambiguous(word, meanings)
    return max(meanings.values(), key=len)


def _unambiguous(word: str, meanings: dict[tuple[int, ...], list[_Row]]) -> list[_Row]:
    readings = [" ".join(f"{_WORDS[index]} {part}" for index, part in zip(shape, word.split("/"), strict=True))
                for shape in meanings]  # fmt: skip
    forms = []
    for shape in meanings:
        full = ["*"] * 3 if PROCESS not in shape else ["*"] * 4
        for index, part in zip(shape, word.split("/"), strict=True):
            full[index] = part
        forms.append("/".join(full))
    raise UsageError(f"{word} may mean {' or '.join(readings)}", hint=f"write {' or '.join(forms)}")


def _identity(row: _Row) -> tuple[str, ...]:
    return row.path


def _part(text: str) -> Callable[[str], bool]:
    """A test for one part of a path. A pattern does not match an absent part. Raises BadRange."""
    if is_glob(text):
        return lambda value: bool(value) and bool(names_matching(text, (value,)))
    wanted = frozenset(expand(text))
    return lambda value: value in wanted


def _labelled(
    word: str, what: str, pattern: str, rows: Sequence[_Row], labels: Callable[[_Row], Collection[str]]
) -> list[_Row]:
    test = _part(pattern)
    found = [row for row in rows if any(test(label) for label in labels(row))]
    if not found:
        known = sorted({label for row in rows for label in labels(row)})
        prefix = word[: len(word) - len(pattern)]
        guess = likely(pattern, known)
        names = ", ".join(prefix + name for name in known[:12]) or "there is none"
        raise UsageError(f"no {what} is called {_short(pattern)}", hint=guess or f"known: {names}")
    return found


def _spelling(word: str, rows: Sequence[_Row]) -> str:
    """The likely spelling of a path that matches nothing: of the first part that is wrong."""
    parts = word.split("/")
    known: set[str] = set()
    for row in rows:
        known |= {part for part in row.path if part}
        if len(parts) == 2:
            known |= {"/".join(row.path[:2]), "/".join(row.path[1:3])} if row.instance else set()
        if len(parts) == 3 and row.instance:
            known.add("/".join(row.path[:3]))
    guess = likely(word, sorted(known))
    if guess:
        return guess
    for part in parts:
        if NAME.fullmatch(part) and part not in known:
            guess = likely(part, sorted(known))
            if guess:
                return guess
    labels = sorted({label for row in rows for label in row.labels})
    if word in labels:
        return f"did you mean @{word}?"
    return "see what there is: bdops inventory hosts"


def _check_cluster(inventory: Inventory, cluster: str | None) -> None:
    names = [each.name for each in inventory.clusters]
    if cluster is not None and cluster not in names:
        raise UsageError(
            f"there is no cluster {cluster!r}", hint=likely(cluster, names) or f"clusters: {', '.join(names)}"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
