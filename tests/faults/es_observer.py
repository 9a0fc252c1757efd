"""Clients of Elasticsearch that know nothing of bdops: they index, read and search, and look at the nodes every 200 ms.

    python -m tests.faults.es_observer INDEX URL,URL,...

Prints `ready` once every client has been served, goes on until its standard input ends, and prints what it saw as one
JSON object. A client tries a request on one node after the other, as Elastic's own clients do; what none of them
answers is a failure. Documents have ids of their own: afterwards every acknowledged one must be there once.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SAMPLE_S = 0.2
SEARCH_S = 0.2
PAUSE_S = 0.03
"""Between two requests of one writer: a load, not a flood."""
TRIES = 8
BACKOFF_S = (0, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6)
TIMEOUT_S = 30.0
AGAIN = (429, 502, 503, 504)
"""The statuses that a client tries again elsewhere."""


VIEW = (
    "/_cluster/state/master_node,nodes,metadata,routing_table?local=true&filter_path=master_node,nodes.*.name,"
    "metadata.cluster_coordination.term,routing_table.indices.*.shards.*.primary,routing_table.indices.*.shards.*.state"
)


class Failed(Exception):
    """No node answered, in all of a client's tries."""


class Refused(Exception):
    """Nothing listens there."""


def exchange(url: str, method: str, path: str, body: Any, timeout_s: float) -> tuple[int, Any]:
    """One HTTP request on a connection of its own. Raises OSError or HTTPException; Refused when nobody listens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"content-type": "application/json"} if data else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    except ConnectionRefusedError as e:
        raise Refused(str(e)) from None
    finally:
        connection.close()


@dataclass
class Client:
    """What one client did. `turn` is the node that its next request goes to first."""

    urls: list[str]
    turn: int = 0
    requests: int = 0
    retries: int = 0
    worst_ms: float = 0.0
    failed: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer. Raises Failed."""
        began = time.monotonic()
        said: list[str] = []
        self.turn += 1
        for attempt in range(TRIES):
            url = self.urls[(self.turn + attempt) % len(self.urls)]
            if attempt:
                self.retries += 1
                time.sleep(BACKOFF_S[attempt - 1])
            try:
                status, answer = exchange(url, method, path, body, TIMEOUT_S)
            except (OSError, http.client.HTTPException, Refused, ValueError) as e:
                said.append(f"{url}: {type(e).__name__} {e}")
                continue
            if status in AGAIN:
                said.append(f"{url}: HTTP {status} {json.dumps(answer)[:200]}")
                continue
            self.requests += 1
            self.worst_ms = max(self.worst_ms, (time.monotonic() - began) * 1000)
            return status, answer
        raise Failed(f"{method} {path}: {'; '.join(said)}")


@dataclass
class Writer(Client):
    """Creates documents, and reads each tenth back at once through another node."""

    index: str = ""
    number: int = 0
    acknowledged: list[int] = field(default_factory=list)
    attempted: int = 0
    resolved: int = 0
    reads: int = 0

    def run(self, over: threading.Event) -> None:
        while not over.is_set():
            try:
                self.write()
                if len(self.acknowledged) % 10 == 0:
                    self.read()
            except Exception as e:
                self.failed.append(f"writer {self.number}: {type(e).__name__}: {e}")
                over.wait(0.5)
            over.wait(PAUSE_S)

    def write(self) -> None:
        self.attempted += 1
        n = self.number * 1_000_000 + self.attempted
        status, answer = self.call("PUT", f"/{self.index}/_create/{n}", {"n": n, "text": f"document {n}"})
        if status == 409:
            # A try of ours, or one that a node made for us (it asks the new primary when the old one is gone), was
            # carried out and its answer lost. Nobody else creates this document.
            self.resolved += 1
        elif status != 201:
            raise AssertionError(f"document {n} was not created: HTTP {status} {json.dumps(answer)[:300]}")
        self.acknowledged.append(n)

    def read(self) -> None:
        n = self.acknowledged[-1]
        status, answer = self.call("GET", f"/{self.index}/_doc/{n}")
        if status != 200 or answer["_source"]["n"] != n:
            raise AssertionError(f"document {n} was acknowledged and is not to be read: HTTP {status}")
        self.reads += 1


@dataclass
class Searcher(Client):
    """Searches the whole index; an answer without one of its shards is no answer."""

    index: str = ""
    searches: int = 0

    def run(self, over: threading.Event) -> None:
        path = f"/{self.index}/_search?allow_partial_search_results=false"
        while not over.wait(SEARCH_S):
            try:
                status, answer = self.call("POST", path, {"size": 1, "sort": [{"n": "desc"}]})
                if status != 200 or answer["_shards"]["failed"] or answer["timed_out"]:
                    raise AssertionError(f"HTTP {status} {json.dumps(answer)[:300]}")
                self.searches += 1
            except Exception as e:
                self.failed.append(f"search: {type(e).__name__}: {e}")


@dataclass
class Sampler:
    """Looks at every node by itself each 200 ms: how many answer, who is master, what colour and members they see."""

    urls: list[str]
    samples: int = 0
    most_down: int = 0
    down_seen: list[str] = field(default_factory=list)
    late: int = 0
    most_masters: int = 0
    masters: list[str] = field(default_factory=list)
    fewest_members: int = 99
    longest_without_master_s: float = 0.0
    colours: Counter[str] = field(default_factory=Counter)

    def run(self, over: threading.Event) -> None:
        led_at = time.monotonic()
        with ThreadPoolExecutor(len(self.urls)) as threads:
            while not over.wait(SAMPLE_S):
                seen = dict(zip(self.urls, threads.map(self.look, self.urls), strict=True))
                now = time.monotonic()
                self.samples += 1
                down = [url for url, view in seen.items() if view == "refused"]
                if len(down) > self.most_down:
                    self.most_down, self.down_seen = len(down), down
                self.late += sum(view == "late" for view in seen.values())
                views = [view for view in seen.values() if isinstance(view, dict)]
                leading = {view["master"]: view for view in views if view["master"]}
                # One that was elected a moment ago is not known to all yet: by term there is one at a time.
                newest = max((v["term"] for v in leading.values()), default=0)
                now_leading = sorted(m for m, v in leading.items() if v["term"] == newest)
                self.most_masters = max(self.most_masters, len(now_leading))
                if now_leading:
                    self.longest_without_master_s = max(self.longest_without_master_s, now - led_at)
                    led_at = now
                    if self.masters[-1:] != now_leading[:1]:
                        self.masters.append(now_leading[0])
                    view = leading[now_leading[0]]
                    self.colours[view["colour"]] += 1
                    self.fewest_members = min(self.fewest_members, view["members"])
        self.longest_without_master_s = max(self.longest_without_master_s, time.monotonic() - led_at)

    def look(self, url: str) -> Any:
        """A node's own view: `refused` when its process is down, `late` when it does not answer in time."""
        try:
            # All from one answer: a node that loses its master between two would be
            # called red, for `_cluster/health` says so as long as there is no master.
            _, state = exchange(url, "GET", VIEW, None, 2)
            names = {node: found["name"] for node, found in state.get("nodes", {}).items()}
            return {
                "master": names.get(state.get("master_node") or ""),
                "term": state["metadata"]["cluster_coordination"]["term"],
                "colour": colour(state.get("routing_table", {}).get("indices", {})),
                "members": len(names),
            }
        except Refused:
            return "refused"
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return "late"


def colour(indices: dict[str, Any]) -> str:
    """Red: a primary is not active; yellow: a replica is not."""
    copies = [copy for index in indices.values() for shard in index["shards"].values() for copy in shard]
    missing = [copy for copy in copies if copy["state"] not in ("STARTED", "RELOCATING")]
    return "red" if any(copy["primary"] for copy in missing) else "yellow" if missing else "green"


def main() -> None:
    index, urls = sys.argv[1], sys.argv[2].split(",")
    writers = [Writer(urls=urls, turn=n, index=index, number=n + 1) for n in range(len(urls))]
    searchers = [Searcher(urls=urls, turn=n, index=index) for n in range(2)]
    sampler = Sampler(urls)
    over = threading.Event()
    for writer in writers:
        writer.write()
        writer.read()
    began = time.monotonic()
    threads = [threading.Thread(target=w.run, args=(over,), daemon=True) for w in (*writers, *searchers, sampler)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(TRIES * TIMEOUT_S)
    print(json.dumps(concluded(writers, searchers, sampler, time.monotonic() - began)), flush=True)


def concluded(writers: list[Writer], searchers: list[Searcher], sampler: Sampler, seconds: float) -> dict[str, Any]:
    """What was seen; `violations` are in words what must not have been."""
    violations = [each for client in (*writers, *searchers) for each in client.failed]
    acknowledged = {n for w in writers for n in w.acknowledged}
    stored = Counter(all_documents(writers[0]))
    lost = sorted(acknowledged - stored.keys())
    twice = sorted(n for n, times in stored.items() if times > 1)
    if lost:
        violations.append(f"{len(lost)} acknowledged documents are lost: {lost[:10]}")
    if twice:
        violations.append(f"{len(twice)} documents are there twice: {twice[:10]}")
    if sampler.colours["red"]:
        violations.append(f"red in {sampler.colours['red']} samples")
    return {
        "seconds": round(seconds, 1),
        "documents": len(acknowledged),
        "stored": sum(stored.values()),
        "searches": sum(s.searches for s in searchers),
        "reads": sum(w.reads for w in writers),
        "retries": sum(c.retries for c in (*writers, *searchers)),
        "answers_lost_and_found": sum(w.resolved for w in writers),
        "worst_write_ms": round(max(w.worst_ms for w in writers)),
        "worst_search_ms": round(max(s.worst_ms for s in searchers)),
        "samples": sampler.samples,
        "late": sampler.late,
        "most_down": sampler.most_down,
        "down_seen": sampler.down_seen,
        "fewest_members": sampler.fewest_members,
        "most_masters": sampler.most_masters,
        "masters": sampler.masters,
        "longest_without_master_s": round(sampler.longest_without_master_s, 2),
        "colours": dict(sampler.colours),
        "violations": violations,
    }


def all_documents(client: Writer) -> list[int]:
    """The number of every document that a search finds, page by page."""
    client.call("POST", f"/{client.index}/_refresh")
    found: list[int] = []
    body: dict[str, Any] = {"size": 5000, "sort": [{"n": "asc"}, {"_doc": "asc"}], "_source": False}
    while True:
        status, answer = client.call("POST", f"/{client.index}/_search?allow_partial_search_results=false", body)
        if status != 200:
            raise AssertionError(f"the documents cannot be counted: HTTP {status} {json.dumps(answer)[:300]}")
        hits = answer["hits"]["hits"]
        found += [hit["sort"][0] for hit in hits]
        if len(hits) < body["size"]:
            return found
        body["search_after"] = hits[-1]["sort"]


if __name__ == "__main__":
    main()
