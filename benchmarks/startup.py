"""CPU time of `bdops --help` and of a completion, against a Python that imports typer and nothing else.

    python benchmarks/startup.py

The requirement is a ratio of at most 1.6 for each. The commands take turns, so that all see the same load of the
machine; the figure of each is the median of its runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

BAR = 1.6


def cpu_ms(argv: list[str], env: dict[str, str]) -> float:
    """User and system time of one run, in milliseconds. Raises SystemExit when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0 or not (done.stdout or argv[-1] == IMPORT):
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode} and {done.stdout!r}:\n{done.stderr}")
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


IMPORT = "import typer"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    bdops = str(Path(sys.executable).with_name("bdops"))
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "_BDOPS"))}
    # What the shell's completion function sets when the person presses TAB after `bdops kafka `.
    completion = plain | {
        "_BDOPS_COMPLETE": "complete_bash",
        "COMP_WORDS": "bdops kafka ",
        "COMP_CWORD": "2",
    }
    baseline = f"python -c '{IMPORT}'"
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        baseline: ([sys.executable, "-c", IMPORT], plain),
        "bdops --help": ([bdops, "--help"], plain),
        "completion of `bdops kafka `": ([bdops], completion),
    }
    for argv, env in commands.values():  # compiled modules and the file cache are not what is measured
        cpu_ms(argv, env)
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, (argv, env) in commands.items():
            taken[name].append(cpu_ms(argv, env))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    met = True
    for name, median in medians.items():
        ratio = median / medians[baseline]
        met &= ratio <= BAR
        print(f"{name:32} {median:7.1f} ms CPU  ratio {ratio:.2f}")
    print(f"at most {BAR}: {'met' if met else 'NOT met'} (medians of {runs} runs, {os.cpu_count()} CPUs)")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
