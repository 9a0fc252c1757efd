"""What was restored beside what lives: compared with that, and removed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bdops.components.es.client import Node, escape
from bdops.components.es.snapshot.indices import CALL_S, live_indices
from bdops.components.es.snapshot.restore import targets_of
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step
from bdops.core.units import plural
from bdops.errors import OperationFailed

SAMPLE = 20
"""Documents of each index that are compared by their source."""


def clean_up(node: Node, step: Step) -> None:
    """Delete what a drill has restored; nothing else has its prefix."""
    for name in live_indices(node, targets_of(step).values()):
        node.delete(escape(name), {"ignore_unavailable": "true"}, timeout_s=CALL_S)


def cleaned_up(node: Node, step: Step) -> Progress:
    left = live_indices(node, targets_of(step).values())
    return pending(f"{plural(len(left), 'index', 'indices')} to be removed") if left else DONE


@dataclass
class Comparison:
    """What was compared. `differ` are documents that are not what they were, though nobody has changed them since."""

    documents: int = 0
    sampled: int = 0
    same: int = 0
    changed_since: int = 0
    gone_since: int = 0
    empty: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents restored, {self.sampled} sampled: {self.same} the same, "
            f"{self.changed_since} changed since, {self.gone_since} deleted since, {len(self.differ)} differ"
        )


def compare(node: Node, step: Step, context: ActContext) -> None:
    """Count and sample what was restored against what lives. Raises OperationFailed when it is not the same."""
    total = Comparison()
    live = live_indices(node, step.args["indices"])
    for index, name in targets_of(step).items():
        count = node.get(f"{escape(name)}/_count", timeout_s=CALL_S)["count"]
        total.documents += count
        if index not in live:
            context.say(
                f"{index} does not live any more: its {count} restored documents have nothing to be compared with"
            )
            continue
        if count == 0 and node.get(f"{escape(index)}/_count", timeout_s=CALL_S)["count"]:
            total.empty.append(index)
        _sample(node, index, name, total)
    context.say(f"compared {plural(len(step.args['indices']), 'index', 'indices')}: {total}")
    if total.differ:
        raise OperationFailed(
            f"{plural(len(total.differ), 'document')} of the restored copy differ: {', '.join(total.differ[:4])}",
            where=step.args["id"],
            code="DRILL_DIFFERS",
        )
    if total.empty:
        context.say(f"empty in the snapshot, and not any more: {', '.join(total.empty)}")


def _sample(node: Node, index: str, restored_name: str, total: Comparison) -> None:
    query = {
        "size": SAMPLE,
        "version": True,
        "seq_no_primary_term": True,
        "query": {"function_score": {"query": {"match_all": {}}, "random_score": {"seed": 7, "field": "_seq_no"}}},
    }
    hits = node.post(f"{escape(restored_name)}/_search", query, timeout_s=CALL_S)["hits"]["hits"]
    if not hits:
        return
    wanted = [{"_id": h["_id"], **({"routing": h["_routing"]} if "_routing" in h else {})} for h in hits]
    answer = node.post(f"{escape(index)}/_mget", {"docs": wanted}, timeout_s=CALL_S)["docs"]
    judge(index, hits, answer, total)


def judge(index: str, hits: Sequence[Mapping[str, Any]], docs: Sequence[Mapping[str, Any]], total: Comparison) -> None:
    """Count the sampled documents by how they compare with those that live. Pure.

    Every write of a document has a sequence number of its own; a version begins anew when one is made again after it
    was deleted.
    """
    for hit, doc in zip(hits, docs, strict=True):
        total.sampled += 1
        if not doc.get("found"):
            total.gone_since += 1
        elif doc.get("_source") == hit.get("_source"):
            total.same += 1
        elif any(doc.get(k) != hit.get(k) for k in ("_seq_no", "_primary_term", "_version")):
            total.changed_since += 1
        else:
            total.differ.append(f"{index}/{hit['_id']}")
