"""Kafka's checks. Pure: they see a KafkaState and nothing else."""

from __future__ import annotations

from bdops.components.kafka.checks.backups import CHECKS as BACKUPS
from bdops.components.kafka.checks.balance import CHECKS as BALANCE
from bdops.components.kafka.checks.configuration import CHECKS as CONFIGURATION
from bdops.components.kafka.checks.disks import CHECKS as DISKS
from bdops.components.kafka.checks.groups import CHECKS as GROUPS
from bdops.components.kafka.checks.moves import CHECKS as MOVES
from bdops.components.kafka.checks.partitions import CHECKS as PARTITIONS
from bdops.components.kafka.checks.servers import CHECKS as SERVERS

CHECKS = (*SERVERS, *PARTITIONS, *MOVES, *DISKS, *BALANCE, *CONFIGURATION, *GROUPS, *BACKUPS)
