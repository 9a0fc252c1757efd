"""What the JMX beans of Hadoop's servers mean: pure functions from their attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bdops.components.hdfs.state import JournalStream, RollingUpgrade

Bean = Mapping[str, Any]

# FSNamesystem is a metrics source, and metrics are seen through a cache of one period (ten seconds by default);
# FSNamesystemState and NameNodeInfo are not. Only what changes slowly is taken from FSNamesystem.
NAMENODE_INFO = "Hadoop:service=NameNode,name=NameNodeInfo"
NAMESYSTEM_STATE = "Hadoop:service=NameNode,name=FSNamesystemState"
NAMESYSTEM = "Hadoop:service=NameNode,name=FSNamesystem"
MEMORY = "java.lang:type=Memory"
EC_GROUPS = "Hadoop:service=NameNode,name=ECBlockGroupsState"


def journal_bean(journal: str) -> str:
    return f"Hadoop:service=JournalNode,name=Journal-{journal}"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What NameNodeInfo's LiveNodes says of a DataNode that the RPC report does not."""

    contact_age_s: float
    failed_volumes: tuple[str, ...]
    failed_volume_count: int


def live_nodes(info: Bean) -> dict[str, NodeFacts]:
    """By DataNode uuid. The ages are by the NameNode's own clock."""
    facts = {}
    for node in _inner(info, "LiveNodes", {}).values():
        failed = tuple(node.get("failedStorageIDs") or ())
        facts[str(node["uuid"])] = NodeFacts(
            contact_age_s=float(node["lastContact"]),
            failed_volumes=tuple(_path(f) for f in failed),
            failed_volume_count=int(node.get("volfails", len(failed))),
        )
    return facts


def txids(info: Bean) -> tuple[int | None, int | None]:
    """The last transaction written or applied, and that of the newest checkpoint."""
    inner = _inner(info, "JournalTransactionInfo", {})
    return _int(inner.get("LastAppliedOrWrittenTxId")), _int(inner.get("MostRecentCheckpointTxId"))


def failed_name_dirs(info: Bean) -> tuple[str, ...]:
    return tuple(sorted(_inner(info, "NameDirStatuses", {}).get("failed", {})))


def rolling_upgrade(info: Bean) -> RollingUpgrade:
    """`RollingUpgradeStatus` is null while none is under way."""
    status = info.get("RollingUpgradeStatus")
    if not status:
        return RollingUpgrade(under_way=False)
    return RollingUpgrade(
        under_way=not int(status.get("finalizeTime", 0)), rollback_image=bool(status.get("createdRollbackImages"))
    )


def checkpoint_at(namesystem: Bean) -> datetime | None:
    """When the newest checkpoint was made; None when the NameNode knows of none."""
    milliseconds = _int(namesystem.get("LastCheckpointTime"))
    return from_ms(milliseconds) if milliseconds else None


def heap(memory: Bean) -> tuple[int | None, int | None]:
    """Used and largest possible heap in bytes."""
    usage = memory.get("HeapMemoryUsage") or {}
    return _int(usage.get("used")), _int(usage.get("max"))


_STREAM = re.compile(
    r"(?P<address>[^\s,()]+:\d+) \(Written txid (?P<txid>\d+)"
    r"(?: \((?P<txns>\d+) txns/(?P<ms>\d+)ms behind\))?"
    r"(?P<resync> \(will try to re-sync on next segment\))?\)"
)


def journal_streams(info: Bean) -> tuple[JournalStream, ...]:
    """How far the writing to each JournalNode has got; empty on a standby, which writes nothing."""
    streams = []
    for manager in _inner(info, "NameJournalStatus", []):
        for found in _STREAM.finditer(str(manager.get("stream", ""))):
            streams.append(
                JournalStream(
                    address=found["address"].rpartition("/")[2],  # `host/1.2.3.4:8485` where names resolve
                    written_txid=int(found["txid"]),
                    behind_txns=int(found["txns"] or 0),
                    behind_s=int(found["ms"] or 0) / 1000,
                    out_of_sync=bool(found["resync"]),
                )
            )
    return tuple(streams)


def from_ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _inner(bean: Bean, name: str, default: Any) -> Any:
    """An attribute that is JSON in a string. Hadoop writes one so wherever JMX has no type for it."""
    text = bean.get(name)
    return json.loads(text) if text else default


def _int(value: Any) -> int | None:
    return None if value is None or value == "" else int(value)


def _path(location: str) -> str:
    """`/data1` of `[DISK]file:/data1` or `file:///data1`."""
    return re.sub(r"^(?:\[[A-Z_]+\])?(?:file:)?/+", "/", location)
