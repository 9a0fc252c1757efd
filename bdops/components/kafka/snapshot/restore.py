"""What has to be done so that a cluster is as a backup has it: the plan of a restore. Pure.

Nothing is deleted that is not named. What a backup cannot bring back (passwords, levels of features, ids) is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from bdops.components.kafka.checks.moves import BROKER_THROTTLES, TOPIC_THROTTLES
from bdops.components.kafka.snapshot.content import CONFIG_RESOURCES, DEFAULT, Metadata, code_of
from bdops.components.kafka.state import split_partition
from bdops.core.units import listed, plural
from bdops.errors import StateUnknown, UsageError

RESTORED = ("topics", "brokers", "acls", "quotas", "groups", "resources")
OFFSETS = ("auto", "offset", "timestamp", "none")
OffsetsBy = Literal["auto", "offset", "timestamp", "none"]

TOPICS_AT_ONCE = 50
PARTITIONS_AT_ONCE = 1000
"""A controller writes what a request makes as one batch of at most 10,000 records."""
CHANGES_AT_ONCE = 100

TEMPORARY = frozenset((*BROKER_THROTTLES, *TOPIC_THROTTLES))
"""Throttles of moves that were under way when the backup was made: brought back they would stay for good."""

_TOPIC, _BROKER = 2, 4
DELETIONS = ("topic", "config", "acl", "quota")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One step of a restore: `kind` says what `items` are. All of it is JSON, and goes into the plan."""

    kind: str
    name: str
    note: str
    items: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """What may be deleted, as it was named."""

    topics: frozenset[str] = frozenset()
    configs: tuple[str, ...] = ()
    acls: tuple[str, ...] = ()
    quotas: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Deletions:
        """`topic=NAME`, `config=topic/NAME/KEY`, `acl=TEXT`, `quota=TEXT`; all but topics may be patterns.

        Raises UsageError.
        """
        found: dict[str, list[str]] = {kind: [] for kind in DELETIONS}
        for word in words:
            kind, _, name = word.partition("=")
            if kind not in found or not name:
                raise UsageError(f"--delete {word}", hint="topic=NAME, config=topic/NAME/KEY, acl=TEXT or quota=TEXT")
            found[kind].append(name)
        return cls(
            topics=frozenset(found["topic"]),
            configs=tuple(found["config"]),
            acls=tuple(found["acl"]),
            quotas=tuple(found["quota"]),
        )

    def of(self, part: str) -> bool:
        """Whether anything of a part of a backup may be deleted."""
        has_configs = part in ("topics", "brokers", "resources")
        return bool(getattr(self, part, ()) or (has_configs and self.configs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What of a backup is wanted: parts, topics like a pattern, offsets by what, and what may be deleted."""

    parts: tuple[str, ...] = RESTORED
    topic: str | None = None
    offsets: OffsetsBy = "auto"
    delete: Deletions = field(default_factory=Deletions)

    def has_topic(self, name: str) -> bool:
        return self.topic is None or fnmatchcase(name, self.topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Where logs begin and end now, and which offset a time has, as asked of the live cluster."""

    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    by_time: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(group, partition) -> offset of the first record that is not older than the time in the backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """The work in its order, and what people should know: what is left as it is, and what cannot be brought back."""

    work: tuple[Work, ...]
    notes: tuple[str, ...]


def plan_restore(backup: Metadata, live: Metadata, wish: Wish, logs: Logs) -> Restore:
    """The work. Raises StateUnknown when a part of the live cluster was not read, or of a part of the backup what is
    not in it shall be deleted; UsageError for a wrong deletion."""
    for part in wish.parts:
        if unread := live.unread_of(part):
            raise StateUnknown(f"what the cluster has now is not known: {_told(unread)}", hint="--part leaves it out")
        if wish.delete.of(part) and (unread := backup.unread_of(part)):
            raise StateUnknown(
                f"what the cluster had is not known, and so not what came since: {_told(unread)}",
                hint="--delete needs a backup that has all of it",
            )
    plan = _Plan(backup, live, wish)
    if unread := {k: w for part in wish.parts for k, w in backup.unread_of(part).items()}:
        plan.notes.append(f"not in the backup, as it could not be read: {_told(unread)}")
    if backup.cluster_id != live.cluster_id:
        plan.notes.append(f"the backup is of another cluster: {backup.cluster}, {backup.cluster_id}")
    if "topics" in wish.parts:
        plan.topics()
    if {"topics", "brokers", "resources"} & set(wish.parts):
        plan.configs()
    if "quotas" in wish.parts:
        plan.quotas()
    if "acls" in wish.parts:
        plan.acls()
    if "groups" in wish.parts and wish.offsets != "none":
        plan.groups(logs)
    if "topics" in wish.parts:
        plan.topics_to_delete()
    plan.what_cannot_be_restored()
    return Restore(work=tuple(plan.work), notes=tuple(plan.notes))


def times_wanted(backup: Metadata, live: Metadata, wish: Wish) -> dict[str, dict[str, int]]:
    """By group and partition the time in ms whose offset is to be asked: offsets of another topic are others.

    What had no record behind it (all was read) has the time of the backup.
    """
    found: dict[str, dict[str, int]] = {}
    for group, body in backup.part("groups").items():
        for name, entry in body["offsets"].items():
            if not _by_time(backup, live, wish, name):
                continue
            time_ms = entry.get("timestamp_ms")
            if time_ms is None and entry["offset"] == entry.get("log_end"):
                time_ms = int(backup.taken_at.timestamp() * 1000)
            if time_ms is not None:
                found.setdefault(group, {})[name] = time_ms
    return found


def _by_time(backup: Metadata, live: Metadata, wish: Wish, partition: str) -> bool:
    if wish.offsets == "auto":
        topic, _ = split_partition(partition)
        old, new = backup.part("topics").get(topic), live.part("topics").get(topic)
        return new is not None and (old is None or old["id"] != new["id"])
    return wish.offsets == "timestamp"


@dataclass
class _Plan:
    backup: Metadata
    live: Metadata
    wish: Wish
    work: list[Work] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def _add(self, kind: str, note: str, items: Any) -> None:
        number = sum(1 for w in self.work if w.kind == kind) + 1
        self.work.append(Work(kind=kind, name=f"{kind} {number}", note=note, items=items))

    # -- topics ------------------------------------------------------------------------------------------------

    def topics(self) -> None:
        have = self.live.part("topics")
        wanted = {
            name: body
            for name, body in sorted(self.backup.part("topics").items())
            if self.wish.has_topic(name) and not body["internal"]
        }
        brokers = {int(n) for n in self.live.part("brokers") if n != DEFAULT}
        new = {name: _created(body, brokers) for name, body in wanted.items() if name not in have}
        for part in _in_batches(new):
            self._add("create-topics", listed(part), part)
        elsewhere = [name for name, body in new.items() if not body["assignment"][0]]
        if elsewhere:
            self.notes.append(f"placed anew, as brokers of the backup are not there: {listed(elsewhere)}")
        grown = {}
        for name, body in wanted.items():
            if name in have and len(have[name]["partitions"]) < len(body["partitions"]):
                grown[name] = _grown(body, len(have[name]["partitions"]), brokers)
        if grown:
            self._add("add-partitions", listed(grown), grown)
        self._differing_topics(wanted, have)

    def _differing_topics(self, wanted: Mapping[str, Any], have: Mapping[str, Any]) -> None:
        both = [name for name in wanted if name in have]
        more = [n for n in both if len(have[n]["partitions"]) > len(wanted[n]["partitions"])]
        if more:
            self.notes.append(f"more partitions than in the backup, which stay: {listed(more)}")
        other = [n for n in both if have[n]["id"] != wanted[n]["id"]]
        if other:
            self.notes.append(f"made anew since the backup (another id): {listed(other)}")
        moved = [n for n in both if _replicas(have[n]) != _replicas(wanted[n])]
        if moved:
            self.notes.append(f"replicas are elsewhere than in the backup, and stay there: {listed(moved)}")

    def topics_to_delete(self) -> None:
        have = {n: t for n, t in self.live.part("topics").items() if not t["internal"]}
        extra = [n for n in sorted(have) if n not in self.backup.part("topics") and self.wish.has_topic(n)]
        for name in sorted(self.wish.delete.topics):
            if name not in extra:
                what = "is in the backup" if name in self.backup.part("topics") else "is not there"
                raise UsageError(f"--delete topic={name}: the topic {what}", hint="bdops kafka snapshot diff")
        going = {name: have[name]["id"] for name in extra if name in self.wish.delete.topics}
        if going:
            self._add("delete-topics", f"with their data: {listed(going)}", going)
        if kept := [n for n in extra if n not in going]:
            self.notes.append(f"not in the backup, and left (--delete topic=...): {listed(kept)}")

    # -- configurations ----------------------------------------------------------------------------------------

    def configs(self) -> None:
        changes: list[dict[str, Any]] = []
        extra = []
        for kind, name, wanted, have in self._config_resources():
            label = f"{_KINDS[kind]}/{name or DEFAULT}"
            values: dict[str, str | None] = {k: v for k, v in lasting(wanted).items() if have.get(k) != v}
            for key in have:
                if key not in wanted:
                    if any(fnmatchcase(f"{label}/{key}", p) for p in self.wish.delete.configs):
                        values[key] = None
                    else:
                        extra.append(f"{label}/{key}")
            if values:
                previous = {k: have.get(k) for k in values}
                changes.append({"type": kind, "name": name, "changes": values, "previous": previous})
        for at in range(0, len(changes), CHANGES_AT_ONCE):
            part = changes[at : at + CHANGES_AT_ONCE]
            self._add("configs", listed(f"{_KINDS[c['type']]}/{c['name'] or DEFAULT}" for c in part), part)
        if extra:
            self.notes.append(f"set, and not in the backup; left (--delete config=...): {listed(extra)}")

    def _config_resources(self) -> Iterator[tuple[int, str, Mapping[str, str], Mapping[str, str]]]:
        """Type, name, configs of the backup, configs now. Those of a topic that is to be made come with it."""
        parts = self.wish.parts
        if "topics" in parts:
            for name, body in sorted(self.backup.part("topics").items()):
                now = self.live.part("topics").get(name)
                if now is not None and self.wish.has_topic(name):
                    yield _TOPIC, name, body["configs"], now["configs"]
        if "brokers" in parts:
            gone = []
            for name, body in sorted(self.backup.part("brokers").items()):
                now = self.live.part("brokers").get(name)
                if now is None:
                    gone.append(name)
                else:
                    yield _BROKER, "" if name == DEFAULT else name, body["configs"], now["configs"]
            if gone:
                self.notes.append(f"brokers that are not there any more: {listed(gone)}")
        if "resources" in parts:
            for name, body in sorted(self.backup.part("resources").items()):
                kind, _, own = name.partition(" ")
                yield code_of(CONFIG_RESOURCES, kind), own, body, self.live.part("resources").get(name, {})

    # -- quotas and ACLs ---------------------------------------------------------------------------------------

    def quotas(self) -> None:
        changes = []
        extra = []
        wanted, have = self.backup.part("quotas"), self.live.part("quotas")
        for name in sorted(wanted.keys() | have.keys()):
            entity = (wanted.get(name) or have[name])["entity"]
            new = wanted[name]["values"] if name in wanted else {}
            old = have[name]["values"] if name in have else {}
            values: dict[str, float | None] = {k: v for k, v in new.items() if old.get(k) != v}
            if surplus := [k for k in old if k not in new]:
                if any(fnmatchcase(name, p) for p in self.wish.delete.quotas):
                    values |= dict.fromkeys(surplus)
                else:
                    extra.append(name)
            if values:
                changes.append({"entity": entity, "changes": values, "previous": {k: old.get(k) for k in values}})
        for at in range(0, len(changes), CHANGES_AT_ONCE):
            part = changes[at : at + CHANGES_AT_ONCE]
            self._add("quotas", plural(len(part), "quota"), part)
        if extra:
            self.notes.append(f"quotas that are not in the backup; left (--delete quota=...): {listed(extra)}")

    def acls(self) -> None:
        wanted, have = self.backup.part("acls"), self.live.part("acls")
        new = [wanted[name] for name in sorted(wanted) if name not in have]
        for at in range(0, len(new), CHANGES_AT_ONCE):
            part = new[at : at + CHANGES_AT_ONCE]
            self._add("create-acls", plural(len(part), "ACL"), part)
        extra = [name for name in sorted(have) if name not in wanted]
        going = [n for n in extra if any(fnmatchcase(n, p) for p in self.wish.delete.acls)]
        if going:
            self._add("delete-acls", listed(going), [have[n] for n in going])
        if kept := [n for n in extra if n not in going]:
            self.notes.append(f"ACLs that are not in the backup; left (--delete acl=...): {listed(kept)}")

    # -- groups ------------------------------------------------------------------------------------------------

    def groups(self, logs: Logs) -> None:
        at_work = []
        untold = []
        for name, body in sorted(self.backup.part("groups").items()):
            now = self.live.part("groups").get(name)
            offsets, unknown = self._offsets(name, body, logs)
            untold += [f"{name} {p}" for p in unknown]
            previous = {p: o["offset"] for p, o in (now["offsets"] if now else {}).items()}
            wanted = {p: o for p, o in offsets.items() if previous.get(p) != o}
            if not wanted:
                continue
            if now is not None and now["state"] not in ("Empty", "Dead"):
                at_work.append(name)
                continue
            items = {"group": name, "offsets": wanted, "previous": {p: previous.get(p) for p in wanted}}
            self._add("offsets", f"{name}: {plural(len(wanted), 'partition')}", items)
        if at_work:
            self.notes.append(f"groups with members, whose offsets stay (stop their clients first): {listed(at_work)}")
        if untold:
            self.notes.append(f"offsets that cannot be told for the topic as it is now, and are left: {listed(untold)}")

    def _offsets(self, group: str, body: Mapping[str, Any], logs: Logs) -> tuple[dict[str, int], list[str]]:
        """Where a group shall go on, and the partitions of which that is not known."""
        found: dict[str, int] = {}
        unknown = []
        for name, entry in sorted(body["offsets"].items()):
            if not self.wish.has_topic(split_partition(name)[0]):
                continue
            if self._will_be_new(name):
                found[name] = 0
                continue
            range_ = logs.ranges.get(name)
            by_time = _by_time(self.backup, self.live, self.wish, name)
            offset = logs.by_time.get((group, name)) if by_time else entry["offset"]
            if range_ is None or offset is None or offset > range_[1]:
                unknown.append(name)
            else:
                found[name] = max(offset, range_[0])
        return found, unknown

    def _will_be_new(self, partition: str) -> bool:
        """Whether this restore makes its topic: there all is still to be read, whatever `auto.offset.reset` says."""
        topic, _ = split_partition(partition)
        body = self.backup.part("topics").get(topic)
        made = body is not None and not body["internal"] and "topics" in self.wish.parts
        return made and topic not in self.live.part("topics") and self.wish.offsets != "offset"

    # -- the rest ----------------------------------------------------------------------------------------------

    def what_cannot_be_restored(self) -> None:
        if self.wish.topic is not None:
            return
        have = self.live.part("scram_users")
        users = [
            f"{user} ({', '.join(missing)})"
            for user, mechanisms in sorted(self.backup.part("scram_users").items())
            if (missing := [m for m in mechanisms if m not in have.get(user, ())])
        ]
        if users:
            self.notes.append(f"SCRAM users to be made again, with new passwords: {listed(users)}")
        levels = [
            f"{name} was {level}, and is {self.live.part('features').get(name)}"
            for name, level in sorted(self.backup.part("features").items())
            if self.live.part("features").get(name) != level
        ]
        if levels:
            self.notes.append(f"features are not changed: {listed(levels)}")
        secrets = [
            f"{name}/{key}"
            for name, body in sorted(self.backup.part("brokers").items())
            for key in body["secrets"]
            if key not in self.live.part("brokers").get(name, {}).get("secrets", ())
        ]
        if secrets and "brokers" in self.wish.parts:
            self.notes.append(f"secrets of brokers are not in a backup, and must be set again: {listed(secrets)}")


_KINDS: Mapping[int, str] = {_TOPIC: "topic", _BROKER: "broker", **CONFIG_RESOURCES}


def lasting(configs: Mapping[str, str]) -> dict[str, str]:
    """Without what is temporary."""
    return {k: v for k, v in configs.items() if k not in TEMPORARY}


def _created(body: Mapping[str, Any], brokers: Collection[int]) -> dict[str, Any]:
    """A topic to be made. Without the brokers of the backup the controller places as many replicas as it can."""
    replicas = _replicas(body)
    here = all(set(r) <= set(brokers) for r in replicas)
    factor = min(max(len(r) for r in replicas), max(1, len(brokers)))
    return {
        "assignment": replicas if here else [[] for _ in replicas],
        "factor": factor,
        "configs": lasting(body["configs"]),
    }


def _grown(body: Mapping[str, Any], partitions: int, brokers: Collection[int]) -> dict[str, Any]:
    new = _replicas(body)[partitions:]
    here = all(set(r) <= set(brokers) for r in new)
    return {"from": partitions, "to": len(body["partitions"]), "assignment": new if here else None}


def _replicas(body: Mapping[str, Any]) -> list[list[int]]:
    return [list(p["replicas"]) for p in body["partitions"]]


def _in_batches(topics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    batch: dict[str, Any] = {}
    held = 0
    for name, body in topics.items():
        partitions = len(body["assignment"])
        if batch and (len(batch) >= TOPICS_AT_ONCE or held + partitions > PARTITIONS_AT_ONCE):
            yield batch
            batch, held = {}, 0
        batch[name] = body
        held += partitions
    if batch:
        yield batch


def _told(unread: Mapping[str, str]) -> str:
    return "; ".join(f"{key}: {why}" for key, why in unread.items())
