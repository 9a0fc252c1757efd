"""Wall time of one `bdops check` of everything in a running lab: all components and hosts.

    bdops lab up && bdops lab load
    python benchmarks/check_lab.py

The requirement is at most 3 seconds on 2 cores.
"""

from __future__ import annotations

import json
import os
import sys

from timing import BDOPS, arguments, chosen_lab, finished, medians, wall_s

BAR_S = 3.0


def main() -> int:
    asked = arguments(__doc__, runs=7)
    argv = [BDOPS, "check", "-i", str(chosen_lab(asked.lab).inventory), "-o", "json"]
    answer = json.loads(finished(argv, None, (0, 1, 2)))
    checks = answer["data"]["checks"]
    subjects = sorted({c["subject"].split("/")[1] for c in checks})
    median_s = medians({"bdops check": lambda: wall_s(argv, ok=(0, 1, 2))}, asked.runs)["bdops check"]
    print(f"{len(checks)} checks of {', '.join(subjects)}: {answer['status']}")
    print(f"bdops check  {median_s:.2f} s (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
    print(f"at most {BAR_S:.0f} s: {'met' if median_s <= BAR_S else 'NOT met'}")
    return 0 if median_s <= BAR_S else 1


if __name__ == "__main__":
    sys.exit(main())
