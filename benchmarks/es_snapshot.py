"""What `bdops es snapshot create` takes over Elasticsearch's own call (PUT, wait_for_completion=true).

    bdops lab up es && bdops lab load es && python benchmarks/es_snapshot.py [--runs 5] [--lab NAME]

An index of random documents, and a repository whose nodes may write so many bytes a second: a snapshot then takes as
long as is asked for (`--seconds`), whatever else the machine does. After each run the snapshot is deleted, so that the
next one copies all of it again. The two take turns. The requirement is at most 5 % more.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time

from timing import BDOPS, against, chosen_lab, medians, wall_s

from bdops.components.es.client import Node
from bdops.lab.es_api import any_node
from bdops.lab.es_load import repository_dir
from bdops.lab.lab import Lab

REPOSITORY, INDEX, NAME = "bench", "bench", "bench-1"
NODES = 3
DOCUMENTS, DOCUMENT_BYTES, BATCH = 45_000, 900, 1500
BAR = 1.05
CALL_S = 300.0


def fill(node: Node) -> None:
    """A shard on each node, of documents that hardly compress."""
    node.delete(INDEX, {"ignore_unavailable": "true"}, timeout_s=CALL_S)
    mappings = {"properties": {"data": {"type": "object", "enabled": False}}}
    settings = {
        "number_of_shards": NODES,
        "number_of_replicas": 0,
        "refresh_interval": -1,
        "routing.allocation.total_shards_per_node": 1,
    }
    node.put(INDEX, {"settings": settings, "mappings": mappings}, timeout_s=CALL_S)
    chance = random.Random(7)
    for _ in range(DOCUMENTS // BATCH):
        texts = (base64.b64encode(chance.randbytes(DOCUMENT_BYTES)).decode() for _ in range(BATCH))
        lines = "".join(f'{{"index":{{}}}}\n{json.dumps({"data": {"text": t}})}\n' for t in texts)
        node.post(f"{INDEX}/_bulk", lines, {"filter_path": "errors"}, timeout_s=CALL_S)
    node.post(f"{INDEX}/_forcemerge", None, {"max_num_segments": "1"}, timeout_s=CALL_S)


def register(lab: Lab, node: Node, bytes_per_s: int | None) -> None:
    settings = {"location": str(repository_dir(lab) / REPOSITORY)}
    if bytes_per_s:
        settings["max_snapshot_bytes_per_sec"] = f"{bytes_per_s}b"
    node.put(f"_snapshot/{REPOSITORY}", {"type": "fs", "settings": settings}, timeout_s=CALL_S)


def deleted(node: Node) -> None:
    node.delete(f"_snapshot/{REPOSITORY}/{NAME}", timeout_s=CALL_S)


def take(node: Node) -> None:
    body = {"indices": INDEX, "include_global_state": False}
    done = node.put(f"_snapshot/{REPOSITORY}/{NAME}", body, {"wait_for_completion": "true"}, timeout_s=CALL_S)
    assert done["snapshot"]["state"] == "SUCCESS", done


def size_of_one(node: Node) -> int:
    """The bytes that a snapshot has to copy, by one that is not throttled."""
    take(node)
    found = node.get(f"_snapshot/{REPOSITORY}/{NAME}", {"index_details": "true"}, timeout_s=CALL_S)
    deleted(node)
    return int(found["snapshots"][0]["index_details"][INDEX]["size_in_bytes"])


def raw_s(node: Node) -> float:
    began = time.perf_counter()
    take(node)
    took = time.perf_counter() - began
    deleted(node)
    return took


def bdops_s(lab: Lab, node: Node) -> float:
    argv = [BDOPS, "-i", str(lab.inventory), "es", "snapshot", "create", "--repository", REPOSITORY]
    took = wall_s([*argv, "--index", INDEX, "--name", NAME, "--yes"])
    deleted(node)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a snapshot is to take")
    parser.add_argument("--lab", help="the lab's name (default: the one that runs)")
    asked = parser.parse_args()
    lab = chosen_lab(asked.lab)
    node = any_node(lab)
    try:
        fill(node)
        register(lab, node, None)
        size_bytes = size_of_one(node)
        register(lab, node, int(size_bytes / NODES / asked.seconds))
        print(f"{size_bytes / 2**20:.0f} MiB in {NODES} shards, throttled to about {asked.seconds:.0f} s")
        measures = {
            "PUT, wait_for_completion=true": lambda: raw_s(node),
            "bdops es snapshot create": lambda: bdops_s(lab, node),
        }
        raw, ours = measures
        return against(medians(measures, asked.runs), ours=(ours,), theirs=raw, bar=BAR)
    finally:
        deleted(node)
        node.delete(INDEX, {"ignore_unavailable": "true"}, timeout_s=CALL_S)
        node.delete(f"_snapshot/{REPOSITORY}", timeout_s=CALL_S)


if __name__ == "__main__":
    raise SystemExit(main())
