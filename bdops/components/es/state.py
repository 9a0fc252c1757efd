"""What was observed of an Elasticsearch cluster, as plain frozen data: the only thing that checks and lists see.

Meant to be written by hand too: all that is not needed may be left out. Nodes go by their names (`node.name`),
never by their ids. Times are UTC; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

_STRICT: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedNode:
    """A node of the inventory. `instance` is its inventory name (`prod/es/node2`), `name` its `node.name`."""

    __pydantic_config__ = _STRICT

    instance: str
    name: str
    host: str
    rack: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """What the inventory asks of snapshots; no repository named: any one will do; `proved_max_age_d` None: no proof."""

    __pydantic_config__ = _STRICT

    repositories: tuple[str, ...] = ()
    max_age_h: float = 26.0
    proved_max_age_d: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A data path as its own node sees it. `available_bytes` is what the node's user may still write."""

    __pydantic_config__ = _STRICT

    path: str
    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One instance of the inventory, asked about itself.

    `error` says why it did not answer; the other fields are None then. `error_kind` tells a server that does
    not serve (unreachable) from one that would not have us (not_authorised). `refused`: nothing listens at its port,
    so the process is known to be down, not just silent. `master` is the name of the node that *this* server takes
    for the elected master, "" when it knows none.
    """

    __pydantic_config__ = _STRICT

    instance: str
    name: str
    error: str | None = None
    error_kind: Literal["unreachable", "not_authorised", "unknown"] | None = None
    refused: bool = False
    version: str | None = None
    started_at: datetime | None = None
    master: str | None = None
    heap_used_bytes: int | None = None
    heap_max_bytes: int | None = None
    disks: tuple[Disk, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node that the elected master counts as in the cluster. `ephemeral_id` is another one after each start."""

    __pydantic_config__ = _STRICT

    name: str
    id: str | None = None
    ephemeral_id: str | None = None
    address: str | None = None
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None

    @property
    def holds_data(self) -> bool:
        return any(role == "data" or role.startswith("data_") for role in self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The cluster's own verdict. `timed_out`: the master did not get through its queue in time, so it may be stale."""

    __pydantic_config__ = _STRICT

    status: Literal["green", "yellow", "red"]
    timed_out: bool = False
    nodes: int | None = None
    data_nodes: int | None = None
    active_shards: int | None = None
    relocating_shards: int | None = None
    initializing_shards: int | None = None
    unassigned_shards: int | None = None
    unassigned_primary_shards: int | None = None
    delayed_unassigned_shards: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassigned:
    """Why a shard copy lost, or never got, its node. `reason` is Elasticsearch's (NODE_LEFT, ...)."""

    __pydantic_config__ = _STRICT

    reason: str
    since: datetime | None = None
    details: str | None = None
    delayed: bool = False
    failed_attempts: int = 0
    last_node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One copy of a shard. `node` is the node that holds it, `relocating_to` where it is being moved."""

    __pydantic_config__ = _STRICT

    index: str
    shard: int
    primary: bool
    state: Literal["STARTED", "INITIALIZING", "RELOCATING", "UNASSIGNED"]
    node: str | None = None
    relocating_to: str | None = None
    unassigned: Unassigned | None = None

    @property
    def name(self) -> str:
        """`logs-2026[2] replica`."""
        return f"{self.index}[{self.shard}] {'primary' if self.primary else 'replica'}"

    @property
    def is_active(self) -> bool:
        """A relocating copy is started and in sync until its move is done."""
        return self.state in ("STARTED", "RELOCATING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A rule that keeps a shard copy off a node, in Elasticsearch's words."""

    __pydantic_config__ = _STRICT

    node: str
    decider: str
    explanation: str
    decision: Literal["NO", "THROTTLE"] = "NO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one unassigned copy is not allocated. `can_allocate` is Elasticsearch's (no, allocation_delayed, ...)."""

    __pydantic_config__ = _STRICT

    index: str
    shard: int
    primary: bool
    can_allocate: str
    summary: str
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index: its replicas, its blocks, and its allocation filters (`index.routing.allocation.*`) as they are set.

    `active_for_writes` is `index.write.wait_for_active_shards`, a number or `all`; `from_snapshot`: a searchable
    snapshot, whose data is in its repository.
    """

    __pydantic_config__ = _STRICT

    name: str
    shards: int = 1
    replicas: int = 1
    open: bool = True
    active_for_writes: str = "1"
    from_snapshot: bool = False
    blocks: tuple[str, ...] = ()
    allocation: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Cluster settings that someone set, flat (`cluster.routing.allocation.enable`), and the defaults needed."""

    __pydantic_config__ = _STRICT

    persistent: Mapping[str, str] = field(default_factory=dict)
    transient: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """The value in force: transient goes before persistent, and that before the default."""
        for level in (self.transient, self.persistent, self.defaults):
            if name in level:
                return level[name]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordination:
    """The voting configuration by node name (by id where a node is not in the cluster), and who is excluded from it."""

    __pydantic_config__ = _STRICT

    voting: tuple[str, ...]
    exclusions: tuple[str, ...] = ()
    term: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterStability:
    """The health report's `master_is_stable`: its colour, its words, and who was master lately, newest last."""

    __pydantic_config__ = _STRICT

    status: Literal["green", "yellow", "red", "unknown"]
    symptom: str = ""
    recent_masters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTask:
    """A cluster state update in the master's queue."""

    __pydantic_config__ = _STRICT

    source: str
    priority: str = "NORMAL"
    waited_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTasks:
    """How many wait, and those that wait longest (a part of them when there are many)."""

    __pydantic_config__ = _STRICT

    count: int
    oldest: tuple[PendingTask, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot of a repository. Only SUCCESS is a good one."""

    __pydantic_config__ = _STRICT

    name: str
    state: str
    started_at: datetime
    ended_at: datetime | None = None
    indices: tuple[str, ...] = ()
    failed_shards: int = 0
    total_shards: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSnapshot:
    """A snapshot that is being taken, and the shards (`logs-2026[2]`) that each node still has to write for it."""

    __pydantic_config__ = _STRICT

    repository: str
    name: str
    writing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A snapshot repository, with its newest snapshots, newest first, at least as far back as the newest good one.

    `error`: it could not be read. `complete`: False when the search for a good snapshot gave up before the oldest.
    `proved_at`: when a restore of one of its snapshots was last proved (`bdops es snapshot drill`).
    """

    __pydantic_config__ = _STRICT

    name: str
    type: str = "fs"
    error: str | None = None
    snapshots: tuple[Snapshot, ...] = ()
    complete: bool = True
    proved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSize:
    """What one copy holds on its node."""

    __pydantic_config__ = _STRICT

    index: str
    shard: int
    node: str
    docs: int
    store_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EsState:
    """An Elasticsearch cluster as it was observed at `taken_at`. None: not read; `unread` says why."""

    __pydantic_config__ = _STRICT

    component: Literal["es"] = "es"
    version: Literal[1] = 1
    cluster: str
    taken_at: datetime
    unread: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[ExpectedNode, ...] | None = None
    snapshot_policy: SnapshotPolicy | None = None
    cluster_uuid: str | None = None
    servers: tuple[Server, ...] | None = None
    master: str | None = None
    """The elected master's node name, as the cluster state has it."""
    members: tuple[Member, ...] | None = None
    health: Health | None = None
    shards: tuple[Shard, ...] | None = None
    sizes: tuple[ShardSize, ...] | None = None
    explanations: tuple[Explanation, ...] | None = None
    indices: tuple[Index, ...] | None = None
    cluster_blocks: tuple[str, ...] | None = None
    settings: ClusterSettings | None = None
    coordination: Coordination | None = None
    stability: MasterStability | None = None
    pending_tasks: PendingTasks | None = None
    repositories: tuple[Repository, ...] | None = None
    running_snapshots: tuple[RunningSnapshot, ...] | None = None
