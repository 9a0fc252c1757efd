"""Playbooks and operations for the unit tests."""

from __future__ import annotations

from pathlib import Path

from bdops.playbooks.load import load_playbook
from bdops.playbooks.model import Operation, Option, Playbook

SELECTOR = Option(key="selector", flag=None, type="text", help="Which.")
OPERATIONS = {
    o.name: o
    for o in (
        Operation(name="check", kind="reads", options=(SELECTOR,)),
        Operation(
            name="exec",
            kind="reads",
            options=(
                Option(key="selector", flag=None, type="text", required=True, help="The hosts."),
                Option(key="command", flag=None, type="text", many=True, required=True, help="The words."),
                Option(key="parallel", flag="--parallel", type="int"),
                Option(key="sudo", flag="--sudo", type="bool"),
            ),
        ),
        Operation(name="zk restart", kind="changes", options=(SELECTOR,)),
        Operation(
            name="zk snapshot drill",
            kind="changes",
            options=(Option(key="snapshot", flag=None, type="text"), SELECTOR),
        ),
    )
}


def read(folder: Path, text: str) -> Playbook:
    file = folder / "book.yaml"
    file.write_text(text)
    return load_playbook(file, OPERATIONS)
