"""The demo: real clusters, real faults, and bdops finding each of them by its code and the name of what is broken.

Every step is a command that is printed before it runs. A step that does not show what it says ends the demo
with exit code 1; the lab is taken down either way.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

LAB = "demo"
FOUND_WITHIN_S = 60
HEALED_WITHIN_S = 120


@dataclass(frozen=True)
class Fault:
    """What is broken and healed by which commands, and the code and object that bdops must then name."""

    title: str
    breaks: str
    heals: str
    code: str
    names: str


FAULTS = (
    Fault(
        "A Kafka broker is killed",
        "lab kill kafka/node4",
        "lab start kafka/node4",
        "KAFKA_BROKER_MISSING",
        "node4",
    ),
    Fault(
        "A throttle is left behind in Kafka",
        "lab fault kafka-throttle",
        "lab fault kafka-throttle --heal",
        "KAFKA_LEFTOVER_THROTTLE",
        "throttled",
    ),
    Fault(
        "A ZooKeeper server hangs (SIGSTOP)",
        "lab pause zk/node3",
        "lab resume zk/node3",
        "ZK_SERVER",
        "node3",
    ),
    Fault(
        "HDFS is put into safe mode",
        "lab fault hdfs-safe-mode",
        "lab fault hdfs-safe-mode --heal",
        "HDFS_SAFE_MODE",
        "node",
    ),
    Fault(
        "A DataNode dies",
        "lab kill hdfs/node3/datanode",
        "lab start hdfs/node3/datanode",
        "HDFS_DATANODE_DEAD",
        "node3",
    ),
    Fault(
        "Shard allocation is left at `none` in Elasticsearch",
        "lab fault es-allocation-left",
        "lab fault es-allocation-left --heal",
        "ES_ALLOCATION_LEFT",
        "cluster.routing.allocation.enable",
    ),
    Fault(
        "An Elasticsearch index cannot place its replicas",
        "lab fault es-yellow",
        "lab fault es-yellow --heal",
        "ES_UNASSIGNED_SHARDS",
        "replica",
    ),
)


class DemoFailed(Exception):
    """A step did not show what it says."""


def bdops(words: str, *, show: bool = True) -> subprocess.CompletedProcess[str]:
    """Run bdops as a person would; its talk goes to the terminal as it comes."""
    argv = shlex.split(words)
    if show:
        say(f"$ bdops {words}")
    return subprocess.run([sys.executable, "-m", "bdops", *argv], stdout=subprocess.PIPE, text=True, check=False)


def must(words: str) -> None:
    done = bdops(f"{words}")
    print(indent(done.stdout), end="", flush=True)
    if done.returncode != 0:
        raise DemoFailed(f"`bdops {words}` exited {done.returncode}")


def check() -> dict[str, Any]:
    done = bdops("check -o json", show=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise DemoFailed(f"`bdops check -o json` printed no JSON: {done.stdout[:500]!r}") from None


def wait_until(what: str, within_s: float, probe: Any) -> Any:
    """Poll `probe` until it gives something true. Raises DemoFailed at the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.5)
    show_check()
    raise DemoFailed(f"not within {within_s:.0f} s: {what}")


def show_check() -> None:
    print(indent(bdops("check").stdout), end="", flush=True)


def finding(fault: Fault) -> dict[str, Any] | None:
    """The result that names the fault, if the check has it now."""
    for result in check().get("data", {}).get("checks", ()):
        if result["code"] == fault.code and result["severity"] != "ok":
            text = json.dumps([result["objects"], result["summary"]])
            if fault.names in text:
                return result
    return None


def all_ok() -> bool:
    return check().get("status") == "ok"


def show_fault(number: int, fault: Fault) -> None:
    say(f"\n== {number} of {len(FAULTS)}: {fault.title}")
    must(fault.breaks)
    started = time.monotonic()
    found = wait_until(f"{fault.code} naming {fault.names}", FOUND_WITHIN_S, lambda: finding(fault))
    show_check()
    say(f"-> found after {time.monotonic() - started:.0f} s: {found['severity']} {found['code']}: {found['summary']}")
    must(fault.heals)
    wait_until("every check ok again", HEALED_WITHIN_S, all_ok)
    say("-> healed: every check is ok again")


def indent(text: str) -> str:
    return "".join(f"   {line}\n" for line in text.splitlines())


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    started = time.monotonic()
    os.environ.pop("BDOPS_INVENTORY", None)
    try:
        say("== Real clusters: Kafka, ZooKeeper, HDFS and Elasticsearch on four hosts of this machine")
        must(f"lab up --name {LAB}")
        must(f"lab load --name {LAB}")
        wait_until("every check ok", HEALED_WITHIN_S, all_ok)
        show_check()
        for number, fault in enumerate(FAULTS, start=1):
            show_fault(number, fault)
        say(f"\n== {len(FAULTS)} faults made, found and healed in {time.monotonic() - started:.0f} s")
    except DemoFailed as e:
        say(f"\n== the demo failed: {e}")
        return 1
    finally:
        bdops(f"lab down --destroy --name {LAB}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
