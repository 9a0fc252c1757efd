"""bdops in a process that kills itself with SIGKILL at one event of its journal: right before or right after it.

python -m tests.faults.killer before|after N bdops-argument...
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from bdops.__main__ import run
from bdops.jobs.journal import Journal


def main() -> None:
    when, number, argv = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    append = Journal.append
    seen = 0

    def append_and_die(self: Journal, event: str, **fields: Any) -> Any:
        nonlocal seen
        # Of all journals together: a playbook has one, and each of its jobs another.
        seen += 1
        here = max(seen, len(self.events) + 1)
        if when == "before" and here >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        written = append(self, event, **fields)
        if when == "after" and here >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    Journal.append = append_and_die  # type: ignore[method-assign]
    sys.exit(run(argv))


if __name__ == "__main__":
    main()
