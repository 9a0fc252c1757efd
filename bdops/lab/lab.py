"""A lab as its recipes, faults and commands see it: hosts, folders, jars, programs and their processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bdops.core.units import format_duration
from bdops.errors import BdopsError, ConfigError, OperationFailed, UsageError
from bdops.lab import jars, java, paths, processes, recipes, store, volumes
from bdops.lab.hosts import LabHost
from bdops.lab.network import address
from bdops.lab.recipe import Program, Say
from bdops.lab.store import RunningLab, running_labs

if TYPE_CHECKING:
    from bdops.core.model import Deployment
    from bdops.lab.supervision import ProgramState, Supervisor

__all__ = ["Lab", "LabHost", "RunningLab", "running_labs"]

POLL_S = 0.2
PROGRESS_S = 10.0
LINE_LENGTH = 240


class Lab:
    """One lab, running or not. `say` is told what goes on; calls are safe from several threads."""

    def __init__(self, record: store.LabRecord, say: Say | None = None) -> None:
        self.name = record.name
        self.network = record.network
        self.components = record.components
        self.secure = record.secure
        self.folder = store.lab_folder(record.name)
        self.runtime = paths.runtime_dir(self.folder)
        self.cache = paths.cache_dir()
        self.say: Say = say or (lambda line: None)
        self.hosts = tuple(
            LabHost(
                name=name,
                address=address(record.network, number),
                rack=rack,
                folder=self.folder / name,
                runtime=self.runtime,
            )
            for number, (name, rack) in enumerate(store.HOST_RACKS.items(), start=1)
        )
        self._record_lock = threading.Lock()
        self._abandoned = threading.Event()

    @classmethod
    def open(cls, name: str = "lab", say: Say | None = None) -> Lab:
        """The lab of this name. Raises ConfigError when there is none."""
        record = store.read(name)
        if record is None:
            others = ", ".join(store.names())
            raise ConfigError(
                f"there is no lab {name!r}" + (f" (there are: {others})" if others else ""),
                hint="bdops lab up" + ("" if name == "lab" else f" --name {name}"),
                code="LAB_UNKNOWN",
            )
        return cls(record, say)

    # Folders, jars and Java

    def host(self, name: str) -> LabHost:
        for host in self.hosts:
            if host.name == name:
                return host
        raise UsageError(f"the lab has no host {name!r}", hint=f"choose from {', '.join(h.name for h in self.hosts)}")

    def folder_of(self, component: str, host: str) -> Path:
        """Where a component keeps its data, configuration and logs on a host."""
        return paths.private_folder(self.host(host).folder / component)

    def jars_of(self, component: str) -> Path:
        """The cache folder with the component's artifacts and their dependencies; fetched when it is not there."""
        return jars.resolve(component, recipes.recipe(component).artifacts, cache=self.cache, say=self.say)

    def class_path(self, component: str) -> str:
        return jars.class_path(self.jars_of(component))

    def artifact(self, component: str, artifact: str) -> Path:
        """The file of one of the recipe's artifacts, by its artifact id."""
        for one in map(jars.Coordinate.parse, recipes.recipe(component).artifacts):
            if one.artifact == artifact:
                return self.jars_of(component) / one.file_name
        raise KeyError(f"{component} has no artifact {artifact}")

    def java(
        self, *, heap_mb: int, class_path: str, main: str, args: Sequence[str] = (), options: Sequence[str] = ()
    ) -> list[str]:
        """The argv of a small Java server or tool."""
        return java.command(heap_mb=heap_mb, class_path=class_path, main=main, args=args, options=options)

    def run_java(
        self, argv: Sequence[str], *, timeout_s: float = 120, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool to its end. Raises OperationFailed with the end of its output when it fails or takes too long."""
        from bdops.lab.supervision import clean_environment

        main = next((word for word in argv[1:] if not word.startswith("-") and "/" not in word), argv[0])
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env={**clean_environment(self.folder), **(env or {})},
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as e:
            raise OperationFailed(f"{main} did not end within {format_duration(timeout_s)}") from e
        if done.returncode != 0:
            tail = "\n  ".join(done.stdout.splitlines()[-12:])
            raise OperationFailed(f"{main} ended with {done.returncode}:\n  {tail}")
        return done

    def unprivileged(self, argv: Sequence[str]) -> list[str]:
        """The argv as another user than root, who may still read and write the lab's folders.

        For servers that refuse to run as root. Unchanged when this user is not root.
        """
        if os.getuid() != 0:
            return list(argv)
        capabilities = "+dac_override"
        return [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            # Without it access(2), which Java asks before it opens a file, does not count the capability.
            "--securebits=+no_setuid_fixup",
            f"--inh-caps={capabilities}",
            f"--ambient-caps={capabilities}",
            *argv,
        ]

    def small_volume(self, component: str, host: str, size_mb: int = 256) -> Path:
        """A data folder on a small file system of its own, mounted while the lab is up; call it in `prepare`.

        Where this user is not root it is an ordinary folder: see `has_small_volume`.
        """
        mount = self.host(host).folder / f"{component}-volume"
        if volumes.is_possible():
            image = self.folder / "volumes" / f"{component}-{host}.img"
            volume = store.Volume(component=component, host=host, image=str(image), mount=str(mount))
            with self._record_lock:  # recorded before it is mounted: `down` must find it
                record = store.read(self.name)
                if record and volume not in record.volumes:
                    store.change(self.name, volumes=(*record.volumes, volume))
            volumes.attach(image, mount, size_mb)
        # Not the mount point itself: lost+found is no folder that a server expects among its data.
        data = mount / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        return data

    def has_small_volume(self, component: str, host: str) -> bool:
        return volumes.is_mounted(self.host(host).folder / f"{component}-volume")

    # Programs

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """All server processes of the lab's components."""
        return tuple(program for name in self.components for program in recipes.recipe(name).programs(self))

    def program(self, name: str, host: str) -> Program:
        for program in self.programs:
            if (program.name, program.host) == (name, host):
                return program
        raise KeyError(f"no program {name} on {host}")

    def named(self, instance: str) -> list[Program]:
        """The programs of `zk/node2`, `lab/zk/node2`, `hdfs/node1` (all of it), `hdfs/node1/namenode` or `node2`.

        Raises UsageError when the name is none of these.
        """
        path = instance.removeprefix(f"{self.name}/").rstrip("/")
        found = [p for p in self.programs if p.instance == path or p.instance.startswith(f"{path}/")]
        found = found or [p for p in self.programs if p.host == path]
        if not found:
            known = ", ".join(dict.fromkeys(p.instance for p in self.programs))
            raise UsageError(f"the lab has no instance {instance!r}", hint=f"choose from {known}")
        return found

    def supervisor(self, host: str) -> Supervisor:
        from bdops.lab.supervision import Supervisor

        return Supervisor(self.host(host))

    def program_state(self, name: str, host: str) -> ProgramState | None:
        """What the host's supervisord says; None when it does not run or does not know the program."""
        from bdops.lab.supervision import supervisord_process

        if supervisord_process(self.host(host)) is None:
            return None
        return self.supervisor(host).states().get(name)

    def pid(self, name: str, host: str) -> int | None:
        """The pid of a program's live process; None when it does not run."""
        one = self._process(name, host)
        return one.pid if one else None

    def _process(self, name: str, host: str) -> processes.Process | None:
        state = self.program_state(name, host)
        return processes.process(state.pid) if state and state.pid else None

    def start(self, name: str, host: str) -> None:
        """Start a program, or let a paused one run on. Returns when the process is there, not when it serves."""
        self._settle(name, host)
        if self._process(name, host):
            self.resume(name, host)
        else:
            self.supervisor(host).start(name)

    def stop(self, name: str, host: str) -> bool:
        """Stop a program by its stop signal, and wait for its end. False when it had to be killed."""
        one = self._process(name, host)
        if one is None:
            return True
        wait_s = self.program(name, host).stop_wait_s
        started = time.monotonic()
        self.supervisor(host).stop(name)
        # A paused process does nothing about the signal until it may run again.
        processes.send(one, signal.SIGCONT)
        left = processes.wait_gone([one], wait_s + 10)
        if left:
            raise OperationFailed(f"{name} on {host} is still there after SIGKILL ({processes.describe(one.pid)})")
        gently = time.monotonic() - started < wait_s
        self._settle(name, host)
        return gently

    def kill(self, name: str, host: str) -> None:
        """SIGKILL, as a crash would; returns when the process is gone."""
        one = self._running(name, host)
        processes.send(one, signal.SIGKILL)
        if processes.wait_gone([one], 10):
            raise OperationFailed(f"{name} on {host} is still there after SIGKILL ({processes.describe(one.pid)})")
        self._settle(name, host)

    def _settle(self, name: str, host: str) -> None:
        """Wait until supervisord has noticed that a process is dead: before that it would not start it again."""

        def noticed() -> bool:
            state = self.program_state(name, host)
            return state is None or state.pid is None or processes.process(state.pid) is not None

        self.wait(f"supervisord of {host} to notice the end of {name}", noticed, 20)

    def pause(self, name: str, host: str) -> None:
        """SIGSTOP: the process hangs, its sockets stay open. Returns when it has stopped."""
        one = self._running(name, host)
        processes.send(one, signal.SIGSTOP)
        self.wait(f"{name} on {host} to pause", lambda: processes.is_paused(one.pid), 5)

    def resume(self, name: str, host: str) -> None:
        """SIGCONT; nothing happens when the process is not paused."""
        processes.send(self._running(name, host), signal.SIGCONT)

    def _running(self, name: str, host: str) -> processes.Process:
        one = self._process(name, host)
        if one is None:
            raise OperationFailed(f"{name} on {host} does not run", hint=f"bdops lab start {host}")
        return one

    def log_tail(self, name: str, host: str, lines: int = 12) -> str:
        """The last lines that a program wrote."""
        file = self.host(host).logs / f"{name}.log"
        try:
            text = file.read_bytes()[-20000:].decode(errors="replace")
        except OSError:
            return f"  no log: {file}"
        return "\n".join(f"  {line[:LINE_LENGTH]}" for line in text.splitlines()[-lines:])

    def wait(
        self,
        what: str,
        probe: Callable[[], bool],
        timeout_s: float,
        *,
        of: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Poll until `probe` is true. An OSError or BdopsError of the probe counts as not yet.

        `of` are the programs (name, host) that this waits for: when one of them ends, or time is up, raises
        OperationFailed with its last log lines.
        """
        started = time.monotonic()
        next_line = started + PROGRESS_S
        next_look = started + 1
        last_error = ""
        while True:
            try:
                if probe():
                    return
                last_error = ""
            except (OSError, BdopsError) as e:
                last_error = f": {e}"
            now = time.monotonic()
            if now >= next_look:
                next_look = now + 1
                for name, host in of:
                    if self.pid(name, host) is None:
                        raise OperationFailed(
                            f"{name} on {host} ended while waiting for {what}:\n{self.log_tail(name, host)}",
                            where=str(self.host(host).logs / f"{name}.log"),
                        )
            if self._abandoned.is_set():
                raise OperationFailed(f"stopped waiting for {what}")
            if now - started >= timeout_s:
                lines = 12 if len(of) == 1 else 5
                tails = "".join(f"\n{name} on {host}:\n{self.log_tail(name, host, lines)}" for name, host in of)
                raise OperationFailed(f"{what}: not within {format_duration(timeout_s)}{last_error}{tails}")
            if now >= next_line:
                next_line = now + PROGRESS_S
                self.say(f"waiting for {what} ({format_duration(now - started)})")
            time.sleep(POLL_S)

    def abandon(self) -> None:
        """Let every `wait` of other threads end with OperationFailed: the whole has failed or was interrupted."""
        self._abandoned.set()

    # Helpers of faults: processes of the lab that are no servers, such as a slow link

    def start_helper(self, name: str, module: str, *args: str) -> None:
        """Run `python -m MODULE FOLDER ARGS...` in the background until `stop_helper` or `down`."""
        from bdops.lab.supervision import clean_environment

        self.stop_helper(name)
        environment = clean_environment(self.folder) | {"BDOPS_STATE_DIR": str(paths.state_dir())}
        with (self.folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", module, str(self.folder), *args],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.runtime / f"{name}.pid").write_text(str(started.pid))

    def stop_helper(self, name: str) -> None:
        """End a helper; nothing happens when it does not run."""
        pid_file = self.runtime / f"{name}.pid"
        one = processes.from_pid_file(pid_file, self.folder)
        if one:
            processes.send(one, signal.SIGTERM)
            for left in processes.wait_gone([one], 5):
                processes.send(left, signal.SIGKILL)
        pid_file.unlink(missing_ok=True)

    # What clients of the lab need

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    def deployment(self, component: str) -> Deployment:
        """One component of the lab, from the lab's own inventory."""
        from bdops.inventory.load import load_inventory
        from bdops.registry import COMPONENTS, settings

        loaded = load_inventory(self.inventory, {name: settings(name) for name in COMPONENTS})
        for cluster in loaded.clusters:
            for deployment in cluster.deployments:
                if deployment.component == component:
                    return deployment
        raise ConfigError(f"{component} is not part of lab {self.name!r}", hint=f"bdops lab up {component}")
