"""The acts that go through a service manager: restart, stop, start. The same for every component.

That an instance was restarted is proved by its process being another one, not by a command's exit status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from bdops.core.model import Host, Instance, Service
from bdops.errors import BdopsError, ConfigError, OperationFailed, Unreachable
from bdops.hosts.acts import ActState, forget_act, start_act, wait_act
from bdops.hosts.processes import ProcessIdentity, ServiceProcess, is_alive, read_processes, read_stale
from bdops.hosts.services import log_argv, newest_log_argv, restart_argv, start_argv, stop_argv
from bdops.hosts.ssh import SshPool

T = TypeVar("T")

READ_TIMEOUT_S = 20.0
LOG_LINES = 20
START_TRIES = 3


def service_of(instance: Instance) -> Service:
    """The instance's service. Raises ConfigError when the inventory has none, or none whose process can be told."""
    service = instance.service
    if service is None:
        raise ConfigError(
            f"{instance.name} has no service in the inventory: bdops does not know how to restart it",
            hint="add `service: {manager: systemd, unit: ...}` to the component or the cluster",
            code="NO_SERVICE",
        )
    if service.manager == "commands" and not service.pid:
        raise ConfigError(
            f"the service of {instance.name} has plain commands and no `pid`: a restart could not be proved",
            hint="add `pid: [cat, /run/x.pid]` to its service, an argv that prints the process id",
            code="NO_SERVICE",
        )
    return service


def read_all_processes(pool: SshPool, instances: Sequence[Instance]) -> dict[str, ServiceProcess | BdopsError]:
    """Every instance's process by name, one question a host, all at once; or why it could not be read."""
    return _ask_hosts(instances, lambda host, services: read_processes(pool, host, services, timeout_s=READ_TIMEOUT_S))


def read_all_stale(pool: SshPool, instances: Sequence[Instance]) -> dict[str, tuple[str, ...]]:
    """Of each instance the files of its service that changed after its process started. Raises what a host raises."""
    read = _ask_hosts(instances, lambda host, services: read_stale(pool, host, services, timeout_s=READ_TIMEOUT_S))
    for found in read.values():
        if isinstance(found, BdopsError):
            raise found
    return {name: files for name, files in read.items() if not isinstance(files, BdopsError)}


def _ask_hosts(
    instances: Sequence[Instance], read: Callable[[Host, Mapping[str, Service]], Mapping[str, T]]
) -> dict[str, T | BdopsError]:
    by_host: dict[str, tuple[Host, dict[str, Service]]] = {}
    for instance in instances:
        by_host.setdefault(instance.host.name, (instance.host, {}))[1][instance.name] = service_of(instance)
    found: dict[str, T | BdopsError] = {}

    def ask(host: Host, services: Mapping[str, Service]) -> None:
        try:
            found.update(read(host, services))
        except BdopsError as e:
            found.update(dict.fromkeys(services, e))

    if by_host:
        with ThreadPoolExecutor(min(32, len(by_host))) as threads:
            list(threads.map(lambda pair: ask(*pair), by_host.values()))
    return found


def read_process(pool: SshPool, instance: Instance) -> ServiceProcess:
    """One instance's process. Raises what the host raises."""
    services = {instance.name: service_of(instance)}
    return read_processes(pool, instance.host, services, timeout_s=READ_TIMEOUT_S)[instance.name]


def still_runs(pool: SshPool, instance: Instance, process: ProcessIdentity) -> bool:
    """Whether a process that was read before still lives: far cheaper than to ask who it is. Raises likewise."""
    return is_alive(pool, instance.host, process, timeout_s=READ_TIMEOUT_S)


def as_data(process: ProcessIdentity | None) -> dict[str, Any] | None:
    """What a plan keeps of a process, as JSON values."""
    return None if process is None else {**asdict(process), "started_at": process.started_at.isoformat()}


def planned_runs(pool: SshPool, instance: Instance, planned: Mapping[str, Any]) -> bool:
    """Whether the process that a plan has of the instance (of `as_data`) still lives. Raises as `still_runs` does."""
    started_at = datetime.fromisoformat(planned["started_at"])
    return still_runs(pool, instance, ProcessIdentity(**{**planned, "started_at": started_at}))


def is_another(process: ProcessIdentity | None, planned: Mapping[str, Any] | None) -> bool:
    """Whether a live process is there that is not the planned one."""
    if process is None:
        return False
    return planned is None or any(
        planned[key] != getattr(process, key) for key in ("pid", "start_ticks", "boot_id")
    )  # fmt: skip


def act_on_service(
    pool: SshPool, instance: Instance, act: str, act_id: str, *, timeout_s: float, say: Callable[[str], None]
) -> None:
    """Carry out restart, stop or start on the instance's host, detached; adopt it when it runs there already.

    Returns when the command has ended, whatever its exit status: what it did is told by the process. Raises
    OperationFailed (ACT_TIMEOUT) when it does not end in time, and what the host raises.
    """
    service = service_of(instance)
    argv = {"restart": restart_argv, "stop": stop_argv, "start": start_argv}[act](service)
    host = instance.host
    _start(pool, host, act_id, argv)
    ended = settle_act(pool, instance, act_id, timeout_s=timeout_s)
    if ended.exit_status not in (0, None):
        last = ended.output.strip().splitlines()
        say(f"{act} of {instance.name} exits {ended.exit_status}: {last[-1] if last else 'no words'}")


def settle_act(pool: SshPool, instance: Instance, act_id: str, *, timeout_s: float) -> ActState:
    """Wait for an act's end on its host and remove its folder. Raises OperationFailed (ACT_TIMEOUT)."""
    host = instance.host
    ended = wait_act(pool, host, act_id, timeout_s=timeout_s)
    if ended.state == "running":
        raise OperationFailed(
            f"a command for {instance.name} has not ended after {timeout_s:.0f} s: {act_id}",
            where=host.name,
            hint="look at the service on the host; `bdops jobs resume` goes on from what it finds",
            code="ACT_TIMEOUT",
        )
    forget_act(pool, host, act_id, timeout_s=READ_TIMEOUT_S)
    return ended


def _start(pool: SshPool, host: Host, act_id: str, argv: Sequence[str]) -> None:
    """Start an act over a new connection where the old one is lost: asking again is safe, it runs at most once."""
    for left in reversed(range(START_TRIES)):
        try:
            start_act(pool, host, act_id, argv, timeout_s=READ_TIMEOUT_S)
            return
        except Unreachable:
            if not left:
                raise
            pool.drop(host)


def log_tail(pool: SshPool, instance: Instance, count: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of the instance's log as its service manager has it, else of the newest one in its `log_dir`.

    supervisord cannot pass on a log with control characters, such as Elasticsearch writes. Why not, in a line, when
    there is neither.
    """
    service = service_of(instance)
    folder = getattr(instance.settings, "log_dir", None)
    commands = [log_argv(service, count)]
    if folder:
        # Plain commands have no log of a manager's.
        commands.insert(0 if service.manager == "commands" else 1, newest_log_argv(service, folder, count))
    why = "its log is empty"
    for command in commands:
        try:
            done = pool.run(instance.host, command, timeout_s=READ_TIMEOUT_S)
        except BdopsError as e:
            why = f"its log cannot be read: {e.message}"
            continue
        lines = done.stdout.strip().splitlines()
        if done.exit_status == 0 and lines:
            return tuple(lines[-count:])
        why = (done.stderr or done.stdout).strip() or why
    return (why,)
