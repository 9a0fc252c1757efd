"""Sizes, durations and percentages, read from and written for people. Sizes are powers of 1024 for KiB, 1000 for kB."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIZES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = r"(\d+(?:\.\d+)?)\s*"


def parse_size(text: str) -> int:
    """Bytes of `10GB`, `1.5 GiB`, `4096`. Raises ValueError with the accepted forms."""
    match = re.fullmatch(_NUMBER + r"([a-zA-Z]*)", text.strip())
    if not match or match[2].lower() not in _SIZES:
        raise ValueError(f"{text!r} is not a size: expected a number with B, kB, MB, GB, TB or KiB, MiB, GiB, TiB")
    return int(float(match[1]) * _SIZES[match[2].lower()])


def parse_rate(text: str) -> int:
    """Bytes a second of `80MB/s`, or `80MB`. Raises ValueError with the accepted forms."""
    return parse_size(text.strip().removesuffix("/s"))


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `10s`, `1h30m`, `2d`. Raises ValueError with the accepted forms."""
    parts = re.findall(_NUMBER + r"(ms|[smhdw])", text.strip())
    if not parts or not re.fullmatch(rf"(?:{_NUMBER}(?:ms|[smhdw])\s*)+", text.strip()):
        raise ValueError(f"{text!r} is not a duration: expected numbers with ms, s, m, h, d or w, such as 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_percent(text: str) -> float:
    """85.0 of `85%`. Raises ValueError when the sign is missing."""
    match = re.fullmatch(_NUMBER + "%", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a percentage: expected a number with %, such as 85%")
    return float(match[1])


def format_size(size_bytes: float) -> str:
    """`1.5 GiB`; whole bytes below 1 KiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def format_duration(seconds: float) -> str:
    """`350 ms`, `12 s`, `3 m 20 s`, `2 h 5 m`, `4 d 1 h`: two units at the most."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    for size, unit, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def listed(names: Iterable[str], limit: int = 6) -> str:
    """`a, b, c and 4 more`."""
    every = list(names)
    more = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """`1 broker`, `3 brokers`."""
    return f"{count} {noun if count == 1 else plural_noun or noun + 's'}"
