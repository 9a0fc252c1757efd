"""ZooKeeper's own snapshot format, read as a stream: any size in the memory of its largest znode. Pure but for reading.

The layout is that of FileSnap and SnapStream (ZooKeeper 3.6 to 3.9): a header, sessions, the table of ACLs, the
znodes (parents first, siblings in any order), a seal; since 3.6 the tree's digest with a seal of its own, and since
3.9 the last applied zxid (`serializeLastProcessedZxid.enabled`) with one too. A seal is the Adler-32 of all before it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAGIC = 0x5A4B534E  # "ZKSN"
VERSION = 2
GZIP = b"\x1f\x8b"
DIGEST_VERSION = 2
CONTAINER = -(1 << 63)
"""The owner of containers (EphemeralType.CONTAINER_EPHEMERAL_OWNER); TTL znodes have 0xff in its highest byte."""
SYSTEM = b"/zookeeper/"
"""The server's own znodes, its configuration and quotas, are in no digest."""
CHUNK_BYTES = 1 << 20
MAX_FIELD_BYTES = 1 << 28
"""A length beyond this is damage, not a znode: `jute.maxbuffer` is 1 MB by default."""
MAX_ACLS = 1 << 20

SEAL_BYTES = 13
_INT, _LONG = struct.Struct(">i"), struct.Struct(">q")
_STAT = struct.Struct(">qqqqqiiiqq")
"""ACL reference; czxid, mzxid, ctime, mtime; version, cversion, aversion; ephemeral owner, pzxid."""
_DIGEST = struct.Struct(">qqqqqiiiq")
"""What DigestCalculator hashes of a znode's stat: czxid, mzxid, pzxid, ctime, mtime, the versions, the owner."""
_LASTING = struct.Struct(">qqi")
_TAIL = struct.Struct(">qiq")


class Damaged(ValueError):
    """The stream is no snapshot, or not a whole one. The message says what is wrong, and where."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Acl:
    """One entry of an access control list. `perms` are ZooDefs.Perms: read 1, write 2, create 4, delete 8, admin 16."""

    perms: int
    scheme: str
    id: str


@dataclass(slots=True)
class Node:
    """A znode as it is in the file. `owner`: the session of an ephemeral one, else 0 (or a special one: containers)."""

    path: bytes
    data: bytes | None
    acl: tuple[Acl, ...]
    czxid: int
    mzxid: int
    pzxid: int
    ctime_ms: int
    mtime_ms: int
    version: int
    cversion: int
    aversion: int
    owner: int

    @property
    def name(self) -> str:
        """The path as text; the root's is `/`."""
        return self.path.decode("utf-8", "replace") or "/"

    @property
    def ephemeral(self) -> bool:
        """Containers and TTL znodes have owners with the highest bit set, which no session has (EphemeralType)."""
        return self.owner > 0

    @property
    def digest(self) -> int:
        """ZooKeeper's own digest of a znode: a CRC-32 of path, data and stat. The ACL has no place in it."""
        if self.path.startswith(SYSTEM):
            return 0
        crc = zlib.crc32(self.path)
        if self.data:
            crc = zlib.crc32(self.data, crc)
        stat = _DIGEST.pack(
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.ctime_ms,
            self.mtime_ms,
            self.version,
            self.cversion,
            self.aversion,
            self.owner,
        )
        return zlib.crc32(stat, crc)

    @property
    def kind(self) -> str:
        """persistent, ephemeral, container, or TTL (its time is in the owner)."""
        if self.owner == 0:
            return "persistent"
        if self.owner > 0:
            return "ephemeral"
        return "container" if self.owner == CONTAINER else f"ttl {self.owner & 0xFFFFFFFFFF} ms"


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a whole snapshot adds up to. It fills while the file is read, and is complete at its end.

    digest: the sum of the znodes' digests; told_digest: what the server that wrote the file says that it was, at
        `digest_zxid` (None where it does not say).
    acl_digest: a sum over (path, ACL), which the digest of ZooKeeper leaves out.
    lasting_digest: a sum over the znodes that no session owns: path, data, ACL, versions and zxids of their writes. It
        stays the same when ephemerals go, which a znode's own digest does not: that has its children's changes in it.
    last_zxid: the last transaction in it (None before 3.9).
    """

    znodes: int = 0
    ephemerals: int = 0
    data_bytes: int = 0
    largest_bytes: int = 0
    sessions: int = 0
    acls: int = 0
    newest_zxid: int = 0
    digest: int = 0
    acl_digest: int = 0
    lasting_digest: int = 0
    told_digest: int | None = None
    digest_zxid: int | None = None
    last_zxid: int | None = None
    bytes: int = 0

    @property
    def digest_agrees(self) -> bool | None:
        """Whether the file holds exactly the tree that its server had at the end of writing it; None: not told.

        False for a file that was written while clients wrote: ZooKeeper does not stop for a snapshot.
        """
        if self.told_digest is None or not self.digest_zxid:
            return None
        return self.told_digest == self.digest

    @property
    def lasting(self) -> int:
        """The znodes that no session owns."""
        return self.znodes - self.ephemerals


@dataclass(slots=True)
class SnapshotReader:
    """Iterates over the znodes of a stream, the root first. Raises Damaged, also at the end, when a seal is wrong."""

    stream: Stream
    summary: Summary = field(default_factory=Summary)
    _buffer: bytes = b""
    _at: int = 0
    _adler: int = 1
    _unzip: zlib._Decompress | None = None
    _summed: int = 0
    _acls: Mapping[int, tuple[Acl, ...]] = field(default_factory=dict)
    _acl_texts: Mapping[int, bytes] = field(default_factory=dict)
    """By the identity of the ACL, which is one object of the table: to hash them all would cost more."""

    def __iter__(self) -> Iterator[Node]:
        try:
            yield from self._nodes()
        except struct.error as e:
            raise Damaged(f"at byte {self.position:,}: {e}") from None

    @property
    def position(self) -> int:
        return self.summary.bytes + self._at

    # -- the parts -----------------------------------------------------------------------------------------------

    def _nodes(self) -> Iterator[Node]:
        self._header()
        self._sessions()
        self._acl_table()
        total, stack = self.summary, [b""]
        while True:
            node = self._whole_node() or self._node()
            if node is None:
                break
            path = node.path
            # Parents come before their children: one chain of ancestors is all that has to be remembered.
            parent = path.rpartition(b"/")[0]
            while stack[-1] != parent and len(stack) > 1:
                stack.pop()
            if path and (stack[-1] != parent or not total.znodes):
                raise Damaged(f"{node.name} has no parent before it")
            if path:
                stack.append(path)
            self._count(node)
            yield node
        if not total.znodes:
            raise Damaged("there is no root in it")
        for name in ("digest", "acl_digest", "lasting_digest"):
            setattr(total, name, getattr(total, name) & 0xFFFFFFFFFFFFFFFF)
        self._seal("the tree")
        self._tail()

    def _header(self) -> None:
        magic, version = self._int(), self._int()
        if magic != MAGIC or version != VERSION:
            raise Damaged(f"no snapshot of ZooKeeper: it begins with {magic & 0xFFFFFFFF:08x}, version {version}")
        self._take(8)  # the database's id, which is always -1

    def _sessions(self) -> None:
        self.summary.sessions = self._count_of("sessions", 1 << 28)
        for _ in range(self.summary.sessions):
            self._take(12)

    def _acl_table(self) -> None:
        found: dict[int, tuple[Acl, ...]] = {-1: (Acl(31, "world", "anyone"),)}
        for _ in range(self._count_of("ACLs", MAX_ACLS)):
            key = self._long()
            entries = self._int()
            found[key] = tuple(
                Acl(self._int(), self._bytes("a scheme").decode(), self._bytes("an id").decode())
                for _ in range(max(0, entries))
            )
        self._acls = found
        self._acl_texts = {
            id(acl): b"".join(f"{a.perms}:{a.scheme}:{a.id};".encode() for a in acl) for acl in found.values()
        }
        self.summary.acls = len(found) - 1

    def _whole_node(self) -> Node | None:
        """The next znode if all of it is in the buffer: nearly always, and several times as quick."""
        buffer, at, end = self._buffer, self._at, len(self._buffer)
        if end - at < 8:
            return None
        path_length = _INT.unpack_from(buffer, at)[0]
        data_at = at + 4 + path_length
        if path_length < 0 or data_at + 4 > end:
            return None
        length = _INT.unpack_from(buffer, data_at)[0]
        stat_at = data_at + 4 + (length if length > 0 else 0)
        if stat_at + _STAT.size > end:
            return None
        path = buffer[at + 4 : data_at]
        acl, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid = _STAT.unpack_from(buffer, stat_at)
        entries = self._acls.get(acl)
        if entries is None or path == b"/":
            return None
        self._at = stat_at + _STAT.size
        data = None if length < 0 else buffer[data_at + 4 : stat_at]
        return Node(path, data, entries, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner)

    def _node(self) -> Node | None:
        """The next znode; None at the end of the tree."""
        path = self._bytes("a path")
        if path == b"/":
            return None
        length = self._int()
        data = None if length < 0 else self._take(self._checked(length, "data"))
        acl, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid = _STAT.unpack(
            self._take(_STAT.size)
        )
        if acl not in self._acls:
            raise Damaged(f"{path.decode('utf-8', 'replace')} has ACL {acl}, which is not in the table")
        return Node(path, data, self._acls[acl], czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner)

    def _count(self, node: Node) -> None:
        total, path, data = self.summary, node.path, node.data or b""
        size = len(data)
        total.znodes += 1
        total.data_bytes += size
        if size > total.largest_bytes:
            total.largest_bytes = size
        if node.mzxid > total.newest_zxid or node.pzxid > total.newest_zxid:
            total.newest_zxid = max(node.mzxid, node.pzxid)
        # Sums of 32-bit numbers: they are cut to 64 bits once, at the end.
        total.digest += node.digest
        crc = zlib.crc32(self._acl_texts[id(node.acl)], zlib.crc32(path))
        total.acl_digest += crc
        if node.owner > 0:
            total.ephemerals += 1
        elif not path.startswith(SYSTEM):
            total.lasting_digest += zlib.crc32(
                _LASTING.pack(node.czxid, node.mzxid, node.version), zlib.crc32(data, crc)
            )

    def _tail(self) -> None:
        total = self.summary
        # A server whose `zookeeper.digest.enabled` is false writes the zxid alone, which is shorter.
        if self._fill(_TAIL.size + SEAL_BYTES):
            zxid, version, digest = _TAIL.unpack(self._take(_TAIL.size))
            self._seal("the digest")
            if version == DIGEST_VERSION:
                total.digest_zxid, total.told_digest = zxid, digest & 0xFFFFFFFFFFFFFFFF
        if self._more():
            total.last_zxid = self._long()
            self._seal("the last zxid")
        if self._more():
            raise Damaged(f"bytes follow after its end, at {self.position:,}")
        total.bytes, self._at, self._buffer = self.position, 0, b""

    def _seal(self, what: str) -> None:
        mine = self._checksum()
        told = self._long()
        if told != mine:
            raise Damaged(f"the checksum after {what} is {told & 0xFFFFFFFF:08x}, and the bytes have {mine:08x}")
        if self._bytes("a seal") != b"/":
            raise Damaged(f"the seal after {what} has no end")

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _checksum(self) -> int:
        self._adler = zlib.adler32(memoryview(self._buffer)[self._summed : self._at], self._adler)
        self._summed = self._at
        return self._adler

    def _fill(self, wanted: int) -> bool:
        """Have `wanted` bytes at hand; False at the end of the stream."""
        if len(self._buffer) - self._at >= wanted:
            return True
        self._checksum()
        self.summary.bytes += self._at
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < wanted:
            part = self._more_bytes()
            if not part:
                break
            parts.append(part)
            have += len(part)
        self._buffer, self._at, self._summed = b"".join(parts), 0, 0
        return have >= wanted

    def _more_bytes(self) -> bytes:
        """The next bytes, unzipped where `snapshot.compression.method=gz` was set."""
        while True:
            part = self.stream.read(CHUNK_BYTES)
            if self._unzip is None and self.position == 0 and not self._buffer and part.startswith(GZIP):
                self._unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
            if self._unzip is None or not part:
                return part
            try:
                plain = self._unzip.decompress(part)
            except zlib.error as e:
                raise Damaged(f"it cannot be unzipped: {e}") from None
            if plain:
                return plain

    def _more(self) -> bool:
        return self._fill(1)

    def _take(self, size: int) -> bytes:
        if len(self._buffer) - self._at < size and not self._fill(size):
            raise Damaged(f"it ends in the middle, after {self.summary.bytes + len(self._buffer):,} bytes")
        at = self._at
        self._at = at + size
        return self._buffer[at : at + size]

    def _int(self) -> int:
        return int(_INT.unpack(self._take(4))[0])

    def _long(self) -> int:
        return int(_LONG.unpack(self._take(8))[0])

    def _checked(self, length: int, what: str) -> int:
        if length > MAX_FIELD_BYTES:
            raise Damaged(f"{what} of {length:,} bytes at byte {self.position:,}: these are not lengths")
        return length

    def _bytes(self, what: str) -> bytes:
        length = self._int()
        return self._take(self._checked(length, what)) if length > 0 else b""

    def _count_of(self, what: str, most: int) -> int:
        number = self._int()
        if not 0 <= number <= most:
            raise Damaged(f"{number:,} {what}: it is damaged")
        return number


def summarise(stream: Stream) -> Summary:
    """Read a whole snapshot. Raises Damaged."""
    reader = SnapshotReader(stream)
    for _ in reader:
        pass
    return reader.summary
