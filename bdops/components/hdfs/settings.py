"""What the inventory may say of HDFS: one nameservice, its roles and their ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bdops.core.actor import RestartRules
from bdops.core.component import ComponentSettings, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class HdfsRules(RestartRules):
    """The numbers of the gates and verifications of HDFS."""

    gate_timeout_s: float = 600.0
    """How long a gate that says `wait` is asked again before it counts as a refusal; longer than elsewhere, for the
    NameNode replaces stale and missing copies in its own time."""
    contact_age_s: float = 10.0
    """A DataNode that the NameNode has not heard of for longer does not count as serving."""
    standby_lag_txns: int = 1_000_000
    """With more transactions to apply a standby does not count as ready to take over."""
    journal_lag_txns: int = 10_000
    """With more transactions to write a JournalNode does not count as caught up."""
    blocks_share: float = 0.99
    """The part of its blocks that a DataNode must have again after its restart."""
    pending_slack: int = 20
    """So many more copies may be on the way than before: blocks being written count as such for a moment
    (BlockManager.addExpectedReplicasToPending, HDFS-11755)."""
    surveyed_files: int = 5_000_000
    """How many files the walk looks at that finds files of one copy; what it did not see is unknown, and hence
    refused."""
    survey_timeout_s: float = 60.0
    """How long that walk may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One type for all roles; a port that a role does not use is ignored. Ports are Hadoop 3's defaults."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    nameservice: str = "hdfs"
    """`dfs.nameservices`."""
    journal_id: str | None = None
    """The journal's name in the URI of the shared edits; null: that of the nameservice."""
    nn_id: str | None = None
    """A NameNode's id, of `dfs.ha.namenodes.*`; for a NameNode's instance."""
    user: str = "hdfs"
    """The name that RPC and HTTP calls state: an HDFS superuser."""
    security: Literal["simple", "kerberos"] = "simple"
    """`hadoop.security.authentication`; kerberos is not supported, and is refused in words."""
    http_scheme: Literal["http", "https"] = "http"
    """https where `dfs.http.policy` is HTTPS_ONLY."""
    ca_file: str | None = None
    """The PEM file of the authority that signed the servers' certificates; null: the system's."""
    rpc_port: int = 8020
    """The port of the role's RPC."""
    http_port: int = 9870
    """The port of the role's web server, of either scheme."""
    data_port: int = 9866
    """The port at which a DataNode hands out and takes blocks."""
    ipc_port: int = 9867
    """The port of a DataNode's own RPC."""
    data_dirs: tuple[str, ...] = ()
    """The role's data folders on the host: whose disks are checked."""
    log_dir: str | None = None
    """The folder on the host with the servers' own log files: its disk is checked, and `bdops host look` brings
    their ends."""
    named_objects: int = 1000
    """How many corrupt files and under-replicated blocks are named at the most."""
    scanned_files: int = 10_000
    """How many files are looked at to find under-replicated blocks."""
    snapshot_dirs: tuple[str, ...] = ()
    """The directories in HDFS that snapshots are kept of, the first one the default destination."""
    snapshot_catalogue: str = "/.bdops"
    """The directory in HDFS where bdops notes what it knows of snapshots (the superuser's alone), and where drills copy
    to."""
    snapshot_max_age_h: float = 26.0
    """How old the newest good snapshot may be before it is a warning; critical at twice the age."""
    hadoop_command: str = "hadoop"
    """Hadoop's own program on the cluster's hosts, by which restores copy: a path, or a name to be looked up."""
    image_dir: str | None = None
    """The folder, on the machine that bdops runs on, for images of the NameNode."""
    hadoop_home: str | None = None
    """An unpacked Hadoop on that machine, whose jars the drill of an image runs; null: the lab's jars."""
    image_max_age_h: float = 26.0
    """How old the newest good image may be before it is a warning; critical at twice the age."""
    backup_proved_max_age_d: float | None = None
    """How old the last drill that proved a snapshot may be; null: none is asked for."""
    restart: HdfsRules = HdfsRules()
    """How patient a restart is, and the numbers of its gates."""


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
