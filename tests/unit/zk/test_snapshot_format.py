"""The snapshot format, by a file that a real server has written (3.9.5), and by trees that are written here."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.zk.snapshot.diff import acl_text, below, compared
from bdops.components.zk.snapshot.drill import differing as drill_differing
from bdops.components.zk.snapshot.drill import sampled
from bdops.components.zk.snapshot.format import CONTAINER, Acl, Damaged, Node, SnapshotReader, Summary, summarise
from bdops.components.zk.snapshot.restore import differing
from bdops.errors import OperationFailed

SMALL = (Path(__file__).parent / "data" / "small.zksnap").read_bytes()
OPEN = (Acl(31, "world", "anyone"),)


class OneByOne(io.BytesIO):
    """A stream that gives a few bytes at a time, as a socket may: most znodes are in two parts."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7)


def node(path: str, data: bytes | None = b"", acl: tuple[Acl, ...] = OPEN, owner: int = 0, mzxid: int = 1) -> Node:
    return Node(path.encode(), data, acl, 1, mzxid, 1, 1000, 1000, 0, 0, 0, owner)


def written(nodes: list[Node], digest: int | None = None) -> bytes:
    """A snapshot as ZooKeeper writes it, by its own description."""
    acls = list(dict.fromkeys(n.acl for n in nodes))
    out = b"ZKSN" + struct.pack(">iqi", 2, -1, 0) + struct.pack(">i", len(acls))

    def text(raw: bytes) -> bytes:
        return struct.pack(">i", len(raw)) + raw

    for number, acl in enumerate(acls):
        out += struct.pack(">qi", number, len(acl))
        for a in acl:
            out += struct.pack(">i", a.perms) + text(a.scheme.encode()) + text(a.id.encode())
    for n in nodes:
        out += text(n.path) + (struct.pack(">i", -1) if n.data is None else text(n.data))
        out += struct.pack(">qqqqqiii", acls.index(n.acl), n.czxid, n.mzxid, n.ctime_ms, n.mtime_ms, n.version, 0, 0)
        out += struct.pack(">qq", n.owner, n.pzxid)
    out += text(b"/")
    for tail in (b"", struct.pack(">qiq", 9, 2, digest) if digest is not None else None, struct.pack(">q", 9)):
        if tail is not None:
            out += tail
            out += struct.pack(">q", zlib.adler32(out)) + text(b"/")
    return out


def test_the_file_of_a_real_server_has_the_digest_that_the_server_says() -> None:
    found = summarise(io.BytesIO(SMALL))
    assert found.digest_agrees is True
    assert found.digest == found.told_digest
    assert (found.znodes, found.ephemerals, found.sessions, found.last_zxid) == (14, 1, 1, 14)
    assert found.bytes == len(SMALL)


def test_what_is_in_a_real_file() -> None:
    nodes = {n.name: n for n in SnapshotReader(OneByOne(SMALL))}
    assert nodes["/app"].data == b"v2"
    assert nodes["/app"].version == 1
    assert nodes["/app/bin"].data == bytes(range(256))
    assert nodes["/app/ünï"].data == b"x"
    assert nodes["/app/locks/one"].kind == "ephemeral"
    assert [(a.scheme, a.perms) for a in nodes["/app/config"].acl] == [("digest", 31)]
    assert "/app/gone" not in nodes
    assert nodes["/"].path == b""


def test_a_zipped_file_is_the_same() -> None:
    assert summarise(io.BytesIO(gzip.compress(SMALL))).digest == summarise(io.BytesIO(SMALL)).digest


@pytest.mark.parametrize("at", range(0, len(SMALL), 23))
def test_any_byte_that_changes_is_seen(at: int) -> None:
    damaged = bytearray(SMALL)
    damaged[at] ^= 0x55
    with pytest.raises(Damaged):
        summarise(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("length", [0, 3, 40, 1000, len(SMALL) - 30, len(SMALL) - 1])
def test_a_file_that_ends_too_early_is_seen(length: int) -> None:
    # Without its last part a file is one of an older server, and whole; all other ends are in the middle.
    with pytest.raises(Damaged):
        summarise(io.BytesIO(SMALL[:length]))


def test_bytes_after_the_end_are_seen() -> None:
    with pytest.raises(Damaged, match="follow after its end"):
        summarise(io.BytesIO(SMALL + b"x"))


def test_a_znode_without_a_parent_is_seen() -> None:
    with pytest.raises(Damaged, match="/a/b has no parent"):
        summarise(io.BytesIO(written([node(""), node("/c"), node("/a/b")])))


def test_a_digest_that_is_not_that_of_the_tree_is_told_and_is_no_damage() -> None:
    nodes = [node(""), node("/a", b"1")]
    right = sum(n.digest for n in nodes)
    assert summarise(io.BytesIO(written(nodes, right))).digest_agrees is True
    assert summarise(io.BytesIO(written(nodes, right + 1))).digest_agrees is False
    assert summarise(io.BytesIO(written(nodes))).digest_agrees is None


def test_kinds_by_the_owner() -> None:
    assert node("/a").kind == "persistent"
    assert node("/a", owner=0x100000ABC).kind == "ephemeral"
    assert node("/a", owner=CONTAINER).kind == "container"
    assert node("/a", owner=(0xFF << 56) - (1 << 64) + 5000).kind == "ttl 5000 ms"


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    lambda name: name not in (".", "..")  # of no znode (PathUtils)
)
ACLS = st.sampled_from([OPEN, (Acl(1, "ip", "10.0.0.1"),), (Acl(31, "digest", "a:b"), Acl(1, "world", "anyone"))])


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """Parents before their children, siblings in any order."""
    found: list[Node] = []

    def grow(path: str, depth: int) -> None:
        data = draw(st.none() | st.binary(max_size=40))
        found.append(node(path, data, draw(ACLS), draw(st.sampled_from([0, 0, 7])), draw(st.integers(1, 99))))
        names = draw(st.lists(NAMES, unique=True, max_size=3)) if depth < 3 else []
        for name in names:
            grow(f"{path}/{name}", depth + 1)

    grow("", 0)
    return found


@given(trees())
def test_what_is_written_is_read(nodes: list[Node]) -> None:
    reader = SnapshotReader(OneByOne(written(nodes)))
    assert list(reader) == nodes
    assert list(SnapshotReader(io.BytesIO(written(nodes)))) == nodes
    assert reader.summary.znodes == len(nodes)
    assert reader.summary.data_bytes == sum(len(n.data or b"") for n in nodes)


@given(trees(), trees())
def test_differences_are_those_of_two_dictionaries(before: list[Node], after: list[Node]) -> None:
    def seen(nodes: list[Node]) -> dict[str, tuple[bytes, frozenset[Acl]]]:
        return {
            n.name: (n.data or b"", frozenset(n.acl)) for n in nodes if not n.ephemeral and n.path[:10] != b"/zookeeper"
        }

    old, new = seen(before), seen(after)
    with compared(before, after) as found:
        told = {d.path: d.change for d in found.differences()}
    assert {p for p, c in told.items() if c == "added"} == new.keys() - old.keys()
    assert {p for p, c in told.items() if c == "removed"} == old.keys() - new.keys()
    both = old.keys() & new.keys()
    assert {p for p, c in told.items() if "data" in c} == {p for p in both if old[p][0] != new[p][0]}
    assert {p for p, c in told.items() if "acl" in c} == {p for p in both if old[p][1] != new[p][1]}


def test_how_many_znodes_were_compared_is_told() -> None:
    with compared([node(""), node("/a"), node("/e", owner=5)], [node("")]) as found:
        assert (found.totals.before, found.totals.after) == (2, 1)


def test_what_the_temporary_database_does_not_take_is_an_error_of_the_comparison() -> None:
    twice = [node(""), node("/a"), node("/a")]
    with pytest.raises(OperationFailed) as raised, compared(twice, []):
        pass
    assert raised.value.code == "ZK_DIFF_FAILED"


def test_differences_below_a_root_and_with_ephemerals() -> None:
    old = [node(""), node("/a"), node("/a/x", b"1"), node("/ab", b"1")]
    new = [node(""), node("/a"), node("/a/x", b"2"), node("/a/e", owner=5), node("/ab", b"2")]
    with compared(old, new, root="/a") as found:
        assert [(d.path, d.change) for d in found.differences()] == [("/a/x", "data")]
    with compared(old, new, root="/a", ephemerals=True) as found:
        assert [(d.path, d.kind) for d in found.differences()] == [("/a/e", "ephemeral"), ("/a/x", "persistent")]


def test_the_servers_own_znodes_are_no_part_of_a_subtree() -> None:
    nodes = [node(""), node("/zookeeper"), node("/zookeeper/config"), node("/zookeeperlike")]
    assert [n.name for n in below(nodes, "/")] == ["/", "/zookeeperlike"]


def test_an_acl_reads_the_same_in_any_order() -> None:
    one, two = Acl(31, "digest", "a:b"), Acl(1, "world", "anyone")
    assert acl_text((one, two)) == acl_text((two, one)) == "digest:a:b:rwcda, world:anyone:r"


@given(trees())
def test_lasting_znodes_are_the_same_when_the_ephemeral_ones_are_gone(nodes: list[Node]) -> None:
    """A session that runs out takes its znodes, and changes their parents' child versions."""
    gone = {n.path for n in nodes if n.ephemeral and n.path}
    rest = [n for n in nodes if not any(n.path == g or n.path.startswith(g + b"/") for g in gone)]
    kept = [n for n in nodes if n in rest]
    if len(rest) + len(gone) != len(nodes):
        return  # a real ephemeral has no children
    for n in kept:
        n.pzxid += 1
        n.cversion += 1
    after = summarise(io.BytesIO(written(kept)))
    before = summarise(io.BytesIO(written(nodes)))
    assert (before.lasting, before.lasting_digest) == (after.lasting, after.lasting_digest)
    assert not differing(before, {"a": after})


@pytest.mark.parametrize(
    "other",
    [
        [node(""), node("/a", b"2")],
        [node(""), node("/a", b"1", (Acl(1, "world", "anyone"),))],
        [node(""), node("/a", b"1"), node("/b")],
        [node(""), node("/a", b"1", mzxid=2)],
        [node("")],
    ],
)
def test_a_tree_that_is_not_the_same_is_seen_after_a_restore(other: list[Node]) -> None:
    wanted = summarise(io.BytesIO(written([node(""), node("/a", b"1")])))
    found = summarise(io.BytesIO(written(other)))
    assert set(differing(wanted, {"one": wanted, "two": found})) == {"two"}
    assert drill_differing(wanted, found)
    assert not drill_differing(wanted, wanted)


def test_a_sample_is_of_the_whole_tree_and_never_of_the_servers_own_znodes() -> None:
    nodes = [node(""), node("/zookeeper"), node("/zookeeper/config"), *(node(f"/n{i}") for i in range(500))]
    summary, sample = sampled(SnapshotReader(io.BytesIO(written(nodes))), 20)
    assert summary.znodes == 503
    assert len({s.path for s in sample}) == 20
    assert not [s for s in sample if s.path.startswith("/zookeeper")]
    assert any(int(s.path[2:]) > 250 for s in sample if s.path != "/")


def test_a_summary_starts_with_nothing() -> None:
    assert Summary().digest_agrees is None
