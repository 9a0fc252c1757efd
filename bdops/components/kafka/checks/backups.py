"""Is there a backup of the metadata where the inventory wants some, is it whole, and has a restore proved one?"""

from __future__ import annotations

from bdops.components.backup_standing import backup_checks
from bdops.components.kafka.state import KafkaState
from bdops.core.checks import Check

CHECKS: tuple[Check[KafkaState], ...] = backup_checks("kafka")
