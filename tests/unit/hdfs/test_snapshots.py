"""Snapshots of directories, images of the NameNode and plans of copies: what is pure of them."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs.namenode import FileEntry
from bdops.components.hdfs.proto import fsimage_pb2 as fs
from bdops.components.hdfs.proto import hdfs_pb2 as pb
from bdops.components.hdfs.snapshot import distcp, drill, image, restore
from bdops.components.hdfs.snapshot.calls import Snapshot, SnapshotRoot
from bdops.components.hdfs.snapshot.catalogue import decoded, records
from bdops.components.hdfs.snapshot.image_drill import image_facts
from bdops.components.hdfs.snapshot.restore import Files
from bdops.components.hdfs.web_files import Checksum
from bdops.errors import OperationFailed, Unreachable, UsageError

ROOT = SnapshotRoot(path="/data", inode=7, snapshots=2, limit=65536)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def snapshot(name: str, id: int) -> Snapshot:
    return Snapshot(name=name, id=id, taken_at=NOON + timedelta(hours=id))


class TestRecords:
    def test_notes_go_with_the_id_and_not_with_the_name(self) -> None:
        notes = {
            1: {"bdops.of": {"name": "old-name", "dir": "/data"}, "bdops.hold": {"reason": "audit"}},
            2: {"bdops.made": {"by": "ops", "size_bytes": 5}, "bdops.proved": {"at": NOON.isoformat(), "how": "x"}},
        }
        one, two = records(ROOT, [snapshot("new-name", 1), snapshot("b", 2)], notes)
        assert (one.id, one.hold, one.status, one.proved_at) == ("new-name", "audit", "complete", None)
        assert (two.by, two.size_bytes, two.proved_at, two.hold) == ("ops", 5, NOON, None)

    def test_what_is_noted_and_gone_does_not_count_and_is_held_by_nobody(self) -> None:
        notes = {3: {"bdops.of": {"name": "b", "taken_at": NOON.isoformat()}, "bdops.hold": {"reason": "audit"}}}
        there, gone = records(ROOT, [snapshot("b", 4)], notes)
        assert there.good
        assert (gone.id, gone.good, gone.hold, gone.taken_at) == ("b#3", False, None, NOON)
        assert "gone" in (gone.error or "")

    def test_a_note_that_is_taken_back_is_none(self) -> None:
        (one,) = records(ROOT, [snapshot("a", 1)], {1: {"bdops.hold": {}, "bdops.needed": {}, "bdops.proved": {}}})
        assert (one.hold, one.needed, one.proved_at) == (None, None, None)

    def test_attributes_of_others_and_garbage_are_no_notes(self) -> None:
        assert decoded(
            {"bdops.hold": b"not json", "other": b"{}", "bdops.of": b"[]", "bdops.made": b'{"by": "x"}'}
        ) == {"bdops.made": {"by": "x"}}


class TestSample:
    @given(
        sizes=st.lists(st.integers(0, 100), max_size=80),
        count=st.integers(1, 20),
        room=st.integers(0, 300),
        seed=st.text(max_size=3),
    )
    def test_it_fits_and_the_same_seed_chooses_the_same(
        self, sizes: list[int], count: int, room: int, seed: str
    ) -> None:
        def chosen() -> tuple[tuple[str, int], ...]:
            sample = drill.Sample(seed, count, room)
            for n, size in enumerate(sizes):
                sample.offer(f"f{n}", size)
            return sample.chosen()

        found = chosen()
        assert found == chosen()
        assert len(found) <= count
        assert sum(size for _, size in found) <= room
        assert len({path for path, _ in found}) == len(found)
        assert all(sizes[int(path[1:])] == size for path, size in found)
        if any(size <= room for size in sizes):
            assert found

    def test_each_file_is_chosen_about_as_often_as_any_other(self) -> None:
        hits = dict.fromkeys(range(10), 0)
        for seed in range(600):
            sample = drill.Sample(str(seed), 3, 1000)
            for n in range(10):
                sample.offer(str(n), 1)
            for path, _ in sample.chosen():
                hits[int(path)] += 1
        assert all(120 < count < 240 for count in hits.values()), hits


class Nobody:
    def wait(self, seconds: float) -> None: ...
    def waiting(self, text: str) -> None: ...


def with_block(copies: int, *, corrupt: bool = False) -> FileEntry:
    location = pb.DatanodeInfoProto(
        id=pb.DatanodeIDProto(ipAddr="h", hostName="h", datanodeUuid="u", xferPort=1, infoPort=2, ipcPort=3)
    )
    block = pb.LocatedBlockProto(
        b=pb.ExtendedBlockProto(poolId="p", blockId=1, generationStamp=1, numBytes=10),
        offset=0,
        locs=[location] * copies,
        corrupt=corrupt,
        blockToken=pb.TokenProto(identifier=b"", password=b"", kind="", service=""),
    )
    located = pb.LocatedBlocksProto(fileLength=10, blocks=[block], underConstruction=False, isLastBlockComplete=True)
    return FileEntry(name="f", kind="file", length_bytes=10, replication=3, located=located)


def test_a_file_without_any_good_copy_is_unreadable_and_never_in_the_sample() -> None:
    files = [
        ("/data/.snapshot/s/whole", with_block(3)),
        ("/data/.snapshot/s/thin", with_block(1)),
        ("/data/.snapshot/s/d/lost", with_block(0)),
        ("/data/.snapshot/s/d/bad", with_block(2, corrupt=True)),
    ]
    sample = drill.Sample("x", 10, 1000)
    found = drill.look("/data/.snapshot/s", files, sample, Nobody())
    assert found.unreadable == ["d/lost", "d/bad"]
    assert (found.files, found.thin) == (4, 1)
    assert [path for path, _ in sample.chosen()] == ["thin", "whole"]


class TestImage:
    body = image.MAGIC + b"x" * 40 + b"summary" + struct.pack(">i", 7)

    def fetched(self, body: bytes, md5: str, parts: int = 7) -> bytes:
        pieces = [body[n : n + parts] for n in range(0, len(body), parts)]
        return b"".join(image.checked(pieces, md5, len(body), lambda text: None))

    def test_what_came_whole_is_taken(self) -> None:
        for parts in (1, 3, 1000):
            assert self.fetched(self.body, hashlib.md5(self.body).hexdigest(), parts) == self.body

    def test_another_md5_than_was_promised_is_refused(self) -> None:
        with pytest.raises(OperationFailed, match="MD5"):
            self.fetched(self.body[:-1] + b"\x08", hashlib.md5(self.body).hexdigest())

    @pytest.mark.parametrize("body", [b"", b"HDFS", b"x" * 60, body[:-4] + struct.pack(">i", 1000), body[:-6]])
    def test_what_has_not_the_form_of_an_image_is_refused(self, body: bytes) -> None:
        with pytest.raises(OperationFailed, match="no image"):
            self.fetched(body, hashlib.md5(body).hexdigest())

    def test_an_offer_is_as_old_as_its_checkpoint(self) -> None:
        headers = {
            "x-image-edits-name": "fsimage_0000000000000000042",
            "X-MD5-Digest": "ab",
            "Content-Length": "9",
        }
        bean = {"LastCheckpointTime": int(NOON.timestamp() * 1000), "LastWrittenTransactionId": 50}
        instance: Any = None
        offer = image.offer_of(instance, headers, bean)
        assert (offer.txid, offer.size_bytes, offer.checkpoint_at, offer.ahead_txns) == (42, 9, NOON, 8)

    def test_an_answer_without_an_image_is_no_offer(self) -> None:
        instance: Any = type("I", (), {"name": "nn1"})
        with pytest.raises(Unreachable, match="no image"):
            image.offer_of(instance, {"Content-Type": "text/html"}, {})


def an_image(codec: str = "", *, packed: bool = False) -> bytes:
    """An image with two sections, as FSImageFormatProtobuf lays them out."""

    def delimited(message: Any) -> bytes:
        body = message.SerializeToString()
        assert len(body) < 128
        return bytes([len(body)]) + body

    sections = {
        "NS_INFO": delimited(fs.NameSystemSection(namespaceId=77, transactionId=4711)),
        "INODE": delimited(fs.INodeSection(lastInodeId=99, numInodes=12)) + b"inodes" * 50,
    }
    out, summary = image.MAGIC, fs.FileSummary(ondiskVersion=1, layoutVersion=2**32 - 66, codec=codec)
    for name, body in sections.items():
        body = zlib.compress(body) if packed else body
        summary.sections.add(name=name, length=len(body), offset=len(out))
        out += body
    tail = delimited(summary)
    return out + tail + struct.pack(">i", len(tail))


class TestImageFacts:
    @pytest.mark.parametrize(
        ("codec", "packed", "inodes"),
        [
            ("", False, 12),
            ("org.apache.hadoop.io.compress.DefaultCodec", True, 12),
            ("org.apache.hadoop.io.compress.SnappyCodec", True, None),
        ],
    )
    def test_an_image_says_what_is_in_it(self, codec: str, packed: bool, inodes: int | None) -> None:
        facts = image_facts(io.BytesIO(an_image(codec, packed=packed)))
        assert (facts.layout, facts.inodes) == (-66, inodes)
        assert (facts.namespace_id, facts.txid) == ((77, 4711) if inodes else (1, None))

    @given(st.binary(max_size=300), st.integers(0, 400))
    def test_what_is_none_is_told_from_one(self, noise: bytes, at: int) -> None:
        for data in (noise, an_image()[:at], an_image()[:at] + noise):
            try:
                image_facts(io.BytesIO(data))
            except OperationFailed as e:
                assert e.code == "BACKUP_DAMAGED"  # noqa: PT017


class TestCopy:
    source = distcp.Side(uri="hdfs://here/data", snapshots=(snapshot("a", 1), snapshot("b", 2), snapshot("c", 3)))

    def target(self, *names: str, changed: bool = False, allowed: bool = True) -> distcp.Side:
        there = tuple(snapshot(n, 10 + i) for i, n in enumerate(names))
        return distcp.Side(
            uri="hdfs://dr/data",
            snapshots_allowed=allowed,
            snapshots=there,
            changed_since=dict.fromkeys(names, changed),
        )

    def plan(self, target: distcp.Side | None, **kw: Any) -> distcp.CopyPlan:
        asked = {"older": None, "newer": None, "options": ()} | kw
        return distcp.plan(self.source, target, "hdfs://dr/data", **asked)

    def test_from_the_newest_that_both_have_to_the_newest(self) -> None:
        found = self.plan(self.target("a", "b"), options=("-m", "4"))
        assert found.holds is True
        assert found.command == (
            "hadoop", "distcp", "-update", "-diff", "b", "c", "-pugpxb", "-m", "4", "hdfs://here/data", "hdfs://dr/data",
        )  # fmt: skip

    def test_nothing_in_common_is_copied_whole_from_the_snapshot(self) -> None:
        found = self.plan(self.target())
        assert (found.older, found.holds) == (None, True)
        assert found.command[-2:] == ("hdfs://here/data/.snapshot/c", "hdfs://dr/data")
        assert "-diff" not in found.command

    def test_the_one_in_common_is_older_than_the_one_that_is_wanted(self) -> None:
        assert self.plan(self.target("a", "c"), newer="b").older == "a"

    @pytest.mark.parametrize(
        ("target", "asked", "holds"),
        [
            (("b", True, True), {}, False),  # it has changed since
            (("b", False, False), {}, False),  # no snapshot could be made after the copy
            (("c", False, True), {"older": "a"}, False),  # the copy is there already, and a is not
            (("b", False, True), {"older": "c", "newer": "b"}, False),  # the wrong way round
            (None, {"older": "b"}, None),  # nothing is known of the target
        ],
    )
    def test_a_condition_that_does_not_hold_is_told(
        self, target: Any, asked: dict[str, str], holds: bool | None
    ) -> None:
        side = self.target(target[0], changed=target[1], allowed=target[2]) if target else None
        assert self.plan(side, **asked).holds is holds

    def test_there_must_be_a_snapshot(self) -> None:
        with pytest.raises(UsageError):
            self.plan(None, newer="zz")

    def test_the_report_has_the_command_and_every_condition(self) -> None:
        shown = distcp.report(self.plan(self.target("b", changed=True)))
        assert shown.status == "refused"
        rows = list(shown.tables[0].rows)
        assert [r["condition"] for r in rows if r["holds"] == "no"] == ["hdfs://dr/data has not changed since b"]
        assert json.dumps(dict(shown.facts))


def a_file(size: int) -> FileEntry:
    return FileEntry(name="", kind="file", length_bytes=size, replication=3)


def in_walk_order(paths: Iterable[str]) -> list[str]:
    """As a walk goes: each directory's names by their bytes, a directory's content where its name comes."""
    return sorted(paths, key=lambda p: [part.encode() for part in p.split("/")])


PATHS = st.lists(st.text("ab0-é", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.integers(0, 3), max_size=20)


class TestRestored:
    @given(TREES, TREES)
    def test_two_trees_are_told_apart_as_by_a_table(self, ours: dict[str, int], theirs: dict[str, int]) -> None:
        def tree(files: dict[str, int]) -> Files:
            return ((p, a_file(files[p])) for p in in_walk_order(files))

        same = Checksum("MD5", "1")
        found = restore.compare(tree(ours), tree(theirs), drill.Sample("", 100, 0), lambda p: (same, same), Nobody())
        assert found.files == len(ours.keys() | theirs.keys())
        assert found.different == sum(1 for p in ours.keys() | theirs.keys() if ours.get(p) != theirs.get(p))
        assert found.checksums == sum(1 for p in ours if ours[p] and ours[p] == theirs.get(p))

    def test_another_checksum_is_a_difference_and_another_kind_of_one_is_not(self) -> None:
        answers = {"a": ("X", "1", "X", "2"), "b": ("X", "1", "Y", "2"), "c": ("X", "1", "X", "1")}

        def checksums(path: str) -> tuple[Checksum, Checksum]:
            one, a, other, b = answers[path]
            return Checksum(one, a), Checksum(other, b)

        tree = [(p, a_file(5)) for p in answers]
        found = restore.compare(tree, tree, drill.Sample("", 100, 0), checksums, Nobody())
        assert (found.different, found.checksums, found.incomparable) == (1, 2, 1)
        assert found.named == ["a: another checksum"]

    def test_without_a_sample_every_checksum_is_compared_and_other_owners_are_told(self) -> None:
        asked: list[str] = []

        def checksums(path: str) -> tuple[Checksum, Checksum]:
            asked.append(path)
            return Checksum("X", "1"), Checksum("X", "2" if path == "b" else "1")

        ours = [(p, replace(a_file(5), access="etl:users 640")) for p in "abc"]
        theirs = [(p, replace(a_file(5), access=f"hdfs:users {'640' if p == 'a' else '644'}")) for p in "abc"]
        found = restore.compare(ours, theirs, None, checksums, Nobody())
        assert asked == ["a", "b", "c"]
        assert found.named == ["b: another checksum"]
        assert found.other_access[0] == "a: hdfs:users 640, not etl:users 640"
        assert len(found.other_access) == 3
