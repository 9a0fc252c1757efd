"""What differs between two trees of any size: both go into a temporary database on the disk, and are joined."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from bdops.components.zk.snapshot.format import SYSTEM, Acl, Node
from bdops.errors import OperationFailed

CACHE_KB = 8192
_ACL_LETTERS = ((1, "r"), (2, "w"), (4, "c"), (8, "d"), (16, "a"))
_COLUMNS = "path, bytes, data, acl, kind, mzxid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A znode that is not the same. `change`: added, removed, or what changed of it: data, acl, kind (several)."""

    path: str
    change: str
    kind: str
    bytes_before: int | None = None
    bytes_after: int | None = None
    acl_before: str | None = None
    acl_after: str | None = None
    mzxid_after: str | None = None


@dataclass(slots=True, kw_only=True)
class Totals:
    """How many znodes there were of each, as far as the differences have been read."""

    before: int = 0
    after: int = 0
    changes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two trees that were read. `differences` are in the order of their paths, streamed."""

    connection: sqlite3.Connection
    totals: Totals

    def differences(self) -> Iterator[Difference]:
        rows = self.connection.execute(
            "SELECT b.path, 'removed', b.kind, b.bytes, NULL, b.acl, NULL, NULL FROM before b"
            " WHERE NOT EXISTS (SELECT 1 FROM after a WHERE a.path = b.path)"
            " UNION ALL "
            "SELECT a.path, 'added', a.kind, NULL, a.bytes, NULL, a.acl, a.mzxid FROM after a"
            " WHERE NOT EXISTS (SELECT 1 FROM before b WHERE a.path = b.path)"
            " UNION ALL "
            "SELECT a.path, trim((CASE WHEN a.data IS NOT b.data THEN 'data ' ELSE '' END)"
            " || (CASE WHEN a.acl != b.acl THEN 'acl ' ELSE '' END)"
            " || (CASE WHEN a.kind != b.kind THEN 'kind' ELSE '' END)), a.kind, b.bytes, a.bytes, b.acl, a.acl, a.mzxid"
            " FROM after a JOIN before b ON a.path = b.path"
            " WHERE a.data IS NOT b.data OR a.acl != b.acl OR a.kind != b.kind"
            " ORDER BY 1"
        )
        for path, change, kind, bytes_before, bytes_after, acl_before, acl_after, mzxid in rows:
            self.totals.changes[change] = self.totals.changes.get(change, 0) + 1
            yield Difference(
                path=path.decode("utf-8", "replace") or "/",
                change=change,
                kind=kind,
                bytes_before=bytes_before,
                bytes_after=bytes_after,
                acl_before=acl_before,
                acl_after=acl_after,
                mzxid_after=None if mzxid is None else f"{mzxid:#x}",
            )


@contextmanager
def compared(
    before: Iterable[Node], after: Iterable[Node], *, root: str = "/", ephemerals: bool = False
) -> Iterator[Compared]:
    """Two trees below and including `root`, held against each other. Raises what reading them raises, and
    OperationFailed when there is no room for them.

    The server's own znodes are left out, and ephemerals unless they are asked for: they come and go with sessions.
    """
    # An empty name: a file that has none, and goes with the connection.
    with closing(sqlite3.connect("")) as connection:
        try:
            yield Compared(connection, _loaded(connection, before, after, root, ephemerals))
        except sqlite3.Error as e:
            raise OperationFailed(
                f"the trees cannot be compared: {e}",
                hint="both go into a temporary file: SQLITE_TMPDIR names a folder with more room",
                code="ZK_DIFF_FAILED",
            ) from None


def _loaded(
    connection: sqlite3.Connection, before: Iterable[Node], after: Iterable[Node], root: str, ephemerals: bool
) -> Totals:
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute("PRAGMA journal_mode = OFF")
    counts: dict[str, int] = {}
    # The later one first: it may come from a server, which does not wait while a file is read.
    for table, nodes in (("after", after), ("before", before)):
        connection.execute(
            f"CREATE TABLE {table} (path BLOB PRIMARY KEY, bytes INT, data BLOB, acl TEXT, kind TEXT, mzxid INT)"
            " WITHOUT ROWID"
        )
        loaded = connection.executemany(
            f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", _rows(below(nodes, root), ephemerals)
        )
        counts[table] = loaded.rowcount
    return Totals(before=counts["before"], after=counts["after"])


def below(nodes: Iterable[Node], root: str) -> Iterator[Node]:
    """The znodes at and below a path, without the server's own. Pure."""
    top = root.strip("/").encode()
    top = b"/" + top if top else b""
    for node in nodes:
        own = node.path == SYSTEM.rstrip(b"/") or node.path.startswith(SYSTEM)
        if not own and (node.path == top or node.path.startswith(top + b"/")):
            yield node


def _rows(nodes: Iterable[Node], ephemerals: bool) -> Iterator[tuple[bytes, int, bytes | None, str, str, int]]:
    for node in nodes:
        if node.ephemeral and not ephemerals:
            continue
        # A digest in place of the data: a znode may have a megabyte.
        data = hashlib.blake2b(node.data, digest_size=16).digest() if node.data else None
        yield node.path, len(node.data or b""), data, acl_text(node.acl), node.kind, node.mzxid


def acl_text(acl: Iterable[Acl]) -> str:
    """`world:anyone:rwcda, digest:ops:...:r`, in an order that is always the same. Pure."""
    return ", ".join(sorted(f"{a.scheme}:{a.id}:{''.join(c for bit, c in _ACL_LETTERS if a.perms & bit)}" for a in acl))
