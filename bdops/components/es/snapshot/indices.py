"""What lives under the names of a snapshot's indices, as far as a restore has to know it.

Asked of the elected master's state, not of the nodes: one that is paused must not hang it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bdops.components.es.client import Node, name_lists

CALL_S = 30.0
_OF_INDICES = (
    "metadata.indices.*.state,metadata.indices.*.settings.index.uuid,"
    "metadata.indices.*.settings.index.history.uuid,metadata.indices.*.settings.index.number_of_shards"
)
_ALL = {"ignore_unavailable": "true", "allow_no_indices": "true", "expand_wildcards": "all"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """An index of the cluster. `uuid` is its own; `history` is another one after each restore over it, and None
    before the first."""

    uuid: str
    history: str | None
    closed: bool
    shards: int

    @property
    def signature(self) -> str:
        """Changes when the index is restored over, or deleted and made again; not when it is written or closed."""
        return f"{self.uuid}/{self.history or ''}"


def live_indices(node: Node, names: Iterable[str]) -> dict[str, LiveIndex]:
    """Those of these indices that there are, open or closed."""
    wanted = set(names)
    found: dict[str, LiveIndex] = {}
    for part in name_lists(wanted):
        answer = node.get(f"_cluster/state/metadata/{part}", {"filter_path": _OF_INDICES, **_ALL}, timeout_s=CALL_S)
        indices: Mapping[str, Any] = answer.get("metadata", {}).get("indices", {})
        found |= {name: _live(body) for name, body in indices.items() if name in wanted}
    return found


def visible_indices(node: Node) -> list[str]:
    """All indices but those that are hidden."""
    params = {"expand_wildcards": "open,closed", "filter_path": "indices.*.status", "level": "indices", "timeout": "1s"}
    return sorted(node.get("_cluster/health/*", params, timeout_s=CALL_S).get("indices", {}))


def _live(body: Mapping[str, Any]) -> LiveIndex:
    settings = body["settings"]["index"]
    return LiveIndex(
        uuid=settings["uuid"],
        history=settings.get("history", {}).get("uuid"),
        closed=body["state"] == "close",
        shards=int(settings["number_of_shards"]),
    )


def health(node: Node, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Status and shards of each of these indices; one that is not there is left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for part in name_lists(names):
        params = {"level": "indices", "timeout": "1s", "expand_wildcards": "all"}
        found |= node.get(f"_cluster/health/{part}", params, timeout_s=CALL_S).get("indices", {})
    return found


def count_documents(node: Node, names: Iterable[str]) -> dict[str, int]:
    """How many documents each of these open, healthy indices has."""
    wanted = sorted(names)
    found: dict[str, int] = dict.fromkeys(wanted, 0)
    body = {"size": 0, "aggs": {"of": {"terms": {"field": "_index", "size": max(1, len(wanted))}}}}
    for part in name_lists(wanted):
        answer = node.post(f"{part}/_search", body, {"ignore_unavailable": "true"}, timeout_s=CALL_S)
        buckets = answer.get("aggregations", {}).get("of", {}).get("buckets", ())
        found |= {b["key"]: b["doc_count"] for b in buckets if b["key"] in found}
    return found


def sizes(node: Node, names: Iterable[str]) -> dict[str, int]:
    """The bytes of each index's primary shards. It asks all nodes: one that hangs makes it fail (Unreachable)."""
    found: dict[str, int] = {}
    for part in name_lists(names):
        params = {"filter_path": "indices.*.primaries.store.size_in_bytes", "expand_wildcards": "all"}
        answer = node.get(f"{part}/_stats/store", {**params, "ignore_unavailable": "true"}, timeout_s=CALL_S)
        found |= {name: body["primaries"]["store"]["size_in_bytes"] for name, body in answer.get("indices", {}).items()}
    return found
