"""CPU time of `bdops --help` and of a completion, against a Python that imports typer and nothing else.

    python benchmarks/startup.py

The requirement is a ratio of at most 1.6 for each.
"""

from __future__ import annotations

import os
import sys

from timing import BDOPS, against, arguments, cpu_s, finished, medians


def main() -> int:
    asked = arguments(__doc__, runs=15, lab=False)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "_BDOPS"))}
    # What the shell's completion function sets when the person presses TAB after `bdops kafka `.
    completion = plain | {"_BDOPS_COMPLETE": "complete_bash", "COMP_WORDS": "bdops kafka ", "COMP_CWORD": "2"}
    if "check" not in finished([BDOPS], completion, (0,)).split():
        raise SystemExit("the completion completes nothing")
    found = medians(
        {
            "python -c 'import typer'": lambda: 1000 * cpu_s([sys.executable, "-c", "import typer"], env=plain),
            "bdops --help": lambda: 1000 * cpu_s([BDOPS, "--help"], env=plain),
            "completion of `bdops kafka `": lambda: 1000 * cpu_s([BDOPS], env=completion),
        },
        asked.runs,
    )
    ours = ["bdops --help", "completion of `bdops kafka `"]
    return against(found, ours=ours, theirs="python -c 'import typer'", bar=1.6, unit="ms CPU")


if __name__ == "__main__":
    sys.exit(main())
