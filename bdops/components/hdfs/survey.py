"""A walk through all files for what no count of the NameNode tells: what has one copy, and how few copies there are.

The NameNode counts blocks that have less than they want. One that wants a single copy, and has it, is in none of
its counts, and its DataNode cannot be stopped unnoticed all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from bdops.components.hdfs.blocks import Scanned
from bdops.components.hdfs.state import BlockState, SingleCopies, Survey

NAMED_FILES = 100
"""How many files of one copy are named for each DataNode; all of them are counted."""


def survey(
    blocks: Iterable[BlockState],
    scanned: Scanned,
    *,
    named_blocks: int,
    files_limit: int,
    until: float,
    clock: Callable[[], float] = time.monotonic,
) -> Survey:
    """What the blocks tell. Ends early, incomplete, after `files_limit` files or at `until` (of `clock`).

    `scanned` is counted up by whoever makes the blocks. Of degraded blocks `named_blocks` at most are kept.
    """
    lowest_copies: int | None = None
    lowest_parity: int | None = None
    counts: dict[str, int] = {}
    files: dict[str, dict[str, None]] = {}
    degraded: list[BlockState] = []
    degraded_complete = complete = True
    for block in blocks:
        if block.missing or block.under_replicated:
            if len(degraded) < named_blocks:
                degraded.append(block)
            else:
                degraded_complete = False
        if block.striped:
            parity = block.wanted - block.needed
            lowest_parity = parity if lowest_parity is None else min(lowest_parity, parity)
        elif block.wanted == 1:
            for address in block.locations:
                counts[address] = counts.get(address, 0) + 1
                named = files.setdefault(address, {})
                if len(named) < NAMED_FILES:
                    named[block.file] = None
        elif block.wanted > 1:
            lowest_copies = block.wanted if lowest_copies is None else min(lowest_copies, block.wanted)
        if scanned.files >= files_limit or clock() > until:
            complete = False
            break
    return Survey(
        scanned_files=scanned.files,
        complete=complete,
        lowest_copies=lowest_copies,
        lowest_parity=lowest_parity,
        single=tuple(
            SingleCopies(address=address, blocks=counts[address], files=tuple(files[address]))
            for address in sorted(counts)
        ),
        degraded=tuple(degraded),
        degraded_complete=degraded_complete,
    )
