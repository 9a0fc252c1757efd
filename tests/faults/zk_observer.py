"""Clients of ZooKeeper that know nothing of bdops: they write, read and watch, and look at the servers every 200 ms.

    python -m tests.faults.zk_observer HOST:PORT,HOST:PORT,...

Prints `ready` once every client has its session, its ephemeral znode and its counter, goes on until its standard input
ends, and prints what it saw as one JSON object. Every counter is set to 1, 2, 3, ... in a znode of its own, so that its
value and its version are the number of acknowledged writes: anything else is a write that was lost or made twice.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError
from kazoo.recipe.watchers import DataWatch
from kazoo.retry import KazooRetry

ROOT = "/observer"
SESSION_S = 10.0
SAMPLE_S = 0.2
PAUSE_S = 0.03
"""Between two requests of one client: a load, not a flood."""
RETRIES_FOR_S = 20.0


@dataclass
class Client:
    """One session with an ephemeral znode, a counter that it writes, and a watch on another's."""

    number: int
    hosts: list[str]
    zk: KazooClient = field(init=False)
    session: int = 0
    lost: int = 0
    moves: int = 0
    writes: int = 0
    reads: int = 0
    resolved: int = 0
    failed: list[str] = field(default_factory=list)
    worst_write_ms: float = 0.0
    worst_read_ms: float = 0.0
    seen: int = -1
    went_back: int = 0

    def __post_init__(self) -> None:
        # Each begins at another server, so that every server has sessions when it stops.
        turn = self.number % len(self.hosts)
        self.zk = KazooClient(
            hosts=",".join(self.hosts[turn:] + self.hosts[:turn]),
            randomize_hosts=False,
            timeout=SESSION_S,
            connection_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5),
            command_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=RETRIES_FOR_S),
            logger=silent(),
        )
        self.zk.add_listener(self.listen)

    @property
    def counter(self) -> str:
        return f"{ROOT}/counter-{self.number}"

    @property
    def ephemeral(self) -> str:
        return f"{ROOT}/alive-{self.number}"

    def listen(self, state: str) -> None:
        if state == KazooState.LOST:
            self.lost += 1
        if state == KazooState.SUSPENDED:
            self.moves += 1

    def begin(self) -> None:
        self.zk.start(timeout=30)
        self.session = self.zk.client_id[0]
        self.zk.ensure_path(ROOT)
        self.zk.create(self.ephemeral, b"", ephemeral=True)
        self.zk.create(self.counter, b"0")

    def watch(self, other: Client) -> None:
        def changed(data: bytes | None, stat: Any) -> None:
            value = int(data or b"0")
            self.went_back += value < self.seen
            self.seen = max(self.seen, value)

        DataWatch(self.zk, other.counter, changed)

    def run(self, over: threading.Event) -> None:
        while not over.is_set():
            try:
                self.write()
                self.read()
            except Exception as e:
                self.failed.append(f"client {self.number}: {type(e).__name__}: {e}")
                over.wait(0.5)
            over.wait(PAUSE_S)

    def write(self) -> None:
        began = time.monotonic()
        value = str(self.writes + 1).encode()
        try:
            self.zk.retry(self.zk.set, self.counter, value, version=self.writes)
        except BadVersionError:
            # The first try was carried out, and its answer lost with the connection.
            found, stat = self.zk.retry(self.zk.get, self.counter)
            if (found, stat.version) != (value, self.writes + 1):
                raise
            self.resolved += 1
        self.writes += 1
        self.worst_write_ms = max(self.worst_write_ms, (time.monotonic() - began) * 1000)

    def read(self) -> None:
        began = time.monotonic()
        found, stat = self.zk.retry(self.zk.get, self.counter)
        if int(found) != self.writes or stat.version != self.writes:
            raise AssertionError(f"reads {found!r} version {stat.version} after {self.writes} acknowledged writes")
        self.reads += 1
        self.worst_read_ms = max(self.worst_read_ms, (time.monotonic() - began) * 1000)


def silent() -> logging.Logger:
    logger = logging.getLogger("observer")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


def mode_of(host: str) -> str:
    """leader, follower or observer; `up` when it does not serve, `late` when slow, `down` when nothing listens."""
    address, _, port = host.rpartition(":")
    answer = b""
    try:
        with socket.create_connection((address, int(port)), timeout=2) as connection:
            connection.sendall(b"srvr")
            while chunk := connection.recv(65536):
                answer += chunk
    except ConnectionRefusedError:
        return "down"
    except TimeoutError:
        return "late"
    except OSError:
        return "up"
    modes = [line.removeprefix("Mode: ") for line in answer.decode(errors="replace").splitlines() if "Mode: " in line]
    return modes[0].strip() if modes else "up"


@dataclass
class Sampler:
    """Looks at every server each 200 ms: how many processes are up, who leads, for how long nobody does."""

    hosts: list[str]
    samples: int = 0
    fewest_up: int = 99
    fewest_seen: dict[str, str] = field(default_factory=dict)
    most_leaders: int = 0
    leaders: list[str] = field(default_factory=list)
    longest_without_leader_s: float = 0.0

    def run(self, over: threading.Event) -> None:
        led_at = time.monotonic()
        with ThreadPoolExecutor(len(self.hosts)) as threads:
            while not over.wait(SAMPLE_S):
                modes = dict(zip(self.hosts, threads.map(mode_of, self.hosts), strict=True))
                now = time.monotonic()
                self.samples += 1
                up = sum(mode != "down" for mode in modes.values())
                if up < self.fewest_up:
                    self.fewest_up, self.fewest_seen = up, modes
                leading = [host for host, mode in modes.items() if mode == "leader"]
                self.most_leaders = max(self.most_leaders, len(leading))
                if leading:
                    self.longest_without_leader_s = max(self.longest_without_leader_s, now - led_at)
                    led_at = now
                    if self.leaders[-1:] != leading[:1]:
                        self.leaders.append(leading[0])
        self.longest_without_leader_s = max(self.longest_without_leader_s, time.monotonic() - led_at)


def main() -> None:
    hosts = sys.argv[1].split(",")
    clients = [Client(n, hosts) for n in range(2 * len(hosts))]
    last = KazooClient(hosts=",".join(hosts), timeout=SESSION_S, logger=silent())
    last.start(timeout=30)
    last.delete(ROOT, recursive=True) if last.exists(ROOT) else None
    for client in clients:
        client.begin()
    for client in clients:
        client.watch(clients[(client.number + 1) % len(clients)])
    sampler = Sampler(hosts)
    over = threading.Event()
    began = time.monotonic()
    threads = [threading.Thread(target=each.run, args=(over,), daemon=True) for each in (*clients, sampler)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(RETRIES_FOR_S + 5)
    report = concluded(clients, sampler, last, time.monotonic() - began)
    last.delete(ROOT, recursive=True)
    for each in (*(c.zk for c in clients), last):
        each.stop()
    print(json.dumps(report), flush=True)


def concluded(clients: list[Client], sampler: Sampler, last: KazooClient, seconds: float) -> dict[str, Any]:
    """What was seen; `violations` are in words what must not have been."""
    violations = [each for c in clients for each in c.failed]
    deadline = time.monotonic() + 10
    for client in clients:
        last.sync(client.counter)
        value, stat = last.get(client.counter)
        if int(value) != client.writes or stat.version != client.writes:
            violations.append(
                f"{client.counter}: {client.writes} writes were acknowledged, its value is {value!r} and its version "
                f"{stat.version}"
            )
        alive = last.exists(client.ephemeral)
        if alive is None or alive.ephemeralOwner != client.session or client.lost:
            violations.append(f"{client.ephemeral}: session {client.session:#x} did not survive ({client.lost} times)")
        watcher = clients[(client.number - 1) % len(clients)]
        while watcher.seen < client.writes and time.monotonic() < deadline:
            time.sleep(0.05)
        if watcher.seen != client.writes or watcher.went_back:
            violations.append(
                f"the watch on {client.counter} saw {watcher.seen} of {client.writes} at last, and went back "
                f"{watcher.went_back} times"
            )
    return {
        "seconds": round(seconds, 1),
        "clients": len(clients),
        "writes": sum(c.writes for c in clients),
        "reads": sum(c.reads for c in clients),
        "answers_lost_and_found": sum(c.resolved for c in clients),
        "moves_between_servers": sum(c.moves for c in clients),
        "worst_write_ms": round(max(c.worst_write_ms for c in clients)),
        "worst_read_ms": round(max(c.worst_read_ms for c in clients)),
        "samples": sampler.samples,
        "fewest_up": sampler.fewest_up,
        "fewest_seen": sampler.fewest_seen,
        "most_leaders": sampler.most_leaders,
        "leaders": sampler.leaders,
        "longest_without_leader_s": round(sampler.longest_without_leader_s, 2),
        "violations": violations,
    }


if __name__ == "__main__":
    main()
