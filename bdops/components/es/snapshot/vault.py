"""One repository of a cluster as a vault: the acts of jobs that make, delete, mark and restore snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bdops.components.backups import require_unneeded
from bdops.components.es.client import Node, escape
from bdops.components.es.snapshot import drill, parse, restore
from bdops.components.es.snapshot.difference import IndexSize, Side
from bdops.components.es.snapshot.global_state import Noted, read_global_state
from bdops.components.es.snapshot.indices import (
    CALL_S,
    LiveIndex,
    count_documents,
    health,
    live_indices,
    sizes,
    visible_indices,
)
from bdops.components.es.snapshot.pace import INTERVAL_S, Pace, seen
from bdops.components.es.snapshot.replacement import Replacement
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.backups import CLEAN_UP, COMPARE, CREATE, DELETE, DRILL, MARK, RESTORE, BackupRecord, marked
from bdops.core.plan import Step
from bdops.core.units import listed
from bdops.errors import BdopsError, OperationFailed

BUSY_S = 1800.0
"""How long a snapshot that somebody else is making is waited for."""
GLOBAL = "include_global_state"


@dataclass
class EsVault:
    """A repository. `entry` gives a node that answers and knows a master."""

    destination: str
    entry: Callable[[], Node]

    # -- reading -----------------------------------------------------------------------------------------------

    def records(self) -> tuple[BackupRecord, ...]:
        return parse.records(self.destination, self._read("_all"))

    def _one(self, id: str) -> BackupRecord | None:
        """One snapshot, without what marks say of it."""
        return _of(parse.records(self.destination, self._read(escape(id))), id)

    def live(self, names: Iterable[str]) -> dict[str, LiveIndex]:
        """Those of these indices that there are in the cluster."""
        return live_indices(self.entry(), names)

    def replacement(self, id: str, indices: Iterable[str]) -> Replacement:
        """What a restore of these indices of a snapshot into place replaces."""
        node, wanted = self.entry(), tuple(sorted(indices))
        live = live_indices(node, wanted)
        states = {name: found.get("status") for name, found in health(node, live).items()}
        countable = [n for n, i in live.items() if not i.closed and states.get(n) in ("green", "yellow")]
        return Replacement(
            indices=wanted,
            live=live,
            documents=dict.fromkeys(live) | count_documents(node, countable),
            red=frozenset(n for n, status in states.items() if status == "red"),
            wanted=self.sizes(id),
        )

    def sizes(self, id: str) -> dict[str, IndexSize]:
        """The indices of a snapshot, with their shards and bytes as far as they are noted in it."""
        return parse.index_sizes(self._read(escape(id), details=True), id)

    def side(self, record: BackupRecord) -> Side:
        """A snapshot, to be compared."""
        answer = self._read(escape(record.id), parse.marks_like(record.id), details=True)
        without = not record.state.get("global_state")
        return Side(
            name=record.id,
            indices=parse.index_sizes(answer, record.id),
            state=None if without else parse.noted_state(answer, record.id),
            without=without,
            why_not=f"of {record.id} no global state is noted: `create --global-state` of this bdops notes it",
        )

    def live_side(self, names: Iterable[str] | None) -> Side:
        """The cluster as it is, to be compared: these indices, and all others that are not hidden; None: no index."""
        node = self.entry()
        wanted = set() if names is None else {*names, *visible_indices(node)}
        live, bytes_of = live_indices(node, wanted), sizes(node, wanted)
        return Side(
            name="the cluster",
            live=True,
            indices={n: IndexSize(shards=i.shards, size_bytes=bytes_of.get(n)) for n, i in live.items()},
            state=Noted(state=read_global_state(node)),
        )

    def progress(self, step: Step, act: str) -> Progress:
        id = step.args["id"]
        if act == DELETE:
            return DONE if self._one(id) is None else pending("it to be gone")
        if act == MARK:
            found = parse.records(self.destination, self._read(escape(id), parse.marks_like(id)))
            return marked(_of(found, id), step.args["mark"])
        if act == CREATE:
            answer = self._read(escape(id), parse.marks_like(id))
            record = _of(parse.records(self.destination, answer), id)
            if record is None or record.status == "running":
                return pending("the snapshot to end")
            _require_good(record)
            noted = not step.args["body"][GLOBAL] or parse.noted_state(answer, id)
            return DONE if noted else pending("its global state to be noted")
        if act in (RESTORE, DRILL):
            return restore.restored(self.entry(), step)
        if act == CLEAN_UP:
            return drill.cleaned_up(self.entry(), step)
        return pending(act)

    def verify(self) -> tuple[str, ...]:
        """The nodes that can read and write the repository. Raises OperationFailed when one cannot."""
        answer = self.entry().post(f"{self._path}/_verify", timeout_s=CALL_S)
        return tuple(sorted(n["name"] for n in answer.get("nodes", {}).values()))

    # -- acts --------------------------------------------------------------------------------------------------

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        acts: Mapping[str, Callable[[Step, ActContext], None]] = {
            CREATE: self._create,
            DELETE: self._delete,
            MARK: self._mark,
            RESTORE: self._restore,
            DRILL: self._restore,
            COMPARE: lambda s, c: drill.compare(self.entry(), s, c),
            CLEAN_UP: lambda s, c: drill.clean_up(self.entry(), s),
        }
        acts[act](step, context)

    def abandon(self, step: Step) -> str | None:
        """A drill's copies are removed. A snapshot that is being made is deleted, which cancels it. What stands of a
        restore over what lives is told.

        Raises OperationFailed when indices that were to be restored over are neither what they were nor whole.
        """
        if CLEAN_UP in step.acts:
            drill.clean_up(self.entry(), step)
        elif restore.BEFORE in step.args or restore.GLOBAL_STATE in step.args:
            return restore.stands(self.entry(), step)
        elif RESTORE in step.acts:
            there = sorted(self.live(restore.targets_of(step).values()))
            return f"restored, perhaps not to the end, and stays: {listed(there)}" if there else None
        elif CREATE in step.acts and step.args["id"] in self._running():
            self._delete_one(step.args["id"])
        return None

    def _restore(self, step: Step, context: ActContext) -> None:
        known = {} if step.args.get(restore.GLOBAL_STATE) else self.sizes(step.args["id"])
        bytes_of = {name: found.size_bytes or 0 for name, found in known.items()}
        restore.restore(self.entry, step, context, bytes_of)

    def _create(self, step: Step, context: ActContext) -> None:
        id, body = step.args["id"], step.args["body"]
        if self._one(id) is None:
            self._await_others(context)
            node = self.entry()
            if body[GLOBAL]:
                metadata = body["metadata"][parse.METADATA] | {parse.STATE: read_global_state(node).digest}
                body = body | {"metadata": {parse.METADATA: metadata}}
            node.put(f"{self._path}/{escape(id)}", body, {"wait_for_completion": "false"}, timeout_s=CALL_S)
        self._watch(id, context)
        record = self._one(id)
        if record is None:
            # One that the repository did not take at the end leaves nothing. This says why, where that is still so.
            self.verify()
            raise OperationFailed(
                f"the snapshot {id} is gone: it could not be finished, or somebody deleted it", where=self.destination
            )
        _require_good(record)
        if body[GLOBAL]:
            # A snapshot has the global state of its end.
            self._note_state(id)

    def _watch(self, id: str, context: ActContext) -> None:
        """Wait for the end of one that is being made."""
        pace, began_s = Pace(), time.monotonic()
        while (found := seen(self._running, context).get(id)) is not None:
            shards, stats = found.get("shards_stats", {}), found.get("stats", {})
            how_far = pace.told(
                shards.get("done", 0),
                shards.get("total", 0),
                stats.get("processed", {}).get("size_in_bytes", 0),
                stats.get("incremental", {}).get("size_in_bytes", 0),
                now_s=time.monotonic(),
            )
            context.waiting(how_far)
            # A hundredth of what it takes, so that this is not what makes it long.
            context.wait(min(INTERVAL_S, max(0.1, 0.01 * (time.monotonic() - began_s))))

    def _running(self) -> dict[str, Mapping[str, Any]]:
        """The snapshots that are being made in this repository, which need not be readable for that, nor there."""
        answer = self.entry().get("_snapshot/_status", timeout_s=CALL_S)
        return {s["snapshot"]: s for s in answer.get("snapshots", ()) if s["repository"] == self.destination}

    def _await_others(self, context: ActContext) -> None:
        """A repository takes one snapshot after the other here: another one that runs is waited for, then refused."""
        deadline = time.monotonic() + BUSY_S
        while running := ", ".join(self._running()):
            if time.monotonic() >= deadline:
                raise OperationFailed(f"{running} is still being made", where=self.destination, code="SNAPSHOT_RUNNING")
            context.waiting(f"{running}, which somebody else makes, to end")
            context.wait(INTERVAL_S)

    def _note_state(self, id: str) -> None:
        half = parse.marks_of(self._read(parse.marks_like(id, f"{parse.STATE}-*")), id)
        for name, content in parse.state_marks(id, read_global_state(self.entry()), datetime.now(UTC)).items():
            self._put_mark(name, content)
        # What a run that was killed has noted of it.
        for name in half:
            self._delete_one(name)

    def _delete(self, step: Step, context: ActContext) -> None:
        id = step.args["id"]
        answer = self._read(escape(id), parse.marks_like(id))
        if record := _of(parse.records(self.destination, answer), id):
            require_unneeded(record, self.records(), step)
        if parse.marks_of(answer, id):
            self._delete_one(parse.marks_like(id))
        self._delete_one(id)

    def _mark(self, step: Step, context: ActContext) -> None:
        """The new mark first, then the old ones away: in between the newer one counts."""
        id, wanted = step.args["id"], dict(step.args["mark"])
        old = parse.marks_of(self._read(parse.marks_like(id)), id, wanted["kind"])
        name = parse.mark_name(id, wanted["kind"], datetime.now(UTC))
        if wanted["kind"] != "hold" or wanted.get("reason"):
            if name not in old:
                self._put_mark(name, {"of": id, **wanted})
            old = tuple(n for n in old if n != name)
        for found in old:
            self._delete_one(found)

    def _put_mark(self, name: str, content: Mapping[str, Any]) -> None:
        body = parse.create_body(("-*",), content) | {"feature_states": ["none"]}
        self.entry().put(f"{self._path}/{name}", body, {"wait_for_completion": "true"}, timeout_s=CALL_S)

    def _delete_one(self, name: str) -> None:
        self.entry().delete(f"{self._path}/{escape(name)}", {"master_timeout": "30s"}, timeout_s=10 * CALL_S)

    @property
    def _path(self) -> str:
        return f"_snapshot/{escape(self.destination)}"

    def _read(self, *names: str, details: bool = False) -> Any:
        """Snapshots by names or patterns, those that there are: the cluster reads a file in the repository for each.

        `details`: with the shards and bytes of their indices.

        Raises BdopsError with the repository's own reason when it cannot be read.
        """
        params = {"index_names": "true", **({"index_details": "true"} if details else {})}
        if names != ("_all",):
            params["ignore_unavailable"] = "true"
        answer = self.entry().request("GET", f"{self._path}/{','.join(names)}", params, timeout_s=CALL_S)
        if answer.status >= 400 or not isinstance(answer.body, dict):
            error = (answer.body or {}).get("error", {}) if isinstance(answer.body, dict) else {}
            why = error.get("reason", f"HTTP {answer.status}") if isinstance(error, dict) else str(error)
            raise BdopsError(
                f"the repository cannot be read: {why}",
                where=self.destination,
                hint="bdops es check; is it registered, and its folder there for all nodes?",
                code="REPOSITORY_UNREADABLE",
            )
        return answer.body


def _of(records: Iterable[BackupRecord], id: str) -> BackupRecord | None:
    return next((r for r in records if r.id == id), None)


def _require_good(record: BackupRecord) -> None:
    """Raises OperationFailed for a snapshot that has ended and does not count."""
    if not record.good:
        raise OperationFailed(
            f"the snapshot {record.id} is {record.status}: {record.error or 'no reason given'}",
            where=record.destination,
            hint="it does not count as a backup; `bdops es snapshot show` names what failed, "
            "--allow-partial takes what there is; abort this job, and make another",
            code="SNAPSHOT_NOT_GOOD",
        )
