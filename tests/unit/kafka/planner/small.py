"""Tiny clusters and requests, drawn at random: everything that bends a plan occurs often."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bdops.components.kafka.planner.model import Brokers, Layout, Request


@st.composite
def layouts(draw: st.DrawFn, *, update_domains: bool = False, disks: bool = False, most_rows: int = 6) -> Layout:
    count = draw(st.integers(3, 5))
    racks = draw(st.integers(1, 3))
    rack = draw(st.lists(st.integers(-1 if draw(st.booleans()) else 0, racks - 1), min_size=count, max_size=count))
    update = [-1] * count
    if update_domains:
        update = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    live = [draw(st.integers(0, 9)) > 0 for _ in range(count)]
    rows = draw(st.integers(2, most_rows))
    topics = draw(st.integers(1, 2))
    split = draw(st.integers(1, rows - 1)) if topics == 2 else rows
    replicas = np.full((rows, 3), -1, dtype=np.int16)
    for start, end in ((0, split), (split, rows)):
        factor = draw(st.integers(1, 3))
        for row in range(start, end):
            replicas[row, :factor] = draw(st.permutations(range(count)))[:factor]
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 10, 50]), min_size=rows, max_size=rows))
    leader = [int(draw(st.sampled_from([b for b in row if b >= 0]))) for row in replicas]
    total = np.zeros(count, dtype=np.int64)
    usable = np.zeros(count, dtype=np.int64)
    if disks:
        total[:] = 1000
        usable[:] = draw(st.lists(st.integers(140, 260), min_size=count, max_size=count))
    busy = np.array([draw(st.integers(0, 9)) == 0 for _ in range(rows)])
    return Layout(
        brokers=Brokers(
            ids=np.arange(count, dtype=np.int32) * 10,
            live=np.array(live),
            rack=np.array(rack, dtype=np.int16),
            update_domain=np.array(update, dtype=np.int16),
            total_bytes=total,
            usable_bytes=usable,
            racks=tuple(f"r{n}" for n in range(racks)),
            update_domains=("u0", "u1", "u2") if update_domains else (),
        ),
        topics=("a", "b")[:topics],
        first=np.array([0, split, rows][: topics + 1]),
        numbers=np.concatenate([np.arange(split), np.arange(rows - split)]).astype(np.int32),
        replicas=replicas,
        leader=np.array(leader, dtype=np.int16),
        size_bytes=np.array(sizes, dtype=np.int64),
        busy=busy,
    )


@st.composite
def requests(draw: st.DrawFn, layout: Layout, *, pins: bool = True) -> Request:
    count, rows = len(layout.brokers), len(layout)
    some = st.frozensets(st.integers(0, count - 1), max_size=1)
    factors = {}
    for topic in range(len(layout.topics)):
        if draw(st.integers(0, 3)) == 0:
            factors[topic] = draw(st.integers(1, 3))
    pinned = np.array([draw(st.integers(0, 7)) == 0 for _ in range(rows)]) if pins else None
    return Request(
        balance=draw(st.sampled_from([(), ("count",), ("count",)])),
        drain=draw(some) if draw(st.booleans()) else frozenset(),
        exclude=draw(some) if draw(st.integers(0, 3)) == 0 else frozenset(),
        factors=factors,
        pinned=pinned,
    )


@st.composite
def cases(
    draw: st.DrawFn, *, update_domains: bool = False, disks: bool = False, pins: bool = True, most_rows: int = 6
) -> tuple[Layout, Request]:
    layout = draw(layouts(update_domains=update_domains, disks=disks, most_rows=most_rows))
    return layout, draw(requests(layout, pins=pins))
