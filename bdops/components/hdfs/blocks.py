"""Blocks as the NameNode lists them: walked lazily, so that any number of them fits in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bdops.components.hdfs.namenode import ADMIN_STATES, FileEntry, NameNode
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.state import BlockState


@dataclass(frozen=True, slots=True)
class EcPolicy:
    """How a group is cut: units of data and of parity, in cells of so many bytes."""

    data_units: int
    parity_units: int
    cell_bytes: int = 1 << 20


BUILT_IN_POLICIES = {1: EcPolicy(6, 3), 2: EcPolicy(3, 2), 3: EcPolicy(6, 3), 4: EcPolicy(2, 1), 5: EcPolicy(10, 4)}
"""RS-6-3, RS-3-2, RS-LEGACY-6-3, XOR-2-1 and RS-10-4, all in cells of 1024k: the NameNode sends their ids alone
(SystemErasureCodingPolicies, PBHelperClient)."""


@dataclass
class Scanned:
    """How many files a walk has seen so far."""

    files: int = 0


def walk(listing: Callable[[str], Iterator[FileEntry]], path: str) -> Iterator[tuple[str, FileEntry]]:
    """Every file under a path, depth first, with its full path.

    `listing` gives a directory's entries page by page; of each directory on the way down only the current
    page is held.
    """
    base = path.rstrip("/")
    levels: list[tuple[str, Iterator[FileEntry]]] = [(base, listing(path))]
    while levels:
        folder, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            continue
        full = f"{folder}/{entry.name}" if entry.name else folder
        if entry.kind == "dir":
            levels.append((full, listing(full)))
        elif entry.kind == "file":
            yield full, entry


def blocks_under(namenode: NameNode, path: str, scanned: Scanned | None = None) -> Iterator[BlockState]:
    """The blocks of all files under a path, as they come."""
    for full, entry in walk(lambda folder: namenode.listing(folder, with_blocks=True), path):
        if scanned is not None:
            scanned.files += 1
        located = entry.located
        if located is None:
            continue
        for block in located.blocks:
            # The last block of a file being written has as many copies as its pipeline.
            if located.underConstruction and block.b.blockId == located.lastBlock.b.blockId:
                continue
            yield block_state(full, entry.replication, located, block)


def block_being_written(namenode: NameNode, path: str) -> BlockState | None:
    """The last block of an open file, with the copies that its pipeline has; None when it has none, or is closed.

    By a listing: `getBlockLocations` would note an access time.
    """
    for entry in namenode.listing(path, with_blocks=True):
        located = entry.located
        if located is not None and located.underConstruction and located.HasField("lastBlock"):
            return block_state(path, entry.replication, located, located.lastBlock)
    return None


def block_state(file: str, replication: int, located: pb.LocatedBlocksProto, block: pb.LocatedBlockProto) -> BlockState:
    """One block: copies wanted, good ones, and those on DataNodes that are leaving."""
    policy = ec_policy(located.ecPolicy) if located.HasField("ecPolicy") else None
    live, leaving, where = 0, 0, []
    for datanode in block.locs:
        where.append(f"{datanode.id.ipAddr}:{datanode.id.xferPort}")
        if ADMIN_STATES[datanode.adminState] == "normal":
            live += 1
        else:
            leaving += 1
    if policy is not None:
        wanted = striped_width(block.b.numBytes, policy)
        # Without as many units as hold data the group cannot be computed back.
        needed = wanted - policy.parity_units
        corrupt = block.corrupt or live + leaving < needed
    else:
        wanted, needed, corrupt = replication, 1, block.corrupt
    if block.corrupt:  # its locations are then the corrupt copies
        live, leaving = 0, 0
    return BlockState(
        file=file,
        block=f"blk_{_signed(block.b.blockId)}_{block.b.generationStamp}",
        length_bytes=block.b.numBytes,
        wanted=wanted,
        live=live,
        leaving=leaving,
        corrupt=corrupt,
        striped=policy is not None,
        needed=needed,
        locations=tuple(where),
        corrupt_on=tuple(where) if block.corrupt else (),
    )


def ec_policy(policy: pb.ErasureCodingPolicyProto) -> EcPolicy:
    """A file's policy: one of its own, or one that every Hadoop has."""
    if policy.HasField("schema"):
        return EcPolicy(policy.schema.dataUnits, policy.schema.parityUnits, policy.cellSize or 1 << 20)
    return BUILT_IN_POLICIES.get(policy.id, EcPolicy(1, 0))


def striped_width(length_bytes: int, policy: EcPolicy) -> int:
    """The units that a group of this length has: a short one does without the data units it cannot fill."""
    return min(-(-length_bytes // policy.cell_bytes), policy.data_units) + policy.parity_units


def _signed(block_id: int) -> int:
    """Erasure-coded groups have negative ids, and travel as unsigned."""
    return block_id - (1 << 64) if block_id >= 1 << 63 else block_id
