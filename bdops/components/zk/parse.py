"""What ZooKeeper's answers mean: text and JSON in, fields of `state.Server` out. Pure.

Names of the metrics: ZooKeeperServer.dumpMonitorValues and LeaderZooKeeperServer's and QuorumPeer's
additions to it. The words have them as `zk_avg_latency`, the AdminServer as `avg_latency`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bdops.components.zk.state import Member

Fields = dict[str, Any]

_METRICS: Mapping[str, tuple[str, type]] = {
    # ours: (ZooKeeper's, type)
    "synced_followers": ("synced_followers", int),
    "synced_observers": ("synced_observers", int),
    "pending_syncs": ("pending_syncs", int),
    "requests_received": ("packets_received", int),
    "outstanding_requests": ("outstanding_requests", int),
    "connections": ("num_alive_connections", int),
    "latency_avg_ms": ("avg_latency", float),
    "latency_max_ms": ("max_latency", float),
    "read_latency_p99_ms": ("p99_readlatency", float),
    "update_latency_p99_ms": ("p99_updatelatency", float),
    "open_files": ("open_file_descriptor_count", int),
    "max_open_files": ("max_file_descriptor_count", int),
    "znodes": ("znode_count", int),
    "ephemerals": ("ephemerals_count", int),
    "watches": ("watch_count", int),
    "data_size_bytes": ("approximate_data_size", int),
}

_MODES = {
    "leader": "leader",
    "leading": "leader",
    "follower": "follower",
    "following": "follower",
    "observer": "observer",
    "observing": "observer",
    "standalone": "standalone",
    "read-only": "read-only",
}


def monitor_fields(monitor: Mapping[str, Any]) -> Fields:
    """Of the AdminServer's `monitor`. A metric that is absent, or no number, is left out: unknown, not zero."""
    fields: Fields = {}
    for name, (metric, kind) in _METRICS.items():
        number = _number(monitor.get(metric), kind)
        # The JVM reports -1 where it cannot tell (file descriptors on some systems).
        if number is not None and number >= 0:
            fields[name] = number
    if mode := _MODES.get(str(monitor.get("server_state"))):
        fields["mode"] = mode
    if isinstance(monitor.get("peer_state"), str):
        fields["peer_state"] = monitor["peer_state"]
    if (uptime_ms := _number(monitor.get("uptime"), float)) is not None:
        fields["uptime_s"] = uptime_ms / 1000
    if isinstance(monitor.get("version"), str):
        fields["version"] = short_version(monitor["version"])
    return fields


def mntr_fields(text: str) -> Fields:
    """Of the word `mntr`: lines of `zk_name<TAB>value`. Lines of another shape are skipped."""
    pairs = (line.split("\t", 1) for line in text.splitlines() if line.startswith("zk_") and "\t" in line)
    return monitor_fields({name.removeprefix("zk_"): value.strip() for name, value in pairs})


def stats_fields(stats: Mapping[str, Any]) -> Fields:
    """Of the AdminServer's `server_stats`: the last zxid and whether the server is read-only."""
    fields: Fields = {}
    zxid = (stats.get("server_stats") or {}).get("last_processed_zxid")
    if isinstance(zxid, int):
        fields["zxid"] = hex(zxid)
    if isinstance(stats.get("read_only"), bool):
        fields["read_only"] = stats["read_only"]
    return fields


def srvr_fields(text: str) -> Fields:
    """Of the word `srvr`, the only one that is whitelisted by default."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    fields: Fields = {}
    if mode := _MODES.get(values.get("Mode", "")):
        fields["mode"] = mode
        fields["read_only"] = mode == "read-only"
    if re.fullmatch(r"0x[0-9a-f]+", zxid := values.get("Zxid", "")):
        fields["zxid"] = zxid
    if version := values.get("Zookeeper version"):
        fields["version"] = short_version(version)
    if latency := re.fullmatch(r"([\d.]+)/([\d.]+)/([\d.]+)", values.get("Latency min/avg/max", "")):
        fields["latency_avg_ms"], fields["latency_max_ms"] = float(latency[2]), float(latency[3])
    for name, label in (
        ("requests_received", "Received"),
        ("outstanding_requests", "Outstanding"),
        ("connections", "Connections"),
        ("znodes", "Node count"),
    ):
        if (number := _number(values.get(label), int)) is not None:
            fields[name] = number
    return fields


def conf_fields(text: str) -> Fields:
    """Of the word `conf`: the server's id, and the ensemble's configuration with its version.

    Groups and weights are printed by QuorumHierarchical.toString, `group.1=1:2:3` and `weight.1=2`.

    A standalone server has no membership: `members` is then left out.
    """
    fields: Fields = {}
    members: list[Member] = []
    weighted = False
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        if key == "serverId" and value.isdigit():
            fields["myid"] = int(value)
        elif key == "version" and re.fullmatch(r"[0-9a-f]+", value):
            fields["config_version"] = value
        elif member := _member(key, value):
            members.append(member)
        elif re.fullmatch(r"(group|weight)\.\d+", key):
            weighted = True
    if members:
        fields["weighted"] = weighted
        fields["members"] = tuple(sorted(members, key=lambda m: m.id))
    return fields


def _member(key: str, value: str) -> Member | None:
    """`server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181`, the role optional, addresses separated by `|`."""
    name = re.fullmatch(r"server\.(\d+)", key)
    if not name:
        return None
    quorum, _, client = value.partition(";")
    role = "participant"
    for ending in ("participant", "observer"):
        if quorum.endswith(f":{ending}"):
            role, quorum = ending, quorum.removesuffix(f":{ending}")
    return Member(id=int(name[1]), role=role, address=quorum or None, client=client or None)  # type: ignore[arg-type]


def voting_view_fields(view: Mapping[str, Any]) -> Fields:
    """Of the AdminServer's `voting_view`: the voters alone, so observers are not known."""
    current = view.get("current_config")
    if not isinstance(current, dict) or not current:
        return {}
    members = []
    for number, member in current.items():
        quorum = member.get("server_addresses") or []
        elections = member.get("election_addresses") or []
        joined = "|".join(f"{q}:{e.rsplit(':', 1)[-1]}" for q, e in zip(quorum, elections, strict=False))
        members.append(Member(id=int(number), address=joined or None, client=member.get("client_address") or None))
    return {"members": tuple(sorted(members, key=lambda m: m.id)), "observers_known": False}


def leader_fields(leader: Mapping[str, Any]) -> Fields:
    """Of the AdminServer's `leader`: the id of the server that this one follows (or its own)."""
    number = _number(leader.get("leader_id"), int)
    return {} if number is None or number < 0 else {"leader_id": number}


def short_version(text: str) -> str:
    """`3.9.5` of `3.9.5-293c895a..., built on 2026-02-11 20:18 UTC`."""
    return text.split(",", 1)[0].split("-", 1)[0].strip()


def _number(value: object, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return kind(float(value)) if kind is int else kind(value)
    except ValueError:
        return None
