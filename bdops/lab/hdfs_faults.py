"""What can be broken in the lab's HDFS, and healed again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.servers import FailoverController
from bdops.errors import BdopsError, OperationFailed, UsageError
from bdops.lab import hdfs_config as config
from bdops.lab import hdfs_web
from bdops.lab.recipe import Fault

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

T = TypeVar("T")

FOLDER = "/lab-faults"
"""Files that a fault needs; its healing removes them."""
EVERYWHERE = f"{FOLDER}/everywhere"
ONLY_COPY = f"{FOLDER}/only-copy"
BLOCK = b"0123456789abcdef" * 16384
SHOWN_S = 40
HEALED_S = 60


def active(lab: Lab, call: Callable[[NameNode], T]) -> T:
    """A call on the active NameNode."""
    from bdops.lab import hdfs

    service = hdfs.nameservice(lab)
    try:
        return service.on_active(call)
    finally:
        service.close()


def host_of(lab: Lab, target: str | None, role: str, default: str) -> str:
    """The host of a target such as `hdfs/node3/datanode`. Raises UsageError when it has no such server."""
    if not target:
        return default
    hosts = [program.host for program in lab.named(target) if program.name == role]
    if not hosts:
        raise UsageError(f"{target} is no {role}", hint=f"for example hdfs/{default}/{role}")
    return hosts[0]


def active_host(lab: Lab) -> str:
    from bdops.lab import hdfs

    service = hdfs.nameservice(lab)
    try:
        return hdfs.NAMENODES[service.active()]
    finally:
        service.close()


def standby_host(lab: Lab) -> str:
    from bdops.lab import hdfs

    return next(host for host in hdfs.NAMENODES.values() if host != active_host(lab))


def await_whole(lab: Lab) -> None:
    """Wait until HDFS serves with all its servers and all copies are there."""
    from bdops.lab import hdfs

    lab.wait("HDFS to be whole", lambda: hdfs.unhealthy(lab) is None, HEALED_S)


def start_all(lab: Lab, target: str | None) -> None:
    """Start whatever does not run, let JournalNodes take part again, and wait until all is whole."""
    from bdops.lab import hdfs

    for program in hdfs.programs(lab):
        if lab.pid(program.name, program.host) is None:
            lab.start(program.name, program.host)
    lab.wait("HDFS to serve", lambda: hdfs.serves(lab), HEALED_S)
    active(lab, lambda n: n.roll_edits())
    with suppress(BdopsError):
        hdfs_web.delete(lab, FOLDER)
    await_whole(lab)


def write_everywhere(lab: Lab) -> None:
    """A file with a copy on each DataNode: it stays under-replicated as long as one of them is gone."""
    hdfs_web.write(lab, EVERYWHERE, BLOCK, replication=4)
    lab.wait("a copy on every DataNode", lambda: len(holders(lab, EVERYWHERE)) == 4, SHOWN_S)


def holders(lab: Lab, path: str) -> dict[str, str]:
    """The hosts that hold a file's first block, each with the block's name."""
    located = active(lab, lambda n: n.block_locations(path))
    names = {host.address: host.name for host in lab.hosts}
    if located is None or not located.blocks:
        return {}
    block = located.blocks[0]
    return {names[d.id.ipAddr]: f"blk_{block.b.blockId}" for d in block.locs}


def block_file(lab: Lab, host: str, block: str) -> Path:
    """The file of a finished block in a DataNode's data directories."""
    from bdops.lab import hdfs

    for folder in hdfs.node(lab, host).data_dirs:
        for found in folder.rglob(block):
            if "finalized" in found.parts:
                return found
    raise OperationFailed(f"{block} is not in the data directories of {host}")


def break_safe_mode(lab: Lab, target: str | None) -> None:
    active(lab, lambda n: n.enter_safe_mode())
    lab.wait("safe mode", lambda: active(lab, lambda n: n.in_safe_mode()), SHOWN_S)


def heal_safe_mode(lab: Lab, target: str | None) -> None:
    from bdops.lab import hdfs

    for nn in hdfs.NAMENODES:
        with hdfs.namenode(lab, nn).connection as connection:
            NameNode(connection).leave_safe_mode()


def break_datanode(lab: Lab, target: str | None) -> None:
    host = host_of(lab, target, "datanode", "node4")
    write_everywhere(lab)
    lab.kill("datanode", host)
    address = lab.host(host).address
    lab.wait(
        f"the DataNode of {host} to be dead",
        lambda: any(d.address == address for d in active(lab, lambda n: n.datanode_reports("dead"))),
        SHOWN_S,
    )
    lab.wait(
        "under-replicated blocks", lambda: active(lab, lambda n: n.replicated_blocks()).low_redundancy > 0, SHOWN_S
    )


def break_only_copy(lab: Lab, target: str | None) -> None:
    """Remove the only copy of a file; the DataNode's directory scan finds out and tells the NameNode."""
    hdfs_web.write(lab, ONLY_COPY, BLOCK, replication=1)
    lab.wait("the block to be reported", lambda: bool(holders(lab, ONLY_COPY)), SHOWN_S)
    ((host, block),) = holders(lab, ONLY_COPY).items()
    file = block_file(lab, host, block)
    for one in (file, *file.parent.glob(f"{block}_*.meta")):
        one.unlink()
    lab.wait("the block to be missing", lambda: active(lab, lambda n: n.replicated_blocks()).missing > 0, SHOWN_S)


def break_replica(lab: Lab, target: str | None) -> None:
    """Flip bytes in one of four copies, and read it: with nowhere to put a fifth, it stays as it is."""
    host = host_of(lab, target, "datanode", "node3")
    write_everywhere(lab)
    file = block_file(lab, host, holders(lab, EVERYWHERE)[host])
    with file.open("r+b") as handle:
        handle.seek(1000)
        handle.write(b"\xff" * 512)

    def found() -> bool:
        hdfs_web.read_at(lab, host, EVERYWHERE)
        return active(lab, lambda n: n.replicated_blocks()).corrupt > 0

    lab.wait("the corrupt copy to be found", found, SHOWN_S)


def heal_files(lab: Lab, target: str | None) -> None:
    hdfs_web.delete(lab, FOLDER)
    await_whole(lab)


def break_volume(lab: Lab, target: str | None) -> None:
    """Put a file where a data directory's content was, and write until the DataNode meets it."""
    from bdops.lab import hdfs

    host = host_of(lab, target, "datanode", "node2")
    current = hdfs.node(lab, host).data_dirs[1] / "current"
    if current.is_dir():
        current.rename(current.with_name("current.away"))
        current.touch()
    address = lab.host(host).address
    tries = 0

    def failed() -> bool:
        nonlocal tries
        tries += 1
        with suppress(OperationFailed):  # a write may fail on the broken volume
            hdfs_web.write(lab, f"{FOLDER}/probe-{tries}", BLOCK, replication=4)
        return hdfs.failed_volumes(lab).get(address, 0) > 0

    lab.wait(f"a failed volume on {host}", failed, SHOWN_S)


def heal_volume(lab: Lab, target: str | None) -> None:
    from bdops.lab import hdfs

    for host in hdfs.DATANODES:
        current = hdfs.node(lab, host).data_dirs[1] / "current"
        away = current.with_name("current.away")
        if away.is_dir():
            lab.stop("datanode", host)
            current.unlink(missing_ok=True)
            away.rename(current)
    start_all(lab, target)


def set_excluded(lab: Lab, addresses: list[str]) -> None:
    """Write the exclude files and have both NameNodes read them."""
    from bdops.lab import hdfs

    for nn, host in hdfs.NAMENODES.items():
        hdfs.exclude_file(lab, host).write_text("".join(f"{a}\n" for a in addresses))
        with hdfs.namenode(lab, nn).connection as connection:
            NameNode(connection).refresh_nodes()


def break_exclude(lab: Lab, target: str | None) -> None:
    address = lab.host(host_of(lab, target, "datanode", "node4")).address
    set_excluded(lab, [address])
    lab.wait(
        "the DataNode to leave",
        lambda: any(
            d.address == address and d.admin_state != "normal" for d in active(lab, lambda n: n.datanode_reports())
        ),
        SHOWN_S,
    )


def heal_exclude(lab: Lab, target: str | None) -> None:
    set_excluded(lab, [])
    await_whole(lab)


def break_namenode(lab: Lab, target: str | None) -> None:
    host = host_of(lab, target, "namenode", standby_host(lab))
    lab.kill("namenode", host)


def break_no_active(lab: Lab, target: str | None) -> None:
    """Kill the failover controllers and then the active NameNode: nobody makes the other one active."""
    from bdops.lab import hdfs

    first = active_host(lab)
    for host in hdfs.NAMENODES.values():
        lab.kill("zkfc", host)
    lab.kill("namenode", first)


def break_zkfc(lab: Lab, target: str | None) -> None:
    lab.kill("zkfc", host_of(lab, target, "zkfc", standby_host(lab)))


def break_journalnode(lab: Lab, target: str | None) -> None:
    """Kill a JournalNode, and write: the active NameNode then knows that it is gone."""
    lab.kill("journalnode", host_of(lab, target, "journalnode", "node3"))
    hdfs_web.make_directory(lab, f"{FOLDER}/edit")


def break_full(lab: Lab, target: str | None) -> None:
    """Fill the small volume that one of the data directories of node3 is on, with something that is not HDFS's."""
    from bdops.lab import hdfs

    host = hdfs.SMALL_VOLUME_HOST
    if not lab.has_small_volume("hdfs", host):
        raise UsageError("this lab has no small volume: mounting one takes root")
    filler = filler_file(lab)
    import shutil

    free = shutil.disk_usage(filler.parent).free
    with filler.open("wb") as handle:
        for _ in range(max(0, free - (1 << 20)) >> 16):
            handle.write(bytes(1 << 16))
    address = lab.host(host).address

    def full() -> bool:
        reports = active(lab, lambda n: n.datanode_reports("live"))
        return any(
            v.capacity_bytes and v.remaining_bytes < v.capacity_bytes * 0.05
            for d in reports
            if d.address == address
            for v in d.volumes
        )

    lab.wait("the full volume to be reported", full, SHOWN_S)


def filler_file(lab: Lab) -> Path:
    from bdops.lab import hdfs

    return hdfs.data_dirs(lab, hdfs.SMALL_VOLUME_HOST)[1].parent / "filler"


def heal_full(lab: Lab, target: str | None) -> None:
    filler_file(lab).unlink(missing_ok=True)
    await_whole(lab)


def fail_over(lab: Lab) -> str:
    """Make the standby the active NameNode, by its failover controller; the host of the new active one."""
    host = standby_host(lab)
    with Connection(lab.host(host).address, 8019, user=config.USER, timeout_s=30) as connection:
        FailoverController(connection).graceful_failover(timeout_s=30)
    lab.wait(f"the NameNode of {host} to be active", lambda: active_host(lab) == host, SHOWN_S)
    return host


FAULTS = (
    Fault(
        name="hdfs-safe-mode",
        help="the active NameNode in safe mode: nothing can be written",
        shows=("HDFS_SAFE_MODE",),
        break_it=break_safe_mode,
        heal=heal_safe_mode,
    ),
    Fault(
        name="hdfs-datanode-killed",
        help="a DataNode killed: dead after 12 s, its copies missing",
        shows=("HDFS_DATANODE_DEAD", "HDFS_UNDER_REPLICATED"),
        break_it=break_datanode,
        heal=start_all,
    ),
    Fault(
        name="hdfs-missing-block",
        help="the only copy of a file's block removed",
        shows=("HDFS_MISSING_BLOCKS",),
        break_it=break_only_copy,
        heal=heal_files,
    ),
    Fault(
        name="hdfs-replica-corrupted",
        help="bytes flipped in one of four copies of a block",
        shows=("HDFS_CORRUPT_REPLICAS", "HDFS_UNDER_REPLICATED"),
        break_it=break_replica,
        heal=heal_files,
    ),
    Fault(
        name="hdfs-volume-failed",
        help="a data directory of a DataNode broken",
        shows=("HDFS_VOLUME_FAILED",),
        break_it=break_volume,
        heal=heal_volume,
    ),
    Fault(
        name="hdfs-volume-full",
        help="the small volume of a DataNode filled up",
        shows=("HDFS_DATANODE_FULL",),
        break_it=break_full,
        heal=heal_full,
    ),
    Fault(
        name="hdfs-exclude-left",
        help="a DataNode left in dfs.hosts.exclude",
        shows=("HDFS_DATANODE_LEAVING",),
        break_it=break_exclude,
        heal=heal_exclude,
    ),
    Fault(
        name="hdfs-namenode-killed",
        help="the standby NameNode killed",
        shows=("HDFS_NAMENODE_DOWN",),
        break_it=break_namenode,
        heal=start_all,
    ),
    Fault(
        name="hdfs-no-active",
        help="both failover controllers and the active NameNode killed",
        shows=("HDFS_ACTIVE_NAMENODE", "HDFS_NAMENODE_DOWN", "HDFS_ZKFC_DOWN"),
        break_it=break_no_active,
        heal=start_all,
    ),
    Fault(
        name="hdfs-zkfc-killed",
        help="the standby's failover controller killed",
        shows=("HDFS_ZKFC_DOWN",),
        break_it=break_zkfc,
        heal=start_all,
    ),
    Fault(
        name="hdfs-journalnode-killed",
        help="a JournalNode killed",
        shows=("HDFS_JOURNAL_QUORUM",),
        break_it=break_journalnode,
        heal=start_all,
    ),
)
