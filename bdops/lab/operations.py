"""Bring a lab up, load it, look at it, take it down."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bdops.core.units import format_duration
from bdops.errors import ConfigError, OperationFailed, Unreachable, UsageError
from bdops.lab import paths, preflight, processes, recipes, security, store, supervision, volumes
from bdops.lab.hosts import LabHost, prepare_hosts
from bdops.lab.inventory import write_inventory
from bdops.lab.lab import Lab
from bdops.lab.network import choose_network
from bdops.lab.recipe import Program, Recipe, Say

SUPERVISORD_STOP_S = 15.0
SERVE_TIMEOUT_S = 120.0
ASK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What `up` did: how long each component took to serve, and all of it."""

    lab: Lab
    seconds: dict[str, float]
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """What `down` did. `killed` are the processes that did not stop in time and got SIGKILL."""

    stopped: int
    killed: tuple[str, ...]


def up(name: str, components: Sequence[str], *, secure: bool = False, say: Say) -> Up:
    """Start a lab with these components (none: all), or add them to a lab that runs; returns when all serve.

    `secure`: with TLS and logins, which a lab has from its first `up` on or never.

    Raises ConfigError, with nothing started, when this machine lacks something; OperationFailed when a server
    does not come up. A call that failed or was killed can be repeated, or undone with `down`.
    """
    started = time.monotonic()
    wanted = recipes.with_required(components)
    with store.locked(name):
        found = store.read(name)
        if secure or (found and found.secure):
            wanted = _secured(components, say)
        lab = Lab(_record(name, found, secure=secure), say)
        new = [recipes.recipe(c) for c in wanted if not _serves_already(lab, c)]
        fresh = [h.name for h in lab.hosts if supervision.supervisord_process(h) is None]
        if new:
            preflight.check(lab, new, fresh_hosts=fresh)
        paths.private_folder(lab.runtime)
        lab = Lab(store.change(name, components=_merged(lab.components, wanted), up=True), say)
        for component in wanted:
            lab.jars_of(component)
        prepare_hosts(lab.folder, lab.hosts)
        if lab.secure:
            security.prepare(lab)
        write_inventory(lab)
        seconds = _start(lab, [recipes.recipe(c) for c in wanted])
    return Up(lab=lab, seconds=seconds, total_s=time.monotonic() - started)


def _secured(components: Sequence[str], say: Say) -> list[str]:
    """These components (none: all that can be secured). Raises UsageError for one that cannot."""
    able = recipes.securable()
    unable = [name for name in recipes.with_required(components) if name not in able]
    if not unable:
        return recipes.with_required(components)
    if not components:
        say(f"a secured lab goes without {', '.join(unable)}: that would want a Kerberos server")
        return recipes.with_required(able)
    raise UsageError(
        f"a lab's {', '.join(unable)} cannot be secured: that would want a Kerberos server",
        hint=f"secure these: {', '.join(able)}",
    )


def _record(name: str, found: store.LabRecord | None, *, secure: bool) -> store.LabRecord:
    """The lab's record; a new one has a network of its own. Raises ConfigError when it is there and not secured."""
    if found and secure and not found.secure:
        if found.components:
            raise ConfigError(
                f"lab {name!r} is there without security, and cannot be secured any more",
                hint=f"take another --name, or remove it: bdops lab down --destroy --name {name}",
                code="LAB_NOT_SECURE",
            )
        return store.change(name, secure=True)
    if found:
        return found
    folder = store.lab_folder(name)
    others = [record.network for other in store.names() if (record := store.read(other))]
    network = choose_network(folder, others, len(store.HOST_RACKS))
    record = store.LabRecord(name=name, network=network, components=(), up=False, secure=secure)
    store.write(record)
    return record


def _merged(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*old, *new]))


def _serves_already(lab: Lab, component: str) -> bool:
    """Whether all programs of a component run, so that its memory and ports are not wanted again."""
    if component not in lab.components:
        return False
    programs = recipes.recipe(component).programs(lab)
    return all(lab.pid(p.name, p.host) is not None for p in programs)


def _start(lab: Lab, to_start: Sequence[Recipe]) -> dict[str, float]:
    """Prepare and start each recipe as soon as what it requires serves; seconds to serving by name.

    At the first failure nothing more is waited for, and it is raised; what runs by then stays up.
    """
    hosts_ready = _HostPrograms(lab)
    names = {r.name for r in to_start}
    seconds: dict[str, float] = {}

    def run(recipe: Recipe) -> None:
        begun = time.monotonic()
        recipe.prepare(lab, lab.say)
        hosts_ready.add(recipe)
        recipe.start(lab, lab.say)
        seconds[recipe.name] = time.monotonic() - begun
        lab.say(f"{recipe.title} serves ({format_duration(seconds[recipe.name])})")

    with ThreadPoolExecutor(max_workers=max(1, len(to_start)), thread_name_prefix="lab") as pool:
        todo = list(to_start)
        running: dict[Future[None], Recipe] = {}
        try:
            while todo or running:
                for recipe in [r for r in todo if all(n in seconds for n in r.requires if n in names)]:
                    todo.remove(recipe)
                    lab.say(f"starting {recipe.title}")
                    running[pool.submit(run, recipe)] = recipe
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    future.result()
        except BaseException:
            # The first failure, or ^C, is the answer: nobody wants to wait for what the others come to.
            lab.abandon()
            raise
    return seconds


class _HostPrograms:
    """Gives the hosts' supervisords the programs of one recipe after the other, and starts those that do not run."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.lock = threading.Lock()

    def add(self, recipe: Recipe) -> None:
        programs = recipe.programs(self.lab)
        with self.lock:
            for host in self.lab.hosts:
                sections = [supervision.program_config(host, p) for p in programs if p.host == host.name]
                (host.programs_folder / f"{recipe.name}.conf").write_text("\n".join(sections) + "\n")
                if supervision.supervisord_process(host) is None:
                    host.supervisor_config.write_text(supervision.supervisor_config(self.lab.folder, host))
                    supervision.start_supervisord(self.lab.folder, host)
                else:
                    self.lab.supervisor(host.name).update()


def down(name: str, *, destroy: bool = False, say: Say) -> Down:
    """Stop every process of a lab and unmount its volumes; with `destroy` remove its data too, for whose sake the
    servers are then not waited for: they are killed.

    Also undoes a `lab up` that was killed. Raises OperationFailed when something cannot be stopped or unmounted.
    """
    with store.locked(name):
        lab = Lab.open(name, say)
        killed: list[str] = []
        stopped = 0
        left = [recipes.recipe(component) for component in lab.components]
        while left:
            # All at once that no other one needs any more.
            needed = {name for recipe in left for name in recipe.requires}
            wave = left if destroy else [recipe for recipe in left if recipe.name not in needed]
            left = [recipe for recipe in left if recipe not in wave]
            with ThreadPoolExecutor(max_workers=len(wave)) as pool:
                for count, by_force in pool.map(partial(_stop_component, lab, kill=destroy), wave):
                    stopped += count
                    killed += by_force
        with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
            for by_force in pool.map(_stop_supervisord, lab.hosts):
                killed += by_force
        killed += _sweep(lab)
        record = store.read(name)
        for volume in record.volumes if record else ():
            volumes.detach(Path(volume.mount))
        shutil.rmtree(lab.runtime, ignore_errors=True)
        store.change(name, up=False, faults=())
        if destroy:
            _remove(lab.folder)
    return Down(stopped=stopped, killed=tuple(killed))


def _stop_component(lab: Lab, recipe: Recipe, *, kill: bool) -> tuple[int, list[str]]:
    """Stop a component's programs, all at once unless the recipe knows better; how many, and which had to be killed.

    With `kill` they all are, and none had to be.
    """
    running = []
    for program in recipe.programs(lab):
        try:
            if lab.pid(program.name, program.host):
                running.append(program)
        except Unreachable:  # its supervisord hangs: the sweep will find the process
            continue
    if not running:
        return 0, []
    lab.say(f"{'killing' if kill else 'stopping'} {recipe.title}")
    if not kill:
        for program in running:
            lab.resume(program.name, program.host)
        if recipe.stop:
            recipe.stop(lab, lab.say)

    def end(program: Program) -> bool:
        if not kill:
            return lab.stop(program.name, program.host)
        with suppress(OperationFailed):  # it has ended by itself, or the sweep finds it
            lab.kill(program.name, program.host)
        return True

    with ThreadPoolExecutor(max_workers=len(running)) as pool:
        gently = list(pool.map(end, running))
    return len(running), [p.instance for p, ok in zip(running, gently, strict=True) if not ok]


def _stop_supervisord(host: LabHost) -> list[str]:
    """End a host's supervisord, and with it its sshd and the sessions in it."""
    one = supervision.supervisord_process(host)
    if one is None:
        return []
    below = processes.descendants(one.pid)
    processes.send(one, signal.SIGCONT)
    processes.send(one, signal.SIGTERM)
    killed = []
    if processes.wait_gone([one], SUPERVISORD_STOP_S):
        processes.send(one, signal.SIGKILL)
        killed.append(f"supervisord of {host.name}")
    for child in processes.wait_gone(below, 2):
        processes.send(child, signal.SIGKILL)
        killed.append(f"{processes.describe(child.pid)} of {host.name}")
    return killed


def _sweep(lab: Lab) -> list[str]:
    """End what is left of a lab whose supervisord died before its programs."""
    left = processes.marked(lab.folder)
    for host in lab.hosts:
        sshd = processes.from_pid_file(host.sshd_pid_file, host.sshd_config)
        if sshd:
            left += [sshd, *processes.descendants(sshd.pid)]
    for one in left:
        processes.send(one, signal.SIGCONT)
        processes.send(one, signal.SIGTERM)
    stubborn = processes.wait_gone(left, SUPERVISORD_STOP_S)
    killed = [processes.describe(one.pid) for one in stubborn]
    for one in stubborn:
        processes.send(one, signal.SIGKILL)
    still = processes.wait_gone(stubborn, 10)
    if still:
        raise OperationFailed(f"still there after SIGKILL: {', '.join(processes.describe(p.pid) for p in still)}")
    return killed


def _remove(folder: Path) -> None:
    """Remove a lab's folder, unless something is still mounted in it."""
    inside = sorted(m for m in volumes.mounts() if m.startswith(f"{folder}/"))
    if inside:
        raise OperationFailed(f"{inside[0]} is still mounted", hint=f"umount {inside[0]}, then bdops lab down again")
    shutil.rmtree(folder)


def load(name: str, components: Sequence[str], factor: float, *, say: Say) -> dict[str, float]:
    """Write data into a running lab's components (none: all of it); seconds by component."""
    lab = Lab.open(name, say)
    wanted = list(components) or list(lab.components)
    missing = [c for c in wanted if c not in lab.components]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} is not part of lab {name!r}",
            hint=f"bdops lab up {' '.join(missing)}",
            code="LAB_PART",
        )
    seconds = {}
    for component in wanted:
        recipe = recipes.recipe(component)
        begun = time.monotonic()
        say(f"loading {recipe.title}")
        recipe.load(lab, factor, say)
        seconds[component] = time.monotonic() - begun
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was done to one program. `pid` is of the process before (start: after) it was done."""

    instance: str
    program: str
    host: str
    pid: int | None
    note: str = ""


def act(name: str, verb: str, instances: Sequence[str], *, say: Say) -> list[Act]:
    """Start, stop, kill, pause or resume instances (`zk/node2`, `hdfs/node1/namenode`, `node3`).

    Start and resume return when the servers serve. Raises UsageError for a name that is none of the lab's, before
    anything is done, and OperationFailed when a server is not in the state that the verb needs.
    """
    lab = Lab.open(name, say)
    programs = list(dict.fromkeys((p.name, p.host, p.instance) for i in instances for p in lab.named(i)))
    verbs = {"start": lab.start, "stop": lab.stop, "kill": lab.kill, "pause": lab.pause, "resume": lab.resume}
    if verb == "start" and any(supervision.supervisord_process(lab.host(host)) is None for _, host, _ in programs):
        raise OperationFailed(f"lab {name!r} is down", hint=f"bdops lab up --name {name}")
    done = []
    for program, host, instance in programs:
        pid = lab.pid(program, host)
        gently = verbs[verb](program, host)
        note = "did not stop in time, and got SIGKILL" if gently is False else ""
        done.append(Act(instance=instance, program=program, host=host, pid=pid or lab.pid(program, host), note=note))
    if verb in ("start", "resume"):
        _await_serving(lab, done)
    return done


def _await_serving(lab: Lab, started: Sequence[Act]) -> None:
    """Wait until each of these serves, asked of its own API; those of which that is not known need only run."""
    from bdops.lab.status import serving

    components = sorted({a.instance.split("/")[0] for a in started})

    def all_serve() -> bool:
        answers, _ = serving(lab, components, timeout_s=ASK_TIMEOUT_S)
        return all(answers.get(a.instance) is not False for a in started)

    lab.wait(
        f"{', '.join(a.instance for a in started)} to serve",
        all_serve,
        SERVE_TIMEOUT_S,
        of=[(a.program, a.host) for a in started],
    )
