"""What TAB offers: words of the command tree, and names that earlier commands have seen. Fast, so without Typer.

The tree is generated (`completion_tree.json`, tools/generate.py). Names of clusters, hosts, instances and topics come
from a small cache that every command writes which has read an inventory or a cluster: a TAB loads none, asks no server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

TREE = Path(__file__).with_name("completion_tree.json")
FORMATS = ("table", "json", "yaml", "name", "nagios", "prometheus")
MOST = 500
"""Candidates that are offered: more are no help, and slow the shell down."""
MOST_TOPICS = 5000
FILES = "files"
FOLDER = "completion"
"""Of the state folder: the names that are known."""

Offer = tuple[str, str]
"""A word and what it is."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the cursor is: in which command, and the kind of value that is wanted there (None: a subcommand)."""

    node: Mapping[str, Any]
    kind: str | None
    is_of_option: bool = False


def complete(tree: Mapping[str, Any], words: Sequence[str], incomplete: str, names: Names) -> tuple[str, list[Offer]]:
    """What may stand in place of `incomplete` after `words` (without `bdops`): what kind it is, and the offers.

    The kind `files` leaves it to the shell, which knows folders, tildes and quoting better.
    """
    option, equals, value = incomplete.partition("=")
    if equals and option.startswith("--"):
        kind, found = complete(tree, [*words, option], value, names)
        return kind, [(f"{option}={word}", what) for word, what in found]
    position = locate(tree, words)
    if position is None:
        return "words", []
    if incomplete.startswith("-") and not position.is_of_option:
        options = {**tree["common"], **position.node.get("options", {})}
        return "words", _matching(((name, about[1]) for name, about in options.items()), incomplete)
    if position.kind is not None:
        if position.kind == FILES:
            return FILES, []
        return "words", _matching(names.of(position.kind, words, incomplete), incomplete)
    return "words", _matching(((n, s["help"]) for n, s in position.node.get("commands", {}).items()), incomplete)


def locate(tree: Mapping[str, Any], words: Sequence[str]) -> Position | None:
    """Follow the words from the root. None where nothing can be told: an unknown command, words of another program."""
    node: Mapping[str, Any] = tree
    options: dict[str, Any] = dict(tree["common"])
    wanted: str | None = None
    given = 0
    for word in words:
        if wanted is not None:
            wanted = None
        elif word == "--":
            return None
        elif word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            kind = options.get(name, [None])[0]
            wanted = None if equals else kind
        elif "commands" in node:
            if word not in node["commands"]:
                return None
            node = node["commands"][word]
            options = {**tree["common"], **node.get("options", {})}
        else:
            given += 1
    if wanted is not None:
        return Position(node, wanted, is_of_option=True)
    arguments = node.get("arguments", [])
    if "commands" in node or not arguments:
        return Position(node, None)
    kind, many = arguments[min(given, len(arguments) - 1)]
    if given >= len(arguments) and not many:
        return Position(node, None)
    return Position(node, kind)


class Names:
    """The names that are known without looking at an inventory or a server, in the state folder."""

    def __init__(self, state: Callable[[], Path]) -> None:
        self._state = state

    def of(self, kind: str, words: Sequence[str], incomplete: str) -> Iterator[Offer]:
        """The names of a kind. `words` are those before, which may name an inventory and a cluster."""
        sources: dict[str, Callable[[], Iterator[Offer]]] = {
            "format": lambda: ((name, "") for name in FORMATS),
            "shell": lambda: ((name, "") for name in ("bash", "zsh", "fish")),
            "job": self._jobs,
            "playbook": _playbooks,
        }
        if kind in sources:
            yield from sources[kind]()
            return
        clusters = self._clusters(words)
        if kind == "cluster":
            yield from ((name, "cluster") for name in clusters)
        elif kind == "host":
            yield from ((host, f"host of {name}") for name, c in clusters.items() for host in c["hosts"])
        elif kind == "topic":
            yield from ((topic, f"topic of {name}") for name, c in clusters.items() for topic in c.get("topics", ()))
        elif kind in ("selector", "target"):
            yield from _selectors(clusters, incomplete)

    def _clusters(self, words: Sequence[str]) -> Mapping[str, Any]:
        file = (
            self._state()
            / FOLDER
            / file_name(_value_of(words, "-i", "--inventory") or os.environ.get("BDOPS_INVENTORY"))
        )
        clusters = _read(file)
        only = _value_of(words, "-c", "--cluster")
        return {only: clusters[only]} if only and only in clusters else clusters

    def _jobs(self) -> Iterator[Offer]:
        try:
            found = sorted((entry.name for entry in os.scandir(self._state() / "jobs")), reverse=True)
        except OSError:
            return
        yield from ((name, "") for name in found)


def file_name(inventory: str | Path | None) -> str:
    """The cache's file for an inventory; that of the one which is found without being named is `default.json`."""
    if inventory is None:
        return "default.json"
    from hashlib import sha1

    path = os.path.abspath(os.path.expanduser(inventory))  # noqa: PTH100, PTH111 - not following links, as it was named
    return f"{sha1(path.encode(), usedforsecurity=False).hexdigest()}.json"


def remember_inventory(inventory: str | Path | None, clusters: Mapping[str, Any]) -> None:
    """Keep the names of an inventory's clusters; topics that are known of them stay."""
    file, before = _cached(inventory)
    merged = {
        name: {**({"topics": before[name]["topics"]} if "topics" in before.get(name, {}) else {}), **known}
        for name, known in clusters.items()
    }
    if file and merged != before:
        _write(file, merged)


def remember_topics(inventory: str | Path | None, cluster: str, topics: Iterable[str]) -> None:
    """Keep the topics of a cluster whose names are known."""
    file, before = _cached(inventory)
    found = sorted(islice(topics, MOST_TOPICS))
    if file and cluster in before and before[cluster].get("topics") != found:
        _write(file, {**before, cluster: {**before[cluster], "topics": found}})


def _cached(inventory: str | Path | None) -> tuple[Path | None, dict[str, Any]]:
    """The cache's file and what is in it; no file where there is no folder of this user's own: it is but a help."""
    from bdops.errors import BdopsError
    from bdops.lab.paths import private_folder, state_dir

    try:
        file = private_folder(state_dir() / FOLDER) / file_name(inventory)
    except (OSError, BdopsError):
        return None, {}
    return file, dict(_read(file))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        clusters = json.loads(file.read_text())["clusters"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(clusters, dict):
        return {}
    return {n: c for n, c in clusters.items() if isinstance(c, dict) and {"hosts", "components"} <= c.keys()}


def _write(file: Path, clusters: Mapping[str, Any]) -> None:
    from bdops.files import replacing

    with suppress(OSError), replacing(file) as out:
        out.write(json.dumps({"clusters": clusters}).encode())


def answer(shell: str, argv: Sequence[str]) -> str:
    """The whole reply to a shell's script: the kind on the first line, then an offer a line (word TAB what it is).

    bash gives the line and where the cursor is in it (COMP_LINE, COMP_POINT), the others the words themselves, the last
    one being the one to complete. In bash what stands before a `:` or `=` in that word is taken off the offers, for
    bash replaces only what stands after it.
    """
    from bdops.lab.paths import state_dir

    if shell == "bash":
        line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "100000"))]
        words = split_line(line)[1:]
    else:
        words = [unquoted(word) for word in argv]
    *before, incomplete = words or [""]
    kind, offers = complete(json.loads(TREE.read_text()), before, incomplete, Names(state_dir))
    cut = max(incomplete.rfind(":"), incomplete.rfind("=")) + 1 if shell == "bash" else 0
    lines = [f"{word[cut:]}\t{what}" if what and shell != "bash" else word[cut:] for word, what in offers]
    return "\n".join([kind, *lines]) + "\n"


def split_line(line: str) -> list[str]:
    """The words of an unfinished line; the last one is empty after a space."""
    words, word, quote, started = [], "", "", False
    characters = iter(line)
    for c in characters:
        if c == "\\" and quote != "'":
            word, started = word + next(characters, ""), True
        elif quote:
            quote, word = ("", word) if c == quote else (quote, word + c)
        elif c in "'\"":
            quote, started = c, True
        elif c.isspace():
            if started or word:
                words.append(word)
            word, started = "", False
        else:
            word += c
    return [*words, word]


def unquoted(word: str) -> str:
    """A word as it was typed, without its quotes."""
    return split_line(word)[-1] if word and not word[-1].isspace() else word


def _matching(offers: Iterator[Offer], incomplete: str) -> list[Offer]:
    found = {word: what for word, what in offers if word.startswith(incomplete)}
    return list(found.items())[:MOST]


def _value_of(words: Sequence[str], *options: str) -> str | None:
    for before, word in pairwise(words):
        if before in options:
            return word
    return next((w.partition("=")[2] for w in words if w.startswith(tuple(f"{o}=" for o in options))), None)


def _selectors(clusters: Mapping[str, Any], incomplete: str) -> Iterator[Offer]:
    """The next part of the last term of a selector: `prod/zk,!prod/ka`."""
    start = max(incomplete.rfind(c) for c in ",!&") + 1
    lead, term = incomplete[:start], incomplete[start:]
    depth = term.count("/")
    for name, cluster in clusters.items():
        if depth == 0:
            yield f"{lead}{name}", "cluster"
            yield from ((f"{lead}{c}", "component") for c in cluster["components"])
            yield from ((f"{lead}{h}", f"host of {name}") for h in cluster["hosts"])
        for component, instances in cluster["components"].items():
            if depth == 1:
                yield f"{lead}{name}/{component}", "component"
            elif depth > 1:
                yield from ((f"{lead}{name}/{component}/{i}", "instance") for i in instances)
        if depth == 1:
            yield from ((f"{lead}{name}/{h}", "host") for h in cluster["hosts"])


def _playbooks() -> Iterator[Offer]:
    from bdops.playbooks.shipped import shipped

    yield from ((name, "shipped playbook") for name in shipped())
    for folder in ("playbooks", "."):
        for file in sorted(Path(folder).glob("*.yaml")):
            yield str(file), "playbook" if folder == "playbooks" else ""
