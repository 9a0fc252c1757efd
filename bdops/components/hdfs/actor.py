"""HDFS's side of a job: reads, and its own acts by Hadoop RPC. What it decides is in gates, order and progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bdops.components.backup_files import default_folder
from bdops.components.hdfs import order
from bdops.components.hdfs import progress as verify
from bdops.components.hdfs.gates import READINGS, gate_facts
from bdops.components.hdfs.namenode import Nameservice
from bdops.components.hdfs.read import read_exactly
from bdops.components.hdfs.rpc import Connection, NotListening, RemoteError
from bdops.components.hdfs.servers import DataNodeServer, FailoverController
from bdops.components.hdfs.settings import HdfsRules, Settings
from bdops.components.hdfs.snapshot import copying
from bdops.components.hdfs.snapshot.calls import allow_snapshots, disallow_snapshots, snapshot_roots
from bdops.components.hdfs.snapshot.image import SCHEME, ImageVault
from bdops.components.hdfs.snapshot.planning import RestorePlan, plan_restore
from bdops.components.hdfs.snapshot.vault import HdfsVault
from bdops.components.hdfs.source import nameservice, read_survey
from bdops.components.hdfs.standing import View
from bdops.components.hdfs.state import HdfsState, Survey
from bdops.components.hdfs.web_files import WebFiles
from bdops.components.reading import why_unread
from bdops.core.actor import DONE, ActContext, Borrowed, InstanceActs, Leftover, Progress, RestartRules, pending
from bdops.core.backups import COMPARE, DRILL, BackupRecord, Vault, backup_acts
from bdops.core.gate import GateFacts
from bdops.core.model import Deployment, Instance
from bdops.core.plan import Step, Target
from bdops.errors import (
    BdopsError,
    ConfigError,
    NotAuthorised,
    OperationFailed,
    Refused,
    Unreachable,
    UsageError,
)
from bdops.hosts.ssh import SshPool

READ_LIMIT_S = 6.0
"""A reading waits no longer for a server that hangs: it is asked for once a second while something is waited for."""
CALL_TIMEOUT_S = 5.0
FAILOVER_TIMEOUT_S = 60.0
"""A failover controller bounds the parts of a failover itself (ha.failover-controller.*); this bounds the whole."""
SURVEY_PAUSE = 10
"""A walk through all files is made again after so many times what it took: it takes a tenth of the time at most."""
SURVEY_PAUSE_CHANGED = 1
"""When the counts of blocks in trouble have changed: their names are what the gate needs."""
WATCH_S = 10.0
"""For so long after it was last asked about a DataNode is asked with each reading since when it runs."""
FAILOVER_READINGS = frozenset({"namenodes", "zkfcs", "datanodes"})
BACKUP_CALL_S = 20.0
ALLOW, DISALLOW, RENAME = "snapshot-allow", "snapshot-disallow", "snapshot-rename"
SNAPSHOT_ACTS = (ALLOW, DISALLOW, RENAME)
UNHEALTHY = "is not currently healthy"
"""A controller that has just started says so of its NameNode (ZKFailoverController.checkEligibleForFailover)."""


class HdfsActor(InstanceActs):
    """One nameservice in a job: core.actor.Actor. It borrows no settings."""

    component = "hdfs"

    def __init__(self, deployment: Deployment, pool: SshPool) -> None:
        settings = deployment.settings
        assert isinstance(settings, Settings)
        self.rules: RestartRules = settings.restart
        self._numbers: HdfsRules = settings.restart
        self._settings = settings
        self._deployment = deployment
        self._pool = pool
        self._instances = {i.name: i for i in deployment.instances}
        # All DataNodes are asked for their start at first, then those that a step is about.
        first = time.monotonic() + WATCH_S
        self._watched_until = {i.name: first for i in deployment.instances if "datanode" in i.roles}
        self._not_obeyed: set[str] = set()
        self._lock = threading.Lock()
        self._survey: Survey | None = None
        self._survey_counts: tuple[int, ...] = ()
        self._survey_due = self._survey_due_changed = 0.0
        self._performed: set[tuple[str, str]] = set()
        self._opened = ExitStack()
        self._service: Nameservice | None = None

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, *, timeout_s: float) -> HdfsState:
        """All that gates and verifications look at; the walk through all files now and then."""
        now = time.monotonic()
        with self._lock:
            watched = frozenset(name for name, until in self._watched_until.items() if until > now)
        state = read_exactly(
            self._deployment, READINGS - {"survey"}, timeout_s=min(timeout_s, READ_LIMIT_S), watched=watched
        )
        if sum(1 for n in state.namenodes or () if n.state == "active") != 1:
            return replace(state, unread={**state.unread, "survey": "not exactly one NameNode is active"})
        try:
            return replace(state, survey=self._surveyed(state))
        except BdopsError as e:
            return replace(state, unread={**state.unread, "survey": why_unread(e)})

    def _surveyed(self, state: HdfsState) -> Survey:
        """The last walk through all files, or a new one when that is due; sooner when other blocks are in trouble."""
        counts = tuple(
            c.low_redundancy + c.missing for c in (state.replicated_blocks, state.ec_groups) if c is not None
        )
        began = time.monotonic()
        due = self._survey_due_changed if any(counts) and counts != self._survey_counts else self._survey_due
        if self._survey is not None and began < due:
            return self._survey
        found = read_survey(self._deployment, call_timeout_s=CALL_TIMEOUT_S, timeout_s=self._numbers.survey_timeout_s)
        ended = time.monotonic()
        self._survey, self._survey_counts = found, counts
        self._survey_due = ended + SURVEY_PAUSE * (ended - began)
        self._survey_due_changed = ended + SURVEY_PAUSE_CHANGED * (ended - began)
        return found

    def view(self, state: HdfsState) -> View:
        return View(state, self._numbers)

    # -- pure ----------------------------------------------------------------------------------------------

    def identity(self, state: HdfsState) -> str | None:
        """The nameservice's name and the ids that its NameNodes say (one, when all is well)."""
        ids = sorted({n.cluster_id for n in state.namenodes or () if n.cluster_id})
        return f"{state.nameservice} {' '.join(ids)}" if ids else None

    def baseline(self, state: HdfsState) -> Mapping[str, Any]:
        return verify.baseline(self.view(state))

    def gate(self, state: HdfsState, baseline: Mapping[str, Any]) -> GateFacts:
        return gate_facts(state, baseline, self._numbers)

    def down(self, state: HdfsState) -> Mapping[str, str]:
        view = self.view(state)
        found = {name: s.why for name, s in view.stands.items() if s.how != "up"}
        for name, node in view.namenodes.items():
            if name not in found and node.state == "initializing":
                found[name] = "it is starting"
        for name in view.names - view.stands.keys():
            found[name] = "nothing is known of it: " + state.unread.get("datanodes", "it was not read")
        return found

    def leads(self, state: HdfsState, instance: str) -> bool | None:
        return order.leads_now(self.view(state), instance)

    def targets(self, state: HdfsState, instances: Collection[str], verb: str) -> tuple[Target, ...]:
        return order.targets(self.view(state), instances, verb)

    def consequences(self, state: HdfsState, instances: Collection[str], verb: str) -> tuple[str, ...]:
        return order.consequences(self.view(state), instances, verb)

    def progress(self, state: HdfsState, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        """From the state alone, but for backups. A DataNode in question is asked itself with the next reading."""
        if act == copying.PUBLISH:
            return self._copying(step).published()
        if act in (DRILL, COMPARE, copying.COPY, copying.COMPARE) or act in SNAPSHOT_ACTS:
            return DONE if (step.id, act) in self._performed else pending(act)
        if backup_acts((act,)):
            return self.vault(step.args["destination"]).progress(step, act)
        if step.instance and step.role == "datanode":
            with self._lock:
                self._watched_until[step.instance] = time.monotonic() + WATCH_S
        return verify.progress(self.view(state), step, act, baseline, frozenset(self._not_obeyed))

    def leftovers(self, state: HdfsState) -> tuple[Leftover, ...]:
        return ()

    # -- acting --------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        if backup_acts((act,)):
            self.vault(step.args["destination"]).perform(step, act, context)
            self._performed.add((step.id, act))
        elif act in copying.ACTS:
            self._copying(step).perform(act, context)
            self._performed.add((step.id, act))
        elif act in SNAPSHOT_ACTS:
            self._change_directory(step, act)
            self._performed.add((step.id, act))
        elif act == "failover":
            self._fail_over(step, context)
        elif act == "shutdown-upgrade":
            self._shut_down(step, context)
        elif act == "roll-edits":
            with nameservice(self._deployment, timeout_s=min(context.timeout_s, 30.0)) as client:
                client.on_active(lambda n: n.roll_edits())
        else:
            raise ValueError(f"hdfs has no act {act}")

    def restore(self, borrowed: Borrowed) -> None:
        raise OperationFailed(f"hdfs borrows no settings, and is asked to put back {borrowed.object} {borrowed.key}")

    def clear(self, leftover: Leftover) -> None:
        raise OperationFailed(f"hdfs leaves no settings behind, and is asked to clear {leftover.object} {leftover.key}")

    def close(self) -> None:
        self._opened.close()

    # -- backups -------------------------------------------------------------------------------------------

    def vault(self, destination: str | None) -> Vault:
        """The snapshots of a directory: the one that is named, else the inventory's first, else the only one.

        Of `image` or `file:FOLDER` the images of the NameNode in a folder of this machine.
        """
        if destination == "image" or (destination or "").startswith(SCHEME):
            return ImageVault.of(self._image_folder(destination or ""), self._deployment)
        return self._snapshots(destination or self._default_directory())

    def _snapshots(self, directory: str) -> HdfsVault:
        web = WebFiles.of(self._deployment)
        return HdfsVault(directory, self.service(), web, self._settings.snapshot_catalogue)

    def _image_folder(self, destination: str) -> Path:
        named = destination.removeprefix(SCHEME) if destination.startswith(SCHEME) else self._settings.image_dir
        return Path(named).expanduser() if named else default_folder(self._deployment.cluster, "hdfs")

    def service(self) -> Nameservice:
        """A client of the active NameNode, kept open."""
        with self._lock:
            if self._service is None:
                client = nameservice(self._deployment, timeout_s=BACKUP_CALL_S)
                self._service = self._opened.enter_context(client)
            return self._service

    def abandon(self, step: Step) -> str | None:
        if copying.COPY in step.acts:
            return self._copying(step).abandon()
        if backup_acts(step.acts):
            self.vault(step.args["destination"]).abandon(step)
        return None

    def _copying(self, step: Step) -> copying.Copying:
        return copying.Copying(self.service(), WebFiles.of(self._deployment), self._pool, self._deployment, step)

    def restore_plan(
        self, record: BackupRecord, inside: str, *, to: str | None, overwrite: Collection[str], checksums: int | None
    ) -> RestorePlan:
        """How a path of a snapshot is restored. Raises what `snapshot.planning.plan_restore` does."""
        return plan_restore(
            self.service(),
            self._deployment,
            self._pool,
            record,
            inside,
            to=to,
            overwrite=overwrite,
            checksums=checksums,
            stamp=f"{datetime.now(UTC):%Y%m%d-%H%M%S}",
        )

    def _default_directory(self) -> str:
        if self._settings.snapshot_dirs:
            return self._settings.snapshot_dirs[0]
        roots = [r.path for r in self.service().on_active(snapshot_roots)]
        if len(roots) == 1:
            return roots[0]
        raise ConfigError(
            f"which directory? {', '.join(roots) or 'snapshots may be made of none'}",
            where=self._deployment.name,
            hint="--destination DIR, or snapshot_dirs of hdfs in the inventory; bdops hdfs snapshot allow DIR",
        )

    def _change_directory(self, step: Step, act: str) -> None:
        """Allow snapshots of a directory, or no more, or rename one. To ask for what is so already has no effect."""
        directory = step.args["destination"]
        try:
            if act == RENAME:
                self._snapshots(directory).renamed(step.args["id"], step.args["to"])
            else:
                change = allow_snapshots if act == ALLOW else disallow_snapshots
                self.service().on_active(lambda n: change(n, directory))
        except RemoteError as e:
            raise OperationFailed(e.message, where=directory, code="HDFS_SNAPSHOT_REFUSED") from None

    def _fail_over(self, step: Step, context: ActContext) -> None:
        """Have the failover controller of a standby make it the active one. Waits for one that is ready."""
        while True:
            state = read_exactly(self._deployment, FAILOVER_READINGS, timeout_s=READ_LIMIT_S)
            view = self.view(state)
            if verify.failed_over(view, step).done:
                return
            target, why = heir(view, step.args.get("to"))
            if target is not None:
                try:
                    self._ask_controller(target, context)
                    return
                except RemoteError as e:
                    if UNHEALTHY not in e.text:
                        raise OperationFailed(
                            f"the failover controller of {target} refuses: {e.message}",
                            where=e.where,
                            hint="bdops hdfs status",
                            code="HDFS_FAILOVER_FAILED",
                        ) from None
                    why = f"{target}'s failover controller has not seen it healthy yet"
            if context.timeout_s <= self.rules.interval_s:
                raise OperationFailed(
                    f"no NameNode can take over: {why}", hint="bdops hdfs status", code="HDFS_NO_STANDBY"
                )
            time.sleep(self.rules.interval_s)

    def _ask_controller(self, namenode: str, context: ActContext) -> None:
        view_of = {(i.host.name, r): i for i in self._deployment.instances for r in i.roles}
        zkfc = view_of[self._instances[namenode].host.name, "zkfc"]
        timeout_s = max(1.0, min(context.timeout_s, FAILOVER_TIMEOUT_S))
        context.say(f"failover to {namenode}")
        with self._connection(zkfc, zkfc.settings.rpc_port, timeout_s) as connection:
            FailoverController(connection).graceful_failover(timeout_s=timeout_s)

    def _shut_down(self, step: Step, context: ActContext) -> None:
        """Tell a DataNode to end, and its writers that it comes back. One that will not is left to its manager."""
        assert step.instance is not None
        instance = self._instances[step.instance]
        try:
            with self._connection(instance, instance.settings.ipc_port, CALL_TIMEOUT_S) as connection:
                DataNodeServer(connection).shutdown(for_upgrade=True)
        except NotListening:
            return
        except (RemoteError, NotAuthorised, Unreachable) as e:
            if isinstance(e, RemoteError) and "already in progress" in e.text:
                return
            context.say(f"{step.instance} is not told to end, its service manager does that alone: {e.message}")
            self._not_obeyed.add(step.instance)

    def _connection(self, instance: Instance, port: int, timeout_s: float) -> Connection:
        return Connection(instance.host.address, port, user=instance.settings.user, timeout_s=timeout_s)


def heir(view: View, wanted: str | None = None) -> tuple[str | None, str]:
    """The standby that can take over now, the wanted one if one is; or None, and why."""
    if len(view.active) != 1:
        return None, f"{len(view.active)} NameNodes are active"
    reasons = []
    for name in [wanted] if wanted else [n for n in view.of_role("namenode") if n not in view.active]:
        zkfc = view.partner(name, "zkfc")
        why = view.why_not_ready(name)
        if why is None and zkfc is None:
            why = "the inventory has no failover controller on its host"
        if why is None and zkfc is not None and view.how(zkfc) != "up":
            why = f"its failover controller does not answer: {view.stands[zkfc].why}"
        if why is None:
            return name, ""
        reasons.append(f"{name}: {why}")
    return None, "; ".join(reasons) or "there is no other NameNode"


def failover_targets(view: View, to: str | None) -> tuple[Target, ...]:
    """The target of `bdops hdfs failover`; none when `to` (a host, a NameNode's id or an instance) is active already.

    Raises UsageError when there is no such NameNode, Refused when it cannot take over now.
    """
    wanted = None
    if to is not None:
        namenodes = view.state.expected_of("namenode")
        wanted = next((e.name for e in namenodes if to in (e.host, e.nn_id, e.name, e.address)), None)
        if wanted is None:
            known = ", ".join(e.host for e in namenodes)
            raise UsageError(f"--to {to}: no NameNode is there", hint=f"the NameNodes are on {known}")
    if len(view.active) != 1:
        said = ", ".join(f"{n.instance} is {n.state or n.error}" for n in view.namenodes.values())
        raise Refused(f"{len(view.active)} NameNodes are active: {said}", hint="bdops hdfs status", code="HDFS_ACTIVE")
    if wanted == view.active[0]:
        return ()
    name, why = heir(view, wanted)
    if name is None:
        raise Refused(f"no NameNode can take over: {why}", hint="bdops hdfs status", code="HDFS_STANDBY")
    note = f"{view.active[0]} -> {name}"
    args = {"from": view.active[0], "to": name}
    return (Target(name="failover", acts=("failover",), role="namenode", note=note, args=args),)
