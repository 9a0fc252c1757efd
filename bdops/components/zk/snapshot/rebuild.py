"""An ensemble that has lost its data, made again from a snapshot: into the data folders of all servers, over SSH.

ZooKeeper starts with the newest snapshot of its dataDir and plays what is in its dataLogDir on top of it. With the
same file alone on every server all of them come up with one tree, whoever leads. All servers are down meanwhile, so no
client is in between; once they serve, clients may write at once: what they have written since is told from what is
wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdops.components.backup_files import SHA256
from bdops.components.reading import read_all
from bdops.components.zk import ensemble
from bdops.components.zk.client.session import session
from bdops.components.zk.client.transfer import endpoint_of, patiently, snapshot_stream
from bdops.components.zk.order import REBUILD
from bdops.components.zk.read import read_state
from bdops.components.zk.snapshot import data_folders
from bdops.components.zk.snapshot.data_folders import DataFolders, Found
from bdops.components.zk.snapshot.diff import Difference, compared
from bdops.components.zk.snapshot.format import SYSTEM, Damaged, Node, SnapshotReader, Summary
from bdops.components.zk.state import Server, ZkState
from bdops.core.actor import ActContext, RestartRules
from bdops.core.backups import BackupRecord
from bdops.core.gate import Reason, Verdict
from bdops.core.model import Deployment, Instance
from bdops.core.plan import GATE, TAKEN_DOWN, Step, Target
from bdops.core.units import format_duration, format_size, plural
from bdops.errors import BdopsError, ConfigError, OperationFailed, Refused, StateUnknown
from bdops.hosts.acts import read_act
from bdops.hosts.processes import ServiceProcess
from bdops.hosts.service_acts import act_on_service, log_tail, read_all_processes, read_process, settle_act
from bdops.hosts.ssh import SshPool

READ_S = 20.0
ANSWER_S = 300.0
INTERVAL_S = 0.5
NAMED = 4
EMPTY = ["zookeeper"]
"""What the root of an empty ensemble has: the server's own."""

STOP, PLACE, START, VERIFY, TIDY = (f"{REBUILD}{act}" for act in ("stop", "place", "start", "verify", "tidy"))
HAS_DATA, RUNS, UNKNOWN = "ZK_REBUILD_DATA", "ZK_REBUILD_RUNS", "ZK_REBUILD_UNKNOWN"
RULES: Mapping[str, str] = {
    HAS_DATA: "it serves, and has znodes: this is for an ensemble that has lost all of them (`--into-place` replaces)",
    RUNS: "it runs and does not serve: it may be the one that still has the data (look at it, then stop it)",
    UNKNOWN: "whether it has any data cannot be told",
}
"""The gate before an ensemble is made again. None of it can be overridden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one server is now. `names` are the znodes below its root (None: not to be had), `error` why not."""

    process: ServiceProcess | None = None
    serving: bool | None = None
    names: Sequence[str] | None = None
    folders: tuple[Found, ...] = ()
    error: str | None = None

    @property
    def placed(self) -> bool:
        return bool(self.folders) and all(f.placed for f in self.folders)

    @property
    def begun(self) -> bool:
        return any(f.aside for f in self.folders)

    @property
    def has_run(self) -> bool:
        """Whether a server has run on what was put there."""
        return any(f.placed and f.grown for f in self.folders)


# -- the plan ----------------------------------------------------------------------------------------------------


def rebuild_targets(
    deployment: Deployment, pool: SshPool, record: BackupRecord, stamp: str, digests: Mapping[str, Any]
) -> tuple[Target, ...]:
    """Stop all, put the snapshot in place, start all, compare; then tidy up. Raises Refused and what keeps it from it.

    `stamp` is in the names of what it keeps on the hosts, `digests` what the snapshot adds up to.
    """
    folders, notes = {}, []
    for instance in deployment.instances:
        where = data_folders.data_folders(pool, instance)
        found = data_folders.require_usable(pool, instance, where, alone=len(deployment.instances) == 1)
        folders[instance.name] = where.as_data()
        kept = sum(f.files for f in found)
        size = format_size(sum(f.size_bytes for f in found))
        what = f"{plural(kept, 'file')} ({size}) of version-2 kept in bdops-aside-{stamp}" if kept else "nothing there"
        notes.append(f"{ensemble.short(instance.name)} {' and '.join(where.each)}: {what}")
    args = {
        "id": record.id,
        "destination": record.destination,
        "stamp": stamp,
        "zxid": record.state["zxid"],
        SHA256: record.state[SHA256],
        "folders": folders,
        TAKEN_DOWN: [i.name for i in deployment.instances],
        **digests,
    }
    target = Target(
        name=record.id,
        acts=(GATE, STOP, PLACE, START, VERIFY),
        role="backup",
        note=f"all servers stopped, {record.state['znodes']:,} znodes into their data folders, started; "
        + "; ".join(notes),
        args=args,
    )
    step = Step(id="", component="zk", name=record.id, acts=target.acts, args=args)
    if reasons := obstacles(deployment, pool, step):
        raise refusal(reasons)
    tidy = Target(name=f"{record.id} tidy", acts=(TIDY,), rank=1, role="backup", note="what it needed goes", args=args)
    return target, tidy


def refusal(reasons: Sequence[Reason]) -> BdopsError:
    """The error that these reasons are when the plan is made."""
    kind = StateUnknown if all(r.verdict is Verdict.UNKNOWN for r in reasons) else Refused
    said = "; ".join(f"{', '.join(r.objects)}: {r.harm}" for r in reasons)
    error = kind(f"nothing was changed: {said}", hint="bdops zk status", code=reasons[0].rule)
    error.data = {"reasons": list(reasons)}
    return error


# -- the gate ----------------------------------------------------------------------------------------------------


def obstacles(deployment: Deployment, pool: SshPool, step: Step) -> tuple[Reason, ...]:
    """Why the ensemble must not be made again now: each server must be down or empty, or be done already."""
    state = read_state(deployment, timeout_s=READ_S)
    looks = look(deployment, pool, step, state)
    found: dict[str, list[str]] = {}
    for name, one in looks.items():
        if rule := rule_against(one):
            found.setdefault(rule, []).append(f"{ensemble.short(name)} ({_described(one)})")
    if strangers := ensemble.strangers(state):
        found.setdefault(UNKNOWN, []).extend(f"{s} (the inventory does not have it)" for s in strangers)
    instances = tuple(i.name for i in deployment.instances)
    return tuple(
        Reason(
            rule=rule,
            verdict=Verdict.UNKNOWN if rule == UNKNOWN else Verdict.REFUSE,
            objects=tuple(objects),
            harm=RULES[rule],
            instances=instances,
        )
        for rule, objects in found.items()
    )


def rule_against(one: Look) -> str | None:
    """The rule that a server breaks, if any. Pure."""
    if one.error is not None or one.process is None or one.process.status.state in ("unknown", "absent"):
        return UNKNOWN
    if one.placed:
        return None
    if one.process.process is None:
        return UNKNOWN if one.serving else None
    if one.serving:
        if one.names is None:
            return UNKNOWN
        return HAS_DATA if list(one.names) != EMPTY else None
    # It has passed the gate before, and lost its quorum as the others were stopped.
    return None if one.begun else RUNS


def _described(one: Look) -> str:
    if one.error:
        return one.error
    if one.names and list(one.names) != EMPTY:
        others = [n for n in one.names if n not in EMPTY]
        return f"{plural(len(others), 'znode')} below the root: {', '.join(sorted(others)[:NAMED])}"
    return one.process.status.detail if one.process else "its process is not known"


def look(deployment: Deployment, pool: SshPool, step: Step, state: ZkState) -> dict[str, Look]:
    """Every server of a state now: its process, its tree, its folders. What cannot be told is in `error`."""
    folders, stamp = data_folders.folders_of(step.args), step.args["stamp"]
    processes = read_all_processes(pool, deployment.instances)
    servers = {s.name: s for s in state.servers or ()}

    def one(instance: Instance) -> Look:
        process = processes[instance.name]
        if isinstance(process, BdopsError):
            return Look(error=process.message)
        server = servers.get(instance.name, Server(name=instance.name))
        try:
            found = data_folders.look(pool, instance, folders[instance.name], stamp)
            names = _names(instance) if server.serving else None
        except BdopsError as e:
            return Look(process=process, serving=server.serving, error=e.message)
        return Look(process=process, serving=server.serving, names=names, folders=found)

    read = read_all({i.name: lambda i=i: one(i) for i in deployment.instances}, timeout_s=3 * READ_S)  # type: ignore[misc]
    return {i.name: read.values.get(i.name) or Look(error=read.unread[i.name]) for i in deployment.instances}


def _names(instance: Instance) -> list[str]:
    with session([instance], timeout_s=READ_S / 2) as client:
        return sorted(client.get_children("/"))


# -- the acts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One step of it."""

    deployment: Deployment
    pool: SshPool
    rules: RestartRules
    step: Step

    @property
    def stamp(self) -> str:
        return str(self.step.args["stamp"])

    @property
    def folders(self) -> dict[str, DataFolders]:
        return data_folders.folders_of(self.step.args)

    def perform(self, act: str, file: Callable[[], Path], context: ActContext) -> None:
        """Carry out one act; each may be done again. `file` finds the snapshot, here. Raises BdopsError."""
        if act == STOP:
            self._on_all(lambda i: data_folders.prepare(self.pool, i, self.folders[i.name], self.stamp))
            self._stop_all(context)
        elif act == PLACE:
            # Somebody may have started one meanwhile.
            if self._not_yet(_is_down):
                self._stop_all(context)
            self._place_all(file(), context)
        elif act == START:
            self._start_all(context)
        elif act == VERIFY:
            self._verify(file(), context)
        else:
            self._on_all(lambda i: data_folders.tidy(self.pool, i, self.folders[i.name], self.stamp))

    def _on_all(self, do: Callable[[Instance], None]) -> None:
        """On all hosts at once. Raises the first error, after all have ended."""
        with ThreadPoolExecutor(min(16, len(self.deployment.instances))) as threads:
            for done in [threads.submit(do, i) for i in self.deployment.instances]:
                done.result()

    def _stop_all(self, context: ActContext) -> None:
        context.waiting("all servers to stop")
        self._on_all(lambda i: self._service(i, "stop", context))
        self._await(context, "stop", _is_down)

    def _start_all(self, context: ActContext) -> None:
        context.waiting("all servers to start")
        self._on_all(lambda i: self._service(i, "start", context))
        self._await(context, "start", lambda p: p.process is not None)
        deadline = time.monotonic() + self.rules.verify_timeout_s
        while (why := not_whole(state := read_state(self.deployment, timeout_s=READ_S))) is not None:
            if time.monotonic() > deadline:
                raise self._not_back(state, why)
            context.waiting(why)
            context.wait(INTERVAL_S)
        first = ensemble.leader(state)
        context.say(
            f"all {plural(len(self.deployment.instances), 'server')} serve, {first.name if first else '?'} leads"
        )

    def _service(self, instance: Instance, act: str, context: ActContext) -> None:
        """Stop or start one, unless it is so already; what a former run has left on its host is adopted."""
        act_id, timeout_s = f"zk-{self.stamp}.{act}", self.rules.act_timeout_s
        if read_act(self.pool, instance.host, act_id, timeout_s=READ_S).state != "absent":
            settle_act(self.pool, instance, act_id, timeout_s=timeout_s)
        if (read_process(self.pool, instance).process is not None) == (act == "stop"):
            act_on_service(self.pool, instance, act, act_id, timeout_s=timeout_s, say=context.waiting)

    def _await(self, context: ActContext, act: str, ready: Callable[[ServiceProcess], bool]) -> None:
        deadline = time.monotonic() + self.rules.act_timeout_s
        while said := "; ".join(f"{ensemble.short(n)}: {why}" for n, why in self._not_yet(ready).items()):
            if time.monotonic() > deadline:
                raise OperationFailed(f"the {act} has had no effect on {said}", code="NOT_BACK")
            context.waiting(f"the {act} of {said}")
            context.wait(INTERVAL_S)

    def _not_yet(self, ready: Callable[[ServiceProcess], bool]) -> dict[str, str]:
        """The servers that are not as they should be, or whose host does not tell, each with why."""
        read = read_all_processes(self.pool, self.deployment.instances)
        return {
            name: found.message if isinstance(found, BdopsError) else found.status.detail
            for name, found in read.items()
            if isinstance(found, BdopsError) or not ready(found)
        }

    def _not_back(self, state: ZkState, why: str) -> OperationFailed:
        down = next((s.name for s in ensemble.servers(state) if not s.serving), self.deployment.instances[0].name)
        tail: tuple[str, ...] = ()
        with suppress(BdopsError):
            tail = log_tail(self.pool, next(i for i in self.deployment.instances if i.name == down))
        return OperationFailed(
            f"the ensemble does not serve {format_duration(self.rules.verify_timeout_s)} after its start: {why}",
            where=down,
            hint=f"its log says: {tail[-1] if tail else 'nothing'}",
            code="NOT_BACK",
        )

    def _place_all(self, file: Path, context: ActContext) -> None:
        args = self.step.args
        # Read once, however many servers there are: each host compares what arrives.
        snapshot = data_folders.unchanged(file, args[SHA256])
        for instance in self.deployment.instances:
            context.waiting(f"the snapshot to be written on {instance.host.name}")
            context.wait(0)
            folders = self.folders[instance.name]
            data_folders.place(self.pool, instance, folders, self.stamp, snapshot, int(args["zxid"], 16))
            context.say(
                f"{ensemble.short(instance.name)}: {folders.data}/version-2 has {args['id']} and nothing else; "
                f"what was there is kept in {' and '.join(f'{f}/bdops-aside-{self.stamp}' for f in folders.each)}"
            )

    # -- is it what it should be -----------------------------------------------------------------------------------

    def _verify(self, file: Path, context: ActContext) -> None:
        """Every server's tree against the snapshot. Raises OperationFailed (RESTORE_DIFFERS)."""
        wrong: dict[str, str] = {}
        newer = 0
        for instance in self.deployment.instances:
            found = patiently(
                lambda i=instance: self._tree(i, file),  # type: ignore[misc]
                f"{ensemble.short(instance.name)} to write a snapshot",
                context,
            )
            newer = max(newer, found.newer)
            if why := found.wrong(self.step.args):
                wrong[instance.name] = why
        if wrong:
            raise OperationFailed(
                f"not the snapshot's tree: {'; '.join(f'{ensemble.short(n)}: {w}' for n, w in wrong.items())}",
                where=self.deployment.name,
                hint=f"bdops zk snapshot diff {self.step.args['id']} shows what differs",
                code="RESTORE_DIFFERS",
            )
        servers = f"all {plural(len(self.deployment.instances), 'server')}"
        its = f"its {self.step.args['lasting']:,} lasting znodes"
        if newer:
            context.say(f"{servers} began with {its}; clients have changed {plural(newer, 'znode')} since, and no more")
        else:
            context.say(f"{servers} have {its}, digest {self.step.args['lasting_digest']}")

    def _tree(self, instance: Instance, file: Path) -> Compared:
        try:
            with file.open("rb") as wanted, snapshot_stream(endpoint_of(instance), timeout_s=ANSWER_S) as stream:
                return compare(SnapshotReader(wanted), SnapshotReader(stream), self._last_known())
        except Damaged as e:
            raise OperationFailed(f"what it sent is no snapshot: {e}", where=instance.name) from None
        except OSError as e:
            raise ConfigError(f"the snapshot cannot be read: {e.strerror or e}", where=str(file)) from None

    def _last_known(self) -> int:
        """The last transaction that can be no client's since: an ensemble begins a new epoch when it starts.

        So what is played out of old transactions, had a folder of them been overlooked, is not taken for newer.
        """
        zxid = int(self.step.args["zxid"], 16)
        return zxid if len(self.deployment.instances) == 1 else zxid | 0xFFFFFFFF

    # -- the end of a job that is closed -----------------------------------------------------------------------------

    def abandon(self) -> str | None:
        """Put back what was moved aside where no server has run since; in words what stands.

        Raises OperationFailed when some servers have run with the snapshot while others do not have it.
        """
        if self.step.acts == (TIDY,):
            self._on_all(lambda i: data_folders.tidy(self.pool, i, self.folders[i.name], self.stamp))
            return None
        looks = look(self.deployment, self.pool, self.step, read_state(self.deployment, timeout_s=READ_S))
        unread = {n: one.error for n, one in looks.items() if not one.folders}
        if unread:
            name, why = next(iter(unread.items()))
            raise OperationFailed(f"what stands on it is not known: {why}", where=name, code="RESTORE_UNKNOWN")
        placed = [n for n, one in looks.items() if one.placed]
        live = [n for n, one in looks.items() if one.placed and (one.has_run or _runs(one))]
        if live and len(placed) < len(looks):
            raise OperationFailed(
                f"{', '.join(map(ensemble.short, live))} ran with the snapshot, and "
                f"{', '.join(ensemble.short(n) for n in looks if n not in placed)} do not have it: finish that",
                where=self.deployment.name,
                hint="bdops jobs resume",
                code="RESTORE_HALF_DONE",
            )
        if live:
            self._on_all(lambda i: data_folders.tidy(self.pool, i, self.folders[i.name], self.stamp))
            return (
                f"all servers have {self.step.args['id']}, and {len(live)} of {len(looks)} have run with it; nothing "
                f"was put back: what they had is in bdops-aside-{self.stamp} of their data folders; "
                "`bdops zk status` shows how they are"
            )
        self._on_all(lambda i: data_folders.put_back(self.pool, i, self.folders[i.name], self.stamp))
        down = [ensemble.short(n) for n, one in looks.items() if not _runs(one)]
        return f"every data folder is as it was; stopped: {', '.join(down) or 'none'} (bdops zk start)"


def _is_down(one: ServiceProcess) -> bool:
    return one.process is None and one.status.state in ("stopped", "failed")


def _runs(one: Look) -> bool:
    return one.process is not None and one.process.process is not None


def not_whole(state: ZkState) -> str | None:
    """What is missing until all servers serve behind one leader; None for nothing. Pure."""
    down = [ensemble.short(s.name) for s in ensemble.servers(state) if not s.serving or s.read_only]
    if down:
        return f"{', '.join(down)} to serve"
    return None if len(ensemble.leaders(state)) == 1 else "one leader"


@dataclass(slots=True)
class Compared:
    """A server's tree against the snapshot. `newer`: what clients have changed since, by its own transactions."""

    summary: Summary
    newer: int = 0
    unexplained: list[str] = field(default_factory=list)

    def wrong(self, wanted: Mapping[str, Any]) -> str | None:
        """In words how it is not what the record says; None when it is, or is newer."""
        if self.unexplained:
            return "; ".join(self.unexplained[:NAMED])
        found = {"lasting": self.summary.lasting, "lasting_digest": f"{self.summary.lasting_digest:#x}"}
        told = [f"{k} {v} instead of {wanted[k]}" for k, v in found.items() if v != wanted[k]]
        return "; ".join(told) if told and not self.newer else None


def compare(ours: SnapshotReader, theirs: SnapshotReader, zxid: int) -> Compared:
    """The lasting znodes of a snapshot and of a server that began with it. Pure but for reading.

    What was added or set since, be it to what it was, has a transaction after `zxid`; of what was deleted its parent
    has. Nothing is left of a change of an ACL that would tell when it was. Raises Damaged.
    """
    touched: set[bytes] = set()
    found = Compared(theirs.summary)

    def watched() -> Iterator[Node]:
        for node in theirs:
            if node.pzxid > zxid:
                touched.add(node.path)
            if node.mzxid > zxid and not node.ephemeral and not node.path.startswith(SYSTEM):
                found.newer += 1
            yield node

    with compared(ours, watched()) as both:
        for one in both.differences():
            if not _is_newer(one, zxid, touched):
                found.unexplained.append(f"{one.path}: {one.change}")
            elif one.mzxid_after is None:
                found.newer += 1
    return found


def _is_newer(one: Difference, zxid: int, touched: set[bytes]) -> bool:
    if one.mzxid_after is not None:
        return one.change.split() != ["acl"] and int(one.mzxid_after, 16) > zxid
    path = one.path.rstrip("/").encode()
    while path:
        path = path.rpartition(b"/")[0]
        if path in touched:
            return True
    return False
