"""Data for the lab's HDFS: files of several sizes and replication factors, and an erasure-coded folder."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bdops.core.units import format_size, plural
from bdops.lab import hdfs_web

if TYPE_CHECKING:
    from bdops.lab.lab import Lab
    from bdops.lab.recipe import Say

EC_POLICY = "XOR-2-1-1024k"
"""The one built-in policy that four DataNodes on two racks suffice for."""
EC_FOLDER = "/data/archive"
WRITERS = 4


def load(lab: Lab, factor: float, say: Say) -> None:
    """About a hundred files, 75 MB before copies, for a factor of 1."""
    from bdops.lab import hdfs

    service = hdfs.nameservice(lab)
    try:
        service.on_active(lambda n: n.enable_ec_policy(EC_POLICY))
        hdfs_web.make_directory(lab, EC_FOLDER)
        service.on_active(lambda n: n.set_ec_policy(EC_FOLDER, EC_POLICY))
    finally:
        service.close()
    # A name, a size, a replication factor; what everybody reads (a join's small side) has a copy everywhere.
    files = [
        *((f"/data/orders/part-{n:05}", 3_300_000, 3) for n in range(max(1, int(12 * factor)))),
        *((f"/data/clicks/2026-11-{n % 28 + 1:02}/{n:05}.json", 20_000, 2) for n in range(max(1, int(60 * factor)))),
        *((f"/data/reference/countries-{n:02}.csv", 400_000, 4) for n in range(max(1, int(4 * factor)))),
        *((f"{EC_FOLDER}/2025-{n + 1:02}.tar", 4_500_000, 1) for n in range(max(1, int(6 * factor)))),
    ]
    blob = random.Random(1).randbytes(max(size for _, size, _ in files))

    def put(file: tuple[str, int, int]) -> int:
        path, size_bytes, replication = file
        hdfs_web.write(lab, path, blob[:size_bytes], replication=replication)
        return size_bytes

    with ThreadPoolExecutor(WRITERS) as pool:
        written = sum(pool.map(put, files))
    say(f"HDFS: {plural(len(files), 'file')} written, {format_size(written)} before copies")
