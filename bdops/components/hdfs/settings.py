"""What the inventory may say of HDFS: one nameservice, its roles and their ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bdops.core.component import ComponentSettings, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One type for all roles; a port that a role does not use is ignored. Ports are Hadoop 3's defaults.

    `nameservice` is `dfs.nameservices` and, in the URI of the shared edits, the journal's name unless
    `journal_id` says otherwise. `nn_id` is a NameNode's id (`dfs.ha.namenodes.*`). `user` is the name that
    RPC and HTTP calls state: an HDFS superuser. `http_scheme` is `https` where `dfs.http.policy` is HTTPS_ONLY,
    and `ca_file` then the PEM that signed the servers' certificates. `named_objects` bounds how many corrupt
    files and under-replicated blocks are named; `scanned_files` how many files are looked at to find the latter.
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
