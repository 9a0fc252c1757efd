"""Collects the errors of an inventory, so that one run names them all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from bdops.errors import ConfigError, ConfigErrors
from bdops.inventory.yaml_source import Key, origin_of, path_text

SECRET_NAME = r"(?:passw|secret|token|credential|passphrase|api[_.-]?key|private[_.-]?key)"
"""What a name has in it that stands for a secret: a regular expression, whatever the case."""
_SECRET_NAME = re.compile(SECRET_NAME, re.IGNORECASE)


def looks_secret(name: object) -> bool:
    """Whether a key's name says that its value is a secret, which is then never printed."""
    return bool(_SECRET_NAME.search(str(name)))


def likely(word: object, known: Iterable[object]) -> str | None:
    """`did you mean port?`, or None when nothing known is near."""
    names = [str(name) for name in known]
    text = str(word)
    near = get_close_matches(text, names, n=1, cutoff=0.6) or [
        name for name in names if text and name.lower() == text.lower()
    ]
    return f"did you mean {near[0]}?" if near else None


def likely_or_known(word: object, known: Iterable[object], what: str) -> str:
    """The likely spelling, else the names there are (at most 20 of them)."""
    names = sorted(str(name) for name in known)
    hint = likely(word, names)
    if hint:
        return hint
    return f"{what}: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}" if names else f"there are no {what}"


class Problems:
    """The errors found in one document; `root` is its data, for the lines, `file` its name, `code` theirs."""

    def __init__(self, root: Any, file: str, code: str = "INVENTORY_INVALID") -> None:
        self._root = root
        self._file = file
        self._code = code
        self._found: dict[tuple[Key, ...], list[ConfigError]] = {}

    def add(self, path: Sequence[Key], message: str, *, hint: str | None = None) -> None:
        """An error at `path`."""
        origin = origin_of(self._root, path)
        error = ConfigError(
            f"{path_text(path)}: {message}",
            where=str(origin) if origin else self._file,
            hint=hint,
            code=self._code,
        )
        same = self._found.setdefault(tuple(path), [])
        if all(error.message != other.message for other in same):
            same.append(error)

    def add_consequence(self, path: Sequence[Key], message: str, *, hint: str | None = None) -> None:
        """An error that is not worth naming when something at or below `path` is already wrong."""
        if not self.any_below(path):
            self.add(path, message, hint=hint)

    def any_below(self, path: Sequence[Key]) -> bool:
        """Whether an error was found at `path` or under it."""
        length = len(path)
        return any(found[:length] == tuple(path) for found in self._found)

    def errors(self) -> list[ConfigError]:
        """All of them, in the order of the file."""
        return sorted((error for errors in self._found.values() for error in errors), key=position)


def raise_all(errors: list[ConfigError]) -> None:
    """Raise the one error, or all of them as ConfigErrors; nothing for none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def position(error: ConfigError) -> tuple[str, int]:
    """File and line of an error, to sort by."""
    file, _, line = (error.where or "").rpartition(":")
    return (file, int(line)) if line.isdigit() else (error.where or "", 0)
