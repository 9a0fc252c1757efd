"""A subtree as JSON: written from any tree, and put into an ensemble by a client that creates and sets znodes.

One znode a line, so that a file of any size is read and written in little memory; the whole is one JSON document.
What belongs to a session is told and left out: it would stay for ever.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.components.zk.client.session import session
from bdops.components.zk.snapshot.diff import below
from bdops.components.zk.snapshot.format import Acl, Node
from bdops.core.actor import ActContext
from bdops.core.model import Deployment
from bdops.errors import ConfigError, NotAuthorised, OperationFailed, Unreachable, UsageError
from bdops.files import creating

if TYPE_CHECKING:
    from kazoo.client import KazooClient

FORMAT = "bdops_zk_export"
BATCH = 200
"""Znodes that are on their way at once."""
ANSWER_S = 30.0
SAID = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A znode of an export. `path` is below the root of the export; `data` None where the znode has none."""

    path: str
    data: bytes | None
    acl: tuple[Acl, ...]
    kind: str = "persistent"


@dataclass(slots=True)
class Exported:
    """What was written, and what was left out."""

    znodes: int = 0
    ephemerals: list[str] = field(default_factory=list)
    ephemeral_count: int = 0
    others: int = 0
    """Containers and TTL znodes: they are exported, and come back as plain ones."""


def export_lines(nodes: Iterable[Node], root: str, source: str, told: Exported) -> Iterator[bytes]:
    """The document, in pieces. `told` fills meanwhile. Pure."""
    top = "/" + root.strip("/")
    head = {FORMAT: 1, "root": top, "source": source}
    yield json.dumps(head)[:-1].encode() + b', "znodes": ['
    between = b"\n"
    for node in below(nodes, root):
        if node.ephemeral:
            told.ephemeral_count += 1
            if len(told.ephemerals) < SAID:
                told.ephemerals.append(node.name)
            continue
        told.znodes += 1
        told.others += node.kind != "persistent"
        yield between + json.dumps(_to_json(node, top), ensure_ascii=False).encode()
        between = b",\n"
    yield b'\n], "ephemerals_left_out": %d}\n' % told.ephemeral_count


def _to_json(node: Node, top: str) -> dict[str, Any]:
    relative = node.name[len(top.rstrip("/")) :] or "/"
    body: dict[str, Any] = {"path": relative}
    if node.data is not None:
        try:
            body["data"] = node.data.decode("utf-8")
        except UnicodeDecodeError:
            body["data_base64"] = base64.b64encode(node.data).decode()
    body["acl"] = [[a.perms, a.scheme, a.id] for a in node.acl]
    if node.kind != "persistent":
        body["kind"] = node.kind
    return body


def read_export(lines: Iterable[str], where: str) -> Iterator[Entry]:
    """The znodes of a document of `export_lines`, parents first, one line at a time. Raises ConfigError. Pure."""
    ended = False
    found = 0
    for number, line in enumerate(lines, 1):
        text = line.strip().rstrip(",")
        try:
            if number == 1:
                if json.loads(text.removesuffix("[") + "[]}").get(FORMAT) != 1:
                    raise ValueError("it is no export of version 1")
            elif text.startswith("]"):
                json.loads("{" + text[1:].lstrip(",") if text != "]}" else "{}")
                ended = True
            elif text:
                found += 1
                yield _entry(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise ConfigError(f"line {number} is not of an export: {e}", where=where, code="EXPORT_INVALID") from None
    if not ended:
        raise ConfigError(f"it ends in the middle, after {found} znodes", where=where, code="EXPORT_INVALID")


def _entry(body: Mapping[str, Any]) -> Entry:
    path = body["path"]
    bad = not isinstance(path, str) or not path.startswith("/")
    if bad or (path != "/" and {"", ".", ".."}.intersection(path[1:].split("/"))):
        raise ValueError(f"{path!r} is no path")
    data = body["data"].encode() if "data" in body else None
    if "data_base64" in body:
        data = base64.b64decode(body["data_base64"], validate=True)
    acl = tuple(Acl(int(perms), str(scheme), str(id)) for perms, scheme, id in body["acl"])
    return Entry(path=path, data=data, acl=acl, kind=body.get("kind", "persistent"))


def check_export(file: Path) -> tuple[str, int]:
    """Read an export to its end: its root, and how many znodes it has. Raises ConfigError."""
    try:
        with file.open(encoding="utf-8") as lines:
            head = lines.readline()
            lines.seek(0)
            count = sum(1 for _ in read_export(lines, str(file)))
        return str(json.loads(head.strip().removesuffix("[") + "[]}")["root"]), count
    except OSError as e:
        raise ConfigError(f"it cannot be read: {e.strerror or e}", where=str(file)) from None
    except (UnicodeDecodeError, KeyError) as e:
        raise ConfigError(f"it is no export: {e}", where=str(file), code="EXPORT_INVALID") from None


def write_new(file: Path, parts: Iterable[bytes]) -> None:
    """Write a file that was not there, whole or not at all. Raises UsageError, OperationFailed."""
    there = UsageError(f"{file} is there already", hint="another name, or remove it first")
    if file.exists():
        raise there
    try:
        with creating(file) as out:
            out.writelines(parts)
    except FileExistsError:
        raise there from None
    except OSError as e:
        raise OperationFailed(f"it cannot be written: {e.strerror or e}", where=str(file)) from None


@dataclass(slots=True)
class Imported:
    """What an import did, and what it left as it was."""

    created: int = 0
    same: int = 0
    changed: int = 0
    left: int = 0
    left_paths: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.created:,} created, {self.same:,} the same already, {self.changed:,} set"
        if self.left:
            text += f", {self.left:,} that differ left as they are: {', '.join(self.left_paths)}"
        return text


def put_in(deployment: Deployment, file: Path, under: str, *, overwrite: bool, context: ActContext) -> Imported:
    """Create what is missing; with `overwrite` set data and ACL of what differs. Nothing is deleted; safe to repeat.

    Raises ConfigError, NotAuthorised, Unreachable, and OperationFailed with the path.
    """
    total = Imported()
    base = "/" + under.strip("/")
    with session(deployment.instances, timeout_s=ANSWER_S) as client, file.open(encoding="utf-8") as lines:
        if base != "/":
            parent = base.rpartition("/")[0] or "/"
            _result(client.ensure_path_async(parent), parent)
        entries = read_export(lines, str(file))
        while batch := list(islice(entries, BATCH)):
            _batch(client, [(_joined(base, e.path), e) for e in batch], overwrite, total)
            context.waiting(f"znodes: {total}")
            context.wait(0)
    return total


def _joined(base: str, path: str) -> str:
    return "/" + "/".join(part.strip("/") for part in (base, path) if part.strip("/"))


def _batch(client: KazooClient, batch: list[tuple[str, Entry]], overwrite: bool, total: Imported) -> None:
    """All creations at once: a session's requests are carried out in their order, so parents are there in time."""
    from kazoo.exceptions import NodeExistsError

    asked = [
        (path, entry, None if path == "/" else client.create_async(path, entry.data or b"", acl=_acls(entry.acl)))
        for path, entry in batch
    ]
    for path, entry, answer in asked:
        try:
            if answer is not None:
                _result(answer, path)
                total.created += 1
                continue
        except NodeExistsError:
            pass
        _existing(client, path, entry, overwrite, total)


def _existing(client: KazooClient, path: str, entry: Entry, overwrite: bool, total: Imported) -> None:
    data, stat = _result(client.get_async(path), path)
    acls, acl_stat = _result(client.get_acls_async(path), path)
    same_data = (data or b"") == (entry.data or b"")
    same_acl = {Acl(a.perms, a.id.scheme, a.id.id) for a in acls} == set(entry.acl)
    if same_data and same_acl:
        total.same += 1
    elif not overwrite or stat.ephemeralOwner > 0:
        total.left += 1
        if len(total.left_paths) < SAID:
            total.left_paths.append(path)
    else:
        # By version: what somebody else sets in between is not lost without a word.
        if not same_data:
            _result(client.set_async(path, entry.data or b"", version=stat.version), path)
        if not same_acl:
            _result(client.set_acls_async(path, _acls(entry.acl), version=acl_stat.aversion), path)
        total.changed += 1


def _acls(acl: Iterable[Acl]) -> list[Any]:
    from kazoo.security import ACL, Id

    return [ACL(a.perms, Id(a.scheme, a.id)) for a in acl]


def _result(answer: Any, path: str) -> Any:
    from kazoo.exceptions import ConnectionLoss, KazooException, NoAuthError, NodeExistsError, SessionExpiredError
    from kazoo.handlers.threading import KazooTimeoutError

    try:
        return answer.get(timeout=ANSWER_S)
    except NodeExistsError:
        raise
    except NoAuthError:
        raise NotAuthorised(
            f"the ACL does not let us write {path}", hint="`user` and `password` of the zk settings", code="ZK_NO_AUTH"
        ) from None
    except (KazooTimeoutError, ConnectionLoss, SessionExpiredError) as e:
        raise Unreachable(f"the session was lost at {path}: {type(e).__name__}", code="ZK_SESSION_LOST") from None
    except KazooException as e:
        raise OperationFailed(f"{path}: {type(e).__name__} {e}".strip(), code="ZK_IMPORT_FAILED") from None
