"""What a lab recipe tells the lab: which jars, which programs on which host, how to bring them up and break them.

A recipe is a module `bdops.lab.<component>` with one constant, RECIPE. The lab (bdops.lab.lab) owns hosts,
supervisord, sshd, jars, folders and the state file; a recipe owns what is particular to its servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

Say = Callable[[str], None]
"""Tells the person at the terminal what is going on; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One server process, which becomes a supervisord program of its host.

    `name` is the program's name, unique on the host (`kafka`, `namenode`); `instance` the inventory name
    less the cluster (`kafka/node2`, `hdfs/node1/namenode`). `java` programs get the common JVM options.
    """

    name: str
    host: str
    instance: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_wait_s: int = 30
    autorestart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something to break on demand. `break_it` and `heal` get the lab and the target (an instance or None).

    `shows` are the check codes that must turn non-OK while the fault is in. Both calls return when the
    server itself shows the effect, or raise OperationFailed.
    """

    name: str
    help: str
    shows: tuple[str, ...]
    break_it: Callable[[Lab, str | None], None]
    heal: Callable[[Lab, str | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one component runs in a lab.

    artifacts: Maven coordinates `group:artifact:version[:type]`, pinned; resolved with their runtime dependencies.
    requires: recipes that must be up before (HDFS: zk).
    ports: every port that a host's servers listen on, by host name; checked to be free before anything starts.
    prepare: write configuration files and format what is new; must keep the data of an earlier run.
    programs: all server processes.
    start: start the programs in the right order and return when the *service* serves (asked of its own API).
    inventory: this component's section of the lab's inventory (`clusters.<lab>.components.<name>`).
    load: write real data; sizes scale with `factor` (1: enough for the demo, within seconds).
    stop: for servers that must not all stop at once; called before the programs that still run are stopped together.
    securable: whether its servers take TLS and logins where `lab.secure` says so.
    healthy: None when the service serves and no fault is in it, else what is wrong; asked after each test module.

    Files that a server needs at run time are kept below `lab.folder_of(component, host)`. A server that refuses to
    run as root gets its argv through `lab.unprivileged(argv)`, which keeps the right to the lab's folders.
    """

    name: str
    title: str
    memory_mb: int
    ports: Mapping[str, Sequence[int]]
    artifacts: Sequence[str]
    prepare: Callable[[Lab, Say], None]
    programs: Callable[[Lab], Sequence[Program]]
    start: Callable[[Lab, Say], None]
    inventory: Callable[[Lab], Mapping[str, Any]]
    load: Callable[[Lab, float, Say], None]
    faults: Sequence[Fault] = ()
    requires: Sequence[str] = ()
    securable: bool = False
    config_files: Callable[[Lab], Sequence[Path]] = lambda lab: ()
    stop: Callable[[Lab, Say], None] | None = None
    healthy: Callable[[Lab], str | None] | None = None
