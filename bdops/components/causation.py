"""What can explain what, over all components: the tiers from the machine up to the clients, and the rules between them.

Sources: the meaning of each check (docs/checks.md). A host without disk stops the service, the server is gone, the
quorum and the replicas miss it, and the clients wait.
"""

from __future__ import annotations

from bdops.core.why import Causation

_TIERS = (
    # The machine.
    ("HOST_REACHABLE", "HOST_DISK_USE", "HOST_INODE_USE"),
    # Its disks and memory, as the server sees them.
    (
        "KAFKA_DISK_USE", "ES_DISK", "HDFS_DATANODE_FULL", "HDFS_CAPACITY", "ES_HEAP", "HDFS_NAMENODE_HEAP",
        "ZK_FILE_DESCRIPTORS", "ZK_DATA_SIZE",
    ),
    ("KAFKA_LOG_DIR_OFFLINE", "HDFS_VOLUME_FAILED", "HDFS_NAME_DIR_FAILED"),
    # Somebody's settings.
    ("ES_ALLOCATION_SETTINGS", "ES_ALLOCATION_EXCLUDES", "KAFKA_THROTTLE_LEFT", "HDFS_DATANODE_LEAVING"),
    # The process.
    ("HOST_SERVICE",),
    # The server, as itself and then as the others see it.
    ("KAFKA_SERVER_UNREACHABLE", "ZK_SERVER_DOWN", "ES_NODES", "HDFS_NAMENODE_DOWN", "HDFS_ZKFC_DOWN"),
    (
        "KAFKA_BROKER_MISSING", "KAFKA_BROKER_FENCED", "HDFS_DATANODE_MISSING", "HDFS_DATANODE_DEAD",
        "HDFS_DATANODE_STALE", "HDFS_JOURNAL_QUORUM", "ZK_LATENCY", "ZK_OUTSTANDING_REQUESTS",
    ),
    # Who leads, and who follows.
    ("ZK_QUORUM", "KAFKA_QUORUM", "ES_MASTER_QUORUM", "HDFS_JOURNAL_LAG", "HDFS_STANDBY_LAG"),
    ("ZK_LEADER", "ZK_SYNCED_FOLLOWERS", "KAFKA_VOTER_LAG", "ES_MASTER", "HDFS_ACTIVE_NAMENODE"),
    ("ZK_ZXID_LAG", "ZK_PENDING_SYNCS", "ES_PENDING_TASKS"),
    # The data.
    (
        "KAFKA_UNDER_REPLICATED", "HDFS_UNDER_REPLICATED", "HDFS_CORRUPT_REPLICAS", "ES_UNASSIGNED_SHARDS",
        "ES_READ_ONLY_BLOCK",
    ),
    ("KAFKA_AT_MIN_ISR", "KAFKA_UNDER_MIN_ISR", "HDFS_MISSING_BLOCKS", "HDFS_EC_GROUPS", "KAFKA_REASSIGNMENT_STUCK"),
    ("KAFKA_OFFLINE_PARTITIONS", "HDFS_PENDING", "HDFS_SAFE_MODE", "ES_STATUS", "KAFKA_OFF_PREFERRED"),
    # The clients.
    ("KAFKA_GROUP_STOPPED", "KAFKA_GROUP_STALLED", "KAFKA_GROUP_LAGGING"),
)  # fmt: skip

STANDING_ALONE = frozenset({
    "HOST_CLOCK_SKEW",
    "ZK_INTERFACES", "ZK_CONFIG", "ZK_VERSION_SKEW", "ZK_WATCHES",
    "ZK_BACKUP_AGE", "ZK_BACKUP_FAILED", "ZK_BACKUP_PROVED_AGE",
    "KAFKA_BROKER_UNKNOWN", "KAFKA_DISK_SKEW", "KAFKA_LEADER_SKEW", "KAFKA_REPLICA_SKEW", "KAFKA_RF_LOW",
    "KAFKA_UNCLEAN_ELECTION", "KAFKA_GROUP_REWOUND",
    "KAFKA_BACKUP_AGE", "KAFKA_BACKUP_FAILED", "KAFKA_BACKUP_PROVED_AGE",
    "HDFS_CHECKPOINT_AGE", "HDFS_DATANODE_UNKNOWN", "HDFS_SKEW", "HDFS_BLOCK_REPORT_AGE", "HDFS_SNAPSHOT_LIMIT",
    "HDFS_BACKUP_AGE", "HDFS_IMAGE_AGE", "HDFS_BACKUP_FAILED", "HDFS_BACKUP_PROVED_AGE",
    "ES_SHARD_LIMIT", "ES_SHARD_SKEW", "ES_SNAPSHOT_RUNNING",
    "ES_BACKUP_AGE", "ES_BACKUP_FAILED", "ES_BACKUP_PROVED_AGE",
})  # fmt: skip
"""Codes that explain nothing and are explained by nothing here: a test wants each code in one of the two."""

CAUSATION = Causation(
    tiers={code: tier for tier, codes in enumerate(_TIERS) for code in codes},
    only_critical=frozenset(
        {
            "HOST_DISK_USE", "HOST_INODE_USE", "KAFKA_DISK_USE", "ES_DISK", "HDFS_DATANODE_FULL", "HDFS_CAPACITY",
            "ES_HEAP", "HDFS_NAMENODE_HEAP", "ZK_FILE_DESCRIPTORS", "ZK_DATA_SIZE", "ZK_LATENCY",
            "ZK_OUTSTANDING_REQUESTS",
        }
    ),
    by_place_up_to=next(tier for tier, codes in enumerate(_TIERS) if "KAFKA_BROKER_FENCED" in codes),
    same_object={
        "KAFKA_AT_MIN_ISR": ("KAFKA_UNDER_REPLICATED",),
        "KAFKA_UNDER_MIN_ISR": ("KAFKA_UNDER_REPLICATED",),
        "ES_STATUS": ("ES_UNASSIGNED_SHARDS",),
        **dict.fromkeys(
            _TIERS[-1], ("KAFKA_OFFLINE_PARTITIONS", "KAFKA_UNDER_MIN_ISR", "KAFKA_UNDER_REPLICATED")
        ),
    },
    cluster_wide={
        "KAFKA_UNDER_REPLICATED": ("KAFKA_THROTTLE_LEFT",),
        "KAFKA_OFFLINE_PARTITIONS": ("KAFKA_QUORUM",),
        "KAFKA_REASSIGNMENT_STUCK": ("KAFKA_QUORUM",),
        "HDFS_ACTIVE_NAMENODE": ("HDFS_JOURNAL_QUORUM", "ZK_QUORUM"),
        "HDFS_SAFE_MODE": ("HDFS_MISSING_BLOCKS", "HDFS_DATANODE_DEAD", "HDFS_DATANODE_MISSING"),
        "ES_MASTER": ("ES_MASTER_QUORUM",),
        "ES_UNASSIGNED_SHARDS": ("ES_ALLOCATION_SETTINGS", "ES_ALLOCATION_EXCLUDES", "ES_MASTER"),
        "ES_STATUS": ("ES_MASTER", "ES_MASTER_QUORUM"),
        "ES_PENDING_TASKS": ("ES_MASTER", "ES_MASTER_QUORUM"),
    },
    any_severity=frozenset({"KAFKA_THROTTLE_LEFT", "ES_ALLOCATION_SETTINGS", "ES_ALLOCATION_EXCLUDES"}),
)  # fmt: skip
