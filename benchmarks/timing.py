"""What the benchmarks share: the lab that they run on, and commands that take turns."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bdops.lab.lab import Lab
from bdops.lab.store import running_labs

BDOPS = str(Path(sys.executable).with_name("bdops"))


def arguments(description: str, *, runs: int, lab: bool = True) -> argparse.Namespace:
    """`--runs`, and `--lab` where the benchmark needs one."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--runs", type=int, default=runs)
    if lab:
        parser.add_argument("--lab", help="the lab's name (default: the one that runs)")
    return parser.parse_args()


def chosen_lab(name: str | None) -> Lab:
    """The lab of this name, or the only one that runs. Exits with words when it is not clear which."""
    labs = [x.name for x in running_labs()]
    if name is None and len(labs) != 1:
        raise SystemExit(f"running labs: {', '.join(labs) or 'none'}; name one with --lab")
    return Lab.open(name or labs[0])


def finished(argv: Sequence[str], env: Mapping[str, str] | None, ok: Collection[int]) -> str:
    """Run a command and return what it printed. Exits with its output when it ends in none of the codes `ok`."""
    # pip compiles what it installs; a source tree must be allowed to keep what it compiles.
    compiled = {k: v for k, v in (env or os.environ).items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(argv, env=compiled, capture_output=True, text=True, timeout=120)
    if done.returncode not in ok:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def wall_s(argv: Sequence[str], *, env: Mapping[str, str] | None = None, ok: Collection[int] = (0,)) -> float:
    """Wall time of one run, in seconds."""
    started = time.perf_counter()
    finished(argv, env, ok)
    return time.perf_counter() - started


def cpu_s(argv: Sequence[str], *, env: Mapping[str, str] | None = None, ok: Collection[int] = (0,)) -> float:
    """User and system time of one run, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished(argv, env, ok)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(measures: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """The median of each measure, the measures taking turns so that all see the same load; one round is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs + 1):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def against(found: Mapping[str, float], *, ours: Sequence[str], theirs: str, bar: float, unit: str = "s") -> int:
    """Print all figures and the ratios to `theirs`; 0 when every one of `ours` is within the bar, else 1."""
    met = all(found[name] <= bar * found[theirs] for name in ours)
    for name, value in found.items():
        ratio = f"   ratio {value / found[theirs]:.2f}" if name in ours else ""
        print(f"{name:44} {value:8.3f} {unit}{ratio}")
    load = os.getloadavg()[0]
    print(f"at most {bar}: {'met' if met else 'NOT met'} (medians; load average {load:.1f} on {os.cpu_count()} cores)")
    return 0 if met else 1
