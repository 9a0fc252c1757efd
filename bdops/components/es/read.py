"""Reads an Elasticsearch cluster: every node about itself, and one node that answers about the cluster.

Calls that fan out to all nodes (`_nodes/stats`, `_cat/shards`) are never made: one paused node would hang them. So
each node is asked for its own figures, and what concerns the cluster comes from the elected master's state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from bdops.components.es import parse
from bdops.components.es.client import CONNECTION_REFUSED, Node, escape, node_name
from bdops.components.es.settings import Settings
from bdops.components.es.snapshot.parse import PROVED_MARKS, last_proof
from bdops.components.es.state import (
    Disk,
    EsState,
    ExpectedNode,
    Explanation,
    Repository,
    Server,
    Shard,
    ShardSize,
    SnapshotPolicy,
)
from bdops.components.reading import read_all, why_unread
from bdops.core.model import Deployment, Instance
from bdops.errors import BdopsError, NotAuthorised, StateUnknown, Unreachable

MAX_EXPLANATIONS = 24
"""Explain calls a run: each costs the master a simulation, and shards of one cause have one explanation."""
SNAPSHOT_PAGE = 25
SNAPSHOT_PAGES = 8
MARGIN_S = 0.2
"""What is left of the time for parsing, so that an answer at the last moment still counts."""

CLUSTER_STATE = (
    *("cluster_uuid", "master", "members", "shards", "indices", "cluster_blocks", "coordination"),
    "running_snapshots",
)
READINGS = frozenset(
    (*CLUSTER_STATE, "servers", "sizes", "health", "explanations", "settings", "stability", "pending_tasks")
) | {"repositories"}

GO_ALONG = {"shards": "explanations", "servers": "stability"}
"""Readings that checks use where they are to be had, without needing them."""

_NONE_BROKEN: Mapping[str, BdopsError] = {}

_STATE_FILTER = (
    "cluster_uuid,master_node,nodes.*.name,nodes.*.ephemeral_id,nodes.*.transport_address,nodes.*.roles,"
    "nodes.*.attributes,nodes.*.version,snapshots,blocks,metadata.cluster_coordination,metadata.indices.*.settings,metadata.indices.*.state,"
    "routing_table.indices.*.shards"
)


def read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> EsState:
    """The state of a live cluster. Never raises for a server: what it did not tell is None, and `unread` says why."""
    wanted = READINGS if readings is None else readings & READINGS
    wanted |= {extra for reading, extra in GO_ALONG.items() if reading in wanted}
    nodes: dict[str, Node] = {}
    broken: dict[str, BdopsError] = {}
    for instance in deployment.instances:
        try:
            nodes[instance.name] = Node(instance)
        except BdopsError as e:
            broken[instance.name] = e
    return read_through(nodes, deployment, wanted, timeout_s=timeout_s, broken=broken)


def read_through(
    nodes: Mapping[str, Node],
    deployment: Deployment,
    wanted: frozenset[str],
    *,
    timeout_s: float,
    broken: Mapping[str, BdopsError] = _NONE_BROKEN,
) -> EsState:
    """These readings and no others, through clients (by instance) that are there already.

    Without `servers` each node is asked for its master alone, in one small request: no version, heap or disks.
    `broken` are the instances for which no client could be made.
    """
    unread: dict[str, str] = {}
    servers = {i.name: _silent(i, broken[i.name], "unknown") for i in deployment.instances if i.name in broken}
    reader = _Reader(nodes, time.monotonic() + timeout_s)
    ask = reader.server if "servers" in wanted else reader.pulse
    own = {f"server {name}": _bind(ask, node) for name, node in nodes.items()}
    if "servers" in wanted:
        own |= {f"disks {name}": _bind(reader.disks, node) for name, node in nodes.items()}
    if "sizes" in wanted:
        own |= {f"sizes {name}": _bind(reader.sizes, node) for name, node in nodes.items()}
    shared = reader.cluster_tasks(wanted) if nodes else {}
    got = read_all({**own, **shared}, timeout_s=timeout_s)
    for instance in deployment.instances:
        key = f"server {instance.name}"
        if key in got.values:
            servers[instance.name] = got.values[key]
        elif key in got.unread:
            kind = reader.kinds.get(instance.name, "unreachable")
            servers[instance.name] = _silent(instance, got.unread[key], kind, instance.name in reader.refused)
        error, host = servers[instance.name].error, instance.host.name
        if error:
            unread[f"servers/{host}"] = error
        elif (disks := f"disks {instance.name}") in got.values:
            servers[instance.name] = replace(servers[instance.name], disks=got.values[disks])
        elif disks in got.unread:
            unread[f"disks/{host}"] = f"{got.unread[disks]} (a node asks the elected master before it tells)"
    names = reader.names
    fields: dict[str, Any] = {
        "servers": tuple(
            replace(s, master=names.get(s.master, s.master)) if s.master else s
            for s in (servers[i.name] for i in deployment.instances)
        )
    }
    if "sizes" in wanted:
        fields["sizes"], lost = _gathered_sizes(got.values, got.unread)
        unread |= lost
    for name in sorted(wanted - {"servers", "sizes"}):
        task = "state" if name in CLUSTER_STATE else name
        if task in got.values:
            fields[name] = getattr(got.values[task], name) if task == "state" else got.values[task]
        else:
            unread[name] = got.unread.get(task) or "no node of the inventory could be asked"
    settings: Settings = deployment.settings
    return EsState(
        cluster=deployment.cluster,
        taken_at=datetime.now(UTC),
        unread=unread,
        expected=tuple(_expected(i) for i in deployment.instances),
        snapshot_policy=SnapshotPolicy(
            repositories=settings.snapshot_repositories,
            max_age_h=settings.snapshot_max_age_h,
            proved_max_age_d=settings.backup_proved_max_age_d,
        ),
        **fields,
    )


def read_disks(nodes: Mapping[str, Node], *, timeout_s: float) -> dict[str, tuple[Disk, ...]]:
    """The disks of these nodes, by instance; those that do not tell in time are absent."""
    reader = _Reader(nodes, time.monotonic() + timeout_s)
    return dict(read_all({n: _bind(reader.disks, node) for n, node in nodes.items()}, timeout_s=timeout_s).values)


def with_explanations(deployment: Deployment, state: EsState, index: str, *, timeout_s: float) -> EsState:
    """The state with the explanations of one index (or pattern) as well, again up to a limit."""
    known = {(e.index, e.shard, e.primary) for e in state.explanations or ()}
    mine = [s for s in state.shards or () if fnmatchcase(s.index, index)]
    asked = [s for s in worth_explaining(mine, MAX_EXPLANATIONS) if (s.index, s.shard, s.primary) not in known]
    answering = {s.instance for s in state.servers or () if s.error is None}
    instance = next((i for i in deployment.instances if i.name in answering), None)
    if not asked or instance is None:
        return state
    reader = _Reader({instance.name: Node(instance)}, time.monotonic() + timeout_s)
    more = reader.explain(Node(instance), asked)
    return replace(state, explanations=(*(state.explanations or ()), *more))


class _Reader:
    """One run of reading. The first node that answers and knows a master is the entry for the cluster's readings."""

    def __init__(self, nodes: Mapping[str, Node], deadline: float) -> None:
        self._nodes = nodes
        self._deadline = deadline
        self.kinds: dict[str, Any] = {}
        self.refused: set[str] = set()
        self._entry: Node | None = None
        self._without_master: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._changed = threading.Condition()
        self._state: parse.ClusterState | None = None
        self._state_error: BaseException | None = None
        self._state_done = threading.Event()

    def left_s(self) -> float:
        return max(0.1, self._deadline - time.monotonic() - MARGIN_S)

    @property
    def names(self) -> dict[str, str]:
        """Node names by their ids, as the cluster state has them; empty when it was not read."""
        return {m.id: m.name for m in self._state.members if m.id} if self._state else {}

    # Each node about itself

    def pulse(self, node: Node) -> Server:
        """That it answers, and whom it takes for the master: by id, which the cluster state has the name of."""
        with self._noted(node):
            view = node.get(
                "_cluster/state/master_node",
                {"local": "true", "filter_path": "master_node"},
                timeout_s=self.left_s(),
            )
            self._offer(node, knows_master=bool(view.get("master_node")))
            return Server(instance=node.instance, name=node.name, master=view.get("master_node") or "")

    def server(self, node: Node) -> Server:
        with self._noted(node):
            view = node.get(
                "_cluster/state/master_node,nodes",
                {"local": "true", "filter_path": "master_node,nodes.*.name"},
                timeout_s=self.left_s(),
            )
            self._offer(node, knows_master=bool(view.get("master_node")))
            info = node.get("_nodes/_local/jvm", timeout_s=self.left_s())
            stats = node.get(
                "_nodes/_local/stats/jvm", {"filter_path": "nodes.*.jvm.mem.heap_*"}, timeout_s=self.left_s()
            )
            return _parsed(node, lambda: parse.server(node.instance, node.name, info, stats, view))

    @contextmanager
    def _noted(self, node: Node) -> Iterator[None]:
        """An error of the node is told to those who wait for one that answers."""
        try:
            yield
        except BdopsError as e:
            with self._changed:
                self._failures[node.instance] = why_unread(e)
                self.kinds[node.instance] = _kind(e)
                if e.code == CONNECTION_REFUSED:
                    self.refused.add(node.instance)
                self._changed.notify_all()
            raise

    def disks(self, node: Node) -> tuple[Disk, ...]:
        """Apart from the rest: to add its watermarks a node asks the elected master, and hangs when that hangs."""
        stats = node.get("_nodes/_local/stats/fs", {"filter_path": "nodes.*.fs.data"}, timeout_s=self.left_s())
        return _parsed(node, lambda: parse.disks(stats))

    def sizes(self, node: Node) -> tuple[ShardSize, ...]:
        shard = "nodes.*.indices.shards.*.*"
        stats = node.get(
            "_nodes/_local/stats/indices",
            {"level": "shards", "filter_path": f"nodes.*.name,{shard}.docs.count,{shard}.store.size_in_bytes"},
            timeout_s=self.left_s(),
        )
        return _parsed(node, lambda: parse.sizes(node.name, stats))

    def _offer(self, node: Node, *, knows_master: bool) -> None:
        with self._changed:
            if knows_master and self._entry is None:
                self._entry = node
            elif not knows_master:
                self._without_master[node.instance] = node.name
            self._changed.notify_all()

    def entry(self) -> Node:
        """Waits for a node that answers and knows a master. Raises Unreachable with what each of them said."""
        with self._changed:
            while self._entry is None:
                told = self._failures.keys() | self._without_master.keys()
                left = self._deadline - time.monotonic() - MARGIN_S
                if len(told) == len(self._nodes) or left <= 0:
                    raise self._no_entry()
                self._changed.wait(left)
            return self._entry

    def _no_entry(self) -> BdopsError:
        if self._without_master:
            return StateUnknown(f"no elected master: {', '.join(sorted(self._without_master.values()))} know of none")
        reasons = sorted(set(self._failures.values())) or ["no answer in time"]
        kind = NotAuthorised if set(self.kinds.values()) == {"not_authorised"} else Unreachable
        return kind(f"no node answers: {'; '.join(reasons[:3])}")

    # The cluster, asked through the entry

    def cluster_tasks(self, wanted: Iterable[str]) -> dict[str, Callable[[], Any]]:
        simple: dict[str, Callable[[], Any]] = {
            "health": self.health,
            "settings": self.settings,
            "stability": self.stability,
            "pending_tasks": self.pending_tasks,
            "repositories": self.repositories,
            "explanations": self.explanations,
        }
        tasks = {name: task for name, task in simple.items() if name in wanted}
        if any(name in CLUSTER_STATE for name in wanted) or "explanations" in wanted:
            tasks["state"] = self.cluster_state
        return tasks

    def _get(self, path: str, params: Mapping[str, str | int], parser: Callable[[Any], Any]) -> Any:
        node = self.entry()
        left = self.left_s()
        with _behind(node):
            body = node.get(path, {**params, "master_timeout": f"{int(left * 900)}ms"}, timeout_s=left)
        return _parsed(node, lambda: parser(body))

    def cluster_state(self) -> parse.ClusterState:
        try:
            self._state = self._get(
                "_cluster/state/master_node,nodes,metadata,routing_table,blocks,customs",
                {"flat_settings": "true", "filter_path": _STATE_FILTER, "expand_wildcards": "all"},
                parse.cluster_state,
            )
        except BaseException as e:
            self._state_error = e
            raise
        finally:
            self._state_done.set()
        assert self._state is not None
        return self._state

    def health(self) -> Any:
        # Languid events are last in the master's queue: an answer in time shows that the queue is being worked off.
        wait_ms = int(min(3.0, self.left_s() / 2) * 1000)
        node = self.entry()
        params = {"wait_for_events": "languid", "timeout": f"{wait_ms}ms"}
        with _behind(node):
            answer = node.request("GET", "_cluster/health", params, timeout_s=self.left_s())
        if answer.status not in (200, 408) or not isinstance(answer.body, dict):
            raise StateUnknown(f"the cluster's health is not to be had: HTTP {answer.status}", where=node.where)
        return _parsed(node, lambda: parse.health(answer.body))

    def settings(self) -> Any:
        defaults = ",".join(f"defaults.{name.replace('.', '*')}" for name in parse.DEFAULTS_NEEDED)
        params = {
            "flat_settings": "true",
            "include_defaults": "true",
            "filter_path": f"persistent,transient,{defaults}",
        }
        return self._get("_cluster/settings", params, parse.settings)

    def stability(self) -> Any:
        node = self.entry()
        body = node.get("_health_report/master_is_stable", {"verbose": "true"}, timeout_s=self.left_s())
        return _parsed(node, lambda: parse.stability(body))

    def pending_tasks(self) -> Any:
        return self._get("_cluster/pending_tasks", {}, parse.pending_tasks)

    def repositories(self) -> tuple[Repository, ...]:
        registered = self._get("_snapshot", {}, lambda body: {name: r["type"] for name, r in body.items()})
        found = (self._repository(name, registered[name]) for name in sorted(registered))
        return tuple(r if r.error else replace(r, proved_at=self._proved_at(r.name)) for r in found)

    def _proved_at(self, name: str) -> datetime | None:
        """When a restore of one of its snapshots was last proved, by the newest mark."""
        params: dict[str, str | int] = {"sort": "start_time", "order": "desc", "size": 1}
        return self._get(f"_snapshot/{escape(name)}/{PROVED_MARKS}", params, last_proof)

    def _repository(self, name: str, kind: str) -> Repository:
        """The newest snapshots as far back as the newest good one, in pages."""
        found: list[Any] = []
        params: dict[str, str | int] = {"sort": "start_time", "order": "desc", "size": SNAPSHOT_PAGE}
        try:
            for _ in range(SNAPSHOT_PAGES):
                body = self._get(f"_snapshot/{escape(name)}/*", params, parse.snapshots)
                found += body["snapshots"]
                if any(s.state == "SUCCESS" for s in found) or not body.get("next"):
                    return Repository(name=name, type=kind, snapshots=tuple(found))
                params["after"] = body["next"]
        except BdopsError as e:
            return Repository(name=name, type=kind, error=why_unread(e), snapshots=tuple(found), complete=False)
        return Repository(name=name, type=kind, snapshots=tuple(found), complete=False)

    def explanations(self) -> tuple[Explanation, ...]:
        """Of some unassigned copies: primaries, then one of each index and reason, then others, up to a limit."""
        self._state_done.wait(self.left_s())
        if self._state is None:
            raise StateUnknown(f"needs the shards: {why_unread(self._state_error or TimeoutError('not read in time'))}")
        return self.explain(self.entry(), worth_explaining(self._state.shards, MAX_EXPLANATIONS))

    def explain(self, node: Node, asked: Sequence[Shard]) -> tuple[Explanation, ...]:
        """The explanations of these copies, less those that have a node by now."""
        got = read_all({s.name: _bind(self._explain, node, s) for s in asked}, timeout_s=self.left_s())
        if got.unread and not got.values:
            raise StateUnknown(f"no explanation was to be had: {next(iter(got.unread.values()))}")
        return tuple(e for s in asked if (e := got.values.get(s.name)) is not None)

    def _explain(self, node: Node, shard: Shard) -> Explanation | None:
        wanted = {"index": shard.index, "shard": shard.shard, "primary": shard.primary}
        answer = node.request("GET", "_cluster/allocation/explain", None, wanted, timeout_s=self.left_s())
        if answer.status >= 400 or answer.body.get("current_state") != "unassigned":
            return None  # It has been assigned, or its index deleted, since the shards were read.
        return _parsed(node, lambda: parse.explanation(answer.body))


def worth_explaining(shards: Iterable[Shard], limit: int) -> list[Shard]:
    """The unassigned copies to ask about, each shard's primary or replicas once: those that say most first."""
    unique = {s.name: s for s in shards if s.state == "UNASSIGNED"}
    seen: set[tuple[str, str, bool]] = set()
    ranked = []
    for position, shard in enumerate(unique.values()):
        kind = (shard.index, shard.unassigned.reason if shard.unassigned else "", shard.primary)
        ranked.append(((not shard.primary, kind in seen, position), shard))
        seen.add(kind)
    return [shard for _, shard in sorted(ranked, key=lambda r: r[0])[:limit]]


def _gathered_sizes(
    values: Mapping[str, Any], unread: Mapping[str, str]
) -> tuple[tuple[ShardSize, ...] | None, dict[str, str]]:
    """All nodes' sizes; None when no node told any."""
    told = [values[key] for key in sorted(values) if key.startswith("sizes ")]
    lost = {f"sizes/{key.rsplit('/', 1)[-1]}": why for key, why in unread.items() if key.startswith("sizes ")}
    if not told:
        return None, {"sizes": next(iter(lost.values()), "no node of the inventory could be asked")}
    return tuple(size for sizes in told for size in sizes), lost


def _expected(instance: Instance) -> ExpectedNode:
    return ExpectedNode(
        instance=instance.name,
        name=node_name(instance),
        host=instance.host.name,
        rack=instance.host.rack,
        roles=tuple(sorted(instance.roles)),
    )


def _silent(instance: Instance, error: BdopsError | str, kind: Any, refused: bool = False) -> Server:
    text = error if isinstance(error, str) else why_unread(error)
    return Server(instance=instance.name, name=node_name(instance), error=text, error_kind=kind, refused=refused)


def _kind(error: BdopsError) -> str:
    if isinstance(error, NotAuthorised):
        return "not_authorised"
    return "unreachable" if isinstance(error, Unreachable) else "unknown"


@contextmanager
def _behind(node: Node) -> Iterator[None]:
    """The entry itself answered a moment ago: what hangs behind it is the elected master."""
    try:
        yield
    except Unreachable as e:
        raise Unreachable(f"{e.message}: the elected master may hang (asked through {node.name})") from None


def _parsed(node: Node, parser: Callable[[], Any]) -> Any:
    try:
        return parser()
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise StateUnknown(
            f"an answer has not the form of Elasticsearch's: {type(e).__name__} {e}", where=node.where
        ) from e


def _bind(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return lambda: function(*args)
