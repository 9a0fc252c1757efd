"""Is there a snapshot where the inventory wants some, is it whole, and has a restore proved one?"""

from __future__ import annotations

from bdops.components.backup_standing import backup_checks
from bdops.components.zk.state import ZkState
from bdops.core.checks import Check

CHECKS: tuple[Check[ZkState], ...] = backup_checks("zk")
