"""Layouts in a few words, through the same door as files: `layout({"a": [[1, 2], [2, 3]]})`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bdops.components.kafka.planner.assembly import NONE, BrokerRow, LogDirRow, Source, TopicColumns, assemble
from bdops.components.kafka.planner.model import Layout

Rows = Sequence[Sequence[int]]


def layout(
    topics: Mapping[str, Rows],
    *,
    sizes: Mapping[str, Sequence[int]] = {},
    leaders: Mapping[str, Sequence[int]] = {},
    racks: Mapping[int, str] = {},
    domains: Mapping[int, str] = {},
    brokers: Sequence[int] = (),
    dead: Sequence[int] = (),
    disks: Mapping[int, tuple[int, int]] = {},
    rates: Mapping[str, Sequence[float]] = {},
    log_dirs: Sequence[LogDirRow] = (),
    dirs: Mapping[str, Rows] = {},
) -> Layout:
    """Rows of broker numbers per topic. Brokers are those that occur, and `brokers`; `disks` are (total, usable)."""
    numbers = sorted({b for rows in topics.values() for row in rows for b in row} | set(brokers))
    return assemble(
        Source(
            where="here",
            cluster="prod",
            brokers=[
                BrokerRow(
                    id=n,
                    rack=racks.get(n),
                    update_domain=domains.get(n),
                    live=n not in dead,
                    total_bytes=disks.get(n, (0, 0))[0],
                    usable_bytes=disks.get(n, (0, 0))[1],
                )
                for n in numbers
            ],
            topics=[
                TopicColumns(
                    name=name,
                    numbers=np.arange(len(rows)),
                    replicas=_wide(rows),
                    leaders=np.array(leaders.get(name, [row[0] for row in rows]), dtype=np.int64),
                    size_bytes=np.array(sizes.get(name, [1] * len(rows)), dtype=np.int64),
                    bytes_in=np.array(rates[name], dtype=float) if name in rates else None,
                    dirs=_wide(dirs[name]) if name in dirs else None,
                )
                for name, rows in topics.items()
            ],
            log_dirs=log_dirs,
        )
    )


def _wide(rows: Rows) -> Any:
    width = max((len(row) for row in rows), default=1)
    return np.array([[*row, *[NONE] * (width - len(row))] for row in rows], dtype=np.int64).reshape(-1, width)


def replicas_of(found: Layout, replicas: Any = None) -> list[list[int]]:
    """Rows in broker numbers."""
    rows = found.replicas if replicas is None else replicas
    return [[int(found.brokers.ids[b]) for b in row if b >= 0] for row in rows]


@st.composite
def layouts(
    draw: st.DrawFn, *, most_brokers: int = 6, most_rows: int = 12, most_bytes: int = 1000, dead: bool = False
) -> Layout:
    """Small layouts with several topics, factors, racks (some brokers without), sizes and disks."""
    ids = sorted(draw(st.sets(st.integers(0, 50), min_size=2, max_size=most_brokers)))
    racks = {b: draw(st.sampled_from(["r1", "r2", "r3", None])) for b in ids}
    topics: dict[str, list[list[int]]] = {}
    sizes: dict[str, list[int]] = {}
    for name in draw(st.lists(st.sampled_from(["a", "b-1", "c.d"]), unique=True, min_size=1)):
        factor = draw(st.integers(1, min(3, len(ids))))
        count = draw(st.integers(1, max(1, most_rows // 3)))
        topics[name] = [draw(st.permutations(ids))[:factor] for _ in range(count)]
        sizes[name] = draw(st.lists(st.integers(0, most_bytes), min_size=count, max_size=count))
    return layout(
        topics,
        sizes=sizes,
        racks={b: r for b, r in racks.items() if r is not None},
        brokers=ids,
        dead=draw(st.lists(st.sampled_from(ids), max_size=1)) if dead else (),
    )
