"""Service managers: the argv that ask supervisord, systemd or plain commands, and what their answers mean. Pure.

One question covers all units that one manager answers for, because each costs a process on the host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bdops.core.model import Service

ServiceState = Literal["running", "starting", "stopping", "stopped", "failed", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the manager says of one unit. `detail` is in its own words; `pid` where it tells."""

    state: ServiceState
    detail: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """One command that tells the status of several services. `services` are by the caller's names, in order."""

    argv: tuple[str, ...]
    services: Mapping[str, Service]


def status_questions(services: Mapping[str, Service]) -> tuple[StatusQuestion, ...]:
    """The fewest commands that tell the status of all these services of one host."""
    groups: dict[tuple[object, ...], dict[str, Service]] = {}
    for name, service in services.items():
        alone = name if service.manager == "commands" else None
        key = (service.manager, service.config, service.supervisorctl, service.sudo, alone)
        groups.setdefault(key, {})[name] = service
    return tuple(StatusQuestion(_status_argv(tuple(g.values())), g) for g in groups.values())


def _status_argv(services: Sequence[Service]) -> tuple[str, ...]:
    first = services[0]
    units = tuple(dict.fromkeys(s.unit or "" for s in services))
    if first.manager == "supervisord":
        argv = (*_supervisorctl(first), "status", *units)
    elif first.manager == "systemd":
        shown = "Id,Names,LoadState,ActiveState,SubState,Result,MainPID"
        argv = ("systemctl", "show", f"--property={shown}", "--", *units)
    else:
        argv = first.status
    return _sudo(first, argv)


def start_argv(service: Service) -> tuple[str, ...]:
    """The command that starts the service."""
    return _act(service, "start", service.start)


def stop_argv(service: Service) -> tuple[str, ...]:
    """The command that stops the service."""
    return _act(service, "stop", service.stop)


def restart_argv(service: Service) -> tuple[str, ...]:
    """The command that stops the service, if it runs, and starts it again."""
    if service.manager != "commands":
        return _act(service, "restart", ())
    stop, start = stop_argv(service), start_argv(service)
    return ("sh", "-c", _STOP_THEN_START, "sh", str(len(stop)), *stop, *start)


# $1 of the words are the first command, the rest is the second. A function has positional parameters of its own.
_STOP_THEN_START = """\
first() {
  n=$1; shift; others=$(($# - n))
  while [ "$n" -gt 0 ]; do word=$1; shift; set -- "$@" "$word"; n=$((n - 1)); done
  shift "$others"; "$@"
}
first "$@" || exit
shift $(($1 + 1))
exec "$@"
"""


# A garbage collector's log is always the newest, and tells nothing of why a server does not come up.
_NEWEST_LOG = """
cd -- "$1" && log=$(ls -t | grep -E '[.](log|out)$' | grep -v '^gc' | head -n 1) && tail -n "$2" -- "$log"
"""


def pid_argv(service: Service) -> tuple[str, ...]:
    """The command that prints the main process's id, where the status does not tell it; empty when there is none."""
    if service.manager == "supervisord":
        return _sudo(service, (*_supervisorctl(service), "pid", service.unit or ""))
    if service.manager == "commands" and service.pid:
        return _sudo(service, service.pid)
    return ()


def log_argv(service: Service, lines: int) -> tuple[str, ...]:
    """The command that prints the end of the service's log, at least so many lines where there are as many."""
    if service.manager == "supervisord":
        return _sudo(service, (*_supervisorctl(service), "tail", f"-{200 * lines}", service.unit or ""))
    if service.manager == "systemd":
        return _sudo(service, ("journalctl", "--no-pager", "-o", "cat", "-n", str(lines), "-u", service.unit or ""))
    return ("echo", "plain commands have no log that bdops knows of")


def newest_log_argv(service: Service, folder: str, lines: int) -> tuple[str, ...]:
    """The command that prints the end of the newest log in a folder, for when the manager's own cannot be had."""
    return _sudo(service, ("sh", "-c", _NEWEST_LOG, "sh", folder, str(lines)))


def file_argv(service: Service, path: str) -> tuple[str, ...]:
    """The command that prints one of the service's files."""
    return _sudo(service, ("cat", "--", path))


def stack_argv(service: Service, pid: int) -> tuple[str, ...]:
    """The command that prints the stacks of a JVM's threads, by the jstack beside its own java, as its own user."""
    return _sudo(service, ("sh", "-c", _STACKS, "sh", str(pid)))


# A JVM lets only its own user (or root, where that is allowed) look at it.
_STACKS = """\
jstack=$(dirname -- "$(readlink "/proc/$1/exe")")/jstack
user=$(stat -c %U "/proc/$1") || exit
[ "$user" = "$(id -un)" ] && exec "$jstack" -l "$1"
exec sudo -n -u "$user" -- "$jstack" -l "$1"
"""


def _act(service: Service, verb: str, command: tuple[str, ...]) -> tuple[str, ...]:
    if service.manager == "supervisord":
        return _sudo(service, (*_supervisorctl(service), verb, service.unit or ""))
    if service.manager == "systemd":
        return _sudo(service, ("systemctl", verb, "--", service.unit or ""))
    return _sudo(service, command)


def _supervisorctl(service: Service) -> tuple[str, ...]:
    config = ("-c", service.config) if service.config else ()
    return (service.supervisorctl, *config)


def _sudo(service: Service, argv: tuple[str, ...]) -> tuple[str, ...]:
    return ("sudo", "-n", "--", *argv) if service.sudo else argv


def statuses(question: StatusQuestion, exit_status: int, output: str) -> dict[str, ServiceStatus]:
    """Each service's status, by the names of the question; `unknown` with the output's words where it does not tell."""
    if _could_not_ask(exit_status, output):
        why = _last_line(output) or f"exit status {exit_status}"
        return {name: ServiceStatus("unknown", why) for name in question.services}
    found: dict[str, ServiceStatus] = {}
    for name, service in question.services.items():
        if service.manager == "supervisord":
            found[name] = _of_supervisord(service.unit or "", output)
        elif service.manager == "systemd":
            found[name] = _of_systemd(service.unit or "", output)
        else:
            found[name] = _of_command(exit_status, output)
    return found


def _could_not_ask(exit_status: int, output: str) -> bool:
    """The shell's own 126 and 127, and sudo without a right to."""
    return exit_status in (126, 127) or output.startswith("sudo:")


# supervisor.states.ProcessStates, as supervisorctl prints them.
_SUPERVISORD: dict[str, ServiceState] = {
    "RUNNING": "running",
    "STARTING": "starting",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "EXITED": "failed",
    "BACKOFF": "failed",
    "FATAL": "failed",
    "UNKNOWN": "unknown",
}


def _of_supervisord(unit: str, output: str) -> ServiceStatus:
    """A line `kafka  RUNNING   pid 123, uptime 0:00:12`, or `kafka: ERROR (no such process)`."""
    for line in output.splitlines():
        name, _, rest = line.partition(" ")
        if name.rstrip(":") not in (unit, f"{unit}:{unit}"):
            continue
        rest = rest.strip()
        word, _, detail = rest.partition(" ")
        if word == "ERROR":
            return ServiceStatus("absent", f"supervisord has no program {unit}")
        pid = re.search(r"\bpid (\d+)", detail)
        state = _SUPERVISORD.get(word, "unknown")
        return ServiceStatus(state, f"{word} {detail.strip()}".strip(), int(pid[1]) if pid else None)
    return ServiceStatus("unknown", _last_line(output) or "supervisorctl says nothing")


# systemd's unit states, org.freedesktop.systemd1(5).
_SYSTEMD: dict[str, ServiceState] = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "failed",
}


def _of_systemd(unit: str, output: str) -> ServiceStatus:
    """A block of `Key=value` lines per unit, blocks separated by an empty line."""
    wanted = unit if "." in unit else f"{unit}.service"
    for block in output.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if wanted != values.get("Id") and wanted not in values.get("Names", "").split():
            continue
        if values.get("LoadState") == "not-found":
            return ServiceStatus("absent", f"systemd has no unit {unit}")
        active, sub, result = (values.get(k, "") for k in ("ActiveState", "SubState", "Result"))
        # An active oneshot that has ended, or a unit between two attempts, has no process.
        state = "failed" if sub == "auto-restart" else _SYSTEMD.get(active, "unknown")
        if active == "active" and sub == "exited":
            state = "stopped"
        pid = int(values.get("MainPID", "0") or 0)
        detail = f"{active} ({sub})" + (f", result {result}" if result not in ("", "success") else "")
        return ServiceStatus(state, detail, pid or None)
    return ServiceStatus("unknown", _last_line(output) or "systemctl says nothing")


def _of_command(exit_status: int, output: str) -> ServiceStatus:
    """Exit 0 is running; 3 is what the LSB says of a program that does not run; others as well are not running."""
    said = _last_line(output)
    detail = f"the status command exits {exit_status}" + (f": {said}" if said else "")
    return ServiceStatus("running" if exit_status == 0 else "stopped", detail)


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else ""
