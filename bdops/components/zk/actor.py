"""ZooKeeper's side of a job: followers, then the leader, each followed by a write on the restarted server itself."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.components.backup_files import default_folder
from bdops.components.zk import ensemble, order
from bdops.components.zk.client.probe import delete_probe, read_probes, verify_write
from bdops.components.zk.gates import gate_facts
from bdops.components.zk.read import read_state
from bdops.components.zk.settings import Settings, ZkRestartRules
from bdops.components.zk.state import ZkState
from bdops.core.actor import DONE, ActContext, Borrowed, InstanceActs, Leftover, Progress, RestartRules, pending
from bdops.core.backups import COMPARE, RESTORE, backup_acts
from bdops.core.gate import GateFacts, Reason
from bdops.core.model import Deployment
from bdops.core.plan import Step, Target
from bdops.errors import BdopsError, OperationFailed, Unreachable
from bdops.hosts.ssh import SshPool

if TYPE_CHECKING:
    from bdops.components.zk.snapshot.rebuild import Rebuild
    from bdops.components.zk.snapshot.vault import ZkVault
    from bdops.core.backups import BackupRecord

WRITE_ATTEMPTS = 3
"""A session may be cut by an election once or twice; one that is cut again and again is no hiccup."""
LEFTOVERS_TIMEOUT_S = 30.0


def _of_rebuild(acts: Sequence[str]) -> bool:
    return any(act.startswith(order.REBUILD) for act in acts)


class ZkActor(InstanceActs):
    """One ensemble. Nothing is borrowed from ZooKeeper: its probes are ephemeral, and go with their session."""

    component = "zk"

    def __init__(self, deployment: Deployment, pool: SshPool) -> None:
        settings: Settings = deployment.settings
        self.rules: RestartRules = settings.restart
        self._rules: ZkRestartRules = settings.restart
        self._deployment = deployment
        self._pool = pool
        self._instances = {i.name: i for i in deployment.instances}
        # A write leaves nothing behind that would show in a state. A resumed job writes once more, which costs nothing.
        self._written: set[str] = set()
        self._compared: set[str] = set()
        self._rebuilt: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def read(self, *, timeout_s: float) -> ZkState:
        return read_state(self._deployment, timeout_s=timeout_s)

    def identity(self, state: ZkState) -> str | None:
        """The voters by id and address: ZooKeeper gives its ensembles no id of their own."""
        copy = ensemble.reference(state)
        if copy and copy.members:
            return " ".join(f"{m.id}={m.address}" for m in copy.members if m.role == "participant")
        first = ensemble.leader(state)
        return f"standalone {first.name}" if first and first.mode == "standalone" else None

    def baseline(self, state: ZkState) -> Mapping[str, Any]:
        """Nothing: the rules are about votes now, and an old wound counts like a new one."""
        return {}

    def gate(self, state: ZkState, baseline: Mapping[str, Any]) -> GateFacts:
        return gate_facts(state, baseline, max_behind=self._rules.max_behind)

    def down(self, state: ZkState) -> Mapping[str, str]:
        return order.down(state)

    def leads(self, state: ZkState, instance: str) -> bool | None:
        return order.leads(state, instance)

    def targets(self, state: ZkState, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        rules = self._rules
        return order.targets(state, instances, verb, max_behind=rules.max_behind, verify_write=rules.verify_write)

    def consequences(self, state: ZkState, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return order.consequences(state, instances, verb, max_behind=self._rules.max_behind)

    def progress(self, state: ZkState, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        if _of_rebuild((act,)):
            with self._lock:
                return DONE if (step.id, act) in self._rebuilt else pending(act)
        if backup_acts((act,)):
            if act in (COMPARE, RESTORE):
                # Neither leaves a trace that says so: a resumed job does it again.
                with self._lock:
                    return DONE if step.id in self._compared else pending("the comparison")
            return self.vault(step.args["destination"]).progress(step, act)
        assert step.instance is not None
        if act == order.VERIFY_WRITE:
            with self._lock:
                return DONE if step.id in self._written else pending(f"a write on {ensemble.short(step.name)}")
        return order.whole(state, step.instance, max_behind=self._rules.max_behind)

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """The write on the restarted server, or an act of a vault. Raises what `client.probe.verify_write` does."""
        if _of_rebuild((act,)):
            vault = self.vault(step.args["destination"])
            self._rebuild(step).perform(act, lambda: vault.file(step), context)
            with self._lock:
                self._rebuilt.add((step.id, act))
            return
        if backup_acts((act,)):
            self.vault(step.args["destination"]).perform(step, act, context)
            if act in (COMPARE, RESTORE):
                with self._lock:
                    self._compared.add(step.id)
            return
        assert act == order.VERIFY_WRITE, act
        assert step.instance is not None
        instance = self._instances[step.instance]
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                path = verify_write(instance, under=self._rules.probe_under, timeout_s=context.timeout_s)
            except Unreachable as e:
                if attempt == WRITE_ATTEMPTS or context.timeout_s <= 0:
                    raise
                context.say(f"{e.message}; again")
                continue
            context.say(f"{path} created, read and deleted on {ensemble.short(step.instance)}")
            break
        with self._lock:
            self._written.add(step.id)

    def vault(self, destination: str | None) -> ZkVault:
        """The snapshots in a folder: the one that is named, else the inventory's, else one of bdops' own."""
        from bdops.components.zk.snapshot.vault import ZkVault

        given = destination or self._deployment.settings.snapshot_dir
        if given:
            return ZkVault.of(Path(given).expanduser().absolute(), self._deployment)
        return ZkVault.of(default_folder(self._deployment.cluster, self.component), self._deployment)

    def _rebuild(self, step: Step) -> Rebuild:
        from bdops.components.zk.snapshot.rebuild import Rebuild

        return Rebuild(self._deployment, self._pool, self.rules, step)

    def rebuild_targets(self, record: BackupRecord, digests: Mapping[str, Any], stamp: str) -> tuple[Target, ...]:
        """The targets that make an ensemble again that has lost its data. Raises what keeps it from that."""
        from bdops.components.zk.snapshot.rebuild import rebuild_targets

        return rebuild_targets(self._deployment, self._pool, record, stamp, digests)

    def obstacles(self, step: Step) -> tuple[Reason, ...]:
        if _of_rebuild(step.acts):
            from bdops.components.zk.snapshot import rebuild

            return rebuild.obstacles(self._deployment, self._pool, step)
        from bdops.components.zk.snapshot.restore import ZXID, obstacles

        return obstacles(self._deployment, step.args[ZXID])

    def abandon(self, step: Step) -> str | None:
        if _of_rebuild(step.acts):
            return self._rebuild(step).abandon()
        if backup_acts(step.acts):
            self.vault(step.args["destination"]).abandon(step)
        return None

    def restore(self, borrowed: Borrowed) -> None:
        """Nothing is ever borrowed from ZooKeeper. Raises OperationFailed."""
        raise OperationFailed(f"ZooKeeper lends nothing, and {borrowed.key} of {borrowed.object} is no setting of it")

    def leftovers(self, state: ZkState) -> tuple[Leftover, ...]:
        """Probes whose session has not ended yet. It asks the ensemble, once: no state has them."""
        try:
            found = read_probes(
                self._deployment.instances, under=self._rules.probe_under, timeout_s=LEFTOVERS_TIMEOUT_S
            )
        except BdopsError as e:
            return (
                Leftover(
                    component=self.component,
                    object=self._rules.probe_under,
                    key="probes",
                    value="unknown",
                    harm=f"whether there are any could not be read: {e.message}",
                    fixable=False,
                ),
            )
        return tuple(
            Leftover(
                component=self.component,
                object=path,
                key="znode",
                value=f"session {owner}",
                harm="a probe of a restart that runs, or was killed moments ago: it goes with its session",
            )
            for path, owner in found.items()
        )

    def clear(self, leftover: Leftover) -> None:
        delete_probe(self._deployment.instances, leftover.object, timeout_s=LEFTOVERS_TIMEOUT_S)

    def close(self) -> None:
        """Nothing is kept open."""
