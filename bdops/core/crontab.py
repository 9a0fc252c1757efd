"""Lines of a crontab and the marked blocks that hold them. Pure: text in, text out.

A block is bdops' own, by its name; whatever else is in the crontab stays byte for byte. The format is crontab(5)'s: a
percent sign is escaped, the shell is sh, and what a job prints is mailed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_BEGIN = "# BEGIN bdops {} (made by `bdops cron`; `bdops cron remove --name {}` takes it out)"
_END = "# END bdops {}"
_MARK = re.compile(r"# (BEGIN|END) bdops (\S+)(?: .*)?")
TIMED_OUT = "124|137"
"""What timeout(1) exits with when it ended the program, and when it had to kill it."""
KILL_AFTER_S = 60
"""Told to end, a job pauses after the step in hand; a check ends at once."""


class BadCrontab(ValueError):
    """The marks do not pair up, or the schedule cannot be written as a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJob:
    """One line: `argv` at a time, alone, not longer than `limit_s`, silent when there is nothing to say.

    `schedule` are the five fields. `delay_s` is slept first: it spreads machines that start at the same second.
    `says_news_alone`: what it prints is to be mailed; of another command only what it prints when it fails.
    """

    name: str
    schedule: str
    argv: Sequence[str]
    lock_file: str
    limit_s: int
    delay_s: int = 0
    says_news_alone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """The line, without its end. Raises BadCrontab for words that no line can hold."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        command = " ".join(
            [
                *words,
                # A run that is still at work is not news: the next one does its job.
                shlex.join(["flock", "-n", "-E", "0", self.lock_file]),
                shlex.join(["timeout", "-k", str(KILL_AFTER_S), str(self.limit_s), *self.argv]),
            ]
        )
        told = shlex.quote(f"bdops cron {self.name}: stopped, it took longer than {self.limit_s} s")
        late = f"case $code in {TIMED_OUT}) echo {told};; esac"
        if self.says_news_alone:
            text = f"{command} || {{ code=$?; {late}; }}"
        else:
            text = f'out=$({command} 2>&1) || {{ code=$?; printf "%s\\n" "$out"; {late}; }}'
        if self.delay_s:
            text = f"sleep {self.delay_s}; {text}"
        if "\n" in text or "\0" in text:
            raise BadCrontab("a crontab's line cannot hold a line break")
        return f"{self.schedule} {text}".replace("%", "\\%")


def every(seconds: float, key: str) -> str:
    """The fields for a job that runs every so often, its minute chosen by `key` so that machines do not meet.

    Raises BadCrontab for a time that does not divide an hour or a day: a crontab would stumble at its end.
    """
    minutes, rest = divmod(seconds, 60)
    number = _number(key)
    if rest == 0 and 1 <= minutes < 60 and 60 % minutes == 0:
        if minutes == 1:
            return "* * * * *"
        return f"{number % int(minutes)}-59/{int(minutes)} * * * *"
    hours, rest = divmod(seconds, 3600)
    if rest == 0 and 1 <= hours <= 24 and 24 % hours == 0:
        where = "*" if hours == 1 else f"{number % int(hours)}-23/{int(hours)}" if hours < 24 else f"{number % 24}"
        return f"{number % 60} {where} * * *"
    raise BadCrontab("an hour or a day is not so many times as long: 1m, 5m, 10m, 15m, 30m, 1h, 6h, 1d are possible")


def daily(text: str) -> str:
    """The fields for `HH:MM`, each day, or `sun HH:MM`, each week. Raises BadCrontab for anything else."""
    match = re.fullmatch(r"(?:(mon|tue|wed|thu|fri|sat|sun)\s+)?([01]?\d|2[0-3]):([0-5]\d)", text.strip().lower())
    if not match:
        raise BadCrontab(f"{text!r} is no time of a day: 03:10, or 'sun 03:10'")
    return f"{int(match[3])} {int(match[2])} * * {match[1] or '*'}"


def delay(key: str, at_most_s: int) -> int:
    """Seconds from 0 to `at_most_s`, the same for a key each time: a line that is made again is the same line."""
    return _number(f"delay {key}") % (at_most_s + 1)


def block(name: str, line: str) -> str:
    """A block with its marks, as it stands in a crontab."""
    return f"{_BEGIN.format(name, name)}\n{line}\n{_END.format(name)}\n"


def with_block(text: str, name: str, line: str) -> str:
    """The crontab with the block in place of the one of that name, or at its end. Raises BadCrontab."""
    new = block(name, line)
    span = _spans(text).get(name)
    if span:
        return text[: span[0]] + new + text[span[1] :]
    # A last line without an end is none to cron, and would swallow the mark.
    return text + ("\n" if text and not text.endswith("\n") else "") + new


def without_block(text: str, name: str) -> str:
    """The crontab without the block of that name; the same where there is none. Raises BadCrontab."""
    span = _spans(text).get(name)
    return text[: span[0]] + text[span[1] :] if span else text


def blocks(text: str) -> dict[str, str]:
    """The lines of each block, without its marks, by name. Raises BadCrontab."""
    return {name: "".join(text[a:b].splitlines(keepends=True)[1:-1]) for name, (a, b) in _spans(text).items()}


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Where each block begins and ends, its marks included."""
    found: dict[str, tuple[int, int]] = {}
    open_name, begin, at = None, 0, 0
    for number, line in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), start=1):
        if match := _MARK.fullmatch(line.removesuffix("\n")):
            kind, name = match[1], match[2]
            if (kind == "BEGIN") == (open_name is not None) or (kind == "END" and name != open_name):
                raise BadCrontab(f"line {number}: {line.strip()!r} has no partner")
            if kind == "BEGIN":
                if name in found:
                    raise BadCrontab(f"line {number}: a second block {name!r}")
                open_name, begin = name, at
            else:
                found[name] = (begin, at + len(line))
                open_name = None
        at += len(line)
    if open_name is not None:
        raise BadCrontab(f"the block {open_name!r} has no end")
    return found


def _number(key: str) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:8], "big")
