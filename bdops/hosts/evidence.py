"""What one looks at first of a server that is not well: the end of its log, its configuration files, its stacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from bdops.core.model import Instance
from bdops.errors import BdopsError
from bdops.hosts.service_acts import log_tail, read_process
from bdops.hosts.services import file_argv, stack_argv
from bdops.hosts.ssh import SshPool

TIMEOUT_S = 30.0
MAX_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of one instance: texts by a file's name, and what could not be had, and why."""

    instance: str
    pid: int | None
    texts: Mapping[str, str]
    missing: Mapping[str, str]


def gather(pool: SshPool, instance: Instance, *, lines: int, stacks: bool) -> Evidence:
    """Everything that can be had; never raises for what cannot. `stacks` are a JVM's, by its own JDK's jstack."""
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    pid: int | None = None

    def have(name: str, argv: tuple[str, ...]) -> None:
        try:
            done = pool.run(instance.host, argv, timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
        except BdopsError as e:
            missing[name] = e.message
            return
        if done.exit_status == 0:
            texts[name] = done.stdout
        else:
            missing[name] = (done.stderr.strip().splitlines() or [f"exits {done.exit_status}"])[-1]

    try:
        texts["log.txt"] = "\n".join(log_tail(pool, instance, lines)) + "\n"
        found = read_process(pool, instance)
        pid = found.process.pid if found.process else None
    except BdopsError as e:
        missing["log.txt" if "log.txt" not in texts else "process"] = e.message
    service = instance.service
    if service is not None:
        for path in service.files:
            have(PurePosixPath(path).name, file_argv(service, path))
        if stacks and pid is not None:
            have("stacks.txt", stack_argv(service, pid))
        elif stacks:
            missing["stacks.txt"] = "no process"
    return Evidence(instance=instance.name, pid=pid, texts=texts, missing=missing)
