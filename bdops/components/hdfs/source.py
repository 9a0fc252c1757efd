"""Clients of a nameservice as the inventory describes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bdops.components.hdfs.blocks import Scanned, blocks_under
from bdops.components.hdfs.namenode import NameNode, Nameservice
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.state import BlockState, HdfsState, Survey
from bdops.components.hdfs.survey import survey
from bdops.core.model import Deployment
from bdops.errors import ConfigError, NotAuthorised, StateUnknown


@contextmanager
def nameservice(deployment: Deployment, *, timeout_s: float) -> Iterator[Nameservice]:
    """A client of the active NameNode; `timeout_s` is the deadline of each call."""
    if deployment.settings.security == "kerberos":
        raise NotAuthorised(
            f"{deployment.name} wants Kerberos (security: kerberos), which bdops does not speak yet",
            code="HDFS_KERBEROS",
        )
    servers = {
        i.settings.nn_id or i.name: NameNode(
            Connection(i.host.address, i.settings.rpc_port, user=i.settings.user, timeout_s=timeout_s)
        )
        for i in deployment.instances
        if "namenode" in i.roles
    }
    if not servers:
        raise ConfigError(f"{deployment.name} has no NameNode in the inventory")
    client = Nameservice(servers)
    try:
        yield client
    finally:
        client.close()


def read_survey(deployment: Deployment, *, call_timeout_s: float, timeout_s: float) -> Survey:
    """Walk through all files of the active NameNode, for so long at most. Raises what its calls raise."""
    settings = deployment.settings
    until = time.monotonic() + timeout_s
    with nameservice(deployment, timeout_s=call_timeout_s) as client:
        scanned = Scanned()
        return survey(
            blocks_under(client.namenodes[client.active()], "/", scanned),
            scanned,
            named_blocks=settings.named_objects,
            files_limit=settings.restart.surveyed_files,
            until=until,
        )


@contextmanager
def live_blocks(deployment: Deployment, path: str, *, timeout_s: float) -> Iterator[Iterator[BlockState]]:
    """The blocks under a path, from the active NameNode. Raises OperationFailed when there is no such path."""
    with nameservice(deployment, timeout_s=timeout_s) as client:
        namenode = client.namenodes[client.active()]
        if not namenode.exists(path):
            raise ConfigError(f"there is no {path} in {deployment.name}", code="HDFS_NO_SUCH_PATH")
        yield blocks_under(namenode, path)


def saved_blocks(state: HdfsState, path: str) -> Iterator[BlockState]:
    """The blocks in trouble that a state holds, under a path. Raises StateUnknown when it holds none."""
    if state.degraded_blocks is None:
        why = state.unread.get("degraded_blocks", "absent from the state")
        raise StateUnknown(f"the blocks in trouble are not known: {why}")
    prefix = path.rstrip("/") + "/"
    return (b for b in state.degraded_blocks.blocks if b.file == path or b.file.startswith(prefix))
