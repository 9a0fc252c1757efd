"""What a person at the terminal, or cron's `kill`, may ask of a running job: pause after this step, or leave now."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class LeaveNow(Exception):
    """The second ^C (or SIGTERM): stop waiting for anything. What runs detached on the hosts goes on there."""


class Control:
    """Shared by the threads of a job. `pause` is set by the first signal, `leave` by the second."""

    def __init__(self) -> None:
        self.pause = threading.Event()
        self.leave = threading.Event()
        self.signal: int | None = None
        self.signals_seen = 0
        self.why = ""

    def ask_to_pause(self, why: str) -> None:
        """Begin no further step. The first reason given is kept."""
        self.why = self.why or why
        self.pause.set()

    def wait(self, seconds: float) -> None:
        """Sleep. Raises LeaveNow as soon as that is asked for."""
        if self.leave.wait(max(0.0, seconds)):
            raise LeaveNow

    def check(self) -> None:
        """Raises LeaveNow when that was asked for."""
        if self.leave.is_set():
            raise LeaveNow

    @contextmanager
    def signals(self, say: Callable[[str], None]) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP for the time of a job. Only in the main thread."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.signal = number
            name = signal.Signals(number).name
            self.signals_seen += 1
            if self.signals_seen > 1:
                self.leave.set()
                say(f"{name} again: leaving now; what runs on the hosts goes on there")
            else:
                self.ask_to_pause(name)
                say(f"{name}: finishing the step in hand, then pausing; once more leaves at once")

        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in asked}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class ControlWithin(Control):
    """Of a job that is a step of another: it pauses and leaves with that one, while its failure is its own."""

    def __init__(self, parent: Control) -> None:
        super().__init__()
        self.leave = parent.leave
        self.pause = _EitherEvent(lambda: parent.signals_seen > 0)


class _EitherEvent(threading.Event):
    """Set by itself, or when something else is so."""

    def __init__(self, other: Callable[[], bool]) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other()


class Deadline:
    """A moment until which something is waited for; time.monotonic()."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.began = time.monotonic()

    @property
    def left_s(self) -> float:
        return max(0.0, self.began + self.timeout_s - time.monotonic())

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self.began

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0
