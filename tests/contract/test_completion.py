"""Completion in real shells, driven as a person does it: by TAB, on a terminal."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests import needs
from tests.contract.cli import bdops

ROOT = Path(__file__).parents[2]
MOST_CPU_S = 0.150


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose names are known, as after any command: clusters, jobs, playbooks."""
    folder = tmp_path_factory.mktemp("home")
    inventory = folder / "inventory.yaml"
    inventory.write_text(
        "version: 1\nclusters:\n  production:\n    hosts:\n      broker1: {address: 127.0.0.1}\n"
        "      broker2: {address: 127.0.0.2}\n"
        "    components:\n      zk: {hosts: broker1, client_port: 1, admin_port: 2}\n"
    )
    (folder / ".config/bdops").mkdir(parents=True)
    (folder / ".config/bdops/config.yaml").write_text(f"inventory: {inventory}\n")
    done = bdops("inventory", "hosts", home=folder)
    assert done.returncode == 0, done.stderr
    (folder / "state/jobs/20260301-zk-restart-abc").mkdir(parents=True)
    (folder / "playbooks").mkdir()
    (folder / "playbooks/nightly.yaml").touch()
    (folder / "states").mkdir()
    (folder / "states/kafka.json").touch()
    program = folder / "bin/bdops"
    program.parent.mkdir()
    # Completes as bdops does; called to do something it only says with which words.
    program.write_text(
        f'#!/bin/sh\n[ -z "$_BDOPS_COMPLETE" ] || exec {sys.executable} -m bdops "$@"\nprintf "words:<%s>\\n" "$*"\n'
    )
    program.chmod(0o755)
    (folder / ".zshrc").write_text(f"autoload -Uz compinit; compinit -u -d {folder}/.zcompdump\nPS1='> '\n")
    (folder / ".config/fish").mkdir()
    (folder / ".config/fish/config.fish").write_text("function fish_prompt; printf '> '; end\nset -g fish_greeting\n")
    return folder


def environment(home: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "XDG_", "LC_"))}
    return {
        **clean,
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "BDOPS_STATE_DIR": str(home / "state"),
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PS1": "> ",
    }


SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source {}/bdops.bash"),
    "zsh": (["-i"], "source {}/bdops.zsh"),
    "fish": (["-i"], "source {}/bdops.fish"),
}


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, home: Path):
    """A shell on a terminal, the script of completions/ loaded."""
    program = needs.program(request.param)
    argv, load = SHELLS[request.param]
    env = environment(home)
    if request.param == "fish":
        env["TERM"] = "xterm"
    child = pexpect.spawn(program, argv, env=env, cwd=str(home), encoding="utf-8", timeout=15, dimensions=(50, 200))
    child.shell = request.param
    child.sendline(load.format(ROOT / "completions"))
    # The two halves are put together by the shell: what is typed does not look like what is printed.
    child.sendline("echo rea''dy")
    child.expect("ready")
    yield child
    child.close(force=True)


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("kaf", "kafka"),
        ("check --textf", "check --textfile"),
        ("check -c prod", "check -c production"),
        ("check production/z", "check production/zk"),
        ("check production/zk/b", "check production/zk/broker1"),
        ("host restart broker2", "host restart broker2"),
        ("jobs show 2026", "jobs show 20260301-zk-restart-abc"),
        ("run playbooks/nigh", "run playbooks/nightly.yaml"),
        ("check --state states/ka", "check --state states/kafka.json"),
        ("check -o nag", "check -o nagios"),
    ],
)
def test_a_tab_finishes_the_word(shell: pexpect.spawn, typed: str, whole: str) -> None:
    shell.send(f"bdops {typed}\t")
    shell.send("\r")
    shell.expect("words:<(.*?)>")
    assert shell.match[1].rstrip() == whole


@pytest.mark.parametrize(
    "words", [["kaf"], ["check", "production/"], ["jobs", "show", ""], ["kafka", "partitions", "--topic", ""], ["-"]]
)
def test_an_answer_costs_little(home: Path, words: list[str]) -> None:
    def cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        env = {**environment(home), "_BDOPS_COMPLETE": "fish"}
        subprocess.run([sys.executable, "-m", "bdops", *words], env=env, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_s() for _ in range(3)) <= MOST_CPU_S


def test_the_script_is_printed(home: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        printed = bdops("completion", shell, home=home)
        assert printed.stdout == (ROOT / f"completions/bdops.{shell}").read_text()
    assert bdops("completion", "tcsh", home=home).returncode == 2
