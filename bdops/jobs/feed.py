"""States for a job's threads: one reading at a time per component, shared by all who asked before it began."""

from __future__ import annotations

import threading
import time
from typing import Any

from bdops.core.actor import Actor

READ_TIMEOUT_S = 15.0


class Feed:
    """Fresh states of one deployment. Safe to use from several threads."""

    def __init__(self, actor: Actor[Any]) -> None:
        self.actor = actor
        self._lock = threading.Lock()
        self._began = 0.0
        self._state: Any = None

    def read(self, since: float | None = None) -> Any:
        """A state whose reading began at or after `since` (time.monotonic(); default: now)."""
        wanted = time.monotonic() if since is None else since
        with self._lock:
            if self._state is None or self._began < wanted:
                began = time.monotonic()
                self._state = self.actor.read(timeout_s=READ_TIMEOUT_S)
                self._began = began
            return self._state
