"""What a backup of Kafka's metadata holds, and its one form on disk. Pure.

Each part maps a name to a JSON value:

topics: id, internal, partitions (a list by number: leader and replicas), configs that were set for the topic itself.
brokers: by number, and `default` for all: rack, configs that were set while it ran, names of those that are secret.
acls, quotas: by a text that says it all; scram_users: the mechanisms, never salts and keys; features: finalised levels.
voters: the quorum's; groups: type, and by partition the committed offset, its record's timestamp, the log's end.
resources: the configs of groups and of client metrics subscriptions, by `group NAME`, `client-metrics NAME`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

FORMAT = "bdops_kafka_metadata"
VERSION = 1
COMPRESS_BYTES = 1 << 20
"""A longer text is compressed."""

PARTS = ("topics", "brokers", "acls", "quotas", "scram_users", "features", "voters", "groups", "resources")
DEFAULT = "default"
"""The name of all brokers' defaults, and of the quota of those that have none of their own."""

_GZIP = b"\x1f\x8b"

RESOURCE_TYPES: Mapping[int, str] = {
    2: "topic", 3: "group", 4: "cluster", 5: "transactional-id", 6: "delegation-token", 7: "user",
}  # fmt: skip
PATTERN_TYPES: Mapping[int, str] = {3: "literal", 4: "prefixed"}
PERMISSIONS: Mapping[int, str] = {2: "deny", 3: "allow"}
OPERATIONS: Mapping[int, str] = {
    2: "all", 3: "read", 4: "write", 5: "create", 6: "delete", 7: "alter", 8: "describe", 9: "cluster-action",
    10: "describe-configs", 11: "alter-configs", 12: "idempotent-write", 13: "create-tokens", 14: "describe-tokens",
    15: "two-phase-commit",
}  # fmt: skip
"""The codes of the protocol (org.apache.kafka.common.acl and .resource). An unknown one is kept as its number."""

MECHANISMS: Mapping[int, str] = {1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}

CONFIG_RESOURCES: Mapping[int, str] = {16: "client-metrics", 32: "group"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """One cluster's metadata at one moment. A part that could not be read is empty or not whole, and `unread` says why.

    The keys of `unread` are `groups`, or `brokers/4` for one that is missing in a part. `notes` are for people.
    """

    cluster: str
    cluster_id: str
    taken_at: datetime
    parts: Mapping[str, Mapping[str, Any]]
    unread: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> Mapping[str, Any]:
        return self.parts.get(name, {})

    def unread_of(self, part: str) -> dict[str, str]:
        """What of a part was not read, each with why: that something is not there tells nothing then."""
        return {key: why for key, why in self.unread.items() if key.partition("/")[0] == part}


class OtherVersion(ValueError):
    """It is whole, and another bdops can read it."""


def dumps(metadata: Metadata) -> bytes:
    """The canonical form: the same metadata has the same bytes. Compressed when it is long."""
    body = {
        FORMAT: VERSION,
        "cluster": metadata.cluster,
        "cluster_id": metadata.cluster_id,
        "taken_at": metadata.taken_at.isoformat(),
        "parts": metadata.parts,
        "unread": metadata.unread,
        "notes": list(metadata.notes),
    }
    text = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return gzip.compress(text, 6, mtime=0) if len(text) > COMPRESS_BYTES else text


def is_compressed(data: bytes) -> bool:
    return data.startswith(_GZIP)


def loads(data: bytes) -> Metadata:
    """Raises ValueError when it is not one, OtherVersion when it is one of a version that this bdops does not know."""
    try:
        body = json.loads(gzip.decompress(data) if is_compressed(data) else data)
        if not isinstance(body, dict) or FORMAT not in body:
            raise ValueError("not a backup of Kafka's metadata")
        if body[FORMAT] != VERSION:
            raise OtherVersion(f"a backup of version {body[FORMAT]}; this bdops reads version {VERSION}")
        parts = {name: dict(body["parts"][name]) for name in body["parts"]}
        return Metadata(
            cluster=body["cluster"],
            cluster_id=body["cluster_id"],
            taken_at=datetime.fromisoformat(body["taken_at"]),
            parts=parts,
            unread=dict(body["unread"]),
            notes=tuple(body["notes"]),
        )
    except (KeyError, TypeError, AttributeError, OSError, EOFError) as e:
        raise ValueError(f"not a backup of Kafka's metadata: {type(e).__name__}: {e}") from None


def acl_text(acl: Mapping[str, str]) -> str:
    """`allow User:alice from * to read topic orders`: says all of an ACL, and is its name."""
    pattern = "" if acl["pattern"] == "literal" else f" ({acl['pattern']})"
    return (
        f"{acl['permission']} {acl['principal']} from {acl['host']} to {acl['operation']} "
        f"{acl['resource_type']} {acl['resource_name']}{pattern}"
    )


def quota_text(entity: Mapping[str, str | None]) -> str:
    """`client-id reports, user alice`; the default of a kind is `user (default)`."""
    return ", ".join(f"{kind} {'(default)' if name is None else name}" for kind, name in sorted(entity.items()))


def code_of(words: Mapping[int, str], word: str) -> int:
    """The protocol's number of a word, or of an unknown one that was kept as its number. Raises ValueError."""
    return next((n for n, w in words.items() if w == word), None) or int(word)


def counts(metadata: Metadata) -> dict[str, int]:
    """How many of each part there are, for the catalogue and for people."""
    found = {name: len(metadata.part(name)) for name in PARTS if metadata.part(name)}
    partitions = sum(len(t["partitions"]) for t in metadata.part("topics").values())
    return found | ({"partitions": partitions} if partitions else {})
