"""Elasticsearch's side of a job: what is read once a second, the acts around a node's restart, what is put back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from bdops.components.es import order
from bdops.components.es.client import Node, escape, name_lists
from bdops.components.es.gates import NEEDED, gate_facts
from bdops.components.es.leftovers import CLUSTER, ENABLE, VOTING_EXCLUSIONS
from bdops.components.es.leftovers import leftovers as find_leftovers
from bdops.components.es.read import read_disks, read_through
from bdops.components.es.settings import Settings
from bdops.components.es.snapshot import repository, restore
from bdops.components.es.snapshot.vault import EsVault
from bdops.components.es.state import Disk, EsState
from bdops.core.actor import DONE, ActContext, Borrowed, InstanceActs, Leftover, Progress, RestartRules, pending
from bdops.core.backups import COMPARE, backup_acts
from bdops.core.gate import GateFacts
from bdops.core.model import Deployment
from bdops.core.plan import Step, Target
from bdops.errors import BdopsError, ConfigError, OperationFailed, Unreachable

READINGS = frozenset(NEEDED) - {"expected", "servers"}
DISKS_MAX_AGE_S = 15.0
"""Disks fill slowly, and the cluster itself looks at them every 30 s."""
READ_MAX_S = 10.0
"""A node that takes longer than this hangs, as far as a restart is concerned."""
CALL_S = 20.0
FLUSH_S = 60.0
FLUSH_CALLS = 20
"""When so many would not do, all indices are flushed with one."""
PRIMARIES = "primaries"
_STRICTER = ("none", "new_primaries")


class EsActor(InstanceActs):
    """core.actor.Actor of one deployment. Secrets are resolved once, when it is made (raises ConfigError)."""

    component = "es"

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._nodes = {i.name: Node(i) for i in deployment.instances}
        settings: Settings = deployment.settings
        self.rules: RestartRules = settings.restart
        self._disks: dict[str, tuple[float, tuple[Disk, ...]]] = {}
        self._performed: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self, *, timeout_s: float) -> EsState:
        """One small request to every node, three to the cluster; the disks of those nodes that are due."""
        timeout_s = min(timeout_s, READ_MAX_S)
        deadline = time.monotonic() + timeout_s
        state = read_through(self._nodes, self._deployment, READINGS, timeout_s=timeout_s)
        return self._with_disks(state, deadline)

    def _with_disks(self, state: EsState, deadline: float) -> EsState:
        now = time.monotonic()
        answering = {s.instance for s in state.servers or () if s.error is None}
        with self._lock:
            due = {n for n in answering if n not in self._disks or now - self._disks[n][0] > DISKS_MAX_AGE_S}
        if due:
            nodes = {n: self._nodes[n] for n in sorted(due)}
            found = read_disks(nodes, timeout_s=max(0.5, deadline - now))
            with self._lock:
                for name in due:
                    self._disks.pop(name, None)
                self._disks |= {name: (now, disks) for name, disks in found.items()}
        with self._lock:
            known = {name: disks for name, (_, disks) in self._disks.items()}
        servers = (replace(s, disks=known.get(s.instance)) if s.error is None else s for s in state.servers or ())
        return replace(state, servers=tuple(servers))

    # -- judging: pure ---------------------------------------------------------------------------------------

    def identity(self, state: EsState) -> str | None:
        return None if state.cluster_uuid in (None, "", "_na_") else state.cluster_uuid

    def baseline(self, state: EsState) -> Mapping[str, Any]:
        return order.baseline(state)

    def gate(self, state: EsState, baseline: Mapping[str, Any]) -> GateFacts:
        return gate_facts(state, baseline)

    def down(self, state: EsState) -> Mapping[str, str]:
        return order.down(state)

    def leads(self, state: EsState, instance: str) -> bool | None:
        return order.leads(state, instance)

    def targets(self, state: EsState, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        return order.targets(state, instances, verb)

    def consequences(self, state: EsState, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return order.consequences(state, instances, verb)

    def leftovers(self, state: EsState) -> tuple[Leftover, ...]:
        return find_leftovers(state)

    def progress(self, state: EsState, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        """Our own acts are done once this process has performed them: that a setting is as we want it does not yet
        mean that this step holds it, and a flush leaves no trace."""
        if backup_acts((act,)):
            if act == COMPARE or restore.GLOBAL_STATE in step.args:
                # Neither leaves a trace that says so: a resumed job does it again.
                return DONE if (step.id, act) in self._performed else pending(act)
            return self.vault(step.args["destination"]).progress(step, act)
        if act == repository.REGISTER:
            return repository.progress(self.entry(), step)
        if act == repository.CLEAN_UP_REPOSITORY:
            return DONE if (step.id, act) in self._performed else pending("what it removes")
        assert step.instance is not None
        if act in ("restart", "start"):
            back = order.in_cluster(state, step.instance, baseline.get("starts") if act == "restart" else None)
            if not back.done or order.ALLOCATION_BACK in step.acts:
                return back
            return order.shards_back(state, step.instance, baseline)
        if (step.id, act) not in self._performed:
            return pending(act)
        if act == order.ALLOCATION_PRIMARIES:
            value = (state.settings.value(ENABLE) if state.settings else None) or "not known"
            restricted = value.lower() in (PRIMARIES, *_STRICTER)
            return DONE if restricted else pending(f"{ENABLE} to be {PRIMARIES} (it is {value})")
        if act == order.ALLOCATION_BACK:
            return order.shards_back(state, step.instance, baseline)
        return DONE

    # -- acting ----------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        if backup_acts((act,)):
            self.vault(step.args["destination"]).perform(step, act, context)
            self._performed.add((step.id, act))
            return
        if act in repository.ACTS:
            repository.perform(self.entry(), step, act, context)
            self._performed.add((step.id, act))
            return
        assert step.instance is not None
        acts: Mapping[str, Callable[[str, ActContext], None]] = {
            order.ALLOCATION_PRIMARIES: self._restrict_allocation,
            order.FLUSH: self._flush,
            order.ALLOCATION_BACK: self._give_allocation_back,
        }
        acts[act](step.instance, context)
        self._performed.add((step.id, act))

    def _restrict_allocation(self, instance: str, context: ActContext) -> None:
        """Replicas of the node wait for it instead of being built anew elsewhere. A transient value, where there is
        one, goes before the persistent one, so then it is that which is borrowed."""
        key = next((k for k in _keys() if context.borrowed(CLUSTER, k)), None)
        loan = context.borrowed(CLUSTER, key) if key else None
        # Whether somebody holds it is asked before the value: a value read before could be another step's own.
        settings = self._settings(context.timeout_s, but=instance)
        if key is None or loan is None:
            level = "transient" if ENABLE in settings["transient"] else "persistent"
            key = f"{level}/{ENABLE}"
            previous = settings[level].get(ENABLE)
        else:
            previous = loan.previous
        level = key.partition("/")[0]
        current = settings[level].get(ENABLE)
        if loan is None and current is not None and current.lower() in _STRICTER:
            context.say(f"{ENABLE} is {current} already ({level}): left as it is")
            return
        context.borrow(CLUSTER, key, previous=previous, value=PRIMARIES)
        self._set(level, ENABLE, PRIMARIES, context.timeout_s, but=instance)

    def _flush(self, instance: str, context: ActContext) -> None:
        """What is on disk need not be replayed after the start. It helps and is not needed: a failure is only said."""
        name = self._nodes[instance].name
        deadline = time.monotonic() + min(context.timeout_s, FLUSH_S)
        try:
            node = self.entry(but=instance)
            routing = node.get(
                "_cluster/state/routing_table,nodes",
                {"filter_path": "nodes.*.name,routing_table.indices.*.shards.*.node", "expand_wildcards": "all"},
                timeout_s=CALL_S,
            )
            ours = {i for i, n in routing.get("nodes", {}).items() if n["name"] == name}
            indices = [
                index
                for index, found in routing.get("routing_table", {}).get("indices", {}).items()
                if any(copy.get("node") in ours for copies in found["shards"].values() for copy in copies)
            ]
            params = {"ignore_unavailable": "true", "wait_if_ongoing": "true", "expand_wildcards": "all"}
            parts = name_lists(indices)
            for part in parts if len(parts) <= FLUSH_CALLS else ["_all"]:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Unreachable("not all indices were flushed in time")
                node.post(f"{part}/_flush", None, params, timeout_s=left)
        except BdopsError as e:
            context.say(f"not flushed, which only makes the start of {name} longer: {e.message}")

    def _give_allocation_back(self, instance: str, context: ActContext) -> None:
        for key in _keys():
            loan = context.borrowed(CLUSTER, key)
            if loan is None:
                continue
            level = key.partition("/")[0]
            current = self._settings(context.timeout_s)[level].get(ENABLE)
            if current not in (loan.value, loan.previous):
                context.say(f"{key} is {current or 'not set'} now, set by someone else meanwhile: left as it is")
            context.give_back(CLUSTER, key)

    def vault(self, destination: str | None) -> EsVault:
        """The snapshots in a repository: the one that is named, else the inventory's first, else the only one."""
        named = destination or next(iter(self._deployment.settings.snapshot_repositories), None)
        if named is None:
            registered = sorted(self.entry().get("_snapshot", timeout_s=CALL_S))
            if len(registered) != 1:
                raise ConfigError(
                    f"which repository? {', '.join(registered) or 'none is registered'}",
                    where=self._deployment.name,
                    hint="--repository NAME, or snapshot_repositories of es in the inventory",
                )
            named = registered[0]
        return EsVault(named, self.entry)

    def abandon(self, step: Step) -> str | None:
        if repository.REGISTER in step.acts:
            repository.put_back(self.entry(), step)
        return self.vault(step.args["destination"]).abandon(step) if backup_acts(step.acts) else None

    def restore(self, borrowed: Borrowed) -> None:
        """Back to the previous value, unless somebody else has set another one since: theirs stays."""
        if borrowed.key == restore.CLOSED:
            restore.reopen(self.entry(), borrowed.value or "")
            return
        level, _, name = borrowed.key.partition("/")
        current = self._settings(CALL_S)[level].get(name)
        if current != borrowed.previous and current == borrowed.value:
            self._set(level, name, borrowed.previous, CALL_S)

    def clear(self, leftover: Leftover) -> None:
        if leftover.key == VOTING_EXCLUSIONS:
            self._change("DELETE", "_cluster/voting_config_exclusions", None, {"wait_for_removal": "false"}, CALL_S)
        elif leftover.object != CLUSTER:
            self._change("PUT", f"{escape(leftover.object)}/_settings", {leftover.key: None}, {}, CALL_S)
        else:
            level, _, name = leftover.key.partition("/")
            if level == "defaults":
                raise OperationFailed(
                    f"{name} is set in elasticsearch.yml", hint="change the file, and restart the node"
                )
            self._set(level, name, None, CALL_S)

    def close(self) -> None:
        for node in self._nodes.values():
            node.close()

    # -- the cluster's settings ------------------------------------------------------------------------------

    def _settings(self, timeout_s: float, *, but: str | None = None) -> Mapping[str, Mapping[str, Any]]:
        node = self.entry(but=but)
        answer = node.get("_cluster/settings", {"flat_settings": "true"}, timeout_s=min(CALL_S, timeout_s))
        return {level: answer.get(level, {}) for level in ("persistent", "transient")}

    def _set(self, level: str, name: str, value: str | None, timeout_s: float, *, but: str | None = None) -> None:
        self._change("PUT", "_cluster/settings", {level: {name: value}}, {}, timeout_s, but=but)

    def _change(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, str],
        timeout_s: float,
        *,
        but: str | None = None,
    ) -> None:
        node = self.entry(but=but)
        timeout_s = min(CALL_S, timeout_s)
        waits = {"master_timeout": f"{int(timeout_s * 800)}ms", "timeout": f"{int(timeout_s * 800)}ms"}
        if method == "DELETE":
            node.delete(path, params, timeout_s=timeout_s)
        else:
            node.put(path, body, {**params, **waits}, timeout_s=timeout_s)

    def entry(self, *, but: str | None = None) -> Node:
        """A node that answers and knows a master, one that is not about to stop if there is one. Raises Unreachable."""
        why: BdopsError | None = None
        for instance in sorted(self._nodes, key=lambda name: name == but):
            try:
                node = self._nodes[instance]
                view = node.get("_cluster/state/master_node", {"local": "true"}, timeout_s=3)
                if view.get("master_node"):
                    return node
            except BdopsError as e:
                why = why or e
        raise Unreachable(
            "no node answers and knows an elected master" + (f": {why.message}" if why else ""),
            where=why.where if why else None,
            hint=f"bdops es nodes {self._deployment.name}",
        )


def _keys() -> tuple[str, str]:
    return f"transient/{ENABLE}", f"persistent/{ENABLE}"
