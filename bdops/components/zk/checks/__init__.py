"""ZooKeeper's checks."""

from __future__ import annotations

from bdops.components.zk.checks import backups, load, quorum, servers
from bdops.components.zk.state import ZkState
from bdops.core.checks import Check

CHECKS: tuple[Check[ZkState], ...] = (*quorum.CHECKS, *servers.CHECKS, *load.CHECKS, *backups.CHECKS)
