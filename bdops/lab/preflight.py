"""What must be there before a lab starts. Each error says what is missing and how to get it."""

from __future__ import annotations

import importlib.util
import re
import resource
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bdops.errors import ConfigError, ConfigErrors
from bdops.lab import jars, java, processes
from bdops.lab.hosts import find_sshd
from bdops.lab.lab import Lab
from bdops.lab.network import SSH_PORT, busy_ports
from bdops.lab.recipe import Recipe

MINIMUM_OPEN_FILES = 4096


def check(lab: Lab, to_start: Sequence[Recipe], *, fresh_hosts: Sequence[str]) -> None:
    """Raise ConfigError with everything that is missing; `fresh_hosts` are those whose sshd does not run yet."""
    checks = (
        _linux,
        java.require_version,
        _sshd,
        _supervisor,
        _open_files,
        lambda: _maven(lab, to_start),
        lambda: _memory(to_start),
        lambda: _ports(lab, to_start, fresh_hosts),
    )
    errors: list[ConfigError] = []
    for one in checks:
        try:
            one()
        except ConfigError as e:
            errors.append(e)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def _linux() -> None:
    if sys.platform != "linux":
        raise ConfigError("the lab needs Linux: /proc, and a loopback address per host", code="LAB_NO_LINUX")


def _sshd() -> None:
    if find_sshd() is None or shutil.which("ssh-keygen") is None:
        raise ConfigError(
            "sshd is not installed",
            hint="apt-get install openssh-server (Fedora: dnf install openssh-server)",
            code="LAB_NO_SSHD",
        )


def _supervisor() -> None:
    if importlib.util.find_spec("supervisor") is None:
        raise ConfigError(
            "the Python package supervisor is not installed",
            hint=f"{sys.executable} -m pip install 'bdops[lab]'",
            code="LAB_NO_SUPERVISOR",
        )


def _open_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < MINIMUM_OPEN_FILES:
        raise ConfigError(
            f"this user may have {hard} files open, and the lab needs {MINIMUM_OPEN_FILES}",
            hint="raise the hard limit of nofile: ulimit -Hn, /etc/security/limits.conf",
            code="LAB_NOFILE",
        )


def _maven(lab: Lab, to_start: Sequence[Recipe]) -> None:
    cold = [r.title for r in to_start if not jars.is_resolved(r.name, r.artifacts, lab.cache)]
    if cold and shutil.which("mvn") is None:
        raise ConfigError(
            f"mvn is not on the PATH, and the jars of {', '.join(cold)} are not in the cache ({lab.cache})",
            hint="apt-get install maven (Fedora: dnf install maven)",
            code="LAB_NO_MAVEN",
        )


def available_memory_mb(meminfo: str) -> int | None:
    """MemAvailable of /proc/meminfo."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) // 1024 if match else None


def _memory(to_start: Sequence[Recipe]) -> None:
    needed = sum(r.memory_mb for r in to_start)
    available = available_memory_mb(Path("/proc/meminfo").read_text())
    if available is not None and available < needed:
        each = ", ".join(f"{r.name} {r.memory_mb} MB" for r in to_start)
        raise ConfigError(
            f"the lab needs {needed} MB of memory ({each}), and {available} MB are available",
            hint="start fewer components: bdops lab up zk",
            code="LAB_MEMORY",
        )


def _ports(lab: Lab, to_start: Sequence[Recipe], fresh_hosts: Sequence[str]) -> None:
    wanted = [(lab.host(name).address, SSH_PORT) for name in fresh_hosts]
    wanted += [(lab.host(host).address, port) for r in to_start for host, ports in r.ports.items() for port in ports]
    busy = busy_ports(wanted, ours={p.pid for p in processes.marked(lab.folder)})
    if busy:
        raise ConfigError(
            "; ".join(busy[:10]),
            hint="stop that process, or see which lab it belongs to: bdops lab status",
            code="LAB_PORT_BUSY",
        )
