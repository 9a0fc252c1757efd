"""Reading many servers at once, so that one that hangs costs its own reading and not the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from bdops.core.units import format_duration
from bdops.errors import BdopsError


@dataclass(frozen=True, slots=True)
class Readings:
    """`values` holds what was read in time; `unread` why each of the others was not, by the same names."""

    values: Mapping[str, Any]
    unread: Mapping[str, str]


def why_unread(error: BaseException) -> str:
    """One line for people: an error of ours as it is, another with its type."""
    if isinstance(error, BdopsError):
        return f"{error.message} ({error.where})" if error.where else error.message
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def read_all(tasks: Mapping[str, Callable[[], Any]], *, timeout_s: float) -> Readings:
    """Call every task in a thread of its own; return when all have answered or `timeout_s` has passed.

    A task that fails or is late is in `unread` with the reason. Threads are daemons: a late one never
    delays the end of the process, and what it returns is dropped.
    """
    done: SimpleQueue[tuple[str, Any, BaseException | None]] = SimpleQueue()

    def call(name: str, task: Callable[[], Any]) -> None:
        try:
            done.put((name, task(), None))
        except BaseException as e:
            done.put((name, None, e))

    for name, task in tasks.items():
        threading.Thread(target=call, args=(name, task), name=f"read {name}", daemon=True).start()
    values: dict[str, Any] = {}
    unread: dict[str, str] = {}
    deadline = time.monotonic() + timeout_s
    while len(values) + len(unread) < len(tasks):
        try:
            name, value, error = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if error is None:
            values[name] = value
        else:
            unread[name] = why_unread(error)
    for name in tasks:
        if name not in values and name not in unread:
            unread[name] = f"no answer within {format_duration(timeout_s)}"
    return Readings(values, unread)
