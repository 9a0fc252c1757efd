"""Directories of the lab's HDFS as tests make, read and remove them, by bdops' own calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.web_files import WebFiles
from bdops.lab.hdfs_faults import active as on_active
from bdops.lab.lab import Lab


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


def by_hand(program: Path, line: str, **env: str) -> str:
    """Run a command line as a person does on a host where `program` is Hadoop's client; what it said."""
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "PATH": path, **env}, capture_output=True, text=True, timeout=180
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{line}: {said[-4000:]}"
    return said
