"""What a repository says of its snapshots, as records. Pure.

What bdops has to remember of a snapshot (that it is held, that a restore of it was proved, which global state is in
it) is kept in the repository itself: as the metadata of marks, snapshots without an index. A snapshot's own metadata
cannot be changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from bdops.components.es.snapshot.difference import IndexSize
from bdops.components.es.snapshot.global_state import GlobalState, Noted, decode, encode
from bdops.core.backups import BackupRecord, Status

MARK_PREFIX = "bdops-mark-"
PROVED_MARKS = f"{MARK_PREFIX}proved-*"
METADATA = "bdops"
"""The key of our part of a snapshot's metadata, which may have 1,024 bytes."""
STATE = "state"
"""Our key of the digest of the global state as a snapshot was begun, and the kind of the marks that have the state."""
NOT_INDICES = ("data stream ", "feature ")
"""What is in a snapshot that is no index, by what `BackupRecord.what` calls it."""

_STATUS: dict[str, Status] = {
    "SUCCESS": "complete",
    "PARTIAL": "partial",
    "FAILED": "failed",
    "INCOMPATIBLE": "failed",
    "IN_PROGRESS": "running",
}


def records(repository: str, answer: Mapping[str, Any]) -> tuple[BackupRecord, ...]:
    """From `_snapshot/REPOSITORY/_all`: every snapshot but the marks, with what the marks say of it."""
    marks = _marks(answer)
    return tuple(
        _record(repository, s, marks.get(s["snapshot"], {})) for s in _listed(answer) if not is_mark(s["snapshot"])
    )


def _listed(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [s for s in answer.get("snapshots", ()) if isinstance(s, dict)]


def _marks(answer: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """By the snapshot that they are of, and their kind."""
    marks: dict[str, dict[str, dict[str, Any]]] = {}
    found = (s for s in _listed(answer) if is_mark(s["snapshot"]))
    for mark in sorted(found, key=lambda s: s.get("start_time_in_millis", 0)):
        ours = mine(mark)
        if mark.get("state") == "SUCCESS" and "of" in ours:
            # A later mark of a kind replaces an earlier one: that one could not be deleted yet.
            marks.setdefault(ours["of"], {})[ours.get("kind", "")] = ours
    return marks


def state_marks(snapshot: str, state: GlobalState, at: datetime) -> dict[str, dict[str, Any]]:
    """The marks that note the global state of a snapshot: what each is called, and what is in it."""
    texts = encode(state)
    found = {}
    for number, text in enumerate(texts, 1):
        kind = f"{STATE}-{number}"
        found[mark_name(snapshot, kind, at)] = {
            "of": snapshot,
            "kind": kind,
            "parts": len(texts),
            "at": at.isoformat(timespec="seconds"),
            "data": text,
        }
    return found


def noted_state(answer: Mapping[str, Any], snapshot: str) -> Noted | None:
    """The global state that is noted of a snapshot; None when none is, or not all of it is there."""
    marks = _marks(answer).get(snapshot, {})
    if (first := marks.get(f"{STATE}-1")) is None:
        return None
    found = [marks.get(f"{STATE}-{number}") for number in range(1, first["parts"] + 1)]
    texts = [m["data"] for m in found if m is not None and m["at"] == first["at"]]
    state = decode(texts) if len(texts) == len(found) else None
    if state is None:
        return None
    begun = next((mine(s).get(STATE) for s in _listed(answer) if s["snapshot"] == snapshot), None)
    return Noted(state=state, changed=begun is not None and begun != state.digest)


def create_body(
    indices: Sequence[str], ours: Mapping[str, Any], *, global_state: bool = False, partial: bool = False
) -> dict[str, Any]:
    """What asks Elasticsearch for a snapshot. `ours` is what bdops notes in it; what is not known is left out."""
    return {
        "indices": ",".join(indices),
        "include_global_state": global_state,
        "partial": partial,
        "ignore_unavailable": False,
        "metadata": {METADATA: {k: v for k, v in ours.items() if v}},
    }


def index_sizes(answer: Mapping[str, Any], snapshot: str) -> dict[str, IndexSize]:
    """The indices of a snapshot, from an answer with `index_details` (Elasticsearch 7.13; none before)."""
    body = next((s for s in _listed(answer) if s["snapshot"] == snapshot), {})
    details = body.get("index_details") or {}
    of_features = _of_features(body)
    return {
        name: IndexSize(
            shards=details.get(name, {}).get("shard_count"), size_bytes=details.get(name, {}).get("size_in_bytes")
        )
        for name in body.get("indices", ())
        if name not in of_features
    }


def _of_features(body: Mapping[str, Any]) -> set[str]:
    """System indices: they are restored with their feature, never by name."""
    return {index for feature in body.get("feature_states") or () for index in feature.get("indices", ())}


def marks_of(answer: Mapping[str, Any], snapshot: str, kind: str | None = None) -> tuple[str, ...]:
    """The names of a snapshot's marks, of one kind or of all."""
    return tuple(
        s["snapshot"]
        for s in answer.get("snapshots", ())
        if is_mark(s["snapshot"]) and mine(s).get("of") == snapshot and kind in (None, mine(s).get("kind"))
    )


def last_proof(answer: Mapping[str, Any]) -> datetime | None:
    """When a restore was last proved, by a page of marks."""
    times = [mine(s)["at"] for s in answer.get("snapshots", ()) if mine(s).get("at")]
    return datetime.fromisoformat(max(times)) if times else None


def is_mark(name: str) -> bool:
    return name.startswith(MARK_PREFIX)


def marks_like(snapshot: str, kind: str = "*") -> str:
    """The pattern of the names of a snapshot's marks, of all kinds or of those like one."""
    return f"{MARK_PREFIX}{kind}-{_digest(snapshot)}-*"


def mark_name(snapshot: str, kind: str, at: datetime) -> str:
    """A mark's name: the snapshot's may be long, so a digest stands for it."""
    return f"{MARK_PREFIX}{kind}-{_digest(snapshot)}-{at:%Y%m%d%H%M%S}"


def _digest(snapshot: str) -> str:
    return hashlib.sha256(snapshot.encode()).hexdigest()[:12]


def indices_of(record: BackupRecord) -> list[str]:
    """The indices that can be restored by name."""
    return [name for name in record.what if not name.startswith(NOT_INDICES)]


def mine(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Our part of a snapshot's metadata."""
    found = (snapshot.get("metadata") or {}).get(METADATA)
    return found if isinstance(found, dict) else {}


def asked_for(name: str, patterns: Sequence[str] | None) -> bool:
    """Whether an index is like one of the patterns (any if there is none), and like none of those with a - first."""
    wanted = [p for p in patterns or () if not p.startswith("-")] or ["*"]
    unwanted = [p[1:] for p in patterns or () if p.startswith("-")]
    return any(fnmatchcase(name, p) for p in wanted) and not any(fnmatchcase(name, p) for p in unwanted)


def _record(repository: str, body: Mapping[str, Any], marks: Mapping[str, Mapping[str, Any]]) -> BackupRecord:
    ours = mine(body)
    state = body.get("state", "")
    ended_ms = body.get("end_time_in_millis") or 0
    failures: Sequence[Mapping[str, Any]] = body.get("failures") or ()
    hold, proof, of_features = marks.get("hold", {}), marks.get("proved", {}), _of_features(body)
    return BackupRecord(
        id=body["snapshot"],
        destination=repository,
        what=(
            *(i for i in body.get("indices", ()) if i not in of_features),
            *(f"data stream {d}" for d in body.get("data_streams", ())),
            *(f"feature {f['feature_name']}" for f in body.get("feature_states") or ()),
        ),
        taken_at=datetime.fromtimestamp(body["start_time_in_millis"] / 1000, UTC),
        status=_STATUS.get(state, "failed"),
        partial_allowed=bool(ours.get("partial_allowed")),
        duration_s=(ended_ms - body["start_time_in_millis"]) / 1000 if ended_ms else None,
        state={
            "uuid": body.get("uuid"),
            "version": body.get("version"),
            "global_state": body.get("include_global_state"),
        },
        by=ours.get("by"),
        reason=ours.get("reason"),
        error=body.get("reason") or (f"{failures[0].get('index')}: {failures[0].get('reason')}" if failures else None),
        hold=hold.get("reason") or None,
        proved_at=datetime.fromisoformat(proof["at"]) if proof.get("at") else None,
        proof=proof.get("how"),
    )
