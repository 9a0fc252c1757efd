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
    """What breaks and what heals it (words after `bdops lab`), and the code and object that bdops must then name."""

    title: str
    breaks: str
    heals: str
    code: str
    names: str


FAULTS = (
    Fault(
        "A Kafka broker is killed",
        "kill kafka/node4",
        "start kafka/node4",
        "KAFKA_UNDER_REPLICATED",
        "node4",
    ),
    Fault(
        "A throttle is left behind in Kafka",
        "fault kafka-throttle",
        "fault kafka-throttle --heal",
        "KAFKA_THROTTLE_LEFT",
        "throttled",
    ),
    Fault(
        "A ZooKeeper server hangs (SIGSTOP)",
        "pause zk/node3",
        "resume zk/node3",
        "ZK_SERVER_DOWN",
        "node3",
    ),
    Fault(
        "HDFS is put into safe mode",
        "fault hdfs-safe-mode",
        "fault hdfs-safe-mode --heal",
        "HDFS_SAFE_MODE",
        "node",
    ),
    Fault(
        "A DataNode dies",
        "kill hdfs/node3/datanode",
        "start hdfs/node3/datanode",
        "HDFS_DATANODE_DEAD",
        "node3",
    ),
    Fault(
        "Shard allocation is left at `primaries` in Elasticsearch",
        "fault es-allocation-left",
        "fault es-allocation-left --heal",
        "ES_ALLOCATION_SETTINGS",
        "cluster.routing.allocation.enable",
    ),
    Fault(
        "An Elasticsearch index cannot place its replicas",
        "fault es-yellow",
        "fault es-yellow --heal",
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
    done = bdops(words)
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
    must(f"lab {fault.breaks} --name {LAB}")
    started = time.monotonic()
    found = wait_until(f"{fault.code} naming {fault.names}", FOUND_WITHIN_S, lambda: finding(fault))
    show_check()
    say(f"-> found after {time.monotonic() - started:.0f} s: {found['severity']} {found['code']}: {found['summary']}")
    must(f"lab {fault.heals} --name {LAB}")
    wait_until("every check ok again", HEALED_WITHIN_S, all_ok)
    say("-> healed: every check is ok again")


def indent(text: str) -> str:
    return "".join(f"   {line}\n" for line in text.splitlines())


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    started = time.monotonic()
    try:
        say("== Real clusters: Kafka, ZooKeeper, HDFS and Elasticsearch on four hosts of this machine")
        must(f"lab up --name {LAB}")
        # Another lab may run on this machine; the demo's checks are of its own.
        status = json.loads(bdops(f"lab status --name {LAB} -o json", show=False).stdout)
        os.environ["BDOPS_INVENTORY"] = status["data"]["labs"][0]["inventory"]
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
