"""Exports, answers of the AdminServer, and the order in which servers are asked."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given

from bdops.components.backup_files import FILE, SHA256, BackupFolder
from bdops.components.zk.client.transfer import Endpoint, RateLimited, patiently, refusal, snapshot_stream
from bdops.components.zk.settings import Settings
from bdops.components.zk.snapshot.format import Damaged, SnapshotReader, summarise
from bdops.components.zk.snapshot.logical import Exported, check_export, export_lines, read_export, write_new
from bdops.components.zk.snapshot.restore import clients_in
from bdops.components.zk.snapshot.vault import Tee, ZkVault, chunks, differences, facts, in_order
from bdops.components.zk.state import Server, ZkState
from bdops.core.backups import BackupRecord
from bdops.core.model import Deployment
from bdops.errors import BdopsError, ConfigError, OperationFailed, Unreachable, UsageError
from tests.unit.zk.test_snapshot_format import SMALL, Node, node, trees


def exported(nodes: list[Node], root: str = "/") -> tuple[str, Exported]:
    told = Exported()
    return b"".join(export_lines(nodes, root, "test", told)).decode(), told


@given(trees())
def test_an_export_is_json_and_is_read_line_by_line(nodes: list[Node]) -> None:
    text, told = exported(nodes)
    entries = list(read_export(io.StringIO(text, newline="\n"), "x"))
    wanted = [n for n in nodes if not n.ephemeral and not (n.path + b"/").startswith(b"/zookeeper/")]
    assert [(e.path, e.data, e.acl) for e in entries] == [(n.name, n.data, n.acl) for n in wanted]
    document = json.loads(text)
    assert len(document["znodes"]) == len(entries) == told.znodes
    assert document["ephemerals_left_out"] == told.ephemeral_count


def test_an_export_of_a_subtree_begins_at_its_root() -> None:
    text, told = exported([node(""), node("/a", b"\xff\0"), node("/a/b", owner=5), node("/a/c"), node("/ab")], "/a")
    assert [e.path for e in read_export(text.splitlines(), "x")] == ["/", "/c"]
    assert json.loads(text)["znodes"][0]["data_base64"] == "/wA="
    assert told.ephemerals == ["/a/b"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t[: len(t) // 2],
        lambda t: t.replace('"path": "/a"', '"path": "a"'),
        lambda t: t.replace('"path": "/a"', '"path": "/../x"'),
        lambda t: t.replace("bdops_zk_export", "other"),
        lambda t: t.replace('"acl"', '"alc"'),
    ],
)
def test_a_damaged_export_is_refused_before_anything_is_created(damage: object, tmp_path: Path) -> None:
    text, _ = exported([node(""), node("/a"), node("/b")])
    file = tmp_path / "x.json"
    file.write_text(text)
    assert check_export(file) == ("/", 3)
    file.write_text(damage(text))  # type: ignore[operator]
    with pytest.raises(ConfigError):
        check_export(file)


def test_an_export_replaces_no_file_and_leaves_no_half_of_one(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_new(file, [b"{}"])
    with pytest.raises(UsageError, match="is there already"):
        write_new(file, [b"[]"])
    assert file.read_bytes() == b"{}"

    def breaks():  # type: ignore[no-untyped-def]
        yield b"half"
        raise OperationFailed("the server went away")

    with pytest.raises(OperationFailed):
        write_new(tmp_path / "y.json", breaks())
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "ZK_NO_AUTH", "Auth info is missing"),
        (403, "ZK_NO_AUTH", "HTTP 403"),
        (429, "ZK_RATE_LIMITED", "every so often"),
        (500, "ZK_COMMAND_FAILED", "HTTP 500"),
        (404, "ZK_COMMAND_FAILED", "HTTP 404"),
    ],
)
def test_refusals_of_the_admin_server(status: int, code: str, says: str) -> None:
    body = b'{"command": "snapshot", "error": "Auth info is missing for the command"}' if status == 401 else b"<html>"
    error = refusal("snapshot", status, body, "here")
    assert error.code == code
    assert says in error.message
    assert error.hint
    assert isinstance(error, BdopsError)


def test_a_password_is_in_no_text() -> None:
    assert "secret" not in repr(Endpoint(address=("h", 1), identity="super:secret"))


def test_the_most_advanced_server_is_asked_first_and_of_equals_one_that_does_not_lead() -> None:
    def server(name: str, zxid: str | None, mode: str, serving: bool = True) -> Server:
        return Server(name=name, zxid=zxid, mode=mode, serving=serving)  # type: ignore[arg-type]

    state = ZkState(
        cluster="c",
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        servers=(
            server("leader", "0x20", "leader"),
            server("behind", "0x1f", "follower"),
            server("equal", "0x20", "follower"),
            server("down", "0x30", "follower", serving=False),
            server("unread", None, "follower"),
        ),
    )
    assert [s.name for s in in_order(state)] == ["equal", "leader", "behind"]


def test_bytes_are_passed_on_as_they_are_while_they_are_read() -> None:
    class Stream(io.BytesIO):
        started_zxid = size_bytes = None

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(100)

    tee = Tee(Stream(SMALL))  # type: ignore[arg-type]
    reader, top = SnapshotReader(tee), []
    assert b"".join(chunks(reader, tee, top, lambda n: None)) == SMALL
    assert sorted(top) == ["/app", "/queue", "/zookeeper"]


def test_a_record_knows_whether_another_reading_found_the_same() -> None:
    found = summarise(io.BytesIO(SMALL))
    record = BackupRecord(
        id="x", destination="/d", what=(), taken_at=datetime.now(UTC), status="complete", state=facts(found)
    )
    assert facts(found)["consistent"] is True
    assert differences(record, found) == ""
    found.znodes += 1
    assert "znodes" in differences(record, found)


@pytest.fixture
def vault(tmp_path: Path) -> ZkVault:
    """With one snapshot."""
    deployment = Deployment(cluster="prod", component="zk", instances=(), settings=Settings())
    vault = ZkVault.of(tmp_path, deployment)
    size, digest = vault.files.write_file("one.zksnap", [SMALL])
    state = {FILE: "one.zksnap", SHA256: digest, **facts(summarise(io.BytesIO(SMALL)))}
    vault.files.write(
        BackupRecord(
            id="one",
            destination=vault.destination,
            what=(),
            taken_at=datetime.now(UTC),
            status="complete",
            size_bytes=size,
            state=state,
        )
    )
    return vault


def test_a_damaged_one_counts_no_more_and_is_still_held(vault: ZkVault) -> None:
    (record,) = vault.records()
    assert vault.verify(record).znodes == 14
    file = vault.files.file_of(record)
    damaged = bytearray(SMALL)
    damaged[500] ^= 1
    file.write_bytes(damaged)
    # Somebody holds it while it is read.
    vault.files.mark("one", {"kind": "hold", "reason": "audit"})
    with pytest.raises(OperationFailed, match="SHA-256"):
        vault.verify(record)
    (found,) = vault.records()
    assert (found.good, found.hold) == (False, "audit")


def test_one_whose_record_tells_something_else_is_damaged(vault: ZkVault) -> None:
    (record,) = vault.records()
    vault.files.write(replace(record, state={**record.state, "znodes": 15}))
    with pytest.raises(OperationFailed, match="znodes is 14, and was 15"):
        vault.verify(vault.records()[0])
    assert not vault.records()[0].good


def test_one_that_cannot_be_read_now_still_counts(vault: ZkVault) -> None:
    (record,) = vault.records()
    file = vault.files.file_of(record)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError):
        vault.verify(record)
    file.rmdir()
    file.write_bytes(SMALL)
    assert vault.records() == (record,)


def test_only_what_reading_raises_is_told_of_the_snapshot(vault: ZkVault) -> None:
    """A pipe that is closed while differences are printed is no damage."""
    (record,) = vault.records()

    def print_first() -> None:
        with vault.nodes(record) as nodes:
            assert next(nodes).name == "/"
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_first()
    vault.files.file_of(record).write_bytes(SMALL[:-20])
    with pytest.raises(OperationFailed) as raised, vault.nodes(record) as nodes:
        list(nodes)
    assert raised.value.code == "BACKUP_DAMAGED"


def test_a_server_that_says_too_early_is_asked_again() -> None:
    told: list[str] = []
    context = SimpleNamespace(waiting=told.append, wait=lambda seconds: None)
    answers = iter((RateLimited("too early"), RateLimited("too early"), "taken"))

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, str):
            return answer
        raise answer

    assert patiently(call, "node1 to take another", context) == "taken"  # type: ignore[arg-type]
    assert told == ["node1 to take another: its rate is limited"] * 2


def test_clients_of_the_admin_servers_answer() -> None:
    answer = {"connections": [{"remote_socket_address": "/10.0.0.1:5000"}], "secure_connections": [{}]}
    assert clients_in(answer) == ["10.0.0.1:5000", "?"]
    assert clients_in({"connections": [], "secure_connections": None}) == []


@contextmanager
def admin_server(status: int, body: bytes, announced: int) -> Iterator[Endpoint]:
    """A server that announces so many bytes, sends what there is, and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("last_zxid", "0xe")
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Endpoint(address=("127.0.0.1", server.server_port), identity="a:b")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_stops_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path, "zk", "prod")
    for end in (0, 100, len(SMALL) - 1):
        with (
            admin_server(200, SMALL[:end], len(SMALL)) as endpoint,
            pytest.raises((Unreachable, Damaged)),
            snapshot_stream(endpoint, timeout_s=20) as stream,
        ):
            folder.write_file("x.zksnap", chunks(SnapshotReader(tee := Tee(stream)), tee, [], lambda n: None))
        assert list(tmp_path.iterdir()) == []
    with admin_server(200, SMALL, len(SMALL)) as endpoint, snapshot_stream(endpoint, timeout_s=20) as stream:
        assert stream.started_zxid == "0xe"
        folder.write_file("x.zksnap", chunks(SnapshotReader(tee := Tee(stream)), tee, [], lambda n: None))
    assert (tmp_path / "x.zksnap").read_bytes() == SMALL
