"""What `--help`, `--version` and completion may load, held as a list: start-up is a promise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {
    "rich", "paramiko", "kafka", "kazoo", "elasticsearch", "elastic_transport", "pydantic", "yaml", "httpx",
    "google", "ClusterShell", "platformdirs", "prometheus_client", "filelock", "tenacity", "asyncio", "http", "email",
    "numpy", "orjson", "ortools", "highspy",
}  # fmt: skip

FRAME = {
    "bdops", "bdops.__main__", "bdops.cli", "bdops.cli.app", "bdops.cli.frame", "bdops.cli.rolling", "bdops.core",
    "bdops.core.units", "bdops.errors", "bdops.registry", "bdops.render", "bdops.render.errors",
}  # fmt: skip

RUN = """
import json, sys
import os
from bdops.__main__ import main, run
try:
    main() if "_BDOPS_COMPLETE" in os.environ else run(sys.argv[1:])
except SystemExit:
    pass
print("\\nLOADED " + json.dumps(sorted(sys.modules)))
"""


def loaded(*argv: str, **env: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *argv], capture_output=True, text=True, env={**os.environ, **env}, timeout=60
    )
    assert "LOADED " in done.stdout, done.stderr
    import json

    return set(json.loads(done.stdout.rsplit("LOADED ", 1)[1]))


def of_bdops(modules: set[str]) -> set[str]:
    return {m for m in modules if m.split(".")[0] == "bdops"}


def heavy(modules: set[str]) -> set[str]:
    return {m.split(".")[0] for m in modules} & HEAVY


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ()])
def test_help_and_version_load_the_frame_alone(argv: tuple[str, ...]) -> None:
    modules = loaded(*argv)
    assert of_bdops(modules) <= FRAME
    assert not heavy(modules)


ALSO = {name: {"bdops.cli.on_hosts", "bdops.cli.push"} for name in ("exec", "push", "pull")}
ALSO["kafka"] = {"bdops.cli.kafka_moves", "bdops.cli.kafka_rebalance", "bdops.cli.kafka_request"}
for _name in ("es", "hdfs", "kafka", "zk"):
    ALSO[_name] = ALSO.get(_name, set()) | {"bdops.cli.snapshots", f"bdops.cli.{_name}_snapshots"}
ALSO["es"] |= {"bdops.cli.es_repositories"}


@pytest.mark.parametrize("component", ["inventory", "lab", "check", *ALSO])
def test_the_help_of_a_command_loads_its_own_cli_module_and_nothing_heavy(component: str) -> None:
    modules = loaded(component, "--help")
    assert of_bdops(modules) <= FRAME | {f"bdops.cli.{component}"} | ALSO.get(component, set())
    assert not heavy(modules)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bdops ka", "kafka"),
        ("bdops kafka ch", "check"),
        ("bdops check --sta", "--state"),
        ("bdops exec --ba", "--batch"),
    ],
)
def test_completion_loads_nothing_heavy_and_completes(words: str, expected: str) -> None:
    env = {"_BDOPS_COMPLETE": "bash", "COMP_LINE": words, "COMP_POINT": str(len(words))}
    modules = loaded(**env)
    assert not heavy(modules)
    shown = subprocess.run(
        [sys.executable, "-m", "bdops"], capture_output=True, text=True, env={**os.environ, **env}, timeout=60
    )
    assert expected in shown.stdout.split()
