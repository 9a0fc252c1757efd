"""Data for the lab's Elasticsearch: indices with documents, and a repository with a good snapshot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bdops.core.units import format_size
from bdops.errors import OperationFailed
from bdops.lab.es_api import any_node

if TYPE_CHECKING:
    from bdops.lab.lab import Lab
    from bdops.lab.recipe import Say

REPOSITORY = "lab-backups"
INDICES = {"logs-2026.10": 3, "logs-2026.11": 3, "orders": 2, "customers": 1}
"""Name and primary shards; each shard has a replica."""
DOCS = 1500
BATCH = 500
_LEVELS = ("INFO", "INFO", "INFO", "WARN", "ERROR")


def repository_dir(lab: Lab) -> Path:
    """Where the snapshots are: a folder that all nodes share."""
    return lab.folder / "es-snapshots"


def register_repository(lab: Lab) -> None:
    body = {"type": "fs", "settings": {"location": str(repository_dir(lab)), "compress": True}}
    any_node(lab).put(f"_snapshot/{REPOSITORY}", body, timeout_s=30)


def load(lab: Lab, factor: float, say: Say) -> None:
    """Write `factor` times 1,500 documents to each index, and take a snapshot of them all."""
    node = any_node(lab)
    started = time.monotonic()
    size_bytes = 0
    docs = max(1, int(DOCS * factor))
    for index, shards in INDICES.items():
        settings = {"number_of_shards": shards, "number_of_replicas": 1}
        answer = node.request("PUT", index, None, {"settings": settings}, timeout_s=30)
        if answer.status >= 400 and "resource_already_exists" not in json.dumps(answer.body):
            raise OperationFailed(f"the index {index} could not be made: {answer.body}", where=node.where)
        for batch in _batches(index, docs):
            size_bytes += len(batch)
            done = node.post("_bulk", batch, {"filter_path": "errors"}, timeout_s=60)
            if done["errors"]:
                raise OperationFailed(f"documents of {index} were refused", where=node.where)
        node.post(f"{index}/_refresh", timeout_s=30)
    register_repository(lab)
    name = f"load-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    done = node.put(f"_snapshot/{REPOSITORY}/{name}", None, {"wait_for_completion": "true"}, timeout_s=120)
    if done["snapshot"]["state"] != "SUCCESS":
        raise OperationFailed(f"the snapshot {name} ended {done['snapshot']['state']}", where=node.where)
    wait = {"wait_for_status": "green", "timeout": "60s"}
    if node.get("_cluster/health", wait, timeout_s=70)["timed_out"]:
        raise OperationFailed("the cluster did not become green after the load", where=node.where)
    say(
        f"Elasticsearch: {docs * len(INDICES)} documents ({format_size(size_bytes)}) in {len(INDICES)} indices and "
        f"snapshot {REPOSITORY}/{name}, {time.monotonic() - started:.1f} s"
    )


def _batches(index: str, docs: int) -> Iterator[str]:
    """Newline-delimited bulk requests, with ids, so that a second load replaces and does not double."""
    for first in range(0, docs, BATCH):
        lines: list[str] = []
        for number in range(first, min(docs, first + BATCH)):
            lines.append(json.dumps({"index": {"_index": index, "_id": str(number)}}))
            lines.append(
                json.dumps(
                    {
                        "number": number,
                        "level": _LEVELS[number % len(_LEVELS)],
                        "host": f"web{number % 12:02d}",
                        "message": f"request {number} of customer {number * 7919 % 1000} took {number % 350} ms",
                    }
                )
            )
        yield "\n".join(lines) + "\n"
