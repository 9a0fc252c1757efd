"""Directories of the lab's HDFS as tests make, read and remove them, by bdops' own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.web_files import WebFiles
from bdops.lab import hdfs
from bdops.lab.lab import Lab

T = TypeVar("T")


def on_active(lab: Lab, call: Callable[[NameNode], T]) -> T:
    service = hdfs.nameservice(lab)
    try:
        return service.on_active(call)
    finally:
        service.close()


def take_snapshot(lab: Lab, root: str, name: str) -> None:
    """Make one without bdops' jobs, where the making is not the matter."""
    on_active(lab, lambda n: calls.create_snapshot(n, root, name))


def read(lab: Lab, path: str) -> bytes:
    return b"".join(WebFiles.of(lab.deployment("hdfs")).read(path))


def remove(lab: Lab, *paths: str) -> None:
    """Directories, with their snapshots."""

    def on_namenode(namenode: NameNode) -> None:
        for root in calls.snapshot_roots(namenode):
            if root.path in paths:
                for one in calls.snapshots_of(namenode, root.path):
                    calls.delete_snapshot(namenode, root.path, one.name)
                calls.disallow_snapshots(namenode, root.path)
        for path in paths:
            calls.delete_path(namenode, path)

    on_active(lab, on_namenode)
