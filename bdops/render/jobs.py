"""Plans and jobs for people: the plan as a report, and a running job line by line, with rate and ETA."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any, TextIO

from bdops.core.gate import Reason, describe
from bdops.core.plan import Plan, Step
from bdops.core.result import Column, Report, Table
from bdops.core.units import format_duration, plural

MAX_VALUE = 160
"""Characters of a setting that are shown in a line of progress."""
REPEAT_S = 10.0
"""Without a terminal, what a step waits for is said again after so long."""


def plan_report(plan: Plan, *, waits: Sequence[Reason] = (), accepted: Sequence[Reason] = ()) -> Report:
    """The plan: its waves, what clients will notice, what was accepted, and what must pass first."""
    steps = plan.steps
    rows = [
        {"wave": number, "step": s.id, "name": s.name, "role": s.role, "acts": " > ".join(s.acts), "note": s.note}
        for number, wave in enumerate(plan.waves, start=1)
        for s in wave
    ]
    columns = (
        Column("wave"), Column("step", wide=True), Column("name"), Column("role"), Column("acts"), Column("note"),
    )  # fmt: skip
    facts: dict[str, Any] = {"command": plan.command, "cluster": plan.cluster, "_digest": plan.digest}
    if plan.reason:
        facts["reason"] = plan.reason
    if plan.consequences:
        facts["consequences"] = "; ".join(plan.consequences)
    if accepted:
        facts["accepted"] = "; ".join(describe(r) for r in accepted)
    if waits:
        facts["must pass first"] = "; ".join(describe(r) for r in waits)
    facts["_consequences"] = list(plan.consequences)
    return Report(
        summary=f"{plural(len(steps), 'step')} in {plural(len(plan.waves), 'wave')}" if steps else "nothing to do",
        facts=facts,
        tables=(Table(name="waves", columns=columns, rows=rows, empty="nothing to do"),),
    )


class Indented(io.StringIO):
    """stderr, each line a little to the right: the job of a step, within that of its playbook."""

    def write(self, text: str) -> int:
        return sys.stderr.write("".join(f"  {line}" for line in text.splitlines(keepends=True)))

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return False


class JobProgress:
    """A line per thing that happens; on a terminal a last line that is rewritten with what is waited for."""

    def __init__(self, plan: Plan, done: Collection[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._names = {s.id: s.name for s in plan.steps}
        # What is for a failure is counted when it comes to that.
        self._to_do = {s.id for s in plan.steps if s.phase != "failure"} | set(done)
        self._finished = set(done)
        self._waves = len(plan.waves)
        self._wave = 0
        self._began: dict[str, float] = {}
        self._seconds: list[float] = []
        self._waits: dict[str, str] = {}
        self._said_at: dict[str, float] = {}
        self._started = time.monotonic()
        self._lock = threading.RLock()

    def event(self, event: Mapping[str, Any]) -> None:
        """An entry of the journal."""
        with self._lock:
            line = self._line(event)
            if line:
                self.say(line)

    def waiting(self, step: Step, what: str) -> None:
        """What a step is waiting for."""
        with self._lock:
            self._waits[step.id] = what
            if self._live:
                self._redraw()
                return
            if time.monotonic() - self._said_at.get(step.id, 0.0) >= REPEAT_S:
                self._said_at[step.id] = time.monotonic()
                self.say(f"{step.name}: waiting for {what}")

    def say(self, text: str) -> None:
        """One line, above the live one."""
        with self._lock:
            if self._live:
                self._stream.write("\r\x1b[K")
            self._stream.write(f"{text}\n")
            if self._live:
                self._redraw()
            self._stream.flush()

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            if self._live:
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def _redraw(self) -> None:
        if not self._waits:
            return
        now = ", ".join(f"{self._names[step]}: {what}" for step, what in self._waits.items())
        text = f"[{len(self._finished)}/{len(self._to_do)}{self._eta()}] {now}"
        import shutil

        self._stream.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
        self._stream.flush()

    def _eta(self) -> str:
        """Rate and time left, by the median of what was measured in this run."""
        if not self._seconds:
            return ""
        passed = time.monotonic() - self._started
        left = (len(self._to_do) - len(self._finished)) * passed / len(self._seconds)
        return f", {format_duration(median(self._seconds))} each, {format_duration(left)} left"

    def _line(self, event: Mapping[str, Any]) -> str | None:
        kind = event["event"]
        name = self._names.get(event.get("step", ""), "")
        if kind == "wave_started":
            self._wave += 1
            return f"wave {self._wave}: {', '.join(event['names'])}"
        if kind == "step_started":
            self._began[event["step"]] = time.monotonic()
            return None
        if kind in ("step_done", "step_failed"):
            self._waits.pop(event["step"], None)
        if kind == "reopened":
            self._finished.discard(event["step"])
        if kind == "step_done":
            took = time.monotonic() - self._began.get(event["step"], time.monotonic())
            self._to_do.add(event["step"])
            self._finished.add(event["step"])
            self._seconds.append(took)
            count = f"{len(self._finished)}/{len(self._to_do)}"
            return f"{name}: done in {format_duration(took)} [{count}{self._eta()}]"
        lines = {
            "step_failed": lambda: f"{name}: {event['message']}",
            "act_announced": lambda: f"{name}: {event['act']}",
            "deferred": lambda: f"{name}: put last: {event['why']}",
            "said": lambda: f"{name}: {_brief(event['text'])}",
            "borrowed": lambda: f"borrowed {event['object']} {event['key']}: was {_brief(event['previous'])}",
            "restored": lambda: f"put back {event['object']} {event['key']}",
            "paused": lambda: f"paused: {event['why']}",
            "log_fetched": lambda: "\n".join(f"  | {line}" for line in event["lines"]),
        }
        return lines[kind]() if kind in lines else None


def _brief(value: object) -> str:
    """The beginning of a long value, such as the orders of thousands of replicas."""
    text = str(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}... ({len(text)} characters, all in the journal)"
