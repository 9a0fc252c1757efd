"""What a restore into place replaces, as it is shown before anybody says yes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bdops.components.es.snapshot.difference import IndexSize
from bdops.components.es.snapshot.indices import LiveIndex
from bdops.components.es.snapshot.restore import ANEW, BEFORE
from bdops.core.units import plural
from bdops.errors import Refused

SHOWN = 12
BACKING = ".ds-"
"""How the names of the indices behind a data stream begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Indices of a snapshot, and what lives under their names.

    `documents` has None for what cannot be counted. Those in `anew` have another number of shards in the snapshot:
    they are deleted first. Of those in `red` a primary is lost.
    """

    indices: tuple[str, ...]
    live: Mapping[str, LiveIndex]
    documents: Mapping[str, int | None]
    red: frozenset[str]
    wanted: Mapping[str, IndexSize]

    @property
    def anew(self) -> list[str]:
        shards = {name: self.wanted[name].shards for name in self.live if name in self.wanted}
        return [name for name, index in self.live.items() if shards.get(name) not in (None, index.shards)]

    @property
    def kept(self) -> list[str]:
        """What can be kept as a snapshot first."""
        return [name for name in self.indices if name in self.live and name not in self.red]

    def args(self) -> dict[str, Any]:
        """What the step has to know, beside the snapshot."""
        signatures = {name: index.signature for name, index in self.live.items()}
        return {"indices": list(self.indices), BEFORE: signatures, ANEW: self.anew}

    @property
    def summary(self) -> str:
        counted = sum(n or 0 for n in self.documents.values())
        text = f"{plural(len(self.live), 'index', 'indices')} with {counted:,} documents replaced"
        new = len(self.indices) - len(self.live)
        return f"{text}, {new} made" if new else text

    @property
    def lines(self) -> list[str]:
        """What becomes of each index."""
        return [f"{name}: {self._fate(name)}" for name in self.indices]

    def _fate(self, name: str) -> str:
        index = self.live.get(name)
        if index is None:
            return "is not there, made"
        count = self.documents.get(name)
        if name in self.red:
            text = "replaced; it is red: what is left of it can be neither counted nor kept"
        elif count is None:
            text = "replaced; it is closed: its documents cannot be counted"
        else:
            text = f"{count:,} documents replaced"
        if name in self.anew:
            text += f"; deleted first: {plural(index.shards, 'shard')} now, {self.wanted[name].shards} in the snapshot"
        return text


def shown(summary: str, lines: Sequence[str]) -> str:
    """A plan's note: the sum, and as many lines as a table has room for."""
    more = len(lines) - SHOWN
    return "; ".join([summary, *lines[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


def require_no_data_stream(indices: Sequence[str]) -> None:
    """Raises Refused: the indices behind a data stream are the stream's, and are restored with it."""
    if behind := [name for name in indices if name.startswith(BACKING)]:
        raise Refused(
            f"{', '.join(behind[:4])}: behind a data stream, which is not restored into place",
            hint="--index '-.ds-*' leaves them out; without --into-place they are restored beside",
            code="DATA_STREAM",
        )
