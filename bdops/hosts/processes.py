"""Which process is behind a service, and since when: the proof that it was restarted.

A process is told from every other one by its id, its start in clock ticks since the boot (proc(5), field 22 of
/proc/PID/stat) and the boot's own id. All of it comes from the host, so no clock of ours is in it.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bdops.core.model import Host, Service
from bdops.errors import OperationFailed, StateUnknown
from bdops.hosts.services import ServiceStatus, StatusQuestion, pid_argv, status_questions, statuses
from bdops.hosts.ssh import Completed, SshPool


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one host and no other. `started_at`, by the host's clock, good to a second, is not compared."""

    pid: int
    start_ticks: int
    boot_id: str
    started_at: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """What the manager says of a service, and its main process.

    None is no live process (a zombie is dead), or one that nobody names: plain commands without `pid`. Where the
    process is there and may not be looked at, the status is `unknown`.
    """

    status: ServiceStatus
    process: ProcessIdentity | None


def read_processes(
    pool: SshPool, host: Host, services: Mapping[str, Service], *, timeout_s: float
) -> Mapping[str, ServiceProcess]:
    """Status and main process of services of one host, by the caller's names, in two commands.

    Raises what SshPool.run does, OperationFailed (SSH_SHELL) when the host's shell does not run our script, and
    StateUnknown (NO_PROC) when the host has no /proc.
    """
    end = time.monotonic() + timeout_s
    status = _read_statuses(pool, host, services, timeout_s=timeout_s)
    identities = _read_identities(pool, host, services, status, timeout_s=max(0.1, end - time.monotonic()))
    found: dict[str, ServiceProcess] = {}
    for name, said in status.items():
        identity = identities.get(name)
        if identity == _HIDDEN:
            why = f"process {said.pid or ''} may not be looked at: /proc is mounted with hidepid"
            found[name] = ServiceProcess(ServiceStatus("unknown", why, said.pid), None)
        else:
            process = identity if isinstance(identity, ProcessIdentity) else None
            found[name] = ServiceProcess(replace(said, pid=process.pid) if process else said, process)
    return found


def is_alive(pool: SshPool, host: Host, process: ProcessIdentity, *, timeout_s: float) -> bool:
    """Whether this very process still lives: the service manager is not asked. Raises what read_processes does."""
    done = pool.run(host, ("sh", "-c", f"{_IDENTITIES}identity 0 {process.pid}\n"), timeout_s=timeout_s)
    return parse_identities(done, host).get(0) == process


def read_stale(
    pool: SshPool, host: Host, services: Mapping[str, Service], *, timeout_s: float
) -> Mapping[str, tuple[str, ...]]:
    """Of each service with a live process, those of its `files` that changed after the process had started.

    A folder stands for all that is in it. "Changed" is the inode's change time (ctime): packages and `cp -p` set
    an old modification time. Raises StateUnknown (STALE_UNKNOWN) when a file is not there or may not be looked at,
    and what read_processes does.
    """
    end = time.monotonic() + timeout_s
    listed = {name: service for name, service in services.items() if service.files}
    if not listed:
        return {}
    processes = read_processes(pool, host, listed, timeout_s=timeout_s)
    alive = {name: each.process for name, each in processes.items() if each.process}
    files = tuple(dict.fromkeys((path, listed[name].sudo) for name in alive for path in listed[name].files))
    if not files:
        return {}
    words = [word for path, sudo in files for word in (path, "sudo" if sudo else "")]
    argv = ("sh", "-c", _CHANGES, "sh", *words)
    done = pool.run(host, argv, timeout_s=max(0.1, end - time.monotonic()))
    boot_s, changed_s = _changes(done, host, [path for path, _ in files])
    return {
        name: tuple(
            path for path in listed[name].files if changed_s[path] > boot_s.at(process.start_ticks)
        )
        for name, process in alive.items()
    }  # fmt: skip


def _read_statuses(
    pool: SshPool, host: Host, services: Mapping[str, Service], *, timeout_s: float
) -> dict[str, ServiceStatus]:
    questions = status_questions(services)
    if not questions:
        return {}
    script = "".join(
        f'echo "@service {index}"\n{shlex.join(question.argv)} </dev/null 2>&1\nexit=$?; echo; echo "@exit $exit"\n'
        for index, question in enumerate(questions)
    )
    done = pool.run(host, ("sh", "-c", f"export LC_ALL=C\n{script}"), timeout_s=timeout_s)
    return _parse_statuses(done, host, services, questions)


def _parse_statuses(
    done: Completed, host: Host, services: Mapping[str, Service], questions: Sequence[StatusQuestion]
) -> dict[str, ServiceStatus]:
    found: dict[str, ServiceStatus] = {}
    for index, body, exit_status in _answers(done.stdout):
        if index < len(questions):
            found |= statuses(questions[index], exit_status, body)
    if not found:
        raise _no_script(done, host)
    return {name: found.get(name, ServiceStatus("unknown", "not told by the host")) for name in services}


def _answers(output: str) -> Iterator[tuple[int, str, int]]:
    """The output of each command, by its number, with its exit status."""
    for match in re.finditer(r"^@service (\d+)\n(.*?)\n?^@exit (\d+)$", output, re.MULTILINE | re.DOTALL):
        yield int(match[1]), match[2], int(match[3])


_HIDDEN = "hidden"

_IDENTITIES = """\
export LC_ALL=C
identity() {
  case $2 in '' | 0 | *[!0-9]*) return ;; esac
  if stat=$(cat "/proc/$2/stat" 2>/dev/null) && [ "$stat" ]; then echo "@process $1 $stat"
  else case $(kill -0 "$2" 2>&1) in *ermitted*) echo "@hidden $1" ;; esac
  fi
}
echo "@boot $(cat /proc/sys/kernel/random/boot_id) $(sed -n 's/^btime //p' /proc/stat) $(getconf CLK_TCK || echo 100)"
"""


def _read_identities(
    pool: SshPool,
    host: Host,
    services: Mapping[str, Service],
    status: Mapping[str, ServiceStatus],
    *,
    timeout_s: float,
) -> dict[str, ProcessIdentity | str]:
    """By name; `_HIDDEN` for a process that is there and whose start may not be read."""
    names = list(status)
    lines = []
    for index, name in enumerate(names):
        if status[name].pid is not None:
            lines.append(f"identity {index} {status[name].pid}\n")
        elif status[name].state in ("running", "starting", "stopping") and (argv := pid_argv(services[name])):
            # supervisord names the process of a program that starts or stops only when asked for it.
            lines.append(f'identity {index} "$({shlex.join(argv)} </dev/null 2>/dev/null)"\n')
    if not lines:
        return {}
    done = pool.run(host, ("sh", "-c", _IDENTITIES + "".join(lines)), timeout_s=timeout_s)
    return {names[index]: found for index, found in parse_identities(done, host).items() if index < len(names)}


def parse_identities(done: Completed, host: Host) -> dict[int, ProcessIdentity | str]:
    """The script's answer, by the numbers that it was given. Raises OperationFailed and StateUnknown."""
    boot = re.search(r"^@boot(?: ([0-9a-f-]{36}) (\d+) (\d+))?", done.stdout, re.MULTILINE)
    if boot is None:
        raise _no_script(done, host)
    if boot[1] is None:
        raise StateUnknown("the host has no /proc to tell its processes by", where=host.address, code="NO_PROC")
    found: dict[int, ProcessIdentity | str] = {}
    for line in done.stdout.splitlines():
        if hidden := re.fullmatch(r"@hidden (\d+)", line):
            found[int(hidden[1])] = _HIDDEN
        # The name of the program, in parentheses, may have anything in it.
        if match := re.fullmatch(r"@process (\d+) (\d+) \(.*\) (\S) (.*)", line):
            state, fields = match[3], match[4].split()
            if state in "ZXx":
                continue
            ticks = int(fields[18])
            started = datetime.fromtimestamp(int(boot[2]) + ticks / int(boot[3]), UTC)
            found[int(match[1])] = ProcessIdentity(int(match[2]), ticks, boot[1], started)
    return found


# The newest change of each file: whole seconds, and with a fraction where stat has one (GNU's; busybox prints a ?).
_CHANGES = """\
export LC_ALL=C
newest() { "$@" -exec stat -L -c '%Z %.9Z' '{}' + 2>/dev/null | sort -n | tail -n 1; }
read -r uptime rest </proc/uptime
echo "@now $(date +%s.%N) $uptime $(getconf CLK_TCK || echo 100)"
while [ $# -gt 0 ]; do
  changed=$(newest find -L "$1")
  if [ -z "$changed" ] && [ "$2" ]; then changed=$(newest sudo -n -- find -L "$1"); fi
  echo "@changed $changed"
  shift 2
done
"""


@dataclass(frozen=True, slots=True)
class _Boot:
    """When the host was booted, by its own clock as it goes now; finer than the whole seconds of btime."""

    seconds: float
    ticks_per_s: int

    def at(self, ticks: int) -> float:
        return self.seconds + ticks / self.ticks_per_s


def _changes(done: Completed, host: Host, files: Sequence[str]) -> tuple[_Boot, dict[str, float]]:
    """The boot, and when each file last changed, in seconds since the epoch by the host's clock."""
    now = re.search(r"^@now (\d+(?:\.\d+)?)\S* (\d+\.\d+) (\d+)$", done.stdout, re.MULTILINE)
    lines = re.findall(r"^@changed ?(.*)$", done.stdout, re.MULTILINE)
    if now is None or len(lines) != len(files):
        raise _no_script(done, host)
    changed: dict[str, float] = {}
    for path, line in zip(files, lines, strict=True):
        if not (match := re.match(r"(\d+) (\d+\.\d+)?", line)):
            raise StateUnknown(
                f"{path} is not there or may not be looked at: whether a process is older than it is not known",
                where=host.address,
                hint="correct `files` of the service in the inventory",
                code="STALE_UNKNOWN",
            )
        # Without a fraction the change may have been at the second's end: rather restarted twice than not at all.
        changed[path] = float(match[2]) if match[2] else float(match[1]) + 1
    return _Boot(float(now[1]) - float(now[2]), int(now[3])), changed


def _no_script(done: Completed, host: Host) -> OperationFailed:
    said = (done.stderr or done.stdout).strip().splitlines()
    return OperationFailed(
        f"the host's shell did not run our script (exit {done.exit_status}): {said[-1] if said else 'silent'}",
        where=host.address,
        code="SSH_SHELL",
    )
