"""Restores: of indices beside what lives, of indices over what lives, and of the cluster's global state.

Elasticsearch Guide, "Restore a snapshot": nothing is restored over an open index; a closed one is restored over when
it has as many shards as in the snapshot. It then keeps its UUID and gets a new history: by that is seen what is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bdops.components.es.client import Node, escape, name_lists
from bdops.components.es.snapshot.indices import CALL_S, LiveIndex, health, live_indices
from bdops.components.es.snapshot.pace import INTERVAL_S, Pace, seen
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step
from bdops.core.units import plural
from bdops.errors import BdopsError, OperationFailed

BEFORE = "replaced"
"""The argument of a step that restores over what lives: the signature that each index had when it was planned."""
ANEW = "deleted_first"
"""Those of them that have another number of shards in the snapshot: nothing can be restored over them."""
GLOBAL_STATE = "global_state"
"""The argument of a step that restores the global state, and no index."""
INDICES, CLOSED = "indices", "closed for a restore"
"""Object and key of what a restore borrows: indices that are open again when it does not come to it."""
NOT_RESTORED = ("index.lifecycle.name", "index.default_pipeline", "index.routing.allocation.*", "index.blocks.*")
"""Settings that would have a restored copy deleted, changed, left unassigned or refused to be read."""
_CLOSE_S = 120.0
_LATER: Mapping[str, str] = {"wait_for_active_shards": "0"}


def targets_of(step: Step) -> dict[str, str]:
    """The name that each index of a snapshot gets."""
    prefix = step.args.get("prefix", "")
    return {index: f"{prefix}{index}" for index in step.args["indices"]}


def restore(entry: Callable[[], Node], step: Step, context: ActContext, sizes: Mapping[str, int]) -> None:
    """Begin the restore, unless it has begun, and watch it to its end. Raises OperationFailed when shards fail.

    `entry` gives a node that answers; `sizes` are the bytes of the snapshot's indices, as far as they are known.
    """
    node = entry()
    if step.args.get(GLOBAL_STATE):
        body = {"indices": "-*", "include_global_state": True, "feature_states": ["none"], "include_aliases": False}
        node.post(_path(step), body, {"wait_for_completion": "true"}, timeout_s=_CLOSE_S)
        return
    if BEFORE in step.args:
        _begin_over(node, step, context)
    else:
        _begin_beside(node, step)
    pace, total_bytes = Pace(), sum(sizes.get(index, 0) for index in step.args["indices"])
    while not (progress := seen(lambda: restored(entry(), step), context)).done:
        if gone := seen(lambda: _missing(entry(), step), context):
            raise OperationFailed(
                f"{', '.join(gone[:4])}: somebody deleted it while it was restored",
                where=step.args["id"],
                code="RESTORE_DISTURBED",
            )
        context.waiting(_how_far(entry, step, pace, total_bytes) or progress.waiting_for)
        context.wait(INTERVAL_S)
    if context.borrowed(INDICES, CLOSED):
        context.give_back(INDICES, CLOSED)


def restored(node: Node, step: Step) -> Progress:
    """Whether all primaries of the restored indices serve. Raises OperationFailed when one cannot be restored."""
    wanted = targets_of(step)
    if missing := _missing(node, step):
        return pending(f"{plural(len(missing), 'index', 'indices')} to be restored: {', '.join(missing[:3])}")
    # By the shards: an index that is only just being restored is yellow, not red.
    left = _without_primaries(node, wanted.values())
    if left:
        _require_no_failure(node, step, left)
    return pending(f"shards of {plural(len(left), 'index', 'indices')}: {', '.join(left[:3])}") if left else DONE


def stands(node: Node, step: Step) -> str | None:
    """What stands of a restore over what lives that is given up; None when it has not begun.

    Raises OperationFailed (RESTORE_HALF_DONE) when an index is begun and not whole.
    """
    id = step.args["id"]
    if step.args.get(GLOBAL_STATE):
        return f"the global state may be that of {id}: `bdops es snapshot diff {id}` compares"
    there = live_indices(node, step.args["indices"])
    gone = [name for name in step.args[BEFORE] if name not in there]
    touched = sorted(n for n, i in there.items() if step.args[BEFORE].get(n) != i.signature)
    if broken := sorted({*gone, *_without_primaries(node, touched)}):
        raise OperationFailed(
            f"{', '.join(broken[:6])}: begun, and not whole yet",
            where=id,
            hint="bdops jobs resume; or restore the snapshot of what was there before over it first",
            code="RESTORE_HALF_DONE",
        )
    return f"not as when this was planned, and whole: {', '.join(touched)}" if touched else None


def reopen(node: Node, names: str) -> None:
    """Open those of these indices (with commas between) that are closed still: the restore has not come to them."""
    closed = [name for name, index in live_indices(node, names.split(",")).items() if index.closed]
    for part in name_lists(closed):
        node.post(f"{part}/_open", None, _LATER, timeout_s=CALL_S)


def _missing(node: Node, step: Step) -> list[str]:
    """The names under which nothing of the snapshot is there yet."""
    wanted = targets_of(step).values()
    there = live_indices(node, wanted)
    if BEFORE in step.args:
        return _not_yet_over(node, step, there)
    return [name for name in wanted if name not in there]


def _begin_beside(node: Node, step: Step) -> None:
    missing = set(_missing(node, step))
    if indices := [index for index, name in targets_of(step).items() if name in missing]:
        body = {
            **_of(indices),
            "include_aliases": False,
            "rename_pattern": "(.+)",
            "rename_replacement": f"{step.args['prefix']}$1",
            "index_settings": {"index.number_of_replicas": 0},
            "ignore_index_settings": list(NOT_RESTORED),
        }
        node.post(_path(step), body, timeout_s=CALL_S)


def _begin_over(node: Node, step: Step, context: ActContext) -> None:
    """Close (or, of another number of shards, delete) what lives, and begin. What is closed is borrowed: it is opened
    again when the restore does not begin."""
    there = live_indices(node, step.args["indices"])
    left = _not_yet_over(node, step, there)
    if not left:
        return
    alive = [name for name in left if name in there]
    away = [name for name in alive if name in step.args[ANEW]]
    if open_ones := [name for name in alive if name not in away and not there[name].closed]:
        context.borrow(INDICES, CLOSED, previous="open", value=",".join(open_ones))
        for part in name_lists(open_ones):
            node.post(f"{part}/_close", None, _LATER, timeout_s=_CLOSE_S)
    for name in away:
        node.delete(escape(name), timeout_s=CALL_S)
    node.post(_path(step), _of(left), timeout_s=CALL_S)


def _not_yet_over(node: Node, step: Step, there: Mapping[str, LiveIndex]) -> list[str]:
    """Indices that are to be restored over what lives, and are not yet.

    Raises OperationFailed (INDEX_CHANGED) for one that somebody has made since this was planned.
    """
    before: Mapping[str, str] = step.args[BEFORE]
    others = [name for name, index in there.items() if before.get(name) != index.signature]
    if foreign := _made_empty(node, others):
        raise OperationFailed(
            f"{', '.join(foreign[:6])}: made by somebody else since this was planned",
            where=step.args["id"],
            hint="nothing is restored over what the plan does not show: `bdops jobs abort`, and plan anew",
            code="INDEX_CHANGED",
        )
    return [name for name in step.args["indices"] if name not in others]


def _made_empty(node: Node, names: Iterable[str]) -> list[str]:
    """Those of these indices that began empty: they are from no snapshot."""
    found = []
    for part in name_lists(names):
        for name, body in _recoveries(node, part).items():
            if any(s.get("primary") and s.get("type") == "EMPTY_STORE" for s in body.get("shards", ())):
                found.append(name)
    return sorted(found)


def _recoveries(node: Node, names: str) -> Mapping[str, Any]:
    params = {"filter_path": "*.shards.type,*.shards.primary,*.shards.index.size", "expand_wildcards": "all"}
    return node.get(f"{names}/_recovery", {**params, "ignore_unavailable": "true"}, timeout_s=CALL_S)


def _without_primaries(node: Node, names: Iterable[str]) -> list[str]:
    wanted = list(names)
    found = health(node, wanted)
    shards = {name: (f.get("active_primary_shards", 0), f.get("number_of_shards")) for name, f in found.items()}
    return [name for name in wanted if len(set(shards.get(name, (0, 1)))) > 1]


def _how_far(entry: Callable[[], Node], step: Step, pace: Pace, total_bytes: int) -> str | None:
    """In shards and bytes; None when that cannot be seen, which is no reason to stop a restore."""
    names = list(targets_of(step).values())
    try:
        node = entry()
        found = health(node, names)
        done = sum(f.get("active_primary_shards", 0) for f in found.values())
        shards = sum(f.get("number_of_shards", 0) for f in found.values())
        copied = wanted = 0
        for part in name_lists(found):
            for body in _recoveries(node, part).values():
                sizes = [s["index"]["size"] for s in body.get("shards", ()) if s.get("type") == "SNAPSHOT"]
                copied += sum(s.get("recovered_in_bytes", 0) + s.get("reused_in_bytes", 0) for s in sizes)
                wanted += sum(s.get("total_in_bytes", 0) for s in sizes)
    except BdopsError:
        return None
    return pace.told(done, shards, copied, max(total_bytes, wanted), now_s=time.monotonic()) if shards else None


def _require_no_failure(node: Node, step: Step, names: Sequence[str]) -> None:
    """Raises OperationFailed when a shard could not be restored: it stays unassigned, with the reason."""
    for part in name_lists(names):
        path = f"_cluster/state/routing_table/{part}"
        table = node.get(path, {"expand_wildcards": "all"}, timeout_s=CALL_S).get("routing_table", {})
        for index, found in table.get("indices", {}).items():
            for shard, copies in found["shards"].items():
                for copy in copies:
                    why = copy.get("unassigned_info", {})
                    if copy["primary"] and copy["state"] == "UNASSIGNED" and why.get("reason") == "ALLOCATION_FAILED":
                        raise _failed(step, f"{index}[{shard}]", str(why.get("details", "no details")))


def _failed(step: Step, shard: str, details: str) -> OperationFailed:
    over = BEFORE in step.args
    return OperationFailed(
        f"{shard} cannot be restored from {step.args['id']}: {details.split('; nested:')[-1].strip()[:300]}",
        where=step.args["destination"],
        hint="the snapshot or its repository is damaged: "
        + (
            "restore the snapshot of what was there before (`...-before-...`) --into-place, then abort this job"
            if over
            else "nothing was proved; abort this job"
        ),
        code="RESTORE_FAILED",
    )


def _of(indices: Sequence[str]) -> dict[str, Any]:
    return {"indices": ",".join(indices), "include_global_state": False, "feature_states": ["none"]}


def _path(step: Step) -> str:
    return f"_snapshot/{escape(step.args['destination'])}/{escape(step.args['id'])}/_restore"
