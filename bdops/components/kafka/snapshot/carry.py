"""The steps of a restore: each is carried out by one request, and by a fresh reading told whether it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bdops.components.kafka import alter
from bdops.components.kafka.snapshot import requests
from bdops.components.kafka.snapshot.content import CONFIG_RESOURCES, DEFAULT, Metadata, acl_text, quota_text
from bdops.components.kafka.snapshot.read import Brokers
from bdops.core.actor import DONE, Progress, pending
from bdops.core.units import plural
from bdops.errors import BdopsError, OperationFailed, Unreachable

REQUEST_S = 60.0
COORDINATOR_PAUSE_S = 0.3
_TOPIC, _BROKER = 2, 4


def carry_out(brokers: Brokers, args: Mapping[str, Any], say: Callable[[str], None], timeout_s: float) -> None:
    """Do one step. What was so before is said, for the journal. Raises BdopsError with what the servers say."""
    kind, items = args["kind"], args["items"]
    deadline = time.monotonic() + min(REQUEST_S, timeout_s)
    if kind == "create-topics":
        brokers.any(lambda c, d: requests.create_topics(c, items, d), deadline)
    elif kind == "add-partitions":
        for name, body in items.items():
            say(f"{name}: has {plural(body['from'], 'partition')}, and gets {body['to'] - body['from']} more")
        brokers.any(lambda c, d: requests.add_partitions(c, items, d), deadline)
    elif kind == "configs":
        say(requests.config_changes(items))
        for resource in items:
            _set_configs(brokers, resource, deadline)
    elif kind == "create-acls":
        brokers.any(lambda c, d: requests.create_acls(c, items, d), deadline)
    elif kind == "delete-acls":
        say(f"deleted: {'; '.join(acl_text(a) for a in items)}")
        brokers.any(lambda c, d: requests.delete_acls(c, items, d), deadline)
    elif kind == "quotas":
        say("; ".join(f"{quota_text(q['entity'])}: was {q['previous']}, becomes {q['changes']}" for q in items))
        brokers.any(lambda c, d: requests.alter_quotas(c, items, d), deadline)
    elif kind == "offsets":
        say(f"{items['group']}: was {items['previous']}")
        _commit(brokers, items, deadline)
    elif kind == "delete-topics":
        brokers.any(lambda c, d: requests.delete_topics(c, items, d), deadline)
    else:
        raise BdopsError(f"a restore has no {kind!r}", code="BUG")


def _set_configs(brokers: Brokers, resource: Mapping[str, Any], deadline: float) -> None:
    kind, name = resource["type"], resource["name"]

    def change(connection: Any, until: float) -> None:
        alter.set_configs(connection, kind, name, resource["changes"], until)

    if kind == _BROKER and name:
        # A broker's own configuration is taken by that broker alone.
        if int(name) not in brokers.connections:
            raise Unreachable(f"broker {name} cannot be asked: {brokers.silent.get(name, 'it is gone')}")
        change(brokers.connections[int(name)], deadline)
    else:
        brokers.any(change, deadline)


def _commit(brokers: Brokers, items: Mapping[str, Any], deadline: float) -> None:
    group = items["group"]
    while time.monotonic() < deadline:
        number = brokers.any(lambda c, d: requests.coordinator(c, group, d), deadline)
        connection = brokers.connections.get(number)
        if connection is None:
            raise Unreachable(f"broker {number}, the coordinator of {group}, cannot be asked")
        if requests.commit_offsets(connection, group, items["offsets"], deadline):
            return
        time.sleep(COORDINATOR_PAUSE_S)
    raise OperationFailed(f"group {group} has no coordinator", where=group, code="NO_COORDINATOR")


def done(live: Metadata, args: Mapping[str, Any]) -> Progress:
    """Whether the cluster is as a step wants it: never by what was not read. Pure."""
    kind, items = args["kind"], args["items"]
    if unread := _unread(live, kind, items):
        return pending(f"what is there now to be known: {unread}")
    missing = list(_MISSING[kind](live, items))
    return pending(f"{plural(len(missing), 'thing')} to be so: {', '.join(missing[:3])}") if missing else DONE


def _unread(live: Metadata, kind: str, items: Any) -> str:
    """Why it is not known whether something is there no more, or has a value no more; "" when that is known.

    What was not read is missing to the steps that add something, and they go on waiting for it by themselves.
    """
    if kind == "delete-topics":
        found = live.unread_of("topics")
    elif kind == "delete-acls":
        found = live.unread_of("acls")
    elif kind == "quotas":
        found = live.unread_of("quotas")
    elif kind == "configs":
        kinds = {r["type"] for r in items}
        names = {f"brokers/{r['name'] or DEFAULT}" for r in items if r["type"] == _BROKER}
        found = {k: why for k, why in live.unread.items() if k in names}
        found |= live.unread_of("topics") if _TOPIC in kinds else {}
        found |= live.unread_of("resources") if kinds - {_TOPIC, _BROKER} else {}
    else:
        found = {}
    return "; ".join(f"{key}: {why}" for key, why in found.items())


def _missing_topics(live: Metadata, items: Any) -> list[str]:
    """Raises OperationFailed for one that somebody else has made meanwhile, in another form."""
    have = live.part("topics")
    for name, body in items.items():
        if name in have and len(have[name]["partitions"]) != len(body["assignment"]):
            raise OperationFailed(
                f"topic {name} is there meanwhile, with {plural(len(have[name]['partitions']), 'partition')} and not "
                f"{len(body['assignment'])}",
                where=name,
                hint="abort this job, and plan the restore anew",
                code="CHANGED_MEANWHILE",
            )
    return [
        name
        for name, body in items.items()
        if name not in have or any(have[name]["configs"].get(k) != v for k, v in body["configs"].items())
    ]


def _missing_configs(live: Metadata, items: Any) -> list[str]:
    return [
        f"{r['name'] or DEFAULT} {key}"
        for r in items
        for key, value in r["changes"].items()
        if _configs_now(live, r).get(key) != value
    ]


def _configs_now(live: Metadata, resource: Mapping[str, Any]) -> Mapping[str, str]:
    kind, name = resource["type"], resource["name"]
    if kind == _TOPIC:
        found: Mapping[str, str] = live.part("topics").get(name, {}).get("configs", {})
    elif kind == _BROKER:
        found = live.part("brokers").get(name or DEFAULT, {}).get("configs", {})
    else:
        found = live.part("resources").get(f"{CONFIG_RESOURCES[kind]} {name}", {})
    return found


def _missing_quotas(live: Metadata, items: Any) -> list[str]:
    have = {name: body["values"] for name, body in live.part("quotas").items()}
    return [
        f"{quota_text(q['entity'])} {key}"
        for q in items
        for key, value in q["changes"].items()
        if have.get(quota_text(q["entity"]), {}).get(key) != value
    ]


def _missing_offsets(live: Metadata, items: Any) -> list[str]:
    now = live.part("groups").get(items["group"], {}).get("offsets", {})
    return [p for p, offset in items["offsets"].items() if now.get(p, {}).get("offset") != offset]


_MISSING: Mapping[str, Any] = {
    "create-topics": _missing_topics,
    "add-partitions": lambda live, items: [
        n for n, b in items.items() if len(live.part("topics").get(n, {"partitions": ()})["partitions"]) < b["to"]
    ],
    "configs": _missing_configs,
    "create-acls": lambda live, items: [acl_text(a) for a in items if acl_text(a) not in live.part("acls")],
    "delete-acls": lambda live, items: [acl_text(a) for a in items if acl_text(a) in live.part("acls")],
    "quotas": _missing_quotas,
    "offsets": _missing_offsets,
    # One that somebody has made anew under the name is another topic.
    "delete-topics": lambda live, items: [
        n for n, id in items.items() if live.part("topics").get(n, {}).get("id") == id
    ],
}
