"""The HDFS checks, in the order in which an operator looks: who serves, is data lost, who holds it, is it safe."""

from __future__ import annotations

from bdops.components.hdfs.checks import backups, blocks, datanodes, journals, namenodes
from bdops.components.hdfs.state import HdfsState
from bdops.core.checks import Check

CHECKS: tuple[Check[HdfsState], ...] = (
    *namenodes.CHECKS,
    *journals.CHECKS,
    *blocks.CHECKS,
    *datanodes.CHECKS,
    *backups.CHECKS,
)
