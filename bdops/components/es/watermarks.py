"""The disk watermarks as the cluster has them set, and which of them a disk is over. Pure.

Source: "Cluster-level shard allocation and routing settings" of the Elasticsearch reference: a watermark is a
used share (`85%`, `0.85`) or *free* bytes (`10gb`); a share is capped by its `max_headroom`, which is free bytes
and has a default only where neither the watermark nor the headroom was set. Sizes are powers of 1024.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bdops.components.es.state import ClusterSettings, Disk

Level = Literal["flood_stage", "high", "low"]
LEVELS: tuple[Level, ...] = ("flood_stage", "high", "low")
"""Worst first."""

_PREFIX = "cluster.routing.allocation.disk."
_FACTORS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """`used_percent` or `free_bytes` is set; `headroom_bytes` caps the free space that a share asks for."""

    setting: str
    text: str
    used_percent: float | None = None
    free_bytes: int | None = None
    headroom_bytes: int | None = None

    def free_needed_bytes(self, total_bytes: int) -> int:
        """The free space below which a disk of this size is over the watermark."""
        if self.free_bytes is not None:
            return self.free_bytes
        assert self.used_percent is not None
        share = int(total_bytes * (100 - self.used_percent) / 100)
        return share if self.headroom_bytes is None else min(share, self.headroom_bytes)

    def is_exceeded_by(self, disk: Disk) -> bool:
        return disk.available_bytes < self.free_needed_bytes(disk.total_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermarks:
    """The three watermarks in force; `enabled` False: the cluster ignores them."""

    enabled: bool
    low: Watermark
    high: Watermark
    flood_stage: Watermark
    frozen: Watermark | None = None

    def exceeded(self, disk: Disk, *, frozen: bool = False) -> Level | None:
        """The worst watermark that the disk is over. A dedicated frozen node knows the flood stage alone."""
        if frozen and self.frozen is not None:
            return "flood_stage" if self.frozen.is_exceeded_by(disk) else None
        return next((level for level in LEVELS if getattr(self, level).is_exceeded_by(disk)), None)


def watermarks(settings: ClusterSettings) -> Watermarks:
    """The watermarks of a cluster. Raises ValueError when a value cannot be understood, KeyError when it is absent."""
    return Watermarks(
        enabled=(settings.value(f"{_PREFIX}threshold_enabled") or "true").lower() == "true",
        low=_watermark(settings, "low"),
        high=_watermark(settings, "high"),
        flood_stage=_watermark(settings, "flood_stage"),
        frozen=_watermark(settings, "flood_stage.frozen")
        if settings.value(f"{_PREFIX}watermark.flood_stage.frozen")
        else None,
    )


def parse_bytes(text: str) -> int:
    """Bytes of Elasticsearch's `10gb`, `500mb`, `1.5t`. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)b?", text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a size of Elasticsearch's, such as 10gb")
    return int(float(match[1]) * _FACTORS[match[2]])


def _watermark(settings: ClusterSettings, level: str) -> Watermark:
    name = f"{_PREFIX}watermark.{level}"
    text = settings.value(name)
    if text is None:
        raise KeyError(name)
    share = _used_percent(text)
    if share is None:
        return Watermark(setting=name, text=text, free_bytes=parse_bytes(text))
    headroom = settings.value(f"{name}.max_headroom")
    return Watermark(
        setting=name,
        text=text,
        used_percent=share,
        headroom_bytes=None if headroom in (None, "-1") else parse_bytes(str(headroom)),
    )


def _used_percent(text: str) -> float | None:
    """85.0 of `85%` and of `0.85`; None for bytes."""
    if text.strip().endswith("%"):
        return float(text.strip()[:-1])
    try:
        ratio = float(text)
    except ValueError:
        return None
    return ratio * 100 if 0 < ratio <= 1 else None
