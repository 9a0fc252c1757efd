"""Applications of HDFS that know nothing of bdops (a JVM, Hadoop's own client), and a look at the servers meanwhile.

    python -m tests.faults.hdfs_observer JSON

JSON: `java` (the argv of HdfsObserver), and by name the addresses `namenodes` (of their HTTP ports), `journalnodes` and
`datanodes` (host:port). Prints `ready` once all clients work, goes on until its standard input ends, and prints what
was seen as one JSON object. Every server is looked at each 200 ms.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

SAMPLE_S = 0.2
ANSWER_S = 1.0
CONCLUDE_S = 240
"""Reading back all that was written, with the client's own retries."""


def bean(address: str, name: str) -> dict[str, Any]:
    url = f"http://{address}/jmx?qry=Hadoop:service=NameNode,name={name}"
    with urllib.request.urlopen(url, timeout=ANSWER_S) as response:
        return json.load(response)["beans"][0]


def state_of(address: str) -> str:
    """active, standby or what else a NameNode says it is; `down` when it does not answer."""
    try:
        return str(bean(address, "NameNodeStatus")["State"])
    except (OSError, ValueError, LookupError):
        return "down"


def missing_by(address: str) -> int:
    """Blocks and groups without enough good copies, as an active NameNode counts them; 0 when it does not answer."""
    try:
        blocks, groups = bean(address, "ReplicatedBlocksState"), bean(address, "ECBlockGroupsState")
        return int(blocks["MissingReplicatedBlocks"]) + int(groups["MissingECBlockGroups"])
    except (OSError, ValueError, LookupError):
        return 0


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S):
            return True
    except OSError:
        return False


@dataclass
class Sampler:
    """Who is active, for how long nobody is, how many of each kind are up at least, and what was missing at most."""

    namenodes: dict[str, str]
    journalnodes: dict[str, str]
    datanodes: dict[str, str]
    samples: int = 0
    actives: list[str] = field(default_factory=list)
    most_active: int = 0
    longest_without_active_s: float = 0.0
    fewest_namenodes: int = 99
    fewest_journalnodes: int = 99
    fewest_datanodes: int = 99
    most_missing: int = 0

    def run(self, over: threading.Event) -> None:
        active_at = time.monotonic()
        with ThreadPoolExecutor(16) as threads:
            while not over.wait(SAMPLE_S):
                states = dict(zip(self.namenodes, threads.map(state_of, self.namenodes.values()), strict=True))
                now = time.monotonic()
                self.samples += 1
                active = [name for name, state in states.items() if state == "active"]
                self.most_active = max(self.most_active, len(active))
                if active:
                    self.longest_without_active_s = max(self.longest_without_active_s, now - active_at)
                    active_at = now
                    if self.actives[-1:] != active[:1]:
                        self.actives.append(active[0])
                    self.most_missing = max(self.most_missing, missing_by(self.namenodes[active[0]]))
                up = sum(state != "down" for state in states.values())
                self.fewest_namenodes = min(self.fewest_namenodes, up)
                journals = sum(threads.map(listens, self.journalnodes.values()))
                self.fewest_journalnodes = min(self.fewest_journalnodes, journals)
                datanodes = sum(threads.map(listens, self.datanodes.values()))
                self.fewest_datanodes = min(self.fewest_datanodes, datanodes)


def main() -> None:
    spec = json.loads(sys.argv[1])
    clients = subprocess.Popen(spec["java"], env=spec["env"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert clients.stdin is not None
    assert clients.stdout is not None
    try:
        assert clients.stdout.readline() == "ready\n", "the clients do not come up"
        sampler = Sampler(spec["namenodes"], spec["journalnodes"], spec["datanodes"])
        over = threading.Event()
        thread = threading.Thread(target=sampler.run, args=(over,), daemon=True)
        thread.start()
        began = time.monotonic()
        print("ready", flush=True)
        sys.stdin.read()
        seconds = time.monotonic() - began
        over.set()
        thread.join(10)
        out, _ = clients.communicate("", timeout=CONCLUDE_S)
        assert clients.returncode == 0, "the clients ended badly"
        report = json.loads(out)
    finally:
        clients.kill()
        clients.wait()
    report |= {
        "seconds": round(seconds, 1),
        "samples": sampler.samples,
        "actives": sampler.actives,
        "most_active": sampler.most_active,
        "longest_without_active_s": round(sampler.longest_without_active_s, 2),
        "fewest_namenodes": sampler.fewest_namenodes,
        "fewest_journalnodes": sampler.fewest_journalnodes,
        "fewest_datanodes": sampler.fewest_datanodes,
        "most_missing": sampler.most_missing,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
