"""bdops on a machine whose clock is wrong: python -m tests.faults.skewed SECONDS bdops-argument..."""

from __future__ import annotations

import datetime as real
import sys
import time
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import bdops.jobs
from bdops.__main__ import run


def main() -> None:
    skew_s = float(sys.argv[1])
    true_time = time.time

    class Skewed(real.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.datetime.now(tz) + real.timedelta(seconds=skew_s)

    time.time = lambda: true_time() + skew_s
    for found in iter_modules(bdops.jobs.__path__, "bdops.jobs."):
        module = import_module(found.name)
        if getattr(module, "datetime", None) is real.datetime:
            module.datetime = Skewed  # type: ignore[attr-defined]
    sys.exit(run(sys.argv[2:]))


if __name__ == "__main__":
    main()
