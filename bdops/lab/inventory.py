"""The lab's inventory: the same YAML that an operator would write for a cluster of four hosts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bdops.lab import recipes
from bdops.lab.hosts import client_key, known_hosts, user
from bdops.lab.lab import Lab
from bdops.lab.network import SSH_PORT

HEADER = "# Written by `bdops lab up`; every `up` writes it again.\n"


def inventory(lab: Lab) -> dict[str, Any]:
    """The inventory as plain data.

    The cluster's `service` holds for every instance whose supervisord program has the name of its process
    (`namenode`), or of its component where that has one process on a host (`kafka`); {host} and {process}
    are filled in by the inventory.
    """
    return {
        "version": 1,
        "clusters": {
            lab.name: {
                "work_dir": str(lab.folder / "{host}" / "bdops"),
                "ssh": {
                    "user": user(),
                    "port": SSH_PORT,
                    "keys": [str(client_key(lab.folder))],
                    "known_hosts": str(known_hosts(lab.folder)),
                    "agent": False,
                },
                "service": {
                    "manager": "supervisord",
                    "config": str(lab.folder / "{host}" / "supervisord.conf"),
                    "supervisorctl": str(Path(sys.executable).parent / "supervisorctl"),
                    "unit": "{process}",
                },
                # How full this machine is says nothing of the lab; a volume that a fault fills is over these limits.
                "checks": {"HOST_DISK_USE": {"warning": "97%", "critical": "99%"}},
                "hosts": {host.name: {"address": host.address, "rack": host.rack} for host in lab.hosts},
                "components": {name: dict(recipes.recipe(name).inventory(lab)) for name in lab.components},
            }
        },
    }


def write_inventory(lab: Lab) -> None:
    """Replace the lab's inventory in one step."""
    import yaml

    temporary = lab.folder / f".inventory.yaml.{os.getpid()}"
    temporary.write_text(HEADER + yaml.safe_dump(inventory(lab), sort_keys=False, width=120))
    temporary.replace(lab.inventory)
