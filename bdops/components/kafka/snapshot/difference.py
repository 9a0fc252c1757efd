"""What is different between two backups, or a backup and the live cluster. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from bdops.components.kafka.snapshot.content import Metadata

Fields = dict[str, Any]

DRIFT_PARTS = ("topics", "brokers", "acls", "quotas", "scram_users", "features", "voters", "resources")
"""What does not change by itself. Groups come and go, and their offsets go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing of one part. `field` is "" where the whole of it is `added` or `removed`; None: not there."""

    part: str
    name: str
    kind: Literal["added", "removed", "changed"]
    field: str = ""
    before: Any = None
    after: Any = None


def differences(
    before: Metadata, after: Metadata, parts: Collection[str] = DRIFT_PARTS, topic: str | None = None
) -> tuple[Difference, ...]:
    """From the one to the other, by part and name. `topic`: of topics only those like this pattern."""
    found: list[Difference] = []
    for part in parts:
        olds, news = before.part(part), after.part(part)
        for name in sorted(olds.keys() | news.keys()):
            if topic is not None and part == "topics" and not fnmatchcase(name, topic):
                continue
            if name not in news:
                found.append(Difference(part=part, name=name, kind="removed"))
            elif name not in olds:
                found.append(Difference(part=part, name=name, kind="added"))
            else:
                found += _changed(part, name, _FIELDS[part](olds[name]), _FIELDS[part](news[name]))
    return tuple(found)


def unknown_parts(before: Metadata, after: Metadata, parts: Collection[str] = DRIFT_PARTS) -> dict[str, str]:
    """The parts that cannot be compared as a whole, as one side was not read, each with why."""
    return {key: why for metadata in (before, after) for part in parts for key, why in metadata.unread_of(part).items()}


def _changed(part: str, name: str, old: Fields, new: Fields) -> list[Difference]:
    return [
        Difference(part=part, name=name, kind="changed", field=key, before=old.get(key), after=new.get(key))
        for key in [*old, *(k for k in new if k not in old)]
        if old.get(key) != new.get(key)
    ]


def _topic(body: Mapping[str, Any]) -> Fields:
    """Without leaders, which change with every restart."""
    partitions = body["partitions"]
    replicas = {f"replicas of {n}": ",".join(map(str, p["replicas"])) for n, p in enumerate(partitions)}
    configs = {f"config {k}": v for k, v in sorted(body["configs"].items())}
    return {"id": body["id"], "partitions": len(partitions), **configs, **replicas}


def _broker(body: Mapping[str, Any]) -> Fields:
    secrets = {f"secret {k}": "set" for k in body["secrets"]}
    return {"rack": body.get("rack"), **{f"config {k}": v for k, v in sorted(body["configs"].items())}, **secrets}


def _group(body: Mapping[str, Any]) -> Fields:
    return {"type": body["type"], **{f"offset of {p}": o["offset"] for p, o in sorted(body["offsets"].items())}}


_FIELDS: Mapping[str, Callable[[Any], Fields]] = {
    "topics": _topic,
    "brokers": _broker,
    "acls": lambda body: {},
    "quotas": lambda body: dict(body["values"]),
    "scram_users": lambda body: {"mechanisms": ", ".join(body)},
    "features": lambda body: {"level": body},
    "voters": lambda body: {},
    "groups": _group,
    "resources": dict,
}
