"""The supervisord of a lab's host: its configuration, its start, and the calls that the lab makes to it."""

from __future__ import annotations

import http.client
import os
import resource
import shlex
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdops.errors import OperationFailed, Unreachable
from bdops.lab.hosts import LabHost, find_sshd
from bdops.lab.processes import MARKER, Process, from_pid_file
from bdops.lab.recipe import Program

CALL_TIMEOUT_S = 20.0
# Fault codes of supervisor.xmlrpc.Faults
BAD_NAME, NOT_RUNNING, ALREADY_STARTED = 10, 70, 60
SSHD = "sshd"


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says of a program. `pid` is None unless it runs; `state` is RUNNING, STOPPED, EXITED, ..."""

    name: str
    state: str
    pid: int | None
    exit_status: int


def open_files_limit() -> int:
    """As many files as this user may have open, up to what the largest server wants."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)


def supervisor_config(lab_folder: Path, host: LabHost) -> str:
    """supervisord.conf of a host: a Unix socket, sshd, and the components' programs by include."""
    sshd = Program(
        name=SSHD, host=host.name, instance="", argv=[find_sshd() or "sshd", "-D", "-e", "-f", str(host.sshd_config)]
    )
    return "\n".join(
        [
            "[supervisord]",
            f"pidfile={_value(host.pid_file)}",
            f"logfile={_value(host.logs / 'supervisord.log')}",
            "logfile_maxbytes=5MB",
            "logfile_backups=1",
            f"childlogdir={_value(host.logs)}",
            f"directory={_value(host.folder)}",
            f"identifier={host.name}",
            f"minfds={open_files_limit()}",
            "umask=077",
            *(["user=root"] if os.getuid() == 0 else []),
            "[unix_http_server]",
            f"file={_value(host.socket)}",
            "chmod=0700",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl=unix://{_value(host.socket)}",
            program_config(host, sshd, autostart=True),
            "[include]",
            f"files={_value(host.programs_folder)}/*.conf",
            "",
        ]
    )


def program_config(host: LabHost, program: Program, *, autostart: bool = False) -> str:
    """One [program:x] section. The lab starts programs itself, in the order that their recipe wants."""
    # Not supervisord's `environment`, which has no way to write a quotation mark.
    settings = [f"{key}={value}" for key, value in program.env.items()]
    argv = ["/usr/bin/env", *settings, *program.argv] if settings else program.argv
    lines = [
        f"[program:{program.name}]",
        f"command={_value(shlex.join(argv))}",
        f"autostart={str(autostart).lower()}",
        f"autorestart={str(program.autorestart or autostart).lower()}",
        # A server is up when it answers, not when it has lived for a second.
        "startsecs=0",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_wait_s}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_value(host.logs / (program.name + '.log'))}",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
        f"directory={_value(host.folder)}",
    ]
    return "\n".join(lines)


def _value(value: object) -> str:
    """A value of supervisord's configuration, where % formats and a blank before ; or # begins a comment."""
    text = str(value)
    if " ;" in text or " #" in text or "\n" in text:
        raise ValueError(f"supervisord cannot have this as a value: {text!r}")
    return text.replace("%", "%%")


def supervisord_process(host: LabHost) -> Process | None:
    """The host's live supervisord; None when there is none."""
    return from_pid_file(host.pid_file, host.supervisor_config)


def start_supervisord(lab_folder: Path, host: LabHost) -> None:
    """Start the host's supervisord, away from this terminal and process group. Nothing happens when it runs."""
    if supervisord_process(host):
        return
    host.socket.unlink(missing_ok=True)
    # It goes into the background by itself once its socket is open; what it says before that goes to the file.
    early = host.logs / "supervisord-start.log"
    with early.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(host.supervisor_config)],
            cwd=host.folder,
            env=clean_environment(lab_folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    if done.returncode != 0:
        raise OperationFailed(
            f"supervisord of {host.name} did not start: {early.read_text(errors='replace').strip()[-500:]}",
            where=str(host.logs / "supervisord.log"),
        )


def clean_environment(lab_folder: Path) -> dict[str, str]:
    """What the lab's processes inherit: enough to run, the lab's mark, and none of the caller's own settings."""
    kept = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "JAVA_HOME", "LD_LIBRARY_PATH", "PYTHONPATH")
    return {key: os.environ[key] for key in kept if key in os.environ} | {MARKER: str(lab_folder)}


class Supervisor:
    """The XML-RPC interface of one host's supervisord (http://supervisord.org/api.html).

    Every call raises Unreachable when supervisord does not answer within `timeout_s`.
    """

    def __init__(self, host: LabHost, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.host = host
        self._proxy = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2", transport=_UnixTransport(str(host.socket), timeout_s)
        )

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self._proxy.supervisor, method)(*args)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as e:
            raise Unreachable(
                f"supervisord of {self.host.name} does not answer: {type(e).__name__}: {e}", where=str(self.host.socket)
            ) from e

    def states(self) -> Mapping[str, ProgramState]:
        """All programs of the host but sshd, by name."""
        return {
            each["name"]: ProgramState(each["name"], each["statename"], each["pid"] or None, each["exitstatus"])
            for each in self._call("getAllProcessInfo")
            if each["name"] != SSHD
        }

    def start(self, name: str) -> None:
        """Start a program; nothing happens when it runs. Raises OperationFailed when its file cannot be run."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != ALREADY_STARTED:
                raise self._failed("start", name, fault) from fault

    def stop(self, name: str) -> None:
        """Ask a program to stop, and return at once; supervisord kills it when it takes too long."""
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (NOT_RUNNING, BAD_NAME):
                raise self._failed("stop", name, fault) from fault

    def update(self) -> None:
        """Take over what changed in the programs' files. A program that runs keeps its old definition till it stops."""
        added, changed, removed = self._call("reloadConfig")[0]
        states = self.states()
        for group in [*changed, *removed]:
            if group not in states or states[group].pid is None:
                self._call("removeProcessGroup", group)
                if group in changed:
                    self._call("addProcessGroup", group)
        for group in added:
            self._call("addProcessGroup", group)

    def _failed(self, verb: str, name: str, fault: xmlrpc.client.Fault) -> OperationFailed:
        return OperationFailed(
            f"supervisord of {self.host.name} could not {verb} {name}: {fault.faultString}",
            where=str(self.host.logs / f"{name}.log"),
        )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # A connection per call: supervisord closes idle ones, and threads may share this object's owner.
        return _UnixConnection(self._path, self._timeout_s)
