"""What the inventory may say of HDFS: one nameservice, its roles and their ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class HdfsRules(RestartRules):
    """The numbers of the gates and verifications of HDFS.

    gate_timeout_s: longer than elsewhere, for the NameNode replaces stale and missing copies in its own time.
    contact_age_s: a DataNode that the NameNode has not heard of for longer does not count as serving.
    standby_lag_txns: with more transactions to apply a standby does not count as ready to take over.
    journal_lag_txns: with more to write a JournalNode does not count as caught up.
    blocks_share: the part of its blocks that a DataNode must have again after its restart.
    pending_slack: so many more copies may be on the way than before: blocks being written count as such for a moment
    (BlockManager.addExpectedReplicasToPending, HDFS-11755).
    surveyed_files, survey_timeout_s: how far the walk goes that looks for files of one copy; what it did not see
    is unknown, and hence refused.
    """

    gate_timeout_s: float = 600.0
    contact_age_s: float = 10.0
    standby_lag_txns: int = 1_000_000
    journal_lag_txns: int = 10_000
    blocks_share: float = 0.99
    pending_slack: int = 20
    surveyed_files: int = 5_000_000
    survey_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One type for all roles; a port that a role does not use is ignored. Ports are Hadoop 3's defaults.

    `nameservice` is `dfs.nameservices` and, in the URI of the shared edits, the journal's name unless
    `journal_id` says otherwise. `nn_id` is a NameNode's id (`dfs.ha.namenodes.*`). `user` is the name that
    RPC and HTTP calls state: an HDFS superuser. `http_scheme` is `https` where `dfs.http.policy` is HTTPS_ONLY,
    and `ca_file` then the PEM that signed the servers' certificates. `named_objects` bounds how many corrupt
    files and under-replicated blocks are named; `scanned_files` how many files are looked at to find the latter.
    `restart` are the numbers of restarts and their gates.

    `snapshot_dirs` are the directories that snapshots are kept of, the first one the default destination;
    `snapshot_catalogue` the directory in HDFS where bdops notes what it knows of snapshots (the superuser's alone),
    and where drills copy to. `hadoop_command` is Hadoop's own program on the cluster's hosts, by which restores copy: a
    path, or a name that is looked up there. `image_dir` is the folder, on the machine that runs bdops, for images of
    the NameNode, `hadoop_home` an unpacked Hadoop there, whose jars a drill of one runs; null means the lab's jars.
    `snapshot_max_age_h`, `image_max_age_h`: the newest good one may be so old before it is a warning; critical at
    twice the age. `backup_proved_max_age_d`: the last proof may be so many days old; None: none is asked for.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    nameservice: str = "hdfs"
    journal_id: str | None = None
    nn_id: str | None = None
    user: str = "hdfs"
    security: Literal["simple", "kerberos"] = "simple"
    http_scheme: Literal["http", "https"] = "http"
    ca_file: str | None = None
    rpc_port: int = 8020
    http_port: int = 9870
    data_port: int = 9866
    ipc_port: int = 9867
    data_dirs: tuple[str, ...] = ()
    log_dir: str | None = None
    named_objects: int = 1000
    scanned_files: int = 10_000
    snapshot_dirs: tuple[str, ...] = ()
    snapshot_catalogue: str = "/.bdops"
    snapshot_max_age_h: float = 26.0
    hadoop_command: str = "hadoop"
    image_dir: str | None = None
    hadoop_home: str | None = None
    image_max_age_h: float = 26.0
    backup_proved_max_age_d: float | None = None
    restart: HdfsRules = HdfsRules()


SETTINGS = ComponentSettings(
    type=Settings,
    roles=(
        Role(name="namenode", ports=("rpc_port", "http_port"), defaults={"rpc_port": 8020, "http_port": 9870}),
        Role(name="zkfc", ports=("rpc_port",), defaults={"rpc_port": 8019}),
        Role(name="journalnode", ports=("rpc_port", "http_port"), defaults={"rpc_port": 8485, "http_port": 8480}),
        Role(name="datanode", ports=("data_port", "ipc_port", "http_port"), defaults={"http_port": 9864}),
    ),
    shared_process=False,
)
