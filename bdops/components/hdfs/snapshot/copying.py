"""Restores that run on the cluster: a program of Hadoop's on one of its hosts copies, bdops starts it and looks.

What is copied goes into a folder `bdops-restoring-STAMP` beside where it belongs, is held against the snapshot there,
and gets its name by a rename, which HDFS does whole or not at all. The program is a detached act on its host: it goes
on when bdops is killed, and a resume adopts it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.rpc import RemoteError
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.catalogue import PRIVATE
from bdops.components.hdfs.snapshot.restore import compare_paths
from bdops.components.hdfs.web_files import WebFiles
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.model import Deployment, Host
from bdops.core.plan import Step, Target
from bdops.core.units import format_size, plural
from bdops.errors import BdopsError, OperationFailed, Unreachable
from bdops.hosts.acts import ActState, cancel_act, forget_act, read_act, start_act, wait_act
from bdops.hosts.ssh import CommandTimeout, SshPool

COPY, COMPARE, PUBLISH = "restore-copy", "restore-compare", "restore-publish"
ACTS = (COPY, COMPARE, PUBLISH)
LARGE_BYTES = 10 * 10**9
"""More than this is copied by many at once (distcp, on YARN), less by one."""
CALL_S = 20.0
CANCEL_S = 20.0
LOOK_EVERY_S = 2.0
SILENCE_S = 120.0
"""A host that does not answer for so long pauses the job; its copy goes on."""
BATCH_ITEMS = 200
BATCH_BYTES = 48 << 10
"""Of one command line: a host takes more, a shell's single word much more."""
NAMED = 5
_GLOB, _ESCAPED = re.compile(r"([][*?{}^\\])"), r"\\\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file or directory: from where (a full path), and which name it gets. `overwrite`: it replaces a file."""

    source: str
    name: str
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one command copies: all of it into one folder."""

    folder: str
    items: tuple[Item, ...]


def batches(items: Iterable[tuple[str, Item]]) -> list[Batch]:
    """Items with their folders, as few commands as their lines' length lets. Two of one name are not in one. Pure."""
    grouped: dict[str, list[list[Item]]] = {}
    for folder, item in items:
        groups = grouped.setdefault(folder, [[]])
        size = sum(len(i.source.encode()) for i in groups[-1])
        if len(groups[-1]) >= BATCH_ITEMS or size + len(item.source.encode()) > BATCH_BYTES:
            groups.append([])
        groups[-1].append(item)
    return [Batch(folder=folder, items=tuple(group)) for folder, groups in grouped.items() for group in groups if group]


def stage_of(folder: str, stamp: str, number: int) -> str:
    """Where a batch is copied to first."""
    return f"{folder.rstrip('/')}/bdops-restoring-{stamp}-{number}"


def copy_argv(
    program: str, user: str, nameservice: str, sources: Sequence[str], stage: str, *, size_bytes: int
) -> tuple[str, ...]:
    """The command that copies paths into a folder, with owners, times and permissions; by YARN when it is much. Pure.

    Hadoop takes its paths for patterns; but for the target of distcp, which it takes as it is (OptionsParser).
    """
    large = size_bytes > LARGE_BYTES
    how = ("distcp", "-pugptxb") if large else ("fs", "-cp", "-p")
    paths = [*map(literal, sources), stage if large else literal(stage)]
    return ("env", f"HADOOP_USER_NAME={user}", program, *how, *(f"hdfs://{nameservice}{path}" for path in paths))


def literal(path: str) -> str:
    """A path for a command of Hadoop that takes patterns: what has a meaning in one is escaped (GlobPattern). Pure."""
    return _GLOB.sub(_ESCAPED, path)


def copy_targets(
    found: Sequence[Batch], args: Mapping[str, Any], sizes: Sequence[int], made: Sequence[str | None]
) -> tuple[Target, ...]:
    """One step a batch. `args` are the same of all; `made` the topmost directory that has to be made for each. Pure."""
    targets = []
    for number, (batch, size, top) in enumerate(zip(found, sizes, made, strict=True), 1):
        one = batch.items[0]
        what = f"{one.source} -> {batch.folder.rstrip('/')}/{one.name}"
        more = f" and {len(batch.items) - 1} more" if len(batch.items) > 1 else ""
        of_batch = {
            "folder": batch.folder,
            "stage": stage_of(batch.folder, args["stamp"], number),
            "items": [{"source": i.source, "name": i.name, "overwrite": i.overwrite} for i in batch.items],
            "size_bytes": size,
            "made": top,
            "act": f"hdfs-restore-{args['stamp']}-{number}",
        }
        targets.append(
            Target(
                name=f"{args['id']} {number}" if len(found) > 1 else args["id"],
                acts=ACTS,
                rank=number,
                role="backup",
                note=f"{what}{more}, {format_size(size)}, by {args['program']} on {args['host']}",
                args={**args, **of_batch},
            )
        )
    return tuple(targets)


def find_host(deployment: Deployment, pool: SshPool) -> tuple[Host | None, str]:
    """A host of the cluster that has the program, those of NameNodes last; and the program, or why there is none."""
    busy = {i.host.name for i in deployment.instances if "namenode" in i.roles}
    ordered = sorted(deployment.instances, key=lambda i: (i.host.name in busy, "datanode" not in i.roles))
    said: dict[str, str] = {}
    for instance in ordered:
        host, program = instance.host, instance.settings.hadoop_command
        if host.name in said:
            continue
        try:
            done = pool.run(host, ("sh", "-c", 'command -v -- "$1"', "sh", program), timeout_s=CALL_S)
        except BdopsError as e:
            said[host.name] = f"{host.name}: {e.message}"
            continue
        if done.exit_status == 0 and done.stdout.strip():
            return host, program
        said[host.name] = f"{host.name} has no {program}"
    return None, "; ".join(said.values()) or "the inventory has no host"


@dataclass(frozen=True, slots=True)
class Copying:
    """One step of a restore."""

    service: Nameservice
    web: WebFiles
    pool: SshPool
    deployment: Deployment
    step: Step

    @property
    def args(self) -> Mapping[str, Any]:
        return self.step.args

    @property
    def items(self) -> list[Item]:
        return [Item(**i) for i in self.args["items"]]

    @property
    def host(self) -> Host:
        """Raises OperationFailed when the inventory has it no more."""
        for instance in self.deployment.instances:
            if instance.host.name == self.args["host"]:
                return instance.host
        raise OperationFailed(f"the inventory has no host {self.args['host']} any more", code="RESTORE_COPY_FAILED")

    def published(self) -> Progress:
        """Whether everything has its name, and the folder of the copies is gone."""

        def done(namenode: NameNode) -> bool:
            targets = (self._target(item) for item in self.items)
            return not namenode.exists(self.args["stage"]) and all(map(namenode.exists, targets))

        return DONE if self.service.on_active(done) else pending("the copies to get their names")

    def perform(self, act: str, context: ActContext) -> None:
        {COPY: self._copy, COMPARE: self._compare, PUBLISH: self._publish}[act](context)

    def _copy(self, context: ActContext) -> None:
        """Start the program, or adopt the one that was started, and wait for its end. Raises OperationFailed."""
        host, act = self.host, self.args["act"]
        state = read_act(self.pool, host, act, timeout_s=CALL_S)
        if not state.started and state.state != "running":
            forget_act(self.pool, host, act, timeout_s=CALL_S)
            self.service.on_active(self._make_stage)
            start_act(self.pool, host, act, self._argv(), timeout_s=CALL_S)
        while (state := self._followed(host, act, context)).state == "running":
            context.waiting(f"the copy on {host.name}: {self._how_far()}")
            context.wait(0)
        if state.state == "ended" and state.exit_status == 0:
            return
        forget_act(self.pool, host, act, timeout_s=CALL_S)
        lines = [line for line in state.output.splitlines() if line.strip()]
        ended = f"exits {state.exit_status}" if state.state == "ended" else "was lost with its host"
        raise OperationFailed(
            f"{self.args['program']} {ended}: {' | '.join(lines[-3:]) or 'no words'}",
            where=host.name,
            hint="bdops jobs resume copies anew; bdops jobs abort removes what was copied",
            code="RESTORE_COPY_FAILED",
        )

    def _followed(self, host: Host, act: str, context: ActContext) -> ActState:
        """The act's state a moment later, or when it has ended. A host that is silent for a while is waited for."""
        deadline = time.monotonic() + SILENCE_S
        while True:
            try:
                return wait_act(self.pool, host, act, timeout_s=LOOK_EVERY_S)
            except (Unreachable, CommandTimeout) as e:
                if time.monotonic() > deadline:
                    raise
                context.waiting(f"{host.name}: {e.message}")
                context.wait(LOOK_EVERY_S)

    def _make_stage(self, namenode: NameNode) -> None:
        calls.delete_path(namenode, self.args["stage"])
        calls.make_directory(namenode, self.args["stage"], mode=PRIVATE)

    def _argv(self) -> tuple[str, ...]:
        settings = self.deployment.settings
        return copy_argv(
            self.args["program"],
            settings.user,
            settings.nameservice,
            [i.source for i in self.items],
            self.args["stage"],
            size_bytes=self.args["size_bytes"],
        )

    def _how_far(self) -> str:
        try:
            there = self.service.on_active(lambda n: calls.summary_of(n, self.args["stage"]))
        except BdopsError as e:
            return e.message
        return f"{format_size(there.size_bytes)} of {format_size(self.args['size_bytes'])}"

    def _compare(self, context: ActContext) -> None:
        """All that was copied against the snapshot. Raises OperationFailed (RESTORE_DIFFERS)."""
        files = size = checksums = 0
        access: list[str] = []
        for item in self.items:
            context.wait(0)
            copied = f"{self.args['stage']}/{_basename(item.source)}"
            found = compare_paths(
                self.service, self.web, item.source, copied, files=self.args["checksums"], patience=context
            )
            if found.different or not self.service.on_active(lambda n, c=copied: n.exists(c)):  # type: ignore[misc]
                raise OperationFailed(
                    f"what was copied of {item.source} is not what is in the snapshot: "
                    f"{'; '.join(found.named) or 'nothing is there'}",
                    where=copied,
                    hint="bdops jobs abort removes it; then restore anew",
                    code="RESTORE_DIFFERS",
                )
            files, size, checksums = files + found.files, size + found.size_bytes, checksums + found.checksums
            access += found.other_access
        context.say(
            f"{plural(files, 'file')}, {format_size(size)}: names and lengths are those of the snapshot, and so are "
            f"{plural(checksums, 'checksum')}"
        )
        if access:
            context.say(f"owner or permissions could not be kept of {len(access)}: {', '.join(access[:NAMED])}")

    def _publish(self, context: ActContext) -> None:
        """Give everything its name. Raises OperationFailed (HDFS_PATH_EXISTS) for a name that is taken by now."""
        forget_act(self.pool, self.host, self.args["act"], timeout_s=CALL_S)
        for item in self.items:
            copied, target = f"{self.args['stage']}/{_basename(item.source)}", self._target(item)
            if not self.service.on_active(lambda n, c=copied: n.exists(c)):  # type: ignore[misc]
                continue  # a former run has
            try:
                self.service.on_active(
                    lambda n, c=copied, t=target, o=item.overwrite: calls.rename_path(n, c, t, overwrite=o)  # type: ignore[misc]
                )
            except RemoteError as e:
                raise OperationFailed(
                    f"{target} cannot take its place: {e.message}",
                    where=self.args["stage"],
                    hint="it was made meanwhile: bdops jobs abort, then restore what is still missing",
                    code="HDFS_PATH_EXISTS",
                ) from None
        self.service.on_active(lambda n: calls.delete_path(n, self.args["stage"]))
        first = self._target(self.items[0])
        more = f" and {len(self.items) - 1} more" if len(self.items) > 1 else ""
        context.say(f"restored: {first}{more}")

    def _target(self, item: Item) -> str:
        return f"{self.args['folder'].rstrip('/')}/{item.name}"

    def abandon(self) -> str | None:
        """End the program, remove what it has copied and the directories that were made for it; what stands."""
        cancel_act(self.pool, self.host, self.args["act"], timeout_s=CANCEL_S)
        there = self.service.on_active(self._remove)
        return f"restored, and stays: {', '.join(there[:NAMED])}" if there else None

    def _remove(self, namenode: NameNode) -> list[str]:
        """Remove the copies, and what was made for them and is empty; what has its name already."""
        stage, folder, top = self.args["stage"], self.args["folder"], self.args["made"]
        begun = namenode.exists(stage)
        targets = [(f"{stage}/{_basename(i.source)}", self._target(i)) for i in self.items]
        there = [t for copied, t in targets if begun and not namenode.exists(copied) and namenode.exists(t)]
        calls.delete_path(namenode, stage)
        while top and (folder == top or folder.startswith(f"{top}/")):
            try:
                calls.delete_path(namenode, folder, recursive=False)
            except RemoteError:  # it is not empty: somebody uses it
                break
            folder = folder.rpartition("/")[0]
        return there


def _basename(path: str) -> str:
    return path.rpartition("/")[2]
